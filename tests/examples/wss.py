#!/usr/bin/env python3
"""Checks that examples/wss.c trusts exactly the CAs that it is given.

    tests/examples/wss.py PROGRAM
"""

import pathlib
import tempfile

from tls_program import Folder, Server, context, ends

LOCALHOST = "subjectAltName=DNS:localhost"


def main():
    with tempfile.TemporaryDirectory() as path:
        made = Folder(pathlib.Path(path))
        made.self_signed("root")
        made.self_signed("other")
        made.issue("root", "server", LOCALHOST)
        root, other = (str(made.path / name) for name in ("root.crt", "other.crt"))
        with Server(context(made.path / "server.pem")) as server:
            url = f"wss://localhost:{server.port}/stomp"
            ends(0, "connected", url, root)
            ends(0, "connected", url, root, made.spki_hash("server").hex())
            ends(1, "tls_pin", url, root, made.spki_hash("other").hex())
            ends(1, "certificate", url, other)
            ends(1, "certificate", url)  # the system's CAs do not know it


main()

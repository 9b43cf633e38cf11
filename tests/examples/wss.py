#!/usr/bin/env python3
"""examples/wss.c trusts whom it is told to trust, and nobody else.

    tests/examples/wss.py PROGRAM
"""

import pathlib
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tls"))
from certificates import Folder  # noqa: E402
from server import Server, context  # noqa: E402

LOCALHOST = "subjectAltName=DNS:localhost"


def ends(server, status, words, *arguments):
    """Whether the program ends so when it connects to this server, and says these words."""
    done = subprocess.run([sys.argv[1], f"wss://localhost:{server.port}/stomp", *arguments],
                          capture_output=True, text=True, check=False, timeout=60)
    said = done.stdout + done.stderr
    assert done.returncode == status and words in said, (done.returncode, said)


def main():
    with tempfile.TemporaryDirectory() as path:
        made = Folder(pathlib.Path(path))
        made.self_signed("root")
        made.self_signed("other")
        made.issue("root", "server", LOCALHOST)
        root, other = (str(made.path / name) for name in ("root.crt", "other.crt"))
        with Server(context(made.path / "server.pem")) as server:
            ends(server, 0, "connected", root)
            ends(server, 0, "connected", root, made.spki_hash("server").hex())
            ends(server, 1, "tls_pin", root, made.spki_hash("other").hex())
            ends(server, 1, "certificate", other)
            ends(server, 1, "certificate")  # the system's CAs do not know it


main()

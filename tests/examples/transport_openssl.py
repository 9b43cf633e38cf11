#!/usr/bin/env python3
"""examples/transport_openssl.c speaks TLS 1.2 and 1.3, and trusts nobody whom it should not.

    tests/examples/transport_openssl.py PROGRAM
"""

import pathlib
import ssl
import tempfile

from tls_program import Folder, Relay, Server, context, ends

TLS_1_2, TLS_1_3 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3


def connects(server, status, words, authority, host="localhost"):
    """Whether the program ends so with this server; nothing has come from one it does not trust."""
    printed = ends(status, words, f"wss://{host}:{server.port}/stomp", "/topic/a", authority)
    assert status == 0 or not printed, printed


def make_certificates(made):
    made.self_signed("root")
    made.self_signed("other")
    made.issue("root", "server", "subjectAltName=DNS:localhost,IP:127.0.0.1")
    made.issue("root", "elsewhere", "subjectAltName=DNS:elsewhere.example")
    made.issue("root", "expired", "subjectAltName=DNS:localhost", start="20200101000000Z",
               end="20210101000000Z")


def main():
    with tempfile.TemporaryDirectory() as path:
        made = Folder(pathlib.Path(path))
        make_certificates(made)
        root, other = (str(made.path / name) for name in ("root.crt", "other.crt"))

        def serve(name, version=TLS_1_3, **settings):
            tls = context(made.path / f"{name}.pem", oldest=version, newest=version)
            return Server(tls, **settings)

        for version, name in ((TLS_1_2, "TLSv1.2"), (TLS_1_3, "TLSv1.3")):
            with serve("server", version) as server:
                connects(server, 0, f"{name}: hello", root)
                connects(server, 0, f"{name}: hello", root, "127.0.0.1")
                assert server.names == ["localhost", None], server.names
                connects(server, 1, "certificate", other)
        with serve("server", piece=1) as server, Relay(server.port) as relay:
            connects(relay, 0, "TLSv1.3: hello", root)
        with serve("expired") as server:
            connects(server, 1, "expired", root)
        with serve("elsewhere") as server:
            connects(server, 1, "ostname mismatch", root)
            connects(server, 1, "IP address mismatch", root, "127.0.0.1")


main()

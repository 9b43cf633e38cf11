#!/usr/bin/env python3
"""Makes first inputs for fuzz_pem, from certificates and keys that openssl creates.

    tests/fuzz/seed_pem.py DIRECTORY

Their layout is that of fuzz_pem.c: a byte that selects the check, then what this check reads first.
"""

import base64
import pathlib
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tls"))
from certificates import AUTHORITY, Folder  # pylint: disable=wrong-import-position

OBJECTS, CERTIFICATE, IDENTITY, CHAIN = range(4)
WHOLE, IN_PIECES = bytes([0, 0, 0]), bytes([1, 64, 7])
SECURE, INSECURE, PINNED, WRONG_PIN = bytes([0]), bytes([1]), bytes([2]), bytes([4])
HOSTS = {"localhost": 0, "a.stomp.example": 1, "127.0.0.1": 2}
NAMES = "subjectAltName=DNS:localhost,IP:127.0.0.1,DNS:*.stomp.example"
DATES = {"start": "20240101000000Z", "end": "20991231000000Z"}


def der(pem):
    """Returns the first object of a PEM text."""
    lines = pem.split("-----END")[0].split("\n")[1:]
    return base64.b64decode("".join(lines))


def chain(folder, names, authority, host="localhost", flags=SECURE, cuts=WHOLE):
    """Creates a server's chain, and the CA that shall be trusted."""
    parts = [der(folder.text(f"{name}.crt")) for name in names]
    sent = b"".join(len(part).to_bytes(2, "big") + part for part in parts)
    head = bytes([CHAIN]) + cuts + flags + bytes([HOSTS[host], len(parts)])
    return head + sent + folder.text(f"{authority}.crt").encode()


def make_certificates(folder):
    folder.self_signed("root")
    folder.self_signed("rsa-root", key="rsa")
    folder.issue("root", "middle", AUTHORITY, **DATES)
    folder.issue("middle", "server", NAMES, **DATES)
    folder.issue("root", "near", NAMES, **DATES)
    folder.issue("root", "expired", NAMES, start="20200101000000Z", end="20210101000000Z")
    folder.issue("root", "name", "subjectAltName=DNS:127.0.0.1", **DATES)
    folder.issue("root", "common", "basicConstraints=CA:FALSE", common="localhost", **DATES)
    for use in ("serverAuth", "clientAuth", "anyExtendedKeyUsage"):
        folder.issue("root", use, f"{NAMES}\nextendedKeyUsage={use}", **DATES)
    folder.issue("root", "weak", NAMES, key="weak", **DATES)
    folder.run("ec", "-in", "near.key", "-out", "near-sec1.key")
    folder.run("rsa", "-in", "weak.key", "-traditional", "-out", "weak-pkcs1.key")
    folder.run("pkey", "-in", "near.key", "-aes128", "-passout", "pass:x", "-out", "locked.key")


def seeds(folder):
    mixed = "words\r\n" + folder.text("root.crt").replace("\n", "\r\n") + folder.text("near.key")
    for cuts in (WHOLE, IN_PIECES):
        yield bytes([OBJECTS]) + cuts + mixed.encode()
        yield bytes([OBJECTS]) + cuts + folder.text("near.crt")[:300].encode()
    for name in ("root", "rsa-root", "server"):
        yield bytes([CERTIFICATE]) + der(folder.text(f"{name}.crt"))
    for key in ("near.key", "near-sec1.key", "weak.key", "weak-pkcs1.key", "locked.key"):
        yield bytes([IDENTITY]) + (folder.text("near.crt") + folder.text(key)).encode()
    for host in HOSTS:
        yield chain(folder, ["near"], "root", host)
    for flags in (INSECURE, PINNED, WRONG_PIN):
        yield chain(folder, ["near"], "root", flags=flags, cuts=IN_PIECES)
    yield chain(folder, ["server", "middle"], "root", cuts=IN_PIECES)
    yield chain(folder, ["server"], "root")
    for name in ("expired", "weak", "root"):
        yield chain(folder, [name], "root")
    yield chain(folder, ["name"], "root", "127.0.0.1")
    for use in ("serverAuth", "clientAuth", "anyExtendedKeyUsage"):
        yield bytes([CERTIFICATE]) + der(folder.text(f"{use}.crt"))
        yield chain(folder, [use], "root")
    yield chain(folder, ["common"], "root")
    yield chain(folder, [], "root")
    yield chain(folder, ["near"] * 9, "root")


def main():
    into = pathlib.Path(sys.argv[1])
    into.mkdir(parents=True, exist_ok=True)
    count = 0
    with tempfile.TemporaryDirectory() as path:
        folder = Folder(pathlib.Path(path))
        make_certificates(folder)
        for count, seed in enumerate(seeds(folder), 1):
            (into / f"seed-{count:02}").write_bytes(seed)
    print(f"{count} seeds")


if __name__ == "__main__":
    main()

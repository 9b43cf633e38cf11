"""Support for the tests of the TLS examples: a server of the TLS tests, and a program that ends."""

import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tls"))
from certificates import Folder  # noqa: E402, F401
from server import Server, context  # noqa: E402, F401


def ends(status, words, url, *arguments):
    """Checks that the program ends with this status and prints these words. Returns its output."""
    done = subprocess.run([sys.argv[1], url, *arguments], capture_output=True, text=True,
                          check=False, timeout=60)
    said = done.stdout + done.stderr
    assert done.returncode == status and words in said, (done.returncode, said)
    return done.stdout

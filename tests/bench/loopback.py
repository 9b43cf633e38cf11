"""build/bench_server, for as long as a `with` lasts."""

import pathlib
import subprocess

BUILD = pathlib.Path(__file__).parents[2] / "build"


class Server:
    """`prefix`: a command to run it with."""

    def __init__(self, prefix=()):
        self._command = [*prefix, BUILD / "bench_server"]

    def __enter__(self):
        self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE,
                                         stdout=subprocess.PIPE, text=True)
        self._port = int(self._process.stdout.readline())
        return self

    def __exit__(self, *exception):
        self._process.stdin.close()  # which ends it
        self._process.wait(10)
        self._process.stdout.close()

    def url(self, mode, messages, size):
        """Where a connection of that kind is served."""
        return f"ws://127.0.0.1:{self._port}/{mode}/{messages}/{size}"

"""Runs build/bench_server during a `with` statement."""

import pathlib
import subprocess

BUILD = pathlib.Path(__file__).parents[2] / "build"


class Server:
    """`prefix` is a command that runs the server, for example a profiler."""

    def __init__(self, prefix=()):
        self._command = [*prefix, BUILD / "bench_server"]

    def __enter__(self):
        self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE,
                                         stdout=subprocess.PIPE, text=True)
        self._port = int(self._process.stdout.readline())
        return self

    def __exit__(self, *exception):
        self._process.stdin.close()  # the server ends when its input ends
        self._process.wait(10)
        self._process.stdout.close()

    def url(self, mode, messages, size):
        """Returns the URL of a connection of this mode."""
        return f"ws://127.0.0.1:{self._port}/{mode}/{messages}/{size}"

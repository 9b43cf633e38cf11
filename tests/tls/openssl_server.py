"""`openssl s_server` as the TLS layer of a STOMP server. Its pipes carry the plain text."""

import os
import socket
import subprocess
import threading
import time

from server import STEP_SECONDS, Session

BEGINNING = b"GET /"  # unless s_server is quiet, it first prints messages about the handshake


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


class OpensslServer:
    """Serves one connection. `renegotiate` requests a new handshake and answers nothing more:
    "session", when the client is connected; "upgrade", before its upgrade is answered. `said`
    contains the messages of s_server."""

    def __init__(self, chain, *options, renegotiate=None, version="-tls1_2"):
        self.port = free_port()
        self.said = b""
        self._renegotiate, self._begun = renegotiate, False
        quiet = [] if renegotiate else ["-quiet"]  # with -quiet it accepts no commands
        command = ["openssl", "s_server", "-accept", f"127.0.0.1:{self.port}", "-cert", chain,
                   "-key", chain, version, *quiet, *options]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                         stderr=subprocess.STDOUT, bufsize=0)
        self._wait()
        threading.Thread(target=self._serve, daemon=True).start()

    def _wait(self):
        end = time.monotonic() + STEP_SECONDS
        while not self._listens():
            runs = self._process.poll() is None
            assert runs and time.monotonic() < end, "s_server does not listen"
            time.sleep(0.02)

    def _listens(self):
        """Checks without a connection, because s_server would serve only that connection."""
        wanted = f"0100007F:{self.port:04X} 00000000:0000 0A"
        with open("/proc/net/tcp", encoding="ascii") as table:
            return wanted in table.read()

    def _serve(self):
        session = Session(self, 1 << 30, self._ask_again if self._renegotiate else None)
        try:
            if self._renegotiate == "upgrade":
                self.recv(65536)
                self._ask_again(None)
            session.run()
        except (EOFError, OSError):
            pass

    def _ask_again(self, _):
        time.sleep(0.3)  # s_server accepts a command only at the beginning of a read
        self.sendall(b"r\n")
        while self.recv(65536):
            pass

    def recv(self, size):
        data = os.read(self._process.stdout.fileno(), size)
        if not self._begun:
            while BEGINNING not in data:
                more = os.read(self._process.stdout.fileno(), size)
                if not more:
                    raise EOFError
                data += more
            self._begun = True
            return data[data.index(BEGINNING):]
        if self._renegotiate:
            self.said += data
        return data

    def sendall(self, data):
        self._process.stdin.write(data)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.kill()
        self._process.wait()

#!/usr/bin/env python3
"""stomp_cat through Debian's tinyproxy (HTTP CONNECT) and microsocks (SOCKS 5) to mini_broker.

    tests/proxy/run.py STOMP_CAT MINI_BROKER

stomp_cat is built with STOMP_WS_BEARSSL or STOMP_WS_OPENSSL. For wss:// a relay in this file
removes the TLS in front of the broker. Each test is one check, and the last line counts them.
"""

import asyncio
import contextlib
import os
import pathlib
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tls"))
# pylint: disable=wrong-import-position
from certificates import Folder  # noqa: E402
from counting import run_tests  # noqa: E402
from server import context  # noqa: E402

STOMP_CAT, MINI_BROKER = (str(pathlib.Path(argument).resolve()) for argument in sys.argv[1:3])
SECONDS = 60  # the time limit for an event, also on a busy machine
PASSWORD = "open sesame@4711/"
ENCODED = "ada:open%20sesame%404711%2F"
PLAIN = "sesame4711"  # tinyproxy accepts only letters and digits
SECRETS = ("sesame", "YWRhO")
made = None
broker_port = tls_port = None


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def wait_for_port(port, process):
    end = time.monotonic() + SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            assert process.poll() is None, f"{process.args[0]} ended with {process.returncode}"
            assert time.monotonic() < end, f"{process.args[0]} does not listen"
            time.sleep(0.05)


@contextlib.contextmanager
def running(port, *command):
    process = subprocess.Popen([str(word) for word in command], stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)
    try:
        wait_for_port(port, process)
        yield process
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def tinyproxy(*lines, port=None):
    port = port or free_port()
    settings = ["Listen 127.0.0.1", f"Port {port}", "Timeout 600", "MaxClients 20",
                "DisableViaHeader Yes", *lines]
    file = made.write(f"tinyproxy-{port}.conf", "\n".join(settings) + "\n")
    with running(port, "tinyproxy", "-d", "-c", file):
        yield f"127.0.0.1:{port}"


@contextlib.contextmanager
def microsocks(*words):
    port = free_port()
    with running(port, "microsocks", "-i", "127.0.0.1", "-p", port, *words):
        yield f"127.0.0.1:{port}"


class Terminator:
    """Removes TLS and passes the plain text on to the broker. It is a thread with an event loop,
    because OpenSSL does not allow two threads to read and write a connection at the same time."""

    def __init__(self, tls):
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        serving = asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=tls)
        self._server = asyncio.run_coroutine_threadsafe(serving, self._loop).result(SECONDS)
        self.port = self._server.sockets[0].getsockname()[1]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._loop.call_soon_threadsafe(self._server.close)

    async def _serve(self, client, client_out):
        broker, broker_out = await asyncio.open_connection("127.0.0.1", broker_port)
        await asyncio.gather(self._pass(client, broker_out), self._pass(broker, client_out))

    @staticmethod
    async def _pass(source, goal):
        with contextlib.suppress(OSError):
            while data := await source.read(65536):
                goal.write(data)
                await goal.drain()
        goal.close()


def url(scheme, host="127.0.0.1", port=None):
    port = port or (tls_port if scheme == "wss" else broker_port)
    return f"{scheme}://{host}:{port}/notifications/websocket"


def cat(where, *words, environment=None, **options):
    """Runs stomp_cat. Returns its status, stdout and stderr. Checks that no output contains a
    password."""
    command = [STOMP_CAT, where, "--ca", made.path / "root.crt", *words]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True,
                          check=False, timeout=2 * SECONDS,
                          env={**os.environ, **(environment or {})}, **options)
    assert "Sanitizer" not in done.stderr and "runtime error" not in done.stderr, done.stderr
    for secret in SECRETS:
        assert secret not in done.stdout + done.stderr, done
    return done


def check_echo(where, *words, body="through a proxy: grüße", **options):
    done = cat(where, "-s", "/topic/a", "-d", "/topic/a", "-m", body, "-n", "1", "-t", SECONDS,
               *words, **options)
    assert (done.returncode, done.stdout) == (0, body + "\n"), done
    return done


def check_refused(where, proxy, *sentence, **options):
    done = cat(where, "-s", "/topic/a", "-t", SECONDS, "--no-reconnect", "--trace", "--proxy",
               proxy, **options)
    assert done.returncode == 1 and done.stdout == "", done
    for words in sentence:
        assert words in done.stderr, done


# ---- HTTP ----

def test_http():
    with tinyproxy() as proxy:
        for where in (url("ws"), url("ws", "localhost"), url("wss"), url("wss", "localhost")):
            check_echo(where, "--proxy", f"http://{proxy}")


def test_http_with_a_login():
    with tinyproxy(f"BasicAuth ada {PLAIN}") as proxy:
        for scheme in ("ws", "wss"):
            check_echo(url(scheme), "--trace", "--proxy", f"http://ada:{PLAIN}@{proxy}")
            check_refused(url(scheme), f"http://{proxy}", "HTTP 407",
                          "http://user:password@host:port")
        check_refused(url("ws"), f"http://{ENCODED}@{proxy}", "the proxy 127.0.0.1 port",
                      "HTTP 401")


def test_http_that_forbids_the_port():
    with tinyproxy("ConnectPort 443") as proxy:
        check_refused(url("ws"), f"http://{proxy}", "HTTP 403", "forbids that host or port")


def test_http_without_a_server_behind_it():
    with tinyproxy() as proxy:
        check_refused(url("ws", port=free_port()), f"http://{proxy}", "HTTP 500")
        check_refused(url("ws", "nobody.invalid"), f"http://{proxy}",
                      "no connection to nobody.invalid", "HTTP 500")


# ---- SOCKS ----

def test_socks():
    with microsocks() as proxy:
        for where in (url("ws"), url("ws", "localhost"), url("wss"), url("wss", "localhost")):
            check_echo(where, "--proxy", f"socks5://{proxy}")
            check_echo(where, "--proxy", f"socks5h://{ENCODED}@{proxy}")


def test_socks_with_a_login():
    with microsocks("-u", "ada", "-P", PASSWORD) as proxy:
        for scheme in ("ws", "wss"):
            check_echo(url(scheme), "--trace", "--proxy", f"socks5://{ENCODED}@{proxy}")
        check_refused(url("ws"), f"socks5://{proxy}", "socks5://user:password@host:port")
        check_refused(url("ws"), f"socks5://{ENCODED}x@{proxy}",
                      "does not accept the user and password")


def test_socks_without_a_server_behind_it():
    with microsocks() as proxy:
        check_refused(url("ws", port=free_port()), f"socks5://{proxy}", "SOCKS reply 5",
                      "connection refused")
        check_refused(url("ws", "nobody.invalid"), f"socks5://{proxy}",
                      "no connection to nobody.invalid", "SOCKS reply ")


# ---- both ----

def test_the_wrong_kind():
    with tinyproxy() as proxy:
        check_refused(url("ws"), f"socks5://{proxy}", "is it the kind of proxy that its URL names?")
    with microsocks() as proxy:
        check_refused(url("ws"), f"http://{proxy}", "the proxy 127.0.0.1 port")


def test_nobody_listens():
    check_refused(url("wss"), f"http://127.0.0.1:{free_port()}",
                  "cannot be reached: connection refused")


def test_no_trust_because_of_a_proxy():
    other = made.path / "other.crt"
    with tinyproxy() as http, microsocks() as socks:
        for proxy in (f"http://{http}", f"socks5://{socks}"):
            with Terminator(context(made.path / "elsewhere.pem")) as elsewhere:
                check_refused(url("wss", port=elsewhere.port), proxy, "another host")
            done = cat(url("wss"), "--ca", other, "-s", "/topic/a", "-t", SECONDS, "--proxy", proxy)
            assert done.returncode == 1 and "not known here" in done.stderr, done


def test_a_large_body():
    with tinyproxy() as http, microsocks() as socks:
        for proxy in (f"http://{http}", f"socks5://{socks}"):
            lines = "".join(f"{number} {500 * 'x'}\n" for number in range(2000))
            for scheme in ("ws", "wss"):
                done = cat(url(scheme), "-s", "/topic/a", "-d", "/topic/a", "-n", "2000", "-t",
                           SECONDS, "--proxy", proxy, input=lines)
                assert (done.returncode, done.stdout) == (0, lines), done.stderr


def test_the_environment():
    nobody = f"http://127.0.0.1:{free_port()}"
    with tinyproxy() as proxy:
        plain = {"http_proxy": f"http://{proxy}", "https_proxy": nobody}
        check_echo(url("ws"), "--proxy", "environment", environment=plain)
        secure = {"http_proxy": nobody, "HTTPS_PROXY": proxy, "NO_PROXY": "x.example"}
        check_echo(url("wss"), "--proxy", "environment", environment=secure)
    refused = {"all_proxy": nobody}
    check_refused(url("wss"), "environment", "cannot be reached", environment=refused)
    check_echo(url("wss"), "--proxy", "environment",
               environment={**refused, "no_proxy": "127.0.0.1"})
    check_echo(url("wss"), environment=refused)  # the environment is not used unless requested


def test_a_proxy_that_comes_back():
    port = free_port()
    command = [STOMP_CAT, url("ws"), "-s", "/topic/back", "-n", "1", "-t", SECONDS, "--reconnect",
               "50,200", "--proxy", f"http://127.0.0.1:{port}"]
    with subprocess.Popen([str(word) for word in command], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True) as client:
        for _ in range(2):
            with tinyproxy(port=port):
                time.sleep(0.5)
        with tinyproxy(port=port):
            end = time.monotonic() + SECONDS
            while client.poll() is None and time.monotonic() < end:
                assert cat(url("ws"), "-d", "/topic/back", "-m", "again").returncode == 0
                time.sleep(0.2)
        output, errors = client.communicate(timeout=SECONDS)
    assert (client.returncode, output) == (0, "again\n"), errors
    assert "cannot be reached" in errors or "trying again" in errors, errors


def main():
    global made, broker_port, tls_port
    wanted = sys.argv[3:]
    for name in ("tinyproxy", "microsocks"):
        if not shutil.which(name):
            print(f"{name} is missing: sh tests/proxy/install.sh\n0 passed, 1 failed")
            return 1
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        del os.environ[name]
    broker_port = free_port()
    with tempfile.TemporaryDirectory() as folder, running(broker_port, MINI_BROKER, "--port",
                                                          broker_port, "--quiet"):
        made = Folder(pathlib.Path(folder))
        made.self_signed("root")
        made.self_signed("other")
        made.issue("root", "server", "subjectAltName=DNS:localhost,IP:127.0.0.1")
        made.issue("root", "elsewhere", "subjectAltName=DNS:elsewhere.example")
        tls = context(made.path / "server.pem", newest=ssl.TLSVersion.TLSv1_3)
        with Terminator(tls) as terminator:
            tls_port = terminator.port
            return run_tests(globals(), wanted)


if __name__ == "__main__":
    sys.exit(main())

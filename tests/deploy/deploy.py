"""Starts what the deploy tests need: brokers, clients and the load, each in its own process.

All of them listen on free loopback ports and write below build/deploy. They are ended by their
process ids.
"""

import contextlib
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
OUTPUT = ROOT / "build" / "deploy"
PROGRAMS = ROOT / "build" / "bearssl"
OPENSSL = ROOT / "build" / "openssl"  # the same programs, with the other TLS library
sys.path += [str(ROOT / "tests" / "interop"), str(ROOT / "tests" / "tls")]

import broker  # noqa: E402
import certificates  # noqa: E402

broker.PROJECTS["spring-security"] = HERE / "spring-security"

MINI_BROKER = PROGRAMS / "examples" / "mini_broker"
# A sanitizer exits with 99, which no program uses for anything else.
ENVIRONMENT = {**os.environ, "ASAN_OPTIONS": "exitcode=99:" + os.environ.get("ASAN_OPTIONS", "")}
# How long a test waits for an event. A busy machine is not a fault of the library.
SECONDS = 30
PATH = "/notifications/websocket"  # for mini_broker
QUICK = ("--reconnect", "50,400")  # the delay between stomp_cat's attempts, in milliseconds
RETRY = re.compile(r"trying again in (\d+) (ms|s)\b")


class Failure(AssertionError):
    """Something that did not happen in time. The text tells what happened instead."""


def wait_until(condition, what, seconds=SECONDS, every=0.02):
    """Waits until condition() is true, and returns its value."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise Failure(f"after {seconds} s still not: {what}")
        time.sleep(every)


def end_process(process, seconds=10):
    """Sends SIGTERM, and SIGKILL to the whole session if the process does not end in time."""
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


class Certificates:
    """A certificate authority, a server's certificate and a client's certificate, as PEM files."""

    def __init__(self, folder):
        folder.mkdir(parents=True, exist_ok=True)
        made = certificates.Folder(folder)
        made.self_signed("ca")
        made.issue("ca", "server", "subjectAltName=IP:127.0.0.1,IP:127.0.0.2,DNS:localhost\n"
                                   "extendedKeyUsage=serverAuth")
        made.issue("ca", "client", "extendedKeyUsage=clientAuth")
        self.ca, self.server_pem = folder / "ca.crt", folder / "server.pem"
        self.server, self.server_key = folder / "server.crt", folder / "server.key"
        self.client, self.client_key = folder / "client.crt", folder / "client.key"


class MiniBroker:
    """examples/mini_broker.c, on the same port after each start."""

    def __init__(self, heartbeat="1000,1000", port=0, login=None):
        self.port = port or broker.free_port()
        self.url = f"ws://127.0.0.1:{self.port}{PATH}"
        self._arguments = ["--quiet", "--port", str(self.port), "--heartbeat", heartbeat]
        if login:
            self._arguments += ["--login", login]
        self._process = None

    def start(self):
        self._process = subprocess.Popen(
            [MINI_BROKER, *self._arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            text=True, env=ENVIRONMENT, start_new_session=True)
        if not self._process.stdout.readline().startswith("READY"):
            raise Failure(f"mini_broker did not start on port {self.port}")
        return self

    def kill(self):
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process.stdout.close()
        self._process = None

    def __enter__(self):
        return self.start()

    def __exit__(self, *exception):
        self.kill()


class Silent:
    """A server that accepts connections and never answers."""

    def __init__(self, host="127.0.0.1", port=0):
        self._listener = socket.create_server((host, port), backlog=64)
        self.port = self._listener.getsockname()[1]

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self._listener.close()


class Cat:
    """A running stomp_cat. Its output is read continuously. `lines` contains (time,
    stream, line)."""

    def __init__(self, url, *arguments, programs=PROGRAMS):
        urls = [url] if isinstance(url, str) else list(url)
        self.lines = []
        self._changed = threading.Condition()
        self._process = subprocess.Popen(
            [programs / "examples" / "stomp_cat", *urls, *map(str, arguments)],
            stdin=subprocess.PIPE, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, errors="replace", env=ENVIRONMENT,
            start_new_session=True)
        self._readers = [threading.Thread(target=self._read, args=(name, stream), daemon=True)
                         for name, stream in (("out", self._process.stdout),
                                              ("err", self._process.stderr))]
        for reader in self._readers:
            reader.start()

    def _read(self, name, stream):
        for line in stream:
            with self._changed:
                self.lines.append((time.monotonic(), name, line.rstrip("\n")))
                self._changed.notify_all()
        stream.close()

    def text(self, stream="err"):
        with self._changed:
            return "\n".join(line for _, name, line in self.lines if name == stream)

    @property
    def messages(self):
        return self.text("out").splitlines()

    def retries(self):
        """The delays that it announced, in milliseconds."""
        return [int(delay) * (1000 if unit == "s" else 1) for delay,
        unit in RETRY.findall(self.text())]

    def type(self, text):
        """Writes to its stdin."""
        self._process.stdin.write(text)
        self._process.stdin.flush()

    def running(self):
        return self._process.poll() is None

    def saw(self, pattern, stream="err", seconds=SECONDS, since=0.0):
        """Returns the time of the first line that matches and was printed after `since`."""
        deadline = time.monotonic() + seconds
        while True:
            ended = not self.running()
            if ended:
                self._join()
            with self._changed:
                for when, name, line in self.lines:
                    if name == stream and when > since and re.search(pattern, line):
                        return when
                if ended or time.monotonic() > deadline:
                    why = "it ended without printing this" if ended else (f"after {seconds} s it "
                                                                          f"has not printed this")
                    break
                self._changed.wait(0.1)
        raise Failure(f"{why}: {pattern}\n{self.everything()}")

    def said(self, *words):
        """Fails unless its output contains all these words, in upper or lower case."""
        text = self.text().lower()
        missing = [word for word in words if word.lower() not in text]
        if missing:
            raise Failure(f"missing in its output: {missing}\n{self.everything()}")

    def everything(self):
        with self._changed:
            return "\n".join(f"{name}: {line}" for _, name, line in self.lines) or "no output"

    def _join(self):
        for reader in self._readers:
            reader.join(SECONDS)

    def wait(self, seconds=SECONDS):
        """Waits until it has ended and all its output was read. Returns its exit status."""
        try:
            status = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise Failure(f"it did not end in {seconds} s\n{self.everything()}") from None
        self._join()
        return status

    def close(self):
        if self.running():
            self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._join()
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        if self._process.returncode == 99:
            raise Failure(f"a sanitizer reports an error\n{self.everything()}")

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()


def cat(url, *arguments, seconds=SECONDS, programs=PROGRAMS):
    """Runs stomp_cat to its end. Returns the Cat; `.status` is its exit status."""
    with Cat(url, *arguments, programs=programs) as process:
        process.status = process.wait(seconds)
    return process


class Load:
    """load.c: a publisher with confirm and a consumer, with the same URLs."""

    def __init__(self, urls, destination="/queue/load", programs=PROGRAMS, **options):
        urls = [urls] if isinstance(urls, str) else urls
        arguments = []
        for name, value in options.items():
            for one in value if isinstance(value, list) else [value]:
                arguments += [f"--{name.replace('_', '-')}", str(one)]
        self._errors = ""
        self._process = subprocess.Popen(
            [programs / "tests" / "deploy" / "load", *arguments, destination, *urls],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, env=ENVIRONMENT, start_new_session=True)
        self._reader = threading.Thread(target=self._read_errors, daemon=True)
        self._reader.start()
        line = self._process.stdout.readline()
        if line != "READY\n":
            self.close()
            raise Failure(f"the load could not start: {line}{self._errors}")

    def _read_errors(self):
        self._errors = self._process.stderr.read()
        self._process.stderr.close()

    def _ask(self, word):
        try:
            self._process.stdin.write(f"{word}\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            self._process.wait()
            self._reader.join(SECONDS)
            raise Failure(f"the load ended with {self._process.returncode}: {self._errors}")
        return json.loads(line)

    def counts(self):
        return self._ask("counts")

    def mark(self):
        """Starts a new measurement of the longest pause."""
        return self._ask("mark")

    def goes_on(self, more=40, seconds=SECONDS):
        """Returns when this many more messages were confirmed and consumed."""
        before, now = self.counts(), {}

        def advanced():
            now.update(self.counts())
            if now["ended"]:
                raise Failure("a client has ended for good")
            return all(now[name] >= before[name] + more for name in ("confirmed", "consumed"))
        try:
            wait_until(advanced, f"{more} more messages", seconds)
        except Failure as failure:
            raise Failure(f"{failure}; before {before}, now {now}") from None
        return now

    def finish(self, seconds=2 * SECONDS):
        """Stops publishing, and returns the last counts: all confirmed messages must have been
        consumed."""
        pause = self.counts()["pause_ms"]
        self._process.stdin.close()
        text = self._process.stdout.read()
        try:
            status = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise Failure(f"the load did not end in {seconds} s") from None
        self._reader.join(SECONDS)
        if status or not text:
            raise Failure(f"the load ended with {status}: {text}{self._errors}")
        counts = {**json.loads(text.splitlines()[-1]), "pause_ms": pause}
        wrong = [name for name in ("lost", "damaged", "refused") if counts[name]]
        wrong += [f"there are not all {name}" for name in ("confirmed", "consumed")
                  if counts[name] != counts["published"]]
        if wrong:
            raise Failure(f"{', '.join(wrong)}: {counts}")
        return counts

    def close(self):
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._reader.join(SECONDS)
        for stream in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):
                stream.close()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

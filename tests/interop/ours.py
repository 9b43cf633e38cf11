"""Our side of the interop tests: programs that use stomp_ws.h, built with sanitizers and driven
from here.

`Client` runs one probe; probe.c describes its commands and output. `cat` runs stomp_cat, `start`
runs any program. In strings, bytes that are not UTF-8 are represented as Python's surrogate
escapes, in both directions.
"""

import contextlib
import fcntl
import json
import os
import pathlib
import subprocess
import threading
import time
import urllib.parse
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
PROGRAMS = ROOT / "build" / "interop" / "programs"
COMPILE = [*os.environ.get("CC", "cc").split(), "-O1", "-g", "-fno-omit-frame-pointer",
           "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined", "-I", ROOT]
# The exit status of a sanitizer. No program uses it for anything else.
ENVIRONMENT = {**os.environ, "ASAN_OPTIONS": "exitcode=99", "UBSAN_OPTIONS": "print_stacktrace=1"}

# How long to wait for an event. A slow machine must not cause a failure.
SECONDS = 60
STOMP_10, STOMP_11, STOMP_12 = 1, 2, 4
OFF = -1


class Unexpected(AssertionError):
    """Something that a client did not do in time. The text tells what it did instead."""


def build(name):
    """Compiles a program if it or the header has changed. Returns the path of the result."""
    source = HERE / "probe.c" if name == "probe" else ROOT / "examples" / f"{name}.c"
    program = PROGRAMS / name
    PROGRAMS.mkdir(parents=True, exist_ok=True)
    with (PROGRAMS / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        newest = max(file.stat().st_mtime for file in (source, ROOT / "stomp_ws.h"))
        if not program.exists() or program.stat().st_mtime <= newest:
            unfinished = program.with_suffix(".new")
            subprocess.run([*COMPILE, "-o", unfinished, source, "-pthread"], check=True)
            unfinished.rename(program)
    return program


def start(name, *arguments, **options):
    """Starts a program with its output in pipes."""
    return subprocess.Popen([build(name), *arguments], env=ENVIRONMENT, text=True,
                            errors="surrogateescape",
                            **{"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE,
                               "stderr": subprocess.PIPE, **options})


def cat(*arguments, text=None, timeout=2 * SECONDS):
    """Runs stomp_cat to its end. Returns its status, and its output in .stdout and .stderr."""
    return subprocess.run([build("stomp_cat"), *arguments], env=ENVIRONMENT, text=True, input=text,
                          errors="surrogateescape", capture_output=True, timeout=timeout,
                          check=False)


def post(server, destination, body, content_type="text/plain"):
    """Makes the Spring server publish a message."""
    query = urllib.parse.urlencode({"destination": destination})
    request = urllib.request.Request(f"{server.http}/publish?{query}", body.encode(),
                                     {"Content-Type": content_type})
    urllib.request.urlopen(request, timeout=SECONDS).close()


def raw_bytes(text):
    """Returns the bytes that a string stands for on the wire."""
    return text.encode("utf-8", "surrogateescape")


def quote(value):
    if isinstance(value, str):
        value = raw_bytes(value)
    elif not isinstance(value, bytes):
        value = str(value).encode()
    return urllib.parse.quote_from_bytes(value, safe="")


class Client:
    """A client that uses stomp_ws.h, in its own process.

    The options have the names of stws_options. `headers` is a list of pairs. Reconnecting is off by
    default.
    """

    def __init__(self, url, trace=False, connect_headers=(), http_headers=(), **options):
        self._events = []
        self._changed = threading.Condition()
        self._process = start("probe", stdin=subprocess.PIPE, stderr=None)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.traced = []
        options.setdefault("reconnect", OFF)
        self._call("connect", [url], trace=int(trace), **options, lists={
            "connect-header": connect_headers, "http-header": http_headers})

    # ---- commands ----

    def subscribe(self, destination, headers=(), **options):
        return self._call("subscribe", [destination], lists={"header": headers}, **options)

    def unsubscribe(self, handle):
        return self._call("unsubscribe", [handle])

    def send(self, destination, body="", headers=(), **options):
        return self._call("send", [destination], body=body, lists={"header": headers}, **options)

    def request(self, destination, body="", headers=(), **options):
        """Returns the reply to a command, or raises the library's error as an exception."""
        self._call("request", [destination], body=body, lists={"header": headers}, **options)
        return self.expect("reply")

    def ack(self, message, *tx):
        return self._call("ack", [message["number"], *tx])

    def nack(self, message, *tx):
        return self._call("nack", [message["number"], *tx])

    def begin(self, tx):
        return self._call("begin", [tx])

    def commit(self, tx):
        return self._call("commit", [tx])

    def abort(self, tx):
        return self._call("abort", [tx])

    def flush(self, ms=1000 * SECONDS):
        return self._call("flush", [ms])

    def disconnect(self, ms=10_000):
        return self._call("disconnect", [ms])

    def stop(self):
        return self._call("stop", [])

    def sleep(self, ms):
        return self._call("sleep", [ms])

    def stats(self):
        self._call("stats", [])
        return self.expect("stats")

    # ---- events ----

    def expect(self, event, timeout=SECONDS, **fields):
        """Waits for the next event of this kind with these fields, and removes it. Other events
        stay."""
        found = self._take(timeout, lambda e: e["event"] == event and
                           all(e.get(key) == value for key, value in fields.items()))
        if found is None:
            raise Unexpected(f"no {event} {fields or ''} within {timeout} s, but {self._rest()}")
        return found

    def connected(self, timeout=SECONDS):
        return self.expect("connected", timeout)

    def message(self, timeout=SECONDS, **fields):
        return self.expect("message", timeout, **fields)

    def messages(self, count, timeout=SECONDS):
        return [self.message(timeout) for _ in range(count)]

    def nothing(self, event="message", within=0.5):
        """Checks that no such event arrives."""
        found = self._take(within, lambda e: e["event"] == event)
        if found is not None:
            raise Unexpected(f"an unexpected event: {found}")

    def ended(self, timeout=SECONDS):
        return self.expect("ended", timeout)

    def never_retried(self):
        """Checks that the client has not announced another attempt so far."""
        retry = self._take(0, lambda e: e["event"] == "disconnected" and e["retry_ms"] >= 0)
        assert retry is None, retry

    def receipt(self, number, result="STWS_OK", timeout=SECONDS):
        """Waits for the receipt with the number that the sending call returned."""
        return self.expect("receipt", timeout, receipt=number, result=result)

    def trace(self, direction, command):
        """Returns the traced frames that begin with this command. For HTTP, `command` is the
        beginning of the head."""
        return [e for e in self.traced
                if e["direction"] == direction and e["command"].startswith(command)]

    def close(self):
        """Ends the process, and checks that it had no error."""
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        try:
            code = self._process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        self._reader.join()
        self._process.stdout.close()
        assert code == 0, f"the probe ended with {code}"

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    # ---- the process ----

    def _call(self, command, plain, lists=None, **named):
        words = [command, *(quote(word) for word in plain)]
        words += [f"{name.replace('_', '-')}={quote(value)}" for name, value in named.items()]
        for name, pairs in (lists or {}).items():
            words += [f"{name}:{quote(key)}={quote(value)}" for key, value in pairs]
        self._process.stdin.write(" ".join(words) + "\n")
        self._process.stdin.flush()
        done = self.expect("done", timeout=2 * SECONDS, command=command)
        if done["result"] < 0:
            raise Refused(command, done["name"])
        return done["result"]

    def _take(self, timeout, wanted):
        deadline = time.monotonic() + timeout
        seen = 0
        with self._changed:
            while True:
                for index in range(seen, len(self._events)):
                    if wanted(self._events[index]):
                        return self._events.pop(index)
                seen = len(self._events)
                left = deadline - time.monotonic()
                if left <= 0 or not self._changed.wait(left):
                    if len(self._events) == seen:
                        return None

    def _rest(self):
        with self._changed:
            return "\n".join(str(event)[:500] for event in self._events[-20:]) or "no other event"

    def _read(self):
        count = 0
        for line in self._process.stdout:
            event = json.loads(line)
            if event["event"] == "message":
                count += 1
                event["number"] = count
            with self._changed:
                (self.traced if event["event"] == "trace" else self._events).append(event)
                self._changed.notify_all()


class Refused(Exception):
    """A call for which the library returned an error. `name` is the error's name."""

    def __init__(self, command, name):
        super().__init__(f"{command}: {name}")
        self.name = name

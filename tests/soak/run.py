#!/usr/bin/env python3
"""Checks that nothing is lost when brokers are killed again and again, and on a bad network, under
load, for T seconds.

    python3 tests/soak/run.py T [NAME]

Three things happen at the same time. RabbitMQ is killed with SIGKILL and started again, and so is
Artemis. A proxy between client and broker cuts, delays, throttles, slices, drops and corrupts data.
Each case has its own client (client.c), which publishes with confirm and consumes with
client-individual. At the end, everything published must be confirmed, and everything confirmed must
be consumed. With NAME only the cases whose name contains it are run. Each case prints a line, and
the last line is "N passed, N failed".
"""

import contextlib
import dataclasses
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
OUTPUT = ROOT / "build" / "soak"
sys.path += [str(ROOT / "tests" / "interop"), str(ROOT / "tests" / "tls")]

import broker  # noqa: E402
import certificates  # noqa: E402

LOGIN = ("soak", "soak")
SECONDS = 60  # the time limit for an event; a busy machine is not our fault
COMPILE = [*os.environ.get("CC", "cc").split(), "-O1", "-g", "-fsanitize=address,undefined",
           "-fno-sanitize-recover=undefined", "-DSTOMP_WS_BEARSSL", "-I", str(ROOT)]


class Failure(Exception):
    """A result that a case must not have."""


class Client:
    """The load, in its own process."""

    def __init__(self, url, name, authority=None):
        extra = [authority] if authority else []
        self._process = subprocess.Popen(
            [OUTPUT / "client", url, f"/queue/{name}", *extra], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True, env={**os.environ, "ASAN_OPTIONS": "exitcode=99"})
        if self._process.stdout.readline() != "READY\n":
            self.close()
            raise Failure("the client could not start")

    def progress(self):
        """How many messages were confirmed and received so far, including duplicates."""
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise Failure(f"the client ended with status {self._process.wait()}")
        confirmed, received = line.split()
        return int(confirmed), int(received)

    def goes_on(self):
        """Waits until more messages are confirmed and received than now, so both clients have a
        session."""
        before, until = self.progress(), time.monotonic() + SECONDS
        while any(now <= then for now, then in zip(self.progress(), before)):
            if time.monotonic() > until:
                raise Failure(f"after {SECONDS} s still at {self.progress()} messages confirmed "
                              f"and "
                              f"received, from {before}")
            time.sleep(0.05)

    def finish(self):
        """Ends the load. Returns its counts."""
        self._process.stdin.close()
        text = self._process.stdout.read()
        status = self._process.wait(SECONDS)
        if status or not text:
            raise Failure(f"the client ended with status {status}: {text}")
        return json.loads(text)

    def close(self):
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()


class Proxy:
    """Toxiproxy: one proxy in front of one address, controlled by HTTP."""

    def __init__(self, port):
        self.port, self._control = broker.free_port(), broker.free_port()
        self._process = subprocess.Popen([OUTPUT / "proxy", "-port", str(self._control)],
                                         stderr=subprocess.DEVNULL)
        broker.wait_for_port(self._control)
        self._call("POST", "/proxies", name="soak", listen=f"127.0.0.1:{self.port}",
                   upstream=f"127.0.0.1:{port}", enabled=True)

    def _call(self, method, path, **body):
        request = urllib.request.Request(f"http://127.0.0.1:{self._control}{path}",
                                         json.dumps(body).encode() if body else None,
                                         {"Content-Type": "application/json"}, method=method)
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:
            return answer.read()

    def add(self, toxic):
        """Both ways."""
        if toxic.kind is None:
            self._call("POST", "/proxies/soak", enabled=False)
            return
        for stream in ("upstream", "downstream"):
            self._call("POST", "/proxies/soak/toxics", name=stream, type=toxic.kind, stream=stream,
                       attributes=toxic.attributes)

    def clear(self):
        self._call("POST", "/reset")

    def close(self):
        self._process.terminate()
        self._process.wait()


@dataclasses.dataclass
class Toxic:
    """A fault of the network, its duration, and whether it ends connections."""

    name: str
    kind: str  # toxics of toxiproxy; None: the proxy stops listening
    attributes: dict
    seconds: float = 1
    ends: bool = True
    needs_tls: bool = False  # without TLS nobody can notice that bytes have changed


TOXICS = [
    Toxic("down", None, {}),
    Toxic("cut", "reset_peer", {"timeout": 50}),
    Toxic("cut in a frame", "limit_data", {"bytes": 20011}),
    Toxic("half-open", "timeout", {"timeout": 0}, seconds=5),
    Toxic("delay", "latency", {"latency": 200, "jitter": 150}, ends=False),
    Toxic("throttle", "bandwidth", {"rate": 50}, ends=False),
    Toxic("slice", "slicer", {"average_size": 5, "size_variation": 4, "delay": 20}, ends=False),
    Toxic("corrupt", "corrupt", {"one_in": 30000, "spare": 8192}, needs_tls=True),
]


class Results:
    """The results, collected from several threads."""

    def __init__(self, only):
        self._only = only
        self._lock = threading.Lock()
        self.passed = self.failed = 0

    def wants(self, name):
        return self._only in name

    def case(self, name, run):
        """Runs a case. It returns the client's counts and a description of the faults."""
        try:
            counts, done, sessions = run()
            judge(counts, sessions)
            line, ok = f"{done}; {describe(counts)}", True
        except (Failure, broker.BrokerError, OSError, subprocess.SubprocessError) as error:
            line, ok = f"FAILED: {error}", False
        with self._lock:
            self.passed += ok
            self.failed += not ok
            print(f"{name}: {line}", flush=True)


def describe(counts):
    return ("{published} published, {confirmed} confirmed, {consumed} consumed, {lost} lost, "
            "{duplicates} duplicates dropped, {publisher_sessions} and {consumer_sessions} sessions"
            .format(**counts))


def judge(counts, sessions):
    """Checks that all published messages were confirmed, all confirmed ones consumed, and that
    there were faults."""
    wrong = [name for name in ("lost", "damaged", "refused") if counts[name]]
    if counts["published"] < 100:
        wrong.append("too few published")
    for name in ("confirmed", "consumed"):
        if counts[name] != counts["published"]:
            wrong.append(f"not all {name}")
    if min(counts["publisher_sessions"], counts["consumer_sessions"]) < sessions:
        wrong.append(f"fewer than the {sessions} sessions that were expected")
    if wrong:
        raise Failure(f"{', '.join(wrong)}: {describe(counts)}, {counts}")


def kill_repeatedly(kind, until, chance):
    """A case: the broker of this kind is killed under load until the time is over, at least two
    times."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(broker.create(kind, login=LOGIN))
        client = Client(server.url, "soak")
        stack.callback(client.close)
        client.goes_on()
        server.settle()
        kills, slowest = 0, 0.0
        while kills < 2 or time.monotonic() + slowest < until:
            time.sleep(chance.uniform(0.2, 2))
            began = time.monotonic()
            server.kill()
            server.start()
            slowest = max(slowest, time.monotonic() - began)
            kills += 1
            client.goes_on()
        counts = client.finish()
    done = f"killed {kills} times, {slowest:.1f} s until it accepted clients again"
    return counts, done, kills + 1


def disturb(server, toxic, seconds, authority):
    """A case: this toxic is switched on and off until the time is over."""
    with contextlib.ExitStack() as stack:
        proxy = Proxy(server.port)
        stack.callback(proxy.close)
        url = server.url.replace(f":{server.port}", f":{proxy.port}")
        client = Client(url, toxic.name.replace(" ", "-"), authority)
        stack.callback(client.close)
        until, times = time.monotonic() + seconds, 0
        while times < 1 or time.monotonic() < until:
            client.goes_on()
            proxy.add(toxic)
            time.sleep(toxic.seconds)
            proxy.clear()
            times += 1
        client.goes_on()
        counts = client.finish()
    return counts, f"{times} times", 2 if toxic.ends else 1


def disturb_all(results, kind, until, tls):
    """All toxics that are possible, one after the other, in front of one broker."""
    with contextlib.ExitStack() as stack:
        authority = None
        if tls:
            folder = certificates.Folder(pathlib.Path(stack.enter_context(
                tempfile.TemporaryDirectory())))
            folder.self_signed("ca")
            folder.issue("ca", "server", "subjectAltName=IP:127.0.0.1")
            tls = (folder.path / "server.crt", folder.path / "server.key")
            authority = folder.path / "ca.crt"
        toxics = [t for t in TOXICS if (tls or not t.needs_tls)
                  and results.wants(f"{t.name}, {kind}")]
        if not toxics:
            return
        server = stack.enter_context(broker.create(kind, login=LOGIN, tls=tls))
        for number, toxic in enumerate(toxics):
            share = (until - time.monotonic()) / (len(toxics) - number)
            results.case(f"{toxic.name}, {kind}{' over wss' if tls else ''}",
                         lambda toxic=toxic, share=share: disturb(server, toxic, share, authority))


def build():
    OUTPUT.mkdir(parents=True, exist_ok=True)
    subprocess.run([*COMPILE, "-o", OUTPUT / "client", HERE / "client.c", "-lbearssl", "-pthread"],
                   check=True)
    subprocess.run(["go", "build", "-buildvcs=false", "-o", OUTPUT / "proxy", "."],
                   cwd=HERE / "proxy", check=True,
                   env={**os.environ, "PATH": os.environ["PATH"] + ":/usr/local/go/bin"})
    broker.build("artemis")


def guarded(results, name, work, *arguments):
    """A thread that counts an exception as a failure."""
    def run():
        try:
            work(*arguments)
        except Exception as error:  # pylint: disable=broad-except
            results.failed += 1
            print(f"{name}: FAILED: {error!r}", flush=True)
    return threading.Thread(target=run)


def main():
    seconds = float(sys.argv[1])
    results = Results(sys.argv[2] if len(sys.argv) > 2 else "")
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, broker.leave)
    build()
    until = time.monotonic() + seconds
    threads = [guarded(results, "toxics, rabbitmq", disturb_all, results, "rabbitmq", until,
                       False),
               guarded(results, "toxics, artemis", disturb_all, results, "artemis", until, True)]
    for seed, kind in enumerate(("rabbitmq", "artemis")):
        name, chance = f"SIGKILL, {kind}", random.Random(seed)
        if results.wants(name):
            threads.append(guarded(
                results, name, results.case, name,
                lambda kind=kind, chance=chance: kill_repeatedly(kind, until, chance)))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(f"{results.passed} passed, {results.failed} failed")
    sys.exit(0 if results.passed and not results.failed else 1)


if __name__ == "__main__":
    main()

"""Runs the examples against a real Spring Boot application, as a newcomer would.

    build/venv/bin/python -m pytest tests/interop/test_examples.py
"""

import collections
import signal
import threading
import time

import pytest

import broker
import ours
from ours import post

TOPIC = "/topic/notifications"


@pytest.fixture(name="spring", scope="module")
def start_spring():
    with broker.create("spring") as spring:
        yield spring


@pytest.fixture(name="run")
def start_program():
    """Starts programs. Programs that a test leaves running are killed after it."""
    processes = []

    def start(name, *arguments):
        processes.append(ours.start(name, *arguments))
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def first_line(process, server, body, destination=TOPIC):
    """Publishes a body until a line is printed, because Spring does not confirm subscriptions."""
    lines = []
    reading = threading.Thread(target=lambda: lines.append(process.stdout.readline()), daemon=True)
    reading.start()
    deadline = time.monotonic() + 60
    while reading.is_alive():
        assert time.monotonic() < deadline, "nothing was printed"
        post(server, destination, body)
        reading.join(0.1)
    return lines[0]


def test_minimal_prints_notifications(spring, run):
    minimal = run("minimal", spring.url)
    assert first_line(minimal, spring, "the first") == "the first\n"
    post(spring, TOPIC, "Grüße")
    line = "the first\n"
    while line == "the first\n":
        line = minimal.stdout.readline()
    assert line == "Grüße\n"


def test_minimal_says_what_is_missing_in_the_url(spring, run):
    minimal = run("minimal", spring.url.removesuffix("/websocket"))
    output, errors = minimal.communicate(timeout=60)
    assert (minimal.returncode, output) == (1, "")
    assert "append" in errors and "/websocket" in errors


def test_minimal_tries_again(run):
    with broker.create("spring") as spring:
        minimal = run("minimal", spring.url)
        assert first_line(minimal, spring, "before") == "before\n"
        spring.kill()
        assert minimal.stderr.readline().endswith("; trying again\n")
        spring.start()
        while first_line(minimal, spring, "after") != "after\n":
            pass


class Lines:
    """The lines that a process prints, read in the background: the positions of each body."""

    def __init__(self, process):
        self._process = process
        self._positions = collections.defaultdict(list)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def positions(self, destination, body):
        """The position of the body. The first line is 0."""
        return list(self._positions[destination, body])

    def wait(self, destinations, body, count, timeout):
        """Whether the body was printed this many times for each destination."""
        deadline = time.monotonic() + timeout
        while any(len(self.positions(name, body)) < count for name in destinations):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.01)
        return True

    def join(self):
        """Waits until the process has closed its output."""
        self._reader.join(60)

    def _read(self):
        for position, line in enumerate(self._process.stdout):
            destination, _, body = line.rstrip("\n").partition(": ")
            self._positions[destination, int(body)].append(position)


def test_notifications_gets_everything_once_and_in_order(spring, run):
    """Runs 8 clients in 8 threads, with 4 destinations each. Every client prints what
    it receives."""
    clients, more = 8, 50
    destinations = [f"/topic/{name}" for name in ("red", "green", "blue", "grey")]
    process = run("notifications", spring.url, "-c", str(clients),
                  *(word for name in destinations for word in ("-d", name)))
    lines = Lines(process)
    first = publish_until_all_get_it(spring, lines, destinations, clients)
    last = first + more
    for body in range(first + 1, last + 1):
        publish(spring, destinations, body)
    assert lines.wait(destinations, last, clients, timeout=60)
    for destination in destinations:
        columns = [lines.positions(destination, body) for body in range(first, last + 1)]
        assert [len(column) for column in columns] == [clients] * (more + 1)
        # Many sequences are printed into one output. This condition shows that each of them was in
        # order.
        for before, after in zip(columns, columns[1:], strict=False):
            assert all(a < b for a, b in zip(before, after, strict=True))
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 0
    assert time.monotonic() - began < 5
    lines.join()
    assert [len(lines.positions(name, last)) for name in destinations] == 4 * [clients]


def publish(server, destinations, body):
    for destination in destinations:
        post(server, destination, str(body))


def publish_until_all_get_it(server, lines, destinations, clients):
    """Publishes numbers until one number arrives at every client from every destination. Returns
    that number."""
    for body in range(300):
        publish(server, destinations, body)
        if lines.wait(destinations, body, clients, timeout=0.2):
            return body
    raise AssertionError("not every client has subscribed")

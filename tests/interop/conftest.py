"""Brokers for a whole session of pytest, and the table of what was measured on them."""

import contextlib

import pytest

import broker
import table

# The only user that these brokers let in.
LOGIN = ("ada", "pass:word")
SETTINGS = {"spring": {"interop.heartbeat": "1000,1000"}}


class Servers:
    """Brokers that are started when first asked for, and stay until the session ends."""

    def __init__(self, stack):
        self._stack = stack
        self._started = {}

    def get(self, kind, big=False):
        """The broker of that kind; `big`: with its limits on message sizes raised."""
        if (kind, big) not in self._started:
            options = {"big": True} if big and kind != "rabbitmq" else {}
            server = broker.create(kind, login=LOGIN, settings=SETTINGS.get(kind), **options)
            self._started[kind, big] = self._stack.enter_context(server)
        return self._started[kind, big]


@pytest.fixture(name="servers", scope="session")
def start_servers():
    with contextlib.ExitStack() as stack:
        yield Servers(stack)


@pytest.fixture(name="measured", scope="session")
def collect_measurements():
    """The results of this session; whoever adds to it gets the table written at the end."""
    results = table.Results()
    yield results
    results.write()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Leaves the outcome of a test where its fixtures find it."""
    outcome = yield
    report = outcome.get_result()
    if call.when == "call" or report.failed:
        item.passed = report.passed

"""Brokers for a whole session of pytest, and the table of the results."""

import contextlib

import pytest

import broker
import table
from cells import LOGIN, Cell

TABLE_MODULES = {"test_cross", "test_matrix"}
# These brokers accept the tests' large messages with default settings, because our client splits
# large frames for them.
NO_LIMITS = {"rabbitmq", "artemis"}
SETTINGS = {"spring": {"interop.heartbeat": "1000,1000"}}


class Servers:
    """Brokers that start when they are first needed, and run until the session ends."""

    def __init__(self, stack):
        self._stack = stack
        self._started = {}

    def get(self, kind, big=False):
        """Returns the broker of this kind. `big` raises its limits on message sizes."""
        big = big and kind not in NO_LIMITS
        if (kind, big) not in self._started:
            options = {"big": True} if big else {}
            server = broker.create(kind, login=LOGIN, settings=SETTINGS.get(kind), **options)
            self._started[kind, big] = self._stack.enter_context(server)
        return self._started[kind, big]


@pytest.fixture(name="servers", scope="session")
def start_servers():
    with contextlib.ExitStack() as stack:
        yield Servers(stack)


@pytest.fixture(name="measured", scope="session")
def collect_measurements(request):
    """The results of this session. If a test adds a result, the table is written at the end."""
    results = table.Results()
    yield results
    session = request.session
    cut_short = session.shouldstop or session.shouldfail
    results.write(complete=has_all_rows(session) and not cut_short)


def has_all_rows(session):
    """Whether all tests that make the table are run."""
    modules = {item.module.__name__: item.module for item in session.items}
    rows = [function for name in TABLE_MODULES if name in modules
            for function in vars(modules[name]).values() if hasattr(function, "row")]
    taking_part = {item.function for item in session.items}
    return (TABLE_MODULES <= modules.keys() and taking_part.issuperset(rows)
            and not getattr(session.config, "left_out", False))


def pytest_deselected(items):
    for item in items:
        item.config.left_out = True


@pytest.fixture(name="cell")
def make_cell(request, servers, measured):
    """The parameter of a test with @feature. It becomes a cell of the table."""
    group, title, reasons = request.function.row
    title = title.format(**request.node.callspec.params)
    kind = request.param
    reason = reasons.get(kind)
    if reason:
        reason = reason.format(**request.node.callspec.params)
    cell = Cell(kind, servers, reason)
    try:
        with cell.clients:
            yield cell
        assert cell.asked or cell.reason is None, f"the test did not check what {kind} does instead"
    except BaseException:
        measured.add(group, title, kind, table.FAILED)
        raise
    passed = getattr(request.node, "passed", False)
    measured.add(group, title, kind, cell.result if passed else table.FAILED)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Stores the outcome of a test where its fixtures can find it."""
    outcome = yield
    report = outcome.get_result()
    if call.when == "call" or report.failed:
        item.passed = report.passed

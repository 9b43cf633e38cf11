"""The rows of the deploy tests' table, and what the tests share."""

import contextlib
import re
import shutil
import signal

import pytest

import deploy
import table


class Row:
    """One row. If the `with` block is left by an exception, the outcome is FAILED."""

    def __init__(self, rows, who, what):
        self._rows = rows
        self._row = {"who": who, "what": what}

    def is_told(self, outcome):
        """The client ends, or reports something. No message was sent that could be lost."""
        self._row["outcome"] = outcome

    def recovers(self, outcome, milliseconds):
        self._row.update(outcome=outcome, recovery_ms=round(milliseconds))

    def confirms(self, outcome, counts, recovery_ms=None):
        """Adds the counts after a load. The longest pause is the recovery time, unless a time is
        given."""
        self._row.update(outcome=outcome, lost=counts["lost"], duplicated=counts["duplicated"],
                         recovery_ms=round(recovery_ms or counts["pause_ms"]))

    def keeps(self, outcome, counts):
        """Adds the counts after a load that needed no recovery."""
        self._row.update(outcome=outcome, lost=counts["lost"], duplicated=counts["duplicated"])

    def __enter__(self):
        self._rows.append(self._row)
        return self

    def __exit__(self, kind, *_):
        if kind:
            self._row["outcome"] = table.SKIPPED if kind is pytest.skip.Exception else table.FAILED
        elif "outcome" not in self._row:
            raise AssertionError(f"this row has no outcome: {self._row}")


@pytest.fixture(name="row", scope="module")
def make_rows(request):
    """row(who, what) creates a row of the table, to be used by `with`."""
    rows = []
    yield lambda who, what: Row(rows, who, what)
    table.write(request.module.__name__, rows)


@pytest.fixture(name="certs", scope="session")
def make_certificates(work):
    return deploy.Certificates(work / "certificates")


@pytest.fixture(name="work", scope="session")
def make_session_folder(request):
    """A folder for this session. It is empty at the beginning."""
    modules = sorted({item.module.__name__ for item in request.session.items})
    folder = deploy.OUTPUT / "work" / "+".join(modules)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


@pytest.fixture(name="folder")
def make_folder(request, work):
    return work / re.sub(r"\W+", "-", request.node.name).strip("-")


@pytest.fixture(name="start")
def start_proxies(folder, certs):
    """start(class, settings) starts a proxy that runs until the test ends."""
    with contextlib.ExitStack() as stack:
        count = 0

        def start(kind, **settings):
            nonlocal count
            need(kind)
            count += 1
            return stack.enter_context(
                kind(folder / f"{kind.name}-{count}", certs, **settings))
        yield start


def need(kind):
    """Skips the test if this machine lacks the proxy's program."""
    if kind.missing():
        pytest.skip(kind.missing())


def pytest_configure():
    def leave(*_):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise KeyboardInterrupt
    signal.signal(signal.SIGTERM, leave)


def pytest_terminal_summary(terminalreporter):
    """Prints skipped tests in the form that tests/run.sh understands."""
    for report in terminalreporter.getreports("skipped"):
        reason = report.longrepr[2].removeprefix("Skipped: ")
        terminalreporter.write_line(f"SKIPPED {reason}: {report.nodeid}")


"""A cell of the table: one broker, one feature, and the clients that a test makes for it."""

import contextlib
import itertools

import pytest

import table
from ours import Client

# The only user that the brokers of the table let in.
LOGIN = ("ada", "pass:word")
NAMES = itertools.count(1)


def feature(group, title, **cannot):
    """Make a test one row of the table: it has a parameter `cell`.

    `cannot` has the reasons of the brokers that cannot, by their kind with _ for -. Other
    parameters of the test may stand in the title, as {name}.
    """
    reasons = {kind.replace("_", "-"): reason for kind, reason in cannot.items()}

    def mark(function):
        function.row = (group, title, reasons)
        return pytest.mark.parametrize("cell", table.BROKERS, indirect=True)(function)
    return mark


def topic():
    """The name of a topic that no other test uses."""
    return f"/topic/matrix{next(NAMES)}"


def queue():
    return f"/queue/matrix{next(NAMES)}"


class Cell:
    """What a test of one cell works with."""

    def __init__(self, kind, servers, reason):
        self.kind = kind
        self.reason = reason
        self.exception = None
        self.asked = False
        self.clients = contextlib.ExitStack()
        self._servers = servers

    @property
    def cannot(self):
        """Whether the broker cannot. Then the test has to assert what it does instead."""
        self.asked = True
        return self.reason is not None

    def all_but(self, exception):
        """It works, but for this, which the test has to assert: another client gets it wrong."""
        self.exception = exception

    @property
    def result(self):
        """What the table says of it, when the test has passed."""
        if self.reason:
            return table.cannot(self.reason)
        return table.all_but(self.exception) if self.exception else table.YES

    def server(self, big=False):
        return self._servers.get(self.kind, big)

    def client(self, big=False, **options):
        """A client that is logged in; it may not be connected yet."""
        login, passcode = LOGIN
        options = {"login": login, "passcode": passcode, **options}
        return self.clients.enter_context(Client(self.server(big).url, **options))

    def connected(self, **options):
        client = self.client(**options)
        client.connected()
        return client

    def subscriber(self, destination, options=None, **subscription):
        """A client that is subscribed, as the server has confirmed."""
        client = self.connected(**(options or {}))
        self.subscribe(client, destination, **subscription)
        return client

    def subscribe(self, client, destination, **options):
        """Subscribe, and return once the server has confirmed it."""
        if self.kind == "spring":
            handle = client.subscribe(destination, **options)
            self.fence(client)
        else:
            handle = client.subscribe(destination, receipt=1, **options)
            client.receipt(handle)
        return handle

    def fence(self, client):
        """Return once the server is through with all that the client said before."""
        if self.kind == "spring":
            handle = client.subscribe("/user/queue/reply")
            client.send("/app/reply", f"fence {handle}")
            client.message(body=f"fence {handle}")
            client.unsubscribe(handle)
        else:
            client.receipt(client.send("/topic/fence", "fence", receipt=1))

    def send(self, client, *arguments, **options):
        """Send, and return once the server has taken it."""
        if self.kind == "spring":
            client.send(*arguments, **options)
            self.fence(client)
        else:
            client.receipt(client.send(*arguments, receipt=1, **options))

    def round_trip(self, client, body, **options):
        """What comes back of a message that a client sends to itself."""
        destination = topic()
        self.subscribe(client, destination)
        client.send(destination, body, **options)
        return client.message(destination=destination)

"""A cell of the table: one broker, one feature, and the clients that a test creates for it."""

import contextlib
import itertools

import pytest

import table
from ours import Client

# The only user that the brokers of the table accept.
LOGIN = ("ada", "pass:word")
NAMES = itertools.count(1)


def feature(group, title, **cannot):
    """Makes a test one row of the table. The test has a parameter `cell`.

    `cannot` contains the brokers that lack the feature, with the reason. Write _ for - in a
    broker's name. The title may contain other parameters of the test, as {name}.
    """
    reasons = {kind.replace("_", "-"): reason for kind, reason in cannot.items()}

    def mark(function):
        function.row = (group, title, reasons)
        return pytest.mark.parametrize("cell", table.BROKERS, indirect=True)(function)
    return mark


def topic():
    """Returns the name of a topic that no other test uses."""
    return f"/topic/matrix{next(NAMES)}"


def queue():
    return f"/queue/matrix{next(NAMES)}"


class Cell:
    """What a test uses for one cell."""

    def __init__(self, kind, servers, reason):
        self.kind = kind
        self.reason = reason
        self.exception = None
        self.asked = False
        self.clients = contextlib.ExitStack()
        self._servers = servers

    @property
    def cannot(self):
        """Whether the broker lacks the feature. The test must then check the broker's actual
        behaviour."""
        self.asked = True
        return self.reason is not None

    def all_but(self, exception):
        """The feature works, except for a fault of another client. The test must check
        this fault."""
        self.exception = exception

    @property
    def result(self):
        """The text in the table, if the test has passed."""
        if self.reason:
            return table.cannot(self.reason)
        return table.all_but(self.exception) if self.exception else table.YES

    def server(self, big=False):
        return self._servers.get(self.kind, big)

    def client(self, big=False, **options):
        """Starts a client with the login. It may not be connected yet."""
        login, passcode = LOGIN
        options = {"login": login, "passcode": passcode, **options}
        return self.clients.enter_context(Client(self.server(big).url, **options))

    def connected(self, **options):
        client = self.client(**options)
        client.connected()
        return client

    def subscriber(self, destination, options=None, **subscription):
        """Starts a client with a subscription that the server has confirmed."""
        client = self.connected(**(options or {}))
        self.subscribe(client, destination, **subscription)
        return client

    def subscribe(self, client, destination, **options):
        """Subscribes, and returns when the server has confirmed the subscription."""
        if self.kind == "spring":
            handle = client.subscribe(destination, **options)
            self.fence(client)
        else:
            handle = client.subscribe(destination, receipt=1, **options)
            client.receipt(handle)
        return handle

    def fence(self, client):
        """Returns when the server has processed everything that the client sent before."""
        if self.kind == "spring":
            handle = client.subscribe("/user/queue/reply")
            client.send("/app/reply", f"fence {handle}")
            client.message(body=f"fence {handle}")
            client.unsubscribe(handle)
        else:
            client.receipt(client.send("/topic/fence", "fence", receipt=1))

    def send(self, client, *arguments, **options):
        """Sends, and returns when the server has accepted the message."""
        if self.kind == "spring":
            client.send(*arguments, **options)
            self.fence(client)
        else:
            client.receipt(client.send(*arguments, receipt=1, **options))

    def round_trip(self, client, body, **options):
        """Sends a message to the client itself, and returns the received message."""
        destination = topic()
        self.subscribe(client, destination)
        client.send(destination, body, **options)
        return client.message(destination=destination)

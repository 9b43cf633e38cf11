"""Every broker and every feature. Each cell must work. If the broker lacks the feature, the test
checks what it does instead.

    build/venv/bin/python -m pytest tests/interop/test_matrix.py [-k 'transaction and rabbitmq']

A test is a row of the table, and `cell` is one broker in it. @feature names the brokers that lack
the feature, with the reason. Their tests must look at `cell.cannot` and check what such a broker
does instead. Together with test_cross.py this writes build/interop/table.md and table.json.
"""

import contextlib
import re
import threading
import time

import pytest

import ours
from cells import LOGIN, NAMES, feature, queue, topic
from ours import Client, Unexpected, raw_bytes

SPRINGS = ("spring", "spring-relay")
KIB = 1024
IDLE_SECONDS = 15
SILENT_SECONDS = 70
# For a message of many MiB in both directions.
BIG_SECONDS = 60

# How each broker implements what STOMP leaves open.
MANY_LEVELS = {
    "spring": "**", "spring-relay": "#", "rabbitmq": "#", "activemq": ">", "artemis": "#",
}
PREFETCH = {
    "spring": ("prefetch-count", 2),
    "spring-relay": ("prefetch-count", 2),
    "rabbitmq": ("prefetch-count", 2),
    "activemq": ("activemq.prefetchSize", 2),
    # In bytes: room for two of the test's messages.
    "artemis": ("consumer-window-size", 500),
}
DURABLE = {
    "spring": [("durable", "true")],
    "spring-relay": [("durable", "true"), ("auto-delete", "false")],
    "rabbitmq": [("durable", "true"), ("auto-delete", "false")],
    "activemq": [("activemq.subscriptionName", "durable")],
    "artemis": [("durable-subscription-name", "durable")],
}
BAD_DESTINATION = {
    "spring": ("/nowhere/x", None),
    "spring-relay": ("/queue/", "not a valid queue destination"),
    "rabbitmq": ("/nowhere/x", "not a valid destination"),
    "activemq": ("/queue/", None),
    "artemis": ("/queue/", "Invalid queue name"),
}


def header(message, name):
    """The values of all headers with this name."""
    return [value for key, value in message["headers"] if key == name]


class IdleClients:
    """Clients that do nothing, one for each broker that a test of the session uses."""

    def __init__(self, stack, servers, items, test, **options):
        self._clients = {}
        login, passcode = LOGIN
        for item in items:
            if getattr(item, "originalname", None) == test:
                kind = item.callspec.params["cell"]
                client = Client(servers.get(kind).url, login=login, passcode=passcode, **options)
                client.since = time.monotonic()
                self._clients[kind] = stack.enter_context(client)

    def __getitem__(self, kind):
        return self._clients[kind]


@pytest.fixture(name="silent", scope="module", autouse=True)
def start_silent_clients(request, servers):
    """They need no attention, so they can be silent while the other rows run."""
    with contextlib.ExitStack() as stack:
        yield IdleClients(stack, servers, request.session.items, "test_idle_without_heartbeats",
                          heartbeat_out_ms=ours.OFF, heartbeat_in_ms=ours.OFF, ping_ms=ours.OFF)


@pytest.fixture(name="beating", scope="module")
def start_beating_clients(request, servers):
    """All at the same time, while nothing else runs, so that no client is late because of other
    tests."""
    with contextlib.ExitStack() as stack:
        yield IdleClients(stack, servers, request.session.items, "test_heartbeats",
                          heartbeat_out_ms=1000, heartbeat_in_ms=1000)


# ---- connecting ----

def version_round_trip(cell, bits, name):
    client = cell.client(versions=bits)
    assert client.connected()["version"] == name
    assert cell.round_trip(client, "x")["body"] == "x"


@feature("Connecting", "STOMP 1.0")
def test_version_10(cell):
    version_round_trip(cell, ours.STOMP_10, "1.0")


@feature("Connecting", "STOMP 1.1")
def test_version_11(cell):
    version_round_trip(cell, ours.STOMP_11, "1.1")


@feature("Connecting", "STOMP 1.2")
def test_version_12(cell):
    version_round_trip(cell, ours.STOMP_12, "1.2")


@feature("Connecting", "the highest common version is agreed")
def test_negotiation(cell, measured):
    connected = cell.client().connected()
    assert connected["version"] == "1.2"
    measured.versions[cell.kind] = version_of(cell, connected)
    version_round_trip(cell, ours.STOMP_10 | ours.STOMP_11, "1.1")


def version_of(cell, connected):
    """The version that the server reports. Spring reports none, except the version of a broker
    behind its relay."""
    name = (header(connected, "server") or [""])[0].split(" ")[0].partition("/")[2]
    return name if cell.kind not in SPRINGS else spring_version()


def spring_version():
    pom = (ours.HERE / "spring" / "pom.xml").read_text()
    return re.search(r"spring-boot-starter-parent</artifactId>\s*<version>(.*)</", pom)[1]


@feature("Connecting", "the client recognises the broker from CONNECTED",
         spring_relay="CONNECTED names the RabbitMQ behind the relay")
def test_broker(cell):
    seen = cell.client().connected()["broker"]
    assert seen == ("rabbitmq" if cell.cannot else cell.kind)


@feature("Connecting", "the WebSocket subprotocol is agreed")
def test_subprotocol(cell):
    for bits, name in ((0, "v12.stomp"), (ours.STOMP_11, "v11.stomp")):
        client = cell.client(trace=True, versions=bits)
        client.connected()
        answer, = client.trace("<", "HTTP/1.1 101")
        assert [value for key, value in answer["headers"]
                if key.lower() == "sec-websocket-protocol"] == [name]


@feature("Connecting", "accepts a client with an unknown subprotocol",
         activemq="answers HTTP 500 without a STOMP subprotocol")
def test_unknown_subprotocol(cell):
    client = cell.client(subprotocols="junk")
    if cell.cannot:
        assert "HTTP 500" in client.ended()["text"]
        assert client.stats()["http_status"] == 500
    else:
        client.connected()


@feature("Connecting", "login")
def test_login(cell):
    assert cell.round_trip(cell.connected(), "in")["body"] == "in"


@feature("Connecting", "wrong passcode: refused, and the error quotes the server")
def test_wrong_passcode(cell):
    client = cell.client(passcode="wrong", reconnect=0)
    ended = client.ended()
    assert ended["result"] == "STWS_ERR_LOGIN"
    words = {"rabbitmq": "Access refused", "activemq": "password is invalid",
             "artemis": "password is invalid"}
    assert words.get(cell.kind, "Wrong login or passcode") in ended["text"]


@feature("Connecting", "unknown virtual host: refused, and the error names the remedy",
         spring="ignores host", spring_relay="replaces host with its own",
         activemq="ignores host", artemis="ignores host")
def test_virtual_host(cell):
    client = cell.client(host="127.0.0.1", reconnect=0)
    if cell.cannot:
        client.connected()
        assert cell.round_trip(client, "x")["body"] == "x"
    else:
        text = client.ended()["text"]
        assert "Virtual host '127.0.0.1' access denied" in text and "leave it out" in text


@feature("Connecting", "DISCONNECT with a receipt",
         rabbitmq="usually closes with code 1000 before it sends the RECEIPT; the client treats "
                  "this as a clean end")
def test_disconnect(cell):
    client = cell.connected(trace=True)
    client.disconnect()
    assert client.ended()["result"] == "STWS_CLOSED"
    receipts = client.trace("<", "RECEIPT")
    if cell.cannot:
        assert len(receipts) <= 1 and client.stats()["close_code"] == 1000
    else:
        assert len(receipts) == 1


# ---- destinations ----

@feature("Destinations", "topic: every subscriber gets the message")
def test_topic(cell):
    destination = topic()
    subscribers = [cell.subscriber(destination) for _ in range(2)]
    cell.connected().send(destination, "to all")
    for client in subscribers:
        assert client.message()["body"] == "to all"


@feature("Destinations", "queue: each message goes to one consumer",
         spring="treats a queue like a topic: every subscriber gets the message")
def test_queue(cell):
    destination = queue()
    consumers = [cell.subscriber(destination) for _ in range(2)]
    sender = cell.connected()
    sent = [str(number) for number in range(10)]
    for body in sent:
        cell.send(sender, destination, body)
    if cell.cannot:
        for client in consumers:
            comes(client, sent)
        return
    got = []
    deadline = time.monotonic() + ours.SECONDS
    while len(got) < len(sent) and time.monotonic() < deadline:
        got += [m["body"] for client in consumers for m in drain(client)]
    assert sorted(got) == sent
    for client in consumers:
        client.nothing()


def comes(client, bodies):
    """Checks that exactly these messages arrive, in this order. Returns them."""
    messages = client.messages(len(bodies))
    assert [m["body"] for m in messages] == bodies
    client.nothing()
    return messages


def drain(client, within=0.3):
    """Returns all messages that arrive until none arrives for some time."""
    messages = []
    with contextlib.suppress(Unexpected):
        while True:
            messages.append(client.message(within))
    return messages


@feature("Destinations", "queue: messages are kept for a later consumer",
         spring="stores no messages")
def test_queue_keeps(cell):
    destination = queue()
    cell.send(cell.connected(), destination, "kept")
    later = cell.subscriber(destination)
    if cell.cannot:
        later.nothing()
    else:
        assert later.message()["body"] == "kept"


@feature("Destinations", "wildcard for one level")
def test_wildcard(cell):
    # The separator of levels is a dot in RabbitMQ, ActiveMQ and Artemis, and a slash in Spring.
    base, level = topic(), "/" if cell.kind == "spring" else "."
    client = cell.subscriber(f"{base}{level}*")
    sender = cell.connected()
    for name in (f"{base}{level}a", f"{base}{level}a{level}b", f"{base}x"):
        cell.send(sender, name, name)
    comes(client, [f"{base}{level}a"])


@feature("Destinations", "wildcard for many levels")
def test_wildcard_for_many_levels(cell):
    base, level = topic(), "/" if cell.kind == "spring" else "."
    client = cell.subscriber(f"{base}{level}{MANY_LEVELS[cell.kind]}")
    sender = cell.connected()
    names = [f"{base}{level}a", f"{base}{level}a{level}b"]
    for name in (*names, f"{base}x"):
        cell.send(sender, name, name)
    comes(client, names)


@feature("Destinations", "selector",
         spring="ignores selector (unless setSelectorHeaderName is set)",
         spring_relay="ignores selector", rabbitmq="ignores selector")
def test_selector(cell):
    destination = topic()
    client = cell.subscriber(destination, headers=[("selector", "colour = 'red'")])
    sender = cell.connected()
    for colour in ("blue", "red"):
        cell.send(sender, destination, colour, headers=[("colour", colour)])
    comes(client, ["blue", "red"] if cell.cannot else ["red"])


@feature("Destinations", "UNSUBSCRIBE stops delivery")
def test_unsubscribe(cell):
    destination = topic()
    client = cell.connected()
    handle = cell.subscribe(client, destination)
    client.send(destination, "before")
    assert client.message()["body"] == "before"
    client.unsubscribe(handle)
    cell.fence(client)
    cell.send(cell.connected(), destination, "after")
    client.nothing()


@feature("Destinations", "durable subscription, by the broker's own headers",
         spring="stores no messages for absent subscribers")
def test_durable_subscription(cell):
    destination = topic()
    identity = f"client{next(NAMES)}"
    options = {"connect_headers": [("client-id", identity)]}
    subscription = {"id": identity, "headers": DURABLE[cell.kind]}
    first = cell.subscriber(destination, options, **subscription)
    first.disconnect()
    first.ended()
    cell.send(cell.connected(), destination, "missed")
    second = cell.subscriber(destination, options, **subscription)
    if cell.cannot:
        second.nothing()
    else:
        assert second.message()["body"] == "missed"


@feature("Destinations", "durable subscription, by the options client_id and durable",
         spring="stores no messages for absent subscribers")
def test_durable_option(cell):
    destination = topic()
    options, name = {"client_id": f"client{next(NAMES)}"}, f"durable{next(NAMES)}"
    gone(cell.subscriber(destination, options, durable=name))
    cell.send(cell.connected(), destination, "missed")
    second = cell.subscriber(destination, options, durable=name)
    if cell.cannot:
        second.nothing()
    else:
        assert second.message()["body"] == "missed"


@feature("Destinations", "durable subscription: UNSUBSCRIBE deletes it at the broker")
def test_durable_unsubscribed(cell):
    destination = topic()
    options, name = {"client_id": f"client{next(NAMES)}"}, f"durable{next(NAMES)}"
    first = cell.connected(**options)
    first.unsubscribe(cell.subscribe(first, destination, durable=name))
    cell.fence(first)
    gone(first)
    cell.send(cell.connected(), destination, "for nobody")
    cell.subscriber(destination, options, durable=name).nothing()


def gone(client):
    client.disconnect()
    client.ended()


@feature("Destinations", "request and reply over a temporary queue",
         spring="has no temporary queues: the request times out; use user destinations instead",
         spring_relay="relays only /topic and /queue: the replying service must be connected to "
                      "RabbitMQ itself")
def test_request(cell):
    destination = queue()
    replier = cell.subscriber(destination)
    client = cell.connected()
    if not cell.cannot:
        assert ask(client, destination, replier)["body"] == "the answer to a question"
        return
    with pytest.raises(ours.Refused, match="STWS_ERR_TIMEOUT"):
        ask(client, destination, replier, timeout=2000)
    if cell.kind == "spring-relay":
        replier.disconnect()
        replier.ended()
        behind = cell.clients.enter_context(Client(cell.server().rabbitmq.url))
        behind.connected()
        cell.subscribe(behind, destination)
        assert ask(client, destination, behind)["body"] == "the answer to a question"


def ask(client, destination, replier, timeout=30_000):
    """Makes a request, which another client answers meanwhile."""
    def answer():
        question = replier.message()
        reply_to, = header(question, "reply-to")
        correlation, = header(question, "correlation-id")
        replier.send(reply_to, f"the answer to {question['body']}",
                     headers=[("correlation-id", correlation)])

    answering = threading.Thread(target=answer)
    answering.start()
    try:
        return client.request(destination, "a question", timeout=timeout)
    finally:
        answering.join()


@feature("Destinations", "100 subscriptions of one client")
def test_100_subscriptions(cell):
    client = cell.connected()
    handles = {topic(): None for _ in range(100)}
    for destination in handles:
        handles[destination] = client.subscribe(destination)
    cell.fence(client)
    for destination in handles:
        client.send(destination, destination)
    for message in client.messages(100):
        assert message["body"] == message["destination"]
        assert message["handle"] == handles.pop(message["destination"])
    client.nothing(within=0.1)


# ---- acknowledging ----

@feature("Acknowledging", "auto: a delivered message is not delivered again")
def test_ack_auto(cell):
    destination = queue()
    client = cell.subscriber(destination)
    cell.send(client, destination, "once")
    assert client.message()["body"] == "once"
    client.disconnect()
    client.ended()
    cell.subscriber(destination).nothing()


def consume(cell, mode, acknowledge, rest, **options):
    """A client receives three messages and acknowledges some. Checks what the next
    client receives."""
    destination = queue()
    client = cell.subscriber(destination, options, ack=mode)
    for body in "abc":
        cell.send(client, destination, body, headers=[("persistent", "true")])
    messages = client.messages(3)
    assert [m["body"] for m in messages] == ["a", "b", "c"]
    if messages[0]["ack"] or options:
        acknowledge(client, messages)
        cell.fence(client)
    client.disconnect()
    client.ended()
    return comes(cell.subscriber(destination), rest)


NO_ACKS = "has no ack modes: it sends no ack header and redelivers nothing"


@feature("Acknowledging", "client: one ACK covers all earlier messages", spring=NO_ACKS)
def test_ack_client(cell):
    consume(cell, "client", lambda client, messages: client.ack(messages[1]),
            [] if cell.cannot else ["c"])


@feature("Acknowledging", "client-individual: each message has its own ACK", spring=NO_ACKS)
def test_ack_client_individual(cell):
    consume(cell, "client-individual", lambda client, messages: client.ack(messages[1]),
            [] if cell.cannot else ["a", "c"])


@feature("Acknowledging", "no ACK: the message is redelivered, and marked as redelivered",
         spring=NO_ACKS)
def test_redelivery(cell):
    rest = consume(cell, "client-individual", lambda client, messages: None,
                   [] if cell.cannot else ["a", "b", "c"])
    if not cell.cannot:
        assert header(rest[0], "redelivered") == ["true"]


@feature("Acknowledging", "ACK in the forms of STOMP 1.0 and 1.1", spring=NO_ACKS)
def test_ack_of_old_versions(cell):
    for bits in (ours.STOMP_10, ours.STOMP_11):
        consume(cell, "client", lambda client, messages: client.ack(messages[0]),
                [] if cell.cannot else ["b", "c"], versions=bits)


@feature("Acknowledging", "NACK: the message is delivered again", spring=NO_ACKS,
         activemq="moves the message to its dead letter queue",
         artemis="drops the message, or moves it to a dead letter address")
def test_nack(cell):
    destination = queue()
    client = cell.subscriber(destination, ack="client-individual")
    cell.send(client, destination, destination, headers=[("persistent", "true")])
    message = client.message()
    if cell.kind == "spring":
        assert cell.cannot and message["ack"] is None
        return
    client.nack(message)
    if not cell.cannot:
        again = client.message()
        assert again["body"] == destination and header(again, "redelivered") == ["true"]
        client.ack(again)
        return
    client.nothing()
    cell.subscriber(destination).nothing()
    if cell.kind == "activemq":
        dead = cell.subscriber("/queue/ActiveMQ.DLQ")
        assert dead.message(body=destination)


AT_ONCE = "sends all messages immediately, whatever limit is requested"


@feature("Acknowledging",
         "prefetch, by the broker's own header: it limits the unacknowledged messages",
         spring=AT_ONCE)
def test_prefetch(cell):
    two_at_a_time(cell, 100, headers=[PREFETCH[cell.kind]])


@feature("Acknowledging",
         "prefetch, by the option prefetch: it limits the unacknowledged messages",
         spring=AT_ONCE)
def test_prefetch_option(cell):
    two_at_a_time(cell, KIB, prefetch=2)


def two_at_a_time(cell, size, **subscription):
    destination = queue()
    client = cell.subscriber(destination, ack="client-individual", **subscription)
    sender = cell.connected()
    for number in range(10):
        sender.send(destination, f"{number} " + "x" * size)
    cell.fence(sender)
    if cell.cannot:
        client.messages(10)
        return
    came = client.messages(2)
    client.nothing(within=0.7)
    for number in range(2, 10):
        client.ack(came.pop(0))
        came.append(client.message())
        assert came[-1]["body"].startswith(f"{number} ")
    client.nothing(within=0.2)


# ---- transactions and receipts ----

NO_TRANSACTIONS = "ignores transactions: messages are delivered immediately, even if ABORT follows"


@feature("Transactions and receipts", "transaction: nothing before COMMIT, everything after it",
         spring=NO_TRANSACTIONS)
def test_commit(cell):
    destination = topic()
    client = cell.subscriber(destination)
    client.begin("tx")
    for body in ("first", "second"):
        client.send(destination, body, tx="tx")
    if cell.cannot:
        assert [m["body"] for m in client.messages(2)] == ["first", "second"]
        return
    client.nothing()
    client.commit("tx")
    assert [m["body"] for m in client.messages(2)] == ["first", "second"]


@feature("Transactions and receipts", "transaction: nothing after ABORT", spring=NO_TRANSACTIONS)
def test_abort(cell):
    destination = topic()
    client = cell.subscriber(destination)
    client.begin("tx")
    client.send(destination, "never", tx="tx")
    client.abort("tx")
    cell.fence(client)
    if cell.cannot:
        assert client.message()["body"] == "never"
    client.nothing()


@feature("Transactions and receipts", "transaction: an aborted ACK has no effect",
         spring=NO_ACKS,
         artemis="does not include ACKs in a transaction: an ACK takes effect immediately")
def test_abort_of_an_ack(cell):
    def acknowledge(client, messages):
        client.begin("tx")
        client.ack(messages[0], "tx")
        client.abort("tx")
        client.begin("ty")
        client.ack(messages[1], "ty")
        client.commit("ty")

    instead = {"spring": [], "artemis": ["c"]}
    consume(cell, "client-individual", acknowledge,
            instead[cell.kind] if cell.cannot else ["a", "c"])


@feature("Transactions and receipts", "receipts for SEND and SUBSCRIBE",
         spring="sends receipts for DISCONNECT only: all others time out")
def test_receipts(cell):
    client = cell.connected(receipt_timeout_ms=500 if cell.cannot else 0)
    expected = "STWS_ERR_TIMEOUT" if cell.cannot else "STWS_OK"
    client.receipt(client.send(topic(), "x", receipt=1), expected)
    client.subscribe(topic(), receipt=1)
    assert client.expect("receipt")["result"] == expected


@feature("Transactions and receipts", "sends with the option confirm",
         spring="sends no receipt for SEND, so nothing can be confirmed")
def test_confirm(cell):
    destination = topic()
    client = cell.subscriber(destination)
    sender = cell.connected(confirm=1, receipt_timeout_ms=500 if cell.cannot else 0)
    for number in range(10):
        sender.send(destination, str(number))
    if cell.cannot:
        with pytest.raises(ours.Refused):
            sender.flush(1000)
    else:
        began = time.monotonic()
        sender.flush()
        assert time.monotonic() - began < ours.SECONDS / 2
    assert [m["body"] for m in client.messages(10)] == [str(number) for number in range(10)]


def for_a_flood(cell):
    """Options for a client that sends a very large number of messages.

    RabbitMQ 3.10 has a race between heart-beats and flow control: rabbit_heartbeat meets an
    unexpected "resume", and RabbitMQ resets the connection.
    """
    quiet = {"heartbeat_out_ms": ours.OFF, "heartbeat_in_ms": ours.OFF}
    return quiet if cell.kind in ("rabbitmq", "spring-relay") else {}


@feature("Transactions and receipts", "10,000 messages in order (with the send buffer raised)")
def test_10000_in_order(cell):
    destination = topic()
    client = cell.subscriber(destination, {"big": True})
    sender = cell.connected(big=True, **for_a_flood(cell))
    sender.send(destination, count=10000)
    assert [m["body"] for m in client.messages(10000)] == [str(n) for n in range(1, 10001)]


# ---- bodies ----

def same_body(cell, body, **options):
    client = cell.connected(**options)
    assert raw_bytes(cell.round_trip(client, body, type="text/plain")["body"]) == raw_bytes(body)


@feature("Bodies", "empty")
def test_body_empty(cell):
    same_body(cell, "")


@feature("Bodies", "1 byte")
def test_body_of_one(cell):
    same_body(cell, "x")


@feature("Bodies", "8 KiB + 1 byte, with default settings on both sides")
def test_body_of_8_kib(cell):
    same_body(cell, "x" * (8 * KIB + 1))


@feature("Bodies", "60 KiB of 3-byte characters, with default settings on both sides")
def test_body_of_60_kib(cell):
    same_body(cell, "€" * (20 * KIB))


@feature("Bodies", "64 KiB (a lower limit of the server is raised)")
def test_body_of_64_kib(cell):
    same_body(cell, "x" * (64 * KIB), big=True)


@feature("Bodies", "1 MiB (a lower limit of the server is raised)")
def test_body_of_1_mib(cell):
    same_body(cell, "0123456789abcdef" * (64 * KIB), big=True)


# The default of stws_options.max_body.
OUR_LIMIT = 16 * KIB * KIB
NO_LIMIT = ("forwards 16 MiB + 1 byte; our default limit then closes the connection, and the "
            "error names max_body")


@feature("Bodies",
         "over the server's default limit: the error names the limit and the server's option",
         rabbitmq=NO_LIMIT, artemis=NO_LIMIT)
def test_over_the_limit(cell):
    if cell.cannot:
        over_our_limit(cell, OUR_LIMIT)
        return
    client = cell.connected()
    client.send(topic(), "x" * (64 * KIB + 1))
    text = client.ended()["text"]
    if cell.kind == "activemq":
        assert "65,536" in text and "websocket.maxTextMessageSize" in text
    else:
        assert "65536" in text and "setMessageSizeLimit" in text


@feature("Bodies",
         "one byte over our default limit of 16 MiB (the server's limit is raised): the error "
         "names limit and option")
def test_over_our_default_limit(cell):
    over_our_limit(cell, OUR_LIMIT, big=True)


@feature("Bodies", "one byte over a max_body that we set: the error names limit and option")
def test_over_our_limit(cell):
    over_our_limit(cell, 1000, max_body=1000)


def over_our_limit(cell, limit, big=False, **options):
    """Checks that a client accepts a message that is as long as its limit, but not a message that
    is one byte longer."""
    destination = topic()
    client = cell.subscriber(destination, {"big": big, **options})
    sender = cell.connected(big=big, outbox_bytes=limit + 64 * KIB, **for_a_flood(cell))
    sender.send(destination, "x" * limit)
    # In a variable, because pytest would compare the texts letter by letter.
    same = client.message(BIG_SECONDS)["body"] == "x" * limit
    assert same
    sender.send(destination, "x" * (limit + 1))
    ended = client.ended(BIG_SECONDS)
    assert ended["result"] == "STWS_ERR_FRAME_BODY"
    assert str(limit) in ended["text"] and "max_body" in ended["text"]


@feature("Bodies", "text with NULs")
def test_body_with_nuls(cell):
    same_body(cell, "a\0b\0\0")


BINARY_IS_IGNORED = "silently drops a binary WebSocket message: no message, no receipt"
ALL_BYTES = bytes(range(256)) * 8


@feature("Bodies", "all 256 byte values", activemq=BINARY_IS_IGNORED)
def test_body_of_all_bytes(cell):
    """Without a content type from us: the library adds application/octet-stream, which Spring has to have."""
    message = binary_body(cell)
    if message:
        assert message["content_type"] == "application/octet-stream"


def binary_body(cell, **options):
    """Returns the message that arrived, or None if it cannot arrive."""
    destination = topic()
    client = cell.subscriber(destination, {"receipt_timeout_ms": 3000})
    number = client.send(destination, ALL_BYTES, receipt=1, **options)
    if cell.kind == "activemq":
        assert cell.cannot
        client.receipt(number, "STWS_ERR_TIMEOUT")
        client.nothing()
        return None
    message = client.message()
    assert raw_bytes(message["body"]) == ALL_BYTES and message["utf8"] == 0
    # RabbitMQ sends only text messages, so these contain invalid UTF-8.
    assert (client.stats()["invalid_utf8"] > 0) == (cell.kind == "rabbitmq")
    return message


@feature("Bodies", "all 256 byte values, with content-type text/plain", activemq=BINARY_IS_IGNORED,
         spring="replaces bytes that are not UTF-8, and leaves content-length unchanged",
         spring_relay="replaces bytes that are not UTF-8, and leaves content-length unchanged")
def test_body_of_all_bytes_as_text(cell):
    if cell.kind not in SPRINGS:
        binary_body(cell, type="text/plain")
        return
    assert cell.cannot
    destination = topic()
    client = cell.subscriber(destination)
    cell.connected().send(destination, ALL_BYTES, type="text/plain")
    # The body is longer than its content-length, so the parser looks for the next frame in the
    # middle of it.
    assert client.ended()["result"].startswith("STWS_ERR_FRAME_")


NO_JMS = "does not use JMS message types"


@feature("Bodies", "JMS: TextMessage without content-length, BytesMessage with it",
         spring=NO_JMS, spring_relay=NO_JMS, rabbitmq=NO_JMS)
def test_jms_types(cell):
    destination = topic()
    # Artemis makes a difference only for STOMP 1.0.
    client = cell.subscriber(destination, {"versions": ours.STOMP_10})
    client.send(destination, "Grüße", bare=1)
    client.send(destination, "Grüße")
    text, bytes_message = client.messages(2)
    assert text["body"] == bytes_message["body"] == "Grüße"
    assert header(bytes_message, "content-length") == ["7"]
    assert header(text, "content-length") == (["7"] if cell.cannot else [])


@feature("Bodies", "text for JMS: content-length is omitted for ActiveMQ and Artemis only")
def test_as_text(cell):
    destination = topic()
    client = cell.subscriber(destination, {"versions": ours.STOMP_10})
    # Not a STOMP 1.0 client, because it does not receive the server's name.
    cell.connected().send(destination, "Grüße", text=1)
    message = client.message()
    jms = cell.kind in ("activemq", "artemis")
    assert message["body"] == "Grüße"
    assert header(message, "content-length") == ([] if jms else ["7"])


# ---- headers ----

def same_header(cell, value, name="x-value"):
    message = cell.round_trip(cell.connected(), "x", headers=[(name, value)])
    assert header(message, name) == [value]


@feature("Headers", "colon")
def test_header_with_colon(cell):
    same_header(cell, "a:b::c:")


@feature("Headers", "backslash")
def test_header_with_backslash(cell):
    same_header(cell, r"C:\new\c \\ ")


@feature("Headers", "line feed")
def test_header_with_lf(cell):
    same_header(cell, "a\nb\n")


@feature("Headers", "carriage return")
def test_header_with_cr(cell):
    same_header(cell, "a\rb\r\n")


@feature("Headers", "carriage return, to a STOMP 1.1 client")
def test_header_with_cr_in_11(cell):
    """STOMP 1.1 has no escape for it. Some brokers send the escape of 1.2, and some a bare CR."""
    destination = topic()
    client = cell.subscriber(destination, {"versions": ours.STOMP_11})
    cell.connected().send(destination, "x", headers=[("x-value", "a\rb")])
    assert header(client.message(), "x-value") == ["a\rb"]


@feature("Headers", "UTF-8")
def test_header_with_utf8(cell):
    same_header(cell, "Grüße, 5 €, 🐇")


@feature("Headers", "leading and trailing blanks")
def test_header_with_blanks(cell):
    same_header(cell, "  a\t ")


@feature("Headers", "empty")
def test_header_empty(cell):
    same_header(cell, "")


@feature("Headers", "colon, backslash, line feed and UTF-8 in a name")
def test_header_name(cell):
    same_header(cell, "a", name="x:\\\nnäme")


@feature("Headers", "repeated: the first value is used")
def test_header_repeated(cell):
    message = cell.round_trip(cell.connected(), "x", headers=[("x-value", "1"), ("x-value", "2")])
    assert header(message, "x-value")[0] == "1"


FIRST_ONLY = "passes on only the first one, which STOMP allows"


@feature("Headers", "repeated: all are passed on", spring_relay=FIRST_ONLY, rabbitmq=FIRST_ONLY,
         activemq=FIRST_ONLY, artemis=FIRST_ONLY)
def test_header_repeated_in_full(cell):
    message = cell.round_trip(cell.connected(), "x", headers=[("x-value", "1"), ("x-value", "2")])
    assert header(message, "x-value") == (["1"] if cell.cannot else ["1", "2"])


# ---- errors, silence, endings; these are last, because they wait or stop the servers ----

@feature("Errors and endings", "an invalid destination is answered with ERROR",
         spring="sends no ERROR",
         activemq="creates any destination; for /queue/ it closes the connection without an ERROR")
def test_bad_destination(cell):
    destination, words = BAD_DESTINATION[cell.kind]
    client = cell.connected(receipt_timeout_ms=500)
    number = client.send(destination, "x", receipt=1)
    if not cell.cannot:
        assert words in client.expect("error")["text"]
        assert words in client.ended()["text"]
    elif cell.kind == "spring":
        client.receipt(number, "STWS_ERR_TIMEOUT")
        cell.fence(client)
        client.nothing("error", within=0)
    else:
        assert client.ended()["result"] == "STWS_ERR_WS_CLOSE"
        client.nothing("error", within=0)


@feature("Errors and endings", "the connection stays open after such an ERROR",
         spring="sends no ERROR", spring_relay="closes the connection after an ERROR",
         activemq="sends no ERROR", artemis="closes the connection after an ERROR")
def test_bad_destination_leaves_the_connection_open(cell):
    """It stays open for close_timeout_ms. Then our client closes, because STOMP says that an ERROR
    ends the connection."""
    destination, words = BAD_DESTINATION[cell.kind]
    client = cell.connected(close_timeout_ms=6000)
    client.send(destination, "x")
    if words is None:
        assert cell.cannot
        client.nothing("error")
        return
    client.expect("error")
    began = time.monotonic()
    client.ended()
    assert (time.monotonic() - began < 3) == cell.cannot


@feature("Errors and endings", "15 s idle with heart-beats every second in both directions")
def test_heartbeats(cell, beating):
    client = beating[cell.kind]
    client.connected()
    client.nothing("disconnected", within=max(0, client.since + IDLE_SECONDS - time.monotonic()))
    seconds = time.monotonic() - client.since
    stats = client.stats()
    for direction in ("heartbeats_in", "heartbeats_out"):
        assert stats[direction] >= 0.7 * seconds - 1, (direction, seconds)
    assert stats["heartbeat_slack_ms"] > 0
    assert cell.round_trip(client, "still here")["body"] == "still here"


@feature("Errors and endings", "60 s idle without heart-beats",
         rabbitmq="closes a WebSocket that was idle for 60 s (web_stomp.ws_opts.idle_timeout)",
         artemis="disconnects a client that has sent nothing for 60 s (connection TTL)")
def test_idle_without_heartbeats(cell, silent):
    client = silent[cell.kind]
    client.connected()
    left = max(0, client.since + SILENT_SECONDS - time.monotonic())
    if cell.cannot:
        text = client.ended(timeout=left + ours.SECONDS)["text"]
        assert "heartbeat_out_ms" in text, text
    else:
        client.nothing("disconnected", within=left)
        assert cell.round_trip(client, "still here")["body"] == "still here"


@feature("Errors and endings", "server restarted: the client reconnects and subscribes again")
def test_server_stopped(cell):
    destination = topic()
    client = cell.subscriber(destination, {"reconnect": 0, "reconnect_min_ms": 100,
                                           "reconnect_max_ms": 500})
    cell.server().stop()
    lost = client.expect("disconnected")
    assert lost["retry_ms"] >= 0 and lost["text"]
    client.send(destination, "sent while it was down")
    cell.server().start()
    client.connected()
    assert client.message()["body"] == "sent while it was down"

"""Other clients and ours, through every broker, in both directions. The bytes must stay the same,
or change by a known fault.

    build/venv/bin/python -m pytest tests/interop/test_cross.py [-k 'stomp.js and rabbitmq']

If a client or a broker changes what it passes on, the test checks exactly this change, and the
table of test_matrix.py contains it.
"""

import contextlib
import json

import pytest

import ours
from cells import LOGIN, feature, topic
from ours import raw_bytes
from other_clients import Article, SpringClient, StompJs, StompPy
from peer_article import PeerError

GROUP = "Other clients"
PEERS = {
    "stomp.js": StompJs,
    "stomp.py": StompPy,
    "Spring's client": SpringClient,
    "websocket-client with stomper": Article,
}
ARTICLE = "websocket-client with stomper"
BINARY_PEERS = [name for name in PEERS if name != ARTICLE]

BODY = "Grüße, 5 €: a line\n another \n\n" + "x" * 5000
HOSTILE = {
    "x-colon": "a:b::c:",
    "x-backslash": r"a\b \\ ",
    "x-escapes": r"C:\new\colon",
    "x-lf": "a\nb\n",
    "x-cr": "a\rb\r\n",
    "x-utf8": "Grüße, 5 €, 🐇",
    "x-blanks": "  a\t ",
    "x-empty": "",
}
NAME = "x:\\\nnäme"
ESCAPED_NAME = r"x\c\\\nnäme"
# Values that every client of the first three reads correctly.
HARMLESS = {name: value for name, value in HOSTILE.items()
            if name not in ("x-escapes", "x-blanks", "x-backslash")} | {"x-path": r"a\b\\"}
JSON_FOLDER = ours.ROOT / "build" / "interop" / "cross"


@pytest.fixture(name="connect")
def make_peers(cell):
    """Creates another client of some kind, connected to the broker of the cell."""
    with contextlib.ExitStack() as stack:
        yield lambda name, **options: stack.enter_context(
            PEERS[name](cell.server().url, *LOGIN, **options))


def subscribed(cell, peer, destination):
    """Subscribes another client. Returns when the subscription works: a message that was sent after
    it has arrived."""
    fence = topic()
    client = cell.subscriber(fence)
    peer.subscribe(destination)
    peer.send(fence, b"a fence")
    assert client.message()["body"] == "a fence"


def values(message, name):
    """The values of all headers with this name, in a message that our client received."""
    return [value for key, value in message["headers"] if key == name]


# ---- from other clients to ours ----

def unescaped_name(kind):
    """The name that arrives if a client sends a name with a colon without an escape."""
    return "bv" if kind == "artemis" else "b:v"


@feature(GROUP, "from {peer} to stomp_ws.h")
@pytest.mark.parametrize("peer", ["stomp.js", "stomp.py", "Spring's client"])
def test_to_ours(cell, connect, peer):
    destination = topic()
    client = cell.subscriber(destination)
    other = connect(peer)
    escapes_names = peer == "Spring's client"
    name = NAME if escapes_names else "x:b"
    other.send(destination, BODY.encode(), [*HOSTILE.items(), (name, "v")])
    message = client.message()
    assert message["body"] == BODY
    assert {key: values(message, key) for key in HOSTILE} == {
        key: [value] for key, value in HOSTILE.items()}
    if escapes_names:
        assert values(message, NAME) == ["v"]
    else:
        cell.all_but(f"a colon in a header's name, which {peer} does not escape")
        assert values(message, "x:b") == []
        assert values(message, "x") == [unescaped_name(cell.kind)]


@feature(GROUP, f"from {ARTICLE} to stomp_ws.h")
def test_article_to_ours(cell, connect):
    """Stomper escapes nothing. The test sends nothing that needs an escape, except a colon."""
    destination = topic()
    client = cell.subscriber(destination)
    sent = {name: HOSTILE[name] for name in ("x-colon", "x-utf8", "x-blanks", "x-empty")}
    connect(ARTICLE).send(destination, BODY.encode(), sent.items())
    message = client.message()
    assert message["body"] == BODY
    if cell.kind == "artemis":
        cell.all_but("colons, which stomper does not escape, and which Artemis then removes")
        sent["x-colon"] = "abc"
    assert {key: values(message, key) for key in sent} == {
        key: [value] for key, value in sent.items()}


# ---- from our client to others ----

@feature(GROUP, "from stomp_ws.h to {peer}")
@pytest.mark.parametrize("peer", ["stomp.js", "stomp.py", "Spring's client"])
def test_from_ours(cell, connect, peer):
    destination = topic()
    other = connect(peer)
    subscribed(cell, other, destination)
    cell.connected().send(destination, BODY, headers=[
        *HOSTILE.items(), (NAME, "v"), ("x-twice", "1"), ("x-twice", "2")])
    message = other.receive()
    assert message.body == BODY.encode()
    expected, name = dict(HOSTILE), NAME
    if peer == "stomp.js":
        cell.all_but("blanks around values (stomp.js trims them), a backslash before n, r or c "
                     "(stomp.js decodes it twice), and escapes in names (stomp.js does not decode "
                     "them)")
        expected |= {"x-blanks": "a", "x-backslash": r"a\b \\",
                     "x-escapes": "C:\\" + "\n" + "ew\\" + ":olon"}
        name = ESCAPED_NAME
    assert {key: message.header(key) for key in expected} == {
        key: [value] for key, value in expected.items()}
    assert message.header(name) == ["v"]
    assert message.header("x-twice")[0] == "1"


@feature(GROUP, f"from stomp_ws.h to {ARTICLE}")
def test_ours_to_article(cell, connect):
    cell.all_but("escapes in headers (stomper does not decode them), and line breaks (stomper "
                 "strips and joins lines)")
    destination = topic()
    other = connect(ARTICLE)
    subscribed(cell, other, destination)
    cell.connected().send(destination, BODY, headers=[*HOSTILE.items(), (NAME, "v")])
    message = other.receive()
    assert message.body.decode() == "".join(line.strip() for line in BODY.split("\n"))
    for name, value in HOSTILE.items():
        assert message.header(name) == [escaped_for_11(cell.kind, value).strip()], name
    assert message.header(ESCAPED_NAME) == ["v"]


def escaped_for_11(kind, value):
    """How a broker sends a carriage return to a STOMP 1.1 client, for which there is no escape."""
    value = value.replace("\\", r"\\").replace("\n", r"\n").replace(":", r"\c")
    return value if kind == "activemq" else value.replace("\r", r"\r")


# ---- all byte values ----

ALL_BYTES = bytes(range(256)) * 4
OCTET_STREAM = [("content-type", "application/octet-stream")]
DROPPED = "silently drops a binary WebSocket message: no message, no receipt"


def binary_options(peer):
    """By default stomp.py sends bytes in text messages."""
    return {"binary_mode": True} if peer == "stomp.py" else {}


@feature(GROUP, "all 256 byte values: from {peer} to stomp_ws.h", activemq=DROPPED)
@pytest.mark.parametrize("peer", BINARY_PEERS)
def test_bytes_to_ours(cell, connect, peer):
    destination = topic()
    client = cell.subscriber(destination)
    if cell.cannot and peer == "stomp.py":
        # in binary mode even its CONNECT is dropped
        with pytest.raises(PeerError):
            connect(peer, binary_mode=True, timeout=1)
        return
    connect(peer, **binary_options(peer)).send(destination, ALL_BYTES, OCTET_STREAM)
    if cell.cannot:
        client.nothing()
    else:
        assert raw_bytes(client.message()["body"]) == ALL_BYTES


@feature(GROUP, "all 256 byte values: from stomp_ws.h to {peer}", activemq=DROPPED,
         rabbitmq="sends these bytes as text, so {peer} closes the connection")
@pytest.mark.parametrize("peer", BINARY_PEERS)
def test_bytes_from_ours(cell, connect, peer):
    destination = topic()
    other = connect(peer)
    subscribed(cell, other, destination)
    cell.connected().send(destination, ALL_BYTES)
    if not cell.cannot:
        assert other.receive().body == ALL_BYTES
        return
    words, seconds = {"activemq": ("no (line|message) arrived", 2),
                      "rabbitmq": ("closed|ended|lost", ours.SECONDS)}[cell.kind]
    with pytest.raises(PeerError, match=words):
        other.receive(timeout=seconds)


# ---- one message, sent by each client, read by all ----

@feature(GROUP, "hostile headers, sent by each of stomp_ws.h, stomp.js, stomp.py and Spring's "
         "client: all four read the same JSON")
def test_the_same_json(cell, connect):
    """The JSON is kept in build/interop/cross, one file per broker, sender and reader."""
    destination = topic()
    others = {name: connect(name) for name in BINARY_PEERS}
    for other in others.values():
        subscribed(cell, other, destination)
    client = cell.subscriber(destination)
    headers = [*HARMLESS.items(), ("content-type", "text/plain")]
    texts = {}
    for sender in ("ours", *others):
        if sender == "ours":
            cell.connected().send(destination, BODY, headers=HARMLESS.items(), type="text/plain")
        else:
            others[sender].send(destination, BODY.encode(), headers)
        message = client.message()
        texts[sender, "ours"] = as_json(message["headers"], raw_bytes(message["body"]))
        for name, other in others.items():
            message = other.receive()
            texts[sender, name] = as_json(message.headers, message.body)
    save(cell.kind, texts)
    assert texts == dict.fromkeys(texts, as_json(headers, BODY.encode()))


@feature(GROUP, "hostile headers, sent by each of these four clients: stomp_cat --json prints the "
         "same JSON")
def test_the_same_json_from_stomp_cat(cell, connect):
    """These headers contain everything that stomp.js and other clients read wrongly. Ours reads
    them correctly."""
    destination = topic()
    others = {name: connect(name) for name in BINARY_PEERS}
    headers = [*HOSTILE.items(), ("content-type", "text/plain")]
    login, passcode = LOGIN
    reader = cell.clients.enter_context(ours.start(
        "stomp_cat", cell.server().url, "-u", login, "-p", passcode, "--json", "-s", destination,
        "-d", destination, "-m", "the fence", "-n", str(2 + len(others)), "-t", "60"))
    assert json.loads(reader.stdout.readline())["body"] == "the fence"
    cell.connected().send(destination, BODY, headers=HOSTILE.items(), type="text/plain")
    lines = {"ours": reader.stdout.readline()}
    for name, other in others.items():
        other.send(destination, BODY.encode(), headers)
        lines[name] = reader.stdout.readline()
    assert (reader.communicate(timeout=60), reader.returncode) == (("", ""), 0)
    messages = {name: json.loads(line) for name, line in lines.items()}
    texts = {(name, "stomp_cat"): as_json(message["headers"], message["body"].encode())
             for name, message in messages.items()}
    save(cell.kind, texts)
    assert texts == dict.fromkeys(texts, as_json(headers, BODY.encode()))


def save(kind, texts):
    JSON_FOLDER.mkdir(parents=True, exist_ok=True)
    for (sender, reader), text in texts.items():
        name = f"{kind}-{sender}-to-{reader}".replace(" ", "-").replace("'", "")
        (JSON_FOLDER / f"{name}.json").write_text(text + "\n", "utf-8")


def as_json(headers, body):
    """The headers that the sender wrote, sorted, and the body. Headers of the broker are left out,
    because they differ between receivers."""
    written = {key: value for key, value in headers
               if key.startswith("x-") or key == "content-type"}
    return json.dumps({"headers": written, "body": body.decode()}, ensure_ascii=False,
                      sort_keys=True)

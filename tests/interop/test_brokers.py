"""Checks that every broker starts, accepts and delivers messages, ends, and leaves nothing behind.

    build/venv/bin/python -m pytest tests/interop/test_brokers.py
"""

import pathlib
import subprocess
import sys
import urllib.error
import urllib.request

import pytest
import stomper
import websocket

import broker
from peer_article import ArticlePeer, PeerError

HERE = pathlib.Path(__file__).parent
TOPIC = "/topic/notifications"
TEXT = "Grüße, 5 €: " + "x" * 5000
# More than every broker except RabbitMQ accepts in one WebSocket message by default.
LONG_TEXT = "y" * 200_000
NOTIFICATION = '{"id": 7, "text": "é %"}'


def connect(server, *login, **options):
    """The article's client, with the subprotocol that ActiveMQ Classic requires."""
    if server.name == "activemq":
        options["subprotocols"] = ["v11.stomp"]
    return ArticlePeer(server.url, *login, **options)


def round_trip(peer, destination=TOPIC, text=TEXT, send_to=None):
    peer.subscribe(destination)
    peer.send(send_to or destination, text)
    assert peer.receive()["body"] == text


def store(server, destination, body):
    """Sends a message, and waits until the broker confirms that it keeps the message."""
    socket = websocket.create_connection(server.url, timeout=60, subprotocols=["v11.stomp"])
    socket.send(stomper.connect("guest", "guest", "/"))
    assert stomper.unpack_frame(text_from(socket))["cmd"] == "CONNECTED"
    frame = stomper.Frame()
    frame.cmd = "SEND"
    frame.headers = {"destination": destination, "persistent": "true", "receipt": "stored"}
    frame.body = body
    socket.send(frame.pack())
    assert stomper.unpack_frame(text_from(socket))["cmd"] == "RECEIPT"
    socket.close()


def text_from(socket):
    """Artemis sends binary WebSocket messages."""
    received = socket.recv()
    return received if isinstance(received, str) else received.decode()


def post(url, body, content_type):
    request = urllib.request.Request(url, body.encode(), {"Content-Type": content_type})
    urllib.request.urlopen(request, timeout=60).close()


@pytest.fixture(name="certificate", scope="module")
def make_certificate(tmp_path_factory):
    folder = tmp_path_factory.mktemp("certificate")
    chain, key = folder / "chain.pem", folder / "key.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
                    "-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost",
                    "-keyout", key, "-out", chain], check=True, capture_output=True)
    return chain, key


@pytest.fixture(name="spring", scope="module")
def start_spring(tmp_path_factory):
    static = tmp_path_factory.mktemp("static")
    (static / "index.html").write_text("<p>the page</p>")
    with broker.create("spring", static=static) as spring:
        yield spring


def test_spring_round_trip(spring):
    for url in (spring.url, spring.url.replace(spring.path, "/plain")):
        with ArticlePeer(url) as peer:
            round_trip(peer)


def test_spring_application_destinations(spring):
    with ArticlePeer(spring.url) as peer, ArticlePeer(spring.url) as other:
        other.subscribe("/user/queue/reply")
        round_trip(peer, "/topic/echo", send_to="/app/echo")
        round_trip(peer, "/user/queue/reply", send_to="/app/reply")
        with pytest.raises(PeerError, match="no message"):
            other.receive(timeout=0.2)


def test_spring_publishes_what_is_posted(spring):
    publish = f"{spring.http}/publish?destination={TOPIC}"
    with ArticlePeer(spring.url) as peer:
        round_trip(peer)
        post(publish, NOTIFICATION, "application/json")
        message = peer.receive()
    assert message["body"] == NOTIFICATION
    assert message["headers"]["content-type"] == "application/json"
    with pytest.raises(urllib.error.HTTPError, match="415"):
        post(publish, NOTIFICATION, "application/x-www-form-urlencoded")


def test_spring_keeps_the_order(spring):
    sent = [f"message {number}" for number in range(300)]
    with ArticlePeer(spring.url) as peer:
        peer.subscribe("/topic/echo")
        for body in sent:
            peer.send("/app/echo", body)
        assert [peer.receive()["body"] for _ in sent] == sent


def test_spring_over_http(spring):
    for path, answer in (("/health", b"ok\n"), ("/", b"<p>the page</p>")):
        with urllib.request.urlopen(spring.http + path, timeout=60) as response:
            assert response.read() == answer


def test_spring_without_the_final_websocket(spring):
    with pytest.raises(websocket.WebSocketBadStatusException) as refused:
        ArticlePeer(spring.url.removesuffix("/websocket"))
    assert refused.value.status_code == 400


def test_spring_has_its_limits_untouched(spring):
    with ArticlePeer(spring.url) as peer, pytest.raises(PeerError, match="the connection ended"):
        round_trip(peer, text=LONG_TEXT)


def test_spring_in_front_of_rabbitmq():
    with broker.create("spring-relay") as spring:
        with ArticlePeer(spring.url) as peer, ArticlePeer(spring.rabbitmq.url) as behind:
            round_trip(peer)
            round_trip(peer, "/user/queue/reply", send_to="/app/reply")
            round_trip(behind)
            assert peer.receive()["body"] == TEXT
        rabbitmq = spring.rabbitmq
    assert spring.pids == [] and rabbitmq.pids == []


@pytest.mark.parametrize("kind", ["rabbitmq", "activemq", "artemis"])
def test_broker_lives_crashes_and_comes_back(kind):
    with broker.create(kind) as server:
        url = server.url
        with connect(server) as peer:
            round_trip(peer)
        store(server, "/queue/a", "kept")
        server.settle()
        server.kill()
        assert server.pids == []
        server.start()
        assert server.url == url
        with connect(server) as peer:
            round_trip(peer, "/queue/b")
        with connect(server) as peer:
            peer.subscribe("/queue/a")
            assert peer.receive()["body"] == "kept"
    assert server.pids == []
    assert not server.data.exists()


def test_activemq_refuses_a_client_that_offers_no_subprotocol():
    with broker.create("activemq") as activemq:
        with pytest.raises(websocket.WebSocketBadStatusException) as refused:
            ArticlePeer(activemq.url)
    assert refused.value.status_code == 500


@pytest.mark.parametrize("kind", ["spring-big", "activemq-big", "artemis-big"])
def test_raised_limits(kind):
    with broker.create(kind) as server, connect(server) as peer:
        round_trip(peer, text=LONG_TEXT)


@pytest.mark.parametrize("kind", ["spring", "rabbitmq", "activemq", "artemis"])
def test_login_and_tls(kind, certificate):
    trust = {"ca_certs": certificate[0]}
    with broker.create(kind, login=("ada", "secret"), tls=certificate) as server:
        assert server.url.startswith("wss:")
        with connect(server, "ada", "secret", sslopt=trust) as peer:
            round_trip(peer)
        with pytest.raises(PeerError, match="ERROR"):
            connect(server, "ada", "wrong", sslopt=trust)


def test_two_of_a_kind_side_by_side(tmp_path):
    with broker.create("artemis") as one, broker.create("artemis", data=tmp_path) as two:
        with connect(one) as peer, connect(two) as other:
            other.subscribe(TOPIC)
            round_trip(peer)
            with pytest.raises(PeerError, match="no message"):
                other.receive(timeout=0.2)
    assert any(tmp_path.iterdir())


def test_a_broker_that_cannot_start_says_why():
    with broker.create("artemis") as first:
        second = broker.create("artemis", port=first.port)
        with pytest.raises(broker.BrokerError, match="Address already in use"):
            with second:
                pass
    assert second.pids == []
    assert not second.data.exists()


def test_command_lines():
    server = subprocess.Popen([sys.executable, HERE / "broker.py", "start", "artemis"],
                              stdout=subprocess.PIPE, text=True)
    try:
        url = server.stdout.readline().split()[1].removeprefix("url=")
        peer = [sys.executable, HERE / "peer_article.py", url]
        subscriber = subprocess.Popen([*peer, "sub", TOPIC, "2"], stdout=subprocess.PIPE,
                                      stderr=subprocess.PIPE, text=True)
        assert subscriber.stderr.readline() == "SUBSCRIBED\n"
        subprocess.run([*peer, "send", TOPIC, "first", NOTIFICATION], check=True)
        assert subscriber.communicate(timeout=60) == (f"first\n{NOTIFICATION}\n", "")
    finally:
        server.terminate()
    assert server.wait(timeout=60) == 0
    with pytest.raises(ConnectionRefusedError):
        websocket.create_connection(url)

"""Our client with a real Spring Boot application: what its users do, and the mistakes they make.

    build/venv/bin/python -m pytest tests/interop/test_spring.py
"""

import json
import threading
import time

import pytest

import broker
import ours
from ours import Client, Refused, cat, raw_bytes, post
from peer_article import ArticlePeer

TOPIC = "/topic/notifications"
# Tomcat accepts 8,192 bytes in one WebSocket message, Spring 65,536 in one STOMP frame.
OVER_TOMCAT = 8 * 1024 + 1
UNDER_SPRING = 60 * 1024
# stomp_cat gives up after this time.
SECONDS = "60"
HEARTBEAT_MS = 1000


@pytest.fixture(name="spring", scope="module")
def start_spring():
    """A Spring Boot server with default settings, except short heart-beats that a test can wait
    for."""
    beats = {"interop.heartbeat": f"{HEARTBEAT_MS},{HEARTBEAT_MS}"}
    with broker.create("spring", settings=beats) as spring:
        yield spring


@pytest.fixture(name="guarded", scope="module")
def start_guarded_spring():
    """A server that accepts only one user."""
    with broker.create("spring", login=("ada", "pass:word")) as spring:
        yield spring


@pytest.fixture(name="publishing")
def publish_again_and_again(spring):
    """Posts the same notification every 100 ms, because Spring does not confirm subscriptions."""
    stop = threading.Event()

    def publish():
        while not stop.wait(0.1):
            post(spring, TOPIC, '{"id": 7, "text": "Grüße %"}', "application/json")

    thread = threading.Thread(target=publish)
    thread.start()
    yield '{"id": 7, "text": "Grüße %"}'
    stop.set()
    thread.join()


def without_websocket(url):
    return url.removesuffix("/websocket")


def fence(client):
    """Returns when the server has processed everything that was sent before: it has answered a
    later message."""
    handle = client.subscribe("/user/queue/reply")
    client.send("/app/reply", f"fence {handle}")
    client.message(body=f"fence {handle}")
    client.unsubscribe(handle)


def subscribed(client, destination):
    handle = client.subscribe(destination)
    fence(client)
    return handle


def awaiting_replies(client):
    """Subscribes to the destination of this one connection."""
    handle = client.subscribe("/user/queue/reply")
    client.send("/app/reply", "ready")
    client.message(body="ready")
    return handle


# ---- stomp_cat ----

def test_cat_prints_what_http_published(spring, publishing):
    result = cat(spring.url, "-s", TOPIC, "-n", "1", "-t", SECONDS)
    assert (result.returncode, result.stdout, result.stderr) == (0, f"{publishing}\n", "")


def test_cat_prints_json(spring, publishing):
    result = cat(spring.url, "-s", TOPIC, "-H", "id:mine", "-n", "1", "-t", SECONDS, "--json")
    message = json.loads(result.stdout)
    assert message["destination"] == TOPIC
    assert message["subscription"] == "mine"
    assert message["body"] == publishing
    assert ["content-type", "application/json"] in message["headers"]
    assert message["message_id"]


def test_cat_gets_the_echo(spring):
    result = cat(spring.url, "-s", "/topic/echo", "-d", "/app/echo", "-m", "Grüße: 5 €",
                 "-n", "1", "-t", SECONDS)
    assert (result.returncode, result.stdout) == (0, "Grüße: 5 €\n")


def test_cat_sends_each_line_and_gets_them_in_order(spring):
    lines = "".join(f"line {number}\n" for number in range(100))
    result = cat(spring.url, "-s", "/topic/echo", "-d", "/app/echo", "-n", "100", "-t", SECONDS,
                 text=lines)
    assert (result.returncode, result.stdout) == (0, lines)


def test_cat_gets_a_reply_for_its_user_only(spring):
    with Client(spring.url) as other:
        awaiting_replies(other)
        result = cat(spring.url, "-s", "/user/queue/reply", "-d", "/app/reply", "-m", "for me",
                     "-n", "1", "-t", SECONDS, "--json")
        assert json.loads(result.stdout)["destination"] == "/user/queue/reply"
        assert json.loads(result.stdout)["body"] == "for me"
        other.nothing()


def test_cat_says_what_is_missing_in_the_url(spring):
    result = cat(without_websocket(spring.url), "-s", TOPIC, "-n", "1")
    assert result.returncode == 1
    assert "trying again" not in result.stderr
    assert "400" in result.stderr and "/websocket" in result.stderr and "append" in result.stderr


def test_cat_with_a_wrong_origin(spring):
    result = cat(spring.url, "--http-header", "Origin: http://elsewhere.example", "-s", TOPIC)
    assert result.returncode == 1
    assert "403" in result.stderr and "Origin" in result.stderr


def test_cat_with_a_path_that_is_not_there(spring):
    result = cat(spring.url.replace("/notifications", "/nowhere"), "-s", TOPIC)
    assert result.returncode == 1
    assert "404" in result.stderr


def test_cat_logs_in(guarded):
    login = ["-u", "ada", "-p", "pass:word"]
    result = cat(guarded.url, *login, "-s", "/topic/echo", "-d", "/app/echo", "-m", "in",
                 "-n", "1", "-t", SECONDS)
    assert (result.returncode, result.stdout) == (0, "in\n")


def test_cat_with_a_wrong_password(guarded):
    result = cat(guarded.url, "-u", "ada", "-p", "open sesame", "-s", TOPIC, "-n", "1")
    assert result.returncode == 1
    assert "Wrong login or passcode" in result.stderr
    assert "sesame" not in result.stderr


def test_cat_masks_secrets_in_its_trace(guarded):
    result = cat(guarded.url, "-u", "ada", "-p", "pass:word", "--http-header",
                 "Authorization: Bearer abcdef", "-d", "/app/echo", "-m", "x", "--trace")
    assert result.returncode == 0
    assert "CONNECTED" in result.stderr and "SEND" in result.stderr
    assert "pass:word" not in result.stderr and "abcdef" not in result.stderr


def test_cat_out_of_time_disconnects_in_order(spring):
    result = cat(spring.url, "-s", "/topic/silence", "-n", "1", "-t", "5", "--trace")
    assert (result.returncode, result.stdout) == (3, "")
    assert "DISCONNECT" in result.stderr and "RECEIPT" in result.stderr


# ---- the library ----

def test_connected(spring):
    with Client(spring.url, trace=True) as client:
        connected = client.connected()
        assert (connected["version"], connected["broker"]) == ("1.2", "spring")
        answer, = client.trace("<", "HTTP/1.1 101")
        assert dict(map(reversed, answer["headers"]))["v12.stomp"].lower() == \
            "sec-websocket-protocol"
        assert client.stats()["http_status"] == 101


def test_subscribe_before_the_connection(spring, publishing):
    with Client(spring.url) as client:
        handle = client.subscribe(TOPIC)
        message = client.message()
        assert (message["body"], message["handle"]) == (publishing, handle)


def test_user_destinations(spring):
    with Client(spring.url) as client, Client(spring.url) as other:
        handle = awaiting_replies(client)
        awaiting_replies(other)
        client.send("/app/reply", "for one")
        message = client.message()
        assert (message["destination"], message["handle"]) == ("/user/queue/reply", handle)
        assert message["body"] == "for one"
        other.nothing()


@pytest.mark.parametrize("how", ["base", "wrong origin", "wrong path"])
def test_a_refused_upgrade_is_final(spring, how):
    url, options, status, words = {
        "base": (without_websocket(spring.url), {}, 400, ["append", "/websocket"]),
        "wrong origin": (spring.url, {"origin": "http://elsewhere.example"}, 403, ["Origin"]),
        "wrong path": (spring.url.replace("/notifications", "/nowhere"), {}, 404, []),
    }[how]
    with Client(url, reconnect=0, **options) as client:
        ended = client.ended()
        client.never_retried()
        assert ended["result"] == "STWS_ERR_HTTP_STATUS"
        assert client.stats()["http_status"] == status
        for word in [str(status), *words]:
            assert word in ended["text"]


def test_a_right_origin(spring):
    with Client(spring.url, origin=spring.http) as client:
        client.connected()


def test_sockjs_transport_url(spring):
    """The URL that a SockJS client uses. It is a WebSocket, but its messages are o, h
    and a[...]."""
    url = without_websocket(spring.url) + "/123/abcdefgh/websocket"
    with Client(url, reconnect=0) as client:
        ended = client.ended()
        assert ended["result"] == "STWS_ERR_SOCKJS"
        assert "SockJS" in ended["text"] and "/notifications/websocket" in ended["text"]


def test_a_wrong_password_is_final(guarded):
    with Client(guarded.url, login="ada", passcode="wrong", reconnect=0) as client:
        assert client.expect("error")["result"] == "STWS_ERR_LOGIN"
        ended = client.ended()
        client.never_retried()
        assert ended["result"] == "STWS_ERR_LOGIN"
        assert "Wrong login or passcode" in ended["text"]


def test_versions(spring):
    for bit, name in ((ours.STOMP_10, "1.0"), (ours.STOMP_11, "1.1"), (ours.STOMP_12, "1.2")):
        with Client(spring.url, versions=bit) as client:
            assert client.connected()["version"] == name
            fence(client)


def test_heartbeats_hold_an_idle_connection(spring):
    with Client(spring.url, heartbeat_out_ms=HEARTBEAT_MS, heartbeat_in_ms=HEARTBEAT_MS) as client:
        client.connected()
        client.nothing("disconnected", within=10)
        stats = client.stats()
        assert stats["heartbeats_in"] >= 6 and stats["heartbeats_out"] >= 6
        assert stats["heartbeat_slack_ms"] > 0
        fence(client)


def test_spring_cuts_off_who_sends_no_heartbeat(spring):
    """Without the heart-beats of the previous test, Spring ends the session. Checks the error."""
    with Client(spring.url, heartbeat_out_ms=HEARTBEAT_MS) as client:
        client.connected()
        client.sleep(8 * HEARTBEAT_MS)
        assert "late" in client.ended()["text"]


def test_graceful_disconnect(spring):
    with Client(spring.url, trace=True) as client:
        client.connected()
        client.send("/app/echo", "on the way")
        client.disconnect()
        assert client.ended()["result"] == "STWS_CLOSED"
        sent, = client.trace(">", "DISCONNECT")
        received, = client.trace("<", "RECEIPT")
        assert dict(sent["headers"])["receipt"] == dict(received["headers"])["receipt-id"]


def test_receipts_that_never_come(spring):
    """Spring's simple broker sends receipts only for DISCONNECT. Checks that no wait is endless."""
    with Client(spring.url, receipt_timeout_ms=300) as client:
        client.connected()
        number = client.send(TOPIC, "x", receipt=1)
        client.receipt(number, "STWS_ERR_TIMEOUT")
        fence(client)


@pytest.mark.parametrize("size", [0, 1, OVER_TOMCAT, UNDER_SPRING])
@pytest.mark.parametrize("letter", ["x", "€"])
def test_bodies_are_cut_as_spring_needs_it(spring, size, letter):
    body = (letter * size).encode()[:size].decode(errors="ignore")
    with Client(spring.url) as client:
        client.subscribe("/topic/echo")
        client.send("/app/echo", body)
        assert client.message()["body"] == body


def test_a_whole_message_is_too_much_for_tomcat(spring):
    with Client(spring.url, whole=1, reconnect=0) as client:
        client.send("/app/echo", "x" * 3 * OVER_TOMCAT)
        text = client.expect("disconnected")["text"]
        assert "1009" in text and "max_ws_message" in text


def test_a_frame_over_the_limit_of_spring(spring):
    with Client(spring.url) as client:
        client.send("/app/echo", "x" * 65 * 1024)
        assert "65536" in client.expect("error")["text"]
        assert "65536" in client.ended()["text"]


def test_binary_bodies(spring):
    body = bytes(range(256)) * 40
    with Client(spring.url) as client:
        client.subscribe("/topic/echo")
        client.send("/app/echo", body, type="application/octet-stream")
        message = client.message()
        assert raw_bytes(message["body"]) == body
        assert message["content_type"] == "application/octet-stream"


def test_in_order(spring):
    with Client(spring.url) as client:
        client.subscribe("/topic/echo")
        client.send("/app/echo", count=1000)
        assert [m["body"] for m in client.messages(1000)] == [str(n) for n in range(1, 1001)]


def test_unsubscribe(spring):
    with Client(spring.url) as client:
        handle = subscribed(client, TOPIC)
        client.unsubscribe(handle)
        fence(client)
        post(spring, TOPIC, "for nobody")
        client.nothing()


def test_back_again_after_a_crash():
    with broker.create("spring") as spring, \
            Client(spring.url, reconnect=0, reconnect_min_ms=100, reconnect_max_ms=500) as client:
        handles = [subscribed(client, f"/topic/{name}") for name in ("a", "b", "echo")]
        client.connected()
        spring.kill()
        lost = client.expect("disconnected")
        assert lost["retry_ms"] >= 0
        client.send("/app/echo", "sent while it was down")
        spring.start()
        client.connected()
        assert client.message(destination="/topic/echo")["body"] == "sent while it was down"
        for name, handle in zip(("a", "b"), handles, strict=False):
            post(spring, f"/topic/{name}", f"after the crash {name}")
            message = client.message()
            assert (message["body"], message["handle"]) == (f"after the crash {name}", handle)
        client.nothing()
        assert client.stats()["reconnects"] >= 1


def test_cat_back_again_after_a_crash():
    with broker.create("spring") as spring:
        process = ours.start("stomp_cat", spring.url, "-s", TOPIC, "-n", "2", "-t", "120",
                             "--reconnect", "100,500")
        for body in ("first", "second"):
            publish_until(spring, body, lambda: process_printed(process, f"{body}\n"))
            if body == "first":
                spring.kill()
                spring.start()
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors


def publish_until(server, body, done):
    """Publishes until a thread that waits for the effect returns."""
    waiting = threading.Thread(target=done, daemon=True)
    waiting.start()
    deadline = time.monotonic() + 60
    while waiting.is_alive():
        assert time.monotonic() < deadline, f"{body} did not arrive"
        post(server, TOPIC, body)
        waiting.join(0.1)


def process_printed(process, line):
    """Reads a process's output up to this line."""
    while process.stdout.readline() not in (line, ""):
        pass


# ---- the article's pair of libraries ----

def test_the_articles_stack_gets_what_we_send(spring):
    with ArticlePeer(spring.url) as peer, Client(spring.url) as client:
        peer.subscribe("/topic/echo")
        peer.send("/app/echo", "a fence")
        assert peer.receive()["body"] == "a fence"
        client.send("/app/echo", "from C: Grüße, 5 €", type="text/plain")
        client.send("/topic/echo", "x" * UNDER_SPRING, headers=[("x-id", "a:b\\c")])
        assert peer.receive()["body"] == "from C: Grüße, 5 €"
        message = peer.receive()
        assert message["body"] == "x" * UNDER_SPRING
        # Stomper does not decode the escapes of STOMP 1.1 in the values.
        assert message["headers"]["x-id"] == r"a\cb\\c"


def test_we_get_what_the_articles_stack_sends(spring):
    with ArticlePeer(spring.url) as peer, Client(spring.url) as client:
        subscribed(client, TOPIC)
        peer.send(TOPIC, "from Python: Grüße, 5 €")
        message = client.message()
        assert message["body"] == "from Python: Grüße, 5 €"
        assert message["content_type"] == "text/plain"

"""Spring Boot with Spring Security, behind proxies that drop the upgrade, and in front
of RabbitMQ."""

import base64
import http.client
import json
import shutil
import threading
import time
import urllib.parse

import pytest

import broker
from conftest import need
from deploy import QUICK, Cat, Load, cat, wait_until
from proxies import ALL, Apache, Nginx

BASIC = "Authorization: Basic " + base64.b64encode(b"ada:lovelace").decode()
TOPIC = "/topic/news"


class SecureSpring(broker.Spring):
    name = "spring-security"
    path = "/browser/websocket"

    @property
    def bearer_url(self):
        return self.url.replace(self.path, "/bearer")

    def request(self, method, path, body=None, **headers):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        connection.request(method, path, body, {"Content-Type": "text/plain", **headers})
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        assert answer.status == 200, f"{method} {path}: {answer.status} {text}"
        return text, answer

    def publish(self, destination, body, user=None):
        query = urllib.parse.urlencode({"destination": destination,
                                        **({"user": user} if user else {})})
        self.request("POST", f"/publish{'-to-user' if user else ''}?{query}", body)

    def csrf(self):
        """Options of stomp_cat for a user who has logged in: the cookie and the token."""
        text, answer = self.request("GET", "/csrf", Authorization=BASIC.split(": ")[1])
        token = json.loads(text)
        cookie = answer.getheader("Set-Cookie").split(";")[0]
        return ("--http-header", BASIC, "--http-header", f"Cookie: {cookie}",
                "--connect-header", f"{token['header']}:{token['token']}")


@pytest.fixture(name="secure", scope="module")
def start_secure_spring():
    need_java()
    with SecureSpring() as spring:
        yield spring


@pytest.fixture(name="spring", scope="module")
def start_spring():
    """The server of the interop tests, which has no security."""
    need_java()
    with broker.create("spring") as spring:
        yield spring


def need_java():
    for program in ("java", "mvn"):
        if not shutil.which(program):
            pytest.skip(program)


class Publishing:
    """Publishes repeatedly, because Spring's simple broker does not confirm subscriptions."""

    def __init__(self, publish):
        self._publish, self._stop = publish, threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self):
        while not self._stop.wait(0.1):
            self._publish()

    def __enter__(self):
        self._thread.start()

    def __exit__(self, *exception):
        self._stop.set()
        self._thread.join()


BEARER = ("--connect-header", "Authorization:Bearer good-token")


# ---- Spring Security ----

def test_basic_and_csrf(secure, row):
    with row("Spring Security", "HTTP Basic at the upgrade, CSRF token in CONNECT") as r:
        with Cat(secure.url, *secure.csrf(), "-s", TOPIC, "-n", "1", *QUICK) as listener, \
                Publishing(lambda: secure.publish(TOPIC, "hello")):
            listener.saw("hello", "out")
            assert listener.wait() == 0, listener.everything()
        r.is_told("works")


def test_csrf_missing(secure, row):
    """Spring does not tell what is missing. The client's error text does."""
    with row("Spring Security", "HTTP Basic at the upgrade, no CSRF token in CONNECT") as r:
        result = cat(secure.url, "--http-header", BASIC, "-s", TOPIC, "-t", "10")
        assert result.status == 1, result.everything()
        assert not result.retries(), result.everything()
        result.said("ExecutorSubscribableChannel", "CSRF")
        r.is_told("ends; the error names the CSRF token")


def test_basic_missing(secure, row):
    with row("Spring Security", "no credentials at the upgrade") as r:
        result = cat(secure.url, "-s", TOPIC, "-t", "10")
        assert result.status == 1, result.everything()
        assert not result.retries(), result.everything()
        result.said("401", "Basic realm", "http_headers")
        r.is_told("ends; the error quotes WWW-Authenticate")


def test_bearer(secure, row):
    with row("Spring Security", "bearer token in CONNECT") as r:
        with Cat(secure.bearer_url, *BEARER, "-s", TOPIC, "-n", "1", *QUICK) as listener, \
                Publishing(lambda: secure.publish(TOPIC, "hello")):
            listener.saw("hello", "out")
            assert listener.wait() == 0, listener.everything()
        r.is_told("works")


def test_bearer_wrong(secure, row):
    with row("Spring Security", "wrong bearer token in CONNECT") as r:
        result = cat(secure.bearer_url, "--connect-header", "Authorization:Bearer stale-token",
                     "-s", TOPIC, "-t", "10")
        assert result.status == 1, result.everything()
        assert not result.retries(), result.everything()
        result.said("ExecutorSubscribableChannel", "ChannelInterceptor")
        assert "stale-token" not in result.text(), result.everything()
        r.is_told("ends; the error names the ChannelInterceptor")


def test_user_destinations(secure, row):
    with row("Spring Security", "user destinations: for one user, for one session") as r:
        with Cat(secure.bearer_url, *BEARER, "-s", "/user/queue/news", *QUICK) as grace, \
                Publishing(lambda: secure.publish("/queue/news", "for grace", user="grace")):
            grace.saw("for grace", "out")
        result = cat(secure.bearer_url, *BEARER, "-s", "/user/queue/reply", "-d", "/app/reply",
                     "-m", "answer me", "-n", "1", "-t", "20")
        assert (result.status, result.messages) == (0, ["answer me"]), result.everything()
        r.is_told("works")


def test_denied_subscription(secure, row):
    """Spring ends the session because of it. The other subscription must survive."""
    with row("Spring Security", "one of two subscriptions is denied") as r:
        began = time.monotonic()
        with Cat(secure.bearer_url, *BEARER, "-s", "/topic/secret/plans", "-s", TOPIC,
                 *QUICK) as listener:
            with Publishing(lambda: secure.publish(TOPIC, "hello")):
                wait_until(lambda: listener.messages.count("hello") >= 20 or
                           not listener.running(), "messages of the other subscription", 20)
                assert listener.running(), listener.everything()
            listener.said('"/topic/secret/plans"', "set aside")
            retries = len(listener.retries())
            ends = 1000 * (listener.saw("set aside") - began)
            time.sleep(1.5)
            assert len(listener.retries()) == retries <= 6, listener.everything()
        r.recovers("named and set aside; the other one continues", ends)


def test_denied_send(secure, row):
    with row("Spring Security", "a SEND to a denied destination") as r:
        result = cat(secure.bearer_url, *BEARER, "-s", TOPIC, "-d", "/app/secret", "-m", "x",
                     "-t", "10")
        assert result.status == 1, result.everything()
        result.said("ExecutorSubscribableChannel", "denie")
        r.is_told("ends; the error: it may be denied")


# ---- proxies that do not pass on the upgrade headers ----

@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.name)
def test_no_upgrade_headers(kind, spring, start, row):
    with row(kind.name, "the upgrade headers are not passed on to Spring") as r:
        proxy = start(kind, backend=spring.port, upgrade=False)
        result = cat(proxy.url(), "-s", TOPIC, "-t", "10", *QUICK)
        assert result.status == 1, result.everything()
        assert not result.retries(), result.everything()
        result.said("proxy", "Upgrade", "proxy_set_header")
        assert "append" not in result.text(), result.everything()
        r.is_told("ends; remedy: the lines for nginx that pass the upgrade on")


def test_sockjs_base_behind_a_proxy(spring, start, row):
    """The opposite case: the proxy is correct, but /websocket is missing."""
    with row("nginx", "/websocket is missing in the URL, Spring with SockJS") as r:
        proxy = start(Nginx, backend=spring.port)
        result = cat(proxy.url().removesuffix("/websocket"), "-s", TOPIC, "-t", "10")
        assert result.status == 1, result.everything()
        result.said("append", "/websocket")
        assert "proxy_set_header" not in result.text(), result.everything()
        r.is_told("ends; remedy: append /websocket")


def test_spring_behind_apache(spring, start, row):
    need(Apache)
    with row("apache", "Spring behind it, over ws://") as r:
        proxy = start(Apache, backend=spring.port)
        result = cat(proxy.url(), "-s", "/topic/echo", "-d", "/app/echo", "-m", "hello", "-n", "1",
                     "-t", "20")
        assert (result.status, result.messages) == (0, ["hello"]), result.everything()
        r.is_told("works")


# ---- Spring's relay to RabbitMQ ----

def test_relay_while_rabbitmq_restarts(row):
    """Spring keeps running, and answers "Broker not available." until RabbitMQ is back."""
    need_java()
    with row("Spring relay", "RabbitMQ behind it is restarted") as r, \
            row("Spring relay", "RabbitMQ behind it is down at the first attempt") as first, \
            broker.create("spring-relay") as spring:
        with Load(spring.url, "/queue/relayed", subscribe=["durable:true", "auto-delete:false"],
                  heartbeat=0, pace=10) as load, \
                Cat(spring.url, "-s", "/topic/news", *QUICK) as listener:
            load.goes_on()
            load.mark()
            spring.rabbitmq.settle()
            spring.rabbitmq.stop()
            listener.saw("Broker not available")
            # An attempt that has never worked may have a wrong setting, so the client ends
            # immediately.
            stranger = cat(spring.url, "-s", TOPIC, "-t", "10")
            assert stranger.status == 1, stranger.everything()
            assert not stranger.retries(), stranger.everything()
            stranger.said("Broker not available")
            first.is_told("ends immediately")
            spring.rabbitmq.start()
            load.goes_on()
            assert listener.running(), listener.everything()
            counts = load.finish()
        r.confirms("\"Broker not available.\" is retried, resumed", counts)

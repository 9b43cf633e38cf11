"""Reverse proxies in front of a broker: sessions, reloads, and the proxies' own answers."""

import email.utils
import time

import pytest

import broker
import deploy
import proxies
from deploy import QUICK, Cat, Load, MiniBroker, Silent, cat
from network import Blackhole, ConnectProxy
from proxies import ALL, Apache, Caddy, Nginx

each_proxy = pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.name)
EXCHANGE = ("-s", "/queue/a", "-d", "/queue/a", "-m", "hello", "--receipt", "-n", "1")
LISTEN = ("-s", "/queue/a", *QUICK)
# The status that nginx, haproxy, Apache and Caddy answer if nothing listens behind them.
DOWN = {"nginx": 502, "haproxy": 503, "apache": 503, "caddy": 502}
STATUS_429 = {"status": 429, "headers": {"Retry-After": "1"}}


@pytest.fixture(name="mini")
def start_mini_broker():
    with MiniBroker() as mini:
        yield mini


def scheme(tls):
    return "wss://" if tls else "ws://"


def sends(url, body, destination="/queue/a"):
    """Sends one message to all subscribers, with a receipt."""
    result = cat(url, "-d", destination, "-m", body, "--receipt", *QUICK, "-t", 20)
    assert result.status == 0, result.everything()


def tells(url, *words, arguments=()):
    """Checks that stomp_cat ends immediately, and that its output contains these words."""
    result = cat(url, *LISTEN, "-t", 15, *arguments)
    assert result.status == 1, result.everything()
    assert not result.retries(), result.everything()
    result.said(*words)


# ---- sessions and reloads ----

@each_proxy
@pytest.mark.parametrize("tls", [False, True], ids=["ws", "wss"])
def test_session(kind, tls, start, mini, certs, row):
    with row(kind.name, f"connect, subscribe, send, receive over {scheme(tls)}") as r:
        proxy = start(kind, backend=mini.port)
        result = cat(proxy.url(tls), "--ca", certs.ca, *EXCHANGE, "-t", 20)
        assert (result.status, result.messages) == (0, ["hello"]), result.everything()
        r.is_told("works")


@each_proxy
def test_reload_under_load(kind, start, mini, certs, row):
    """Two reloads, with a load over ws:// and another load over wss:// at the same time."""
    what = "two reloads under confirmed load over "
    with row(kind.name, what + scheme(False)) as plain, row(kind.name, what + scheme(True)) as tls:
        proxy = start(kind, backend=mini.port)
        with Load(proxy.url(), f"/queue/{kind.name}-ws") as ws, \
                Load(proxy.url(tls=True), f"/queue/{kind.name}-wss", ca=certs.ca) as wss:
            for load in (ws, wss):
                load.goes_on()
                load.mark()
            for _ in range(2):
                proxy.reload()
                time.sleep(proxies.LINGER_S + 0.3)
                for load in (ws, wss):
                    load.goes_on()
            for load, result in ((ws, plain), (wss, tls)):
                counts = load.finish()
                ended = min(counts["publisher_sessions"], counts["consumer_sessions"]) >= 3
                assert ended == proxy.reload_ends_sessions, counts
                result.confirms("resumed" if ended else "the sessions continue", counts)


# ---- the backend is down, slow, or restarting ----

@each_proxy
def test_backend_down(kind, start, row):
    with row(kind.name, f"{DOWN[kind.name]}: the broker is started after the client") as r:
        mini = MiniBroker()
        proxy = start(kind, backend=mini.port)
        with Cat(proxy.url(), *LISTEN, "-n", "1") as listener:
            listener.saw(f"HTTP {DOWN[kind.name]} ")
            began = time.monotonic()
            with mini:
                sends(proxy.url(), "it is up")
                arrived = listener.saw("it is up", "out")
        r.recovers("retried, connected", 1000 * (arrived - began))


@each_proxy
def test_backend_silent(kind, start, mini, row):
    status = 502 if kind is Apache else 504
    with row(kind.name, f"{status}: the broker accepts and does not answer") as r, \
            Silent() as silent:
        proxy = start(kind, backend=silent.port, idle_s=1, answer_s=1)
        tls = kind is Apache  # mod_proxy_wstunnel, which serves ws://, waits forever
        with Cat(proxy.url(tls), "--insecure", *LISTEN, "-n", "1") as listener:
            listener.saw(f"HTTP {status} ")
            began = proxy.reload(backend=mini.port, idle_s=60)
            sends(mini.url, "it answers")
            arrived = listener.saw("it answers", "out")
        r.recovers("retried, connected", 1000 * (arrived - began))


@each_proxy
def test_404_during_a_redeploy(kind, start, row):
    """After a good session, the path is missing for some time."""
    with row(kind.name, "404 during a redeploy, after a good session") as r, MiniBroker() as mini:
        proxy = start(kind, backend=mini.port)
        with Cat(proxy.url(), *LISTEN) as listener:
            sends(proxy.url(), "before")
            listener.saw("before", "out")
            proxy.reload(status=404)
            if not proxy.reload_ends_sessions:
                mini.kill()
                mini.start()
            listener.saw("HTTP 404 ")
            time.sleep(1)
            assert listener.running(), listener.everything()
            began = proxy.reload(status=None)
            sends(proxy.url(), "after")
            arrived = listener.saw("after", "out")
        r.recovers("retried, resumed", 1000 * (arrived - began))


def test_404_at_first(start, row):
    with row("nginx", "404 at the first attempt") as r:
        tells(start(Nginx, status=404).url(), "404")
        r.is_told("ends immediately")


@pytest.mark.parametrize("status", [401, 403])
def test_denied_after_a_good_session(status, start, mini, row):
    with row("nginx", f"{status} after a good session") as r:
        proxy = start(Nginx, backend=mini.port)
        with Cat(proxy.url(), *LISTEN) as listener:
            sends(proxy.url(), "before")
            listener.saw("before", "out")
            proxy.reload(status=status, headers={"WWW-Authenticate": 'Bearer realm=\\"gate\\"'})
            assert listener.wait() == 1, listener.everything()
            assert f"HTTP {status} " in listener.text()
            if status == 401:
                listener.said('Bearer realm="gate"')
        r.is_told("ends; remedy: new credentials")


def test_give_up_never(start, mini, row):
    with row("nginx", "404 at the first attempt, stomp_cat --give-up never") as r:
        proxy = start(Nginx, status=404, backend=mini.port)
        with Cat(proxy.url(), *LISTEN, "--give-up", "never", "-n", "1") as listener:
            listener.saw("HTTP 404 ")
            listener.saw("trying again")
            began = proxy.reload(status=None)
            sends(proxy.url(), "after")
            arrived = listener.saw("after", "out")
        r.recovers("retried, connected", 1000 * (arrived - began))


def test_give_up_soon(start, mini, row):
    with row("nginx", "404 after a good session, stomp_cat --give-up soon") as r:
        proxy = start(Nginx, backend=mini.port)
        with Cat(proxy.url(), *LISTEN, "--give-up", "soon") as listener:
            sends(proxy.url(), "before")
            listener.saw("before", "out")
            proxy.reload(status=404)
            assert listener.wait() == 1, listener.everything()
        r.is_told("ends")


# ---- 429 and Retry-After ----

def first_delays(url, count):
    """The first delay that each of several stomp_cats announces after a 429."""
    cats = [Cat(url, "-s", f"/queue/{number}", *QUICK, "-t", "20") for number in range(count)]
    try:
        for one in cats:
            one.saw("HTTP 429 ")
            one.saw("trying again")
        return cats, [one.retries()[0] for one in cats]
    except BaseException:
        for one in cats:
            one.close()
        raise


def test_429_with_eight_clients(start, row):
    with row("nginx", "429 with Retry-After: 1, to eight clients") as r, MiniBroker() as mini:
        proxy = start(Nginx, backend=mini.port, **STATUS_429)
        cats, delays = first_delays(proxy.url(), 8)
        try:
            assert min(delays) >= 999, delays
            assert max(delays) <= 4000, delays
            assert len(set(delays)) > 4, f"they all return at the same time: {delays}"
            began = proxy.reload(status=None)
            for number in range(8):
                sends(proxy.url(), "message", f"/queue/{number}")
            arrived = max(one.saw("^message", "out") for one in cats)
        finally:
            for one in cats:
                one.close()
        r.recovers("all connected, at different times", 1000 * (arrived - began))


@pytest.mark.parametrize("what", ["a day", "an HTTP-date"])
def test_429_is_bounded(what, start, row):
    """The limit is ten times reconnect_max_ms, which is 400 here."""
    in_three_seconds = email.utils.formatdate(time.time() + 3, usegmt=True)
    value, least = {"a day": ("86400", 400), "an HTTP-date": (in_three_seconds, 1000)}[what]
    with row("nginx", f"429 with Retry-After: {what}") as r:
        proxy = start(Nginx, status=429, headers={"Retry-After": value})
        cats, delays = first_delays(proxy.url(), 1)
        cats[0].close()
        assert least <= delays[0] <= 4000, delays
        r.is_told("waits for at most ten times reconnect_max_ms")


# ---- certificates of clients ----

def with_certificate(certs):
    return ("--ca", certs.ca, "--cert", certs.client, "--key", certs.client_key)


@each_proxy
def test_client_certificate(kind, start, mini, certs, row):
    with row(kind.name, "client certificate required and sent") as r:
        proxy = start(kind, backend=mini.port, client_ca=certs.ca)
        # Caddy compares the Host header with the name in TLS, which cannot be an address.
        name = "localhost" if kind is Caddy else "127.0.0.1"
        url = proxy.url(tls=True).replace("127.0.0.1", name)
        result = cat(url, *with_certificate(certs), *EXCHANGE, "-t", 20)
        assert (result.status, result.messages) == (0, ["hello"]), result.everything()
        r.is_told("works")


@each_proxy
def test_client_certificate_missing(kind, start, mini, certs, row):
    words = {"nginx": ("400", "No required SSL certificate was sent")}.get(
        kind.name, ("certificate",))
    with row(kind.name, "client certificate required but not sent") as r:
        proxy = start(kind, backend=mini.port, client_ca=certs.ca)
        tells(proxy.url(tls=True), *words, arguments=("--ca", certs.ca))
        r.is_told("ends; the error names the certificate")


def test_renegotiation(start, mini, certs, row):
    with row("apache", "client certificate requested by renegotiation (in a Location)") as r:
        proxy = start(Apache, backend=mini.port, client_ca=certs.ca, per_location=True)
        result = cat(proxy.url(tls=True), *with_certificate(certs), *LISTEN, "-t", 4)
        assert result.status in (1, 3), result.everything()
        result.said("renegotiat")
        r.is_told("the error names renegotiation and the remedy")


# ---- common mistakes ----

@pytest.mark.parametrize("kind", [Nginx, Apache], ids=lambda kind: kind.name)
def test_large_headers(kind, start, mini, row):
    words = {"nginx": ["Request Header Or Cookie Too Large"], "apache": []}[kind.name]
    with row(kind.name, "request headers of 9,000 bytes") as r:
        proxy = start(kind, backend=mini.port)
        tells(proxy.url(), "400", "shorten", *words,
              arguments=("--http-header", "X-Large: " + "x" * 9000))
        r.is_told("ends; remedy: shorten the headers")


PLAIN_TO_TLS = {"nginx": ["400", "The plain HTTP request was sent to HTTPS port"],
                "apache": ["400"], "caddy": ["400", "HTTPS"]}


@pytest.mark.parametrize("kind", [Nginx, Apache, Caddy], ids=lambda kind: kind.name)
def test_plain_http_to_the_tls_port(kind, start, mini, row):
    with row(kind.name, "ws:// to the port of wss://") as r:
        proxy = start(kind, backend=mini.port)
        tells(proxy.url(tls=True).replace("wss:", "ws:"), "wss://", *PLAIN_TO_TLS[kind.name])
        r.is_told("ends; remedy: use wss://")


def test_tls_to_the_plain_port(start, mini, row):
    with row("nginx", "wss:// to the port of ws://") as r:
        proxy = start(Nginx, backend=mini.port)
        result = cat(proxy.url().replace("ws:", "wss:"), *LISTEN, "-t", 3, "--insecure")
        assert result.status in (1, 3), result.everything()
        result.said("TLS")
        r.is_told("the error: no TLS at that port")


# ---- several URLs, secrets in files ----

def test_two_urls(start, row):
    with row("two URLs", "the first answers 502, and is back when the second ends") as r:
        with MiniBroker() as first, MiniBroker() as second:
            proxy = start(Nginx, backend=first.port, status=502)
            with Cat([proxy.url(), second.url], *LISTEN) as listener:
                listener.saw("HTTP 502 ")
                sends(second.url, "by the second")
                listener.saw("by the second", "out")
                proxy.reload(status=None)
                began = time.monotonic()
                second.kill()
                sends(proxy.url(), "by the first")
                arrived = listener.saw("by the first", "out")
        r.recovers("moves to the second URL, and back to the first", 1000 * (arrived - began))


def test_passcode_file(folder, start, row):
    with row("nginx", "a broker behind the proxy requires a login; stomp_cat --passcode-file") as r:
        folder.mkdir(parents=True, exist_ok=True)
        secret = folder / "passcode"
        secret.write_text("open sesame\n")
        with MiniBroker(login="ada:open sesame") as mini:
            proxy = start(Nginx, backend=mini.port)
            result = cat(proxy.url(), "-u", "ada", "--passcode-file", secret, *EXCHANGE, "-t", 20)
            assert (result.status, result.messages) == (0, ["hello"]), result.everything()
        r.is_told("works")


# ---- two addresses ----

@pytest.mark.parametrize("first", ["502", "silence"])
def test_the_next_address(first, start, row):
    """127.0.0.2 accepts, and answers 502 or nothing. The broker is at 127.0.0.1."""
    with row("two addresses", f"the first answers with {first}; two clients") as r:
        with MiniBroker(port=free_at_both()) as mini:
            if first == "502":
                start(Nginx, host="127.0.0.2", port=mini.port, status=502)
                other = None
            else:
                other = Silent("127.0.0.2", mini.port)
            try:
                began = time.monotonic()
                with Load(mini.url, address=["127.0.0.2", "127.0.0.1"]) as load:
                    found = time.monotonic()
                    assert load.goes_on()["publisher_error"], "the first address was not tried"
                    counts = load.finish()
            finally:
                if other:
                    other.__exit__()
        r.confirms("the second address is used", counts, 1000 * (found - began))


def free_at_both():
    port = broker.free_port()
    while not proxies.is_free("127.0.0.2", port):
        port = broker.free_port()
    return port


# ---- TLS 1.3, which only the OpenSSL build supports ----

@pytest.mark.parametrize("library", ["BearSSL", "OpenSSL"])
def test_tls_13_only(library, start, mini, certs, row):
    with row("nginx", f"only TLS 1.3, stomp_cat with {library}") as r:
        proxy = start(Nginx, backend=mini.port, tls_version="TLSv1.3")
        programs = {"BearSSL": deploy.PROGRAMS, "OpenSSL": deploy.OPENSSL}[library]
        result = cat(proxy.url(tls=True), "--ca", certs.ca, *EXCHANGE, "-t", 4, programs=programs)
        if library == "OpenSSL":
            assert (result.status, result.messages) == (0, ["hello"]), result.everything()
            r.is_told("works")
        else:
            assert result.status in (1, 3), result.everything()
            result.said("TLS 1.3", "BearSSL")
            r.is_told("the error: BearSSL supports only TLS 1.2")


@pytest.mark.parametrize("through", ["directly", "through an HTTP proxy"])
def test_tls_13_with_a_blackholed_address(through, start, mini, certs, row):
    """127.0.0.2 does not answer a SYN. The nginx at 127.0.0.1 requires TLS 1.3."""
    with row("nginx", f"only TLS 1.3, {through}, its first address a blackhole; OpenSSL") as r:
        proxy = start(Nginx, backend=mini.port, tls_version="TLSv1.3")
        with Blackhole("127.0.0.2", proxy.tls_port), ConnectProxy() as forward:
            options = {} if through == "directly" else {"proxy": forward.url}
            began = time.monotonic()
            with Load(proxy.url(tls=True), ca=certs.ca, address=["127.0.0.2", "127.0.0.1"],
                      programs=deploy.OPENSSL, **options) as load:
                found = time.monotonic()
                load.goes_on()
                counts = load.finish()
            assert bool(options) == (f"127.0.0.1:{proxy.tls_port}" in forward.asked)
        r.confirms("the second address is used", counts, 1000 * (found - began))

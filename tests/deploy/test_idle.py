"""Proxies that end idle connections, in front of a broker that grants no heart-beats.

All clients of this module are idle at the same time, for a minute.
"""

import contextlib
import time

import pytest

from conftest import need
from deploy import QUICK, Cat, Load, MiniBroker, cat
from proxies import Apache, Haproxy, Nginx

IDLE_S = 3
ALIVE_S = 60
KINDS = (Nginx, Haproxy, Apache)
each_proxy = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)


class Idle:
    """Proxies. Each has a client that sends pings and a client that does not."""

    def __init__(self, stack, work, certs):
        self.mini = stack.enter_context(MiniBroker("0,0"))
        self.pinging, self.silent, self.proxies, self.started = {}, {}, {}, {}
        for kind in KINDS:
            if kind.missing():
                continue
            proxy = stack.enter_context(kind(work / kind.name, certs, backend=self.mini.port,
                                             idle_s=IDLE_S, answer_s=IDLE_S))
            self.proxies[kind.name] = proxy
            self.started[kind.name] = time.monotonic()
            for cats, ping in ((self.pinging, 1000), (self.silent, 0)):
                # mod_proxy_wstunnel, which serves ws://, never ends an idle session.
                tls = kind is Apache
                cats[kind.name] = stack.enter_context(Cat(
                    proxy.url(tls), "--insecure", "-s", f"/topic/{kind.name}-{ping}",
                    "--ping", ping, *QUICK))
        self.began = time.monotonic()

    def publish(self, kind, ping, body):
        result = cat(self.mini.url, "-d", f"/topic/{kind.name}-{ping}", "-m", body, "--receipt")
        assert result.status == 0, result.everything()


@pytest.fixture(name="idle", scope="module")
def start_idle_clients(work, certs):
    with contextlib.ExitStack() as stack:
        yield Idle(stack, work, certs)


@each_proxy
def test_cut_without_pings(kind, idle, row):
    with row(kind.name, f"idle for {IDLE_S} s, no heart-beats, --ping 0") as r:
        need(kind)
        client = idle.silent[kind.name]
        cut = client.saw("trying again", seconds=4 * IDLE_S)
        assert cut - idle.started[kind.name] > IDLE_S - 0.1, client.everything()
        client.said("idle", "ping_ms")
        r.is_told("cut; the error: an idle time-out; remedy: ping_ms")


def test_load_through_idle_proxy(idle, row):
    """A load with pauses that are longer than the proxy's time-out."""
    with row("nginx", "confirmed load with pauses of 4 s, no heart-beats, pings of 1 s") as r:
        need(Nginx)
        url = idle.proxies["nginx"].url()
        with Load(url, "/queue/pauses", heartbeat=0, ping=1000, pace=4000) as load:
            load.goes_on(4)
            counts = load.finish()
        assert counts["publisher_sessions"] == counts["consumer_sessions"] == 1, counts
        r.keeps("the sessions continue", counts)


@each_proxy
def test_alive_with_pings(kind, idle, row):
    with row(kind.name, f"idle for {ALIVE_S} s, no heart-beats, --ping 1000") as r:
        need(kind)
        client = idle.pinging[kind.name]
        while time.monotonic() < idle.began + ALIVE_S and client.running():
            time.sleep(0.1)
        assert not client.text(), client.everything()
        idle.publish(kind, 1000, "after a minute")
        client.saw("after a minute", "out", seconds=5)
        assert not client.text(), client.everything()
        r.is_told("the session continues")

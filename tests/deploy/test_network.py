"""A network of our own making, under confirmed load: slow, cut, frozen, swallowing everything."""

import time

import pytest

from deploy import PATH, QUICK, Cat, Load, MiniBroker
from network import Network

BEAT_MS = 500  # silence is noticed after three of them


@pytest.fixture(name="bad")
def start_network():
    with MiniBroker(f"{BEAT_MS},{BEAT_MS}") as mini, Network(mini.port) as network:
        network.url = f"ws://127.0.0.1:{network.port}{PATH}"
        yield network


@pytest.fixture(name="quiet")
def start_network_without_heart_beats():
    with MiniBroker("0,0") as mini, Network(mini.port) as network:
        network.url = f"ws://127.0.0.1:{network.port}{PATH}"
        yield network


def beating(network):
    return Load(network.url, heartbeat=BEAT_MS)


def has_noticed(load):
    """Both clients have given the connection up by themselves: the network only swallows bytes."""
    counts = load.counts()
    assert counts["publisher_error"] and counts["consumer_error"], counts


def test_latency(bad, row):
    with row("network", "150 ms of latency each way") as r, beating(bad) as load:
        load.goes_on()
        load.mark()
        bad.delay_s = 0.15
        load.goes_on(200)
        bad.delay_s = 0
        counts = load.finish()
        assert counts["publisher_sessions"] == counts["consumer_sessions"] == 1, counts
        r.confirms("the sessions go on", counts)


def test_resets(bad, row):
    with row("network", "ten resets, 300 ms apart") as r, beating(bad) as load:
        load.goes_on()
        load.mark()
        for _ in range(10):
            bad.reset()
            time.sleep(0.3)
        load.goes_on()
        counts = load.finish()
        assert counts["publisher_sessions"] > 5 < counts["consumer_sessions"], counts
        r.confirms("resumed", counts)


def test_resets_with_latency(bad, row):
    """Receipts and ACKs are on their way when the connection ends, and lost."""
    with row("network", "ten resets, with 50 ms of latency") as r, beating(bad) as load:
        load.goes_on()
        load.mark()
        bad.delay_s = 0.05
        for _ in range(10):
            bad.reset()
            time.sleep(0.5)
        bad.delay_s = 0
        load.goes_on()
        counts = load.finish()
        assert counts["publisher_sessions"] > 5 < counts["consumer_sessions"], counts
        r.confirms("resumed", counts)


def test_short_freeze(bad, row):
    with row("network", "frozen for 0.7 s, heart-beats of 0.5 s") as r, beating(bad) as load:
        load.goes_on()
        load.mark()
        bad.freeze()
        time.sleep(0.7)
        bad.thaw()
        load.goes_on()
        counts = load.finish()
        assert counts["publisher_sessions"] == counts["consumer_sessions"] == 1, counts
        r.confirms("the sessions go on", counts)


def test_long_freeze(bad, row):
    with row("network", "frozen for 4 s, heart-beats of 0.5 s") as r, beating(bad) as load:
        load.goes_on()
        load.mark()
        bad.freeze()
        time.sleep(4)
        bad.thaw()
        load.goes_on()
        counts = load.finish()
        assert counts["publisher_sessions"] > 1 < counts["consumer_sessions"], counts
        r.confirms("noticed, resumed", counts)


def test_blackhole(bad, row):
    with row("network", "blackhole for 5 s, heart-beats of 0.5 s") as r, beating(bad) as load:
        load.goes_on()
        load.mark()
        bad.blackhole()
        time.sleep(5)
        has_noticed(load)
        bad.heal()
        load.goes_on()
        counts = load.finish()
        assert counts["publisher_sessions"] > 1 < counts["consumer_sessions"], counts
        r.confirms("noticed, resumed", counts)


def test_blackhole_without_heart_beats(quiet, row):
    """Only PINGs can notice that the peer is gone."""
    what = "blackhole for 5 s, the server grants no heart-beats, pings of 0.5 s"
    with row("network", what) as r, Load(quiet.url, ping=500) as load:
        load.goes_on(200)
        load.mark()
        quiet.blackhole()
        time.sleep(5)
        has_noticed(load)
        quiet.heal()
        load.goes_on()
        counts = load.finish()
        assert counts["publisher_sessions"] > 1 < counts["consumer_sessions"], counts
        r.confirms("noticed, resumed", counts)


def test_idle_listener_without_heart_beats(quiet, row):
    """A client that only listens would wait for ever."""
    what = "blackhole before an idle listener, no heart-beats, --ping 500"
    with row("network", what) as r:
        with Cat(quiet.url, "-s", "/queue/a", "--ping", "500", *QUICK) as listener:
            time.sleep(2)
            assert listener.running() and not listener.retries(), listener.everything()
            began = time.monotonic()
            quiet.blackhole()
            noticed = listener.saw("trying again", seconds=10)
            listener.said("PING")
        r.recovers("noticed", 1000 * (noticed - began))

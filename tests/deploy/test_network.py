"""A simulated bad network under confirmed load: slow, reset, frozen, or losing everything."""

import time

import pytest

from deploy import PATH, QUICK, Cat, Load, MiniBroker
from network import Network

BEAT_MS = 500  # the client gives up after three silent intervals


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
    """Both clients have given up the connection, because the network loses all bytes."""
    counts = load.counts()
    assert counts["publisher_error"] and counts["consumer_error"], counts


def live_through(load, trouble):
    """The counts of a load before, during and after the fault."""
    load.goes_on()
    load.mark()
    trouble()
    load.goes_on()
    return load.finish()


def stays(r, load, trouble):
    """Both clients keep their session."""
    counts = live_through(load, trouble)
    assert counts["publisher_sessions"] == counts["consumer_sessions"] == 1, counts
    r.confirms("the sessions continue", counts)


def resumes(r, load, trouble, outcome, more_than=1):
    """Both clients have had more than this number of sessions."""
    counts = live_through(load, trouble)
    assert counts["publisher_sessions"] > more_than < counts["consumer_sessions"], counts
    r.confirms(outcome, counts)


def reset_ten_times(network, pause):
    for _ in range(10):
        network.reset()
        time.sleep(pause)


def freeze(network, seconds):
    network.freeze()
    time.sleep(seconds)
    network.thaw()


def swallow(network, load):
    network.blackhole()
    time.sleep(5)
    has_noticed(load)
    network.heal()


def test_latency(bad, row):
    with row("network", "150 ms of latency each way") as r, beating(bad) as load:
        def trouble():
            bad.delay_s = 0.15
            load.goes_on(200)
            bad.delay_s = 0
        stays(r, load, trouble)


def test_resets(bad, row):
    with row("network", "ten resets, 300 ms apart") as r, beating(bad) as load:
        resumes(r, load, lambda: reset_ten_times(bad, 0.3), "resumed", more_than=5)


def test_resets_with_latency(bad, row):
    """The connection ends while receipts and ACKs are on their way, so they are lost."""
    with row("network", "ten resets, with 50 ms of latency") as r, beating(bad) as load:
        def trouble():
            bad.delay_s = 0.05
            reset_ten_times(bad, 0.5)
            bad.delay_s = 0
        resumes(r, load, trouble, "resumed", more_than=5)


def test_short_freeze(bad, row):
    with row("network", "frozen for 0.7 s, heart-beats of 0.5 s") as r, beating(bad) as load:
        stays(r, load, lambda: freeze(bad, 0.7))


def test_long_freeze(bad, row):
    with row("network", "frozen for 4 s, heart-beats of 0.5 s") as r, beating(bad) as load:
        resumes(r, load, lambda: freeze(bad, 4), "noticed, resumed")


def test_blackhole(bad, row):
    with row("network", "blackhole for 5 s, heart-beats of 0.5 s") as r, beating(bad) as load:
        resumes(r, load, lambda: swallow(bad, load), "noticed, resumed")


def test_blackhole_without_heart_beats(quiet, row):
    """Without heart-beats, only PINGs can notice that the peer is gone."""
    what = "blackhole for 5 s, the server grants no heart-beats, pings of 0.5 s"
    with row("network", what) as r, Load(quiet.url, ping=500) as load:
        load.goes_on(200)
        resumes(r, load, lambda: swallow(quiet, load), "noticed, resumed")


def test_idle_listener_without_heart_beats(quiet, row):
    """A client that only listens would otherwise wait forever."""
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

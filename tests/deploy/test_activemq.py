"""ActiveMQ with a durable subscription, when connections end without its knowledge."""

import shutil
import threading

import pytest

import broker
from deploy import Load
from network import Network

HOLDS_S = 3


@pytest.fixture(name="activemq", scope="module")
def start_activemq():
    if not shutil.which("mvn"):
        pytest.skip("mvn")
    with broker.create("activemq") as activemq:
        yield activemq


def test_client_id_in_use(activemq, row):
    """The client's end is reset. ActiveMQ keeps the old connection, and its client-id, for 3 s.

    There are no heart-beats, because ActiveMQ would notice the reset earlier through them.
    """
    with row("ActiveMQ", f"durable client-id, reset, held by the broker for {HOLDS_S} s") as r, \
            Network(activemq.port) as network:
        url = activemq.url.replace(f":{activemq.port}", f":{network.port}")
        with Load(url, "/topic/durable", client_id="deploy", durable="deploy", heartbeat=0,
                  pace=10) as load:
            load.goes_on()
            load.mark()
            network.forget()
            timer = threading.Timer(HOLDS_S, network.let_go)
            timer.start()
            try:
                load.goes_on()
            finally:
                timer.join()
            counts = load.finish()
        assert counts["pause_ms"] > 1000 * (HOLDS_S - 0.2), counts
        assert "already connected" in counts["consumer_error"], counts
        r.confirms("\"already connected\" is retried, resumed", counts)


def test_resets(activemq, row):
    with row("ActiveMQ", "durable client-id, five resets") as r, \
            Network(activemq.port) as network:
        url = activemq.url.replace(f":{activemq.port}", f":{network.port}")
        with Load(url, "/topic/resets", client_id="resets", durable="resets", pace=10) as load:
            load.goes_on()
            load.mark()
            for _ in range(5):
                network.reset()
                load.goes_on(20)
            counts = load.finish()
        assert counts["publisher_sessions"] >= 6 <= counts["consumer_sessions"], counts
        r.confirms("resumed", counts)

"""A RabbitMQ cluster of three nodes, with a quorum queue, under confirmed load."""

import shutil

import pytest

from cluster import Cluster
from deploy import Load

LOGIN = ("deploy", "deploy")


@pytest.fixture(name="cluster", scope="module")
def start_cluster():
    if not shutil.which("rabbitmqctl"):
        pytest.skip("rabbitmq-server")
    with Cluster(LOGIN) as cluster:
        yield cluster


def load(cluster, queue, **options):
    """Connects to all three nodes in turn. Each node has a copy of the queue."""
    return Load(cluster.urls, f"/queue/{queue}", publish_to=f"/amq/queue/{queue}",
                login=LOGIN[0], passcode=LOGIN[1], pace=10,
                subscribe=["x-queue-type:quorum", "durable:true", "auto-delete:false"],
                **{"retry": 1000, **options})


def test_kill_the_connected_node(cluster, row):
    """Both clients are connected to the first node, because its URL is the first URL."""
    with row("RabbitMQ, 3 nodes", "kill -9 of the connected node") as r, \
            load(cluster, "killed") as running:
        running.goes_on()
        running.mark()
        cluster.nodes[0].kill()
        running.goes_on()
        cluster.nodes[0].start()
        counts = running.finish()
        assert counts["publisher_sessions"] > 1 < counts["consumer_sessions"], counts
        r.confirms("resumed at another node", counts)


def test_back_before_the_election(cluster, row):
    """A publisher reconnects to another node within 50 ms, before the queue has a new leader.

    RabbitMQ 3.10 then loses its messages, and confirms nothing more in that session, even when
    there is a leader again. A new session helps, because the library resends everything in it.
    """
    what = "kill -9, the publisher reconnects before the queue has a new leader"
    with row("RabbitMQ, 3 nodes", what) as r, \
            load(cluster, "early", retry=50, stall=4000) as running:
        running.goes_on()
        running.mark()
        cluster.nodes[0].kill()
        running.goes_on()
        cluster.nodes[0].start()
        counts = running.finish()
        r.confirms("resumed; the program calls stws_reconnect_now after 4 s without a receipt",
                   counts)


def test_rolling_restart(cluster, row):
    with row("RabbitMQ, 3 nodes", "rolling restart of all three") as r, \
            load(cluster, "rolled") as running:
        running.goes_on()
        running.mark()
        for node in cluster.nodes:
            node.restart()
            running.goes_on()
        counts = running.finish()
        assert counts["publisher_sessions"] > 1 < counts["consumer_sessions"], counts
        r.confirms("resumed at other nodes", counts)

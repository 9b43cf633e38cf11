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


def load(cluster, queue):
    """Through all three nodes in turn, and into a queue that each node has a copy of."""
    return Load(cluster.urls, f"/queue/{queue}", publish_to=f"/amq/queue/{queue}",
                login=LOGIN[0], passcode=LOGIN[1], pace=10,
                subscribe=["x-queue-type:quorum", "durable:true", "auto-delete:false"])


def test_kill_the_connected_node(cluster, row):
    """Both clients are connected to the first node, whose URL is the first one."""
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

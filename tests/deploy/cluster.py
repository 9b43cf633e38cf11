"""Three nodes of RabbitMQ, as one cluster on the loopback interface."""

import contextlib
import secrets
import subprocess
import threading
import time

import broker

# Small nodes, because three of them run on a machine with two cores.
ERLANG = ("-kernel inet_dist_use_interface {127,0,0,1} +S 1:1 +sbwt none +sbwtdcpu none "
          "+sbwtdio none")


class Node(broker.RabbitMq):
    """A node that finds the other nodes through the cluster's epmd, which ends with the cluster."""

    def __init__(self, cluster, **options):
        super().__init__(**options)
        self._cluster = cluster
        self._epmd_port = cluster.epmd_port

    @property
    def node_name(self):
        return self._environment()["RABBITMQ_NODENAME"]

    def _launch(self):
        cookie = self.data / ".erlang.cookie"
        if not cookie.exists():
            cookie.write_text(self._cluster.cookie)
            cookie.chmod(0o400)
        self._launch_server()

    def _configuration(self):
        nodes = {f"cluster_formation.classic_config.nodes.{number}": node.node_name
                 for number, node in enumerate(self._cluster.nodes, start=1)}
        return {**super()._configuration(), **nodes,
                "cluster_formation.peer_discovery_backend": "classic_config",
                "vm_memory_high_watermark.absolute": "256MB"}

    def _environment(self):
        return {**super()._environment(), "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": ERLANG}

    def control(self, *words):
        """Runs rabbitmqctl on this node."""
        done = subprocess.run(["/usr/lib/rabbitmq/bin/rabbitmqctl", *words], cwd=self.data,
                              env={**broker.os.environ, **self._environment()}, check=True,
                              stdin=subprocess.DEVNULL, capture_output=True, text=True)
        return done.stdout


class Cluster:
    """Three nodes. `urls` contains the URL of each."""

    def __init__(self, login, size=3):
        self.cookie = secrets.token_hex(10).upper()
        self.epmd_port = broker.free_port()
        self._epmd = None
        self.nodes = [Node(self, login=login) for _ in range(size)]

    @property
    def urls(self):
        return [node.url for node in self.nodes]

    def start(self):
        self._epmd = subprocess.Popen(
            ["epmd", "-port", str(self.epmd_port), "-address", "127.0.0.1"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True)
        broker.wait_for_port(self.epmd_port)
        errors = []

        def start(node):
            try:
                node.start()
            except Exception as error:  # pylint: disable=broad-except
                errors.append(error)

        threads = [threading.Thread(target=start, args=(node,)) for node in self.nodes]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if errors:
            raise errors[0]
        return self

    def close(self):
        for node in self.nodes:
            node.kill()  # nothing of the failed start is used again
        for node in self.nodes:
            node.close()
        if self._epmd:
            self._epmd.terminate()
            self._epmd.wait()

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            with contextlib.suppress(Exception):
                self.close()
            raise

    def __exit__(self, *exception):
        self.close()


def main():
    began = time.monotonic()
    with Cluster(("guest", "guest")) as cluster:
        print(time.monotonic() - began, cluster.nodes[0].control("cluster_status"))


if __name__ == "__main__":
    main()

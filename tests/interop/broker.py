#!/usr/bin/env python3
"""Real STOMP brokers on the loopback interface, for the interop tests.

On the command line, a broker runs in the foreground until SIGTERM:

    python3 tests/interop/broker.py start spring
    READY url=ws://127.0.0.1:24817/notifications/websocket http=http://127.0.0.1:24817

In a test:

    with broker.create("rabbitmq", login=("ada", "secret")) as rabbitmq:
        client.connect(rabbitmq.url)
        rabbitmq.kill()
        rabbitmq.start()

Each broker has its own ports and data folder, so several of them can run at the same time. Java
programs are built by Maven before their first start. All files are below build/interop/<name>:
`maven` (what was built), `log` (one file per port) and `data` (one folder per broker, removed with
it).
"""

import argparse
import contextlib
import fcntl
import hashlib
import os
import pathlib
import random
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
OUTPUT = HERE.parent.parent / "build" / "interop"

PROJECTS = {
    "spring": HERE / "spring",
    "activemq": HERE / "brokers" / "activemq",
    "artemis": HERE / "brokers" / "artemis",
    # Not a broker, but built in the same way.
    "spring-client": HERE / "peers" / "spring-client",
}
# Below the ports that the kernel gives to clients, so a port is still free when its broker starts
# again. In random order, because other processes take ports from this range, too.
PORTS = iter(random.sample(range(20000, 32768), k=12768))

# This environment variable marks all processes that a broker starts. Erlang's helper processes
# leave both the process group and the session, so those cannot be used.
MARK = "INTEROP_BROKER"

START_SECONDS = 180
STOP_SECONDS = 40
START_ATTEMPTS = 3
PORT_IS_TAKEN = re.compile("already in use|eaddrinuse", re.IGNORECASE)
MAVEN_ATTEMPTS = 3
KEY_STORE_PASSWORD = "interop"
BIG_MESSAGE = 32 * 1024 * 1024


class BrokerError(Exception):
    """A broker that could not be built or started. The text ends with the last lines of its log."""


class Broker:
    """What all brokers have in common: ports, folders, and processes to start and to end.

    `port` 0 takes a free port. `data` is a folder to keep; without it the broker gets a new folder,
    which is removed when the `with` block ends. `tls` is (certificate chain, private key), two PEM
    files. `login` is (login, passcode) of the only user who is accepted. `settings` are passed to
    the broker unchanged.
    """

    name = None
    path = "/"

    def __init__(self, port=0, data=None, tls=None, login=None, settings=None):
        self.port = port
        self._ports_are_ours = not port
        if self._ports_are_ours:
            self._choose_ports()
        self.tls = tls
        self.login = login
        self.settings = settings or {}
        self.log = OUTPUT / self.name / "log" / f"{self.port}.log"
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self.log.write_bytes(b"")
        self._data_is_ours = data is None
        if self._data_is_ours:
            parent = OUTPUT / self.name / "data"
            parent.mkdir(parents=True, exist_ok=True)
            data = tempfile.mkdtemp(prefix=f"{self.port}-", dir=parent)
        self.data = pathlib.Path(data).resolve()
        self.data.mkdir(parents=True, exist_ok=True)
        self._processes = []
        self._mark = secrets.token_hex(8)

    @property
    def url(self):
        scheme = "wss" if self.tls else "ws"
        return f"{scheme}://127.0.0.1:{self.port}{self.path}"

    @property
    def http(self):
        """The address of the broker's HTTP server, or None."""
        return None

    @property
    def pids(self):
        """All living processes of this broker, including helpers."""
        return processes_with(f"{MARK}={self._mark}")

    def running(self):
        return bool(self._processes) and all(p.poll() is None for p in self._processes)

    def start(self):
        """Starts the broker, unless it runs already. Returns when it accepts clients."""
        if self.running():
            return self
        self.kill()
        for attempt in range(1, START_ATTEMPTS + 1):
            try:
                self._launch()
                self._ports_are_ours = False
                return self
            except BaseException as error:
                self.kill()
                if attempt == START_ATTEMPTS or not self._may_move(error):
                    raise
                self._choose_ports()

    def _may_move(self, error):
        """Whether the broker failed because a port is in use, and may try other ports. The port was
        free when it was chosen, and no client knows it yet."""
        return (self._ports_are_ours and isinstance(error, BrokerError)
                and PORT_IS_TAKEN.search(str(error)))

    def _choose_ports(self):
        self.port = free_port()

    def stop(self):
        """Ends the broker as an administrator would. Sends SIGKILL to processes that do not end in
        time."""
        for process in reversed(self._processes):
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(STOP_SECONDS)
        self.kill()

    def kill(self):
        """Ends all processes of the broker as a crash would."""
        while pids := self.pids:
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.01)
        for process in self._processes:
            process.wait()
        self._processes = []

    def settle(self):
        """Returns when the existing queues would survive a crash."""

    def restart(self):
        """Stops the broker, and starts it on the same port with the same data."""
        self.stop()
        return self.start()

    def close(self):
        """Stops the broker, and removes its data folder unless the caller gave it."""
        self.stop()
        if self._data_is_ours:
            shutil.rmtree(self.data, ignore_errors=True)

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(self, *exception):
        self.close()

    def _launch(self):
        raise NotImplementedError

    def _spawn(self, command, ready=None, environment=None):
        """Runs a process of the broker. Returns when its output contains the line `ready`."""
        log_start = self.log.stat().st_size
        with self.log.open("ab") as output:
            # In its own session: a Ctrl-C reaches only this program, which then stops the broker in
            # good order.
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                cwd=self.data, env={**os.environ, **(environment or {}), MARK: self._mark},
                start_new_session=True)
        self._processes.append(process)
        deadline = time.monotonic() + START_SECONDS
        while ready and ready not in self._log_from(log_start):
            if process.poll() is not None:
                raise BrokerError(f"{self.name} ended with code {process.returncode} before it "
                                  f"was ready.\n{tail(self.log)}")
            if time.monotonic() > deadline:
                raise BrokerError(f"{self.name} was not ready after {START_SECONDS} s.\n"
                                  f"{tail(self.log)}")
            time.sleep(0.05)

    def _log_from(self, position):
        with self.log.open("rb") as log:
            log.seek(position)
            return log.read().decode(errors="replace")


class JavaBroker(Broker):
    """A broker that runs in one of our Java programs. `big` raises its limits on message sizes."""

    heap = "512m"
    big_heap = "1g"

    def __init__(self, big=False, **options):
        super().__init__(**options)
        self.big = big

    def _launch(self):
        heap = self.big_heap if self.big else self.heap
        # Options for a JVM that starts fast and stays small.
        self._spawn(["java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", f"-Xmx{heap}",
                     *self._arguments(build(self.name))], ready=f"READY {self.port}\n")

    def _arguments(self, folder):
        """The rest of the command line. `folder` contains what Maven built."""
        raise NotImplementedError

    def _key_store(self):
        """Returns the certificate and its key in Java's format."""
        chain, key = self.tls
        store = self.data / "key-store.p12"
        subprocess.run(["openssl", "pkcs12", "-export", "-in", chain, "-inkey", key, "-out", store,
                        "-passout", f"pass:{KEY_STORE_PASSWORD}"], check=True)
        return store


class Spring(JavaBroker):
    """Spring Boot with its simple broker. `settings` are Spring properties.

    `static` is a folder whose files it serves at /.
    """

    name = "spring"
    path = "/notifications/websocket"
    heap = "256m"
    # Tomcat reserves three times the longest message for each connection.
    big_heap = "2g"

    def __init__(self, static=None, **options):
        super().__init__(**options)
        self.static = static

    @property
    def http(self):
        scheme = "https" if self.tls else "http"
        return f"{scheme}://127.0.0.1:{self.port}"

    def _arguments(self, folder):
        properties = {**self._properties(), **self.settings}
        return ["-jar", folder / "server.jar", *(f"--{k}={v}" for k, v in properties.items())]

    def _properties(self):
        properties = {"server.port": self.port}
        if self.big:
            properties["spring.profiles.active"] = "big"
        if self.static:
            folder = pathlib.Path(self.static).resolve()
            properties["spring.web.resources.static-locations"] = f"file:{folder}/"
        if self.login:
            properties["interop.login"], properties["interop.passcode"] = self.login
        if self.tls:
            properties["server.ssl.key-store"] = f"file:{self._key_store()}"
            properties["server.ssl.key-store-password"] = KEY_STORE_PASSWORD
        return properties


class SpringRelay(Spring):
    """Spring Boot as a relay to RabbitMQ: a given RabbitMQ, or its own, which starts and ends with
    it."""

    def __init__(self, rabbitmq=None, **options):
        super().__init__(**options)
        self._rabbitmq_is_ours = rabbitmq is None
        self.rabbitmq = rabbitmq or RabbitMq(data=self.data / "rabbitmq")

    def stop(self):
        super().stop()
        if self._rabbitmq_is_ours:
            self.rabbitmq.stop()

    def kill(self):
        super().kill()
        if self._rabbitmq_is_ours:
            self.rabbitmq.kill()

    def _launch(self):
        if self._rabbitmq_is_ours:
            self.rabbitmq.start()
        super()._launch()

    def _properties(self):
        relay = f"127.0.0.1:{self.rabbitmq.stomp_port}"
        return {"interop.relay": relay, **super()._properties()}


class EmbeddedBroker(JavaBroker):
    """ActiveMQ Classic or Artemis. `settings` are system properties, which its main class
    describes."""

    main_class = None
    big_limits = None

    def _arguments(self, folder):
        properties = {**self._properties(), **self.settings}
        return [*(f"-D{k}={v}" for k, v in properties.items()),
                "-cp", f"{folder}/server.jar:{folder}/lib/*", self.main_class]

    def _properties(self):
        properties = {"port": self.port, "data": self.data}
        if self.big:
            properties.update(self.big_limits)
        if self.login:
            properties["login"], properties["passcode"] = self.login
        if self.tls:
            properties["javax.net.ssl.keyStore"] = self._key_store()
            properties["javax.net.ssl.keyStorePassword"] = KEY_STORE_PASSWORD
        return properties


class ActiveMq(EmbeddedBroker):
    name = "activemq"
    main_class = "interop.ActiveMqServer"
    big_limits = {"connector": f"websocket.maxTextMessageSize={BIG_MESSAGE}"}


class Artemis(EmbeddedBroker):
    name = "artemis"
    main_class = "interop.ArtemisServer"
    big_limits = {"acceptor": f"webSocketMaxFramePayloadLength={BIG_MESSAGE}"}


class RabbitMq(Broker):
    """RabbitMQ with its Web STOMP plugin. `settings` are lines of rabbitmq.conf.

    It also accepts STOMP over plain TCP, on `stomp_port`. It shares nothing with a RabbitMQ of the
    system: neither node name, ports and files, nor epmd (Erlang's name server).
    """

    name = "rabbitmq"
    path = "/ws"

    def __init__(self, **options):
        self._choose_other_ports()
        super().__init__(**options)

    def _choose_ports(self):
        super()._choose_ports()
        self._choose_other_ports()

    def _choose_other_ports(self):
        self.stomp_port = free_port()
        self._node_port = free_port()
        self._epmd_port = free_port()

    def _launch(self):
        # Started here. If Erlang starts it, it runs forever.
        self._spawn(["epmd", "-port", str(self._epmd_port), "-address", "127.0.0.1"])
        wait_for_port(self._epmd_port)
        self._launch_server()

    def _launch_server(self):
        (self.data / "rabbitmq.conf").write_text("".join(
            f"{name} = {value}\n" for name, value in self._configuration().items()))
        (self.data / "enabled_plugins").write_text("[rabbitmq_web_stomp].\n")
        (self.data / "rabbitmq-env.conf").write_text("")
        # Not the script in the PATH, which first changes to the user rabbitmq.
        self._spawn(["/usr/lib/rabbitmq/bin/rabbitmq-server"], ready="Server startup complete",
                    environment=self._environment())

    def settle(self):
        # RabbitMQ confirms a message even if its queue is not on disk yet. Erlang's disk_log delays
        # writing for up to two seconds. A message whose queue is lost does not come back.
        control = ["/usr/lib/rabbitmq/bin/rabbitmqctl", "eval", "ok = mnesia:sync_log()."]
        subprocess.run(control, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                       cwd=self.data, env={**os.environ, **self._environment()})

    def _configuration(self):
        listener = "web_stomp.ssl" if self.tls else "web_stomp.tcp"
        lines = {
            "listeners.tcp": "none",
            "stomp.listeners.tcp.1": f"127.0.0.1:{self.stomp_port}",
            f"{listener}.ip": "127.0.0.1",
            f"{listener}.port": self.port,
        }
        if self.tls:
            chain, key = (pathlib.Path(file).resolve() for file in self.tls)
            lines["web_stomp.tcp.listener"] = "none"
            lines["web_stomp.ssl.certfile"] = chain
            lines["web_stomp.ssl.cacertfile"] = chain
            lines["web_stomp.ssl.keyfile"] = key
        if self.login:
            lines["default_user"], lines["default_pass"] = self.login
        return {**lines, **self.settings}

    def _environment(self):
        return {
            "HOME": str(self.data),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(self._epmd_port),
            "RABBITMQ_NODENAME": f"interop-{self.port}@localhost",
            "RABBITMQ_DIST_PORT": str(self._node_port),
            "RABBITMQ_CONF_ENV_FILE": str(self.data / "rabbitmq-env.conf"),
            "RABBITMQ_CONFIG_FILE": str(self.data / "rabbitmq.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.data / "enabled_plugins"),
            "RABBITMQ_MNESIA_BASE": str(self.data / "mnesia"),
            "RABBITMQ_LOG_BASE": str(self.data / "log"),
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
        }


KINDS = {
    "spring": (Spring, {}),
    "spring-big": (Spring, {"big": True}),
    "spring-relay": (SpringRelay, {}),
    "rabbitmq": (RabbitMq, {}),
    "activemq": (ActiveMq, {}),
    "activemq-big": (ActiveMq, {"big": True}),
    "artemis": (Artemis, {}),
    "artemis-big": (Artemis, {"big": True}),
}


def create(kind, **options):
    """Creates a broker by its name on the command line. Does not start it."""
    make, defaults = KINDS[kind]
    return make(**defaults, **options)


def build(name):
    """Builds a Maven project if its sources have changed. Returns the folder with the results."""
    folder = OUTPUT / name / "maven"
    stamp = folder / "sources.sha256"
    log = OUTPUT / name / "log" / "build.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    digest = digest_of(PROJECTS[name])
    # One build at a time, because two builds must not write to Maven's local repository.
    with (OUTPUT / "maven.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if stamp.exists() and stamp.read_text() == digest:
            return folder
        shutil.rmtree(folder, ignore_errors=True)
        for _ in range(MAVEN_ATTEMPTS):
            with log.open("wb") as output:
                result = subprocess.run(["mvn", "--batch-mode", "--quiet", "package"],
                                        cwd=PROJECTS[name], stdin=subprocess.DEVNULL,
                                        stdout=output, stderr=subprocess.STDOUT, check=False)
            if result.returncode == 0:
                stamp.write_text(digest)
                return folder
    raise BrokerError(f"{name} could not be built in {MAVEN_ATTEMPTS} attempts.\n{tail(log)}")


def digest_of(folder):
    digest = hashlib.sha256()
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            digest.update(str(file.relative_to(folder)).encode())
            digest.update(file.read_bytes())
    return digest.hexdigest()


def free_port():
    for port in PORTS:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                return port
    raise BrokerError("There is no free port.")


def wait_for_port(port):
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise BrokerError(f"Nothing listens on port {port}.") from None
            time.sleep(0.02)


def processes_with(mark):
    """The living processes whose environment contains NAME=VALUE, from Linux's /proc."""
    found = []
    for environment in pathlib.Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if mark.encode() in environment.read_bytes().split(b"\0"):
                found.append(int(environment.parent.name))
    return found


def tail(log, lines=40):
    text = log.read_text(errors="replace").splitlines()
    return "\n".join([f"The last lines of {log}:"] + text[-lines:])


def leave(*_):
    """Handles the signals that end this program, so that all clean-ups run."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    sys.exit(0)


def serve(kind, options):
    """Runs a broker until a signal arrives. If the broker ends by itself, that is a failure."""
    with create(kind, **options) as broker:
        http = f" http={broker.http}" if broker.http else ""
        print(f"READY url={broker.url}{http}", flush=True)
        while broker.running():
            time.sleep(0.2)
        raise BrokerError(f"{kind} ended by itself.\n{tail(broker.log)}")


def parse_arguments():
    parser = argparse.ArgumentParser(description="Real STOMP brokers on loopback.")
    actions = parser.add_subparsers(dest="action", required=True)
    actions.add_parser("build", help="build everything that Maven builds, and end")
    starting = actions.add_parser("start", help="run a broker until SIGTERM")
    starting.add_argument("kind", choices=KINDS)
    starting.add_argument("--port", type=int, default=0, help="0, the default, takes a free port")
    starting.add_argument("--data",
                          help="a folder to keep; by default a new folder, removed at the end")
    starting.add_argument("--login", metavar="LOGIN:PASSCODE", help="accept only this user")
    starting.add_argument("--tls", nargs=2, metavar=("CHAIN.pem", "KEY.pem"))
    starting.add_argument("--static", metavar="DIR", help="serve these files at / (Spring only)")
    starting.add_argument("--set", action="append", default=[], metavar="NAME=VALUE",
                          help="a setting of the broker; its class in this file describes it")
    return parser.parse_args()


def options_from(arguments):
    options = {
        "port": arguments.port,
        "data": arguments.data,
        "tls": arguments.tls,
        "login": arguments.login and arguments.login.split(":", 1),
        "settings": dict(setting.split("=", 1) for setting in arguments.set),
    }
    if arguments.static:
        options["static"] = arguments.static
    return options


def main():
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, leave)
    arguments = parse_arguments()
    try:
        if arguments.action == "build":
            for name in PROJECTS:
                build(name)
        else:
            serve(arguments.kind, options_from(arguments))
    except BrokerError as error:
        sys.exit(str(error))
    except FileNotFoundError as error:
        sys.exit(f"{error}\nHas tests/interop/install.sh installed everything?")


if __name__ == "__main__":
    main()

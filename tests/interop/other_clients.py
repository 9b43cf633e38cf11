"""Other STOMP clients, behind a common set of methods.

`StompJs` and `SpringClient` run in their own processes and receive commands as lines:

    subscribe DESTINATION
    send DESTINATION BODY [NAME VALUE]...

They print what happens: `connected`, `message BODY [NAME VALUE]...`, `error TEXT`. Words are
percent-encoded. They disconnect at the end of their input. The two Python clients run in this
process.
"""

import contextlib
import os
import queue
import subprocess
import threading
import urllib.parse

import stomp
import stomp.adapter.ws
import stomper

import broker
import ours
from peer_article import ArticlePeer, PeerError

SECONDS = 60
NODE_MODULES = ours.ROOT / "build" / "npm" / "node_modules"


class Message:
    """A message that a client received: `headers` as pairs, `body` as bytes."""

    def __init__(self, headers, body):
        self.headers = headers
        self.body = body

    def header(self, name):
        """The values of all headers with this name."""
        return [value for key, value in self.headers if key == name]


class ProcessPeer:
    """A client in its own process."""

    def __init__(self, command, environment=None):
        self._lines = queue.Queue()
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                         text=True, env={**os.environ, **(environment or {})})
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        try:
            assert self._next(SECONDS)[0] == "connected"
        except BaseException:
            self.close()
            raise

    def subscribe(self, destination):
        self._say("subscribe", destination)

    def send(self, destination, body, headers=()):
        self._say("send", destination, body, *(word for pair in headers for word in pair))

    def receive(self, timeout=SECONDS):
        kind, *words = self._next(timeout)
        assert kind == "message"
        body, *rest = words
        headers = [urllib.parse.unquote(word) for word in rest]
        return Message(list(zip(headers[::2], headers[1::2], strict=True)),
                       urllib.parse.unquote_to_bytes(body))

    def close(self):
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join()
        self._process.stdout.close()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    def _say(self, *words):
        self._process.stdin.write(" ".join(ours.quote(word) for word in words) + "\n")
        self._process.stdin.flush()

    def _next(self, timeout):
        """Returns the words of the next line. Raises an exception for an error, or if no line
        arrives."""
        try:
            line = self._lines.get(timeout=timeout)
        except queue.Empty:
            raise PeerError(f"no line arrived within {timeout} s") from None
        if not line or line.startswith("error "):
            raise PeerError(urllib.parse.unquote(line) or "the process ended")
        return line.rstrip("\n").split(" ")

    def _read(self):
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put("")


class StompJs(ProcessPeer):
    """@stomp/stompjs 7, running in node."""

    def __init__(self, url, login, passcode):
        super().__init__(["node", ours.HERE / "peers" / "stompjs.cjs", url, login, passcode],
                         {"NODE_PATH": str(NODE_MODULES)})


class SpringClient(ProcessPeer):
    """Spring's WebSocketStompClient."""

    def __init__(self, url, login, passcode):
        jar = broker.build("spring-client") / "client.jar"
        super().__init__(["java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx128m",
                          "-jar", jar, url, login, passcode])


class StompPy(stomp.ConnectionListener):
    """stomp.py over WebSocket. It does not offer a subprotocol, so this class adds one."""

    def __init__(self, url, login, passcode, **options):
        address = urllib.parse.urlsplit(url)
        self._received = queue.Queue()
        self._subscriptions = 0
        options = {"header": {"Sec-WebSocket-Protocol": "v12.stomp"}, "auto_decode": False,
                   **options}
        self._connection = stomp.adapter.ws.WSStompConnection(
            [(address.hostname, address.port)], ws_path=address.path, vhost="/",
            reconnect_attempts_max=1, **options)
        self._connection.set_listener("", self)
        try:
            self._connection.connect(login, passcode, wait=True)
        except stomp.exception.ConnectFailedException as failure:
            raise PeerError("stomp.py could not connect") from failure

    def subscribe(self, destination):
        self._subscriptions += 1
        self._connection.subscribe(destination, id=self._subscriptions)

    def send(self, destination, body, headers=()):
        with contextlib.suppress(UnicodeDecodeError):
            body = body.decode()
        self._connection.send(destination, body, headers=dict(headers))

    def receive(self, timeout=SECONDS):
        try:
            frame = self._received.get(timeout=timeout)
        except queue.Empty:
            raise PeerError(f"no message arrived within {timeout} s") from None
        if isinstance(frame, str):
            raise PeerError(frame)
        return Message(list(frame.headers.items()), frame.body)

    def close(self):
        with contextlib.suppress(stomp.exception.StompException):
            self._connection.disconnect()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    def on_message(self, frame):
        self._received.put(frame)

    def on_error(self, frame):
        self._received.put(f"ERROR {frame.headers} {frame.body}")

    def on_disconnected(self):
        self._received.put("the connection ended")


class Article(ArticlePeer):
    """The article's pair of libraries, with the subprotocol that ActiveMQ requires."""

    def __init__(self, url, login, passcode):
        super().__init__(url, login, passcode, subprotocols=["v11.stomp"])

    def send(self, destination, body, headers=()):
        frame = stomper.Frame()
        frame.cmd = "SEND"
        frame.headers = {"destination": destination, **dict(headers)}
        frame.body = body.decode()
        self.send_frame(frame.pack())

    def receive(self, timeout=SECONDS):
        frame = super().receive(timeout)
        return Message(list(frame["headers"].items()), frame["body"].encode())

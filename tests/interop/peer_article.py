#!/usr/bin/env python3
"""The usual client in Python: websocket-client for the socket, stomper for the frames.

As the other side of the interop tests it behaves like users of this pair. It uses STOMP 1.1 and no
WebSocket subprotocol (ActiveMQ Classic refuses that with 500), and puts one frame into each
WebSocket message. It reads bodies as stomper does: as text, with each line stripped and the line
ends removed.

    peer_article.py URL sub DESTINATION COUNT     print the bodies of COUNT messages, one per line
    peer_article.py URL send DESTINATION BODY...  send each BODY as a message
"""

import argparse
import contextlib
import queue
import sys
import threading

import stomper
import websocket

CONNECT_SECONDS = 60
CLOSE_SECONDS = 3


class PeerError(Exception):
    """The server refused, reported an error, or closed the connection."""


class ArticlePeer:
    """A connection with a login. A thread puts the received frames into a queue.

    `options` go to websocket.create_connection: `subprotocols`, `sslopt`, `origin` and so on.
    """

    def __init__(self, url, login="guest", passcode="guest", host="/", **options):
        self._received = queue.Queue()
        self._subscriptions = 0
        self._socket = websocket.create_connection(url, timeout=CONNECT_SECONDS, **options)
        self._socket.send(stomper.connect(login, passcode, host))
        frame = self._next_frame()
        if frame is None or frame["cmd"] != "CONNECTED":
            self._socket.shutdown()
            raise PeerError(f"not connected: {frame}")
        self._socket.settimeout(None)
        self._thread = threading.Thread(target=self._receive_all, daemon=True)
        self._thread.start()

    def subscribe(self, destination):
        self._subscriptions += 1
        self._socket.send(stomper.subscribe(destination, self._subscriptions))

    def send(self, destination, body, content_type="text/plain"):
        self._socket.send(stomper.send(destination, body, content_type=content_type))

    def send_frame(self, frame):
        """Sends the text of a whole frame."""
        self._socket.send(frame)

    def receive(self, timeout=CONNECT_SECONDS):
        """Returns the next message: a dictionary with its `headers` and `body`."""
        try:
            frame = self._received.get(timeout=timeout)
        except queue.Empty:
            raise PeerError(f"no message within {timeout} s") from None
        if frame is None or frame["cmd"] != "MESSAGE":
            raise PeerError(f"the connection ended: {frame}")
        return frame

    def close(self):
        """Closes the WebSocket. Sends no DISCONNECT, because stomper's frame lacks the blank line
        after its head, and the server would wait for the rest."""
        # the server may have closed first
        with contextlib.suppress(OSError, websocket.WebSocketException):
            self._socket.send_close()
        self._thread.join(CLOSE_SECONDS)
        self._socket.shutdown()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    def _receive_all(self):
        try:
            while frame := self._next_frame():
                self._received.put(frame)
        except (websocket.WebSocketException, OSError) as error:
            print(f"peer_article: {error}", file=sys.stderr)
        self._received.put(None)

    def _next_frame(self):
        """Returns the next frame that is not a heart-beat, or None if the server closed the
        WebSocket."""
        while True:
            opcode, data = self._socket.recv_data()
            if opcode == websocket.ABNF.OPCODE_CLOSE:
                return None
            text = data.decode()
            if text.strip():
                return stomper.unpack_frame(text)


def main():
    parser = argparse.ArgumentParser(description="A STOMP client on websocket-client and stomper.")
    parser.add_argument("url")
    parser.add_argument("--login", default="guest")
    parser.add_argument("--passcode", default="guest")
    parser.add_argument("--timeout", type=float, default=CONNECT_SECONDS,
                        help="how long to wait for each message, in seconds")
    actions = parser.add_subparsers(dest="action", required=True)
    sub = actions.add_parser("sub")
    sub.add_argument("destination")
    sub.add_argument("count", type=int)
    send = actions.add_parser("send")
    send.add_argument("destination")
    send.add_argument("bodies", nargs="+", metavar="body")
    arguments = parser.parse_args()

    try:
        with ArticlePeer(arguments.url, arguments.login, arguments.passcode) as peer:
            if arguments.action == "send":
                for body in arguments.bodies:
                    peer.send(arguments.destination, body)
            else:
                peer.subscribe(arguments.destination)
                print("SUBSCRIBED", file=sys.stderr, flush=True)
                for _ in range(arguments.count):
                    print(peer.receive(arguments.timeout)["body"], flush=True)
    except (PeerError, websocket.WebSocketException, OSError) as error:
        sys.exit(f"peer_article: {error}")


if __name__ == "__main__":
    main()

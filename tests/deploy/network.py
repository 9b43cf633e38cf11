"""A bad network: a TCP proxy between client and broker, on the loopback interface.

    with Network(broker.port) as network:
        client.connect(f"ws://127.0.0.1:{network.port}/")
        network.freeze()

One thread does all the work. The faults:

    delay_s      each block of bytes arrives this many seconds later, in both directions
    freeze()     nothing is forwarded until thaw(); no byte is lost
    blackhole()  what open connections send is dropped, and new connections are accepted and get no
                 answer; heal() resets all of these, and serves new ones
    reset()      all open connections end with a TCP reset, at both ends
    forget()     the clients' ends are reset; the broker's ends stay open until let_go()
"""

import collections
import contextlib
import heapq
import itertools
import selectors
import socket
import struct
import threading
import time

CHUNK = 65536
MOST_WAITING = 1 << 20  # if more bytes wait in one direction, its sender is held back
TICK_S = 0.005
RESET = struct.pack("ii", 1, 0)  # as SO_LINGER: close() sends a reset


class Blackhole:
    """An address and port that do not answer a SYN, because the queue of waiting connections is
    full."""

    def __init__(self, host, port):
        self._listener = socket.create_server((host, port), backlog=0)
        self._filling = []
        for _ in range(4):
            connection = socket.socket()
            connection.setblocking(False)
            connection.connect_ex((host, port))
            self._filling.append(connection)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        for one in [*self._filling, self._listener]:
            one.close()


class ConnectProxy:
    """A forward proxy for HTTP's CONNECT. `asked` contains the requested targets."""

    def __init__(self):
        self.asked = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._sockets = [self._listener]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._sockets.append(client)
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        with contextlib.suppress(OSError, ValueError):
            head = b""
            while b"\r\n\r\n" not in head:
                head += client.recv(CHUNK) or b"\r\n\r\n"
            target = head.split()[1].decode()
            self.asked.append(target)
            host, port = target.rsplit(":", 1)
            try:
                server = socket.create_connection((host, int(port)), 2)
            except OSError:
                client.sendall(b"HTTP/1.1 504 Gateway Timeout\r\nContent-Length: 0\r\n\r\n")
                client.close()
                return
            server.settimeout(None)
            self._sockets.append(server)
            client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            threading.Thread(target=self._copy, args=(server, client), daemon=True).start()
            self._copy(client, server)

    @staticmethod
    def _copy(source, target):
        with contextlib.suppress(OSError):
            while data := source.recv(CHUNK):
                target.sendall(data)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        for one in self._sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()


class Side:
    """One end of a connection, and the bytes that wait to be written to it."""

    def __init__(self, connection):
        self.socket = connection
        self.other = None
        self.waiting = collections.deque()
        self.size = 0
        self.late = 0  # blocks that are on their way to this side
        self.ended = self.lost = False


class Network:
    def __init__(self, upstream, host="127.0.0.1"):
        self._upstream = upstream
        self._listener = socket.create_server((host, 0), backlog=64)
        self._listener.setblocking(False)
        self.port = self._listener.getsockname()[1]
        self.delay_s = 0.0
        self._sides, self._abandoned, self._unanswered = set(), [], []
        self._late, self._numbers = [], itertools.count()
        self._frozen = self._black = False
        self._commands = collections.deque()
        self._running = True
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    # ---- methods that a test calls; the thread does the work ----

    def freeze(self):
        self._do(lambda: setattr(self, "_frozen", True))

    def thaw(self):
        self._do(lambda: setattr(self, "_frozen", False))

    def blackhole(self):
        def fall():
            self._black = True
            for side in self._sides:
                side.lost = True
        self._do(fall)

    def heal(self):
        def rise():
            self._black = False
            for side in [side for side in self._sides if side.lost]:
                self._drop(side)
            for connection in self._unanswered:
                self._reset_socket(connection)
            self._unanswered.clear()
        self._do(rise)

    def reset(self):
        self._do(lambda: [self._drop(side) for side in list(self._sides)])

    def forget(self):
        def part():
            for side in list(self._sides):
                if side.socket.getsockname()[1] == self.port:
                    self._abandoned.append(side.other.socket)
                    self._sides.discard(side.other)
                    self._sides.discard(side)
                    self._reset_socket(side.socket)
        self._do(part)

    def let_go(self):
        def close():
            for connection in self._abandoned:
                self._reset_socket(connection)
            self._abandoned.clear()
        self._do(close)

    def connections(self):
        return len(self._sides) // 2

    def close(self):
        self._running = False
        self._thread.join()
        for connection in [self._listener, *self._abandoned, *self._unanswered,
                           *(side.socket for side in self._sides)]:
            connection.close()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    def _do(self, work):
        done = threading.Event()
        self._commands.append((work, done))
        done.wait(5)

    # ---- the thread ----

    def _run(self):
        while self._running:
            while self._commands:
                work, done = self._commands.popleft()
                work()
                done.set()
            self._deliver()
            with selectors.DefaultSelector() as selector:
                selector.register(self._listener, selectors.EVENT_READ)
                for side in self._sides:
                    self._register(selector, side)
                for key, events in selector.select(TICK_S):
                    if key.data is None:
                        self._accept()
                    elif key.data in self._sides:
                        self._serve(key.data, events)

    def _register(self, selector, side):
        wants = 0
        if not side.ended and not self._frozen and side.other.size < MOST_WAITING:
            wants |= selectors.EVENT_READ
        if side.waiting and not self._frozen:
            wants |= selectors.EVENT_WRITE
        if wants:
            selector.register(side.socket, wants, side)

    def _accept(self):
        with contextlib.suppress(OSError):
            client, _ = self._listener.accept()
            if self._black:
                self._unanswered.append(client)
                return
            try:
                server = socket.create_connection(("127.0.0.1", self._upstream), 5)
            except OSError:
                self._reset_socket(client)
                return
            ends = Side(client), Side(server)
            ends[0].other, ends[1].other = ends[1], ends[0]
            for end in ends:
                end.socket.setblocking(False)
                end.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._sides.add(end)

    def _serve(self, side, events):
        try:
            if events & selectors.EVENT_WRITE:
                self._write(side)
            if events & selectors.EVENT_READ:
                self._read(side)
        except (BlockingIOError, InterruptedError):
            pass
        except OSError:
            self._drop(side)

    def _read(self, side):
        data = side.socket.recv(CHUNK)
        if not data:
            side.ended = True
        if side.lost:
            return
        side.other.size += len(data)
        side.other.late += 1
        heapq.heappush(self._late, (time.monotonic() + self.delay_s, next(self._numbers),
                                    side.other, data))
        self._deliver()

    def _deliver(self):
        """Passes on the blocks that have been delayed for long enough. An empty block means the
        end."""
        while self._late and self._late[0][0] <= time.monotonic():
            side, data = heapq.heappop(self._late)[2:]
            side.late -= 1
            if side not in self._sides:
                continue
            if data:
                side.waiting.append(data)
            elif not side.waiting:
                with contextlib.suppress(OSError):
                    side.socket.shutdown(socket.SHUT_WR)
            if side.ended and side.other.ended and not side.waiting and not side.late:
                self._close(side)

    def _write(self, side):
        data = side.waiting.popleft()
        count = side.socket.send(data)
        side.size -= count
        if count < len(data):
            side.waiting.appendleft(data[count:])

    def _close(self, side):
        for end in (side, side.other):
            self._sides.discard(end)
            end.socket.close()

    def _drop(self, side):
        if side in self._sides:
            for end in (side, side.other):
                self._sides.discard(end)
                self._reset_socket(end.socket)

    @staticmethod
    def _reset_socket(connection):
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        connection.close()

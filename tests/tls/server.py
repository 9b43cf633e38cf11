"""A TLS server on the loopback interface, with enough WebSocket and STOMP to return a client's
messages."""

import base64
import contextlib
import hashlib
import re
import socket
import ssl
import struct
import threading
import time

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
STEP_SECONDS = 10  # longer than any single read or write of a test takes


def context(chain, client_ca=None, oldest=ssl.TLSVersion.TLSv1_2, newest=ssl.TLSVersion.TLSv1_2,
            ciphers=None, protocols=None, late=False):
    """The settings of `Server`. chain: a file with certificates and key. client_ca: request a
    client certificate signed by this CA; `late`: after the handshake. protocols: for ALPN."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.set_ciphers(ciphers or "ALL:@SECLEVEL=0")
    made.minimum_version, made.maximum_version = oldest, newest
    made.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE  # the client's order of ciphers is tested
    made.load_cert_chain(chain)
    if protocols:
        made.set_alpn_protocols(protocols)
    if client_ca:
        made.post_handshake_auth = late
        made.verify_mode = ssl.CERT_REQUIRED
        made.load_verify_locations(client_ca)
    return made


class Listener:
    """Accepts connections on a free loopback port until the `with` block ends. Each connection has
    a thread."""

    def __init__(self):
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self._open = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            connection.settimeout(STEP_SECONDS)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._open.append(connection)
            threading.Thread(target=self._run, args=(connection,), daemon=True).start()

    def _run(self, connection):
        try:
            self.serve(connection)
        except (OSError, EOFError, ValueError):  # the last case: a test has ended TLS itself
            pass
        finally:
            end(connection)

    def serve(self, connection):
        raise NotImplementedError

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._socket.close()
        for connection in self._open:
            end(connection)


def end(connection):
    """Closes a socket, also while another thread waits for it."""
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
    connection.close()


class Server(Listener):
    """Returns each SEND as a MESSAGE. `piece`: the maximum number of bytes in a TLS record. It
    records what it saw: `resumed` (one flag per connection), `versions`, `names` (SNI), `protocols`
    (ALPN), `ciphers`, `peers` (client certificates), and how each connection `ended`:
    "close_notify" or the error."""

    def __init__(self, tls, piece=16384, cut=None):
        self._tls, self._piece, self._cut = tls, piece, cut
        self.resumed, self.versions, self.names, self.protocols = [], [], [], []
        self.ciphers, self.peers, self.ended = [], [], []
        tls.sni_callback = lambda _, name, __: self.names.append(name)
        super().__init__()

    def serve(self, connection):
        stream = self._tls.wrap_socket(connection, server_side=True, suppress_ragged_eofs=False,
                                       do_handshake_on_connect=False)
        try:
            stream.do_handshake()
        except OSError:
            self._drain(stream)
            raise
        self.resumed.append(stream.session_reused)
        self.versions.append(stream.version())
        self.protocols.append(stream.selected_alpn_protocol())
        self.ciphers.append(stream.cipher()[0])
        self.peers.append(stream.getpeercert())
        try:
            session = Session(stream, self._piece, self._cut)
            if self._tls.post_handshake_auth:
                session.on_subscribe = lambda: self._ask_late(stream, session)
            session.run()
        except EOFError:
            if self._tls.post_handshake_auth:
                self.peers[-1] = stream.getpeercert()
            self.ended.append("close_notify")
            stream.unwrap()
        except OSError as error:
            self.ended.append(str(error))
            self._drain(stream)
        finally:
            stream.close()

    @staticmethod
    def _drain(stream):
        """Closes in good order. A close with unread data causes a reset, which can destroy our last
        alert."""
        with contextlib.suppress(OSError), socket.socket(fileno=stream.detach()) as plain:
            plain.settimeout(STEP_SECONDS)
            plain.shutdown(socket.SHUT_WR)
            while plain.recv(65536):
                pass

    @staticmethod
    def _ask_late(stream, session):
        stream.verify_client_post_handshake()
        session.send(9, b"")  # the request is sent with the next record


class Session:
    """One connection, after its TLS handshake."""

    def __init__(self, stream, piece, cut, begun=b""):
        self._stream, self._piece, self._cut = stream, piece, cut
        self._buffer = begun
        self.on_subscribe = None
        self._subscription = "0"
        self._count = 0

    def _more(self):
        data = self._stream.recv(65536)
        if not data:
            raise EOFError
        self._buffer += data

    def _take(self, length):
        while len(self._buffer) < length:
            self._more()
        taken, self._buffer = self._buffer[:length], self._buffer[length:]
        return taken

    def write(self, data):
        for start in range(0, len(data), self._piece):
            self._stream.sendall(data[start:start + self._piece])

    def run(self):
        while b"\r\n\r\n" not in self._buffer:
            self._more()
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        key = re.search(rb"(?i)Sec-WebSocket-Key: *(\S+)", head)[1]
        accept = base64.b64encode(hashlib.sha1(key + GUID).digest())
        self.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                    b"Connection: Upgrade\r\nSec-WebSocket-Accept: " + accept + b"\r\n\r\n")
        message = b""
        while True:
            final, opcode, payload = self._frame()
            if opcode == 8:
                self.send(8, payload)
                while True:
                    self._take(1)
            message += payload
            if final:
                self._on_message(message)
                message = b""

    def _frame(self):
        first, second = self._take(2)
        length = second & 127
        if length == 126:
            length, = struct.unpack(">H", self._take(2))
        elif length == 127:
            length, = struct.unpack(">Q", self._take(8))
        key = self._take(4)
        masked = self._take(length)
        pad = (key * (length // 4 + 1))[:length]
        unmasked = int.from_bytes(masked, "big") ^ int.from_bytes(pad, "big")
        payload = unmasked.to_bytes(length, "big")
        return first & 128, first & 15, payload

    def send(self, opcode, payload):
        length = len(payload)
        head = bytes([128 | opcode])
        if length < 126:
            head += bytes([length])
        elif length < 65536:
            head += struct.pack(">BH", 126, length)
        else:
            head += struct.pack(">BQ", 127, length)
        self.write(head + payload)

    def _on_message(self, frame):
        head, _, body = frame.lstrip(b"\r\n").partition(b"\n\n")
        command, *lines = head.decode().split("\n")
        headers = dict(line.split(":", 1) for line in lines)
        if command in ("CONNECT", "STOMP"):
            self.send(1, b"CONNECTED\nversion:1.2\nserver:ActiveMQ/0\nheart-beat:0,0\n\n\0")
            if self._cut:
                self._cut(self._stream)
        elif command == "SUBSCRIBE":
            self._subscription = headers["id"]
            if self.on_subscribe:
                self.on_subscribe()
        elif command == "SEND":
            self._count += 1
            answer = (f"MESSAGE\nsubscription:{self._subscription}\nmessage-id:{self._count}\n"
                      f"destination:{headers['destination']}\n"
                      f"content-length:{len(body) - 1}\n\n").encode()
            self.send(1, answer + body)
        if "receipt" in headers:
            self.send(1, f"RECEIPT\nreceipt-id:{headers['receipt']}\n\n\0".encode())


class Relay(Listener):
    """A relay between a client and a server. It writes `piece` bytes at a time. After `limit` bytes
    from the server it ends both connections. It holds back the server's first bytes for `hold`
    seconds, so that the client waits in the middle of the handshake."""

    def __init__(self, port, piece=1, limit=None, hold=0):
        self._to, self._piece, self._limit, self._hold = port, piece, limit, hold
        super().__init__()

    def serve(self, connection):
        server = socket.create_connection(("127.0.0.1", self._to), STEP_SECONDS)
        server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with server:
            threading.Thread(target=self._pass, args=(connection, server, None, 0),
                             daemon=True).start()
            self._pass(server, connection, self._limit, self._hold)

    def _pass(self, source, goal, limit, hold):
        passed = 0
        try:
            while data := source.recv(65536):
                time.sleep(0 if passed else hold)
                for start in range(0, len(data), self._piece):
                    goal.sendall(data[start:start + self._piece])
                    passed += self._piece
                    if limit and passed >= limit:
                        return
            goal.shutdown(socket.SHUT_WR)
        except OSError:
            pass

"""Checks what a WebSocket client sends, byte by byte (RFC 6455, the client's part).

A fuzzing server reads frames like a server. It accepts most opening handshakes, accepts a missing
mask or a repeated mask, and stops reading after the closing handshake. The classes here read the
same bytes and find what such a server does not report. They do no I/O: `Conversation` is given the
bytes of both directions in the order in which they were seen.
"""

import base64
import binascii
import hashlib
import itertools
import math
import re
from typing import NamedTuple

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
OPCODES = {CONTINUATION: "continuation", TEXT: "text", BINARY: "binary",
           CLOSE: "close", PING: "ping", PONG: "pong"}
CONTROL_PAYLOAD_LIMIT = 125

AFTER_CLOSE = "bytes were sent after the close frame"

HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
HEADER_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")


class Frame(NamedTuple):
    fin: bool
    reserved: int
    opcode: int
    key: bytes | None
    length: int
    minimal: bool

    def __str__(self):
        name = OPCODES.get(self.opcode, f"opcode {self.opcode:#x}")
        key = f" key={self.key.hex()}" if self.key else ""
        return f"{name} fin={self.fin:d} rsv={self.reserved} length={self.length}{key}"


def parse_frame_header(data, start):
    """Returns the frame header at `start` and the offset behind it, or None if bytes are missing.

    A length of 126 or 127 means that the real length follows, in 2 or 8 bytes (RFC 6455, 5.2).
    """
    if len(data) < start + 2:
        return None
    first, second = data[start], data[start + 1]
    length = second & 0x7F
    payload_at = start + 2
    minimal = True
    if length >= 126:
        width, least = (2, 126) if length == 126 else (8, 65536)
        length = int.from_bytes(data[payload_at:payload_at + width], "big")
        minimal = length >= least
        payload_at += width
    key = None
    if second & 0x80:
        key = bytes(data[payload_at:payload_at + 4])
        payload_at += 4
    if len(data) < payload_at:
        return None
    frame = Frame(bool(first & 0x80), first >> 4 & 7, first & 0xF, key, length, minimal)
    return frame, payload_at


def unmask(payload, key, offset):
    """Unmasks `payload`, which starts `offset` bytes into the payload of its frame.

    Uses one XOR of two huge integers. A loop over the bytes would be the slowest part of the run.
    """
    turn = offset % 4
    pad = (key[turn:] + key[:turn]) * (len(payload) // 4 + 1)
    masked = int.from_bytes(payload, "little")
    return (masked ^ int.from_bytes(pad[:len(payload)], "little")).to_bytes(len(payload), "little")


class Direction:
    """One direction of a connection: an HTTP head, then frames, parsed from the byte stream.

    Payloads are passed on in pieces as they arrive, so a message of 16 MiB needs no memory.
    `messages` contains the data messages, each as its opcode, length and digest.
    """

    def __init__(self, name, log=None):
        self.name = name
        self.log = log
        self.head = None
        self.past_head = False
        self.messages = []
        self._pending = b""
        self._frame = None
        self._taken = 0
        self._open_message = None

    def feed(self, data):
        data = self._pending + data
        self._pending = b""
        if self.head is None:
            data = self._feed_head(data)
        if self.head is not None and data:
            self.past_head = True
            self._feed_frames(data)

    def _feed_head(self, data):
        end = data.find(b"\r\n\r\n")
        if end < 0:
            self._pending = data
            return b""
        self.head = data[:end]
        if self.log:
            self.log.write(f"{self.name}: {self.head!r}\n")
        self.on_head()
        return data[end + 4:]

    def _feed_frames(self, data):
        at = 0
        while True:
            if self._frame is None:
                parsed = parse_frame_header(data, at)
                if parsed is None:
                    self._pending = data[at:]
                    return
                self._frame, at = parsed
                self._taken = 0
                self._start_frame(self._frame)
            piece = data[at:at + self._frame.length - self._taken]
            at += len(piece)
            self._take_payload(self._frame, piece)
            if self._taken < self._frame.length:
                return
            self._end_frame(self._frame)
            self._frame = None

    def _start_frame(self, frame):
        if self.log:
            self.log.write(f"{self.name}: {frame}\n")
        self.on_frame(frame)
        if frame.opcode in (TEXT, BINARY):
            self._open_message = [frame.opcode, 0, hashlib.blake2b()]

    def _take_payload(self, frame, piece):
        if frame.key:
            piece = unmask(piece, frame.key, self._taken)
        self._taken += len(piece)
        if frame.opcode >= CLOSE:
            self.on_control_payload(frame, piece)
        elif self._open_message:
            self._open_message[1] += len(piece)
            self._open_message[2].update(piece)

    def _end_frame(self, frame):
        if frame.opcode < CLOSE and frame.fin and self._open_message:
            opcode, length, digest = self._open_message
            self.messages.append((opcode, length, digest.digest()))
            self._open_message = None
        self.on_frame_end(frame)

    def on_head(self):
        """The head is complete. A subclass checks it."""

    def on_frame(self, frame):
        """The header of a frame was read. A subclass checks it."""

    def on_control_payload(self, frame, piece):
        """Unmasked payload of a control frame has arrived. A subclass checks it."""

    def on_frame_end(self, frame):
        """The last byte of a frame was read. A subclass checks it."""


class ClientDirection(Direction):
    """The direction from the client. `faults` contains a sentence for each kind of fault."""

    def __init__(self, host, target, log=None):
        super().__init__("client", log)
        self.host = host
        self.target = target
        self.faults = []
        self.handshake_key = None
        self.masking_keys = []
        self._in_message = False
        self._close_payload = b""
        self._closed = False

    def fault(self, sentence):
        """Records a fault. The same fault in a thousand frames is recorded one time."""
        if sentence not in self.faults:
            self.faults.append(sentence)

    def feed(self, data):
        if self._closed:
            self.fault(AFTER_CLOSE)
            return
        super().feed(data)
        if self._closed and self._pending:
            self.fault(AFTER_CLOSE)

    def on_head(self):
        for sentence in request_faults(self.head, self.host, self.target):
            self.fault(sentence)
        self.handshake_key = request_key(self.head)

    def on_frame(self, frame):
        if self._closed:
            self.fault(AFTER_CLOSE)
        self._check_header(frame)
        self._check_sequence(frame)
        self._check_key(frame.key)

    def on_control_payload(self, frame, piece):
        # A payload over the limit was recorded with its header. Only its first bytes are kept.
        if frame.opcode == CLOSE and len(self._close_payload) <= CONTROL_PAYLOAD_LIMIT:
            self._close_payload += piece

    def on_frame_end(self, frame):
        if frame.opcode == CLOSE and not self._closed:
            self._closed = True
            for sentence in close_faults(self._close_payload):
                self.fault(sentence)

    def _check_header(self, frame):
        if frame.reserved:
            self.fault("a reserved bit is set, and no extension was agreed on")
        if frame.opcode not in OPCODES:
            self.fault(f"the opcode {frame.opcode:#x} is reserved")
        if not frame.minimal:
            self.fault("a payload length is not in its shortest form")
        if frame.length >> 63:
            self.fault("a payload length has its highest bit set")
        if frame.opcode >= CLOSE and frame.length > CONTROL_PAYLOAD_LIMIT:
            self.fault(f"a control frame carries more than {CONTROL_PAYLOAD_LIMIT} bytes")
        if frame.opcode >= CLOSE and not frame.fin:
            self.fault("a control frame is fragmented")

    def _check_sequence(self, frame):
        if frame.opcode >= CLOSE:
            return
        if frame.opcode == CONTINUATION and not self._in_message:
            self.fault("a continuation frame continues nothing")
        if frame.opcode != CONTINUATION and self._in_message:
            self.fault("a message starts before the one before it has ended")
        self._in_message = not frame.fin

    def _check_key(self, key):
        if key is None:
            self.fault("a frame is not masked")
            return
        if key == bytes(4):
            self.fault("a masking key is zero, which masks nothing")
        if self.masking_keys and key == self.masking_keys[-1]:
            self.fault("two frames in a row have the same masking key")
        self.masking_keys.append(key)


class Conversation:
    """Both directions of one connection."""

    def __init__(self, host, target, log=None):
        self.client = ClientDirection(host, target, log)
        self.server = Direction("server", log)
        self._answered = False

    def from_client(self, data):
        self.client.feed(data)
        # The answer passes here on its way to the client. So bytes that react to it cannot arrive
        # here before it.
        if self.client.past_head and not self._answered:
            self.client.fault("bytes were sent before the server's answer to the handshake")

    def from_server(self, data):
        self._answered = True
        self.server.feed(data)

    def faults(self):
        """All faults, when the connection has ended."""
        if self.client.head is None:
            return ["the client sent no complete request"]
        return self.client.faults + self._echo_faults()

    def _echo_faults(self):
        """An echo client must return the messages that it received, in order. It may stop at any
        message."""
        sent, received = self.client.messages, self.server.messages
        if len(sent) > len(received):
            return [f"{len(sent)} messages were echoed, of {len(received)} received"]
        for number, (echo, original) in enumerate(zip(sent, received), 1):
            if echo != original:
                return [f"message {number} came back altered: {echo[1]} bytes with opcode"
                        f" {echo[0]}, for {original[1]} bytes with opcode {original[0]}"]
        return []


def parse_headers(lines):
    """Returns the header fields as a dict from lower-case names to lists of values, and the faulty
    lines."""
    fields, faulty = {}, []
    for line in lines:
        name, colon, value = line.partition(":")
        if not (colon and HEADER_NAME.fullmatch(name) and HEADER_VALUE.fullmatch(value)):
            faulty.append(line)
        fields.setdefault(name.lower(), []).append(value.strip(" \t"))
    return fields, faulty


def request_key(head):
    """The value of Sec-WebSocket-Key in a request, or None."""
    fields, _ = parse_headers(head.decode("latin-1").split("\r\n")[1:])
    return fields.get("sec-websocket-key", [None])[0]


def request_faults(head, host, target):
    """The faults in the opening handshake (RFC 6455, 4.1), one sentence each."""
    request_line, *lines = head.decode("latin-1").split("\r\n")
    fields, faulty = parse_headers(lines)
    if request_line != f"GET {target} HTTP/1.1":
        yield f"the request line is {request_line!r}, not a GET of {target} in HTTP/1.1"
    for line in faulty:
        yield f"{line!r} is no header field"

    def only(name):
        values = fields.get(name.lower(), [])
        return values[0] if len(values) == 1 else None

    def tokens(name):
        joined = ",".join(fields.get(name.lower(), []))
        return [token.strip().lower() for token in joined.split(",")]

    if only("Host") != host:
        yield f"the request has Host: {fields.get('host')}, not {host} once"
    if "websocket" not in tokens("Upgrade"):
        yield "the request has no Upgrade: websocket"
    if "upgrade" not in tokens("Connection"):
        yield "the request has no Connection: Upgrade"
    if only("Sec-WebSocket-Version") != "13":
        yield "the request has not Sec-WebSocket-Version: 13 once"
    key = only("Sec-WebSocket-Key")
    if key is None:
        yield "the request has not Sec-WebSocket-Key once"
    elif not is_handshake_key(key):
        yield f"the Sec-WebSocket-Key {key!r} is not the Base64 of 16 bytes"


def is_handshake_key(text):
    """Whether this is 16 bytes in Base64, in the only form that an encoder produces."""
    try:
        value = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return False
    return len(value) == 16 and base64.b64encode(value).decode() == text


def close_faults(payload):
    """The faults in the payload of a close frame (RFC 6455, 5.5.1 and 7.4)."""
    if not payload:
        return
    if len(payload) == 1:
        yield "a close frame carries one byte, which is no close code"
        return
    code = int.from_bytes(payload[:2], "big")
    # 1004 to 1006 and 1015 stand for events without a close frame. The other registered codes go up
    # to 1014. 3000 to 4999 are for libraries and applications.
    on_the_wire = code in range(1000, 1015) and code not in range(1004, 1007)
    if not on_the_wire and code not in range(3000, 5000):
        yield f"the close code {code} must not be sent"
    try:
        payload[2:].decode("utf-8")
    except UnicodeDecodeError:
        yield "the reason in a close frame is not UTF-8"


def repeats_beyond_chance(values, bits):
    """Whether random values of this many bits would practically never repeat this often.

    The number of repeats has approximately a Poisson distribution. More repeats
    than three plus four times the mean occur less than one time in a hundred thousand runs.
    """
    mean = len(values) * (len(values) - 1) / 2 ** (bits + 1)
    return len(values) - len(set(values)) > 3 + 4 * mean


def biased_bits(values, bits):
    """The bits that are set too often or too seldom to be random.

    The limit is six standard deviations, so with fewer than 37 values nothing is ever found.
    """
    def is_biased(bit):
        ones = sum(value >> bit & 1 for value in values)
        return abs(2 * ones - len(values)) > 6 * math.sqrt(len(values))

    return [bit for bit in range(bits) if is_biased(bit)]


def masking_key_faults(keys_by_connection):
    """The signs that masking keys are not random, in the keys of many connections.

    A counter, a small generator seeded by the clock, or `rand()` with its 31 bits may look random
    in one connection. Over all connections their values repeat, or a bit is constant. A bit that
    always changes (or never) from one key to the next shows a counter with any step.
    """
    numbered = [[int.from_bytes(key, "big") for key in keys] for keys in keys_by_connection]
    keys = [key for connection in numbered for key in connection]
    changes = [a ^ b for connection in numbered for a, b in itertools.pairwise(connection)]
    if repeats_beyond_chance(keys, 32):
        yield f"{len(keys)} masking keys have only {len(set(keys))} values"
    if stuck := biased_bits(keys, 32):
        yield f"in {len(keys)} masking keys {len(stuck)} of 32 bits are not random"
    if stuck := biased_bits(changes, 32):
        yield f"from one masking key to the next {len(stuck)} of 32 bits do not change at random"


def handshake_key_faults(keys):
    """The signs that the Sec-WebSocket-Keys of many connections are not random."""
    values = [int.from_bytes(base64.b64decode(key), "big") for key in keys if is_handshake_key(key)]
    if len(set(values)) < len(values):
        yield f"{len(values)} handshakes have only {len(set(values))} different Sec-WebSocket-Keys"
    if stuck := biased_bits(values, 128):
        yield f"in {len(values)} Sec-WebSocket-Keys {len(stuck)} of 128 bits are not random"

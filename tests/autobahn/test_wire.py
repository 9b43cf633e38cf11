#!/usr/bin/env python3
"""Checks that wire.py finds the faults that it must find. Each row is one fault and its sentence.

The conversations are made by hand: a correct one, and others that differ from it in one point. They
are fed as a whole and byte by byte, because a relay may see any split. Needs only Python.
"""

import base64
import hashlib
import sys

import wire

HOST = "127.0.0.1:9001"
TARGET = "/runCase?case=1"
REQUEST = (f"GET {TARGET} HTTP/1.1\r\nHost: {HOST}\r\nUpgrade: websocket\r\n"
           "Connection: keep-alive, Upgrade\r\nSec-WebSocket-Version: 13\r\n"
           "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n").encode()
ANSWER = b"HTTP/1.1 101 Switching Protocols\r\n\r\n"
KEY, OTHER_KEY = b"\x12\x34\x56\x78", b"\x9a\xbc\xde\xf0"
NORMAL = (1000).to_bytes(2, "big")


def frame(first_byte, payload=b"", key=None, length_bytes=0):
    """Returns a frame whose length uses 0, 2 or 8 bytes beyond the second byte."""
    short = {0: len(payload), 2: 126, 8: 127}[length_bytes]
    header = bytes([first_byte, (0x80 if key else 0) | short])
    header += len(payload).to_bytes(length_bytes, "big") if length_bytes else b""
    return header + (key + wire.unmask(payload, key, 0) if key else payload)


HELLO = frame(0x81, b"hello", KEY)
LONG = bytes(range(256)) * 300
CLOSE = frame(0x88, NORMAL, OTHER_KEY)
SERVER = frame(0x81, b"hello") + frame(0x88, NORMAL)


def request_with(old, new):
    """Returns the correct conversation with one change in its request."""
    assert old in REQUEST
    return [REQUEST.replace(old, new), HELLO + CLOSE, SERVER]


def frames(*sent, received=SERVER):
    return [REQUEST, b"".join(sent), received]


# The request, the bytes sent and received after it, and the only fault that they contain.
CONVERSATIONS = [
    (frames(HELLO, CLOSE), None),
    (frames(frame(0x01, b"he", KEY), frame(0x8A, b"", OTHER_KEY), frame(0x80, b"llo", KEY), CLOSE),
     None),
    (frames(frame(0x82, LONG, KEY, 8), CLOSE, received=frame(0x82, LONG, None, 8)), None),
    (frames(CLOSE), None),
    (request_with(b"GET", b"POST"), "the request line is"),
    (request_with(b"case=1", b"case=2"), "the request line is"),
    (request_with(b"HTTP/1.1", b"HTTP/1.0"), "the request line is"),
    (request_with(b":9001", b""), "the request has Host"),
    (request_with(b"Host", b"Host: x\r\nHost"), "the request has Host"),
    (request_with(b"Upgrade: websocket\r\n", b""), "the request has no Upgrade"),
    (request_with(b", Upgrade", b""), "the request has no Connection"),
    (request_with(b": 13", b": 8"), "the request has not Sec-WebSocket-Version"),
    (request_with(b"Sec-WebSocket-Key", b"Key"), "the request has not Sec-WebSocket-Key"),
    (request_with(b"dGhlIHNhbXBsZSBub25jZQ==", b"dGhlIA=="), "the Sec-WebSocket-Key 'dGhlIA=='"),
    (request_with(b"ZQ==", b"ZR=="), "the Sec-WebSocket-Key 'dGhlIHNhbXBsZSBub25jZR=='"),
    (request_with(b"\r\n\r\n", b"\r\n folded\r\n\r\n"), "' folded' is no header field"),
    ([REQUEST[:-2], b"", b""], "the client sent no complete request"),
    ([REQUEST + HELLO, CLOSE, SERVER], "bytes were sent before the server's answer"),
    (frames(frame(0x81, b"hello"), CLOSE), "a frame is not masked"),
    (frames(frame(0x81, b"hello", bytes(4)), CLOSE), "a masking key is zero"),
    (frames(frame(0x81, b"hello", OTHER_KEY), CLOSE), "two frames in a row have the same"),
    (frames(frame(0xC1, b"hello", KEY), CLOSE), "a reserved bit is set"),
    (frames(HELLO, frame(0x8B, b"", OTHER_KEY)), "the opcode 0xb is reserved"),
    (frames(frame(0x81, b"hello", KEY, 2), CLOSE), "a payload length is not in its shortest form"),
    (frames(HELLO, b"\x82\xff\x80" + bytes(7) + OTHER_KEY), "a payload length has its highest"),
    (frames(HELLO, frame(0x8A, b"x" * 126, OTHER_KEY, 2)), "a control frame carries more than"),
    (frames(HELLO, frame(0x0A, b"", OTHER_KEY)), "a control frame is fragmented"),
    (frames(HELLO, frame(0x80, b"", OTHER_KEY)), "a continuation frame continues nothing"),
    (frames(frame(0x01, b"", KEY), frame(0x81, b"hello", OTHER_KEY)), "a message starts before"),
    (frames(HELLO, CLOSE, frame(0x8A, b"", KEY)), "bytes were sent after the close frame"),
    (frames(HELLO, CLOSE, b"\x8a"), "bytes were sent after the close frame"),
    (frames(HELLO, frame(0x88, b"\x03", OTHER_KEY)), "a close frame carries one byte"),
    (frames(HELLO, frame(0x88, b"\x03\xed", OTHER_KEY)), "the close code 1005 must not be sent"),
    (frames(HELLO, frame(0x88, b"\x13\x88", OTHER_KEY)), "the close code 5000 must not be sent"),
    (frames(HELLO, frame(0x88, NORMAL + b"\xff", OTHER_KEY)), "the reason in a close frame"),
    (frames(frame(0x81, b"hellO", KEY), CLOSE), "message 1 came back altered"),
    (frames(frame(0x82, b"hello", KEY), CLOSE), "message 1 came back altered"),
    (frames(HELLO, frame(0x81, b"more", OTHER_KEY)), "2 messages were echoed, of 1 received"),
]


def converse(request, sent, received, step):
    """Returns the faults that are found when the bytes arrive in pieces of `step`."""
    talk = wire.Conversation(HOST, TARGET)

    def feed(take, data):
        for at in range(0, len(data), step):
            take(data[at:at + step])

    feed(talk.from_client, request)
    feed(talk.from_server, ANSWER + received)
    feed(talk.from_client, sent)
    return talk.faults()


def random_bytes(label, count):
    """Returns bytes that look random and are the same in each run."""
    return hashlib.shake_256(str(label).encode()).digest(count)


def random_value(label):
    return int.from_bytes(random_bytes(label, 4), "big")


def masking_key_faults(value_at, connections=8, keys=200):
    """Returns the faults of keys that are made from their number in the connection and their total
    number."""
    made = [[(value_at(number, connection * keys + number) % 2 ** 32).to_bytes(4, "big")
             for number in range(keys)] for connection in range(connections)]
    return wire.masking_key_faults(made)


def handshake_key_faults(key_at, connections=300):
    """Returns the faults of keys that are made from the number of their connection."""
    made = [base64.b64encode(key_at(number)).decode() for number in range(connections)]
    return wire.handshake_key_faults(made)


KEY_SETS = [
    (masking_key_faults(lambda _, total: random_value(total)), None),
    (masking_key_faults(lambda number, _: random_value(number)), "1600 masking keys have only 200"),
    (masking_key_faults(lambda _, total: random_value(total) >> 1), "1 of 32 bits are not random"),
    (masking_key_faults(lambda _, total: total * 0x9E3779B9), "bits do not change at random"),
    (handshake_key_faults(lambda number: random_bytes(number, 16)), None),
    (handshake_key_faults(lambda number: random_bytes(number % 299, 16)), "299 different"),
    (handshake_key_faults(lambda number: random_bytes(number, 8).hex().encode()), "128 bits"),
]


def check(name, faults, expected):
    """Whether the expected fault, and no other, was found."""
    good = len(faults) == 1 and expected in faults[0] if expected else not faults
    if not good:
        print(f"FAILED {name}: {faults}, not {expected!r}")
    return good


def main():
    results = []
    for number, (conversation, expected) in enumerate(CONVERSATIONS, 1):
        for step in (1, 7, 1 << 20):
            faults = converse(*conversation, step)
            results.append(check(f"conversation {number}, {step} at a time", faults, expected))
    for number, (sentences, expected) in enumerate(KEY_SETS, 1):
        # Keys that are not random fail in several ways. All their sentences count as one fault.
        faults = list(filter(None, ["; ".join(sentences)]))
        results.append(check(f"key set {number}", faults, expected))
    print(f"{results.count(True)} passed, {results.count(False)} failed")
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())

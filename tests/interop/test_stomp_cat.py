"""stomp_cat as a tool in a shell: bodies, progress, signals, its man page and its completions.

    build/venv/bin/python -m pytest tests/interop/test_stomp_cat.py

Its tests with a real Spring server are in test_spring.py. Here it runs with the mini broker, and
with other brokers for what only they do.
"""

import base64
import contextlib
import functools
import hashlib
import json
import os
import pathlib
import pty
import re
import select
import shlex
import signal
import socket
import subprocess
import threading
import time

import pytest

import ours
from cells import LOGIN, NAMES, queue, topic
from ours import Client, cat

EXAMPLES = ours.ROOT / "examples"
MAN_PAGE = EXAMPLES / "stomp_cat.1"
BASH_COMPLETION = EXAMPLES / "completion" / "stomp_cat.bash"
ZSH_COMPLETION = EXAMPLES / "completion" / "_stomp_cat"
DESTINATIONS = ["/topic/", "/queue/", "/app/", "/user/queue/"]
SECONDS = ours.SECONDS


@pytest.fixture(name="url", scope="module")
def start_mini_broker():
    broker = ours.start("mini_broker", "--quiet")
    try:
        yield broker.stdout.readline().split()[1]
    finally:
        broker.terminate()
        broker.communicate(timeout=SECONDS)


@pytest.fixture(name="start")
def start_cat():
    """Starts stomp_cat. If a test leaves it running, it is killed after the test."""
    processes = []

    def start(*arguments, **options):
        processes.append(ours.start("stomp_cat", *arguments, **options))
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.communicate()


@contextlib.contextmanager
def subscriber(url, destination):
    with Client(url) as client:
        client.receipt(client.subscribe(destination, receipt=1))
        yield client


def option_list():
    """Returns the options in the order of --help."""
    text = cat("--help").stdout
    text = text[text.index("\n  -"):text.index("\nexit:")]
    return sorted(set(re.findall(r"(?<![\w-])(--[a-z][a-z-]*|-[A-Za-z])(?![\w-])", text)))


def wants_value(option):
    return "needs a value" in cat(option).stderr


# ---- bodies ----

def test_each_file_is_a_message(url, tmp_path):
    """Bodies: a text, all byte values, an empty body and a body of one MiB. One of them comes from
    stdin."""
    bodies = [b"first\nsecond\n", bytes(range(256)), b"", b"x" * (1 << 20)]
    files = [tmp_path / str(number) for number in range(len(bodies))]
    for file, body in zip(files, bodies, strict=True):
        file.write_bytes(body)
    destination = topic()
    with subscriber(url, destination) as client:
        words = [word for file in [*files[:2], "-", *files[2:]] for word in ("-f", file)]
        result = cat(url, "-d", destination, *words, "--receipt", "-t", str(SECONDS), text="a\nb")
        assert (result.returncode, result.stderr) == (0, "")
        got = [ours.raw_bytes(message["body"]) for message in client.messages(5)]
    assert got == [*bodies[:2], b"a\nb", *bodies[2:]]


def test_one_file_that_cannot_be_read_sends_none(url, tmp_path):
    readable = tmp_path / "readable"
    readable.write_text("x")
    destination = topic()
    for unreadable in (tmp_path / "missing", tmp_path):
        with subscriber(url, destination) as client:
            result = cat(url, "-d", destination, "-f", readable, "-f", unreadable)
            assert result.returncode == 2 and f"cannot be read: {unreadable}" in result.stderr
            client.nothing()


def test_text_and_file_do_not_go_together(url):
    for words in (["-m", "x", "-f", "y"], ["-f", "y", "-m", "x"]):
        assert cat(url, "-d", "/topic/x", *words).returncode == 2


def test_lines_of_stdin(url):
    """The last line has no line feed, one line is empty, and one is longer than any buffer."""
    lines = ["first", "", "x" * 300_000, "Grüße"]
    destination = topic()
    with subscriber(url, destination) as client:
        result = cat(url, "-d", destination, "--receipt", text="\n".join(lines))
        assert (result.returncode, result.stderr) == (0, "")
        assert [message["body"] for message in client.messages(4)] == lines


def test_json_of_bytes_and_of_control_characters(url, tmp_path):
    file = tmp_path / "body"
    all_bytes = bytes(range(256))
    for body, key, value in [
            (all_bytes, "body_base64", base64.b64encode(all_bytes).decode()),
            ("\"\\\0\x1b\n€".encode(), "body", "\"\\\0\x1b\n€")]:
        file.write_bytes(body)
        destination = topic()
        result = cat(url, "-s", destination, "-H", 'id:a"b', "-d", destination, "-H", "x\n:ü\\ ",
                     "-f", file, "-n", "1", "-t", str(SECONDS), "--json")
        assert (result.returncode, result.stderr) == (0, "")
        message = json.loads(result.stdout)
        assert message[key] == value and message["subscription"] == 'a"b'
        assert ["x\n", "ü\\ "] in message["headers"]
        assert (message["destination"], bool(message["message_id"])) == (destination, True)


def test_rate(url):
    began = time.monotonic()
    result = cat(url, "-d", topic(), "--rate", "100", text="x\n" * 101)
    assert (result.returncode, result.stderr) == (0, "")
    assert time.monotonic() - began >= 1


@pytest.mark.parametrize("kind", ["rabbitmq", "activemq", "artemis"])
def test_request(servers, start, kind):
    url, (login, passcode) = servers.get(kind).url, LOGIN
    destination = queue()
    with Client(url, login=login, passcode=passcode) as replier:
        replier.receipt(replier.subscribe(destination, receipt=1))
        asking = start(url, "-u", login, "-p", passcode, "-d", destination, "--request",
                       "-m", "a question", "-n", "1", "-t", str(SECONDS))
        question = replier.message(SECONDS, body="a question")
        headers = dict(question["headers"])
        replier.send(headers["reply-to"], "the answer",
                     headers=[("correlation-id", headers["correlation-id"])])
        assert asking.communicate(timeout=SECONDS) == ("the answer\n", "")
    assert asking.returncode == 0


# ---- an ERROR after our DISCONNECT ----

def serve_one(listener, message):
    """A server for one client. It answers DISCONNECT with an ERROR, and closes."""
    with accept_client(listener) as stream:
        while not next_message(stream).startswith(b"DISCONNECT"):
            pass
        say(stream, f"ERROR\nmessage:{message}\n\n")
        close(stream, 1000)


@contextlib.contextmanager
def accept_client(listener, headers="", requests=None, connected="CONNECTED\nversion:1.2\n{}\n"):
    """Accepts the next client, and returns its stream after the login."""
    connection, _ = listener.accept()
    with connection, connection.makefile("rwb") as stream:
        head = b"".join(iter(stream.readline, b"\r\n")).decode()
        if requests is not None:
            requests.append(head)
        key = re.search(r"^Sec-WebSocket-Key: (.*)\r$", head, re.MULTILINE)[1]
        digest = hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()
        stream.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                     b"Connection: Upgrade\r\nSec-WebSocket-Accept: "
                     + base64.b64encode(digest) + b"\r\n\r\n")
        say(stream, connected.format(headers))
        yield stream


def close(stream, code, reason=""):
    stream.write(bytes([0x88, 2 + len(reason)]) + code.to_bytes(2, "big") + reason.encode())
    stream.flush()
    with contextlib.suppress(ConnectionResetError):  # it may have closed before our frame came
        stream.read()


@contextlib.contextmanager
def serving(serve, *arguments):
    """Starts a server in a thread: serve(listener, ...). Returns its URL."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=serve, args=(listener, *arguments), daemon=True)
        server.start()
        yield f"ws://127.0.0.1:{listener.getsockname()[1]}/"
        server.join(SECONDS)


def say(stream, frame):
    stream.write(bytes([0x81, len(frame) + 1]) + frame.encode() + b"\0")
    stream.flush()


def next_message(stream):
    """Reads the next WebSocket message of a client. Its length must fit into 16 bits."""
    length = stream.read(2)[1] & 127
    if length == 126:
        length = int.from_bytes(stream.read(2), "big")
    key = stream.read(4)
    return bytes(byte ^ key[i % 4] for i, byte in enumerate(stream.read(length)))


@pytest.mark.parametrize("message, status", [
    ("Session closed.", 0),  # Spring's simple broker
    ("Connection to broker closed.", 0),  # Spring as a relay
    ("not a valid destination", 1),
])
def test_an_error_after_our_disconnect(message, status):
    with serving(serve_one, message) as url:
        result = cat(url, "-d", "/topic/x", "-m", "x", "-t", str(SECONDS))
    assert (result.returncode, message in result.stderr) == (status, status == 1)


# ---- a close instead of a receipt ----

def close_at_send(listener):
    with accept_client(listener) as stream:
        while not next_message(stream).startswith(b"SEND"):
            pass
        close(stream, 1007, "frame too big")


@pytest.mark.parametrize("option", [[], ["--no-reconnect"]])
def test_who_waits_for_a_receipt_hears_why_the_server_closed(option):
    with serving(close_at_send) as url:
        result = cat(url, "-d", "/topic/x", "-m", "x", "--receipt", *option)
    assert result.returncode == 1
    why, receipt = result.stderr.splitlines()
    assert "1007" in why and "frame too big" in why
    assert receipt.endswith(": the connection ended before the receipt came")


# ---- secrets that are not on the command line ----

@pytest.fixture(name="guarded")
def start_guarded_broker():
    """Starts a broker that requires a login and a passcode. Returns its URL."""
    with ours.start("mini_broker", "--quiet", "--login", "guest:s3cret word") as broker:
        yield broker.stdout.readline().split()[1]
        broker.terminate()


def secret_file(folder, text, mode=0o600):
    file = folder / f"secret{next(NAMES)}"
    file.write_bytes(text)
    file.chmod(mode)
    return file


def logs_in(url, *arguments, environment=None):
    """Whether the broker accepts a login, and the text on stderr."""
    result = subprocess.run([ours.build("stomp_cat"), url, "-d", topic(), "-m", "x", "--receipt",
                             "--trace", *arguments],
                            env={**ours.ENVIRONMENT, **(environment or {})}, text=True,
                            capture_output=True, timeout=SECONDS, check=False)
    assert "s3cret" not in result.stderr
    return result.returncode == 0, result.stderr


@pytest.mark.parametrize("text", [b"s3cret word", b"s3cret word\n", b"s3cret word\r\nmore\n"])
def test_a_passcode_from_a_file(guarded, tmp_path, text):
    file = secret_file(tmp_path, text)
    accepted, errors = logs_in(guarded, "--login", "guest", "--passcode-file", file)
    assert accepted and "may read" not in errors
    assert not logs_in(guarded, "--login", "guest", "--passcode", "wrong")[0]


def test_login_and_passcode_from_the_environment(guarded):
    environment = {"STOMP_LOGIN": "guest", "STOMP_PASSCODE": "s3cret word"}
    assert logs_in(guarded, environment=environment)[0]
    assert logs_in(guarded, "-u", "guest", environment={**environment, "STOMP_LOGIN": "other"})[0]
    assert not logs_in(guarded, "-p", "wrong", environment=environment)[0]
    assert not logs_in(guarded, environment={**environment, "STOMP_PASSCODE": ""})[0]


def test_a_warning_when_everybody_may_read_a_secret(guarded, tmp_path):
    file = secret_file(tmp_path, b"s3cret word", mode=0o604)
    accepted, errors = logs_in(guarded, "-u", "guest", "--passcode-file", file)
    assert accepted and f'every user of this machine may read "{file}"' in errors
    headers = secret_file(tmp_path, b"X-Key: s3cret", mode=0o644)
    assert f'"{headers}"' in cat("ws://127.0.0.1:1/", "-s", "/topic/x", "--no-reconnect",
                                 "--header-file", headers).stderr


def test_what_is_wrong_with_a_file_of_secrets(tmp_path):
    """Checks that the secret is never shown."""
    for option, text, sentence in [
            ("--passcode-file", b"", "empty, or too long"),
            ("--passcode-file", b"\ns3cret\n", "empty, or too long"),
            ("--passcode-file", b"s3cret" * 20_000, "empty, or too long"),
            ("--header-file", b"X: y\n\ns3cret\n", "line 3 of"),
            ("--header-file", b"X: " + b"s3cret" * 20_000, "line 1 of"),
            ("--header-file", b"X: y\n" * 65, "line 65 of")]:
        file = secret_file(tmp_path, text)
        result = cat("ws://127.0.0.1:1/", "-s", "/topic/x", option, file)
        assert result.returncode == 2 and sentence in result.stderr and str(file) in result.stderr
        assert "s3cret" not in result.stderr
    for option in ("--passcode-file", "--header-file"):
        for path in (tmp_path, tmp_path / "missing"):
            result = cat("ws://127.0.0.1:1/", "-s", "/topic/x", option, path)
            assert result.returncode == 2 and f"cannot be read: {path}" in result.stderr
    result = cat("ws://127.0.0.1:1/", "-s", "/topic/x", "-p", "x", "--passcode-file", file)
    assert result.returncode == 2 and "exclude each other" in result.stderr


@pytest.mark.parametrize("line", [" X: s3cret", "X Y: s3cret", "Host: s3cret", "upgrade: s3cret",
                                  "Sec-WebSocket-Key: s3cret", "X: s3cret\x01"])
def test_a_header_that_the_upgrade_cannot_take(tmp_path, line):
    """Checks that the error names the file and the line."""
    file = secret_file(tmp_path, f"# x\nX: y\n{line}\n".encode())
    result = cat("ws://127.0.0.1:1/", "-s", "/topic/x", "--header-file", file)
    assert result.returncode == 2 and f'line 3 of "{file}"' in result.stderr
    assert "s3cret" not in result.stderr
    result = cat("ws://127.0.0.1:1/", "-s", "/topic/x", "--http-header", line)
    assert result.returncode == 2 and "invalid value for --http-header: " in result.stderr
    assert "s3cret" not in result.stderr


def test_one_authorization_only(tmp_path):
    file = secret_file(tmp_path, b"Authorization: Bearer s3cret\n")
    for words in (["--header-file", file, "--http-header", "authorization: x"],
                  ["--header-file", file, "--header-file", file],
                  ["--http-header", "Authorization: x", "--http-header", "Authorization: y"]):
        result = cat("ws://127.0.0.1:1/", "-s", "/topic/x", *words)
        assert result.returncode == 2 and "two Authorization headers" in result.stderr
        assert "s3cret" not in result.stderr


@pytest.mark.parametrize("option", ["--ca", "--cert", "--key"])
def test_a_file_for_tls_that_cannot_be_read(tmp_path, option):
    for path, why in [(tmp_path / "missing", "No such file or directory"),
                      (tmp_path, "Is a directory")]:
        result = cat("ws://127.0.0.1:1/", "-s", "/topic/x", option, path)
        assert result.returncode == 2
        assert f"{option}: the file cannot be read: {path}: {why}" in result.stderr


HASH = hashlib.sha256(b"").digest()


@pytest.mark.parametrize("pin, is_taken", [
    (HASH.hex(), True), (HASH.hex().upper(), True), (base64.b64encode(HASH).decode(), True),
    (f"sha256//{base64.b64encode(HASH).decode()};{HASH.hex()}", True),
    (HASH.hex()[1:], False), ("x" + HASH.hex()[1:], False), ("", False), (",", False),
    (base64.b64encode(HASH).decode()[:-1], False), (HASH.hex() + ",x", False)])
def test_what_a_pin_is(url, pin, is_taken):
    result = cat(url, "-d", topic(), "-m", "x", "--pin", pin)
    assert (result.returncode, "64 hex digits" in result.stderr) == (0 if is_taken else 2,
                                                                     not is_taken)


def test_headers_of_the_upgrade_from_a_file(tmp_path):
    file = secret_file(tmp_path, b"# a comment\nX-One:  1 \r\n\nX-Two: a:b")
    requests = []
    with serving(refuse_upgrades, requests, 1) as url:
        result = cat(url, "-s", "/topic/x", "--header-file", file, "--http-header", "X-Three: 3")
    assert result.returncode == 1 and "403" in result.stderr
    assert re.search(r"\r\nX-Three: 3\r\nX-One: 1 ?\r\nX-Two: a:b\r\n", requests[0]), requests


def refuse_upgrades(listener, requests, count, status="403 Forbidden"):
    """A server that answers this number of HTTP requests with this status."""
    for _ in range(count):
        connection, _ = listener.accept()
        with connection, connection.makefile("rwb") as stream:
            requests.append(b"".join(iter(stream.readline, b"\r\n")).decode())
            stream.write(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode())


# ---- a fresh token for each attempt ----

def test_each_attempt_has_a_token_of_its_own(start, tmp_path):
    command = f"echo x >>{tmp_path}/runs; echo token-$(wc -l <{tmp_path}/runs); echo more"
    requests = []
    with serving(refuse_upgrades, requests, 3, "503 Service Unavailable") as url:
        process = start(url, "-s", "/topic/x", "--token-command", command, "--reconnect", "1,1",
                        "--trace")
        for _ in range(3):
            wait_for_line(process.stderr, "trying again")
        process.terminate()
        errors = process.stderr.read()
    assert [re.search(r"\r\nAuthorization: Bearer (.*)\r\n", request)[1] for request in requests] \
        == ["token-1", "token-2", "token-3"]
    assert "token-" not in errors


def keep_connect(listener, requests, frames):
    with accept_client(listener, requests=requests) as stream:
        frames.append(next_message(stream).decode())
        stream.read()


@pytest.mark.parametrize("options, http, connect, passcode", [
    ([], "Bearer t:0", "Bearer t:0", None),
    (["-u", "me"], "Bearer t:0", "Bearer t:0", "t:0"),
    (["-u", "me", "-p", "mine"], "Bearer t:0", "Bearer t:0", "mine"),
    (["--http-header", "authorization: Basic x"], "Basic x", "Bearer t:0", None),
    (["--connect-header", "Authorization:x"], "Bearer t:0", "x", None),
])
def test_the_places_of_a_token(start, options, http, connect, passcode):
    requests, frames = [], []
    with serving(keep_connect, requests, frames) as url:
        process = start(url, "-s", "/topic/x", "--token-command", "cat; echo t:0", *options)
        wait_for(lambda: frames)
        process.terminate()
        process.communicate(timeout=SECONDS)
    assert re.findall(r"\r\nauthorization: (.*)\r\n", requests[0], re.IGNORECASE) == [http]
    assert re.findall(r"\nAuthorization:(.*)\n", frames[0]) == [connect]
    assert re.findall(r"\npasscode:(.*)\n", frames[0]) == ([passcode] if passcode else [])


def test_a_command_without_a_token(url):
    for command, sentence in [
            ("exit 3", "it ended with status 3"), ("kill -9 $$", "it was ended by signal 9"),
            ("true", "it printed nothing"), ("echo a b", "not a token"),
            ("echo; echo x", "not a token"),
            ("/missing 2>/dev/null", "it ended with status 127"),
            ("head -c 100000 /dev/zero | tr '\\0' x", "not a token")]:
        result = cat(url, "-d", topic(), "-m", "x", "--token-command", command, "--no-reconnect")
        assert (result.returncode, result.stderr.count("\n")) == (1, 1), result.stderr
        assert "stomp_cat: --token-command: " in result.stderr and sentence in result.stderr


def test_a_command_that_fails_is_run_again(url, tmp_path):
    destination, file = topic(), tmp_path / "run"
    result = cat(url, "-s", destination, "-d", destination, "-m", "x", "-n", "1", "--reconnect",
                 "1,1", "--token-command", f"test -e {file} || ! : >{file} && echo t")
    assert (result.returncode, result.stdout) == (0, "x\n")
    assert result.stderr == ("stomp_cat: --token-command: it ended with status 1\n"
                             "stomp_cat: trying again in 1 ms\n")


def test_a_command_that_hangs_stops_nothing(url, start, tmp_path):
    command = f"echo $$ >{tmp_path}/process; exec sleep 1000"
    process = start(url, "-s", "/topic/x", "--token-command", command)
    wait_for(lambda: (tmp_path / "process").exists() and (tmp_path / "process").read_text())
    process.terminate()
    assert process.communicate(timeout=SECONDS) == ("", "") and process.returncode == 143
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "process").read_text()), 0)
    result = cat(url, "-s", "/topic/x", "--token-command", command, "-t", "0.5")
    assert result.returncode == 3
    assert "no connection (waiting for --token-command)\n" in result.stderr


def test_verbose_tells_when_the_command_is_run(url):
    result = cat(url, "-d", topic(), "-m", "x", "-v", "--token-command", "echo t")
    assert result.returncode == 0, result.stderr
    assert result.stderr.startswith("stomp_cat: running --token-command\nstomp_cat: connected to ")


# ---- reconnecting ----

def waits_told(limits, seconds):
    result = cat("ws://127.0.0.1:1/", "-s", "/topic/x", "--reconnect", limits, "-t", seconds)
    assert result.returncode == 3
    return [int(ms) for ms in re.findall(r"trying again in (\d+) m?s\n", result.stderr)]


@pytest.mark.parametrize("limits", ["20,60", "40,44", "50,50", "99,100"])
def test_no_wait_is_longer_than_reconnect_allows(limits):
    waits = waits_told(limits, "1")
    assert len(waits) > 3 and max(waits) <= int(limits.split(",")[1]), waits


def test_the_first_wait_is_not_shorter_than_reconnect_allows():
    """The delay may be up to a quarter longer. The remaining time is printed, so a part of the
    delay may be over."""
    for _ in range(8):
        wait, = waits_told("30000,60000", "0.2")
        assert 30 <= wait <= 38


def test_a_long_wait_is_told_in_seconds():
    for limits, shown in [("9000,9000", r"(9000|89\d\d) ms"), ("274900,274900", "275 s")]:
        result = cat("ws://127.0.0.1:1/", "-s", "/topic/x", "--reconnect", limits, "-t", "0.2")
        assert re.search(f"trying again in {shown}\n", result.stderr), result.stderr


# ---- several URLs ----

def test_the_next_url_is_taken_when_one_is_down(url):
    destination = topic()
    result = cat("ws://127.0.0.1:1/", url, "-s", destination, "-d", destination, "-m", "x",
                 "-n", "1", "-t", str(SECONDS), "--reconnect", "1,1")
    assert (result.returncode, result.stdout) == (0, "x\n"), result.stderr
    assert "port 1:" in result.stderr and "trying again" in result.stderr


# ---- the server's name and the settings of the connection ----

def connect_and_close(listener, headers, times=1):
    for _ in range(times):
        with accept_client(listener, headers) as stream:
            close(stream, 1001)


@pytest.mark.parametrize("headers, options, shown", [
    ("server:RabbitMQ/3.10.8\nheart-beat:10000,10000\n", [],
     "(RabbitMQ 3.10.8, STOMP 1.2, heart-beats 10 s/10 s)"),
    ("server:x\nheart-beat:1500,0\n", ["--heartbeat", "1000,0"],
     "(x, STOMP 1.2, heart-beats none/none, PINGs every 20 s)"),
    ("server:x\nheart-beat:1000,0\n", ["--ping", "1500"],
     "(x, STOMP 1.2, heart-beats none/10 s, PINGs every 1500 ms)"),
    ("", ["--ping", "0"], "(a server without a name, STOMP 1.2, heart-beats none/none)"),
    ("heart-beat:1500,20000\n", ["--heartbeat", "1000,1000"],
     "(a server without a name, STOMP 1.2, heart-beats 20 s/1500 ms)"),
    ("", [], "(a server without a name, STOMP 1.2, heart-beats none/none, PINGs every 20 s)"),
])
def test_verbose_tells_what_it_is_connected_to(headers, options, shown):
    with serving(connect_and_close, headers) as url:
        result = cat(f"{url}path?secret", "-s", "/topic/x", "--no-reconnect", "-v", *options)
    assert result.stderr.splitlines()[0] == f"stomp_cat: connected to {url}path {shown}"


def test_it_tells_when_it_is_connected_again(start):
    """With several URLs, the line also names the URL."""
    with serving(connect_and_close, "") as first, serving(connect_and_close, "", 2) as second:
        process = start(first, f"{second}other", f"{second}path", "-s", "/topic/x",
                        "--reconnect", "1,1")
        lines = [process.stderr.readline() for _ in range(7)]
    assert "closed" in lines[0] and "trying again" in lines[1]
    again = r"stomp_cat: connected again to {} after \d+\.\d s\n"
    assert re.fullmatch(again.format(f"{second}other"), lines[2]), lines
    assert re.fullmatch(again.format(f"{second}path"), lines[5]), lines


def test_a_first_connection_after_a_failure_is_told(url):
    result = cat("ws://127.0.0.1:1/", url, "-d", topic(), "-m", "x", "--reconnect", "1,1")
    assert result.returncode == 0
    assert f"\nstomp_cat: connected to {url} after 0." in result.stderr


# ---- confirmed subscriptions ----

def test_verbose_tells_of_a_confirmed_subscription(url, start):
    destinations = [topic(), topic()]
    process = start(url, "-s", destinations[0], "-s", destinations[1], "--confirm", "-v")
    wait_for_line(process.stderr, "connected to")
    confirmed = {process.stderr.readline() for _ in destinations}
    assert confirmed == {f'stomp_cat: the subscription to "{destination}" is confirmed\n'
                         for destination in destinations}


def answer_subscribe(listener, code, reason, error="", times=1):
    for _ in range(times):
        with accept_client(listener) as stream:
            subscribe = next_message(stream)
            while not subscribe.startswith(b"SUBSCRIBE"):
                subscribe = next_message(stream)
            receipt = re.search(rb"\nreceipt:(.*)\n", subscribe)[1].decode()
            if error:
                say(stream, error.format(receipt))
            close(stream, code, reason)


@pytest.mark.parametrize("code, reason, error", [
    (1000, "", "ERROR\nmessage:no such thing\nreceipt-id:{}\n\n"),
    (1001, "", "ERROR\nmessage:no such thing\n\n"),
    (1000, "STOMP died", ""),
    (1008, "no such thing", ""),
])
def test_a_refused_subscription_ends_it(code, reason, error):
    with serving(answer_subscribe, code, reason, error) as url:
        result = cat(url, "-s", "/topic/x", "--confirm")
    assert result.returncode == 1
    assert (reason or "no such thing") in result.stderr
    assert result.stderr.count('stomp_cat: the subscription to "/topic/x" was refused\n') == 1


def test_rabbitmq_refuses_a_subscription(servers):
    server, (login, passcode) = servers.get("rabbitmq"), LOGIN
    result = cat(server.url, "-u", login, "-p", passcode, "-s", "/nonsense/x", "--confirm", "-v")
    connected, *others = result.stderr.splitlines()
    assert result.returncode == 1
    assert re.search(r" \(RabbitMQ [\d.]+, STOMP 1\.2, heart-beats 10 s/10 s\)$", connected)
    assert others[-1] == 'stomp_cat: the subscription to "/nonsense/x" was refused', others


def test_a_server_that_goes_away_has_refused_nothing(start):
    with serving(answer_subscribe, 1001, "", "", 2) as url:
        process = start(url, "-s", "/topic/x", "--confirm", "--reconnect", "1,1")
        wait_for_line(process.stderr, "connected again")


def test_a_subscription_that_is_not_confirmed_in_time():
    def keep_silent(listener):
        with accept_client(listener) as stream:
            stream.read()

    with serving(keep_silent) as url:
        result = cat(url, "-s", "/topic/x", "--confirm", "-t", "1", "--heartbeat", "0,0")
        assert result.returncode == 3
        assert 'the subscription to "/topic/x" is not confirmed' in result.stderr
    with serving(keep_silent) as url:
        result = cat(url, "-s", "/topic/x", "--confirm", "--heartbeat", "0,0")
        assert result.returncode == 1 and "no RECEIPT came in 15 s" in result.stderr


def end_after(destination, listener):
    """A server that ends each session that subscribes to this destination, and keeps the others."""
    with contextlib.suppress(OSError, IndexError):
        while True:
            with accept_client(listener) as stream:
                frame = b""
                while destination.encode() not in frame and not frame.startswith(b"DISCONNECT"):
                    frame = next_message(stream)
                close(stream, 1011, "no")
                if frame.startswith(b"DISCONNECT"):
                    return


SET_ASIDE = ('stomp_cat: the subscription to "/topic/bad" is set aside: '
             "the server ended three sessions right after it\n")


@pytest.mark.parametrize("words", [[], ["-d", "/topic/x", "-m", "x"]])
def test_a_subscription_that_is_set_aside(words):
    """Checks that stomp_cat ends if no subscription is left and nothing is to be sent."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=end_after, args=("/topic/bad", listener), daemon=True).start()
        url = f"ws://127.0.0.1:{listener.getsockname()[1]}/"
        result = cat(url, "-s", "/topic/bad", "--reconnect", "1,1", *words)
    assert (result.returncode, result.stderr.count(SET_ASIDE)) == (1, 1), result.stderr


def test_the_other_subscriptions_live(start):
    with serving(functools.partial(end_after, "/topic/bad")) as url:
        process = start(url, "-s", "/topic/bad", "-s", "/topic/good", "--reconnect", "1,1")
        wait_for_line(process.stderr, SET_ASIDE)
        wait_for_line(process.stderr, "connected again")
        process.terminate()
        process.stderr.read()
        assert process.wait(SECONDS) == 143


# ---- a reader of stdout that is slow, or has closed it ----

HELD_BODY = "x" * 10_000


@pytest.mark.parametrize("ack", ["auto", "client-individual"])
def test_a_full_pipe_does_not_stop_heartbeats(start, ack):
    """Nobody reads for many intervals. Then all messages are there, in order, and from
    one session."""
    count = 200
    with ours.start("mini_broker", "--quiet", "--heartbeat", "100,100") as broker:
        url = broker.stdout.readline().split()[1]
        destination = queue()
        process = start(url, "-s", destination, "--ack", ack, "--heartbeat", "100,100", "--trace",
                        "-n", str(count))
        errors = read_in_thread(process.stderr)
        with Client(url) as client:
            for number in range(count):
                client.send(destination, f"{number} {HELD_BODY}", receipt=1)
            wait_for(lambda: sum("< MESSAGE" in line for line in errors) == count)
            beats = len([line for line in errors if line == "> (heart-beat)\n"])
            wait_for(lambda: sum(line == "> (heart-beat)\n" for line in errors) > beats + 20)
            acks = sum("> ACK" in line for line in errors)
            assert acks < 20  # the capacity of a pipe
            lines = [process.stdout.readline() for _ in range(count)]
        assert process.wait(SECONDS) == 0
        wait_for(lambda: any("< RECEIPT" in line for line in errors))
        broker.terminate()
    assert lines == [f"{number} {HELD_BODY}\n" for number in range(count)]
    assert sum("> ACK" in line for line in errors) == (count if ack != "auto" else 0)
    assert sum("> CONNECT" in line for line in errors) == 1


def read_in_thread(stream):
    """Returns the lines of a stream so far, in a list that grows."""
    lines = []
    threading.Thread(target=lambda: lines.extend(stream), daemon=True).start()
    return lines


def wait_for(condition):
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_it_ends_when_nobody_will_read_any_more(url, start):
    """Checks a closed stdout before anything is printed, and while something is printed."""
    for body in ("", HELD_BODY * 20):
        destination = topic()
        process = start(url, "-s", destination, "--trace")
        wait_for_line(process.stderr, "> SUBSCRIBE")
        if body:
            with Client(url) as client:
                client.send(destination, body, receipt=1)
                wait_for_line(process.stderr, "< MESSAGE")
        process.stdout.close()
        process.stdout = None
        errors = process.stderr.read()
        assert process.wait(SECONDS) == 1
        assert "writing to stdout failed: Broken pipe" in errors and "> DISCONNECT" in errors


def send_and_leave(listener, count):
    """A server that sends this number of messages, the last ones the shortest, and closes."""
    with accept_client(listener) as stream:
        while not next_message(stream).startswith(b"SUBSCRIBE"):
            pass
        for number in range(count):
            say(stream, "MESSAGE\nsubscription:x\nmessage-id:1\ndestination:/topic/x\n\n"
                + "x" * (count - number))
        close(stream, 1001)


def test_what_came_before_the_end_is_printed():
    count = 40
    expected = "".join("x" * (count - number) + "\n" for number in range(count))
    arguments = ["-s", "/topic/x", "-H", "id:x", "--no-reconnect"]
    with serving(send_and_leave, count) as url:
        result = cat(url, *arguments)
    assert (result.returncode, result.stdout) == (1, expected)
    with serving(send_and_leave, count) as url:
        result = cat(url, *arguments, "-n", str(count))
    assert (result.returncode, result.stdout, result.stderr) == (0, expected, "")


def test_a_signal_tells_what_was_not_printed(url, start):
    destination = topic()
    process = start(url, "-s", destination, "--trace")
    wait_for_line(process.stderr, "> SUBSCRIBE")
    with Client(url) as client:
        for _ in range(50):
            client.send(destination, HELD_BODY, receipt=1)
        wait_for_line(process.stderr, "< MESSAGE")
        for _ in range(49):
            wait_for_line(process.stderr, "< MESSAGE")
        process.terminate()
        errors = process.stderr.read()
    assert process.wait(SECONDS) == 143
    assert re.search(r"\nstomp_cat: 4\d messages were received and not printed\n", errors), errors


def test_a_timeout_with_a_full_pipe_is_no_success(url, start):
    destination = queue()
    with Client(url) as client:
        for _ in range(50):
            client.receipt(client.send(destination, HELD_BODY, receipt=1))
    process = start(url, "-s", destination, "-t", "3")
    errors = process.stderr.read()
    assert process.wait(SECONDS) == 3
    assert re.fullmatch(r"stomp_cat: 4\d messages were received and not printed\n", errors), errors


@pytest.mark.parametrize("option", ["--receipt", "--confirm"])
def test_a_signal_tells_what_was_not_confirmed(start, option):
    """The server answers nothing. Half a line is not a message yet."""
    def swallow(listener):
        with accept_client(listener) as stream:
            stream.read()

    with serving(swallow) as url:
        process = start(url, "-d", "/topic/x", option, "--trace", stdin=subprocess.PIPE)
        process.stdin.write("1\n2\nhalf a li")
        process.stdin.flush()
        wait_for_line(process.stderr, "> SEND")
        wait_for_line(process.stderr, "> SEND")
        process.send_signal(signal.SIGINT)
        errors = process.stderr.read()
        assert process.wait(SECONDS) == 130
    assert errors.endswith("\nstomp_cat: 2 of 2 messages were not confirmed\n"), errors


def test_a_signal_tells_what_was_not_sent(start, tmp_path):
    file = tmp_path / "file"
    file.write_text("x")
    process = start("ws://127.0.0.1:1/", "-d", "/topic/x", "-f", file, "-f", file)
    wait_for_line(process.stderr, "trying again")
    process.terminate()
    assert process.stderr.read().endswith("stomp_cat: 2 of 2 messages were not sent\n")
    assert process.wait(SECONDS) == 143


def test_a_signal_before_the_first_connection_tells_of_stdin(start):
    """Checks that unread lines are not counted. An empty input is at its end."""
    process = start("ws://127.0.0.1:1/", "-d", "/topic/x", stdin=subprocess.PIPE)
    process.stdin.write("1\n2\n")
    process.stdin.flush()
    wait_for_line(process.stderr, "trying again")
    process.terminate()
    assert process.stderr.read().endswith("stomp_cat: standard input was not read to its end\n")
    assert process.wait(SECONDS) == 143
    process = start("ws://127.0.0.1:1/", "-d", "/topic/x")
    wait_for_line(process.stderr, "trying again")
    process.terminate()
    assert "standard input" not in process.stderr.read()


# ---- unfinished work when -t ends ----

def test_a_timeout_tells_what_of_stdin_was_not_sent(url):
    result = cat(url, "-d", topic(), "--rate", "2", "-t", "2", text="x\n" * 10)
    assert result.returncode == 3
    found = re.fullmatch(r"stomp_cat: time-out after 2 s: lines of standard input were not sent\n"
                         r"stomp_cat: (\d) of 10 messages were not sent\n", result.stderr)
    assert found and 4 <= int(found[1]) <= 8, result.stderr


def test_a_timeout_before_stdin_is_at_its_end(url, start):
    process = start(url, "-d", topic(), "-t", "1", stdin=subprocess.PIPE)
    process.stdin.write("a line\nhalf a li")
    process.stdin.flush()
    assert process.stderr.read() == ("stomp_cat: time-out after 1 s: "
                                     "standard input was not read to its end\n")
    assert process.wait(SECONDS) == 3


@pytest.mark.parametrize("words, text", [(["-m", "x"], ""), ([], "x\n")])
def test_a_timeout_without_a_reply(url, words, text):
    result = cat(url, "-d", queue(), "--request", "-t", "1", *words, text=text)
    assert (result.returncode, result.stderr) == (
        3, "stomp_cat: time-out after 1 s: no reply came\n"
           "stomp_cat: 1 of 1 messages were not answered\n")


def test_a_timeout_after_all_of_stdin_was_sent(url):
    result = cat(url, "-s", topic(), "-d", topic(), "-t", "1", text="x\n" * 10)
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize("text", ["", "1\n2\n"])
def test_a_timeout_without_a_connection_tells_of_stdin(text):
    result = cat("ws://127.0.0.1:1/", "-d", "/topic/x", "-t", "0.5", text=text)
    assert result.returncode == 3 and "time-out after 0.5 s: " in result.stderr
    told = result.stderr.endswith("stomp_cat: standard input was not read to its end\n")
    assert told == bool(text)


def test_a_timeout_tells_what_was_not_sent_when_the_broker_has_gone(start):
    with ours.start("mini_broker", "--quiet") as broker:
        url = broker.stdout.readline().split()[1]
        process = start(url, "-d", "/topic/x", "--rate", "2", "-t", "4", "--trace",
                        stdin=subprocess.PIPE)
        process.stdin.write("x\n" * 20)
        process.stdin.close()
        process.stdin = None
        wait_for_line(process.stderr, "> SEND")
        broker.kill()
        errors = process.stderr.read()
    assert process.wait(SECONDS) == 3
    assert re.search(r"\nstomp_cat: time-out after 4 s: not connected: .*refused.*\n"
                     r"stomp_cat: 1\d of 20 messages were not sent\n$", errors), errors


def test_a_timeout_during_an_outage():
    with serving(connect_and_close, "") as url:
        result = cat(url, "-s", "/topic/x", "--reconnect", "60000,60000", "-t", "1")
    assert result.returncode == 3
    assert re.search(r"stomp_cat: time-out after 1 s: not connected: .*1001.*\n$", result.stderr)


def test_a_timeout_during_an_outage_tells_of_the_count_too():
    with serving(connect_and_close, "") as url:
        result = cat(url, "-s", "/topic/x", "-n", "2", "--reconnect", "60000,60000", "-t", "1")
    assert result.returncode == 3
    assert re.search(r": time-out after 1 s: 0 of 2 messages arrived; not connected: .*1001.*\n$",
                     result.stderr)


# ---- retrying what worked before ----

def restart_behind(listener):
    """A session, then the answers of a server whose broker restarts, then another session."""
    connect_and_close(listener, "")
    refuse_upgrades(listener, [], 1, "404 Not Found")
    with accept_client(listener, connected="ERROR\nmessage:Broker not available.\n\n") as stream:
        next_message(stream)
        close(stream, 1002)
    with accept_client(listener) as stream:
        frame = next_message(stream)
        while not frame.startswith(b"SEND"):
            frame = next_message(stream)
        receipt = re.search(rb"\nreceipt:(.*)\n", frame)[1].decode()
        say(stream, f"RECEIPT\nreceipt-id:{receipt}\n\n")
        stream.read()


def test_a_sender_outlives_a_restart_of_the_broker_behind_its_server(start):
    with serving(restart_behind) as url:
        process = start(url, "-d", "/topic/x", "--confirm", "--reconnect", "1,1",
                        stdin=subprocess.PIPE)
        wait_for_line(process.stderr, "1001")
        process.stdin.write("x\n")
        process.stdin.close()
        process.stdin = None
        watchdog = threading.Timer(SECONDS, process.kill)
        watchdog.start()
        errors = process.stderr.read()
        watchdog.cancel()
        assert process.wait(SECONDS) == 0, errors
    assert "404" in errors and "Broker not available." in errors and "connected again" in errors


@pytest.mark.parametrize("when, attempts, status", [
    ("soon", 1, 1), ("default", 3, 3), ("never", 3, 3)])
def test_when_to_give_up_after_a_session(when, attempts, status):
    """Status 3 means that the time of -t ended during the outage."""
    def serve(listener):
        connect_and_close(listener, "")
        refuse_upgrades(listener, [], attempts, "404 Not Found")

    with serving(serve) as url:
        result = cat(url, "-s", "/topic/x", "--give-up", when, "--reconnect", "1,1", "-t", "1")
    assert result.returncode == status and "404" in result.stderr


def test_never_to_give_up():
    with serving(refuse_upgrades, [], 3, "401 Unauthorized") as url:
        result = cat(url, "-s", "/topic/x", "--give-up", "never", "--reconnect", "1,1", "-t", "1")
    assert result.returncode == 3 and "trying again" in result.stderr


def count_pings(listener, pings):
    with accept_client(listener) as stream:
        while head := stream.read(2):
            length = head[1] & 127
            if length == 126:
                length = int.from_bytes(stream.read(2), "big")
            stream.read(4 + length)
            pings.append(head[0] == 0x89)


@pytest.mark.parametrize("ping, expected", [("50", True), ("0", False)])
def test_pings_where_no_heartbeat_is_agreed(ping, expected):
    pings = []
    with serving(count_pings, pings) as url:
        result = cat(url, "-s", "/topic/x", "--ping", ping, "-t", "1")
    assert result.returncode == 0 and (sum(pings) > 3) == expected == any(pings)


# ---- progress ----

def in_terminal(*arguments, text="", stdout=None):
    """Returns what stomp_cat prints to a terminal: on stderr, and on stdout too if no stdout is
    given."""
    ours_end, its_end = pty.openpty()
    process = ours.start("stomp_cat", *arguments, stdin=subprocess.PIPE, stderr=its_end,
                         stdout=its_end if stdout is None else stdout)
    os.close(its_end)
    process.stdin.write(text)
    process.stdin.close()
    printed = read_terminal(ours_end)
    assert process.wait(SECONDS) == 0, printed
    return printed


def read_terminal(descriptor):
    """Returns all output until the other end of the terminal is closed."""
    printed = b""
    deadline = time.monotonic() + SECONDS
    with contextlib.suppress(OSError):
        while select.select([descriptor], [], [], max(0, deadline - time.monotonic()))[0]:
            printed += os.read(descriptor, 65536)
    os.close(descriptor)
    return printed.decode()


def test_progress_of_sending_many(url):
    printed = in_terminal(url, "-d", topic(), "--rate", "200", text="x\n" * 500)
    shown = re.findall(r"\r0 received, (\d+) sent, (\d+)/s *", printed)
    assert shown and all(100 <= int(sent) <= 500 and int(rate) > 0 for sent, rate in shown)
    assert printed.endswith("\r0 received, 500 sent\r\n")


def test_progress_of_receiving_many(url):
    """With the goal of -n, stomp_cat knows from the first second that there will be
    many messages."""
    destination = topic()
    loop = [url, "-s", destination, "-d", destination, "--rate", "60", "-n", "130"]
    lines = "x\n" * 130
    printed = in_terminal(*loop, text=lines, stdout=subprocess.DEVNULL)
    shown = re.findall(r"\r(\d+) of 130 received, \d+ sent, \d+/s *", printed)
    assert shown and int(shown[0]) < 100
    assert printed.endswith("\r130 received, 130 sent\r\n")


def test_no_progress_among_messages_on_the_same_terminal(url):
    destination = topic()
    printed = in_terminal(url, "-s", destination, "-d", destination, "--rate", "100", "-n", "130",
                          text="x\n" * 130)
    assert printed == "x\r\n" * 130


def test_no_progress_of_few_or_without_a_terminal(url):
    assert in_terminal(url, "-d", topic(), "--rate", "2", text="x\n" * 5) == ""
    result = cat(url, "-d", topic(), "--rate", "100", text="x\n" * 150)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_an_error_stands_in_a_line_of_its_own(start):
    with ours.start("mini_broker", "--quiet") as broker:
        url = broker.stdout.readline().split()[1]
        ours_end, its_end = pty.openpty()
        process = start(url, "-d", topic(), "--rate", "150", stdin=subprocess.PIPE, stderr=its_end)
        os.close(its_end)
        process.stdin.write("x\n" * 10_000)
        process.stdin.flush()
        printed = read_until(ours_end, " sent, ")
        broker.kill()
        printed += read_until(ours_end, "trying again")
    process.send_signal(signal.SIGINT)
    read_terminal(ours_end)
    assert process.wait(SECONDS) == 130
    assert re.search(r"/s +\r {70}\rstomp_cat: .*\r\nstomp_cat: trying again$", printed), printed


def read_until(descriptor, text):
    printed = ""
    deadline = time.monotonic() + SECONDS
    while text not in printed:
        assert select.select([descriptor], [], [], max(0, deadline - time.monotonic()))[0], printed
        printed += os.read(descriptor, 1).decode()
    return printed


# ---- signals ----

def wait_for_line(stream, text):
    """Reads until a line contains the text. Returns everything that was read."""
    read = ""
    while text not in read:
        line = stream.readline()
        assert line, f"it ended without {text!r}: {read}"
        read += line
    return read


@pytest.mark.parametrize("number, status", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_disconnects(url, start, number, status):
    process = start(url, "-s", topic(), "--trace")
    wait_for_line(process.stderr, "> SUBSCRIBE")
    process.send_signal(number)
    output, errors = process.communicate(timeout=SECONDS)
    assert (process.returncode, output) == (status, "")
    assert "> DISCONNECT receipt:" in errors and "< RECEIPT" in errors


def test_a_signal_while_it_waits_for_stdin(url, start):
    process = start(url, "-d", topic(), "--trace", stdin=subprocess.PIPE)
    process.stdin.write("whole line\nhalf a li")
    process.stdin.flush()
    wait_for_line(process.stderr, "> SEND")
    process.send_signal(signal.SIGINT)
    errors = process.stderr.read()
    assert process.wait(SECONDS) == 130
    assert "> SEND" not in errors and "> DISCONNECT" in errors


def test_a_signal_while_it_waits_for_a_reply(url, start):
    process = start(url, "-d", queue(), "-m", "x", "--request", "--trace")
    wait_for_line(process.stderr, "> SEND")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=SECONDS)
    assert process.returncode == 130


def test_a_signal_between_two_attempts(start):
    process = start("ws://127.0.0.1:1/", "-s", "/topic/x", "--reconnect", "60000,60000")
    wait_for_line(process.stderr, "trying again")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=SECONDS)
    assert process.returncode == 130


def test_a_signal_while_it_reads_a_file(url, start, tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    process = start(url, "-d", "/topic/x", "-f", pipe)
    with pipe.open("wb"):  # it must not end before the program has opened it, too
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=SECONDS)
    assert (process.returncode, errors) == (130, "")


# ---- --help and the man page ----

@pytest.mark.parametrize("arguments", [["--help"], ["--version"]])
def test_a_full_disk_is_an_error(arguments):
    with open("/dev/full", "w") as full:
        result = subprocess.run([ours.build("stomp_cat"), *arguments], stdout=full, text=True,
                                stderr=subprocess.PIPE, env=ours.ENVIRONMENT, check=False)
    assert result.returncode == 1
    assert result.stderr == "stomp_cat: writing to stdout failed: No space left on device\n"


HEADINGS = {"Spring Boot": "spring", "RabbitMQ": "rabbitmq", "ActiveMQ": "activemq",
            "Artemis": "artemis"}


def help_examples():
    """Returns the command for each broker, by the broker's kind."""
    lines = cat("--help").stdout.replace("\\\n", "").splitlines()
    return {kind: lines[lines.index(heading) + 1] for heading, kind in HEADINGS.items()}


@pytest.mark.parametrize("kind", HEADINGS.values())
def test_the_examples_of_help_work(servers, kind):
    """Runs the commands as shown, but with the test's address and login, and with an end for those
    that would run forever."""
    words = shlex.split(help_examples()[kind])
    words = words[words.index("stomp_cat") + 1:]
    server, (login, passcode) = servers.get(kind), LOGIN
    address = re.match(r"ws://localhost:\d+", words[0])[0]
    url = words[0].replace(address, f"ws://127.0.0.1:{server.port}")
    credentials = ["-u", login, "-p", passcode]
    if kind == "activemq":
        sent = cat(url, *credentials, "-d", "/queue/jobs", "-m", "a job", "--receipt")
        assert sent.returncode == 0, sent.stderr
    result = cat(url, *words[1:], *credentials, "-t", "3" if kind == "spring" else str(SECONDS),
                 text="a line\n", timeout=2 * SECONDS)
    assert (result.returncode, result.stderr) == (0, "")
    if kind == "activemq":
        assert json.loads(result.stdout)["body"] == "a job"


@pytest.mark.parametrize("command", [
    ["mandoc", "-T", "lint", "-W", "style"],
    ["groff", "-ww", "-mandoc", "-Tutf8", "-z"],
])
def test_man_page_is_clean(command):
    result = subprocess.run([*command, MAN_PAGE], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_man_page_says_what_takes_a_value():
    source = MAN_PAGE.read_text()
    entries = re.findall(r"^\.It (Fl .*)$", source, re.MULTILINE)
    values = {f"-{name}": bool(value) for entry in entries for name, value in
              re.findall(r"Fl (\S+)( Ar \S+)?", entry)}
    assert values == {option: wants_value(option) for option in option_list()}


def test_man_page_has_the_examples_of_help():
    source = MAN_PAGE.read_text()
    for command in help_examples().values():
        assert f".Dl {' '.join(command.split())}\n" in source


# ---- completion in bash ----

COMPLETE = r"""
source "$1"
shift
[[ $(complete -p stomp_cat) == 'complete -F _stomp_cat stomp_cat' ]] || exit 1
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
_stomp_cat stomp_cat "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
printf '%s\n' "${COMPREPLY[@]}"
"""


def bash_completes(*words, folder=None):
    result = subprocess.run(["bash", "--norc", "-c", COMPLETE, "bash", BASH_COMPLETION,
                             "stomp_cat", *words], cwd=folder, capture_output=True, text=True,
                            check=True)
    assert result.stderr == ""
    return sorted(result.stdout.split("\n")[:-1]) if result.stdout != "\n" else []


def test_bash_completes_options():
    assert bash_completes("ws", ":", "//h", "-") == option_list()
    assert bash_completes("--re") == ["--receipt", "--reconnect", "--request"]
    assert bash_completes("--junk") == []
    assert bash_completes("") == []


def test_bash_completes_values():
    assert bash_completes("--ack", "") == ["auto", "client", "client-individual"]
    assert bash_completes("--ack", "=", "cl") == ["client", "client-individual"]
    assert bash_completes("--ack", "=") == ["auto", "client", "client-individual"]
    assert bash_completes("--versions", "") == ["1.0", "1.1", "1.2"]
    assert bash_completes("--versions", "1.2,") == ["1.2,1.0", "1.2,1.1"]
    assert bash_completes("--versions", "=", "1.2,1.1,1") == ["1.2,1.1,1.0"]
    assert bash_completes("-s", "") == sorted(DESTINATIONS)
    assert bash_completes("-d", "/t") == ["/topic/"]


def test_bash_offers_options_where_no_value_is_wanted():
    for option in option_list():
        offered = bash_completes(option, "-")
        assert (offered == option_list()) != wants_value(option), option


def test_bash_completes_files(tmp_path):
    for name in ("a file", "a.txt", "b"):
        (tmp_path / name).write_text("")
    assert bash_completes("-f", "a", folder=tmp_path) == ["a file", "a.txt"]


def test_the_program_takes_the_values_that_are_offered():
    for option in ("--ack", "--versions", "--heartbeat", "--content-type", "--ping", "--give-up"):
        values = bash_completes(option, "")
        assert values
        for value in values:
            # After its options, so that only the URL is missing.
            assert "the URL is missing" in cat("-s", "/topic/x", option, value).stderr


class Shell:
    """An interactive shell in a terminal. Ctrl-G makes it write its command line to a file."""

    def __init__(self, command, folder, setup):
        self.line = folder.parent / f"line{next(NAMES)}"
        self._master, slave = pty.openpty()
        self._process = subprocess.Popen(command, cwd=folder, stdin=slave, stdout=slave,
                                         stderr=slave, start_new_session=True,
                                         env={**os.environ, "TERM": "dumb", "LINE": self.line})
        os.close(slave)
        self._printed = ""
        for line in [*setup, "echo re''ady"]:
            os.write(self._master, f"{line}\n".encode())
        self._until(lambda: "ready\r" in self._printed)

    def complete(self, typed):
        """Returns the command line after the tab key."""
        self.line.unlink(missing_ok=True)
        # Ctrl-U: begin with an empty line
        os.write(self._master, f"\x15{typed}\t\x07".encode())
        self._until(lambda: self.line.exists() and self.line.read_text().endswith("\n"))
        return self.line.read_text()[:-1]

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self._process.kill()
        self._process.wait()
        os.close(self._master)

    def _until(self, condition):
        deadline = time.monotonic() + SECONDS
        while not condition():
            assert time.monotonic() < deadline, self._printed
            if select.select([self._master], [], [], 0.05)[0]:
                self._printed += os.read(self._master, 65536).decode(errors="replace")


@pytest.fixture(name="folder")
def make_folder(tmp_path):
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "some file.txt").write_text("")
    return folder


# What is typed, and the resulting command line, in both shells.
TYPED = {
    "stomp_cat ws://127.0.0.1:1/x --trac": "stomp_cat ws://127.0.0.1:1/x --trace ",
    "stomp_cat ws://127.0.0.1:1/x --ack client-": "stomp_cat ws://127.0.0.1:1/x --ack "
                                                  "client-individual ",
    "stomp_cat --ack=au": "stomp_cat --ack=auto ",
    "stomp_cat --versions 1.2,1.1,": "stomp_cat --versions 1.2,1.1,1.0 ",
    "stomp_cat --versions=1.2,1.1,": "stomp_cat --versions=1.2,1.1,1.0 ",
    "stomp_cat ws://h -f so": "stomp_cat ws://h -f some\\ file.txt ",
    "stomp_cat ws://h -s /us": "stomp_cat ws://h -s /user/queue/",
}


def test_in_a_real_bash(folder):
    setup = [f"source {shlex.quote(str(BASH_COMPLETION))}", "PS1=",
             "write() { printf '%s\\n' \"$READLINE_LINE\" >\"$LINE\"; }",
             "bind -x '\"\\C-g\": write'"]
    with Shell(["bash", "--norc", "--noprofile", "-i"], folder, setup) as bash:
        assert {typed: bash.complete(typed) for typed in TYPED} == TYPED


# ---- completion in zsh ----

ZSH_SETUP = [
    "PS1= PS2= RPS1=; unsetopt zle_bracketed_paste; bindkey -e",
    "autoload -Uz compinit && compinit -u -D",
    "show() { print -r -- $BUFFER >$LINE }; zle -N show; bindkey '^G' show",
    # Writes the offered words to a file, and then calls the real function.
    "compadd() { local -a found; [[ ${@[(r)-[OAD]]} ]] || { builtin compadd -O found \"$@\"; "
    "print -rl -- $found >>$LINE.offered }; builtin compadd \"$@\" }",
]


@pytest.fixture(name="zsh")
def start_zsh(folder):
    setup = [f"fpath=({shlex.quote(str(ZSH_COMPLETION.parent))} $fpath)", *ZSH_SETUP]
    with Shell(["zsh", "-f", "-i"], folder, setup) as zsh:
        yield zsh


def zsh_offers(zsh, typed):
    file = pathlib.Path(f"{zsh.line}.offered")
    file.unlink(missing_ok=True)
    zsh.complete(typed)
    return sorted(set(file.read_text().split())) if file.exists() else []


def test_zsh_takes_the_file():
    subprocess.run(["zsh", "-n", ZSH_COMPLETION], check=True)


def test_in_a_real_zsh(zsh):
    assert {typed: zsh.complete(typed) for typed in TYPED} == TYPED


def test_zsh_offers_options_and_values(zsh):
    assert zsh_offers(zsh, "stomp_cat ws://h -") == option_list()
    assert zsh_offers(zsh, "stomp_cat ws://h --ack ") == ["auto", "client", "client-individual"]
    assert zsh_offers(zsh, "stomp_cat ws://h --versions ") == ["1.0", "1.1", "1.2"]
    assert zsh_offers(zsh, "stomp_cat ws://h -d ") == sorted(DESTINATIONS)


def test_zsh_offers_options_where_no_value_is_wanted(zsh):
    """Checks that nothing is offered after an option that ends the program immediately."""
    at_once = {"-h", "--help", "--version"}
    for option in option_list():
        offered = zsh_offers(zsh, f"stomp_cat ws://h {option} --")
        expected = not wants_value(option) and option not in at_once
        assert ("--host" in offered) == expected, option

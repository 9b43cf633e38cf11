"""wss:// by BearSSL to each broker: stomp_cat with the TLS settings that its users have."""

import subprocess

import pytest

import broker
import ours

KINDS = ["spring", "rabbitmq", "activemq", "artemis"]
LOGIN = ("ada", "secret")
TOPIC = "/topic/interop.tls"
# Small enough to be sent in one WebSocket message everywhere.
BODY = "over TLS: grüße " + 4000 * "x"
SECONDS = "20"
SECRET_OPTIONS = ["-u", LOGIN[0], "-p", LOGIN[1]]


def openssl(folder, *arguments):
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True, timeout=60)


@pytest.fixture(name="folder", scope="module")
def make_certificates(tmp_path_factory):
    """Creates a CA (ca.pem), and the files of a server that it signed: chain.pem and key.pem, for
    address and name."""
    folder = tmp_path_factory.mktemp("tls")
    openssl(folder, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",
            "/CN=interop CA", "-keyout", "ca.key", "-out", "ca.pem")
    openssl(folder, "req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=interop", "-keyout",
            "key.pem", "-out", "server.csr")
    (folder / "names").write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
    openssl(folder, "x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key",
            "-CAcreateserial", "-days", "2", "-extfile", "names", "-out", "server.pem")
    (folder / "chain.pem").write_text((folder / "server.pem").read_text()
                                      + (folder / "ca.pem").read_text())
    return folder


@pytest.fixture(name="stomp_cat", scope="module")
def build_stomp_cat(tmp_path_factory):
    program = tmp_path_factory.mktemp("programs") / "stomp_cat"
    subprocess.run([*ours.COMPILE, "-DSTOMP_WS_BEARSSL", "-o", program,
                    ours.ROOT / "examples" / "stomp_cat.c", "-lbearssl", "-pthread"], check=True)
    return program


@pytest.fixture(name="server", scope="module", params=KINDS)
def start_server(request, folder):
    pair = (folder / "chain.pem", folder / "key.pem")
    with broker.create(request.param, login=LOGIN, tls=pair) as server:
        assert server.url.startswith("wss:")
        yield server


def run(stomp_cat, *arguments):
    return subprocess.run([stomp_cat, *arguments, "-t", SECONDS], env=ours.ENVIRONMENT, text=True,
                          capture_output=True, check=False, timeout=60)


def echo(stomp_cat, url, *options):
    return run(stomp_cat, url, *SECRET_OPTIONS, *options, "-s", TOPIC, "-d", TOPIC, "-m", BODY,
               "-n", "1")


def test_a_message_there_and_back(server, stomp_cat, folder):
    for url in (server.url, server.url.replace("127.0.0.1", "localhost")):
        done = echo(stomp_cat, url, "--ca", folder / "ca.pem")
        assert (done.returncode, done.stdout) == (0, BODY + "\n"), done.stderr


def test_many_messages(server, stomp_cat, folder):
    lines = "".join(f"line {number}\n" for number in range(500))
    (folder / "lines").write_text(lines)
    with (folder / "lines").open() as stdin:
        done = subprocess.run([stomp_cat, server.url, *SECRET_OPTIONS, "--ca", folder / "ca.pem",
                               "-s", TOPIC, "-d", TOPIC, "-n", "500", "-t", SECONDS], stdin=stdin,
                              env=ours.ENVIRONMENT, text=True, capture_output=True, check=False,
                              timeout=60)
    assert (done.returncode, done.stdout) == (0, lines), done.stderr


def test_the_system_does_not_trust_it(server, stomp_cat):
    done = echo(stomp_cat, server.url)
    assert done.returncode == 1 and done.stdout == ""
    assert "not known here" in done.stderr


def test_a_wrong_passcode_is_still_told(server, stomp_cat, folder):
    done = run(stomp_cat, server.url, "-u", LOGIN[0], "-p", "wrong", "--ca", folder / "ca.pem",
               "-s", TOPIC)
    assert done.returncode == 1
    assert "CONNECT" in done.stderr, done.stderr

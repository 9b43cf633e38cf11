#!/usr/bin/env python3
"""wss:// by BearSSL or OpenSSL, with Python's and openssl's servers, and certificates that are made
here.

    tests/tls/run.py LIBRARY PROBE STOMP_CAT THREADS [TEST...]
    tests/tls/run.py LIBRARY --valgrind PROBE    run only fast tests, under memcheck

LIBRARY is bearssl, openssl or openssl-1.3. The programs are built with STOMP_WS_BEARSSL or
STOMP_WS_OPENSSL. With openssl-1.3 the servers use TLS 1.3, unless a test requests another version.
A test whose name ends in _bearssl or _openssl runs only with that library. Each test is one check,
and the last line counts them.
"""

import base64
import errno
import os
import pathlib
import re
import socket
import ssl
import subprocess
import sys
import tempfile
import time

from certificates import AUTHORITY, Folder
from counting import run_tests
from openssl_server import OpensslServer
from server import STEP_SECONDS, Listener, Relay, Server, context

VALGRIND = ["valgrind", "-q", "--error-exitcode=99", "--leak-check=full"]
LIBRARY, *ARGUMENTS = sys.argv[1:]
OPENSSL = {"bearssl": False, "openssl": True, "openssl-1.3": True}[LIBRARY]
TLS_1_2, TLS_1_3 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
USUAL = TLS_1_3 if LIBRARY == "openssl-1.3" else TLS_1_2  # the TLS version of the servers
SLOWLY = ARGUMENTS[0] == "--valgrind"
PROBE = [*VALGRIND, ARGUMENTS[1]] if SLOWLY else [ARGUMENTS[0]]
STOMP_CAT, THREADS = ("", "") if SLOWLY else ARGUMENTS[1:3]
RUN_SECONDS = 60
SYSTEM_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
LOCALHOST = "subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1"
USAGE = "extendedKeyUsage="
TWINS = 14  # number of CAs with the same name
made = None


class Outcome:
    """The output of a probe: the result's name, the error text, and what it counted."""

    def __init__(self, output, status):
        lines = output.splitlines()
        self.status, self.output = status, output
        self.result, self.text = (lines + ["", ""])[:2]
        self.final = "\nfinal" in output
        self.wiped = "secrets wiped" in output
        self.saw_tls = "TLS state seen" in output
        found = re.search(r"received (\d+), wrong (\d+)", output)
        self.received, self.wrong = map(int, found.groups()) if found else (0, 0)


def run_probe(url, **options):
    words = [f"{name}={value}" for name, value in options.items()]
    done = subprocess.run([*PROBE, f"url={url}", *words], capture_output=True, text=True,
                          check=False, timeout=RUN_SECONDS)
    assert "Sanitizer" not in done.stderr and "runtime error" not in done.stderr, done.stderr
    assert done.returncode in (0, 1), done.stderr
    return Outcome(done.stdout, done.returncode)


def visit(server, host="localhost", **options):
    options.setdefault("ca", made.path / "root.crt")
    if SLOWLY:  # memcheck reports the search for secrets
        options.update(search=0, timeout=60000)
    options = {name: value for name, value in options.items() if value is not None}
    return run_probe(f"wss://{host}:{server.port}/stomp", **options)


def comes(condition):
    """Whether the condition becomes true soon. The server's thread may be slower than
    the client."""
    end = time.monotonic() + STEP_SECONDS
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)
    return condition()


def check_good(outcome, received=1):
    assert outcome.result == "STWS_OK", outcome.output
    assert (outcome.received, outcome.wrong) == (received, 0), outcome.output
    assert outcome.wiped or SLOWLY, outcome.output


def check_bad(outcome, result, *words, final=True):
    assert outcome.result == result, outcome.output
    assert outcome.final == final, outcome.output
    for word in words:
        assert word in outcome.text, f"{word!r} is not in {outcome.text!r}"
    assert outcome.received == 0, outcome.output


def serve(name, **options):
    """Starts a server with the certificates of NAME.pem, which uses the usual TLS version."""
    options.setdefault("oldest", options.get("newest", USUAL))
    options.setdefault("newest", options["oldest"])
    settings = {key: options.pop(key) for key in ("piece", "cut") if key in options}
    return Server(context(made.path / f"{name}.pem", **options), **settings)


def make_certificates():
    made.self_signed("root")
    made.self_signed("other")
    for i in range(9):
        made.self_signed(f"twin{i}", common="root")  # a CA with the root's name, but another key
    made.issue("root", "middle", AUTHORITY)
    made.issue("middle", "server", LOCALHOST, chain=["middle"])
    made.issue("middle", "lonely",
               LOCALHOST)  # sent without the certificate between it and the root
    made.issue("root", "rsa", LOCALHOST, key="rsa")
    made.issue("root", "ed25519", LOCALHOST, key="ed25519")
    made.issue("root", "ed25519-middle", AUTHORITY, key="ed25519")
    made.issue("ed25519-middle", "below-ed25519", LOCALHOST)
    made.issue("root", "weak", LOCALHOST, key="weak")
    made.issue("root", "expired", LOCALHOST, start="20200101000000Z", end="20210101000000Z")
    made.issue("root", "early", LOCALHOST, start="20480101000000Z", end="20490101000000Z")
    made.issue("root", "far", LOCALHOST, start="20520101000000Z", end="20530101000000Z")
    made.issue("root", "elsewhere", "subjectAltName=DNS:elsewhere.example")
    made.issue("root", "wildcard", "subjectAltName=DNS:*.stomp.example")
    made.issue("root", "common", "basicConstraints=CA:FALSE", common="localhost")
    made.issue("root", "ipcommon", "subjectAltName=IP:127.0.0.1", common="localhost")
    made.issue("root", "othercommon", "subjectAltName=DNS:elsewhere.example", common="localhost")
    made.issue("root", "mailcommon", "subjectAltName=email:a@localhost", common="localhost")
    made.issue("root", "address", "subjectAltName=IP:127.0.0.1")
    made.issue("root", "nameonly", "subjectAltName=DNS:localhost", common="127.0.0.1")
    made.issue("root", "textip", "subjectAltName=DNS:127.0.0.1,IP:127.0.0.2")
    made.issue("middle", "impostor", LOCALHOST)
    made.issue("impostor", "forged", LOCALHOST, chain=["impostor", "middle"])
    made.self_signed("selfsigned", ("basicConstraints=CA:FALSE", LOCALHOST))
    made.issue("root", "client-ec", "extendedKeyUsage=clientAuth")
    made.issue("root", "client-rsa", "extendedKeyUsage=clientAuth", key="rsa")
    made.issue("other", "client-stranger", "extendedKeyUsage=clientAuth")
    made.issue("middle", "client-below", "extendedKeyUsage=clientAuth", chain=["middle"])
    for name, usage in {"for-clients": "clientAuth", "for-code": "codeSigning",
                        "for-clients-critical": "critical,clientAuth"}.items():
        made.issue("root", name, f"{LOCALHOST}\n{USAGE}{usage}")
    for name, usage in {"for-both": "clientAuth,serverAuth", "for-any": "anyExtendedKeyUsage",
                        "for-servers": "serverAuth"}.items():
        made.issue("root", name, f"{LOCALHOST}\n{USAGE}{usage}")
    for use in ("client", "server"):
        made.issue("root", f"{use}-middle", f"{AUTHORITY}\n{USAGE}{use}Auth")
        made.issue(f"{use}-middle", f"below-{use}", LOCALHOST, chain=[f"{use}-middle"])
    for number in range(TWINS):
        made.self_signed(f"twin{number}", common="twin")
        made.issue(f"twin{number}", f"child{number}", LOCALHOST)
    made.run("pkey", "-in", "client-ec.key", "-aes128", "-passout", "pass:x", "-out", "locked.key")
    made.run("ec", "-in", "client-ec.key", "-out", "client-sec1.key")
    made.run("rsa", "-in", "client-rsa.key", "-traditional", "-out", "client-pkcs1.key")


# ---- trust ----

def test_a_chain_with_an_intermediate():
    with serve("server") as server:
        check_good(visit(server))
        assert server.names == ["localhost"]
        assert comes(lambda: server.ended == ["close_notify"]), server.ended


def test_the_ca_as_text():
    with serve("server") as server:
        check_good(visit(server, ca=None, pem=made.path / "root.crt"))


def test_the_ca_in_a_large_bundle():
    system = pathlib.Path(SYSTEM_BUNDLE).read_text()
    bundle = made.write("bundle.pem", system + made.text("root.crt"))
    with serve("server") as server:
        check_good(visit(server, ca=bundle))


def test_a_ca_without_its_last_line_end():
    short = made.write("short.pem", made.text("root.crt").rstrip("\n"))
    with serve("server") as server:
        check_good(visit(server, ca=short))
        check_good(visit(server, ca=None, pem=short))


def test_a_bundle_with_other_things_in_it():
    mixed = made.write("mixed.pem", "# words\r\n" + made.text("other.key")
                       + "-----BEGIN CERTIFICATE-----\nMIIBAAAA\n-----END CERTIFICATE-----\n"
                       + "-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n"
                       + made.text("root.crt").replace("\n", "\r\n"))
    with serve("server") as server:
        check_good(visit(server, ca=mixed))


def test_a_cut_off_certificate_is_no_ca():
    cut = made.write("cut.pem", made.text("root.crt")[:300])
    with serve("server") as server:
        check_bad(visit(server, ca=cut), "STWS_ERR_TLS_TRUST", "no CA")


def test_a_bundle_whose_reading_is_interrupted_bearssl():
    long = made.write("long.pem", 300 * "# words\n" + made.text("root.crt"))
    with serve("server", client_ca=made.path / "root.crt") as server:
        check_good(visit(server, ca=long, cert=made.path / "client-ec.pem", fault=errno.EINTR))


def test_files_that_cannot_be_read_to_their_end_bearssl():
    with serve("server") as server:
        check_bad(visit(server, fault=errno.EIO), "STWS_ERR_TLS_TRUST", "tls_ca_file")
        check_bad(visit(server, ca=None, insecure=1, cert=made.path / "client-ec.crt",
                  fault=errno.EIO),
                  "STWS_ERR_TLS", "tls_cert_file")


def test_no_ca_at_all_is_an_error():
    empty = made.write("empty.pem", "")
    with serve("server") as server:
        for file in (empty, made.path / "missing.pem", made.path / "root.key", made.path):
            check_bad(visit(server, ca=file), "STWS_ERR_TLS_TRUST", "tls_ca_file")
        check_bad(visit(server, ca=None, pem=made.path / "root.key"), "STWS_ERR_TLS_TRUST", "no CA")


def test_the_system_does_not_know_our_ca():
    with serve("server") as server:
        check_bad(visit(server, ca=None), "STWS_ERR_TLS_TRUST", "not known")
        assert server.ended == [] # the handshake did not end


def test_another_ca():
    with serve("server") as server:
        check_bad(visit(server, ca=made.path / "other.crt"), "STWS_ERR_TLS_TRUST", "not known")


def test_a_missing_intermediate():
    words = "not known", "the server did not send its intermediate certificate", "tls_ca_file"
    with serve("lonely") as server:
        check_bad(visit(server), "STWS_ERR_TLS_TRUST", *words)
    with s_server("lonely") as server:
        check_bad(visit(server), "STWS_ERR_TLS_TRUST", *words)
    with serve("lonely") as server:
        check_good(visit(server, ca=made.path / "middle.crt"))


def test_a_self_signed_certificate():
    with serve("selfsigned") as server:
        check_bad(visit(server), "STWS_ERR_TLS_TRUST", "not known")
        check_good(visit(server, ca=made.path / "selfsigned.crt"))


def test_an_issuer_that_is_no_ca():
    with serve("forged") as server:
        check_bad(visit(server), "STWS_ERR_TLS_TRUST",
                  "invalid CA certificate" if OPENSSL else "issuer that is no CA")


def test_expired():
    with serve("expired") as server:
        check_bad(visit(server), "STWS_ERR_TLS_TRUST", "has expired or", "clock")


def test_not_yet_valid():
    for name in ("early", "far"):
        with serve(name) as server:
            check_bad(visit(server), "STWS_ERR_TLS_TRUST", "not valid yet", "clock")


def test_a_weak_key():
    with serve("weak") as server:
        check_bad(visit(server), "STWS_ERR_TLS_TRUST", "too weak")


def test_what_a_certificate_is_for():
    """RFC 5280, section 4.2.1.12, for each certificate of the chain."""
    good = ("for-servers", "for-both", "below-server")
    for name in good if OPENSSL else (*good, "for-any"):  # OpenSSL does not accept "any"
        with serve(name) as server:
            check_good(visit(server))
    for name in ("for-clients", "for-code", "below-client"):
        with serve(name) as server:
            check_bad(visit(server), "STWS_ERR_TLS_TRUST", "extendedKeyUsage", "serverAuth")
    with serve("for-clients-critical") as server:
        check_bad(visit(server), "STWS_ERR_TLS_TRUST")
    with serve("for-clients") as server:  # the certificate is its own anchor
        check_bad(visit(server, ca=made.path / "for-clients.crt"), "STWS_ERR_TLS_TRUST",
                  "extendedKeyUsage")


def test_many_cas_of_one_name():
    bundle = made.write("twins.pem", "".join(made.text(f"twin{n}.crt") for n in range(TWINS)))
    for number in (0, 5, 6, 7, 12, TWINS - 1):
        with serve(f"child{number}") as server:
            check_good(visit(server, ca=bundle))
    others = made.write("others.pem", "".join(made.text(f"twin{n}.crt")
                                              for n in range(TWINS) if n != 7))
    with serve("child7") as server:
        check_bad(visit(server, ca=others), "STWS_ERR_TLS_TRUST", "not known")


# ---- the environment ----

def visit_with(server, variables, **options):
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update({name: str(value) for name, value in variables.items()})
    try:
        return visit(server, ca=options.pop("ca", None), **options)
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def folder(name, *certificates):
    """Makes a directory with these certificates, under the names that OpenSSL looks for."""
    path = made.path / name
    path.mkdir()
    for certificate in certificates:
        (path / f"{certificate}.pem").write_text(made.text(f"{certificate}.crt"))
    made.run("rehash", str(path))
    return path


def test_ssl_cert_file_and_ssl_cert_dir():
    root, other = made.path / "root.crt", made.path / "other.crt"
    with_root, without = folder("with-root", "other", "root"), folder("without", "other")
    with serve("server") as server:
        for variables in ({"SSL_CERT_FILE": root}, {"SSL_CERT_DIR": with_root},
                          {"SSL_CERT_DIR": f"{without}:{with_root}"},
                          {"SSL_CERT_DIR": f"{with_root}:/nowhere"},
                          {"SSL_CERT_FILE": other, "SSL_CERT_DIR": with_root},
                          {"SSL_CERT_FILE": root, "SSL_CERT_DIR": without}):
            check_good(visit_with(server, variables))
        for variables in ({"SSL_CERT_FILE": other}, {"SSL_CERT_DIR": without},
        {"SSL_CERT_FILE": ""},
                          {"SSL_CERT_FILE": other, "SSL_CERT_DIR": without}):
            check_bad(visit_with(server, variables), "STWS_ERR_TLS_TRUST", "not known")


def test_the_options_come_before_the_environment():
    root, other = made.path / "root.crt", made.path / "other.crt"
    with serve("server") as server:
        check_bad(visit_with(server, {"SSL_CERT_FILE": root}, ca=other), "STWS_ERR_TLS_TRUST",
                  "not known")
        check_bad(visit_with(server, {"SSL_CERT_FILE": root}, pem=other), "STWS_ERR_TLS_TRUST",
                  "not known")
        check_good(visit_with(server, {"SSL_CERT_FILE": other}, ca=root))


def test_an_environment_that_names_nothing_bearssl():
    with serve("server") as server:
        for variables in ({"SSL_CERT_FILE": "/nowhere"}, {"SSL_CERT_DIR": "/nowhere"}):
            check_bad(visit_with(server, variables), "STWS_ERR_TLS_TRUST", "no CA", *variables)


def test_the_environment_of_a_setuid_program_bearssl():
    """The environment belongs to the caller. A caller must not choose the CAs of a program with
    more rights."""
    with serve("server") as server:
        for rights in (1, 2):
            check_bad(visit_with(server, {"SSL_CERT_FILE": made.path / "root.crt"}, setuid=rights),
                      "STWS_ERR_TLS_TRUST", "not known")


def test_insecure_takes_anybody():
    for name in ("selfsigned", "expired", "elsewhere", "weak", "rsa", "common", "for-clients"):
        with serve(name) as server:
            check_good(visit(server, ca=None, insecure=1))


# ---- names and addresses ----

def test_another_name():
    with serve("elsewhere") as server:
        check_bad(visit(server), "STWS_ERR_TLS_TRUST", "another host", "localhost")


def test_the_common_name_does_not_count():
    """RFC 9110, section 4.3.4: a client must not accept the common name as the server's name."""
    for name in ("common", "ipcommon", "mailcommon", "othercommon"):
        with serve(name) as server:
            check_bad(visit(server), "STWS_ERR_TLS_TRUST", "another host", "localhost",
                      "subjectAltName")
    with serve("ipcommon") as server:
        check_good(visit(server, host="127.0.0.1"))


def test_wildcards():
    with serve("wildcard") as server:
        for host in ("a.stomp.example", "A.Stomp.EXAMPLE"):
            check_good(visit(server, host, addresses="127.0.0.1"))
        for host in ("a.b.stomp.example", "stomp.example", "astomp.example"):
            check_bad(visit(server, host, addresses="127.0.0.1"), "STWS_ERR_TLS_TRUST",
                      "another host")


def test_an_address():
    with serve("address") as server:
        check_good(visit(server, "127.0.0.1"))
        assert server.names == [None]  # SNI must not contain an address
        check_bad(visit(server), "STWS_ERR_TLS_TRUST", "another host")


def test_an_address_that_is_only_a_name():
    for name in ("nameonly", "textip", "elsewhere"):
        with serve(name) as server:
            check_bad(visit(server, "127.0.0.1"), "STWS_ERR_TLS_TRUST", "another host", "127.0.0.1")


def test_an_ipv6_address():
    with serve("server") as server:
        check_good(visit(server, "[::1]", addresses="127.0.0.1"))
        check_bad(visit(server, "[::2]", addresses="127.0.0.1"), "STWS_ERR_TLS_TRUST",
                  "another host")


# ---- pins ----

def test_pins():
    pin, wrong = made.spki_hash("server"), made.spki_hash("root")
    good = (pin.hex(), pin.hex().upper(), base64.b64encode(pin).decode(),
            "sha256//" + base64.b64encode(pin).decode(), f"{wrong.hex()};{pin.hex()}")
    with serve("server") as server:
        for text in good:
            check_good(visit(server, pin=text))
        for text in (wrong.hex(), pin.hex()[:-1], "", "x"):
            check_bad(visit(server, pin=text), "STWS_ERR_TLS_TRUST", "tls_pin")


def test_a_pin_holds_for_a_resumed_session():
    with serve("server") as server:
        check_good(visit(server, pin=made.spki_hash("server").hex(), rounds=3), received=3)
        assert server.resumed == [False, True, True], server.resumed


def test_a_pin_is_no_substitute_for_the_rest():
    pin = made.spki_hash("selfsigned").hex()
    with serve("selfsigned") as server:
        check_bad(visit(server, pin=pin), "STWS_ERR_TLS_TRUST", "not known")
        check_good(visit(server, ca=None, pin=pin, insecure=1))
        check_bad(visit(server, ca=None, pin="00" * 32, insecure=1), "STWS_ERR_TLS_TRUST",
                  "tls_pin")


# ---- the client's certificate ----

def test_client_certificates():
    keys = {"client-ec": ("client-ec.key", "client-sec1.key", "client-ec.pem"),
            "client-rsa": ("client-rsa.key", "client-pkcs1.key", "client-rsa.pem"),
            "client-below": ("client-below.key",)}
    with serve("server", client_ca=made.path / "root.crt") as server:
        for name, files in keys.items():
            for file in files:
                check_good(visit(server, cert=made.path / f"{name}.pem", key=made.path / file))
                subject = server.peers[-1]["subject"]
                assert subject == ((("commonName", name),),), subject
        check_good(visit(server, cert=made.path / "client-ec.pem"))  # the key is in the same file


def test_a_missing_client_certificate():
    with serve("server", client_ca=made.path / "root.crt") as server:
        check_bad(visit(server), "STWS_ERR_TLS", "tls_cert_file")


def test_a_client_certificate_of_a_stranger():
    with serve("server", client_ca=made.path / "root.crt") as server:
        check_bad(visit(server, cert=made.path / "client-stranger.pem"), "STWS_ERR_TLS",
                  "tls_cert_file", "unknown ca" if OPENSSL else "alert 48")


def test_a_client_certificate_that_is_asked_for_late_openssl():
    """The server requests the certificate after the handshake, as Apache does for a location."""
    with serve("server", newest=TLS_1_3, client_ca=made.path / "root.crt", late=True) as server:
        check_good(visit(server, cert=made.path / "client-ec.pem", sends=3), received=3)
        assert comes(lambda: server.ended == ["close_notify"]), server.ended
        assert server.peers[0]["subject"] == ((("commonName", "client-ec"),),), server.peers
        words = [STOMP_CAT, f"wss://localhost:{server.port}/", "--ca", made.path / "root.crt",
                 "-s", "/topic/a", "-t", "10", "--no-reconnect"]
        done = subprocess.run(words, capture_output=True, text=True, check=False,
        timeout=RUN_SECONDS)
        assert done.returncode == 1 and "tls_cert_file" in done.stderr, done


def test_client_files_that_cannot_be_used():
    with serve("server") as server:
        for file in ("missing.pem", "client-ec.key"):
            check_bad(visit(server, cert=made.path / file), "STWS_ERR_TLS", "tls_cert_file", file)
        for file in ("missing.pem", "client-ec.crt", "locked.key"):
            check_bad(visit(server, cert=made.path / "client-ec.crt", key=made.path / file),
                      "STWS_ERR_TLS", "tls_key_file", file)


# ---- the protocol ----

def test_rsa_and_ciphers():
    gcm_first = "aes" in pathlib.Path("/proc/cpuinfo").read_text().split()
    with serve("rsa") as server:
        check_good(visit(server))
    with serve("rsa", ciphers="ECDHE+CHACHA20@SECLEVEL=0") as server:
        check_good(visit(server))
    with serve("rsa", ciphers="ECDHE+AESGCM@SECLEVEL=0") as server:
        check_good(visit(server))
        first = "ECDHE-RSA-AES256-GCM-SHA384" if OPENSSL else "ECDHE-RSA-AES128-GCM-SHA256"
        assert not gcm_first or USUAL == TLS_1_3 or server.ciphers == [first], server.ciphers


def test_no_cipher_in_common():
    with serve("rsa", ciphers="AES128-SHA@SECLEVEL=0", newest=TLS_1_2) as server:
        check_bad(visit(server), "STWS_ERR_TLS", "shares no cipher", "tls_cert_file")


def test_a_server_with_tls_1_3_only_bearssl():
    words = "speaks only TLS 1.3", "BearSSL ends at 1.2", "stws_openssl()"
    with serve("server", newest=TLS_1_3) as server:
        check_bad(visit(server), "STWS_ERR_TLS", *words)
    with s_server("server", version="-tls1_3") as server:
        check_bad(visit(server), "STWS_ERR_TLS", *words)


def test_a_server_with_tls_1_3_only_openssl():
    with serve("server", newest=TLS_1_3) as server:
        check_good(visit(server, sends=3), received=3)
        assert server.versions == ["TLSv1.3"], server.versions
    with s_server("server", version="-tls1_3") as server:
        check_good(visit(server, sends=3), received=3)


def test_a_server_that_offers_tls_1_3_too():
    with serve("server", oldest=TLS_1_2, newest=TLS_1_3) as server:
        check_good(visit(server))
        assert server.versions == ["TLSv1.3" if OPENSSL else "TLSv1.2"], server.versions


def test_http_1_1_is_offered_openssl():
    """ALPN: a server that also supports HTTP/2 must answer in HTTP/1.1."""
    with serve("server", protocols=["h2", "http/1.1"]) as server:
        check_good(visit(server))
        assert server.protocols == ["http/1.1"], server.protocols


def test_a_server_without_http_1_1_openssl():
    with s_server("server", "-alpn", "h2") as server:
        check_bad(visit(server), "STWS_ERR_TLS", "HTTP/1.1 (ALPN)")


def test_a_server_with_tls_1_1_only():
    oldest = ssl.TLSVersion.TLSv1_1
    with serve("server", oldest=oldest, newest=oldest) as server:
        outcome = visit(server)
        check_bad(outcome, "STWS_ERR_TLS")


class Answer(Listener):
    """A server that sends the same answer to everything, and closes its half of the connection."""

    def __init__(self, data):
        self._data = data
        super().__init__()

    def serve(self, connection):
        connection.recv(65536)
        connection.sendall(self._data)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65536):
            pass


class Flood(Listener):
    """A server that sends the same bytes again and again until the client closes."""

    def __init__(self, data):
        self._data = 2000 * data
        super().__init__()

    def serve(self, connection):
        connection.recv(65536)
        while True:
            connection.sendall(self._data)


def test_records_with_nothing_in_them_openssl():
    with Flood(bytes([21, 3, 3, 0, 2, 1, 90])) as flood:
        url = f"wss://localhost:{flood.port}/"
        check_bad(run_probe(url, ca=made.path / "root.crt"), "STWS_ERR_TLS", "too many warn alerts",
                  final=False)


def test_records_with_nothing_in_them_bearssl():
    with Flood(bytes([21, 3, 3, 0, 2, 1, 90])) as flood:  # warnings without effect
        url = f"wss://localhost:{flood.port}/"
        check_bad(run_probe(url, ca=made.path / "root.crt", handshake=300), "STWS_ERR_TIMEOUT",
                  "TLS handshake", final=False)


def test_an_end_before_the_beginning():
    with Answer(bytes([21, 3, 3, 0, 2, 1, 0])) as server:  # close_notify
        check_bad(visit(server), "STWS_ERR_TLS", "in the handshake", final=False)


def test_a_name_with_its_dot():
    with serve("server") as server:
        check_good(visit(server, host="localhost.", addresses="127.0.0.1"))


def test_what_is_no_tls_server():
    answers = {b"HTTP/1.1 400 Bad Request\r\n\r\n": ("not TLS", True), b"": ("speak TLS", False),
               b"CONNECTED\nversion:1.2\n\n\0": ("not TLS", True)}
    for data, (words, final) in answers.items():
        with Answer(data) as server:
            check_bad(visit(server), "STWS_ERR_TLS", words, final=final)


def test_alerts():
    cases = {40: ("cipher", True), 70: ("TLS", True), 48: ("tls_cert_file", True),
             42: ("tls_cert_file", True), 116: ("tls_cert_file", True), 112: ("SNI", True),
             120: ("ALPN", True),
             80: ("internal error" if OPENSSL else "alert 80", False),
             22: ("record overflow" if OPENSSL else "alert 22", False)}
    for number, (words, final) in cases.items():
        with Answer(bytes([21, 3, 3, 0, 2, 2, number])) as server:
            check_bad(visit(server), "STWS_ERR_TLS", words, final=final)


def test_a_handshake_that_does_not_end():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"wss://localhost:{silent.getsockname()[1]}/"
        check_bad(run_probe(url, ca=made.path / "root.crt", handshake=300), "STWS_ERR_TIMEOUT",
                  "TLS handshake", final=False)


def test_byte_by_byte():
    with serve("server") as server, Relay(server.port, hold=0.3) as relay:
        outcome = visit(relay)
        check_good(outcome)
        assert outcome.saw_tls, outcome.output


def test_records_of_one_byte():
    with serve("server", piece=1) as server:
        check_good(visit(server, sends=3), received=3)


def test_large_bodies_both_ways():
    with serve("server") as server:
        check_good(visit(server, size=1000000, sends=5, timeout=20000), received=5)
        check_good(visit(server, size=100, sends=2000, timeout=20000), received=2000)


def test_cut_off_in_the_handshake():
    with serve("server") as server:
        for limit in (1, 100, 1000):
            with Relay(server.port, limit=limit) as relay:
                check_bad(visit(relay), "STWS_ERR_TLS", "handshake", final=False)


def test_cut_off_in_the_session():
    def cut(stream):
        stream.shutdown(socket.SHUT_RDWR)

    with serve("server", cut=cut) as server:
        check_bad(visit(server), "STWS_ERR_TLS", "cut off", final=False)


def test_close_notify_without_a_close_frame():
    def cut(stream):
        stream.unwrap()

    with serve("server", cut=cut) as server:
        check_bad(visit(server), "STWS_ERR_EOF", final=False)


class Blackhole:
    """An address that does not answer, at a port where another loopback address does. Its queue of
    connections is full, so Linux drops new ones."""

    address = "127.0.0.2"

    def __init__(self, port):
        self._socket = socket.socket()
        self._socket.bind((self.address, port))
        self._socket.listen(0)
        self._waiting = []
        while self._takes_one_more():
            pass

    def _takes_one_more(self):
        self._waiting.append(socket.socket())
        self._waiting[-1].settimeout(0.3)
        try:
            self._waiting[-1].connect(self._socket.getsockname())
        except TimeoutError:
            return False
        return True

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for each in (self._socket, *self._waiting):
            each.close()


def test_an_address_that_is_a_black_hole():
    """The next address is tried and TLS is established with it, long before the time of the first
    address is over."""
    with serve("server") as server, Blackhole(server.port) as hole:
        check_good(visit(server, addresses=f"{hole.address},127.0.0.1", timeout=8000,
                   handshake=60000))
        assert server.names == ["localhost"], server.names


def test_sessions_are_resumed():
    with serve("server") as server:
        check_good(visit(server, rounds=3), received=3)
        assert server.resumed == [False, True, True], server.resumed


def test_a_session_is_not_resumed_at_another_host():
    # The server and the port are the same, but the name is not in the certificate. A resumed
    # session would not check the certificate again.
    with serve("server") as server:
        stranger = f"wss://elsewhere.example:{server.port}/stomp"
        outcome = visit(server, again=stranger, addresses="127.0.0.1", rounds=2, soon=1)
        assert outcome.result == "STWS_ERR_TLS_TRUST", outcome.output
        assert "another host" in outcome.text and "elsewhere.example" in outcome.text, outcome.text
        assert outcome.final and outcome.received == 1, outcome.output
        assert server.names == ["localhost", "elsewhere.example"], server.names
        assert server.resumed == [False], server.resumed  # the second handshake did not end


def test_a_session_is_not_resumed_at_another_port():
    with serve("server") as server, Relay(server.port, piece=16384) as relay:
        again = f"wss://localhost:{relay.port}/stomp"
        check_good(visit(server, again=again, rounds=3), received=3)
        assert server.resumed == [False, False, True], server.resumed


def test_a_session_is_resumed_at_its_own_host_only():
    with serve("wildcard") as server:
        again = f"wss://b.stomp.example:{server.port}/stomp"
        outcome = visit(server, "a.stomp.example", again=again, addresses="127.0.0.1", rounds=3)
        check_good(outcome, received=3)
        assert server.resumed == [False, False, True], server.resumed


def test_wss_that_only_before_connect_brings():
    with serve("server") as server:
        later, ca = f"wss://localhost:{server.port}/stomp", made.path / "root.crt"
        check_bad(run_probe("ws://localhost:1/", later=later, ca=ca), "STWS_ERR_TLS",
                  "the options of stws_create need a wss:// URL")
        check_good(run_probe("wss://localhost:1/", later=later, ca=ca))


# ---- openssl s_server ----

def s_server(name, *options, **settings):
    settings.setdefault("version", "-tls1_2")
    if name == "server":
        options += ("-cert_chain", made.path / "middle.crt")
    return OpensslServer(made.path / f"{name}.pem", *options, **settings)


def test_s_server():
    for name in ("server", "rsa"):
        for options in ((), ("-cipher", "AES256"), ("-cipher", "CHACHA20"), ("-no_ticket",),
                        ("-serverpref",), ("-named_curve", "P-384")):
            with s_server(name, *options) as server:
                check_good(visit(server, sends=3), received=3)


def test_s_server_fragments_the_handshake():
    with s_server("server", "-max_send_frag", "512") as server:
        check_good(visit(server, size=3000))


def test_s_server_splits_records():
    with s_server("server", "-split_send_frag", "600") as server:
        check_good(visit(server, size=3000))


def test_s_server_wants_a_certificate():
    words = ("-Verify", "1", "-verify_return_error", "-CAfile", made.path / "root.crt")
    with s_server("server", *words) as server:
        check_good(visit(server, cert=made.path / "client-rsa.pem"))
    with s_server("server", *words) as server:
        check_bad(visit(server), "STWS_ERR_TLS", "tls_cert_file")


def test_a_chain_that_is_out_of_order():
    chain = ("-cert_chain", made.path / "other.crt")
    with OpensslServer(made.path / "server.pem", *chain) as server:
        check_bad(visit(server), "STWS_ERR_TLS_TRUST", "not known" if OPENSSL else "out of order")


def test_renegotiation_is_refused():
    """Renegotiation in a session is retried. Before the upgrade is answered it would happen again,
    so the client ends."""
    for when, final in (("session", False), ("upgrade", True)):
        with s_server("server", renegotiate=when) as server:
            check_bad(visit(server, timeout=20000), "STWS_ERR_TLS",
                      "handshake anew" if OPENSSL else "another handshake within the session",
                      "client certificate", final=final)
            assert comes(lambda: b"no renegotiation" in server.said), server.said


def test_an_ed25519_certificate_bearssl():
    with s_server("ed25519") as server:
        check_bad(visit(server), "STWS_ERR_TLS", "not Ed25519")
    with s_server("below-ed25519", "-cert_chain", made.path / "ed25519-middle.crt") as server:
        check_bad(visit(server), "STWS_ERR_TLS_TRUST", "Ed25519")


def test_an_ed25519_certificate_openssl():
    with s_server("ed25519") as server:
        check_good(visit(server))
    with s_server("below-ed25519", "-cert_chain", made.path / "ed25519-middle.crt") as server:
        check_good(visit(server))


def test_stomp_cat():
    with serve("server", client_ca=made.path / "root.crt") as server:
        url = f"wss://localhost:{server.port}/stomp"
        words = ["--ca", made.path / "root.crt", "--cert", made.path / "client-ec.crt", "--key",
                 made.path / "client-ec.key", "--pin", made.spki_hash("server").hex()]
        done = subprocess.run([STOMP_CAT, url, *words, "-s", "/topic/a", "-d", "/topic/a", "-m",
                               "über TLS", "-n", "1", "-t", "10"], capture_output=True, text=True,
                              check=False, timeout=RUN_SECONDS)
        assert (done.returncode, done.stdout) == (0, "über TLS\n"), done
    with serve("expired") as server:
        url = f"wss://localhost:{server.port}/stomp"
        words = [STOMP_CAT, url, "--ca", made.path / "root.crt", "-s", "/topic/a", "-d", "/topic/a",
                 "-m", "x", "-n", "1", "-t", "10"]
        done = subprocess.run(words, capture_output=True, text=True, check=False,
                              timeout=RUN_SECONDS)
        assert done.returncode == 1 and "expired" in done.stderr, done
        done = subprocess.run([*words, "--insecure"], capture_output=True, text=True, check=False,
                              timeout=RUN_SECONDS)
        assert (done.returncode, done.stdout) == (0, "x\n"), done


def test_threads():
    with serve("server") as server:
        words = [THREADS, f"wss://localhost:{server.port}/stomp", made.path / "root.crt", "500"]
        done = subprocess.run(words, capture_output=True, text=True, check=False,
                              timeout=2 * RUN_SECONDS)
        assert (done.returncode, done.stdout) == (0, "done\n\n"), done


# One test of each kind. Together they run all parts of the header that only wss:// uses.
SOON_DONE = (
    "test_a_chain_with_an_intermediate", "test_the_ca_as_text",
    "test_a_bundle_with_other_things_in_it", "test_no_ca_at_all_is_an_error",
    "test_insecure_takes_anybody", "test_an_address", "test_expired",
    "test_a_pin_is_no_substitute_for_the_rest", "test_client_files_that_cannot_be_used",
    "test_a_missing_client_certificate", "test_rsa_and_ciphers", "test_what_is_no_tls_server",
    "test_cut_off_in_the_handshake", "test_cut_off_in_the_session", "test_sessions_are_resumed",
    "test_records_of_one_byte", "test_renegotiation_is_refused")


def main():
    global made
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        os.environ.pop(name, None)
    wanted = SOON_DONE if SLOWLY else ARGUMENTS[3:]
    other = "_bearssl" if OPENSSL else "_openssl"
    tests = {name: test for name, test in globals().items() if not name.endswith(other)}
    with tempfile.TemporaryDirectory() as folder:
        made = Folder(pathlib.Path(folder))
        make_certificates()
        return run_tests(tests, wanted)


if __name__ == "__main__":
    sys.exit(main())

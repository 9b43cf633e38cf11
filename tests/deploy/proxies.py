"""nginx, haproxy, Apache and Caddy as reverse proxies, each with its own configuration.

    with Nginx(folder, certificates, backend=broker.port) as nginx:
        client.connect(nginx.url(tls=True))
        nginx.reload(status=404)

A proxy listens on one port for ws:// and on another port for wss://. Its settings:

    backend      the port to which it passes requests
    upgrade      False: leave out the lines that pass on the WebSocket upgrade
    status       answer every request with this status instead of passing it on
    headers      headers of that answer, such as {"Retry-After": "1"}
    idle_s       seconds without traffic after which it ends a connection
    answer_s     seconds after which it stops waiting for the backend's answer
    tls_version  nginx only: accept only this version, such as "TLSv1.3"
    client_ca    require client certificates that this authority has signed
    per_location Apache only: require them after the request, by renegotiation (TLS 1.2)
"""

import contextlib
import http.client
import os
import shutil
import signal
import socket
import subprocess
import time

import broker
from deploy import Failure, PATH, end_process, wait_until

ATTEMPTS = 3
# The old process may keep its connections for this long after a reload.
LINGER_S = 1
MODULES = "/usr/lib/apache2/modules"


class Proxy:
    """What the four proxies have in common."""

    name = program = None
    # What happens to open sessions during a reload.
    reload_ends_sessions = True

    def __init__(self, folder, certificates, host="127.0.0.1", port=None, **settings):
        self.host = host
        self._fixed_port = port
        self.certificates = certificates
        self.settings = {"backend": None, "upgrade": True, "status": None, "headers": {},
                         "idle_s": 60, "answer_s": 3, "tls_version": None,
                         "client_ca": None, "per_location": False,
                         **settings}
        self.port = self.tls_port = None
        self._generation = 0
        self._process = None
        self.folder = folder
        self.log = folder / "log"

    @classmethod
    def missing(cls):
        """The name of the program, if this machine lacks it."""
        path = os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin"
        return None if shutil.which(cls.program, path=path) else cls.program

    def url(self, tls=False, path=PATH):
        scheme, port = ("wss", self.tls_port) if tls else ("ws", self.port)
        return f"{scheme}://{self.host}:{port}{path}"

    def start(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        for attempt in range(1, ATTEMPTS + 1):
            self.port, self.tls_port = self._fixed_port or broker.free_port(), broker.free_port()
            self._choose_ports()
            self._write()
            with self.log.open("ab") as log:
                self._process = subprocess.Popen(
                    self._command(), stdin=subprocess.DEVNULL, stdout=log,
                    stderr=subprocess.STDOUT, cwd=self.folder, env=self._environment(),
                    start_new_session=True)
            try:
                wait_until(self._is_current, f"{self.name} serves", 10)
                return self
            except Failure as failure:
                self.stop()
                text = broker.tail(self.log)
                if attempt == ATTEMPTS or not broker.PORT_IS_TAKEN.search(text):
                    raise Failure(f"{failure}\n{text}") from None

    def reload(self, **changes):
        """Writes a new configuration and loads it. Returns when new connections use it."""
        self.settings.update(changes)
        self._write()
        self._reload()
        try:
            wait_until(self._is_current, f"{self.name} has reloaded", 15)
        except Failure as failure:
            raise Failure(f"{failure}\n{broker.tail(self.log)}") from None
        return time.monotonic()

    def stop(self):
        if self._process:
            end_process(self._process)
        self._process = None

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            self.stop()
            raise

    def __exit__(self, *exception):
        self.stop()

    def _choose_ports(self):
        """Returns more ports, if the proxy needs them."""

    def _write(self):
        self._generation += 1
        (self.folder / "conf").write_text(self._configuration())

    def _is_current(self):
        """Whether four new connections in a row use the latest configuration."""
        for _ in range(4):
            if self._generation_served() != str(self._generation):
                return False
            time.sleep(0.03)
        return True

    def _generation_served(self):
        if self._process.poll() is not None:
            raise Failure(f"{self.name} ended with {self._process.returncode}")
        connection = http.client.HTTPConnection(self.host, self.port, timeout=5)
        with contextlib.suppress(OSError, http.client.HTTPException):
            connection.request("GET", "/generation")
            return connection.getresponse().getheader("X-Generation")
        connection.close()
        return None

    def _environment(self):
        return {**os.environ, "PATH": os.environ.get("PATH", "") + ":/usr/sbin"}

    def _command(self):
        raise NotImplementedError

    def _configuration(self):
        raise NotImplementedError

    def _reload(self):
        raise NotImplementedError


class Nginx(Proxy):
    name = "nginx"
    program = "nginx"

    def _command(self):
        return ["nginx", "-p", str(self.folder), "-c", str(self.folder / "conf")]

    def _reload(self):
        subprocess.run([*self._command(), "-s", "reload"], check=True, stdin=subprocess.DEVNULL,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                       env=self._environment())

    def _location(self):
        s = self.settings
        if s["status"]:
            return [*(f'add_header {name} "{value}" always;' for name, value in
                      s["headers"].items()),
                    f'add_header X-Generation "{self._generation}" always;',
                    f"return {s['status']};"]
        lines = [f"proxy_pass http://127.0.0.1:{s['backend']};",
                 f"proxy_read_timeout {min(s['idle_s'], s['answer_s'])}s;" if not s["upgrade"] else
                 f"proxy_read_timeout {s['idle_s']}s;",
                 "proxy_set_header Host $http_host;"]
        if s["upgrade"]:
            lines += ["proxy_http_version 1.1;", "proxy_set_header Upgrade $http_upgrade;",
                      'proxy_set_header Connection "upgrade";']
        return lines

    def _configuration(self):
        s, c = self.settings, self.certificates
        verify = (f"ssl_client_certificate {s['client_ca']}; ssl_verify_client on;"
                  if s["client_ca"] else "")
        version = f"ssl_protocols {s['tls_version']};" if s["tls_version"] else ""
        temporary = "\n".join(
            f"    {kind}_temp_path {self.folder}/{kind};"
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        location = "\n            ".join(self._location())
        user = "user root;" if os.geteuid() == 0 else ""
        return f"""
daemon off; {user}
worker_processes 1;
worker_shutdown_timeout {LINGER_S}s;
pid {self.folder}/pid;
error_log {self.log} info;
events {{ worker_connections 512; }}
http {{
    access_log off;
{temporary}
    server {{
        listen {self.host}:{self.port};
        listen {self.host}:{self.tls_port} ssl;
        ssl_certificate {c.server};
        ssl_certificate_key {c.server_key};
        {version} {verify}
        location = /generation {{
            add_header X-Generation "{self._generation}" always;
            return 204;
        }}
        location / {{
            {location}
        }}
    }}
}}
"""


class Haproxy(Proxy):
    name = "haproxy"
    program = "haproxy"

    def _command(self):
        return ["haproxy", "-W", "-db", "-f", str(self.folder / "conf")]

    def _reload(self):
        self._process.send_signal(signal.SIGUSR2)

    def _configuration(self):
        s, c = self.settings, self.certificates
        verify = f" ca-file {s['client_ca']} verify required" if s["client_ca"] else ""
        headers = "".join(f" hdr {name} \"{value}\"" for name, value in s["headers"].items())
        status = (f'http-request return status {s["status"]} content-type text/plain string '
                  f'"answered by haproxy"{headers}' if s["status"] else "")
        upgrade = "" if s["upgrade"] else "http-request del-header Upgrade"
        return f"""
global
    hard-stop-after {LINGER_S}s
defaults
    mode http
    timeout connect 3s
    timeout client {s['answer_s']}s
    timeout server {s['answer_s']}s
    timeout tunnel {s['idle_s']}s
    retries 0
frontend front
    bind {self.host}:{self.port}
    bind {self.host}:{self.tls_port} ssl crt {c.server_pem}{verify}
    http-after-response set-header X-Generation {self._generation}
    http-request return status 204 if {{ path /generation }}
    {status}
    {upgrade}
    default_backend back
backend back
    server one 127.0.0.1:{s['backend'] or 1}
"""


class Apache(Proxy):
    """ws:// uses mod_proxy_wstunnel. wss:// uses mod_proxy_http with upgrade=websocket."""

    name = "apache"
    program = "apache2"
    # During a graceful restart, the old process lives as long as it has sessions.
    reload_ends_sessions = False

    def _command(self):
        return ["apache2", "-d", str(self.folder), "-f", str(self.folder / "conf"), "-DFOREGROUND"]

    def _reload(self):
        """Does the same as `apachectl graceful`."""
        self._process.send_signal(signal.SIGUSR1)

    def _pass(self, how):
        s = self.settings
        address = f"127.0.0.1:{s['backend']}/"
        idle = f"timeout={s['idle_s']}"
        if s["status"]:
            sets = [f'Header always set {name} "{value}"' for name, value in s["headers"].items()]
            return [*sets, f"RedirectMatch {s['status']} ^/(?!generation)"]
        if not s["upgrade"]:
            return [f'ProxyPass "/" "http://{address}" {idle}']
        if how == "tunnel":
            return ["ProxyWebsocketFallbackToProxyHttp Off",
                    f'ProxyPass "/" "ws://{address}" {idle}']
        return [f'ProxyPass "/" "http://{address}" upgrade=websocket {idle}']

    def _configuration(self):
        s, c = self.settings, self.certificates
        lines = [f"LoadModule {name}_module {MODULES}/mod_{name}.so" for name in (
            "mpm_event", "authz_core", "alias", "headers", "proxy", "proxy_http", "proxy_wstunnel",
            "socache_shmcb", "ssl")]
        lines += [f"DefaultRuntimeDir {self.folder}", f"PidFile {self.folder}/pid",
                  f"ErrorLog {self.log}", "ServerName localhost", f"DocumentRoot {self.folder}",
                  f"Mutex file:{self.folder} default", "StartServers 1", "ThreadsPerChild 32",
                  "MaxRequestWorkers 128", "ServerLimit 4", "LogLevel warn",
                  f"GracefulShutdownTimeout {LINGER_S}", f"ProxyTimeout {s['idle_s']}",
                  f"Timeout {s['idle_s']}",  # the longer one of the two ends a tunnel
                  f'Header always set X-Generation "{self._generation}"']
        if os.geteuid() == 0:
            lines += ["User www-data", "Group www-data"]
        lines += [f"Listen {self.host}:{self.port}", f"Listen {self.host}:{self.tls_port} https"]
        skip = ['ProxyPass "/generation" "!"']
        lines += [f"<VirtualHost *:{self.port}>", *skip, *self._pass("tunnel"), "</VirtualHost>"]
        verify = ["SSLVerifyClient require", f"SSLCACertificateFile {s['client_ca']}"]
        if not s["client_ca"]:
            verify = []
        elif s["per_location"]:
            verify = [verify[1], "SSLProtocol -all +TLSv1.2",
                      '<Location "/">', verify[0], "</Location>"]
        lines += [f"<VirtualHost *:{self.tls_port}>", "SSLEngine on",
                  f"SSLCertificateFile {c.server}", f"SSLCertificateKeyFile {c.server_key}",
                  *verify, *skip, *self._pass("upgrade"), "</VirtualHost>"]
        return "\n".join(lines) + "\n"


class Caddy(Proxy):
    name = "caddy"
    program = "caddy"

    def _choose_ports(self):
        self._admin = broker.free_port()

    def _command(self):
        return ["caddy", "run", "--config", str(self.folder / "conf"), "--adapter", "caddyfile"]

    def _reload(self):
        subprocess.run(["caddy", "reload", "--config", str(self.folder / "conf"), "--adapter",
                        "caddyfile", "--address", f"127.0.0.1:{self._admin}"], check=True,
                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL, env=self._environment())

    def _environment(self):
        return {**super()._environment(), "HOME": str(self.folder),
                "XDG_DATA_HOME": str(self.folder), "XDG_CONFIG_HOME": str(self.folder)}

    def _answer(self):
        s = self.settings
        if s["status"]:
            return [*(f'header {name} "{value}"' for name, value in s["headers"].items()),
                    f'respond "answered by caddy" {s["status"]}']
        drop = [] if s["upgrade"] else ["header_up -Upgrade", "header_up -Connection"]
        return [f"reverse_proxy 127.0.0.1:{s['backend']} {{", *drop, "transport http {",
                f"response_header_timeout {s['answer_s']}s", "}", "}"]

    def _configuration(self):
        s, c = self.settings, self.certificates
        verify = (f"{{\nclient_auth {{\nmode require_and_verify\ntrusted_ca_cert_file "
                  f"{s['client_ca']}\n}}\n}}" if s["client_ca"] else "")
        answer = "\n".join(self._answer())
        return f"""
{{
    admin 127.0.0.1:{self._admin}
    auto_https off
    skip_install_trust
    grace_period {LINGER_S}s
    storage file_system {self.folder}/storage
}}
(common) {{
    bind {self.host}
    header X-Generation {self._generation}
    handle /generation {{
        respond 204
    }}
    handle {{
        {answer}
    }}
}}
http://:{self.port} {{
    import common
}}
https://:{self.tls_port} {{
    tls {c.server} {c.server_key} {verify}
    import common
}}
"""


ALL = (Nginx, Haproxy, Apache, Caddy)


def is_free(host, port):
    """Whether this port is also free at that address."""
    with socket.socket() as probe, contextlib.suppress(OSError):
        probe.bind((host, port))
        return True
    return False

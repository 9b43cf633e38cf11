"""Certificates for a test, made by the openssl command line in a folder."""

import hashlib
import subprocess

CONFIG = """
[ca]
default_ca = here
[here]
database = index.txt
serial = serial
new_certs_dir = .
default_md = sha256
default_days = 30
policy = any
unique_subject = no
email_in_dn = no
rand_serial = yes
[any]
commonName = supplied
[req]
distinguished_name = name
prompt = no
[name]
CN = unnamed
"""
KEYS = {
    "ec": ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"],
    "rsa": ["rsa:2048"],
    "ed25519": ["ed25519"],
    "weak": ["rsa:1024"],
}
AUTHORITY = "basicConstraints=critical,CA:TRUE"


class Folder:
    """Each method makes NAME.pem (certificate and key, for a server) in the folder, and its parts
    NAME.crt and NAME.key. It returns the path of NAME.pem."""

    def __init__(self, path):
        self.path = path
        (path / "openssl.cnf").write_text(CONFIG)
        (path / "index.txt").touch()

    def run(self, *command):
        done = subprocess.run(["openssl", *command], cwd=self.path, capture_output=True, text=True,
                              check=False, timeout=60)
        if done.returncode:
            raise RuntimeError(f"openssl {' '.join(command)}: {done.stderr}")
        return done.stdout

    def text(self, name):
        return (self.path / name).read_text()

    def write(self, name, text):
        (self.path / name).write_text(text)
        return self.path / name

    def self_signed(self, name, extensions=(AUTHORITY,), key="ec", common=None):
        added = [word for extension in extensions for word in ("-addext", extension)]
        self.run("req", "-x509", "-config", "openssl.cnf", "-newkey", *KEYS[key], "-nodes",
                 "-subj", f"/CN={common or name}", "-days", "30", "-keyout", f"{name}.key",
                 "-out", f"{name}.crt", *added)
        return self._joined(name, self.text(f"{name}.crt"))

    def issue(self, issuer, name, extension, key="ec", common=None, start=None, end=None,
              chain=()):
        """Makes a certificate that `issuer` signs. `chain`: names of the certificates that a server
        sends with it."""
        dates = ["-startdate", start, "-enddate", end] if start else []
        self.run("req", "-new", "-config", "openssl.cnf", "-newkey", *KEYS[key], "-nodes",
                 "-subj", f"/CN={common or name}", "-keyout", f"{name}.key", "-out", f"{name}.csr")
        self.write(f"{name}.ext", extension + "\n")
        self.run("ca", "-batch", "-notext", "-config", "openssl.cnf", "-in", f"{name}.csr",
                 "-cert", f"{issuer}.crt", "-keyfile", f"{issuer}.key", "-extfile", f"{name}.ext",
                 "-out", f"{name}.crt", *dates)
        return self._joined(name, "".join(self.text(f"{part}.crt") for part in (name, *chain)))

    def _joined(self, name, certificates):
        return self.write(f"{name}.pem", certificates + self.text(f"{name}.key"))

    def spki_hash(self, name):
        """Returns SHA-256 of the public key as bytes, which is the form of `tls_pin`."""
        key = subprocess.run(["openssl", "x509", "-in", f"{name}.crt", "-noout", "-pubkey"],
                             cwd=self.path, capture_output=True, check=True, timeout=60).stdout
        der = subprocess.run(["openssl", "pkey", "-pubin", "-outform", "DER"], input=key,
                             capture_output=True, check=True, timeout=60).stdout
        return hashlib.sha256(der).digest()

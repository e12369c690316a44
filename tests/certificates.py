"""A certificate of this machine, made anew for every test run."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path


def written_to(directory: Path) -> Path:
    """A file with key and certificate; the certificate alone is in the file of the same name and ``.crt``."""
    path = directory / "both.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-keyout", str(path), "-out", f"{path}.crt", "-days", "1", "-subj", "/CN=localhost"]
    names = "subjectAltName=IP:127.0.0.1,DNS:localhost"
    subprocess.run([*command, "-addext", names], check=True, capture_output=True)
    path.write_bytes(path.read_bytes() + Path(f"{path}.crt").read_bytes())
    return path


def server_context(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context

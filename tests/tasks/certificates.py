"""Certificates that nobody knows."""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec


def certified(folder: Path, *, name: str = "127.0.0.1", days: int = 1) -> ssl.SSLContext:
    """A server's own, with a certificate that it has signed itself, good for so many days from now on."""
    key = ec.generate_private_key(ec.SECP256R1())
    who = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "x")])
    now = datetime.datetime.now(datetime.UTC)
    known: x509.GeneralName = x509.DNSName(name)
    with contextlib.suppress(ValueError):
        known = x509.IPAddress(ipaddress.ip_address(name))
    builder = x509.CertificateBuilder(who, who, key.public_key(), 1)
    builder = builder.not_valid_before(now - datetime.timedelta(9)).not_valid_after(now + datetime.timedelta(days))
    builder = builder.add_extension(x509.SubjectAlternativeName([known]), critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    certificate = builder.sign(key, hashes.SHA256())
    path = folder / "server.pem"
    plain = serialization.NoEncryption(), serialization.Encoding.PEM
    private = key.private_bytes(plain[1], serialization.PrivateFormat.TraditionalOpenSSL, plain[0])
    path.write_bytes(private + certificate.public_bytes(plain[1]))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context

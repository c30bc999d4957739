"""A certificate authority for one run: it signs one certificate for the driver and one for the cluster, and is forgotten."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from distributed import Security

LIFETIME = timedelta(days=8)
"""Above the longest run: a Job's deadline is at most a week."""


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A certificate and its key, in PEM."""

    certificate: str
    """The certificate."""
    key: str
    """The private key."""

    def __repr__(self) -> str:
        """Show nothing: the key must not reach a log."""
        return "Pair(…)"


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """What the driver and the cluster prove themselves with, each to the other."""

    authority: str
    """The authority's certificate, in PEM; its key is gone."""
    driver: Pair
    """The driver's."""
    cluster: Pair
    """The one of scheduler and workers."""

    def security(self) -> Security:
        """Return how the driver's Dask client connects: encrypted, and by certificates of this run alone."""
        from distributed import Security

        return Security(
            require_encryption=True,
            tls_ca_file=self.authority,
            tls_client_cert=self.driver.certificate,
            tls_client_key=self.driver.key,
        )

    def files(self) -> dict[str, str]:
        """Return what scheduler and workers mount, by file name."""
        return {"ca.crt": self.authority, "tls.crt": self.cluster.certificate, "tls.key": self.cluster.key}


def issue(name: str, now: datetime) -> Credentials:
    """Make an authority for the cluster `name` and sign the two certificates.

    Args:
        name: The cluster's name.
        now: The present, with a time zone; the certificates are good from an hour before, for clocks that are behind.
    """
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    authority = _certificate(f"{name} authority"[:64], key, issuer=None, signer=key, now=now)
    return Credentials(
        authority=_pem(authority),
        driver=_signed(f"{name} driver"[:64], authority, key, now),
        cluster=_signed(f"{name} cluster"[:64], authority, key, now),
    )


def _signed(name: str, authority: x509.Certificate, signer: EllipticCurvePrivateKey, now: datetime) -> Pair:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    certificate = _certificate(name, key, issuer=authority, signer=signer, now=now)
    encoded = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return Pair(certificate=_pem(certificate), key=encoded.decode())


def _certificate(
    name: str,
    key: EllipticCurvePrivateKey,
    *,
    issuer: x509.Certificate | None,
    signer: EllipticCurvePrivateKey,
    now: datetime,
) -> x509.Certificate:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.x509.oid import NameOID

    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if issuer is None else issuer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + LIFETIME)
        .add_extension(
            x509.BasicConstraints(ca=issuer is None, path_length=0 if issuer is None else None), critical=True
        )
        .sign(signer, hashes.SHA256())
    )


def _pem(certificate: x509.Certificate) -> str:
    from cryptography.hazmat.primitives.serialization import Encoding

    return certificate.public_bytes(Encoding.PEM).decode()

"""A certificate authority for the length of a test session."""

from __future__ import annotations

from pathlib import Path

import trustme
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from app.settings import HOST


class Authority:
    """Signs certificates; every path is that of a PEM file."""

    def __init__(self, directory: Path):
        self._directory = directory
        self._authority = trustme.CA()
        self.ca_file = directory / "ca.pem"
        self._authority.cert_pem.write_to_path(str(self.ca_file))

    def certificate(self, name: str) -> tuple[Path, Path]:
        """(certificate chain, key) of a server on this machine, or of a client."""
        made = self._authority.issue_cert(HOST, "localhost", common_name=name)
        chain, key = self._directory / f"{name}.pem", self._directory / f"{name}.key"
        chain.write_bytes(b"".join(blob.bytes() for blob in made.cert_chain_pems))
        key.write_bytes(_as_java_reads(made.private_key_pem.bytes()))
        return chain, key

    def both(self, name: str) -> Path:
        """Key and certificate chain in one file, as Kafka's stores of type PEM have it."""
        chain, key = self.certificate(name)
        file = self._directory / f"{name}-store.pem"
        file.write_bytes(key.read_bytes() + chain.read_bytes())
        return file


def _as_java_reads(key: bytes) -> bytes:
    return load_pem_private_key(key, None).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )

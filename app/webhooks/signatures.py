"""Signatures of what is sent: HMAC-SHA256 with a shared key, or RS256 with our own."""

from __future__ import annotations

import hmac
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Final

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256

from app.definitions.model import SignatureAlgorithm
from app.errors import SettingRefused
from app.webhooks.reasons import Reason

_LEAST_BITS: Final = 2048


class Unsigned(Exception):
    """There is no key to sign with; the text says which setting names one."""


class Signer:
    """Signs bodies for the organizations of this installation."""

    def __init__(
        self, private_key: RSAPrivateKey | None, issuer: str, hmac_keys: Mapping[str, str]
    ):
        self._private_key = private_key
        self._issuer = issuer
        self._hmac_keys = hmac_keys

    def sign(self, algorithm: SignatureAlgorithm, organization_id: str, body: bytes) -> str:
        """Return the signature of a body. Raises Unsigned."""
        if algorithm == "hmac":
            key = self._hmac_keys.get(organization_id)
            if key is None:
                raise Unsigned(Reason.NO_HMAC_KEY)
            return b64encode(hmac.digest(key.encode(), body, sha256)).decode()
        if self._private_key is None:
            raise Unsigned(Reason.NO_PRIVATE_KEY)
        return _jwt(self._private_key, {"data": body.decode(), "iss": self._issuer})


def _jwt(key: RSAPrivateKey, claims: Mapping[str, str]) -> str:
    """Return a JSON Web Token in its compact form (RFC 7515), signed with RS256."""
    signed = b".".join(_base64url(msgspec.json.encode(part)) for part in ({"alg": "RS256"}, claims))
    signature = key.sign(signed, PKCS1v15(), SHA256())
    return (signed + b"." + _base64url(signature)).decode()


def _base64url(data: bytes) -> bytes:
    return urlsafe_b64encode(data).rstrip(b"=")


def read_private_key(path: Path) -> RSAPrivateKey:
    """Read an RSA key of at least 2048 bits from a PEM file. Raises SettingRefused."""
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise SettingRefused(
            f"METER_WEBHOOK_PRIVATE_KEY_FILE: {path} holds no private key without a password "
            f"({error})."
        ) from error
    if not isinstance(key, RSAPrivateKey) or key.key_size < _LEAST_BITS:
        raise SettingRefused(
            f"METER_WEBHOOK_PRIVATE_KEY_FILE: {path} holds no RSA key of {_LEAST_BITS} bits or "
            f"more. Make one: openssl genrsa -out {path} {_LEAST_BITS}"
        )
    return key


def public_key_text(key: RSAPrivateKey) -> str:
    """Return the PEM of the public half in base64, as Lago shows it."""
    pem = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return b64encode(pem).decode()

"""How what is sent is signed."""

from __future__ import annotations

import hmac
from base64 import b64decode, urlsafe_b64decode
from hashlib import sha256
from pathlib import Path

import msgspec
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256

from app.errors import StackError
from app.webhooks.signatures import Signer, Unsigned, read_private_key

BODY = '{"webhook_type":"plan.created","name":"é"}'.encode()


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65_537, 2_048)


def decoded(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


def pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def test_hmac_is_of_the_body_with_the_key_of_the_organization() -> None:
    signer = Signer(None, "", {"acme": "secret"})
    signature = signer.sign("hmac", "acme", BODY)
    assert b64decode(signature) == hmac.new(b"secret", BODY, sha256).digest()
    with pytest.raises(Unsigned, match="METER_WEBHOOK_HMAC_KEYS"):
        signer.sign("hmac", "globex", BODY)


def test_a_token_holds_the_body_and_the_issuer_and_is_verified_with_the_public_key(
    key: rsa.RSAPrivateKey,
) -> None:
    token = Signer(key, "https://meter.example", {}).sign("jwt", "acme", BODY)
    head, claims, signature = token.split(".")
    assert msgspec.json.decode(decoded(head))["alg"] == "RS256"
    told = msgspec.json.decode(decoded(claims))
    assert told == {"data": BODY.decode(), "iss": "https://meter.example"}
    signed = f"{head}.{claims}".encode()
    public = key.public_key()
    public.verify(decoded(signature), signed, PKCS1v15(), SHA256())
    with pytest.raises(InvalidSignature):
        public.verify(decoded(signature), signed + b"x", PKCS1v15(), SHA256())


def test_without_a_private_key_there_is_no_token() -> None:
    with pytest.raises(Unsigned, match="METER_WEBHOOK_PRIVATE_KEY_FILE"):
        Signer(None, "", {}).sign("jwt", "acme", BODY)


def test_the_private_key_is_read_from_its_file(tmp_path: Path, key: rsa.RSAPrivateKey) -> None:
    path = tmp_path / "key.pem"
    path.write_bytes(pem(key))
    assert read_private_key(path).private_numbers() == key.private_numbers()


def test_a_file_without_a_usable_key_is_refused_by_its_setting(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    with pytest.raises(StackError, match="METER_WEBHOOK_PRIVATE_KEY_FILE"):
        read_private_key(path)
    for content in (b"nothing", pem(ec.generate_private_key(ec.SECP256R1()))):
        path.write_bytes(content)
        with pytest.raises(StackError, match="METER_WEBHOOK_PRIVATE_KEY_FILE"):
            read_private_key(path)

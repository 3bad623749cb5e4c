"""TLS of its own: what is spoken, and a certificate that changes."""

from __future__ import annotations

import os
import ssl
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import ClientSession, ClientSSLError

from app.api.http.auth import KeyRing
from app.api.http.certificate import Certificate
from app.api.http.keys import of_environment
from app.api.server import ApiServer, build_app
from app.errors import StackError
from tests.app.api.conftest import KEYS, NOW_MS, registry
from tests.app.api.ledger import Clock, LedgerMeter


def make_pair(directory: Path, name: str) -> tuple[Path, Path]:
    """A certificate for localhost, signed by itself, and its key."""
    cert, key = directory / f"{name}.pem", directory / f"{name}.key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-days", "2", "-subj", f"/CN={name}", "-addext", "subjectAltName=DNS:localhost",
         "-keyout", key, "-out", cert],
        check=True, capture_output=True,
    )  # fmt: skip
    return cert, key


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Path, Path]]:
    directory = tmp_path_factory.mktemp("pairs")
    return [make_pair(directory, name) for name in ("first", "second")]


@pytest.fixture
def files(pairs: list[tuple[Path, Path]], tmp_path: Path) -> tuple[Path, Path]:
    """The first pair, where the worker reads it."""
    found = tmp_path / "tls.pem", tmp_path / "tls.key"
    put(pairs[0], found)
    return found


def put(pair: tuple[Path, Path], where: tuple[Path, Path]) -> None:
    for source, target in zip(pair, where, strict=True):
        target.write_bytes(source.read_bytes())


def trusting(pair: tuple[Path, Path]) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=pair[0])


class Secured:
    """A running server with a certificate."""

    def __init__(self, url: str, certificate: Certificate, session: ClientSession) -> None:
        self.url = url
        self.certificate = certificate
        self._session = session

    async def headers(self, context: ssl.SSLContext) -> dict[str, str]:
        """Of an answer, on a connection of its own."""
        async with self._session.get(
            f"{self.url}/health/live", ssl=context, headers={"Connection": "close"}
        ) as answer:
            assert answer.status == 200
            return dict(answer.headers)


@pytest.fixture
async def secured(files: tuple[Path, Path], session: ClientSession) -> AsyncIterator[Secured]:
    certificate = Certificate(*files)
    app = build_app(LedgerMeter(Clock(NOW_MS)), KeyRing(of_environment(KEYS)), registry())
    server = ApiServer(app, certificate=certificate)
    port = await server.start("127.0.0.1", 0)
    yield Secured(f"https://localhost:{port}", certificate, session)
    await server.stop()


async def test_a_browser_is_told_to_stay_with_tls(
    secured: Secured, pairs: list[tuple[Path, Path]]
) -> None:
    headers = await secured.headers(trusting(pairs[0]))
    assert headers["Strict-Transport-Security"] == "max-age=31536000"


def test_old_versions_are_not_spoken(files: tuple[Path, Path]) -> None:
    assert Certificate(*files).context.minimum_version is ssl.TLSVersion.TLSv1_2


async def test_a_new_certificate_is_taken(
    secured: Secured, files: tuple[Path, Path], pairs: list[tuple[Path, Path]]
) -> None:
    put(pairs[1], files)
    with pytest.raises(ClientSSLError):
        await secured.headers(trusting(pairs[1]))
    secured.certificate.look()
    await secured.headers(trusting(pairs[1]))


async def test_half_of_a_pair_changes_nothing(
    secured: Secured,
    files: tuple[Path, Path],
    pairs: list[tuple[Path, Path]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    files[0].write_bytes(pairs[1][0].read_bytes())
    for _ in range(3):
        secured.certificate.look()
    assert caplog.text.count("stays the old one") == 1
    await secured.headers(trusting(pairs[0]))
    os.replace(files[1], files[1].with_suffix(".gone"))
    secured.certificate.look()
    put(pairs[1], files)
    secured.certificate.look()
    await secured.headers(trusting(pairs[1]))


def test_a_start_without_a_pair_is_refused(files: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(StackError, match="METER_HTTP_TLS_CERT_FILE"):
        Certificate(files[0], tmp_path / "none")
    with pytest.raises(StackError, match="METER_HTTP_TLS_KEY_FILE"):
        Certificate(files[0], files[0])

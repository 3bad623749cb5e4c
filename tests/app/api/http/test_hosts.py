"""Names and addresses: who may come by which, and what may not listen for the network."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import make_mocked_request
from pydantic import SecretStr

from app.api.http.errors import ApiError
from app.api.http.hosts import client_address, is_loopback, require_guarded, require_own_name
from app.errors import StackError
from app.settings import ApiKey, Settings

KEY = ApiKey(organization_id="o", key=SecretStr("own"))


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", True),
        ("LOCALHOST", True),
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("", False),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.1", False),
        ("localhost.example.com", False),
        ("127.0.0.1.nip.io", False),
    ],
)
def test_loopback(host: str, expected: bool) -> None:
    assert is_loopback(host) == expected


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:8080", "127.0.0.1:8080", "[::1]:8080", "worker:8080"]
)
def test_own_names_are_answered(host: str) -> None:
    require_own_name(make_mocked_request("GET", "/", headers={"Host": host}), {"worker"})


@pytest.mark.parametrize(
    "host", ["", "rebound.example.com", "rebound.example.com:8080", "localhost@evil", "10.0.0.1"]
)
def test_other_names_are_not(host: str) -> None:
    with pytest.raises(ApiError) as refused:
        require_own_name(make_mocked_request("GET", "/", headers={"Host": host}), {"worker"})
    assert refused.value.status == 421


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"profile": "production"}, ["METER_HTTP_TLS_CERT_FILE", "METER_TRUSTED_PROXIES"]),
        ({"profile": "local"}, ["METER_API_KEYS"]),
        ({"profile": "test"}, ["METER_API_KEYS"]),
        ({"profile": "local", "api_keys": (KEY,)}, ["METER_OPEN_PAGE"]),
        (
            {"profile": "production", "trusted_proxies": "10.0.0.0/8", "open_page": True},
            ["METER_OPEN_PAGE"],
        ),
        (
            {
                "profile": "production",
                "trusted_proxies": "10.0.0.0/8",
                "api_keys": "o:local-key",
            },
            ["METER_API_KEYS"],
        ),
    ],
)
def test_nothing_open_listens_for_the_network(values: dict[str, Any], named: list[str]) -> None:
    with pytest.raises(StackError) as refused:
        require_guarded(Settings(http_host="0.0.0.0", **values))
    assert all(name in str(refused.value) for name in named)
    require_guarded(Settings(http_host="127.0.0.1", **values))


@pytest.mark.parametrize(
    "values",
    [
        {"profile": "production", "trusted_proxies": "10.0.0.0/8,192.168.1.7"},
        {"profile": "production", "http_tls_cert_file": Path("c"), "http_tls_key_file": Path("k")},
        {"profile": "local", "api_keys": (KEY,), "open_page": False},
    ],
)
def test_what_is_guarded_may(values: dict[str, Any]) -> None:
    require_guarded(Settings(http_host="0.0.0.0", **values))


def test_a_certificate_needs_its_key() -> None:
    with pytest.raises(ValueError, match="METER_HTTP_TLS_KEY_FILE"):
        Settings(http_tls_cert_file=Path("cert.pem"))


PROXIES = (ip_network("10.0.0.0/8"), ip_network("192.168.1.7/32"))


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        ("203.0.113.9", None, "203.0.113.9"),
        ("203.0.113.9", "198.51.100.1", "203.0.113.9"),
        ("10.1.1.1", "198.51.100.1", "198.51.100.1"),
        ("10.1.1.1", "8.8.8.8, 198.51.100.1", "198.51.100.1"),
        ("10.1.1.1", "8.8.8.8, 198.51.100.1, 192.168.1.7", "198.51.100.1"),
        ("10.1.1.1", None, "10.1.1.1"),
        ("10.1.1.1", "10.2.2.2", "10.2.2.2"),
    ],
)
def test_only_proxies_say_who_asks(peer: str, forwarded: str | None, expected: str) -> None:
    headers = {} if forwarded is None else {"X-Forwarded-For": forwarded}
    request = make_mocked_request("GET", "/", headers=headers).clone(remote=peer)
    assert client_address(request, PROXIES) == expected

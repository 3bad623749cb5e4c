"""Check under which host name a client came, find its address, and refuse unsafe listening."""

from __future__ import annotations

from collections.abc import Collection
from ipaddress import IPv4Network, IPv6Network, ip_address

from aiohttp import web
from yarl import URL

from app.api.http.errors import misdirected
from app.bounds.limits import LEAST_SECRET_CHARACTERS
from app.errors import SettingRefused
from app.settings import LOCAL_KEY, Settings

Network = IPv4Network | IPv6Network


def is_loopback(host: str) -> bool:
    """Return True if only this machine reaches an address or name."""
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def require_own_name(request: web.Request, others: Collection[str]) -> None:
    """Raise 421 unless the client came by `localhost`, a loopback address or one of `others`.

    A foreign web site can let its own name point here, but cannot send another name.
    """
    try:
        host = URL(f"http://{request.headers.get('Host', '')}").host or ""
    except ValueError:
        host = ""
    if not is_loopback(host) and host not in others:
        raise misdirected(host)


def client_address(request: web.Request, proxies: Collection[Network]) -> str:
    """Return the client's address; behind trusted proxies the last other one in X-Forwarded-For."""
    address = request.remote or ""
    named = ",".join(request.headers.getall("X-Forwarded-For", ())).split(",")
    while _is_in(address, proxies) and named:
        address = named.pop().strip() or address
    return address


def _is_in(address: str, networks: Collection[Network]) -> bool:
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    return any(parsed in network for network in networks)


def require_peer_secret(settings: Settings) -> None:
    """Raise SettingRefused if in production the secret between workers is too short."""
    given = len(settings.peer_secret.get_secret_value())
    if settings.profile == "production" and given < LEAST_SECRET_CHARACTERS:
        raise SettingRefused(
            f"METER_PEER_SECRET has {given} characters, and workers know each other by it. Set it "
            f"to the same {LEAST_SECRET_CHARACTERS} or more random ones for all of them, as "
            "`openssl rand -hex 32` prints them."
        )


def require_guarded(settings: Settings) -> None:
    """Refuse to listen for the network with settings that are safe on this machine only.

    Raises:
        SettingRefused: names the variable to set.
    """
    where = settings.http_host
    if is_loopback(where):
        return
    if any(key.key.get_secret_value() == LOCAL_KEY for key in settings.api_keys):
        raise SettingRefused(
            f"METER_HTTP_HOST {where} is open to the network, and the key {LOCAL_KEY!r} is known "
            "to all. Set METER_API_KEYS to keys of your own."
        )
    if settings.open_page:
        raise SettingRefused(
            f"METER_HTTP_HOST {where} is open to the network, and the page shows everything "
            "without a key. Set METER_OPEN_PAGE=false."
        )
    encrypted = settings.http_tls_cert_file is not None or settings.trusted_proxies
    if settings.profile == "production" and not encrypted:
        raise SettingRefused(
            f"METER_HTTP_HOST {where} is open to the network, and keys would travel in clear. Set "
            "METER_HTTP_TLS_CERT_FILE and METER_HTTP_TLS_KEY_FILE, or METER_TRUSTED_PROXIES to "
            "the addresses of the proxy that has the certificate, or METER_HTTP_HOST=127.0.0.1."
        )

"""Addresses and names: which are this machine's own, under which one a client came, who it is."""

from __future__ import annotations

from collections.abc import Collection
from ipaddress import IPv4Network, IPv6Network, ip_address

from aiohttp import web
from yarl import URL

from app.api.errors import misdirected
from app.bounds.limits import LEAST_SECRET_CHARACTERS
from app.errors import StackError
from app.settings import LOCAL_KEY, Settings

Network = IPv4Network | IPv6Network


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches that address, or name."""
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def require_own_name(request: web.Request, others: Collection[str]) -> None:
    """421 unless the client came by `localhost`, a loopback address or one of the other names.

    A web site can have its own name point here, but not send another one.
    """
    try:
        host = URL(f"http://{request.headers.get('Host', '')}").host or ""
    except ValueError:
        host = ""
    if not is_loopback(host) and host not in others:
        raise misdirected(host)


def client_address(request: web.Request, proxies: Collection[Network]) -> str:
    """Who asks: the last in X-Forwarded-For that is no trusted proxy, if one of them connected."""
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
    """In production workers know each other by a secret that nobody guesses. Raises StackError."""
    given = len(settings.peer_secret.get_secret_value())
    if settings.profile == "production" and given < LEAST_SECRET_CHARACTERS:
        raise StackError(
            f"METER_PEER_SECRET has {given} characters, and workers know each other by it. Set it "
            f"to the same {LEAST_SECRET_CHARACTERS} or more random ones for all of them, as "
            "`openssl rand -hex 32` prints them."
        )


def require_guarded(settings: Settings) -> None:
    """Refuse to listen for the network with what is meant for this machine.

    Raises:
        StackError: names the variable to set.
    """
    where = settings.http_host
    if is_loopback(where):
        return
    if any(key.key.get_secret_value() == LOCAL_KEY for key in settings.api_keys):
        raise StackError(
            f"METER_HTTP_HOST {where} is open to the network, and the key {LOCAL_KEY!r} is known "
            "to all. Set METER_API_KEYS to keys of your own."
        )
    if settings.open_page:
        raise StackError(
            f"METER_HTTP_HOST {where} is open to the network, and the page shows everything "
            "without a key. Set METER_OPEN_PAGE=false."
        )
    encrypted = settings.http_tls_cert_file is not None or settings.trusted_proxies
    if settings.profile == "production" and not encrypted:
        raise StackError(
            f"METER_HTTP_HOST {where} is open to the network, and keys would travel in clear. Set "
            "METER_HTTP_TLS_CERT_FILE and METER_HTTP_TLS_KEY_FILE, or METER_TRUSTED_PROXIES to "
            "the addresses of the proxy that has the certificate, or METER_HTTP_HOST=127.0.0.1."
        )

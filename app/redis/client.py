"""A client of Redis as its URL says: one server, those that Sentinel names, or a cluster."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from redis.asyncio import Redis, RedisCluster
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.sentinel import Sentinel
from redis.exceptions import ConnectionError as RedisUnreachable
from redis.exceptions import (
    NoPermissionError,
    RedisClusterException,
    RedisError,
    ResponseError,
)

from app.credentials import ssl_context
from app.errors import SettingRefused
from app.settings import Settings

__all__ = ["NoPermissionError", "RedisError", "ResponseError"]


SENTINEL_PORT = 26_379
REDIS_PORT = 6_379


class _Cluster(RedisCluster):
    """A cluster of which no node answers is a RedisError, as for any other client."""

    async def initialize(self, *arguments: Any, **named: Any) -> RedisCluster:
        """Look for the nodes. Raises what the last one answered, if it is a RedisError."""
        try:
            return await super().initialize(*arguments, **named)
        except RedisClusterException as error:
            cause = error.__cause__
            if not isinstance(cause, RedisError):
                cause = RedisUnreachable(str(error))
            raise cause from error


def redis_client(settings: Settings, timeout_s: float) -> Any:
    """Return a `redis.asyncio` client, `Redis` or `RedisCluster`; it connects at its first use.

    Raises:
        SettingRefused: METER_REDIS_URL has an option that is none, or a file of TLS cannot be used.
    """
    url = settings.redis_url or ""
    parts = urlsplit(url)
    kind = parts.scheme.partition("+")[2]
    options: dict[str, Any] = {
        "socket_timeout": timeout_s,
        "socket_connect_timeout": timeout_s,
        **_tls(settings, parts.scheme),
    }
    own_password = settings.redis_password
    password = unquote(parts.password or "") or (
        own_password.get_secret_value() if own_password else None
    )
    if not kind:
        plain = url if not settings.redis_tls else url.replace("redis://", "rediss://", 1)
        # What the URL says comes before these.
        try:
            return Redis.from_url(plain, password=password, db=settings.redis_db, **options)
        except ValueError as error:
            raise SettingRefused(f"METER_REDIS_URL has an option that is none: {error}.") from error
    if parts.username:
        options["username"] = unquote(parts.username)
    options["password"] = password
    if _encrypted(settings, parts.scheme):
        options["ssl"] = True
    if kind == "cluster":
        nodes = [ClusterNode(*place) for place in _places(parts.netloc, REDIS_PORT)]
        return _Cluster(startup_nodes=nodes, **options)
    service, _, db = parts.path.strip("/").partition("/")
    asked = {name: value for name, value in options.items() if name not in ("username", "password")}
    secret = parse_qs(parts.query).get("sentinel_password")
    if secret:
        asked["password"] = secret[0]
    sentinel: Any = Sentinel(  # type: ignore[no-untyped-call]
        list(_places(parts.netloc, SENTINEL_PORT)), sentinel_kwargs=asked, **options
    )
    return sentinel.master_for(service, db=int(db or settings.redis_db))


async def closed(client: Any) -> None:
    """Close the client's connections, those to Sentinel too."""
    await client.aclose()
    sentinel = getattr(getattr(client, "connection_pool", None), "sentinel_manager", None)
    for asked in sentinel.sentinels if sentinel else ():
        await asked.aclose()


def _encrypted(settings: Settings, scheme: str) -> bool:
    return settings.redis_tls or scheme.startswith("rediss")


def _tls(settings: Settings, scheme: str) -> dict[str, Any]:
    if not _encrypted(settings, scheme):
        return {}
    # The client reads them at each connection, and does not say which it cannot use.
    ssl_context(
        "METER_REDIS", settings.redis_ca_file, settings.redis_cert_file, settings.redis_key_file
    )
    files = {
        "ssl_ca_certs": settings.redis_ca_file,
        "ssl_certfile": settings.redis_cert_file,
        "ssl_keyfile": settings.redis_key_file,
    }
    return {name: str(file) for name, file in files.items() if file is not None}


def _places(netloc: str, default_port: int) -> list[tuple[str, int]]:
    """Return (host, port) of each server that the URL names."""
    found = []
    for place in netloc.rpartition("@")[2].split(","):
        host, colon, port = place.rpartition(":")
        found.append((host, int(port)) if colon else (place, default_port))
    return found

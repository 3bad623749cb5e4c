"""TCP ports on the loopback address."""

from __future__ import annotations

import socket
from errno import EADDRINUSE
from random import SystemRandom

from app.errors import StackError
from app.settings import HOST

_BELOW_CLIENTS = range(20_000, 32_000)
"""Systems give client connections ports above these, where one may take a port that was free."""


def free_ports(count: int) -> list[int]:
    """Return `count` different ports that nothing listens on at the moment."""
    # Whoever seeds what is random elsewhere must not have all processes take the same.
    choose = SystemRandom()
    held: list[socket.socket] = []
    try:
        while len(held) < count:
            probe = socket.socket()
            try:
                probe.bind((HOST, choose.choice(_BELOW_CLIENTS)))
            except OSError as error:
                probe.close()
                if error.errno != EADDRINUSE:
                    raise
            else:
                held.append(probe)
        return [probe.getsockname()[1] for probe in held]
    finally:
        for probe in held:
            probe.close()


def is_free(port: int, host: str = HOST) -> bool:
    """Return whether a server could listen on the port now."""
    try:
        _try(host, port)
    except OSError:
        return False
    return True


def _try(host: str, port: int) -> None:
    """Bind what the host stands for, and let go of it.

    Raises:
        OSError: the port is taken on an address of it, or this machine has none of them.
    """
    found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    refused: list[OSError] = []
    for family, _, _, _, address in found:
        try:
            with socket.socket(family) as probe:
                # As servers do: a port that only waits out its last connections is free.
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                probe.bind(address)
        except OSError as error:
            if error.errno == EADDRINUSE:
                raise
            # A name may stand for an address of a kind that this machine does not have.
            refused.append(error)
    if refused and len(refused) == len(found):
        raise refused[0]


def require_own_address(host: str, setting: str) -> None:
    """Refuse an address on which this machine cannot listen, naming its setting.

    Raises:
        StackError: no interface of this machine has it.
    """
    try:
        _try(host, 0)
    except (OSError, UnicodeError) as error:
        # Of what can be no name at all the system is not even asked.
        raise StackError(
            f"{setting} {host} is no address of this machine ({error}). Set "
            f"{setting} to one that it has, or to 0.0.0.0 for all of them."
        ) from error


def require_free(port: int, setting: str, instead: str, host: str = HOST) -> None:
    """Refuse a taken port, naming it, the setting that moves it and what to set instead.

    Raises:
        StackError: something listens on the port.
    """
    if not is_free(port, host):
        raise StackError(
            f"Port {port} is taken by another program. Stop that program, "
            f"set {setting} to a free port, or {instead}."
        )

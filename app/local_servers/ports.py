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


def is_free(port: int) -> bool:
    """Return whether a server could listen on the port now."""
    with socket.socket() as probe:
        # As servers do: a port that only waits out its last connections is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def require_free(port: int, setting: str, instead: str) -> None:
    """Refuse a taken port, naming it, the setting that moves it and what to set instead.

    Raises:
        StackError: something listens on the port.
    """
    if not is_free(port):
        raise StackError(
            f"Port {port} is taken by another program. Stop that program, "
            f"set {setting} to a free port, or {instead}."
        )

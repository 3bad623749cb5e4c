"""TCP ports on the loopback address."""

from __future__ import annotations

import socket

from app.errors import StackError
from app.settings import HOST


def free_ports(count: int) -> list[int]:
    """Return `count` different ports that nothing listens on at the moment."""
    held: list[socket.socket] = []
    try:
        for _ in range(count):
            probe = socket.socket()
            held.append(probe)
            probe.bind((HOST, 0))
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

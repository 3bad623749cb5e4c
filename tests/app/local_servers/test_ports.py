"""What is told of a port and of an address before anything listens there."""

from __future__ import annotations

import socket

import pytest

from app.errors import StackError
from app.local_servers.ports import free_ports, is_free, require_own_address

HERE, NOWHERE = ("127.0.0.1", 0), ("192.0.2.1", 0)
"""The second is for documents: no machine has it."""


def named(monkeypatch: pytest.MonkeyPatch, *addresses: tuple[str, int]) -> None:
    """Let every name stand for these."""
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address) for address in addresses]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)


def test_a_name_may_stand_for_an_address_that_this_machine_does_not_have(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    named(monkeypatch, NOWHERE, HERE)
    require_own_address("worker", "METER_HTTP_HOST")


def test_a_name_of_no_address_of_this_machine_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    named(monkeypatch, NOWHERE)
    with pytest.raises(StackError, match=r"METER_HTTP_HOST worker is no address"):
        require_own_address("worker", "METER_HTTP_HOST")


def test_a_port_that_is_taken_on_one_address_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    (port,) = free_ports(1)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", port))
        listening.listen()
        named(monkeypatch, NOWHERE, ("127.0.0.1", port))
        assert not is_free(port, "worker")

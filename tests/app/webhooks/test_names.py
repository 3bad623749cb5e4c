"""Names as the process looks them up: as this machine does."""

from __future__ import annotations

import socket
import threading
from typing import NoReturn

import pytest

from app.webhooks.names import Resolver


async def test_a_name_of_this_machine_has_its_addresses() -> None:
    found = await Resolver(1).resolve("localhost", 80, socket.AF_INET)
    assert {(one["hostname"], one["host"], one["port"]) for one in found} == {
        ("localhost", "127.0.0.1", 80)
    }


async def test_what_is_not_found_is_an_error_of_the_system_and_frees_its_thread() -> None:
    names = Resolver(1)
    for host in ("hooks.invalid", "other.invalid"):
        with pytest.raises(socket.gaierror):
            await names.resolve(host, 80)


async def test_without_a_thread_a_name_is_not_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> NoReturn:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(OSError, match="no thread is left"):
        await Resolver(1).resolve("localhost", 80)

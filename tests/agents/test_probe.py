"""Looks: what has no state of its own and is told in the log all the same."""

from __future__ import annotations

import logging
import ssl
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trustme
from aiohttp import web

from agents import probe
from agents.probe import _Looks
from app.runtime.health import Health
from app.runtime.partition.cuts import Blocked
from app.settings import HOST, Settings


async def test_a_cut_that_waits_for_long_is_told_once_and_when_it_goes_on(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = [0.0]
    monkeypatch.setattr(probe, "monotonic", lambda: now_s[0])
    settings = Settings(profile="test", redis_url="redis://127.0.0.1:1")
    owned = {n: SimpleNamespace(cuts=SimpleNamespace(blocked=None)) for n in (0, 1)}
    engine: Any = SimpleNamespace(settings=settings, owned=owned, health=Health(lambda: 0))
    looks = _Looks(engine)
    try:
        with caplog.at_level(logging.INFO, "agents.probe"):
            for at_s, reason in ((0, "raw_behind"), (59, "refolding"), (61, "refolding"), (99, "")):
                now_s[0] = at_s
                owned[1].cuts.blocked = Blocked(7, "it waits", 0, reason) if reason else None  # type: ignore[arg-type]
                looks.closing()
                looks.closing()
    finally:
        await looks.close()
    assert [record.__dict__["event"] for record in caplog.records] == ["loss", "return"]
    lost, back = (record.__dict__["facts"] for record in caplog.records)
    assert lost == {
        "reason": "close_blocked",
        "held_by": "refolding",
        "partition": 1,
        "seconds": 61.0,
    }
    assert back == {"reason": "close_blocked", "partition": 1, "seconds": 99.0}


async def test_only_a_flush_that_waits_itself_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last flush of an idle partition lies long ago; the next one is not late for that."""
    now_s = [1_000.0]
    monkeypatch.setattr(probe, "monotonic", lambda: now_s[0])
    settings = Settings(profile="test", redis_url="redis://127.0.0.1:1")
    health = Health(lambda: 0)
    commits = SimpleNamespace(unsent=None)
    owned = {0: SimpleNamespace(commits=commits)}
    engine: Any = SimpleNamespace(settings=settings, owned=owned, health=health)
    looks = _Looks(engine)
    told = []
    try:
        for packed_s, at_s in ((None, 1_000), (1_060, 1_060), (1_060, 1_071), (1_071, 1_072)):
            now_s[0] = at_s
            commits.unsent = packed_s and SimpleNamespace(packed_s=packed_s)
            looks.flushes()
            told.append(health.holds("flush_stale"))
    finally:
        await looks.close()
    assert told == [False, False, True, False]


async def test_a_worker_of_the_authority_named_is_heard(tmp_path: Path) -> None:
    authority, ca_file = trustme.CA(), tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(HOST).configure_cert(context)
    runner = web.AppRunner(web.Application())
    await runner.setup()
    await web.TCPSite(runner, HOST, 0, ssl_context=context).start()
    url = f"https://{HOST}:{runner.addresses[0][1]}"
    heard = {}
    for file in (None, ca_file):
        settings = Settings(profile="test", redis_url="redis://127.0.0.1:1", peer_ca_file=file)
        engine: Any = SimpleNamespace(settings=settings, owned={}, health=Health(lambda: 0))
        looks = _Looks(engine)
        await looks._ask(url)
        heard[file] = url in looks._answered_s
        await looks.close()
    await runner.cleanup()
    assert heard == {None: False, ca_file: True}

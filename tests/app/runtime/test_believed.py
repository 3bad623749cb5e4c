"""Raw records that a worker appends are believed by folds, whatever producers may."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest

from app.definitions import commands
from app.definitions.log import apply
from app.definitions.model import SettingsRecord
from app.definitions.state import Definitions
from app.meter.errors import NotAllowed
from app.runtime.believed import append_believed
from app.settings import Settings
from app.wire.grants import digest_of

SETTINGS = Settings(profile="test")


class Log:
    """Both topics; the broker of the raw one has a clock that is behind."""

    def __init__(self, record: SettingsRecord) -> None:
        self.definitions = Definitions()
        apply(self.definitions, commands.set_settings(record).encode(), 1_000, 0)
        self.appended: list[tuple[str, Any, Any]] = []

    async def append(self, topic: str, key: Any, value: Any, partition: int, headers: Any) -> Any:
        self.appended.append((topic, value, dict(headers)))
        raw = topic == SETTINGS.topic(SETTINGS.raw_topic)
        timestamp = 1_998 + len(self.appended) if raw else 2_001
        return SimpleNamespace(offset=41 + len(self.appended), timestamp=timestamp)

    async def send(self, organization_id: str | None, **more: Any) -> list[tuple[str, Any, Any]]:
        place = (organization_id, None, b"{}", 0)
        append = cast(Any, self.append)
        await append_believed(SETTINGS, self.definitions, append, *place, **more)
        return self.appended


async def test_nothing_is_added_where_everything_is_believed() -> None:
    raw = SETTINGS.topic(SETTINGS.raw_topic)
    assert await Log(SettingsRecord()).send("p", granted_by="me") == [(raw, b"{}", {})]


async def test_a_topic_of_one_organization_takes_no_other() -> None:
    log = Log(SettingsRecord(producer_trust="topic", default_organization_id="o"))
    with pytest.raises(NotAllowed):
        await log.send("p")
    assert len(await log.send("o")) == 1


async def test_the_worker_is_a_gateway() -> None:
    log = Log(SettingsRecord(producer_trust="header"))
    ((_, _, headers),) = await log.send("p", headers=[("meter-organization", b"q")])
    assert headers == {"meter-organization": b"p"}


async def test_a_grant_comes_before_what_it_is_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also by what brokers stamp, or else no fold takes it."""
    monkeypatch.setattr("app.runtime.believed._PAUSE_S", 0.0)
    log = Log(SettingsRecord(producers_may_correct=False))
    (_, grant, _), early, late = await log.send("p", granted_by="me", headers=[("x", b"y")])
    told = msgspec.json.decode(grant)
    assert (told["organization_id"], told["changed_by"]) == ("p", "me")
    assert told["payload"] == {"sha256": digest_of(b"{}", ()).hex()}
    assert early == late
    assert late[2] == {"x": b"y", "meter-granted": b"42"}

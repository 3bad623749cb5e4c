"""Answers that are made while they are sent say what they would say at once."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from app.api.answering.streams import PART_BYTES, parts, pieces
from app.api.http.json_text import whole
from app.api.overview.overview_json import SentOverview
from app.api.overview.overviews import Overviews
from app.bounds.limits import OVERVIEW_EVERY_S
from app.bounds.turns import Turns, Work
from app.meter.overview import OverviewQuery


def shown(count: int) -> dict[str, Any]:
    return {
        "empty": (n for n in range(0)),
        "charges": ({"groups": ({"n": n, "of": m} for n in range(m))} for m in range(count)),
        "long": list(range(count * 100)),
        "plain": {"a": [1, 2], "b": None},
    }


@pytest.mark.parametrize("count", [0, 1, 30])
async def test_streamed_text_is_that_of_the_whole_value(count: int) -> None:
    at_once = msgspec.json.encode(whole(shown(count)))
    assert b"".join(pieces(shown(count))) == at_once
    made = [part async for part in parts(Turns(), Work("request"), shown(count))]
    assert b"".join(made) == at_once


def test_what_is_plain_is_one_piece() -> None:
    """Each costs as much as some fields do, and most charges have two dozen plain ones."""
    plain = {name: {"of": [name] * 3} for name in "abcdef"}
    value = {**plain, "charges": ({**plain, "n": n} for n in range(3)), **plain, "z": [plain]}
    made = list(pieces(value))
    assert b"".join(made) == msgspec.json.encode(
        {**plain, "charges": [{**plain, "n": n} for n in range(3)], "z": [plain]}
    )
    assert len(made) <= 10


async def test_parts_are_bounded() -> None:
    value = {"items": ({"text": "x" * 500} for _ in range(2_000))}
    made = [part async for part in parts(Turns(), Work("request"), value)]
    assert len(made) > 10
    assert max(map(len, made)) < 2 * PART_BYTES


async def test_an_overview_is_made_once_a_second_for_all_who_ask() -> None:
    overviews, made = Overviews(), 0

    async def make() -> SentOverview:
        nonlocal made
        made += 1
        return SentOverview({"number": made})

    query = OverviewQuery(organization_id="o")
    bodies = {(await overviews.of(query, make)).body for _ in range(20)}
    assert (bodies, made) == ({b'{"number":1}'}, 1)


async def test_overviews_of_who_is_looked_at_no_more_are_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An operator may look at very many organizations, one after the other."""
    now_s = 0.0
    clock = SimpleNamespace(monotonic=lambda: now_s)
    monkeypatch.setattr("app.api.overview.overviews.time", clock)
    overviews = Overviews()

    async def make() -> SentOverview:
        return SentOverview({})

    for number in range(100):
        now_s += OVERVIEW_EVERY_S / 4
        await overviews.of(OverviewQuery(organization_id=f"org-{number}"), make)
    assert list(overviews._organizations) == [f"org-{number}" for number in range(96, 100)]

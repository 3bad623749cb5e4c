"""Dead letters page by page: each once, newest first, whoever asks and however many there are."""

from __future__ import annotations

import time

import pytest

from app.bounds.turns import Turns
from app.definitions.judging import ORGANIZATION_HEADER
from app.kafka.rewriting import Written, rewrite
from app.meter.overview import DeadLetterQuery
from app.queries.letters import letters_before, letters_since
from app.settings import Settings

pytestmark = pytest.mark.servers

Place = tuple[int, int, int]
"""(time, partition, offset)"""


def written(
    offset: int, at_ms: int, organization: str, code: str, *more: tuple[str, bytes | None]
) -> Written:
    headers: list[tuple[str, bytes | None]] = [
        (ORGANIZATION_HEADER, organization.encode()),
        ("meter-error-code", code.encode()),
        *more,
    ]
    return Written(offset, at_ms, b"k", b"{}", headers)


async def pages(settings: Settings, query: DeadLetterQuery) -> list[list[Place]]:
    found: list[list[Place]] = []
    while True:
        page = await letters_before(settings, Turns(), query)
        found.append([(one.failed_at_ms, one.partition, one.offset) for one in page.letters])
        if page.before is None:
            return found
        query = DeadLetterQuery(
            organization_id=query.organization_id,
            code=query.code,
            before=page.before,
            most=query.most,
            to_replay=query.to_replay,
        )


async def test_one_refused_again_is_left_out_while_the_first_is_there(settings: Settings) -> None:
    began_ms = int(time.time() * 1_000) - 60_000
    made_of = {
        5: b"",
        6: b"0/5 too_late",
        7: b"0/5 invalid_json",
        8: b"0/4 too_late",
        9: b"999/0 too_late",
    }
    letters = [
        written(offset, began_ms + offset, "a", "too_late", ("meter-replayed", text))
        for offset, text in made_of.items()
    ]
    await rewrite(settings, settings.dead_letter_topic, {0: letters})
    query = DeadLetterQuery(organization_id="a", to_replay=True)
    (found,) = await pages(settings, query)
    # Retention has taken 0/4, and 999/0 never was.
    assert [offset for _, _, offset in found] == [9, 8, 7, 5]


async def test_every_letter_is_on_one_page_newest_first(settings: Settings) -> None:
    told: dict[Place, tuple[str, str]] = {}
    logs: dict[int, list[Written]] = {0: [], 1: []}
    began_ms = int(time.time() * 1_000) - 60_000
    for partition, count, step_ms in ((0, 400, 7), (1, 90, 31)):
        for number in range(count):
            at_ms, offset = began_ms + number * step_ms, 5 + number
            whose = "a" if number % 50 else "b"
            kind = "too_late" if number % 3 else "invalid_json"
            told[at_ms, partition, offset] = whose, kind
            logs[partition].append(written(offset, at_ms, whose, kind))
    await rewrite(settings, settings.dead_letter_topic, logs)
    chosen: list[tuple[str | None, str | None]] = [
        (None, None),
        ("a", None),
        ("b", None),
        (None, "too_late"),
    ]
    for organization_id, code in chosen:
        query = DeadLetterQuery(organization_id=organization_id, code=code, most=50)
        found = await pages(settings, query)
        wanted = [
            place
            for place, (owner, refused) in told.items()
            if organization_id in (None, owner) and code in (None, refused)
        ]
        assert [one for page in found for one in page] == sorted(wanted, reverse=True)
        assert all(len(page) <= 50 for page in found)
    some, ends = await letters_since(settings, Turns(), "a", {0: 400, 1: 93})
    assert sorted((one.partition, one.offset) for one in some) == [
        (0, 400),
        (0, 401),
        (0, 402),
        (0, 403),
        (0, 404),
        (1, 93),
        (1, 94),
    ]
    assert await letters_since(settings, Turns(), None, None) == ([], ends)


async def test_a_topic_without_letters_has_one_page(settings: Settings) -> None:
    await rewrite(settings, settings.dead_letter_topic, {0: [], 1: []})
    assert await pages(settings, DeadLetterQuery(organization_id=None)) == [[]]

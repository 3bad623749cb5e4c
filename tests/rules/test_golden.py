"""The golden log makes the same bytes as ever: records, usage, checkpoints and changelogs.

`tests/rules/golden` has two logs of half a year that touch every aggregation, filters, groups,
corrections, history records, plan changes, timezones, late and repeated events, and dead letters.
`digests.json` has the SHA-256 of all that the folds make of them, kind by kind.

The digests may change for two reasons only, and the commit tells which:

- A rule has changed. Then usage, usage records or dead letters differ, as `docs/rules` says now.
- `FOLD_VERSION` or a layout has changed. Then only what a worker keeps for itself differs.

`python -m tests.rules.golden --write` makes the file anew. Any other difference is a bug; dumps of
both versions (`--dump DIRECTORY`) show the first record that differs.
"""

from __future__ import annotations

import msgspec
import pytest

from tests.rules.golden import story
from tests.rules.golden.digests import digests_of, known_digests, rows
from tests.rules.golden.folds import DEFINITIONS, EVENTS, Rows

KINDS = sorted(known_digests())


@pytest.fixture(scope="module")
def made() -> Rows:
    return rows()


@pytest.mark.parametrize("kind", KINDS)
def test_the_bytes_are_those_that_were_committed(kind: str, made: Rows) -> None:
    assert digests_of(made)[kind] == known_digests()[kind]


def test_every_kind_has_records_and_a_digest(made: Rows) -> None:
    assert sorted(made) == KINDS
    assert all(made.values())


def test_a_worker_publishes_the_records_of_the_offline_fold(made: Rows) -> None:
    live = [msgspec.msgpack.decode(record)[1] for record in made["usage records"]]
    assert sorted(live) == sorted(made["offline usage records"])


def test_the_log_is_the_one_that_the_story_tells() -> None:
    assert story.definitions() == DEFINITIONS.read_bytes()
    assert story.events() == EVENTS.read_bytes()

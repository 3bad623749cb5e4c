"""The golden log makes the same bytes as ever: records, usage, checkpoints and changelogs.

`tests/rules/golden` has two logs of half a year that touch every aggregation, filters, groups,
corrections, history records, plan changes, timezones, late and repeated events, and dead letters.
A log of version 2 has charges paid in advance, alerts, presentation keys, lists of single events
and child plans.
`digests.json` has the SHA-256 of all that the folds make of them, kind by kind.

The digests may change for three reasons only, and the commit tells which:

- A rule has changed. Then usage, usage records or dead letters differ, as `docs/rules` says now.
- `FOLD_VERSION` or a layout has changed. Then only what a worker keeps for itself differs.
- A refold is spared, or one more is made, or a span is made at another flush: cells carry its
  number. Then only these numbers differ, and cells that it wrote again as they were.

`python -m tests.rules.golden --write` makes the file anew. The logs stay as they are: a rule that
they lack gets a log of its own. Any other difference is a bug; dumps of both versions
(`--dump DIRECTORY`) show the first record that differs.
"""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from app.records import Ledger, UsageInstant, read
from tests.rules.golden.digests import digests_of, known_digests, rows
from tests.rules.golden.folds import LOG, LOG_2, Log, Rows

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


@pytest.mark.parametrize("log", [LOG, LOG_2], ids=["version 1", "version 2"])
def test_a_worker_publishes_the_records_of_the_offline_fold(log: Log, made: Rows) -> None:
    records = made[f"{log.prefix}usage records"]
    live = [msgspec.msgpack.decode(record)[1] for record in records]
    assert sorted(live) == sorted(made[f"{log.prefix}offline usage records"])


def test_a_consumer_finds_each_period_complete_exactly_when_its_records_are_there(
    made: Rows,
) -> None:
    ledger = Ledger()
    cells: dict[tuple[str, str], dict[str, int]] = {}
    done: dict[tuple[str, str], tuple[int, int]] = {}
    wrong: list[object] = []
    for value in made["offline usage records"]:
        record, told = read(value), json.loads(value)
        ledger.take(record)
        if record is None or isinstance(record, UsageInstant):
            continue
        name = (told["lago_subscription_id"], told["period"]["from"])
        if told["type"] == "period.completed":
            done[name] = (told["records_count"], int(told["digest"], 16))
        else:
            cells.setdefault(name, {})[told["cell_id"]] = int(told["digest"], 16)
        mine = cells.get(name, {})
        complete = done.get(name) == (len(mine), sum(mine.values()) % 2**128)
        if ledger.period_of(record).complete != complete:
            wrong.append(told)
    assert wrong == []
    assert len(done) > 20
    sums = {name: (len(mine), sum(mine.values()) % 2**128) for name, mine in cells.items()}
    assert {name: done[name] for name in sums} == sums


def test_records_of_version_1_keep_to_their_schemas(made: Rows) -> None:
    folder = Path(__file__).parents[2] / "docs" / "schemas"
    schemas = {
        name: Draft202012Validator(json.loads((folder / f"{name}.json").read_text()))
        for name in ("usage-record", "period-completed")
    }
    for value in made["offline usage records"]:
        record = json.loads(value)
        done = record["type"] == "period.completed"
        errors = schemas["period-completed" if done else "usage-record"].iter_errors(record)
        assert [f"{each.json_path}: {each.message}" for each in errors] == []


def test_the_log_of_version_2_has_what_that_is_about(made: Rows) -> None:
    bodies = [msgspec.json.decode(r) for r in made["version 2 offline usage records"]]
    closed = [body for body in bodies if body.get("type", "").startswith("usage.re")]
    assert {body.get("type", body.get("webhook_type")) for body in bodies} == {
        "usage.instant",
        "usage.instant_revised",
        "usage.recorded",
        "usage.revised",
        "period.completed",
        "alert.triggered",
    }
    assert {body["billing"] for body in closed} == {"arrears", "none", "renewal"}
    assert any(body["presentation_breakdowns"] for body in closed)
    for lists in ("values", "prorated_values", "running_total"):
        assert any((body["per_event"] or {}).get(lists) for body in closed), lists
    assert any(body["charge"]["lago_parent_id"] for body in closed)

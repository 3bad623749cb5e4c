"""A consumer's ledger: the highest revision counts, count and digest tell a complete period."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from app.records import (
    InMemory,
    Ledger,
    PeriodCompleted,
    UnreadableRecord,
    UsageInstant,
    UsageRecord,
    read,
)
from tests.world.profiles import examples

START = datetime(2026, 10, 1, tzinfo=UTC)
ENVELOPE: dict[str, Any] = {
    "schema_version": 2,
    "organization_id": "o",
    "external_customer_id": "c",
    "external_subscription_id": "s",
    "lago_subscription_id": "ls",
    "plan_code": "p",
    "period": {
        "from": "2026-10-01T00:00:00Z",
        "to": "2026-10-31T23:59:59Z",
        "timezone": "UTC",
        "charges_duration_in_days": 31,
    },
    "closed_at": "2026-11-01T06:00:00.000Z",
    "definitions_offset": 7,
}
FIGURE: dict[str, Any] = ENVELOPE | {
    "lago_charge_id": "ch",
    "lago_charge_filter_id": None,
    "charge": {
        "lago_id": "ch",
        "lago_parent_id": None,
        "code": "x",
        "charge_model": "standard",
        "pay_in_advance": False,
        "invoiceable": True,
        "prorated": False,
        "min_amount_cents": 0,
        "properties": {"amount": "0"},
        "filter_properties": None,
    },
    "amount_currency": "EUR",
    "billable_metric": {
        "lago_id": "m",
        "code": "x",
        "name": "X",
        "aggregation_type": "sum_agg",
        "recurring": False,
    },
    "filters": {"region": ["eu"]},
    "grouped_by": None,
    "prorated_units": None,
    "precise_total_amount_cents": None,
    "events_count": 1,
    "previous_units": None,
    "delta_units": None,
}
CLOSING = {"closing_reason": "period_end", "final_after": "2026-12-11T00:00:00.000Z"}


def cell(name: str, revision: int, units: str, digest: int) -> dict[str, Any]:
    return FIGURE | CLOSING | {
        "id": f"{name}-{revision}",
        "cell_id": name,
        "type": "usage.revised" if revision else "usage.recorded",
        "revision": revision,
        "units": units,
        "total_aggregated_units": units,
        "billing": "arrears",
        "billed_in_advance": None,
        "presentation_breakdowns": None,
        "per_event": None,
        "revision_reason": "late_events" if revision else None,
        "digest": f"{digest:032x}",
    }  # fmt: skip


def completion(revision: int, count: int, digest: int) -> dict[str, Any]:
    return ENVELOPE | CLOSING | {
        "id": f"done-{revision}",
        "cell_id": "done",
        "type": "period.completed",
        "revision": revision,
        "records_count": count,
        "digest": f"{digest % 2**128:032x}",
    }  # fmt: skip


def instant(revision: int, units: str) -> dict[str, Any]:
    at = "2026-10-03T00:00:00.000Z"
    return FIGURE | {
        "id": f"i-{revision}",
        "cell_id": "a",
        "instant_id": "i",
        "type": "usage.instant_revised" if revision else "usage.instant",
        "revision": revision,
        "event_transaction_id": "t",
        "event_timestamp": at,
        "position": {"append_time": at, "partition": 0, "offset": 3, "index": 0},
        "units": units,
        **dict.fromkeys(("applied_units", "units_before", "units_after"), units),
        **dict.fromkeys(("current_units", "peak_units"), units),
        "presentation_by": None,
        "revision_reason": None,
    }  # fmt: skip


LARGE = 2**128 - 5
CUTS = (
    [cell("a", 0, "2.50", LARGE), cell("b", 0, "1", 9), completion(0, 2, LARGE + 9)],
    [cell("a", 1, "7", 11), cell("c", 0, "0.5", 3), completion(1, 3, 11 + 9 + 3)],
    [instant(0, "4"), instant(1, "0")],
)
ALL = [record for cut in CUTS for record in cut]


def taken(records: Sequence[dict[str, Any]]) -> tuple[Ledger, InMemory]:
    store = InMemory()
    ledger = Ledger(store)
    for record in records:
        ledger.take(read(json.dumps(record)))
    return ledger, store


def test_a_figure_and_its_revision_are_told_with_what_they_replace() -> None:
    ledger = Ledger()
    first = ledger.take(read(json.dumps(cell("a", 0, "2.50", 1))))
    assert first is not None
    assert (first.old, first.delta_units) == (None, Decimal("2.50"))
    second = ledger.take(read(json.dumps(cell("a", 1, "1.25", 2))))
    assert second is not None
    assert (second.old, second.delta_units) == (first.new, Decimal("-1.25"))


def test_what_is_billed_is_not_rounded() -> None:
    ledger = Ledger()
    ledger.take(read(json.dumps(cell("a", 0, "1", 1))))
    change = ledger.take(read(json.dumps(cell("a", 1, "1" + 30 * "0" + ".5", 2))))
    assert change is not None
    assert change.delta_units == change.to_bill == Decimal(30 * "9" + ".5")


@pytest.mark.parametrize(
    ("billing", "before", "after", "to_bill"),
    [
        pytest.param("arrears", None, None, ("31", "-10"), id="units"),
        pytest.param("arrears", "15.5", "10.5", ("15.5", "-5.0"), id="prorated"),
        pytest.param("renewal", None, None, ("31", "-10"), id="a renewal in full"),
        pytest.param("none", "15.5", "10.5", ("0", "0"), id="billed in advance"),
    ],
)
def test_what_there_is_to_bill_is_prorated_where_the_charge_is(
    billing: str, before: str | None, after: str | None, to_bill: tuple[str, str]
) -> None:
    """Units of a prorated charge are the quantity to print, not the one for the amount."""
    ledger = Ledger()
    first = cell("a", 0, "31", 1) | {"billing": billing, "prorated_units": before}
    second = cell("a", 1, "21", 2) | {"billing": billing, "prorated_units": after}
    changes = [ledger.take(read(json.dumps(record))) for record in (first, second)]
    assert [change and change.to_bill for change in changes] == [Decimal(each) for each in to_bill]
    assert ledger.take(read(json.dumps(first))) is None


def test_what_was_seen_and_what_is_older_changes_nothing() -> None:
    ledger, store = taken(ALL)
    before = dict(store)
    for record in ALL:
        assert ledger.take(read(json.dumps(record))) is None
    assert dict(store) == before


def test_a_period_is_complete_when_its_records_are_there_and_none_of_a_later_cut() -> None:
    ledger = Ledger()
    seen = []
    for record in ALL:
        ledger.take(read(json.dumps(record)))
        seen.append(ledger.period("ls", START).complete)
    assert seen == [False, False, True, False, False, True, True, True]
    assert ledger.period("ls", START).records == 3
    assert not ledger.period("ls", datetime(2026, 11, 1, tzinfo=UTC)).complete


@pytest.mark.parametrize("lost", range(3))
def test_a_period_is_not_complete_while_a_record_of_it_is_missing(lost: int) -> None:
    ledger, _ = taken([each for n, each in enumerate(CUTS[0]) if n != lost])
    assert not ledger.period("ls", START).complete


def test_an_empty_period_is_complete_by_its_completion_alone() -> None:
    ledger, _ = taken([completion(0, 0, 0)])
    assert ledger.period("ls", START) == (0, read(json.dumps(completion(0, 0, 0))), True)


@examples(60)
@given(st.randoms(use_true_random=False), st.integers(0, len(ALL)))
def test_any_order_and_any_repetition_give_the_same_ledger(
    chance: random.Random, repeated: int
) -> None:
    _, straight = taken(ALL)
    shuffled = [*ALL, *chance.sample(ALL, repeated)]
    chance.shuffle(shuffled)
    _, mixed = taken(shuffled)
    assert mixed == straight


def test_a_ledger_goes_on_in_the_store_of_the_one_before() -> None:
    _, straight = taken(ALL)
    # With the names that records have on the wire, as in stores of before.
    assert set(json.loads(straight["record a"])["period"]) >= {"from", "to"}
    for broken_off in range(len(ALL)):
        _, store = taken(ALL[:broken_off])
        ledger = Ledger(store)
        for record in ALL[max(0, broken_off - 2) :]:
            ledger.take(read(json.dumps(record)))
        assert store == straight


def test_an_instant_counts_by_its_own_id_and_for_no_period() -> None:
    ledger, _ = taken([*CUTS[0], instant(0, "4")])
    found = ledger.newest("i")
    assert isinstance(found, UsageInstant)
    assert isinstance(ledger.newest("a"), UsageRecord)
    assert ledger.period("ls", START).complete


def test_a_type_or_a_field_that_is_not_known_is_passed_over() -> None:
    assert read('{"type":"usage.foretold","revision":"many"}') is None
    assert Ledger().take(None) is None
    known = read(json.dumps(cell("a", 0, "1", 1) | {"hue": "red"}))
    assert known == read(json.dumps(cell("a", 0, "1", 1)))


def test_a_record_of_version_1_is_read() -> None:
    record = cell("a", 0, "1", 1)
    later = ("invoiceable", "lago_parent_id", "min_amount_cents")
    record["charge"] = {name: v for name, v in record["charge"].items() if name not in later}
    for name in ("billing", "billed_in_advance", "presentation_breakdowns", "per_event"):
        del record[name]
    found = read(json.dumps(record | {"schema_version": 1}))
    assert isinstance(found, UsageRecord)
    assert (found.billing, found.charge.invoiceable) == ("arrears", True)


def test_figures_are_exact_and_instants_have_a_zone() -> None:
    found = read(json.dumps(cell("a", 0, "0.10", 1)))
    assert isinstance(found, UsageRecord)
    assert str(found.units) == "0.10"
    assert found.period.from_ == START
    with pytest.raises(ValidationError):
        found.units = Decimal(2)  # type: ignore[misc]
    done = read(json.dumps(completion(0, 2, 5)))
    assert isinstance(done, PeriodCompleted)
    assert done.final_after == datetime(2026, 12, 11, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "the value: Invalid JSON"),
        ("[]", "the value: "),
        ('{"units":"1"}', "the value: "),
        (json.dumps(cell("a", 0, "many", 1)), "units: "),
        (json.dumps(cell("a", 0, "1", 1) | {"period": {}}), "period.from: "),
    ],
)
def test_what_is_no_record_is_refused_with_its_field(text: str, said: str) -> None:
    with pytest.raises(UnreadableRecord) as refused:
        read(text)
    assert str(refused.value).startswith(said)


def test_it_needs_pydantic_alone() -> None:
    brought = {"pydantic", "pydantic_core", "annotated_types", "typing_extensions"}
    brought |= {"typing_inspection"}
    loaded = subprocess.run(
        [sys.executable, "-c", "import sys, app.records; print(*sys.modules)"],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    tops = {name.partition(".")[0] for name in loaded}
    assert {name for name in tops & set(packages_distributions()) if name[0] != "_"} <= {
        *brought, "app", "sitecustomize",
    }  # fmt: skip
    ours = {name for name in loaded if name.startswith("app.")}
    assert ours == {"app.records", "app.records.ledger", "app.records.models"}

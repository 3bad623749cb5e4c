"""A law of forgetting: whoever forgets final periods tells what one who keeps them does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import msgspec
import pytest
from msgspec.structs import replace

from app.bounds.turns import drained
from app.definitions import commands
from app.definitions.command import Command
from app.definitions.model import SettingsRecord
from app.wire.arrivals import Arrival, CorrectionArrival, MeterKey, SubscriptionKey
from tables.cells.forgotten import has_forgotten
from tables.closing.close import next_cut
from tests.laws.test_full_usage import figures
from tests.laws.test_repairs import Log
from tests.world.clock import DAY_MS, START_MS, WEEK_MS
from tests.world.definitions import (
    ORG,
    PREPAID,
    CommandAt,
    definitions_of,
    metric_body,
    presented_by,
    shown_by_keys,
)
from tests.world.past import as_told, past_usage
from tests.world.profiles import dear
from tests.world.repaired import NAME, Repaired
from tests.world.verified import differences

RECURRING = ("balance", "seats", "heads", "level")
CODES = ("count", "sum", "max", "latest", "average", "filtered", "unique", "visitors", *RECURRING)
LISTED = ("count", "max", "fees", "guests", "sum")
"""Charges whose records list single events."""
BY_KEYS = ("sum", "average", "latest", "filtered", "balance", "seats", "level", "prepaid", "calls")
"""Charges whose usage is also shown by presentation keys; of some what recurs."""
IN_ADVANCE = ("passes", "spent", "calls", "prepaid", "sum")
"""Charges paid in advance, of which one is grouped and one recurs; an amend may leave for a sum."""
RENEWED = (*PREPAID, "sum")
"""Charges paid in advance that recur; an amend may leave for a sum."""
TOLD_PACKED = ("count", "sum", "max", "latest", "filtered", "unique", "calls", "passes")
"""Charges whose cells may go while they are packed."""
SETTINGS = SettingsRecord(close_grid_s=60, revise_every_s=3600, late_window_s=86_400)
SEEDS, BY_DAY_SEEDS = dear(24), dear(6)
HIDDEN = {18}
"""Seeds where a correction takes out what came too late for a period that is forgotten by then."""
BY_DAY = replace(SETTINGS, daily_records=True)
PLAYED = [
    pytest.param(settings, seed, id=f"{name}-{seed}")
    for settings, name, seeds in ((SETTINGS, "periods", SEEDS), (BY_DAY, "days", BY_DAY_SEEDS))
    for seed in range(seeds)
]


class Forgetful(Repaired):
    """A partition that forgets after each cut."""

    forgets = True

    def __init__(self, definitions: list[CommandAt]):
        self.seen: Counter[str] = Counter()
        super().__init__(definitions, repairs=True)

    def close_until(self, at_ms: int) -> None:
        """Publish every cut up to a time, and forget what is final by then."""
        while (cut_ms := next_cut(self.partition, NAME)) <= at_ms:
            super().close_until(cut_ms)
            if self.forgets and self.forget(NAME):
                self.seen["forgot"] += 1
        super().close_until(at_ms)

    def restart(self) -> None:
        """Restart as an owner does, which follows corrections that are not shown yet."""
        super().restart()
        if list(drained(self.partition.corrected.following_all())):
            self._refolded(self.partition.event_ranges.meter_keys_of(NAME))
        self.mend()

    def refold(self, meter_keys: Iterable[MeterKey], *, redefined: bool = False) -> None:
        """Count what is brought back."""
        before = self.forgotten() if hasattr(self, "partition") else 0
        super().refold(meter_keys, redefined=redefined)
        self.seen["brought back"] += self.forgotten() < before

    def _refolded(self, meter_keys: set[MeterKey]) -> None:
        before = self.forgotten()
        super()._refolded(meter_keys)
        self.seen["corrected"] += self.forgotten() < before

    def forgotten(self) -> int:
        """Return of how many meter keys something is forgotten."""
        entries = self.partition.event_ranges.codes_of(NAME).values()
        return sum(entry.forgotten_ms >= 0 for entry in entries)


class Resting(Forgetful):
    """One that rests when it forgets."""

    def forget(self, name: SubscriptionKey) -> bool:
        """Pack the cells before."""
        self.flush()
        self.partition.packing.pack(name)
        return super().forget(name)


class Woken(Forgetful):
    """One that rested until then."""

    def forget(self, name: SubscriptionKey) -> bool:
        """Pack the cells and unpack them before: of a blank one nothing is left."""
        self.flush()
        self.partition.packing.pack(name)
        self.partition.packing.unpack(name)
        return super().forget(name)


class Keeping(Forgetful):
    forgets = False


class Thorough(Keeping):
    """Its revision cuts look at every period there was."""

    def close_until(self, at_ms: int) -> None:
        # A restart makes another partition.
        vars(self.partition.history)["reopens"] = lambda name, cut_ms: True
        super().close_until(at_ms)


def rewriting(log: Log, metric_ids: dict[str, str]) -> list[Command]:
    """An edit of a metric, and a history record over it; or a history record alone."""
    choose = log.choose
    from_ms = START_MS + choose.randrange(6) * WEEK_MS
    history = commands.apply_history(
        ORG,
        metric_ids=choose.sample(sorted(metric_ids.values()), choose.randint(1, 4)),
        from_ms=from_ms,
        to_ms=from_ms + choose.choice((1, 3, 100)) * WEEK_MS,
    )
    code = choose.choice(sorted(metric_ids))
    edit = metric_body(code, rounding_function=choose.choice(("round", "ceil", "floor")))
    edits = log.choose.random() < 0.7
    return [*([commands.update_billable_metric(ORG, code, edit)] if edits else []), history]


def repriced(log: Log, charge_ids: dict[str, str]) -> list[Command]:
    """Another price of a charge, which may list other events, and a history record over it."""
    code, from_ms = log.choose.choice(sorted(charge_ids)), START_MS
    price: dict[str, object] = {"amount": "1", "rate": "1"}
    if log.choose.random() < 0.7:
        price["free_units_per_events"] = log.choose.randint(1, 3)
    if log.choose.random() < 0.5:
        price["per_transaction_min_amount"] = "1"
    history = commands.apply_history(
        ORG, charge_ids=[charge_ids[code]], from_ms=from_ms, to_ms=from_ms + 100 * WEEK_MS
    )
    return [commands.update_charge(ORG, "plan", code, {"properties": price}), history]


def shown_otherwise(log: Log, charge_ids: dict[str, str]) -> list[Command]:
    """Other keys by which the usage of a charge is shown, or none, and maybe a history record."""
    code, from_ms = log.choose.choice(sorted(charge_ids)), START_MS
    keys = log.choose.choice([(), ("u",), ("g", "operation_type")])
    update = {"properties": {"amount": "1", **(presented_by(*keys) if keys else {})}}
    edits: list[Command] = [commands.update_charge(ORG, "plan", code, update)]
    if log.choose.random() < 0.5:
        to_ms = from_ms + log.choose.choice((3, 100)) * WEEK_MS
        named = [charge_ids[code]]
        history = commands.apply_history(ORG, charge_ids=named, from_ms=from_ms, to_ms=to_ms)
        edits.append(history)
    return edits


def moved_back(arrival: CorrectionArrival, log: Log) -> CorrectionArrival:
    """An amend that dates its event some weeks earlier."""
    event = arrival.correction.event
    if event is None:
        return arrival
    at_ms = max(START_MS - WEEK_MS, log.now_ms - log.choose.randrange(6 * WEEK_MS))
    event = replace(event, timestamp_ms=at_ms)
    return arrival._replace(correction=replace(arrival.correction, event=event))


def dated_back(arrival: Arrival, log: Log) -> Arrival:
    """An event dated in any period that is over, or before all, which what recurs counts."""
    at_ms = log.choose.randrange(START_MS - 2 * WEEK_MS, log.now_ms)
    return replace(arrival, event=replace(arrival.event, timestamp_ms=at_ms))


def other_waits(log: Log, settings: SettingsRecord) -> Command:
    """Settings by which later periods are final sooner, or not as soon; days are told, or not."""
    choose = log.choose
    late_window_s = choose.choice((3_600, 86_400, 20 * 86_400))
    settings = replace(settings, late_window_s=late_window_s, grace_s=choose.choice((0, 90)))
    if settings.daily_records:
        settings = replace(settings, daily_records=choose.random() < 0.6)
    return commands.set_settings(settings)


def take(
    live: Forgetful,
    at_ms: int,
    came: Iterable[Arrival] | CorrectionArrival,
    defined: Iterable[Command],
) -> None:
    """Take the cuts before a time, then what came at it, one by one, and what was defined."""
    live.close_until(at_ms - 1)
    live.define_until(at_ms)
    if isinstance(came, CorrectionArrival):
        live.correct(came)
    else:
        for arrival in came:
            live.deliver([arrival])
            live.mend()
    for command in defined:
        live.append(at_ms, command)


def play(
    twins: Iterable[Forgetful],
    definitions: list[CommandAt],
    seed: int,
    codes: tuple[str, ...] = CODES,
    settings: SettingsRecord = SETTINGS,
) -> int:
    """Play a log; return until when cuts were taken. Every other one has waits that change."""
    log, metric_ids = Log(seed, codes), metric_ids_of(definitions)
    for _ in range(60):
        each = log.next()
        at_ms, admitted = log.now_ms, log.choose.random() < 0.5
        if isinstance(each, CorrectionArrival) and log.choose.random() < 0.5:
            each = moved_back(each, log)
        rewritten = rewriting(log, metric_ids) if log.choose.random() < 0.1 else []
        if codes is LISTED and log.choose.random() < 0.1:
            rewritten += repriced(log, charge_ids_of(definitions))
        if codes is BY_KEYS and log.choose.random() < 0.1:
            rewritten += shown_otherwise(log, charge_ids_of(definitions))
        if seed % 2 and log.choose.random() < 0.1:
            rewritten.append(other_waits(log, settings))
        if isinstance(each, Arrival) and seed % 2 and log.choose.random() < 0.2:
            each = dated_back(each, log)
        flushed, restarted = log.choose.random() < 0.3, log.choose.random() < 0.05
        copied = isinstance(each, Arrival) and log.choose.random() < 0.15
        came: list[Arrival] | CorrectionArrival
        if isinstance(each, CorrectionArrival):
            came = each
        else:
            one = replace(each, admitted=admitted)
            # A copy on another partition, appended at the same time, may come before it.
            came = [replace(one, raw_partition=1), one] if copied else [one]
        for live in twins:
            take(live, at_ms, came, rewritten)
            if flushed:
                live.flush()
            if restarted:
                live.restart()
        if log.choose.random() < 0.3:
            log.now_ms += log.choose.choice([DAY_MS, WEEK_MS, 2 * WEEK_MS])
    end_ms = log.now_ms + 6 * WEEK_MS
    for live in twins:
        live.close_until(end_ms)
    return end_ms


def metric_ids_of(definitions: Iterable[CommandAt]) -> dict[str, str]:
    return {
        line.command.payload["billable_metric"]["code"]: line.command.payload["id"]
        for line in definitions
        if line.command.type == "create_billable_metric"
    }


def charge_ids_of(definitions: Iterable[CommandAt]) -> dict[str, str]:
    return {
        charge["code"]: charge["new_id"]
        for line in definitions
        if line.command.type == "create_plan"
        for charge in line.command.payload["plan"]["charges"]
    }


@pytest.mark.parametrize(("settings", "seed"), PLAYED)
@pytest.mark.parametrize(
    "codes",
    [CODES, IN_ADVANCE, RENEWED, LISTED, BY_KEYS],
    ids=["in arrears", "in advance", "renewed", "listed", "by keys"],
)
def test_the_same_is_published_and_told(
    codes: tuple[str, ...], settings: SettingsRecord, seed: int
) -> None:
    definitions = definitions_of(codes, settings, presents=codes in (LISTED, BY_KEYS))
    if codes is BY_KEYS:
        shown_by_keys(definitions)
    forgetful, keeping = Forgetful(definitions), Keeping(definitions)
    at_ms = play((forgetful, keeping), definitions, seed, codes, settings)
    assert forgetful.values() == keeping.values()
    assert forgetful.forgotten() > 0 == keeping.forgotten()
    ours, theirs = (past_usage(live.partition, NAME, at_ms) for live in (forgetful, keeping))
    # What came too late hid the parts of a row when it was kept. A correction took that out since.
    hidden = [as_told(*each) for each in zip(theirs, ours, strict=True)]
    told = [as_told(*each) for each in zip(ours, hidden, strict=True)]
    assert [one and one.rows for one in told] == [one and one.rows for one in hidden]
    assert hidden == theirs or seed in HIDDEN
    assert ours
    assert figures(forgetful, at_ms) == figures(keeping, at_ms) != {}
    assert differences(forgetful) == []
    forgetful.forget(NAME)
    forgetful.flush()
    assert left_of_forgotten(forgetful) == []


@pytest.mark.parametrize(("settings", "seed"), PLAYED)
@pytest.mark.parametrize("codes", [TOLD_PACKED, CODES], ids=["told packed", "told by routes, too"])
def test_of_who_rests_the_same_is_forgotten_as_by_routes(
    codes: tuple[str, ...], settings: SettingsRecord, seed: int
) -> None:
    definitions = definitions_of(codes, settings)
    woken, resting = Woken(definitions), Resting(definitions)
    at_ms = play((woken, resting), definitions, seed, codes, settings)
    assert woken.values() == resting.values()
    left = []
    for live in (woken, resting):
        live.forget(NAME)
        live.flush()
        entries = live.partition.event_ranges.codes_of(NAME)
        forgotten_ms = {code: entry.forgotten_ms for code, entry in entries.items()}
        members = live.changelog.members.keys(), live.changelog.store.keys()
        left.append((forgotten_ms, live.changelog.cells.keys(), *members, figures(live, at_ms)))
    assert left[0] == left[1]
    assert left_of_forgotten(resting) == []
    assert differences(resting) == []


@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_revision_looks_at_all_that_it_revises(seed: int) -> None:
    definitions = definitions_of(CODES, SETTINGS)
    some, all_ = Keeping(definitions), Thorough(definitions)
    play((some, all_), definitions, seed)
    assert some.values() == all_.values() != []
    periods = [live.partition.work.counts["close", "periods"] for live in (some, all_)]
    assert periods[0] <= periods[1]


def left_of_forgotten(live: Forgetful) -> list[str]:
    """Return members of unique counts whose cells are forgotten; of cells refolded since, none."""
    routes = [
        live.partition.packing.route_of((*NAME, code)) for code in ("unique", "visitors", "passes")
    ]
    spans = {(*span.key, span.generation): span for route in routes for span in route.spans}
    found = []
    for key, text in live.changelog.members:
        *of_span, start_ms, _, _ = msgspec.msgpack.decode(key)
        span = spans.get(tuple(of_span))
        period = None if span is None else span.timeline.holding(start_ms)
        if span is not None and period is not None and has_forgotten(span, period):
            found.append(text)
    return found

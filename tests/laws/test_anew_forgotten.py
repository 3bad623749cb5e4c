"""A law of beginning anew: what is over stays forgotten, and the same is told as if it was not."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

import pytest
from msgspec.structs import replace

from app.definitions import commands
from app.definitions.command import Command
from app.definitions.model import SettingsRecord
from app.wire.arrivals import Arrival, CorrectionArrival, MeterKey
from tables.cells.forgotten import is_over
from tests.laws.test_forgetting import (
    BY_DAY,
    BY_KEYS,
    CODES,
    RECURRING,
    RENEWED,
    SETTINGS,
    Forgetful,
    Keeping,
    dated_back,
    moved_back,
    take,
)
from tests.laws.test_full_usage import figures
from tests.laws.test_repairs import Log
from tests.world.clock import DAY_MS, WEEK_MS
from tests.world.definitions import (
    ORG,
    SUBSCRIPTION,
    definitions_of,
    shown_by_keys,
    subscription_body,
)
from tests.world.past import as_told, past_usage
from tests.world.profiles import dear
from tests.world.repaired import NAME
from tests.world.verified import differences

SEEDS = dear(12)
FEW_GROUPS = replace(SETTINGS, max_groups=2)
CORRECTED = 3
"""Of so many seeds one has corrections, after which all is brought back."""


class LeavingOut(Forgetful):
    """It counts the refolds that left out what is over."""

    def refold(self, meter_keys: Iterable[MeterKey], *, redefined: bool = False) -> None:
        """Look what is over before and after."""
        keys = list(meter_keys)
        before = self.over(keys)
        super().refold(keys, redefined=redefined)
        self.seen["stayed over"] += bool(before & self.over(keys))

    def over(self, keys: Iterable[MeterKey]) -> set[object]:
        """Return what recurs and is over of some meter keys."""
        if not hasattr(self, "partition"):
            return set()
        routes = map(self.partition.packing.route_of, keys)
        spans = (span for route in routes for span in route.spans)
        return {span.key for span in spans if span.fold.metric.recurring and is_over(span)}


class BringingBack(Forgetful):
    """Each definition brings back all that is forgotten."""

    keeps_forgotten = False


def begun_anew(log: Log) -> list[Command]:
    """End the subscription, and begin another one under its id, at once or from tomorrow on."""
    at_ms = log.now_ms + log.choose.choice([0, 0, DAY_MS])
    later = {"subscription_at": datetime.fromtimestamp(at_ms / 1000, UTC).isoformat()}
    body = subscription_body(**(later if at_ms > log.now_ms else {}))
    ended = commands.terminate_subscription(ORG, SUBSCRIPTION)
    return [ended, commands.create_subscription(ORG, body)]


def play(
    twins: Iterable[Forgetful], seed: int, codes: tuple[str, ...], settings: SettingsRecord
) -> int:
    """Play a log of events, some of them dated back, among beginnings; return its end."""
    log = Log(seed, codes)
    for _ in range(60):
        each = log.next()
        at_ms, choose = log.now_ms, log.choose
        if isinstance(each, CorrectionArrival):
            if seed % CORRECTED or choose.random() < 0.7:
                continue
            each = moved_back(each, log) if choose.random() < 0.5 else each
        elif choose.random() < 0.2:
            each = dated_back(each, log)
        defined = begun_anew(log) if choose.random() < 0.2 else []
        if choose.random() < 0.05:
            waits_s = choose.choice((3_600, 86_400, 10 * 86_400))
            defined.append(commands.set_settings(replace(settings, late_window_s=waits_s)))
        if choose.random() < 0.1:
            keys = {"pricing_group_keys": ["g"]} if choose.random() < 0.5 else {}
            body = {"properties": {"amount": "1", **keys}}
            defined.append(commands.update_charge(ORG, "plan", choose.choice(codes), body))
        flushed, restarted = choose.random() < 0.3, choose.random() < 0.05
        for live in twins:
            take(live, at_ms, [each] if isinstance(each, Arrival) else each, defined)
            if flushed:
                live.flush()
            if restarted:
                live.restart()
        if choose.random() < 0.4:
            log.now_ms += choose.choice([DAY_MS, 3 * DAY_MS, WEEK_MS, 2 * WEEK_MS])
    end_ms = log.now_ms + 6 * WEEK_MS
    for live in twins:
        live.close_until(end_ms)
    return end_ms


@pytest.mark.parametrize("seed", range(SEEDS))
@pytest.mark.parametrize(
    ("codes", "settings"),
    [
        (RECURRING, SETTINGS),
        (RECURRING, FEW_GROUPS),
        (RECURRING, BY_DAY),
        (CODES, SETTINGS),
        (BY_KEYS, SETTINGS),
        (RENEWED, SETTINGS),
        (RENEWED, FEW_GROUPS),
    ],
    ids=["recurring", "few groups", "days", "in arrears", "by keys", "renewed", "few renewed"],
)
def test_the_same_is_published_and_told(
    codes: tuple[str, ...], settings: SettingsRecord, seed: int
) -> None:
    definitions = definitions_of(codes, settings, presents=codes is BY_KEYS)
    if codes is BY_KEYS:
        shown_by_keys(definitions)
    twins = LeavingOut(definitions), BringingBack(definitions), Keeping(definitions)
    twins[0].refolds_apart = seed % 2 == 1
    at_ms = play(twins, seed, codes, settings)
    leaving, bringing, keeping = twins
    assert leaving.values() == bringing.values() == keeping.values()
    told = [past_usage(live.partition, NAME, at_ms) for live in twins]
    assert [one and one.rows for one in told[0]] == [one and one.rows for one in told[1]]
    # What came too late hid the parts of a row when it was kept.
    hidden = [as_told(*each) for each in zip(told[2], told[0], strict=True)]
    kept = [as_told(*each) for each in zip(told[0], hidden, strict=True)]
    assert [one and one.rows for one in kept] == [one and one.rows for one in hidden]
    shown = [figures(live, at_ms) for live in twins]
    assert shown[0] == shown[1] == shown[2]
    assert differences(leaving) == []
    for live in (leaving, bringing):
        live.forget(NAME)
        live.flush()
    assert len(leaving.changelog.cells) <= len(bringing.changelog.cells)
    assert len(leaving.changelog.store) <= len(bringing.changelog.store)

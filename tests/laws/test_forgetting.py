"""A law of forgetting: whoever forgets final periods publishes what one who keeps them does."""

from __future__ import annotations

from collections import Counter

import pytest
from msgspec.structs import replace

from app.definitions.model import SettingsRecord
from app.wire.arrivals import Arrival
from tables.closing.close import next_cut
from tables.closing.forgetting import forget
from tables.reading.verification import Verification
from tests.laws.test_repairs import NAME, Log, Repaired
from tests.world.clock import DAY_MS, HOUR_MS, START_MS, WEEK_MS
from tests.world.definitions import CommandAt, definitions_of
from tests.world.events import arrived
from tests.world.profiles import count

CODES = ("count", "sum", "max", "latest", "average", "filtered", "balance", "unique")
SETTINGS = SettingsRecord(close_grid_s=60, revise_every_s=3600, late_window_s=86_400)
SEEDS = count(24)


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
            if self.forgets and forget(self.partition, NAME):
                self.seen["forgot"] += 1
        super().close_until(at_ms)

    def restart(self) -> None:
        """Restart as an owner does, which follows corrections that are not shown yet."""
        super().restart()
        if self.partition.corrected.follow_all():
            self._refolded()
        self.mend()

    def refold(self, meter_keys: object) -> None:
        """Count what is brought back."""
        before = self.forgotten() if hasattr(self, "partition") else 0
        super().refold(meter_keys)  # type: ignore[arg-type]
        self.seen["brought back"] += self.forgotten() < before

    def _refolded(self) -> None:
        before = self.forgotten()
        super()._refolded()
        self.seen["corrected"] += self.forgotten() < before

    def forgotten(self) -> int:
        """Return of how many meter keys something is forgotten."""
        entries = self.partition.event_ranges.codes.get(NAME, {}).values()
        return sum(entry.forgotten_ms >= 0 for entry in entries)


class Keeping(Forgetful):
    forgets = False


def played(live: Forgetful, seed: int) -> Forgetful:
    log = Log(seed, CODES)
    for _ in range(60):
        each = log.next()
        at_ms = log.now_ms
        live.close_until(at_ms - 1)
        live.define_until(at_ms)
        if isinstance(each, Arrival):
            live.deliver([replace(each, admitted=log.choose.random() < 0.5)])
            live.mend()
        else:
            live.correct(each)
        if log.choose.random() < 0.3:
            live.flush()
        if log.choose.random() < 0.05:
            live.restart()
        if log.choose.random() < 0.3:
            log.now_ms += log.choose.choice([DAY_MS, WEEK_MS, 2 * WEEK_MS])
    live.close_until(log.now_ms + 6 * WEEK_MS)
    return live


@pytest.mark.parametrize("seed", range(SEEDS))
def test_the_same_is_published(seed: int) -> None:
    definitions = definitions_of(CODES, SETTINGS)
    forgetful, keeping = (played(kind(definitions), seed) for kind in (Forgetful, Keeping))
    assert forgetful.values() == keeping.values()
    verification = Verification(forgetful.partition, [NAME])
    verification.feed(forgetful.arrived())
    assert [meter_key.differences for meter_key in verification.compare()] == [
        [] for _ in verification.meter_keys
    ]
    assert [found for found in verification.compare_published() if found] == []


def test_cells_of_closed_periods_do_not_become_more() -> None:
    kept = []
    for periods in (2, 12, 60):
        live = Forgetful(definitions_of(("count", "sum"), SETTINGS))
        for week in range(periods):
            at_ms = START_MS + week * WEEK_MS + HOUR_MS
            live.close_until(at_ms - 1)
            live.define_until(at_ms)
            live.deliver(
                [
                    arrived(code, 2 * week + i, at_ms, v="1", g="x")
                    for i, code in enumerate(("count", "sum"))
                ]
            )
            live.flush()
        live.close_until(START_MS + periods * WEEK_MS)
        live.flush()
        kept.append((len(live.changelog.cells), live.partition.checkpoint.cells))
    assert kept[0] == kept[1] == kept[2]

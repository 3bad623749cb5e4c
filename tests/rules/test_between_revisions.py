"""A cut between two revisions: what counts from it on is revised at the next one, come what may."""

from __future__ import annotations

import msgspec

from app.definitions import commands
from app.definitions.model import SettingsRecord
from app.wire.arrivals import CorrectionArrival
from app.wire.events import Correction
from tables.closing.close import next_cut
from tables.partition.refold import Refold
from tables.reading.verification import Verification
from tests.world.begun import begun
from tests.world.clock import DAY_MS, HOUR_MS, START_MS, WEEK_MS
from tests.world.definitions import ORG, SUBSCRIPTION, definitions_of
from tests.world.events import arrived
from tests.world.partition import Live

MINUTE_MS = 60_000
LATE_MS = START_MS + WEEK_MS + DAY_MS + 1
ENDED_MS = LATE_MS + MINUTE_MS
"""A termination of the second week: due at once, between two revisions of the first."""
BETWEEN_MS = LATE_MS + 2 * MINUTE_MS
REVISION_MS = START_MS + WEEK_MS + DAY_MS + HOUR_MS


def test_a_refold_before_the_next_revision_keeps_it_to_come() -> None:
    """Also over a restart: only the cells say then what is to be revised."""
    settings = SettingsRecord(close_grid_s=60, revise_every_s=3600)
    live = Live(definitions_of(["balance"], settings))
    live.define_all()
    live.close_until(LATE_MS - 1)
    live.deliver([arrived("balance", 0, START_MS, LATE_MS, transaction_id="t", v="1")])
    live.append(ENDED_MS, commands.terminate_subscription(ORG, SUBSCRIPTION))
    live.close_until(BETWEEN_MS)
    # A refold for the corrections that the next cut shows, as the owner of a partition makes it.
    name = (ORG, SUBSCRIPTION)
    refold = Refold(
        live.partition, live.partition.event_ranges.meter_keys_of(name), {name: REVISION_MS}
    )
    refold.feed(live.arrived())
    assert refold.swap()
    live.restart()
    late = live.partition.cuts.late
    assert {each: [*late.of(each)] for each in late.by_name} == {name: [REVISION_MS]}
    live.close_until(REVISION_MS)
    told = [body["closed_at"][:16] for body in live.bodies() if body["type"] == "usage.recorded"]
    assert told == ["2024-01-09T00:02", "2024-01-09T01:00"]


def test_what_the_period_before_showed_is_closed_with_zero_though_its_event_is_cancelled() -> None:
    """No cell is left of it, and the revision of the period before is yet to come."""
    settings = SettingsRecord(close_grid_s=60, revise_every_s=3600)
    live = Live(definitions_of(["balance"], settings))
    live.define_all()
    live.deliver([arrived("balance", 0, START_MS, START_MS + 1, transaction_id="t", v="1")])
    live.close_until(LATE_MS - 1)
    cancel = Correction(ORG, SUBSCRIPTION, "t", "cancel", None, "c", b"")
    live.partition.corrected.correct(CorrectionArrival(cancel, ORG, LATE_MS, 0, 1, 0))
    live.append(ENDED_MS, commands.terminate_subscription(ORG, SUBSCRIPTION))
    name = (ORG, SUBSCRIPTION)
    horizons = {name: next_cut(live.partition, name)}
    refold = Refold(live.partition, live.partition.event_ranges.meter_keys_of(name), horizons)
    refold.feed(live.arrived())
    assert refold.swap()
    live.close_until(REVISION_MS)
    told = [
        (body["period"]["from"][:10], body["units"], body["closed_at"][11:16])
        for body in live.bodies()
        if body["type"] != "period.completed"
    ]
    assert told == [
        ("2024-01-01", "1.0", "00:00"),
        ("2024-01-08", "0.0", "00:02"),
        ("2024-01-01", "0.0", "01:00"),
    ]


def test_what_a_finer_grid_has_published_stays_apart_until_every_grid_has() -> None:
    """In a refold for a correction as in the live fold, or verify takes it for a difference."""
    settings = SettingsRecord(close_grid_s=60, revise_every_s=86_400)
    finer = msgspec.structs.replace(settings, revise_every_s=3_600)
    live = Live(definitions_of(["max"], settings))
    live.define_all()
    late_ms = START_MS + 2 * WEEK_MS + HOUR_MS // 2
    week_2 = START_MS + WEEK_MS
    events = [
        arrived("max", 0, START_MS, START_MS + 1, transaction_id="first", v="1"),
        arrived("max", 1, week_2, late_ms, transaction_id="late", v="1"),
    ]
    live.deliver(events[:1])
    live.close_until(week_2)
    live.append(week_2 + 1, commands.set_settings(finer))
    live.close_until(late_ms - 1)
    live.deliver(events[1:])
    live.close_until(late_ms + HOUR_MS)
    cancel = Correction(ORG, SUBSCRIPTION, "first", "cancel", None, "c", b"")
    corrected_ms = late_ms + HOUR_MS + 1
    live.define_until(corrected_ms)
    live.partition.corrected.correct(CorrectionArrival(cancel, ORG, corrected_ms, 0, 2, 0))
    name = (ORG, SUBSCRIPTION)
    horizons = {name: next_cut(live.partition, name)}
    refold = Refold(live.partition, live.partition.event_ranges.meter_keys_of(name), horizons)
    refold.feed(live.arrived())
    assert refold.swap()
    verification = begun(Verification(live.partition, [name]))
    verification.feed(live.arrived())
    assert [meter_key.differences for meter_key in filter(None, verification.compare())] == [[]]


def test_cuts_are_settled_where_revisions_of_all_grids_meet() -> None:
    settings = SettingsRecord(close_grid_s=60, revise_every_s=7_200)
    live = Live(definitions_of(["max"], settings))
    live.define_all()
    other = msgspec.structs.replace(settings, revise_every_s=10_800)
    live.append(START_MS, commands.set_settings(other))
    cuts, settled_ms = live.partition.cuts, []
    for hours in (2, 3, 6, 11):
        live.partition.checkpoint.cut_ms = START_MS + hours * HOUR_MS
        settled_ms.append(cuts.settled_ms - START_MS)
    assert settled_ms == [0, 0, 6 * HOUR_MS, 6 * HOUR_MS]

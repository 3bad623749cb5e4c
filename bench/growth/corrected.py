"""Rows of corrections: put in force by a difference, or by a refold of the codes they concern."""

from __future__ import annotations

from app.bounds.turns import drained
from app.wire.arrivals import Arrival, MeterKey
from bench.growth.spent import Spent
from bench.growth.world import DAY_MS, NOW_MS, TIMES, World, aged, names
from tables.closing.close import next_cut, settle
from tables.partition.refold import Refold
from tables.partition.repair import Original, Repair

VALUES = 64
"""Events of the maximum, each of which has a greater value than those before it."""


def correction(world: World) -> Spent:
    """Cancel an event of each subscription, once it is read by its place in the index."""
    wrong = [next(iter(world.of([name]))) for name in names()]

    def cancel(number: int) -> None:
        world.correct(wrong[number])
        if _repaired(world, wrong[number])[1] != set():
            raise RuntimeError("a correction needs a refold")

    return world.spent(cancel)


def greatest(events: int) -> Spent:
    """Amend the greatest value of a maximum, beside so many events of another code."""
    world = World(1)
    settle(world.state, NOW_MS - 2 * DAY_MS)
    least, *greater = [world.event(0, "cpu") for _ in range(VALUES)]
    world.fold([least, *greater])
    wrong = greater[: -TIMES - 1 : -1]
    world.fold(world.event(0) for _ in range(events))
    world.flush()

    def amend(number: int) -> None:
        world.correct(wrong[number], least.event.properties)
        _refolded(world, wrong[number])

    return world.spent(amend)


def greatest_at_an_age(months: int) -> Spent:
    """Cancel the event of a maximum in the month that is open; most months are forgotten."""
    world = aged(months, "cpu")
    wrong = [list(world.of([name]))[-1] for name in names()]

    def cancel(number: int) -> None:
        world.correct(wrong[number], appended_ms=NOW_MS + DAY_MS)
        _refolded(world, wrong[number])

    return world.spent(cancel)


def _refolded(world: World, wrong: Arrival) -> None:
    """Refold what a repair leaves, as an owner does."""
    name = wrong.name
    job, left = _repaired(world, wrong)
    if not left:
        raise RuntimeError("a correction needs no refold")
    told = {name: next_cut(world.state, name)}, {name: job.dated_ms}
    world.refold(Refold(world.state, left, told[0], redefined=left, dated=told[1]))


def _repaired(world: World, wrong: Arrival) -> tuple[Repair, set[MeterKey] | None]:
    """Repair a subscription as an owner does; return what a refold has to fold."""
    job = Repair(world.state, wrong.name, next_cut(world.state, wrong.name))
    originals: dict[bytes, Original | None] = {}
    for identity in job.turning():
        entry = world.state.index.find(identity)
        originals[identity] = None if entry is None else Original.of(entry, wrong)
    left = drained(job.repairing(originals))
    if left == set():
        job.finish()
    return job, left

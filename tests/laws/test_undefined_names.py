"""Names that nothing defines: few are kept one by one, and figures are as if all were."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from random import Random

from hypothesis import example, given
from hypothesis import strategies as st
from msgspec.structs import replace

from app.definitions import commands
from app.definitions.command import Command
from app.definitions.model import SettingsRecord
from app.wire.arrivals import Arrival, MeterKey
from tables.changelogged.presence import REST, LogsKept
from tables.partition.refold import Refold
from tests.world.clock import DAY_MS, HOUR_MS, START_MS, WEEK_MS
from tests.world.definitions import (
    ORG,
    SETTINGS,
    CommandAt,
    lines,
    metric_body,
    plan_body,
    subscription_body,
)
from tests.world.events import arrived, event
from tests.world.partition import Live
from tests.world.profiles import examples

CODES = ["count", "sum", "unique"]
NAMES = ["sub", "sub-2", "sub-3", "sub-4"]
END_MS = START_MS + 4 * WEEK_MS


class Worker(Live):
    """Reads again only what lies where presence says that the events begin, as a worker does."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = self.partition.event_ranges.most_undefined = most

    def restart(self) -> None:
        super().restart()
        self.partition.event_ranges.most_undefined = self.most

    def deliver(self, arrivals: Sequence[Arrival]) -> None:
        super().deliver(arrivals)
        checkpoint = self.partition.checkpoint
        for arrival in arrivals:
            if arrival.rekeyed_offset >= 0:
                checkpoint.rekeyed_next = arrival.rekeyed_offset + 1
            else:
                checkpoint.raw_next = arrival.raw_offset + 1

    def refold(self, meter_keys: Iterable[MeterKey], *, redefined: bool = False) -> None:
        wanted = set(meter_keys)
        if not wanted:
            return
        refold = Refold(self.partition, wanted)
        while True:
            raw, rekeyed = refold.start_offsets()
            # The two logs are read side by side, in no order.
            refold.feed(
                [a for a in self.arrived() if rekeyed is not None and a.rekeyed_offset >= rekeyed]
            )
            refold.feed(
                [
                    a
                    for a in self.arrived()
                    if a.rekeyed_offset < 0 and raw is not None and a.raw_offset >= raw
                ]
            )
            if refold.swap():
                return


def _definitions(random: Random) -> list[tuple[int, Command]]:
    """Some come late, each in its turn."""
    made: list[Command] = [
        *(commands.create_billable_metric(ORG, metric_body(code)) for code in CODES),
        commands.create_plan(ORG, plan_body(CODES)),
        commands.upsert_customer(ORG, {"external_id": "customer"}),
        *(commands.create_subscription(ORG, subscription_body(external_id=n)) for n in NAMES[:3]),
    ]
    implicit = SettingsRecord(close_grid_s=60, revise_every_s=3600, implicit_plan=True)
    first = [(START_MS - HOUR_MS, commands.set_settings(SETTINGS))]
    late = random.choice([1, 3, 4, 5, 8])
    until_ms = random.choice([END_MS, START_MS + WEEK_MS])
    times = sorted(random.randint(START_MS, until_ms) for _ in range(late))
    then = made[len(made) - late :]
    plan_at = [(START_MS - HOUR_MS, each) for each in made[: len(made) - late]]
    if random.random() < 1 / 4:
        then.append(commands.set_settings(implicit))
        times.append(END_MS)
    changes = list(zip(times, then, strict=True))
    if random.random() < 2 / 3:
        # Whatever was found before is read again, and a code is defined that no plan had.
        plan = next(c for c in made if c.type == "create_plan").payload["plan"]
        grouped = {"properties": {"amount": "1", "pricing_group_keys": ["g"]}}
        charges = [
            {**{k: v for k, v in c.items() if k != "new_id"}, "id": c["new_id"], **grouped}
            for c in plan["charges"]
        ]
        extra = [*charges, *plan_body(["max"])["charges"]]
        at_ms = random.randint(times[-1], END_MS)
        changes.append((at_ms, commands.create_billable_metric(ORG, metric_body("max"))))
        at_ms = random.randint(at_ms, END_MS)
        changes.append((at_ms, commands.update_plan(ORG, "plan", {"charges": extra})))
    return [*first, *plan_at, *sorted(changes, key=lambda change: change[0])]


def _arrivals(random: Random) -> list[Arrival]:
    times = sorted(random.randint(START_MS, END_MS) for _ in range(random.randint(1, 50)))
    offsets = [0, 0]
    made: list[Arrival] = []
    for at_ms in times:
        forwarded = random.random() < 1 / 3
        offset = offsets[forwarded]
        offsets[forwarded] += 1
        code = random.choice([*CODES, "max", "nothing"])
        dated_ms = max(START_MS, at_ms - random.choice([0, HOUR_MS, 3 * DAY_MS, 10 * DAY_MS]))
        transaction_id = random.choice([f"t{len(made)}", f"t{random.randint(0, 50)}"])
        one = event(code, transaction_id, dated_ms, random.choice(NAMES), v="1", u="a")
        made.append(
            Arrival(one, ORG, at_ms, int(forwarded), offset, 0, offset if forwarded else -1)
        )
    return made


def _told(
    random: Random, worker: Worker, definitions: list[CommandAt], arrivals: list[Arrival]
) -> Worker:
    """The same story, whatever the worker keeps."""
    worker._to_define = list(definitions)
    worker.define()
    done = 0
    while done < len(arrivals):
        size = random.randint(1, 6)
        slice_, done = arrivals[done : done + size], done + size
        # Some definitions are read ahead of the events, some after them.
        lag_ms = random.choice([0, 0, -DAY_MS, DAY_MS])
        worker.define_until(slice_[-1].append_time_ms + lag_ms)
        worker.deliver(slice_)
        if random.random() < 1 / 3:
            worker.restart()
        if random.random() < 1 / 3:
            worker.close_until(slice_[-1].append_time_ms - 2 * DAY_MS)
    worker.define_all()
    worker.close_until(END_MS + 2 * WEEK_MS)
    return worker


@example(345, 1)  # Found with the rest once more, of events that came both ways.
@examples(150)
@given(st.integers(0, 1 << 32), st.integers(0, 3))
def test_what_is_defined_later_counts_whatever_is_kept(seed: int, most: int) -> None:
    random = Random(seed)
    definitions, arrivals = lines(_definitions(random)), _arrivals(random)
    few, all_ = (_told(Random(seed), Worker(kept), definitions, arrivals) for kept in (most, 1_000))
    assert few.cells() == all_.cells()
    assert few.values() == all_.values()
    assert few.partition.ignored.keys() == all_.partition.ignored.keys()
    assert len(few.partition.event_ranges.undefined) <= most


def test_undefined_names_take_no_memory_beyond_the_limit() -> None:
    worker = Worker(10)
    worker.append(START_MS - HOUR_MS, commands.set_settings(SETTINGS))
    for number in range(100):
        one = event("count", f"t{number}", START_MS, f"random-{number}")
        worker.deliver([Arrival(one, ORG, START_MS + number, 0, number, 0)])
    partition = worker.partition
    assert len(partition.event_ranges.undefined) == len(partition.event_ranges.codes) == 10
    assert len(partition.routes.by_key) == 10
    assert not partition.timelines.of(("org", "random-50"))
    rest = partition.event_ranges.find(REST[:2], REST[2])
    assert rest is not None
    assert (rest.raw_first, rest.appended_ms) == (10, START_MS + 99)


def test_a_search_is_for_what_is_defined_since() -> None:
    worker = Worker(0)
    worker.append(START_MS - HOUR_MS, commands.set_settings(SETTINGS))
    worker.deliver([arrived("count", 0, START_MS, transaction_id="t")])
    refolded: list[set[MeterKey]] = []

    def refold(meter_keys: Iterable[MeterKey], *, redefined: bool = False) -> None:
        refolded.append(set(meter_keys))

    worker.refold = refold  # type: ignore[method-assign]
    at_ms = START_MS + HOUR_MS
    worker.append(at_ms, commands.upsert_customer(ORG, {"external_id": "customer"}))
    worker.append(at_ms, commands.create_plan(ORG, plan_body([])))
    assert not any(refolded)
    worker.append(at_ms, commands.create_billable_metric(ORG, metric_body("count")))
    assert refolded[-1] == {REST}
    del worker.refold
    worker.refold({REST})
    assert not list(worker.partition.event_ranges.codes), "it has no subscription yet"
    worker.append(at_ms + 1, commands.create_subscription(ORG, subscription_body()))
    assert list(worker.partition.event_ranges.codes) == [(ORG, "sub")]


def _told_of_nobody(worker: Worker) -> list[set[MeterKey]]:
    """Have what is to be refolded listed, not done, after events of undefined names."""
    worker.append(START_MS - HOUR_MS, commands.set_settings(SETTINGS))
    worker.append(START_MS - HOUR_MS, commands.upsert_customer(ORG, {"external_id": "customer"}))
    worker.append(START_MS - HOUR_MS, commands.create_plan(ORG, plan_body([])))
    worker.append(START_MS - HOUR_MS, commands.create_billable_metric(ORG, metric_body("count")))
    for number, external_id in enumerate(["sub", "sub-2"]):
        one = event("count", f"t{number}", START_MS, external_id)
        worker.deliver([Arrival(one, ORG, START_MS + number, 0, number, 0)])
    return _listing(worker)


def _listing(worker: Worker) -> list[set[MeterKey]]:
    asked: list[set[MeterKey]] = []
    worker.refold = lambda keys, **_: asked.append(set(keys))  # type: ignore[method-assign]
    return asked


def _subscribe(worker: Worker, at_ms: int, external_id: str) -> None:
    worker.append(
        at_ms, commands.create_subscription(ORG, subscription_body(external_id=external_id))
    )


def test_a_definition_of_no_such_name_asks_for_no_search() -> None:
    worker, at_ms = Worker(0), START_MS + HOUR_MS
    asked = _told_of_nobody(worker)
    _subscribe(worker, at_ms, "sub-3")
    worker.append(at_ms, commands.create_billable_metric(ORG, metric_body("sum")))
    worker.append(at_ms + 1, commands.create_billable_metric("other", metric_body("count")))
    assert not any(asked)
    searched_ms = worker.partition.checkpoint.searched_ms
    assert searched_ms == at_ms + 1, "no search has to look for these"
    worker.append(at_ms + 1, commands.set_settings(replace(SETTINGS, grace_s=60)))
    assert REST not in set().union(*asked)
    _subscribe(worker, at_ms + 2, "sub")
    assert asked[-1] == {REST}


def test_settings_that_have_an_implicit_plan_first_ask_for_a_search() -> None:
    worker = Worker(0)
    asked = _told_of_nobody(worker)
    settings = commands.set_settings(replace(SETTINGS, implicit_plan=True))
    worker.append(START_MS + HOUR_MS, settings)
    assert {REST} in asked


def test_after_a_restart_one_search_tells_who_has_such_events() -> None:
    worker, at_ms = Worker(0), START_MS + HOUR_MS
    _told_of_nobody(worker)
    worker.restart()
    asked = _listing(worker)
    _subscribe(worker, at_ms, "sub-3")
    assert asked == [{REST}], "it is not written down"
    del worker.refold
    worker.refold({REST})
    asked = _listing(worker)
    _subscribe(worker, at_ms + 1, "sub-4")
    assert not any(asked)
    _subscribe(worker, at_ms + 2, "sub")
    assert asked[-1] == {REST}


def test_what_is_asked_for_while_a_search_goes_on_is_not_forgotten() -> None:
    worker, at_ms = Worker(0), START_MS + HOUR_MS
    _told_of_nobody(worker)
    _subscribe(worker, at_ms, "sub")
    job = Refold(worker.partition, {REST})
    _subscribe(worker, at_ms + 1, "sub-2")
    job.feed(worker.arrived())
    assert job.swap()
    assert worker.partition.redefinition.is_searched_for(ORG)
    _subscribe(worker, at_ms + 2, "sub-3")
    del worker.refold
    worker.refold({REST})
    assert {*worker.partition.event_ranges.codes} == {(ORG, "sub"), (ORG, "sub-2")}
    assert not worker.partition.redefinition.is_searched_for(ORG)


def test_an_event_that_was_refused_names_nothing() -> None:
    worker = Worker(0)
    implicit = SettingsRecord(close_grid_s=60, revise_every_s=3600, implicit_plan=True)
    worker.append(START_MS - HOUR_MS, commands.set_settings(implicit))
    far_ms = START_MS + 50 * 365 * DAY_MS
    for number, (name, at_ms) in enumerate([("sub", START_MS), ("refused", far_ms)]):
        worker.deliver([arrived("count", number, at_ms, START_MS, external_id=name)])
    worker.append(START_MS + HOUR_MS, commands.create_billable_metric(ORG, metric_body("count")))
    assert list(worker.partition.event_ranges.codes) == [(ORG, "sub")]


def test_a_name_that_is_kept_late_is_known_to_begin_earlier() -> None:
    worker = Worker(1)
    worker.append(START_MS - HOUR_MS, commands.set_settings(SETTINGS))
    worker.append(START_MS - HOUR_MS, commands.upsert_customer(ORG, {"external_id": "customer"}))
    worker.append(START_MS - HOUR_MS, commands.create_billable_metric(ORG, metric_body("count")))
    worker.append(START_MS - HOUR_MS, commands.create_plan(ORG, plan_body(["count"])))

    def send(number: int, external_id: str) -> None:
        one = event("count", f"t{number}", START_MS, external_id)
        worker.deliver([Arrival(one, ORG, START_MS + number, 0, number, 0)])

    for number, external_id in enumerate(["sub-2", "sub"]):
        send(number, external_id)
    worker.append(
        START_MS + 2, commands.create_subscription(ORG, subscription_body(external_id="sub-2"))
    )
    send(3, "sub")
    kept = worker.partition.event_ranges.find((ORG, "sub"), "count")
    assert kept is not None
    assert kept.raw_first == 3, "there is room for it now"
    worker.append(START_MS + 4, commands.create_subscription(ORG, subscription_body()))
    assert kept.raw_first == 1


def test_a_search_leaves_alone_what_lacks_events_of_its_own() -> None:
    """Folded anew from what is left it would come to less."""
    worker, name = Worker(1), (ORG, "sub")
    made = (
        commands.set_settings(SETTINGS),
        commands.upsert_customer(ORG, {"external_id": "customer"}),
        commands.create_billable_metric(ORG, metric_body("count")),
        commands.create_plan(ORG, plan_body(["count"])),
    )
    for command in made:
        worker.append(START_MS - HOUR_MS, command)
    for number, external_id in enumerate(["sub-2", "sub"]):
        one = event("count", f"t{number}", START_MS, external_id)
        worker.deliver([Arrival(one, ORG, START_MS + number, 0, number, 0)])
    refolded: list[set[MeterKey]] = []
    worker.refold = lambda keys, **_: refolded.append(set(keys))  # type: ignore[method-assign]
    worker.append(START_MS + 2, commands.create_subscription(ORG, subscription_body()))
    assert {REST} in refolded
    worker.deliver([arrived("count", 3, START_MS, START_MS + 3, external_id="sub")])
    for start, folds in ((3, True), (4, False)):
        job, kept = Refold(worker.partition, {REST}), LogsKept(raw_start=start)
        job.search_in(kept)
        job.feed([each for each in worker.arrived() if each.raw_offset >= 1])
        assert ((*name, "count") in job.routes) == folds
        assert job.unsure(kept) == ([] if folds else [(*name, "count")])

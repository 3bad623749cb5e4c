"""What a worker took before it had applied a definition that refuses it (records-and-cuts §2).

The definition stands before the event in the logs: the offline fold refuses the event, so a worker
has to come to that too, whenever it applies the definition, and to tell it once.
"""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from app.definitions import commands
from app.definitions.command import Command
from app.definitions.judging import Judging
from app.definitions.log import apply
from app.definitions.model import SettingsRecord
from app.definitions.outcome import Applied
from app.definitions.periods import NEVER_MS
from app.definitions.state import Definitions
from app.wire.arrivals import Arrival, CorrectionArrival, SubscriptionKey, arrivals_of, runs_of
from app.wire.events import Correction
from app.wire.identity import event_id
from tables.event_index.index import EventIndex
from tables.partition.intake import RefusedArrival
from tables.partition.partition import Partition
from tables.partition.redirection import refolds_of
from tables.partition.refold import Refold
from tables.reading.usage import current_usage
from tests.world.clock import ms
from tests.world.definitions import ORG, SUBSCRIPTION
from tests.world.events import cancel, raw
from tests.world.past import past_usage
from tests.world.story import Story

NAME = (ORG, SUBSCRIPTION)
REFUSE = {"late_policy": "refuse", "revise_every_s": 3600}


class Worker:
    """A partition that applies definitions when it is told to."""

    def __init__(self, story: Story):
        self.story = story
        self.definitions = Definitions()
        self.partition = Partition(0, self.definitions, EventIndex())
        self.told: list[RefusedArrival] = []
        self.arrivals: list[Arrival] = []
        self.waits_past_ms = -1
        self.queued: set[tuple[str, str, str]] = set()

    def pass_time(self, at: str) -> None:
        """The definitions log goes on; what waited for it is refolded."""
        self.definitions.append_time_ms = ms(at)
        if self.waits_past_ms >= 0:
            self.refold(self.queued)

    def define(self, count: int) -> None:
        """Apply so many definitions, and refold what they touch."""
        for line in self.story.definitions[self.definitions.offset :][:count]:
            outcome = apply(self.definitions, line.value, line.append_time_ms, line.offset)
            assert isinstance(outcome, Applied)
            if outcome.impact is not None:
                self.partition.redefinition.tell(outcome.impact)
                meter_keys = refolds_of(self.partition.redefinition.renewing())
                if meter_keys:
                    self.refold(meter_keys)

    def refold(
        self, meter_keys: set[tuple[str, str, str]], horizons: Mapping[SubscriptionKey, int] = {}
    ) -> None:
        job = Refold(self.partition, meter_keys, horizons)
        job.feed(self.arrivals)
        self.queued = meter_keys
        self.waits_past_ms = job.waits_past_ms
        if job.waits_past_ms < 0:
            while not job.swap():
                job.feed(self.arrivals)
            self.told += [refused for _, _, refused in job.refused]
            for name in job.recorrected:
                anew = self.partition.event_ranges.meter_keys_of(name)
                self.refold(anew, {name: NEVER_MS})

    def fold(self) -> None:
        """Every event of the story that is not folded yet, then its corrections."""
        new: list[Arrival] = []
        corrections: list[CorrectionArrival] = []
        for line in self.story.events[len(self.arrivals) :]:
            place = (line.append_time_ms, line.partition, line.offset)
            for each in arrivals_of(line.value, (), *place, Judging()):
                if isinstance(each, Arrival):
                    new.append(each)
                elif isinstance(each, CorrectionArrival):
                    corrections.append(each)
        self.arrivals += new
        self.told += self.partition.fold(runs_of(new)).refused
        for correction in corrections:
            self.partition.corrected.correct(correction)

    def codes(self) -> list[str]:
        return [str(refused.code) for refused in self.told]

    def known(self, transaction_id: str) -> bool:
        return self.partition.index.find(event_id(*NAME, transaction_id)) is not None


def folded(told: Story, before: int) -> Worker:
    """A worker that has folded all events under the first definitions, so many."""
    worker = Worker(told)
    worker.define(before)
    worker.fold()
    return worker


def story(**settings: object) -> Story:
    told = Story(**settings).metric("m", "sum_agg").metric("uncharged", "count_agg")
    return told.plan({}).subscribe()


@pytest.mark.parametrize(
    ("settings", "command", "appended", "wanted"),
    [
        pytest.param(
            REFUSE,
            commands.terminate_subscription(ORG, SUBSCRIPTION),
            "2024-01-25",
            "period_closed",
            id="termination",
        ),
        pytest.param(
            {},
            commands.set_settings(SettingsRecord(late_policy="refuse")),
            "2024-02-03",
            "period_closed",
            id="policy",
        ),
        pytest.param(
            {},
            commands.set_settings(SettingsRecord(late_window_s=0)),
            "2024-02-03",
            "too_late",
            id="window",
        ),
    ],
)
@pytest.mark.parametrize("code", ["m", "uncharged"])
def test_it_is_refused_when_the_definition_is_applied(
    settings: dict[str, object], command: Command, appended: str, wanted: str, code: str
) -> None:
    told = story(**settings)
    before = len(told.definitions)
    told.define("2024-01-20", command)
    told.send("2024-01-10", v=1).send("2024-01-11", code, appended=appended, v=2)
    (expected,) = [
        one for one in told.meter("2024-02-04").refused if isinstance(one, RefusedArrival)
    ]
    worker = folded(told, before)
    assert worker.codes() == []
    worker.define(1)
    # Nothing can be said until the log is past the time at which the period was due.
    assert worker.codes() == []
    worker.pass_time("2024-02-02")
    assert worker.codes() == [str(expected.code)] == [wanted]
    assert worker.told[0].arrival == expected.arrival
    assert (worker.known("t0"), worker.known("t1")) == (True, False)
    worker.refold({(*NAME, "m"), (*NAME, "uncharged")})
    assert len(worker.told) == 1


def test_the_refold_waits_for_the_log_to_pass_the_due_time() -> None:
    told = story(**REFUSE)
    before = len(told.definitions)
    told.define("2024-01-20T00:00:30Z", commands.terminate_subscription(ORG, SUBSCRIPTION))
    told.send("2024-01-11", appended="2024-01-25", v=2)
    worker = folded(told, before)
    worker.define(1)
    assert (worker.waits_past_ms, worker.codes()) == (ms("2024-01-20T00:01:00Z"), [])
    worker.pass_time("2024-01-20T00:01:00.001Z")
    assert (worker.waits_past_ms, worker.codes()) == (-1, ["period_closed"])


def test_the_id_of_what_was_refused_is_free_again() -> None:
    told = story(**REFUSE)
    before = len(told.definitions)
    told.define("2024-01-20", commands.terminate_subscription(ORG, SUBSCRIPTION))
    told.subscribe(at="2024-01-21", subscription_at="2024-01-21T00:00:00Z")
    told.send("2024-01-11", appended="2024-01-22", v=2)
    worker = folded(told, before)
    worker.define(2)
    worker.pass_time("2024-01-22")
    assert worker.codes() == ["period_closed"]
    told.send("2024-01-22", v=5)
    told.events[-1] = told.events[-1]._replace(
        value=(told.events[-1].value or b"").replace(b'"t1"', b'"t0"')
    )
    worker.fold()
    usage = current_usage(worker.partition, NAME, ms("2024-01-23"))
    assert usage is not None
    assert [str(row.units) for row in usage.rows] == ["5"]
    (closed,) = past_usage(worker.partition, NAME, ms("2024-01-23"))
    assert closed.rows == ()


@pytest.mark.parametrize("cancels", [False, True])
@pytest.mark.parametrize("code", ["m", "other"])
def test_the_first_copy_that_is_not_refused_counts_in_place_of_one_that_is(
    code: str, *, cancels: bool
) -> None:
    """The worker left it out, and perhaps has no other event of its metric."""
    told = Story(**REFUSE).metric("m", "sum_agg").metric("other", "max_agg")
    told.plan({"billable_metric_code": "m"}, {"billable_metric_code": "other"}).subscribe()
    before = len(told.definitions)
    told.define("2024-01-20", commands.terminate_subscription(ORG, SUBSCRIPTION))
    told.subscribe(at="2024-01-21", subscription_at="2024-01-21T00:00:00Z")
    sent = [("m", "2024-01-11", 2), ("m", "2024-01-12", 3), (code, "2024-01-22", 5)]
    for number, (of, dated, v) in enumerate([*sent, (code, "2024-01-22", 7)]):
        told.append(f"2024-01-22T0{number}:00:00Z", raw(of, "t0", ms(dated), v=v))
    if cancels:
        told.append("2024-01-23", cancel("t0"))
    worker = folded(told, before)
    worker.define(2)
    worker.pass_time("2024-01-24")
    assert worker.codes() == ["period_closed"]
    assert worker.known("t0")
    assert not worker.partition.corrections.awaits(NAME), "its copy came"
    offline = told.meter("2024-01-24")
    wanted = offline.usage(NAME, ms("2024-01-24"))
    usage = current_usage(worker.partition, NAME, ms("2024-01-24"))
    assert usage is not None
    assert wanted is not None
    assert usage.rows == wanted.rows
    assert max((str(row.units) for row in usage.rows), default="0") == ("0" if cancels else "5")


def test_a_late_copy_is_refused_and_the_first_one_counts() -> None:
    told = story(**REFUSE)
    for appended in ("2024-01-10", "2024-01-11", "2024-02-02"):
        told.append(appended, raw("m", "t0", ms("2024-01-10"), v=3))
    meter = told.meter("2024-02-03")
    assert [str(each.code) for each in meter.refused] == ["period_closed"]
    assert [record["units"] for record in told.records("2024-02-03")] == ["3.0"]


def test_what_came_late_is_shown_on_the_grid_that_its_period_turns_out_to_have() -> None:
    told = story(revise_every_s=3600).send("2024-01-10", v=1)
    before = len(told.definitions)
    told.define("2024-01-20", commands.set_settings(SettingsRecord(revise_every_s=86_400)))
    told.send("2024-01-11", appended="2024-02-03T10:10:00Z", v=2)
    worker = folded(told, before)
    cancel = Correction(ORG, SUBSCRIPTION, "t0", "cancel", None, "c", b"")
    corrected_ms = ms("2024-02-05T10:10:00Z")
    worker.partition.corrected.correct(CorrectionArrival(cancel, ORG, corrected_ms, 0, 2, 0))
    worker.define(1)
    assert {*worker.partition.cuts.late.of(NAME)} >= {ms("2024-02-04"), ms("2024-02-06")}
    (span,) = worker.partition.packing.route_of((*NAME, "m")).spans
    late = [cell.late for layer in span.layers.values() for cell in layer.cells.values()]
    assert [list(cuts or ()) for cuts in late] == [[ms("2024-02-04")]]

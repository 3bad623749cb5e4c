"""The law of previews: what is previewed is what comes, and nothing has changed meanwhile."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from app.bounds.turns import drained
from app.definitions import commands
from app.definitions.command import Command
from app.definitions.outcome import Rejected
from app.definitions.what_if import branch_with
from app.meter.evidence import FigureTexts
from tables.closing.close import cells_shown
from tables.reading.cell_differences import figure_texts
from tables.reading.preview import Preview, PreviewScope
from tables.routing.period_charges import PeriodCharge
from tests.world.begun import begun
from tests.world.clock import HOUR_MS, START_MS, WEEK_MS
from tests.world.definitions import METRICS, ORG, SUBSCRIPTION, definitions_of, metric_body
from tests.world.events import arrivals
from tests.world.partition import Live
from tests.world.profiles import examples

ALL = tuple(METRICS)
NAME = (ORG, SUBSCRIPTION)
AT_MS = START_MS + 8 * WEEK_MS + HOUR_MS // 2


def changed(draw: st.DrawFn, charges: list[dict[str, Any]]) -> Command:
    """Other filter values of the metric, or other groups of some charges and fewer of them."""
    if draw(st.integers(0, 3)) == 0:
        values = draw(st.sampled_from([["x"], ["y"]]))
        body = metric_body("filtered", filters=[{"key": "g", "values": values}])
        return commands.update_billable_metric(ORG, "filtered", body)
    groupings: list[dict[str, Any]] = [{}, {"pricing_group_keys": ["g"]}]
    kept = [
        {
            **{key: value for key, value in charge.items() if key != "new_id"},
            "id": charge["new_id"],
            "properties": {"amount": "1", **draw(st.sampled_from(groupings))},
        }
        for charge in charges
        if draw(st.integers(0, 4))
    ]
    return commands.update_plan(ORG, "plan", {"charges": kept})


changes = st.composite(changed)


def shown(live: Live, codes: frozenset[str], scope: PreviewScope) -> dict[str, FigureTexts]:
    """Figures by cell id, of cells that show anything."""
    partition = live.partition
    found: dict[str, FigureTexts] = {}
    for versions, timeline in partition.timelines.of(NAME):
        for period in timeline.until(AT_MS):
            subscription = versions.at(period.fixed_at_ms)
            published = period.due_at_ms <= AT_MS
            if published and not scope.from_ms <= period.start_ms < scope.to_ms:
                continue
            assert subscription is not None
            late = published and period.carries_until_ms < partition.checkpoint.append_time_ms
            about = (NAME, subscription, timeline, period, codes)
            cells = cells_shown(partition, *about, balances if late else nothing)
            for cell in filter(None, cells):
                if cell.figures.events_count or cell.figures.units:
                    found[cell.cell_id] = figure_texts(cell.figures)
    return found


@examples(60)
@given(st.data())
def test_what_is_previewed_comes(data: st.DataObject) -> None:
    definitions = definitions_of(ALL, presents=True)
    (plan,) = [line.command for line in definitions if line.command.type == "create_plan"]
    live = Live(definitions)
    live.define_all()
    live.deliver(data.draw(arrivals(ALL)))
    live.close_until(AT_MS)
    command = data.draw(changes(plan.payload["plan"]["charges"]))
    from_ms = START_MS + data.draw(st.integers(0, 3)) * WEEK_MS
    scope = PreviewScope(from_ms, from_ms + data.draw(st.integers(1, 9)) * WEEK_MS, AT_MS)
    branch = drained(
        branch_with(live.definitions, ORG, [command], scope.from_ms, scope.to_ms, AT_MS)
    )
    assert not isinstance(branch, Rejected)

    before, cells = shown(live, branch.codes, scope), live.cells()
    offset, records = live.definitions.offset, live.values()
    job = begun(Preview(live.partition, branch, [NAME], scope))
    while True:
        job.refold.feed(live.arrived())
        if drained(job.refold.admitted()):
            break
    previewed = [cell for found in filter(None, job.differences()) for cell in found]
    assert job.skipped == []
    assert (live.definitions.offset, live.values(), live.cells()) == (offset, records, cells)
    assert shown(live, branch.codes, scope) == before

    live.append(AT_MS + 1, command)
    for record in branch.definitions.history_records:
        live.append(
            AT_MS + 1,
            commands.apply_history(
                ORG,
                metric_ids=record.metric_ids,
                charge_ids=record.charge_ids,
                from_ms=scope.from_ms,
                to_ms=scope.to_ms,
            ),
        )
    live.close_until(AT_MS + HOUR_MS)
    after = shown(live, branch.codes, scope)
    gone = sorted(tuple(vars_of(before[i])) for i in before if before[i] != after.get(i))
    come = sorted(tuple(vars_of(after[i])) for i in after if after[i] != before.get(i))
    told = [cell for cell in previewed if anything(cell.before) or anything(cell.after)]
    assert sorted(tuple(vars_of(c.before)) for c in told if anything(c.before)) == gone
    assert sorted(tuple(vars_of(c.after)) for c in told if anything(c.after)) == come


def balances(period_charge: PeriodCharge) -> bool:
    """Later events are in a balance, and not in what was published of the period."""
    return period_charge.metric.recurring


def nothing(_: PeriodCharge) -> bool:
    return False


def anything(figures: FigureTexts | None) -> bool:
    return figures is not None and (figures.events_count != 0 or figures.units != "0.0")


def vars_of(figures: FigureTexts | None) -> list[str]:
    assert figures is not None
    return [str(getattr(figures, name)) for name in FigureTexts.__struct_fields__]

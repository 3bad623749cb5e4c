"""The law of alerts on a whole life: what they see at a cut is full usage at that cut."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from app.definitions import commands
from app.definitions.model import Alert
from app.definitions.periods import ceil_to
from app.numbers import ZERO, plain
from tests.laws.test_full_usage import CODES, NAME, full_usage
from tests.world.clock import START_MS, WEEK_MS
from tests.world.definitions import ORG, SUBSCRIPTION, CommandAt, changing_definitions, lines
from tests.world.events import arrivals, slices
from tests.world.partition import Live
from tests.world.profiles import examples

THRESHOLDS = [{"value": "1", "recurring": True}]


@st.composite
def watched(draw: st.DrawFn, last_ms: int) -> list[CommandAt]:
    """Definitions that change, and alerts on all metrics, which are looked at once more at last."""
    since_ms = START_MS + draw(st.integers(0, 2 * WEEK_MS))
    alerts = [
        {
            "alert_type": "billable_metric_lifetime_usage_units",
            "code": code,
            "billable_metric_code": code,
            "thresholds": THRESHOLDS,
        }
        for code in CODES
    ]
    made = [(line.append_time_ms, line.command) for line in draw(changing_definitions(CODES))]
    made += [(since_ms, commands.create_alert(ORG, SUBSCRIPTION, alert)) for alert in alerts]
    # Some go, and come again: then they see what came before as well.
    gone_ms = since_ms + draw(st.integers(1, 2 * WEEK_MS))
    again_ms = gone_ms + draw(st.integers(1, WEEK_MS))
    for alert in draw(st.lists(st.sampled_from(alerts), unique_by=id)):
        made += [
            (gone_ms, commands.delete_alert(ORG, SUBSCRIPTION, str(alert["code"]))),
            (again_ms, commands.create_alert(ORG, SUBSCRIPTION, alert)),
        ]
    renamed = {"name": "looked at"}
    made += [(last_ms, commands.update_alert(ORG, SUBSCRIPTION, code, renamed)) for code in CODES]
    return lines(sorted(made, key=lambda line: line[0]))


def seen(live: Live, alert: Alert, cut_ms: int, subscription_id: str) -> str | None:
    row = live.partition.evaluations.rows.get((subscription_id, alert.id))
    return None if row is None or row.cut_ms != cut_ms else row.units


@examples(80)
@given(st.data())
def test_they_see_full_usage(data: st.DataObject) -> None:
    events = sorted(data.draw(arrivals(CODES)), key=lambda arrival: arrival.append_time_ms)
    last_ms = max((arrival.append_time_ms for arrival in events), default=START_MS)
    live = Live(data.draw(watched(last_ms)))
    for batch in filter(None, data.draw(slices(events))):
        live.define_until(batch[-1].append_time_ms)
        live.deliver(batch)
        if data.draw(st.booleans()):
            live.restart()
    cut_ms = ceil_to(last_ms, 60_000)
    live.define_until(cut_ms)
    if data.draw(st.booleans()):
        live.refold_all()
    live.close_until(cut_ms)
    found = full_usage(live, cut_ms)
    if found is None:
        return
    usage, _ = found
    for alert in live.definitions.alerts.of(NAME):
        charges = {c.charge.id for c in usage.charges if c.metric.id == alert.metric_id}
        told = seen(live, alert, cut_ms, usage.subscription.id)
        if charges and told is not None:
            units = [row.units for row in usage.rows if row.charge_id in charges]
            assert told == plain(max(units, default=ZERO))

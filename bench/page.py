"""What a look at the page costs the loop that folds, by how many subscriptions there are.

No servers: the steps of an overview run as in a worker's turns, and the fragment is made of them.

    python -m bench.page --subscriptions 100000
"""

from __future__ import annotations

import argparse
import time
from statistics import median

from app.api.overview.overview_json import SentOverview, merged, overview_json
from app.bounds.turns import Turns, drained
from app.definitions import commands
from app.definitions.model import SettingsRecord
from app.definitions.state import Definitions
from app.meter.overview import Overview, OverviewQuery, PartitionView, WorkerView
from app.page.overview import Look, overview_view
from app.queries.usage_lines import UsageLines
from app.runtime.status import Tally
from app.wire.arrivals import Arrival, runs_of
from app.wire.events import Event
from bench.world import apply_definition, charge_of, plan_of
from tables.event_index.index import EventIndex
from tables.partition.partition import Partition

ORG = "bench"
NOW_MS = 1_768_435_200_000
LOOKS = 50
TABS = 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--subscriptions", type=int, default=100_000)
    arguments = parser.parse_args()
    state = folded(arguments.subscriptions)
    # No time passes for it: a look at a busy machine would show fewer lines, and cost less.
    lines = UsageLines(Turns(clock=lambda: 0.0), Tally())
    began_s = time.process_time()
    drained(lines.shown({0: state}, OverviewQuery(organization_id=None), NOW_MS))
    print(
        f"names taken into the index once: {(time.process_time() - began_s) * 1e3:,.0f} ms of CPU"
    )
    shares = []
    for search in ("", "sub-77", "sub-", "zzz"):
        query = OverviewQuery(organization_id=ORG, search=search)
        took = sorted(looked(lines, state, query) for _ in range(LOOKS))
        evaluated, fragment = (median(part) * 1e3 for part in zip(*took, strict=True))
        shares.append((evaluated + fragment) / 1e3)
        parts = f"{evaluated:4.1f} for the steps, {fragment:4.1f} for the HTML"
        print(f"look for {search!r:9}: {evaluated + fragment:4.1f} ms of CPU: {parts}")
    print(f"{TABS} tabs share one overview a second: {max(shares):.1%} of a core, without HTTP")


def folded(subscriptions: int) -> Partition:
    """Return a partition with an event for each of so many subscriptions."""
    definitions, body = Definitions(), {"name": "m", "code": "m", "aggregation_type": "count_agg"}
    metric = commands.create_billable_metric(ORG, body)
    plan = commands.create_plan(ORG, plan_of([charge_of(str(metric.payload["id"]))]))
    settings = commands.set_settings(SettingsRecord(implicit_plan=True))
    for command in (settings, metric, plan):
        apply_definition(definitions, command, NOW_MS - 86_400_000)
    state = Partition(0, definitions, EventIndex())
    state.event_ranges.most_undefined = subscriptions + 1
    for first in range(0, subscriptions, 1_000):
        state.fold(runs_of([arrival(n) for n in range(first, min(first + 1_000, subscriptions))]))
    return state


def arrival(number: int) -> Arrival:
    event = Event(ORG, f"sub-{number}", f"t-{number}", "m", NOW_MS, None, b"{}", b"")
    return Arrival(event, ORG, NOW_MS, 0, number, 0)


def looked(lines: UsageLines, state: Partition, query: OverviewQuery) -> tuple[float, float]:
    """Return the seconds of an overview's steps, and those of its fragment."""
    began_s = time.process_time()
    usage, total = drained(lines.shown({0: state}, query, NOW_MS))
    made_s = time.process_time()
    partition = PartitionView(partition=0, state="running", offset=1, lag=0)
    about = WorkerView(version="", since_ms=0, memory_bytes=0, verified=0, differing=0)
    overview = Overview(
        now_ms=NOW_MS,
        worker="here",
        partitions=(partition,),
        closing=(),
        usage=tuple(usage),
        usage_total=total,
        records=(),
        dead_letters=(),
        about=about,
    )
    shown = SentOverview(merged([overview_json(overview)], query.limit))
    overview_view(shown.overview, Look(query.search)).encode()
    return made_s - began_s, time.process_time() - made_s


if __name__ == "__main__":
    main()

"""A metric whose code changes, and events of the new one before the old ones were refolded for it.

Only a metric that no charge has changes its code, so this is of the implicit plan.
"""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from app.definitions import commands
from app.definitions.model import SettingsRecord
from app.wire.arrivals import MeterKey
from tables.reading.usage import current_usage
from tests.world.clock import DAY_MS, HOUR_MS, START_MS
from tests.world.definitions import ORG, SUBSCRIPTION, definitions_of, metric_body
from tests.world.events import arrived
from tests.world.partition import Live
from tests.world.verified import differences

AT_MS = START_MS + DAY_MS
IMPLICIT = SettingsRecord(close_grid_s=60, revise_every_s=3600, implicit_plan=True)


class Unlooked(Live):
    """A partition whose worker has much else to do once it has read a definition."""

    looks = True

    def renew(self) -> None:
        if self.looks:
            super().renew()


class Held(Live):
    """A partition whose worker has other refolds to do first."""

    held: set[MeterKey] | None = None

    def refold(self, meter_keys: Iterable[MeterKey], *, redefined: bool = False) -> None:
        if self.held is None:
            super().refold(meter_keys, redefined=redefined)
        else:
            wanted = set(meter_keys)
            self.partition.stale.queue(wanted, redefined=redefined)
            self.held |= wanted

    def let_go(self) -> None:
        held, self.held = self.held or set(), None
        # One after the other, as they may be asked for while another one runs.
        for meter_key in sorted(held):
            self.refold([meter_key], redefined=True)


def used(live: Live, code: str, number: int) -> None:
    at_ms = START_MS + number * HOUR_MS
    live.deliver([arrived(code, number, at_ms, v="2", u=f"{number}", operation_type="add")])


def rename(live: Live, code: str) -> None:
    """Change a metric's code, and use it once under the new one."""
    body = metric_body(code) | {"code": "renamed"}
    live.append(START_MS + 3 * HOUR_MS, commands.update_billable_metric(ORG, code, body))
    used(live, "renamed", 4)


def count_alone(live: Live, events: int) -> None:
    """So many events count, also after a restart, and all is as folded anew."""
    for _ in range(2):
        usage = current_usage(live.partition, (ORG, SUBSCRIPTION), AT_MS)
        assert usage is not None
        assert sum(row.events_count for row in usage.rows) == events
        assert differences(live) == []
        live.restart()


@pytest.mark.parametrize("restarts", [False, True], ids=["goes on", "restarts"])
@pytest.mark.parametrize(
    "code", ["sum", "max", "latest", "count", "unique", "seats", "balance", "level", "average"]
)
def test_events_of_the_new_code_that_come_before_it_is_looked_at_count_alone(
    code: str, restarts: bool
) -> None:
    live = Unlooked(definitions_of([code], IMPLICIT)[:2])
    live.define_all()
    used(live, code, 1)
    used(live, code, 2)
    live.looks = False
    rename(live, code)
    live.looks = True
    if restarts:
        live.restart()
    else:
        live.renew()
    count_alone(live, 1)


@pytest.mark.parametrize("used_before", [False, True], ids=["new", "used before"])
@pytest.mark.parametrize("code", ["sum", "max", "unique", "seats", "balance", "average"])
def test_events_of_the_new_code_that_come_before_the_refold_of_the_old_one_count_alone(
    code: str, used_before: bool
) -> None:
    live = Held(definitions_of([code], IMPLICIT)[:2])
    live.define_all()
    if used_before:
        used(live, "renamed", 0)
    used(live, code, 1)
    used(live, code, 2)
    live.held = set()
    rename(live, code)
    live.let_go()
    count_alone(live, 1 + used_before)

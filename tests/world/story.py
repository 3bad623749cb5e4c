"""Two logs written as a story, folded offline, and read as usage and records."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from app.api.http.json_text import whole
from app.api.usage.usage_json import UsageSelection, current_usage_json, projecting_usage
from app.bounds.turns import drained
from app.definitions import commands
from app.definitions.command import Command
from app.definitions.files import DefinitionLine
from app.definitions.judging import Judging
from app.definitions.model import SettingsRecord
from app.meter.usage import Regrouping
from app.offline.fold import EventLine, OfflineMeter
from app.wire.arrivals import Arrival, arrivals_of
from app.wire.usage_records import Topic
from tables.reading.tracing import verdict
from tests.world import bodies
from tests.world.bodies import Json
from tests.world.clock import ms
from tests.world.definitions import ORG, SUBSCRIPTION
from tests.world.events import raw
from tests.world.past import past_usage, past_usage_json
from tests.world.regrouped import answered, merged


class Story:
    """Definitions and events in the order they are told; `at` is when they are appended."""

    def __init__(self, **settings: Any):
        self.definitions: list[DefinitionLine] = []
        self.events: list[EventLine] = []
        since = settings.pop("since", "2020-01-01")
        self.define(since, commands.set_settings(SettingsRecord(**settings)))

    def define(self, at: str, command: Command) -> Story:
        """Append a definition."""
        line = DefinitionLine(ms(at), len(self.definitions), command.encode())
        self.definitions.append(line)
        return self

    def metric(
        self, code: str, aggregation_type: str, at: str = "2023-12-31", **more: Any
    ) -> Story:
        """A metric on the property `v`."""
        body = bodies.metric(code, aggregation_type, field_name="v")
        return self.define(at, commands.create_billable_metric(ORG, {**body, **more}))

    def plan(
        self, *charges: Json, code: str = "plan", at: str = "2023-12-31", **more: Any
    ) -> Story:
        """A monthly plan; a charge names its metric by code."""
        body = bodies.plan(code, [bodies.charge(**each) for each in charges], **more)
        return self.define(at, commands.create_plan(ORG, body))

    def subscribe(self, at: str = "2023-12-31", **more: Any) -> Story:
        """A subscription of `customer` to `plan`, on calendar months from 2024 on."""
        body = {
            "external_customer_id": "customer",
            "plan_code": "plan",
            "external_id": SUBSCRIPTION,
            "subscription_at": "2024-01-01T00:00:00Z",
            **more,
        }
        return self.define(at, commands.create_subscription(ORG, body))

    def send(
        self, at: str, code: str = "m", appended: str | None = None, **properties: Any
    ) -> Story:
        """An event dated `at`, appended then unless said otherwise."""
        number = len(self.events)
        return self.append(appended or at, raw(code, f"t{number}", ms(at), **properties))

    def append(self, at: str, value: Json) -> Story:
        """A raw record of any content."""
        line = EventLine(ms(at), 0, len(self.events), msgspec.json.encode(value))
        self.events.append(line)
        return self

    def meter(self, at: str) -> OfflineMeter:
        """Everything folded up to then; no definition may have been refused."""
        meter = OfflineMeter()
        meter.run(self.definitions, self.events, ms(at))
        assert not meter.rejected
        return meter

    def usage(self, at: str, **selection: Any) -> Json:
        """`customer_usage` at that moment."""
        found = self.meter(at).usage((ORG, SUBSCRIPTION), ms(at))
        assert found is not None
        return current_usage_json(found, UsageSelection(**selection))

    def projected(self, at: str) -> Json:
        """`customer_projected_usage` at that moment."""
        found = self.meter(at).usage((ORG, SUBSCRIPTION), ms(at))
        assert found is not None
        shown: Json = whole(drained(projecting_usage(found, ms(at))))
        return shown

    def regrouped(self, at: str, events_read: bool | None = None, **wanted: Any) -> Json:
        """`customer_usage` in other groups; `events_read`: whether cells alone must not do."""
        meter = self.meter(at)
        found = meter.usage((ORG, SUBSCRIPTION), ms(at))
        assert found is not None
        regrouped = merged(meter.partition, found, Regrouping(**wanted), ms(at))
        if events_read is not None:
            assert bool(regrouped.to_read) == events_read
        traced = [verdict(meter.partition, arrival) for arrival in self.arrivals()]
        return current_usage_json(answered(regrouped, traced))

    def arrivals(self) -> list[Arrival]:
        """Everything sent so far, without corrections."""
        return [
            arrival
            for line in self.events
            for arrival in arrivals_of(
                line.value, (), line.append_time_ms, line.partition, line.offset, Judging()
            )
            if isinstance(arrival, Arrival)
        ]

    def past(self, at: str) -> list[Json]:
        """The `usage_periods` at that moment."""
        return [
            past_usage_json(u)
            for u in past_usage(self.meter(at).partition, (ORG, SUBSCRIPTION), ms(at))
        ]

    def records(self, at: str) -> list[Json]:
        """Usage records published until then, completions left out."""
        return [r for r in self.messages(at) if r["type"] != "period.completed"]

    def messages(self, at: str, topic: Topic = "usage-records") -> list[Json]:
        """Everything that went to a topic until then."""
        return [json.loads(r.value) for r in self.meter(at).records if r.topic == topic]


def groups(charge_usage: Json) -> dict[str, str]:
    """Units by the group's values in one text."""
    return {
        "/".join(f"{value}" for value in entry["grouped_by"].values()): entry["units"]
        for entry in charge_usage["grouped_usage"]
    }


def buckets(charge_usage: Json) -> dict[str, str]:
    """Units by filter values; the default bucket is `rest`."""
    return {
        "rest" if entry["values"] is None else json.dumps(entry["values"], sort_keys=True): entry[
            "units"
        ]
        for entry in charge_usage["filters"]
    }

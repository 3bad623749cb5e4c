"""`meter compare` misses no difference between Lago's usage and ours, and invents none."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from copy import deepcopy
from decimal import Decimal
from typing import Any, Final

import pytest
from click.testing import Result

from app.cli.lago.deviations import DEVIATIONS, Case, candidates
from app.cli.lago.figures import WHOLE, FigureDifference, compared, period_of, share
from tests.app.api.conftest import Running
from tests.app.cli.conftest import Meter
from tests.app.cli.lago import stand_in
from tests.app.cli.lago.stand_in import Json, StandIn

NOW_MS: Final = 1_710_504_000_000
"""The ledger's clock, 2024-03-15T12:00:00Z."""


@pytest.fixture
async def usage(lago: StandIn, here: Running, meter: Meter) -> Json:
    """Usage of two subscriptions that Lago shows as we do; a change of it is a difference."""
    regions = [{"key": "region", "values": ["eu", "us"]}]
    lago.lists["billable_metrics"] = [
        stand_in.metric("storage", filters=regions),
        stand_in.metric("calls", "count_agg"),
    ]
    filters = [stand_in.charge_filter(each, {"region": [each]}) for each in ("eu", "us")]
    charges = [
        stand_in.charge("of_storage", "storage", filters=filters),
        stand_in.charge(
            "of_calls", "calls", properties={"amount": "1", "pricing_group_keys": ["team"]}
        ),
    ]
    lago.lists["plans"] = [stand_in.plan("pro", charges)]
    lago.lists["customers"] = [stand_in.customer("acme"), stand_in.customer("zoo")]
    lago.lists["subscriptions"] = [
        stand_in.subscription("s/1", "acme", "pro"),
        stand_in.subscription("s2", "zoo", "pro"),
    ]
    assert (await meter("migrate")).exit_code == 0
    for subscription in ("s/1", "s2"):
        for number, region in enumerate(("eu", "eu", "us", "asia")):
            for code in ("storage", "calls"):
                name, at_s = f"{subscription}-{code}-{number}", 1_710_400_000 + number
                properties = {"v": f"{number}.25", "region": region, "team": f"t{number % 2}"}
                await here.send(subscription, name, code, at_s, **properties)
    listed = await here.must("GET", "/api/v1/events?per_page=100")
    lago.lists["events"] = listed["events"]
    for subscription, customer in (("s/1", "acme"), ("s2", "zoo")):
        path = f"/api/v1/customers/{customer}/current_usage?external_subscription_id={subscription}"
        shown = (await here.must("GET", path))["customer_usage"]
        lago.current[subscription] = [as_lago(shown)]
    return lago.current["s/1"][0]


def as_lago(usage: Json) -> Json:
    """Return usage without what Lago does not say."""
    kept = {key: usage[key] for key in usage if key not in ("as_of", "stale")}
    return deepcopy(kept)


def lines(ran: Result) -> list[Json]:
    found = [json.loads(line) for line in ran.stdout.splitlines()]
    return [each for each in found if each["type"] != "summary"]


Compare = Callable[..., Any]


@pytest.fixture
def compare(meter: Meter) -> Compare:
    async def run(*words: str) -> Result:
        return await meter("compare", "--wait", "0", *words)

    return run


async def test_what_is_equal_is_said_to_be(usage: Json, compare: Compare) -> None:
    ran = await compare()
    assert ran.exit_code == 0, ran.output
    assert ran.output == (
        "2 subscriptions compared: 2 equal, 0 differing, 0 accepted, 0 moving, 0 not compared; "
        "100 % of units agree\n"
    )


def set_charge(field: str, value: Any, *path: Any) -> Callable[[Json], None]:
    """Change a field of what a path leads to in the charges of usage."""

    def change(usage: Json) -> None:
        at: Any = usage["charges_usage"]
        for step in path:
            at = at[step]
        at[field] = value

    return change


def without(*path: Any) -> Callable[[Json], None]:
    def change(usage: Json) -> None:
        at: Any = usage["charges_usage"]
        for step in path[:-1]:
            at = at[step]
        del at[path[-1]]

    return change


CALLS, STORAGE = 0, 1
"""By name, as usage lists charges."""

PLANTED: dict[str, tuple[Callable[[Json], None], set[tuple[str | None, str | None, str]]]] = {
    "units": (set_charge("units", "7.5", STORAGE), {(None, None, "units")}),
    "a tiny part of units": (
        set_charge("units", "7.00000000000000000001", STORAGE),
        {(None, None, "units")},
    ),
    "total": (
        set_charge("total_aggregated_units", "8.0", STORAGE),
        {(None, None, "total_aggregated_units")},
    ),
    "events": (set_charge("events_count", 5, CALLS), {(None, None, "events_count")}),
    "a filter": (
        set_charge("units", "2.5", STORAGE, "filters", 0),
        {(None, "region=eu", "units")},
    ),
    "the default bucket": (
        set_charge("events_count", 9, STORAGE, "filters", 2),
        {(None, "everything else", "events_count")},
    ),
    "a filter that is missing": (
        without(STORAGE, "filters", 1),
        {
            (None, "region=us", "units"),
            (None, "region=us", "total_aggregated_units"),
            (None, "region=us", "events_count"),
        },
    ),
    "a group": (
        set_charge("units", "1.0", CALLS, "grouped_usage", 0),
        {("team=t0", None, "units")},
    ),
    "the name of a group": (
        set_charge("grouped_by", {"team": None}, CALLS, "grouped_usage", 1),
        {
            (team, None, field)
            for team in ("team=t1", "team=(none)")
            for field in ("units", "total_aggregated_units", "events_count")
        },
    ),
    "a charge that is missing": (without(STORAGE), {(None, None, "charge")}),
    "the code of a charge": (
        set_charge("code", "other", STORAGE, "charge"),
        {(None, None, "charge")},
    ),
    "the start of the period": (
        lambda usage: usage.update(from_datetime="2024-03-01T00:00:00Z"),
        {(None, None, "period")},
    ),
    "the end of the period": (
        lambda usage: usage.update(to_datetime="2024-04-01T00:00:00Z"),
        {(None, None, "end")},
    ),
}


@pytest.mark.parametrize("name", PLANTED)
async def test_a_planted_difference_is_found_and_nothing_else(
    usage: Json, compare: Compare, name: str
) -> None:
    change, expected = PLANTED[name]
    change(usage)
    ran = await compare("-o", "jsonl")
    assert ran.exit_code == 1, ran.output
    found = lines(ran)
    assert {each["subscription"] for each in found} == {"s/1"}
    assert {(each["grouped_by"], each["filter"], each["field"]) for each in found} == expected
    told = await compare()
    assert "1 equal, 1 differing" in told.output
    # A period that ends elsewhere shows the same units.
    assert ("100 % of units" in told.output) == (
        not expected & {(None, None, "units"), (None, None, "charge"), (None, None, "period")}
    )


async def test_the_last_of_many_digits_is_seen(usage: Json, compare: Compare) -> None:
    del usage["charges_usage"][CALLS]
    whole = "12345678901234567890123456789012345678"
    (charge,) = (lago := period_of(usage)).charges
    here = deepcopy(usage)
    for figures, last in ((usage, "1"), (here, "2")):
        figures["charges_usage"][0]["units"] = f"{whole}.{'0' * 37}{last}"
    lago, ours = period_of(usage), period_of(here)
    (found,) = compared([lago], [ours], False)
    assert (found.lago[-1], found.here[-1]) == ("1", "2")
    agreed, total = share([lago], [ours])
    assert agreed < total
    assert charge.metric == "storage"


async def test_rows_for_a_program(usage: Json, compare: Compare) -> None:
    PLANTED["a filter"][0](usage)
    ran = await compare("-o", "tsv")
    head, row = ran.stdout.splitlines()
    told = dict(zip(head.split("\t"), row.split("\t"), strict=True))
    assert (told["subscription"], told["filter"]) == ("s/1", "region=eu")
    assert (told["field"], told["lago"], told["accepted"]) == ("units", "2.5", "false")
    assert "1 equal, 1 differing" in ran.stderr
    (found,) = json.loads((await compare("-o", "json")).stdout)["found"]
    assert found["filter"] == "region=eu"


async def test_spelling_and_order_are_no_difference(usage: Json, compare: Compare) -> None:
    storage, calls = usage["charges_usage"][STORAGE], usage["charges_usage"][CALLS]
    storage["units"] = storage["units"] + "000"
    storage["filters"].reverse()
    calls["grouped_usage"].reverse()
    usage["charges_usage"].reverse()
    storage["filters"].append(
        storage["filters"][0]
        | {"values": {"region": ["mars"]}, "units": "0.0"}
        | {"total_aggregated_units": "0", "events_count": 0}
    )
    usage["from_datetime"] = usage["from_datetime"].replace("Z", "+00:00")
    assert (await compare()).exit_code == 0


async def test_a_lago_without_codes_of_charges_is_compared(usage: Json, compare: Compare) -> None:
    for charge in usage["charges_usage"]:
        del charge["charge"]["code"]
        del charge["total_aggregated_units"]
    ran = await compare()
    assert ran.exit_code == 0, ran.output
    assert "total_aggregated_units was not compared everywhere" in ran.output
    usage["charges_usage"][STORAGE]["units"] = "1"
    assert (await compare()).exit_code == 1


async def test_units_that_lago_does_not_say_are_no_nothing(usage: Json, compare: Compare) -> None:
    usage["charges_usage"][STORAGE]["units"] = None
    ran = await compare()
    assert ran.exit_code == 3, ran.output
    assert "not compared s/1 of acme: Lago shows usage of another shape" in ran.output


async def test_events_of_one_side_are_named(
    lago: StandIn, usage: Json, compare: Compare, here: Running
) -> None:
    usage["charges_usage"][CALLS]["events_count"] = 5
    gone = next(e for e in lago.lists["events"] if e["transaction_id"] == "s/1-calls-3")
    lago.lists["events"].remove(gone)
    lago.lists["events"].append(gone | {"transaction_id": "extra"})
    other = next(e for e in lago.lists["events"] if e["transaction_id"] == "s/1-calls-1")
    lago.lists["events"].remove(other)
    lago.lists["events"].append(other | {"properties": {"v": "99"}})
    (found,) = lines(await compare("-o", "jsonl"))
    assert found["events_only_in_lago"] == ["extra"]
    assert found["events_only_here"] == ["s/1-calls-3"]
    assert found["events_otherwise"] == ["s/1-calls-1"]
    assert "D17" in found["may_be"]
    told = (await compare()).output
    assert "events only in Lago: extra\n" in told
    assert "may be D17: of one transaction_id with two bodies the first one counts" in told
    ran = await compare("--accept", "D17")
    assert ran.exit_code == 0, ran.output
    assert "1 equal, 0 differing, 1 accepted" in ran.output
    assert (await compare("--accept", "D4")).exit_code == 1
    assert (await compare("--accept", "D99")).exit_code == 2


async def test_what_moves_is_never_equal(lago: StandIn, usage: Json, compare: Compare) -> None:
    def moved(number: int) -> Json:
        shown = deepcopy(usage)
        shown["charges_usage"][STORAGE]["units"] = f"{number}"
        return shown

    lago.current["s/1"] = [moved(number) for number in range(20)]
    ran = await compare()
    assert ran.exit_code == 3
    assert "moving s/1 of acme" in ran.output
    assert "1 subscriptions compared: 1 equal, 0 differing, 0 accepted, 1 moving" in ran.output
    # Also if it was equal for a moment.
    lago.current["s/1"] = [usage, *(moved(number) for number in range(20))]
    assert "1 moving" in (await compare()).output
    # It comes to rest: then it is compared.
    lago.current["s/1"] = [moved(1), moved(2), usage]
    assert (await compare()).exit_code == 0


async def test_what_is_a_moment_behind_here_is_no_difference(
    lago: StandIn, usage: Json, compare: Compare, here: Running
) -> None:
    shown = lago.current["s2"][0]
    calls = shown["charges_usage"][CALLS]
    for figures in (calls, calls["grouped_usage"][0]):
        more = {"units": f"{Decimal(figures['units']) + 1}"}
        more["total_aggregated_units"] = more["units"]
        figures |= more | {"events_count": figures["events_count"] + 1}
    team = calls["grouped_usage"][0]["grouped_by"]["team"]
    event = {
        "transaction_id": "late",
        "external_subscription_id": "s2",
        "code": "calls",
        "timestamp": 1_710_400_100,
        "properties": {"team": team},
    }
    loop = asyncio.get_running_loop()

    def arrives(_: stand_in.Answering) -> bool:
        sent = here.must("POST", "/api/v1/events", {"event": event})
        asyncio.run_coroutine_threadsafe(sent, loop).result(5)
        return False

    # The list, Lago, here, Lago again: there it comes.
    lago.faults[len(lago.asked) + 3] = arrives
    ran = await compare("--customer", "zoo")
    assert ran.exit_code == 0, ran.output


async def test_what_cannot_be_asked_is_not_compared(
    lago: StandIn, usage: Json, compare: Compare, here: Running
) -> None:
    lago.lists["subscriptions"].append(stand_in.subscription("unknown", "acme", "pro"))
    lago.current["unknown"] = [usage]
    del lago.current["s2"]
    ran = await compare()
    assert ran.exit_code == 3
    assert "not compared unknown of acme: here: no active subscription of that name" in ran.output
    assert "not compared s2 of zoo: in Lago: " in ran.output
    assert ran.output.splitlines()[-1].startswith("1 subscriptions compared: 1 equal")
    lago.lists["subscriptions"] = []
    ran = await compare()
    assert (ran.exit_code, "nothing compared" in ran.output) == (3, True)
    assert "not compared s2 of zoo: in Lago: no active subscription of that name" in ran.output


async def test_some_are_compared_when_asked(usage: Json, compare: Compare) -> None:
    assert "1 subscriptions compared" in (await compare("--customer", "zoo")).output
    assert "1 subscriptions compared" in (await compare("--sample", "1")).output


async def test_limits_and_slow_pages_change_nothing(
    lago: StandIn, usage: Json, compare: Compare
) -> None:
    lago.largest_page = 1
    lago.asked.clear()
    faults = (stand_in.too_many, stand_in.broken, stand_in.slow, stand_in.cut_off)
    lago.faults = {number: faults[number % 4] for number in range(1, 9)}
    ran = await compare()
    assert ran.exit_code == 0, ran.output
    assert "2 equal" in ran.output


async def test_ended_periods(lago: StandIn, here: Running, usage: Json, compare: Compare) -> None:
    await here.send("s/1", "before", "storage", 1_708_000_000, v="1.5", region="eu")
    for subscription, customer in (("s/1", "acme"), ("s2", "zoo")):
        path = f"/api/v1/customers/{customer}/past_usage?external_subscription_id={subscription}"
        shown = (await here.must("GET", path))["usage_periods"]
        assert shown
        names = ("state", "final", "due_at", "closed_at", "final_after")
        lago.past[subscription] = [
            {key: value for key, value in as_lago(each).items() if key not in names}
            for each in shown
        ]
    ran = await compare("--past")
    assert ran.exit_code == 0, ran.output
    lago.past["s/1"][0]["charges_usage"][0]["units"] = "99"
    gone = lago.past["s2"].pop()
    found = lines(await compare("--past", "-o", "jsonl"))
    assert [(f["subscription"], f["field"]) for f in found if f["field"] == "period"] == [
        ("s2", "period")
    ]
    assert "D16" in found[-1]["may_be"]
    assert gone
    assert "s/1" in {f["subscription"] for f in found}


def case(field: str, kind: str = "sum_agg", **more: Any) -> Case:
    shown = {
        "from_datetime": "2024-01-01T00:00:00Z",
        "to_datetime": "2024-01-31T23:59:59Z",
        "charges_usage": [
            {
                "units": "1",
                "charge": {"lago_id": "c", "charge_model": "standard"},
                "billable_metric": {"code": "m", "aggregation_type": kind},
                "published": more.get("published"),
            }
        ],
    }
    (charge,) = period_of(shown).charges
    given = {"lago": "2", "here": "1", "part": WHOLE} | more
    found = FigureDifference("", charge, given["part"], field, given["lago"], given["here"])
    return Case(
        found,
        more.get("metric", {}),
        more.get("charge", {}),
        more.get("subscription", {}),
        more.get("past", False),
        more.get("bodies_differ", False),
    )


ENDING: Final = {
    "ending_at": "2024-01-20T10:00:00Z",
    "current_billing_period_ending_at": "2024-01-20T10:00:00Z",
}
OVER_TIME, RECURRING = "weighted_sum_agg", {"recurring": True}
FITTING: dict[str, Case] = {
    "D1": case("units", subscription=ENDING),
    "D2": case("period"),
    "D4": case("units", OVER_TIME, metric=RECURRING),
    "D5": case("units", metric=RECURRING),
    "D6": case("total_aggregated_units", OVER_TIME, lago="-3", here="0"),
    "D7": case("units", OVER_TIME, subscription=ENDING),
    "D8": case("units", metric=RECURRING, past=True, subscription={"previous_plan_code": "before"}),
    "D9": case("units", charge={"prorated": True}, lago="1.00001"),
    "D10": case("units", "unique_count_agg", charge={"prorated": True}),
    "D11": case("units", part=("region=(none)", "")),
    "D12": case("charge", metric=RECURRING, past=True),
    "D14": case(
        "units",
        charge={"filters": [{"values": {"a": ["1"]}}, {"values": {"a": ["1"], "b": ["2"]}}]},
    ),
    "D15": case("units", past=True, subscription={"status": "terminated"}),
    "D16": case("period", past=True, lago="none"),
    "D17": case("units", bodies_differ=True),
    "D18": case("units", "unique_count_agg"),
    "D19": case("units", metric=RECURRING),
    "D20": case("charge", past=True, charge={"pay_in_advance": True}),
    "D21": case("units", past=True, published={"revision": 1, "units": "1", "events_count": 1}),
}


@pytest.mark.parametrize("name", DEVIATIONS)
def test_a_deviation_is_named_where_it_may_be_the_cause(name: str) -> None:
    assert name in candidates(FITTING[name])


def test_a_plain_difference_is_no_deviation() -> None:
    apart = [{"values": {"a": ["1"]}}, {"values": {"a": ["2"]}}]
    assert candidates(case("units", charge={"filters": apart})) == []
    assert candidates(case("events_count", "count_agg")) == []
    assert candidates(case("events_count", "count_agg", past=True)) == []

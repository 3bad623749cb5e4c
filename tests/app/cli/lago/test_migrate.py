"""`meter migrate` copies what Lago has, says what it cannot, and writes nothing twice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from lago_python_client.client import Client

from tests.app.api.conftest import Running
from tests.app.cli.conftest import Meter
from tests.app.cli.lago import stand_in
from tests.app.cli.lago.stand_in import StandIn, charge, charge_filter, customer, metric, plan, tax


@pytest.fixture
def lago(lago: StandIn) -> StandIn:
    """A Lago with something of every kind."""
    region = [{"key": "region", "values": ["us", "eu"]}]
    lago.lists["billable_metrics"] = [
        metric("odd", "custom_agg"),
        metric("seats", "unique_count_agg", recurring=True),
        metric("storage", filters=region, rounding_function="ceil", rounding_precision=2),
    ]
    by_region = charge_filter("eu", {"region": ["eu"]})
    charges = [
        charge("of_storage", "storage", filters=[by_region], min_amount_cents=5),
        charge("of_seats", "seats", prorated=True),
        charge("of_odd", "odd"),
    ]
    lago.lists["plans"] = [plan("pro/1", charges), plan("basic", [], taxes=[tax("vat")])]
    lago.lists["customers"] = [customer("acme inc", taxes=[tax("vat")]), customer("zoo")]
    lago.lists["subscriptions"] = [
        stand_in.subscription("s/1", "acme inc", "pro/1", name="One"),
        stand_in.subscription("s2", "zoo", "basic", billing_time="calendar"),
        stand_in.subscription(
            "later", "zoo", "basic", status="pending", subscription_at="2099-01-01T00:00:00Z"
        ),
        stand_in.subscription("old", "zoo", "basic", status="terminated", terminated_at="x"),
    ]
    lago.lists["taxes"] = [tax("vat")]
    lago.organization["timezone"] = "Asia/Tokyo"
    return lago


def written(here: Running) -> list[str]:
    return [command.type for _, _, command in here.meter.commands]


async def test_everything_is_copied_and_a_second_run_writes_nothing(
    meter: Meter, here: Running, tmp_path: Path
) -> None:
    ids = tmp_path / "ids.json"
    ran = await meter("migrate", "--map", str(ids))
    assert ran.exit_code == 0, ran.output
    commands = len(here.meter.commands)
    storage = (await here.must("GET", "/api/v1/billable_metrics/storage"))["billable_metric"]
    assert (storage["rounding_function"], storage["rounding_precision"]) == ("ceil", 2)
    assert storage["filters"] == [{"key": "region", "values": ["eu", "us"]}]
    pro = (await here.must("GET", "/api/v1/plans/pro%2F1"))["plan"]
    assert [each["code"] for each in pro["charges"]] == ["of_storage", "of_seats"]
    assert pro["charges"][0]["filters"][0]["values"] == {"region": ["eu"]}
    acme = (await here.must("GET", "/api/v1/customers/acme%20inc"))["customer"]
    assert (acme["timezone"], acme["billing_configuration"]["invoice_grace_period"]) == (
        "Europe/Paris",
        3,
    )
    one = (await here.must("GET", "/api/v1/subscriptions/s%2F1"))["subscription"]
    assert (one["name"], one["plan_code"], one["billing_time"]) == ("One", "pro/1", "anniversary")
    assert (await here.must("GET", "/api/v1/subscriptions/later?status=pending"))["subscription"]
    organization = (await here.must("GET", "/api/v1/organizations"))["organization"]
    assert organization["timezone"] == "Asia/Tokyo"
    mapped = json.loads(ids.read_text())
    assert mapped["metrics"]["lago-storage"] == storage["lago_id"]
    assert mapped["charges"]["lago-of_storage"] == pro["charges"][0]["lago_id"]
    assert mapped["filters"]["lago-eu"] == pro["charges"][0]["filters"][0]["lago_id"]
    assert mapped["subscriptions"]["lago-s/1"] == one["lago_id"]

    again = await meter("migrate", "--map", str(ids))
    assert again.exit_code == 0, again.output
    assert len(here.meter.commands) == commands, again.output
    assert json.loads(ids.read_text()) == mapped
    assert "subscription: 3 equal" in again.output


async def test_what_has_no_place_is_listed_by_object(meter: Meter) -> None:
    ran = await meter("migrate", "--dry-run")
    assert ran.exit_code == 0, ran.output
    for line in (
        "! metric odd: no place here for custom_agg",
        "! plan pro/1: no place here for charge of_odd on custom_agg",
        "! plan basic: no place here for taxes vat",
        "! customer acme inc: no place here for taxes vat",
        "! vat: no place here for taxes",
    ):
        assert line in ran.output
    assert ran.output.splitlines()[-1].endswith("5 left out")


async def test_a_dry_run_prints_the_plan_and_writes_nothing(
    meter: Meter, here: Running, tmp_path: Path
) -> None:
    ids = tmp_path / "ids.json"
    ran = await meter("migrate", "--dry-run", "--map", str(ids))
    assert written(here) == []
    assert not ids.exists()
    for line in ("+ metric storage", "+ plan pro/1", "+ customer zoo", "+ subscription s/1"):
        assert line in ran.output.splitlines()
    assert "plan: 2 to be written" in ran.output


async def test_only_what_is_named_is_copied(meter: Meter, here: Running) -> None:
    await meter("migrate", "--only", "metrics,customers")
    assert set(written(here)) == {"create_billable_metric", "upsert_customer"}
    assert (await meter("migrate", "--only", "wallets")).exit_code == 2


async def test_what_differs_is_shown_and_written_only_when_asked(
    lago: StandIn, meter: Meter, here: Running
) -> None:
    await meter("migrate")
    lago.lists["billable_metrics"][1]["name"] = "Chairs"
    pro = lago.lists["plans"][0]
    pro["amount_cents"] = 2000
    pro["charges"][0]["filters"][0]["properties"] = {"amount": "3"}
    lago.lists["customers"][1]["timezone"] = "America/Lima"
    lago.lists["subscriptions"][1]["name"] = "Two"
    before = len(here.meter.commands)
    ran = await meter("migrate")
    assert ran.exit_code == 1
    assert len(here.meter.commands) == before
    for line in (
        '    name: "Chairs" in Lago, "Seats" here',
        "    amount_cents: 2000 in Lago, 1000 here",
        '    timezone: "America/Lima" in Lago, "Europe/Paris" here',
        '    name: "Two" in Lago, null here',
    ):
        assert line in ran.output.splitlines()
    assert "charge of_storage.filters: " in ran.output
    assert ran.output.count("\n~ ") + ran.output.startswith("~ ") == 4
    ran = await meter("migrate", "--update")
    assert ran.exit_code == 0, ran.output
    assert len(here.meter.commands) == before + 4
    assert (await meter("migrate")).exit_code == 0


async def test_what_cannot_be_changed_is_told(lago: StandIn, meter: Meter) -> None:
    await meter("migrate")
    lago.lists["subscriptions"][1]["billing_time"] = "anniversary"
    ran = await meter("migrate", "--update")
    assert ran.exit_code == 1
    assert "~ subscription s2 was written, and still differs" in ran.output


@pytest.mark.parametrize("request_number", [1, 2, 4, 7])
async def test_an_interrupted_run_goes_on(
    lago: StandIn, meter: Meter, here: Running, request_number: int
) -> None:
    for attempt in range(5):
        lago.faults[request_number + attempt] = stand_in.broken
    ran = await meter("migrate")
    assert ran.exit_code == 3, ran.output
    lago.faults.clear()
    assert (await meter("migrate")).exit_code == 0
    kinds = written(here)
    assert kinds.count("create_plan") == 2
    assert kinds.count("create_subscription") == 3
    assert len(kinds) == 10


async def test_pages_limits_and_faults_on_the_way_lose_nothing(
    lago: StandIn, meter: Meter, here: Running
) -> None:
    lago.largest_page = 1
    faults = (stand_in.too_many, stand_in.slow, stand_in.cut_off, stand_in.broken)
    for number in range(1, 12):
        lago.faults[number] = faults[number % 3] if number < 6 else stand_in.too_many
    lago.faults[15] = stand_in.broken
    ran = await meter("migrate")
    assert ran.exit_code == 0, ran.output
    assert len(written(here)) == 10


async def test_a_list_without_meta_is_read_to_its_end(
    lago: StandIn, meter: Meter, here: Running
) -> None:
    lago.has_meta = False
    lago.lists["customers"] = [customer(f"c{number}") for number in range(201)]
    await meter("migrate", "--only", "customers")
    assert len(written(here)) == 201


async def test_a_list_that_changes_while_it_is_read_is_read_again(
    lago: StandIn, meter: Meter, here: Running
) -> None:
    lago.lists["customers"] = [customer(f"c{number}") for number in range(150)]

    def gone(_: stand_in.Answering) -> bool:
        # What was first on the second page is now last on the first, which is read already.
        del lago.lists["customers"][0]
        return False

    lago.faults[2] = gone
    ran = await meter("migrate", "--only", "customers")
    assert ran.exit_code == 0, ran.output
    listed = await here.must("GET", "/api/v1/customers?per_page=100")
    assert listed["meta"]["total_count"] >= 149
    names = {f"c{number}" for number in range(1, 150)}
    second = await here.must("GET", "/api/v1/customers?per_page=100&page=2")
    known = {each["external_id"] for each in listed["customers"] + second["customers"]}
    assert names <= known


async def test_overrides_come_along(lago: StandIn, meter: Meter, here: Running) -> None:
    own = [
        charge("of_storage", "storage", lago_id="child", properties={"amount": "9"}),
        charge("of_seats", "seats", lago_id="child2", prorated=True),
    ]
    lago.child_plans["s/1"] = plan(
        "pro/1", own, lago_id="child", parent_id="lago-pro/1", amount_cents=7
    )
    ran = await meter("migrate")
    assert ran.exit_code == 0, ran.output
    one = (await here.must("GET", "/api/v1/subscriptions/s%2F1"))["subscription"]
    assert one["plan_amount_cents"] == 7
    first = one["plan"]["charges"][0]
    assert (first["properties"], first["filters"]) == ({"amount": "9"}, [])
    commands = len(here.meter.commands)
    assert (await meter("migrate")).exit_code == 0
    assert len(here.meter.commands) == commands
    own[0]["properties"] = {"amount": "10"}
    ran = await meter("migrate")
    assert "plan_overrides.charge of_storage.properties" in ran.output
    assert (await meter("migrate", "--update")).exit_code == 0
    assert (await meter("migrate")).exit_code == 0


async def test_ended_subscriptions_come_along_when_asked(meter: Meter, here: Running) -> None:
    assert (await meter("migrate", "--with-terminated")).exit_code == 0
    path = "/api/v1/subscriptions/old?status=terminated"
    assert (await here.must("GET", path))["subscription"]["status"] == "terminated"
    commands = len(here.meter.commands)
    assert (await meter("migrate", "--with-terminated")).exit_code == 0
    assert len(here.meter.commands) == commands


async def test_what_is_refused_does_not_stop_the_others(
    lago: StandIn, meter: Meter, here: Running
) -> None:
    lago.lists["billable_metrics"][1]["expression"] = "1 +"
    ran = await meter("migrate")
    assert ran.exit_code == 1
    assert "x metric seats: " in ran.output
    assert "invalid_expression" in ran.output
    assert "upsert_customer" in written(here)


async def test_what_lago_does_not_tell_stops_nothing(
    lago: StandIn, meter: Meter, here: Running
) -> None:
    def gone(answering: stand_in.Answering) -> bool:
        answering.reply(404, {"status": 404, "code": "not_found"})
        return True

    lago.faults[1] = gone
    del lago.lists["coupons"]
    ran = await meter("migrate")
    assert ran.exit_code == 0, ran.output
    assert "? organization: not read: " in ran.output
    assert "? coupons: not read: " in ran.output
    assert written(here).count("create_subscription") == 3


async def test_a_grace_of_the_organization_comes_along(
    lago: StandIn, meter: Meter, here: Running
) -> None:
    lago.organization["billing_configuration"] = {"invoice_grace_period": 2}
    await meter("migrate", "--only", "organization")
    ours = (await here.must("GET", "/api/v1/organizations"))["organization"]
    assert ours["billing_configuration"]["invoice_grace_period"] == 2
    lago.organization["billing_configuration"] = {"invoice_grace_period": 5}
    ran = await meter("migrate", "--only", "organization")
    assert (ran.exit_code, len(written(here))) == (1, 1)
    assert (await meter("migrate", "--only", "organization", "--update")).exit_code == 0


async def test_a_wrong_key_or_address_is_told(lago: StandIn, meter: Meter, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong"
    wrong.write_text("no")
    ran = await meter("migrate", "--lago-key-file", str(wrong))
    assert ran.exit_code == 3
    assert "Lago refuses this key (401)" in ran.output

    def moved(answering: stand_in.Answering) -> bool:
        answering.reply(302, {}, Location="http://127.0.0.1:9/")
        return True

    lago.faults[len(lago.asked) + 1] = moved
    ran = await meter("migrate")
    assert (ran.exit_code, "302" in ran.output) == (3, True)


def test_the_stand_in_serves_what_lagos_own_client_reads(lago: StandIn) -> None:
    client = Client(api_key=stand_in.KEY, api_url=lago.url)
    for name in ("billable_metrics", "plans", "customers", "subscriptions"):
        resource: Any = getattr(client, name)
        listed = resource.find_all({"per_page": 2})
        assert listed[name], name
        assert listed["meta"]["total_count"] >= len(listed[name])

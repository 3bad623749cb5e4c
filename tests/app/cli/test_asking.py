"""`meter usage`, `watch` and `dead-letters` against a running worker."""

from __future__ import annotations

import asyncio
import json
import re
from io import StringIO
from typing import Any

import pytest
from click.testing import CliRunner
from rich.console import Console

from app.cli import every_worker
from app.cli.main import cli
from app.cli.remote import Remote, RequestRefused
from app.cli.usage import period_usage
from app.cli.watch import overview_tables
from app.local_servers.ports import free_ports
from app.main import Worker
from app.offline.proof import prove_topics
from tables.partition.corrected import Corrected
from tests.app.cli.conftest import Meter
from tests.world.live.api import KEY, Api
from tests.world.waiting import PATIENCE_S, eventually

SERVERS = pytest.mark.servers


@SERVERS
async def test_usage_finds_the_customer_and_shows_every_digit(api: Api, meter: Meter) -> None:
    shown = await meter("usage", "sub/1", "-o", "table", COLUMNS="100")
    assert shown.exit_code == 0, shown.output
    assert "sub/1 (customer acme [big])" in shown.stdout
    for text in ("3.00000000000000000002", "1.00000000000000000001", "region: eu", "everything"):
        assert text in shown.stdout
    header, *rows = (await meter("usage", "sub/1")).stdout.splitlines()
    named = [dict(zip(header.split("\t"), row.split("\t"), strict=True)) for row in rows]
    assert [(row["filters"], row["units"]) for row in named] == [
        ("region=eu", "1.00000000000000000001"),
        ("everything else", "2.00000000000000000001"),
    ]


@SERVERS
async def test_usage_as_json_is_the_api_s(api: Api, meter: Meter) -> None:
    shown = json.loads((await meter("usage", "sub/1", "--json")).stdout)["customer_usage"]
    asked = await api.current_usage("acme%20%5Bbig%5D", "sub%2F1")
    assert shown["charges_usage"] == asked["charges_usage"]


@SERVERS
async def test_past_usage_lists_every_ended_period(api: Api, meter: Meter) -> None:
    async def states() -> list[str]:
        answer = await meter("usage", "sub/1", "--past", "--json")
        return [period["state"] for period in json.loads(answer.stdout)["usage_periods"]]

    async def all_closed() -> bool:
        found = await states()
        return len(found) >= 2 and set(found) == {"published"}

    await eventually(all_closed, True)
    shown = await meter("usage", "sub/1", "--past", "-o", "table", COLUMNS="200")
    assert shown.stdout.count(", published at ") == len(await states())
    for heading in ("Published", "Revision", "Pending", "Live"):
        assert heading in shown.stdout


@SERVERS
async def test_an_undefined_subscription_is_its_own_customer(api: Api, meter: Meter) -> None:
    event = {"external_subscription_id": "nobody", "code": "storage", "transaction_id": "n"}
    await api.post("/events", {"event": event | {"properties": {"gb": 1}}})

    async def shown() -> tuple[int, bool]:
        answer = await meter("usage", "nobody", "-o", "table")
        return answer.exit_code, "nobody (customer nobody)" in answer.stdout

    await eventually(shown, (0, True))
    told = "On the implicit plan, which is not billed: nobody defined this subscription."
    assert told in (await meter("usage", "nobody", "-o", "table")).stdout.splitlines()
    for words in ([], ["--customer", "nobody"]):
        in_a_pipe = await meter("usage", "nobody", *words)
        assert told in in_a_pipe.stderr
        assert told not in in_a_pipe.stdout
    defined = await meter("usage", "sub/1", "-o", "table")
    assert "implicit" not in defined.output
    past = await meter("usage", "nobody", "--past", "-o", "table")
    assert past.stdout == "No period of nobody (customer nobody) has ended yet.\n"


@SERVERS
async def test_a_name_that_nothing_has_is_said_to_be_unknown(api: Api, meter: Meter) -> None:
    of_subscription = "Subscription sub/2 is unknown: nobody defined it, and no event of it came."
    for words, said in (
        (["usage", "sub/2"], f"{of_subscription} Did you mean 'sub/1'?"),
        (["usage", "sub/2", "--past"], of_subscription),
        (["usage", "sub/1", "--customer", "x"], "sub/1 is a subscription of acme [big], not of x."),
        (["usage", "sub/1", "--customer", "x", "--past"], "There is no customer x."),
        (["explain", "sub/1", "storag"], "There is no metric storag. Did you mean 'storage'?"),
        (["series", "sub/1", "storag"], "There is no metric storag. Did you mean 'storage'?"),
        (["explain", "sub/2", "storage"], of_subscription),
        (["series", "sub/2", "storage"], of_subscription),
        (["records", "sub/2"], of_subscription),
        (["records", "--customer", "acme"], "There is no customer acme."),
        (["verify", "--subscription", "sub/2"], of_subscription),
        (["events", "cancel", "sub/1", "none", "--wait", "0.1"], ""),
    ):
        answer = await meter(*words)
        assert (answer.exit_code, said in answer.stderr) == (4, True), answer.output
    refused = await meter("events", "cancel", "sub/1", "t" * 10_000)
    assert (refused.exit_code, "(transaction_id: value_is_too_long)" in refused.stderr) == (
        1,
        True,
    ), refused.output


@SERVERS
async def test_records_of_a_deleted_customer_are_printed(api: Api, meter: Meter) -> None:
    async def printed() -> set[str]:
        words = ("records", "--customer", "acme [big]", "--type", "period.completed")
        answer = await meter(*words, "-o", "jsonl")
        assert answer.exit_code == 0, answer.output
        return set(answer.stdout.splitlines())

    async def is_published() -> bool:
        return bool(await printed())

    await eventually(is_published, True)
    before = await printed()
    assert (await api.call("DELETE", "/customers/acme%20%5Bbig%5D"))[0] == 200
    assert before <= await printed()
    await api.post("/customers", {"customer": {"external_id": "acme [big]"}})
    assert before <= await printed()


@SERVERS
async def test_a_subscription_that_has_ended_is_known(api: Api, meter: Meter) -> None:
    body = {"external_customer_id": "acme [big]", "plan_code": "plan", "external_id": "over"}
    await api.post("/subscriptions", {"subscription": body})
    assert (await api.call("DELETE", "/subscriptions/over"))[0] == 200
    answer = await meter("records", "over")
    assert answer.exit_code == 0, answer.output
    running = await meter("usage", "over")
    assert running.exit_code == 1
    assert "No period of over runs: it is terminated. --past" in running.stderr
    explained = await meter("explain", "over", "storage")
    assert explained.exit_code == 4
    assert "No period of over holds this moment: --at names another one." in explained.stderr
    again = await meter("delete", "subscription", "over", "--yes")
    assert again.exit_code == 4
    assert "Subscription over is terminated, not active." in again.stderr
    assert "status\tterminated" in (await meter("get", "subscription", "over")).stdout.splitlines()


@SERVERS
@pytest.mark.usefixtures("api")
async def test_verify_waits_for_partitions_that_are_taken_over(
    worker: Worker, meter: Meter, monkeypatch: pytest.MonkeyPatch
) -> None:
    ownership = worker.engine.ownership
    monkeypatch.setattr(ownership, "_new", {1})
    monkeypatch.setattr(ownership, "was_whole", False)
    refused, asked = asyncio.Event(), every_worker._why_not_yet
    loop = asyncio.get_running_loop()

    def told(worker: Remote) -> str:
        why = asked(worker)
        loop.call_soon_threadsafe(refused.set)
        return why

    monkeypatch.setattr(every_worker, "_why_not_yet", told)

    async def ended() -> None:
        async with asyncio.timeout(PATIENCE_S):
            await refused.wait()
        ownership._new.clear()

    answer, _ = await asyncio.gather(meter("verify"), ended())
    assert answer.exit_code == 0, answer.output
    assert "answers 503 (restoring partitions 1" in answer.stderr
    assert answer.stdout.endswith("all equal\n")


def test_a_command_that_is_interrupted_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("app.cli.remote.build_opener", interrupted)
    answer = CliRunner().invoke(cli, ["list", "metrics"])
    assert (answer.exit_code, answer.stderr) == (130, "Interrupted.\n")


@SERVERS
async def test_watch_once(api: Api, meter: Meter) -> None:
    shown = await meter("watch", "--once", COLUMNS="120")
    assert shown.exit_code == 0, shown.output
    assert "sub/1" in shown.stdout
    assert "running" in shown.stdout
    lines = (await meter("watch", "--once", "--json", "--search", "nothing")).stdout.splitlines()
    (overview,) = map(json.loads, lines)
    assert overview["usage"] == []
    assert [partition["partition"] for partition in overview["partitions"]] == [0, 1]


def test_watch_prints_each_look_where_nothing_can_be_written_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looks = iter((3, 4))

    def looked(*_: object) -> dict[str, Any]:
        number = next(looks, None)
        if number is None:
            raise KeyboardInterrupt
        shown = {"worker": "w", "workers": number, "now": "", "usage_total": 0}
        return shown | dict.fromkeys(("partitions", "closing", "usage", "dead_letters"), ())

    monkeypatch.setattr("app.cli.watch.look", looked)
    answer = CliRunner().invoke(cli, ["watch", "--every", "0.1"])
    assert answer.exit_code == 0, answer.output
    assert re.findall(r"workers (\d)", answer.stdout) == ["3", "4"]


@SERVERS
async def test_watch_has_a_line_a_charge_with_every_digit(api: Api, meter: Meter) -> None:
    _, plan = await api.call("GET", "/plans/plan")
    (metric,) = {charge["lago_billable_metric_id"] for charge in plan["plan"]["charges"]}
    charges = [
        {"id": charge["lago_id"], "billable_metric_id": metric, "charge_model": "standard"}
        | {"properties": charge["properties"], "filters": charge["filters"]}
        for charge in plan["plan"]["charges"]
    ]
    second = {"billable_metric_id": metric, "charge_model": "standard", "code": "again"}
    second["properties"] = {"amount": "0"}
    status, _ = await api.call("PUT", "/plans/plan", {"plan": {"charges": [*charges, second]}})
    assert status == 200
    long = "123456789012345678901234567890.12345678901234567890123"
    event = {"external_subscription_id": "sub/1", "code": "storage", "transaction_id": "long"}
    await api.post("/events", {"event": event | {"properties": {"gb": long, "region": "eu"}}})
    units = "123456789012345678901234567893.12345678901234567892123"

    async def lines() -> dict[str, tuple[str, int]]:
        overview = json.loads((await meter("watch", "--once", "--json")).stdout)
        return {u["charge_code"]: (u["units"], u["events_count"]) for u in overview["usage"]}

    await eventually(lines, {"storage": (units, 3), "again": (units, 3)})
    shown = await meter("watch", "--once", COLUMNS="160")
    assert "storage, charge again" in shown.stdout


@SERVERS
async def test_dead_letters_are_listed_and_replayed(api: Api, worker: Worker, meter: Meter) -> None:
    assert (await meter("dead-letters", "list", "-o", "table")).stdout == "No event was refused.\n"
    settings = worker.settings
    await worker.engine.append(settings.topic(settings.raw_topic), b"k", b"[/red] {", 0)

    async def codes() -> list[str]:
        listed = await meter("dead-letters", "list", "--json")
        return [letter["code"] for letter in json.loads(listed.stdout)]

    await eventually(codes, ["invalid_json"])
    shown = await meter("dead-letters", "list", "-o", "table", COLUMNS="140")
    assert "[/red] {" in shown.stdout
    of_key = await meter("dead-letters", "list", "--key", KEY, "--json")
    assert len(json.loads(of_key.stdout)) == 1, "it names no organization: it is the default's"
    (letter,) = json.loads((await meter("dead-letters", "list", "--json")).stdout)
    place = f"{letter['partition']}/{letter['offset']}"
    replayed = await meter("dead-letters", "replay", place)
    # It is still no JSON. A busy machine may take longer than is waited for.
    assert replayed.exit_code in (1, 3)
    assert re.fullmatch("1 replayed: 1 (refused again|sent)[.]\n", replayed.stderr)
    await eventually(codes, ["invalid_json"] * 2)

    missing = await meter("dead-letters", "replay", "0/999999", "--json")
    assert missing.exit_code == 1
    (outcome,) = json.loads(missing.stdout)["outcomes"]
    assert outcome["details"] == "there is no such dead letter any more"
    of_code = await meter("dead-letters", "replay", "--code", "too_late", "-o", "table")
    assert (of_code.exit_code, of_code.stdout) == (0, "0 replayed.\n")
    shown = await meter("dead-letters", "show", place, "--json")
    whole = json.loads(shown.stdout)["dead_letter"]
    assert (whole["value"], whole["headers"]["meter-error-code"]) == ("[/red] {", "invalid_json")
    assert (await meter("dead-letters", "show", "0/999999")).exit_code == 4


@SERVERS
async def test_amend_keeps_every_digit_of_a_number(api: Api, meter: Meter) -> None:
    event = '{"code":"storage","properties":{"gb":0.12345678901234567890123,"region":"eu"}}'
    amended = await meter("events", "amend", "sub/1", "t0", event)
    assert amended.exit_code == 0, amended.output
    assert "The event is amended: counted." in amended.stdout

    async def in_eu() -> str:
        answer = await meter("usage", "sub/1", "--json")
        (charge,) = json.loads(answer.stdout)["customer_usage"]["charges_usage"]
        return str(charge["filters"][0]["units"])

    await eventually(in_eu, "0.12345678901234567890123")


@SERVERS
async def test_a_second_amendment_is_done_when_it_counts(
    api: Api, meter: Meter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the first one made of the event says nothing of the second."""
    event = '{"code":"storage","properties":{"gb":%d,"region":"eu"}}'
    first = await meter("events", "amend", "sub/1", "t0", event % 5, "--json")
    assert (first.exit_code, json.loads(first.stdout)["outcome"]) == (0, "counted")
    # Held back as if its refold took long: only the first one shows.
    monkeypatch.setattr(Corrected, "correct", lambda *_: False)
    second = await meter("events", "amend", "sub/1", "t0", event % 6, "--wait", "0.5", "--json")
    assert (second.exit_code, json.loads(second.stdout)["outcome"]) == (3, "not_known_yet")
    monkeypatch.undo()
    third = await meter("events", "amend", "sub/1", "t0", event % 7, "--json")
    assert (third.exit_code, json.loads(third.stdout)["outcome"]) == (0, "counted")
    answer = await meter("usage", "sub/1", "--json")
    (charge,) = json.loads(answer.stdout)["customer_usage"]["charges_usage"]
    assert str(charge["filters"][0]["units"]) == "7.0"
    cancelled = await meter("events", "cancel", "sub/1", "t0", "--json")
    assert (cancelled.exit_code, json.loads(cancelled.stdout)["outcome"]) == (0, "cancelled")


@pytest.mark.parametrize("event", ["nonsense", "[1]", '{"code":NaN}'])
def test_an_amended_event_is_a_json_object(event: str) -> None:
    answer = CliRunner().invoke(cli, ["events", "amend", "sub", "t", event])
    assert answer.exit_code == 2
    assert "EVENT" in answer.stderr


@SERVERS
async def test_a_wrong_key_and_a_wrong_name_are_told(
    api: Api, worker: Worker, meter: Meter
) -> None:
    wrong = await meter("usage", "sub/1", "--key", "nonsense")
    told = "does not know this key. Set METER_API_KEY, --key-file or a context's key."
    assert (wrong.exit_code, told in wrong.stderr) == (1, True)
    with pytest.raises(RequestRefused, match="wants a key and none is set"):
        await asyncio.to_thread(Remote(worker.url, None).get, "/api/v1/plans")
    other = await meter("usage", "sub/1", "--customer", "somebody")
    assert other.exit_code == 4
    assert "sub/1 is a subscription of acme [big], not of somebody." in other.stderr


@pytest.mark.parametrize("words", [["usage", "x"], ["watch", "--once"], ["dead-letters", "list"]])
def test_nobody_answering_is_one_line(words: list[str]) -> None:
    (port,) = free_ports(1)
    answer = CliRunner(env={"METER_HTTP_PORT": str(port)}).invoke(cli, words)
    assert (answer.exit_code, answer.stdout) == (3, "")
    by_url = CliRunner(env={"METER_URL": f"http://127.0.0.1:{port}"}).invoke(cli, words)
    assert (by_url.exit_code, by_url.stderr) == (3, answer.stderr)
    assert f"No worker answers at http://127.0.0.1:{port}" in answer.stderr
    assert "Traceback" not in answer.output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        pytest.param(["usage", "x", "--url", "foo"], "no http or https URL", id="no-url"),
        pytest.param(["dead-letters", "replay"], "Name dead letters", id="nothing-named"),
        pytest.param(["dead-letters", "replay", "0/1", "--all"], "Name dead letters", id="both"),
        pytest.param(["dead-letters", "replay", "17"], "is not PARTITION/OFFSET", id="no-place"),
        pytest.param(["dead-letters", "replay", "-1/0"], "No such option", id="negative"),
    ],
)
def test_what_cannot_be_asked(words: list[str], said: str) -> None:
    answer = CliRunner().invoke(cli, words)
    assert answer.exit_code == 2
    assert said in answer.stderr


def _text(renderable: Any) -> str:
    console = Console(width=160, file=StringIO())
    with console.capture() as captured:
        console.print(renderable)
    return captured.get()


FIGURES = {"units": "1.5", "events_count": 2}


def test_groups_are_lines_below_their_charge() -> None:
    bucket = FIGURES | {"values": {"region": ["eu", "us"]}}
    charge = FIGURES | {
        "billable_metric": {"code": "[bold]storage"},
        "filters": [],
        "grouped_usage": [
            FIGURES | {"grouped_by": {"zone": None}, "filters": [bucket]},
            FIGURES | {"grouped_by": {"zone": "a"}, "filters": []},
        ],
    }
    period = {
        "from_datetime": "2026-01-01T00:00:00Z",
        "to_datetime": "2026-01-31T23:59:59Z",
        "charges_usage": [charge],
        "as_of": {"append_time": "2026-02-01T00:00:00.000Z"},
        "stale": True,
    }
    text = _text(period_usage(period, "title"))
    for part in ("[bold]storage", "zone: (none)", "  region: eu or us", "zone: a"):
        assert part in text
    assert "A changed definition is being folded in" in text


def test_an_ended_period_names_three_figures() -> None:
    pending = {
        "cut": "2026-02-03T11:00:00.000Z",
        "events": 2,
        "delta_units": "7.0",
        "reasons": ["late_events"],
    }
    charge = FIGURES | {
        "billable_metric": {"code": "m"},
        "filters": [],
        "grouped_usage": [],
        "published": {"revision": 3, "units": "2.0", "events_count": 1},
        "pending": pending,
        "live": {"units": "9.0", "events_count": 3, "as_of": "2026-02-03T10:30:00.000Z"},
    }
    unpublished = {**charge, "published": None, "pending": None}
    period = {
        "from_datetime": "2026-01-01T00:00:00Z",
        "to_datetime": "2026-01-31T23:59:59Z",
        "charges_usage": [charge, unpublished],
        "as_of": {"append_time": "2026-02-03T10:30:00.000Z"},
        "stale": False,
        "state": "published",
        "due_at": "2026-02-01T00:00:00.000Z",
        "closed_at": "2026-02-01T00:00:00.000Z",
        "final_after": "2026-03-12T00:00:00.000Z",
    }
    text = _text(period_usage(period, "title"))
    for part in ("2.0", "+7.0 at 2026-02-03T11:00:00.000Z (late events)", "9.0", "not yet"):
        assert part in text
    assert "published at 2026-02-01T00:00:00.000Z, events may revise it until" in text


def _partition(number: int, **more: Any) -> dict[str, Any]:
    figures = {"offset": 1, "rekeyed_lag": 0, "events_per_s": 0.0, "append_time": None}
    return {"partition": number, **figures, **more}


def test_what_holds_back_closing_is_shown() -> None:
    overview = {
        "worker": "http://one:1",
        "workers": 2,
        "now": "2026-01-01T00:00:00Z",
        "partitions": [
            _partition(0, state="running", owner=None, lag=7),
            _partition(3, state="elsewhere", owner="http://two:1", lag=None),
        ],
        "closing": [
            {
                "partition": 3,
                "cut": "2026-01-01T00:00:00Z",
                "blocked_by": "raw partition 3 is not folded past the cut",
                "waiting_s": 17,
            }
        ],
        "usage": [
            {
                "organization_id": "o",
                "external_subscription_id": "large",
                "external_customer_id": "acme",
                "billable_metric_code": "gb",
                "charge_code": "gb",
                "units": None,
                "events_count": None,
                "from": "2026-01-01T00:00:00Z",
                "implicit": False,
            }
        ],
        "usage_total": 1,
        "dead_letters": [],
    }
    text = _text(overview_tables(overview))
    assert "too many cells to add up here" in text
    assert "raw partition 3 is not folded past the cut" in text
    assert "17 s" in text
    assert "workers 2" in text
    assert "lag 7 and that of 1 partition unknown" in text


@SERVERS
async def test_a_proof_that_stops_before_the_end_of_the_logs_says_nothing(
    api: Api, worker: Worker, capfd: pytest.CaptureFixture[str]
) -> None:
    """A fold ends at its last cut. What it leaves of the logs is closed."""
    organization = worker.settings.api_keys[0].organization_id
    # A running worker says things of its own.
    capfd.readouterr()
    report = await prove_topics(worker.settings, organization, None, {0: 1, 1: 1})
    assert not report.unproved
    assert "asynchronous generator" not in capfd.readouterr().err

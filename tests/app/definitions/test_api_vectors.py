"""The vectors of definitions, without HTTP: requests become commands, objects become JSON.

Lists, permissions and what needs usage are the REST layer's own and tested there.
"""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from app.api.definitions.definitions_json import (
    customer_json,
    metric_json,
    plan_json,
    subscription_json,
)
from app.bounds.turns import drained
from app.definitions import commands
from app.definitions.command import Command
from app.definitions.model import Customer, Metric, Plan, Subscription
from app.definitions.outcome import Rejected
from tests.conformance.files import VECTORS
from tests.world.definitions_log import ORG, Log

FAMILIES = ("metric-", "plan-", "customer-", "subscription-")
OF_THE_REST_LAYER = re.compile(r"-index|-other-org|root-|^customer-subscriptions-unknown$")
DECIDED_OTHERWISE = {
    # records-and-cuts §11 comes before vectors: terminated_at prints with milliseconds.
    "subscription-terminate": (
        r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$",
        r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$",
    ),
}


class Answer(NamedTuple):
    status: int
    body: dict[str, Any]


def vectors() -> list[Any]:
    return [
        pytest.param(vector, id=vector["id"])
        for vector in json.loads((VECTORS / "api.json").read_text())
        if vector["id"].startswith(FAMILIES) and not OF_THE_REST_LAYER.search(vector["id"])
    ]


@pytest.mark.parametrize("vector", vectors())
def test_vector(vector: dict[str, Any]) -> None:
    server = Server()
    for step in vector["setup"]:
        if "state" in step:
            server.bring_about(step["state"])
        else:
            assert server.answer(step["request"]).status == step["expect_status"]
    steps = [vector, *vector.get("then", ())]
    before, after = DECIDED_OTHERWISE.get(vector["id"], ("", ""))
    for step in steps:
        if OF_THE_REST_LAYER.search(step["request"]["path"]) or is_list(step["request"]):
            continue
        answer, expect = server.answer(step["request"]), step["expect"]
        assert answer.status == expect["status"], answer
        wanted = json.dumps(expect.get("body_contains", {}))
        wanted = wanted.replace(json.dumps(before)[1:-1], json.dumps(after)[1:-1])
        check(answer.body, json.loads(server.filled(wanted)))


def is_list(request: dict[str, Any]) -> bool:
    path: str = request["path"]
    return request["method"] == "GET" and path.count("/") == 3


class Server:
    """Answers requests on one definition."""

    def __init__(self) -> None:
        self.log = Log()

    def bring_about(self, state: str) -> None:
        """Make a vector's set-up in words true."""
        frozen = re.fullmatch(r"clock frozen at (\S+)", state)
        pending = re.fullmatch(r"(\S+) is pending", state)
        if frozen:
            self.log.at(frozen[1])
        elif pending:
            if self.log.definitions.plan(ORG, "plan_code") is None:
                self.log.plan()
            self.log.subscribe(external_id=pending[1], subscription_at="2024-02-05T01:00:00Z")
        elif state != "paid license":
            pytest.fail(f"no one knows how to bring about: {state}")

    def answer(self, request: dict[str, Any]) -> Answer:
        """Status and body of a request on a single object."""
        request = json.loads(self.filled(json.dumps(request)))
        target = urlsplit(request["path"])
        resource, *rest = target.path.removeprefix("/api/v1/").split("/")
        name = unquote(rest[0]) if rest else ""
        status = parse_qs(target.query).get("status", [None])[0]
        if request["method"] == "GET":
            return self._shown(self._found(resource, name, status), resource)
        body = next(iter(request.get("body", {}).values()), None)
        command = _command(request["method"], resource, name, body, status)
        outcome = self.log.append(command)
        return self._shown(outcome if isinstance(outcome, Rejected) else outcome.object, resource)

    def filled(self, text: str) -> str:
        """The text with what it refers to put in."""
        metric = self.log.definitions.metric(ORG, "storage")
        return text.replace("{{metric.lago_id}}", metric.id if metric else "")

    def _found(self, resource: str, name: str, status: str | None) -> object:
        definitions = self.log.definitions
        if resource == "subscriptions":
            found = definitions.current_subscription(ORG, name, self.log.now_ms)
            wanted = status or "active"
            return found if found and found.status_at(self.log.now_ms) == wanted else None
        find = {
            "billable_metrics": definitions.metric,
            "plans": definitions.plan,
            "customers": definitions.customer,
        }[resource]
        return find(ORG, name)

    def _shown(self, outcome: object, resource: str) -> Answer:
        definitions, now_ms = self.log.definitions, self.log.now_ms
        match outcome:
            case Rejected(status=422, code=code, details=details):
                error = "Unprocessable Entity"
                body = {"status": 422, "error": error, "code": code, "error_details": details}
                return Answer(422, body)
            case Rejected(status=403, code=code):
                return Answer(403, {"status": 403, "error": "Forbidden", "code": code})
            case Rejected(status=404, code=code):
                return Answer(404, {"status": 404, "error": "Not Found", "code": code})
            case Metric():
                return Answer(200, {"billable_metric": metric_json(definitions, outcome, now_ms)})
            case Plan():
                return Answer(200, {"plan": drained(plan_json(definitions, outcome, now_ms))})
            case Customer():
                return Answer(200, {"customer": customer_json(definitions, outcome)})
            case Subscription():
                shown = subscription_json(definitions, outcome, now_ms)
                return Answer(200, {"subscription": shown})
            case _:
                return self._shown(Rejected(404, f"{resource.removesuffix('s')}_not_found"), "")


def _command(method: str, resource: str, name: str, body: Any, status: str | None) -> Command:
    match method, resource:
        case "POST", "billable_metrics":
            return commands.create_billable_metric(ORG, body)
        case "PUT", "billable_metrics":
            return commands.update_billable_metric(ORG, name, body)
        case "DELETE", "billable_metrics":
            return commands.delete_billable_metric(ORG, name)
        case "POST", "plans":
            return commands.create_plan(ORG, body)
        case "PUT", "plans":
            return commands.update_plan(ORG, name, body)
        case "DELETE", "plans":
            return commands.delete_plan(ORG, name)
        case "POST", "customers":
            return commands.upsert_customer(ORG, body)
        case "POST", "subscriptions":
            return commands.create_subscription(ORG, body)
        case "PUT", "subscriptions":
            return commands.update_subscription(ORG, name, body, status)
        case "DELETE", "subscriptions":
            return commands.terminate_subscription(ORG, name, status)
    raise AssertionError(f"no command for {method} {resource}")


def check(found: Any, wanted: Any) -> None:
    """Partial match with the operators of the vectors' README that definitions use."""
    match wanted:
        case {"$exact": exact}:
            assert json.loads(json.dumps(found)) == exact
        case {"$regex": pattern}:
            assert isinstance(found, str)
            assert re.search(pattern, found), (pattern, found)
        case {"$type": "string"}:
            assert isinstance(found, str)
        case {"$present": True}:
            assert found is not None
        case {"$any": True}:
            pass
        case dict():
            for key, value in wanted.items():
                assert key in found
                check(found[key], value)
        case list():
            assert len(found) == len(wanted)
            for one, value in zip(found, wanted, strict=True):
                check(one, value)
        case _:
            assert found == wanted

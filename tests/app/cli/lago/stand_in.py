"""A stand-in for Lago: it serves objects in the shapes that Lago's API has published."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

Json = dict[str, Any]
Query = dict[str, str]
Fault = Callable[["Answering"], bool]
"""Spoils an answer; returns True when it has answered itself."""

KEY = "lago-key"
CREATED = "2024-01-01T00:00:00Z"


class StandIn:
    """Objects by the path that lists them, newest first, and usage by subscription."""

    def __init__(self) -> None:
        self.lists: dict[str, list[Json]] = {
            name: []
            for name in (
                "billable_metrics",
                "plans",
                "customers",
                "subscriptions",
                "events",
                "taxes",
                "coupons",
                "add_ons",
            )
        }
        self.child_plans: dict[str, Json] = {}
        """Of subscriptions that override theirs."""
        self.current: dict[str, list[Json]] = {}
        """What answers about usage are, one after another; the last one stays."""
        self.past: dict[str, list[Json]] = {}
        self.organization: Json = {
            "lago_id": "org",
            "name": "Org",
            "created_at": CREATED,
            "timezone": "UTC",
            "billing_configuration": {"invoice_grace_period": 0},
        }
        self.asked: list[str] = []
        self.faults: dict[int, Fault] = {}
        """By the number of the request that they spoil."""
        self.largest_page = 100
        self.has_meta = True
        self.url = ""

    def answer(self, path: str, query: dict[str, list[str]]) -> tuple[int, Json]:
        """Return status and body."""
        words = [unquote(word) for word in path.removeprefix("/api/v1/").split("/")]
        if words == ["organizations"]:
            return 200, {"organization": self.organization}
        if words[0] == "customers" and len(words) == 3:
            return self._usage(words[1], words[2], query)
        if words[0] not in self.lists:
            return 404, _error(404, "not_found")
        if len(words) == 1:
            return 200, self._page(words[0], self._selected(words[0], query), query)
        if words[0] == "subscriptions":
            return self._subscription(words[1], query)
        return 404, _error(404, "not_found")

    def _selected(self, name: str, query: dict[str, list[str]]) -> list[Json]:
        found = self.lists[name]
        if name == "subscriptions":
            statuses = query.get("status[]", ["active"])
            found = [each for each in found if each["status"] in statuses]
            customer = query.get("external_customer_id")
            found = [e for e in found if not customer or e["external_customer_id"] == customer[0]]
        if name == "events":
            for field in ("external_subscription_id", "code"):
                if field in query:
                    found = [each for each in found if each[field] == query[field][0]]
        return found

    def _page(self, name: str, found: list[Json], query: dict[str, list[str]]) -> Json:
        per_page = min(int(query.get("per_page", ["20"])[0]), self.largest_page)
        page = int(query.get("page", ["1"])[0])
        total_pages = -(-len(found) // per_page)
        meta = {
            "current_page": page if found else 0,
            "next_page": page + 1 if page < total_pages else None,
            "prev_page": page - 1 if page > 1 else None,
            "total_pages": total_pages,
            "total_count": len(found),
        }
        items = found[(page - 1) * per_page : page * per_page]
        return {name: items} | ({"meta": meta} if self.has_meta else {})

    def _subscription(self, external_id: str, query: dict[str, list[str]]) -> tuple[int, Json]:
        status = query.get("status", ["active"])[0]
        for each in self.lists["subscriptions"]:
            if (each["external_id"], each["status"]) == (external_id, status):
                plans = {plan["code"]: plan for plan in self.lists["plans"]}
                plan = self.child_plans.get(external_id) or plans[each["plan_code"]]
                return 200, {"subscription": {**each, "plan": plan}}
        return 404, _error(404, "subscription_not_found")

    def _usage(self, customer: str, what: str, query: dict[str, list[str]]) -> tuple[int, Json]:
        subscription = query["external_subscription_id"][0]
        if what == "past_usage":
            periods = self.past.get(subscription, [])
            return 200, self._page("usage_periods", periods, query)
        answers = self.current.get(subscription)
        if not answers:
            return 404, _error(404, "no_active_subscription")
        return 200, {"customer_usage": answers.pop(0) if len(answers) > 1 else answers[0]}


class Answering(BaseHTTPRequestHandler):
    """One connection to the stand-in."""

    lago: StandIn

    def do_GET(self) -> None:
        """Answer, unless a fault does."""
        self.lago.asked.append(self.path)
        fault = self.lago.faults.get(len(self.lago.asked))
        if fault is not None and fault(self):
            return
        if self.headers["Authorization"] != f"Bearer {KEY}":
            self.reply(401, _error(401, "unauthorized"))
            return
        parts = urlsplit(self.path)
        self.reply(*self.lago.answer(parts.path, parse_qs(parts.query)))

    def reply(self, status: int, body: Json | bytes, **headers: str) -> None:
        """Send an answer."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Print nothing."""


def too_many(answering: Answering) -> bool:
    """Say 429, and that the next second is fine."""
    answering.reply(429, _error(429, "too_many_requests"), x_ratelimit_reset="0")
    return True


def broken(answering: Answering) -> bool:
    """Fail as a proxy does, with a page."""
    answering.reply(502, b"<html>Bad gateway</html>")
    return True


def cut_off(answering: Answering) -> bool:
    """End the connection within the answer."""
    answering.send_response(200)
    answering.send_header("Content-Length", "1000")
    answering.end_headers()
    answering.wfile.write(b'{"meta":')
    answering.close_connection = True
    return True


def slow(answering: Answering) -> bool:
    """Take a while."""
    time.sleep(0.3)
    return False


@contextmanager
def serving(lago: StandIn) -> Iterator[StandIn]:
    """Serve on a port of this machine."""
    handler = type("Handler", (Answering,), {"lago": lago})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    lago.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield lago
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


def _error(status: int, code: str) -> Json:
    return {"status": status, "error": code, "code": code}


# Objects in Lago's shapes.


def metric(code: str, aggregation_type: str = "sum_agg", **more: Any) -> Json:
    return {
        "lago_id": f"lago-{code}",
        "name": code.title(),
        "code": code,
        "description": None,
        "aggregation_type": aggregation_type,
        "weighted_interval": None,
        "recurring": False,
        "rounding_function": None,
        "rounding_precision": None,
        "created_at": CREATED,
        "field_name": None if aggregation_type == "count_agg" else "v",
        "expression": None,
        "filters": [],
        "active_subscriptions_count": 0,
        "draft_invoices_count": 0,
        "plans_count": 0,
        **more,
    }


def charge(code: str, metric_code: str, **more: Any) -> Json:
    return {
        "lago_id": f"lago-{code}",
        "lago_billable_metric_id": f"lago-{metric_code}",
        "code": code,
        "invoice_display_name": None,
        "billable_metric_code": metric_code,
        "created_at": CREATED,
        "charge_model": "standard",
        "invoiceable": True,
        "regroup_paid_fees": None,
        "pay_in_advance": False,
        "prorated": False,
        "min_amount_cents": 0,
        "properties": {"amount": "1.50"},
        "applied_pricing_unit": None,
        "lago_parent_id": None,
        "filters": [],
        "taxes": [],
        **more,
    }


def charge_filter(name: str, values: dict[str, list[str]], **more: Any) -> Json:
    return {
        "lago_id": f"lago-{name}",
        "charge_code": None,
        "invoice_display_name": None,
        "properties": {"amount": "2"},
        "values": values,
        **more,
    }


def plan(code: str, charges: list[Json], **more: Any) -> Json:
    return {
        "lago_id": f"lago-{code}",
        "name": code.title(),
        "invoice_display_name": None,
        "created_at": CREATED,
        "code": code,
        "interval": "monthly",
        "description": None,
        "amount_cents": 1000,
        "amount_currency": "EUR",
        "trial_period": 0.0,
        "pay_in_advance": False,
        "bill_charges_monthly": None,
        "customers_count": 0,
        "active_subscriptions_count": 0,
        "draft_invoices_count": 0,
        "parent_id": None,
        "charges": charges,
        "usage_thresholds": [],
        "taxes": [],
        **more,
    }


def customer(external_id: str, **more: Any) -> Json:
    return {
        "lago_id": f"lago-{external_id}",
        "external_id": external_id,
        "account_type": "customer",
        "billing_entity_code": "default",
        "name": external_id.title(),
        "sequential_id": 1,
        "slug": "ORG-001",
        "created_at": CREATED,
        "updated_at": CREATED,
        "currency": "EUR",
        "timezone": "Europe/Paris",
        "applicable_timezone": "Europe/Paris",
        "net_payment_term": None,
        "billing_configuration": {
            "invoice_grace_period": 3,
            "payment_provider": None,
            "document_locale": "fr",
        },
        "shipping_address": {},
        "metadata": [
            {
                "lago_id": "m",
                "key": "crm",
                "value": "7",
                "display_in_invoice": True,
                "created_at": CREATED,
            }
        ],
        "taxes": [],
        **more,
    }


def tax(code: str) -> Json:
    return {
        "lago_id": f"lago-{code}",
        "name": code.upper(),
        "code": code,
        "rate": 20.0,
        "description": None,
        "applied_to_organization": False,
        "created_at": CREATED,
    }


def subscription(external_id: str, of: str, plan_code: str, **more: Any) -> Json:
    return {
        "lago_id": f"lago-{external_id}",
        "external_id": external_id,
        "lago_customer_id": f"lago-{of}",
        "external_customer_id": of,
        "name": None,
        "plan_code": plan_code,
        "plan_amount_cents": 1000,
        "plan_amount_currency": "EUR",
        "status": "active",
        "billing_time": "anniversary",
        "subscription_at": "2024-02-10T00:00:00Z",
        "started_at": "2024-02-10T00:00:00.000Z",
        "trial_ended_at": None,
        "ending_at": None,
        "terminated_at": None,
        "canceled_at": None,
        "created_at": CREATED,
        "previous_plan_code": None,
        "next_plan_code": None,
        "downgrade_plan_date": None,
        **more,
    }

"""Metrics and plans: what there is, who uses it, and who changed what."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from app.definitions.model import Metric
from app.meter.changes import DefinitionChange
from app.page.figures import NOTHING, address, bucket, count, in_words, link_to, time, whole
from app.page.html import Html, Node, el, lazy, markup
from app.page.not_counted import UncountedLine, since_then
from app.page.tables import Column, Row, facts, table

Json = dict[str, Any]

LATEST: Final = "Latest changes, UTC"


def definitions_view(
    metrics: Sequence[Json],
    plans: Sequence[Json],
    uncounted: UncountedLine,
    organization: str | None,
) -> Html:
    """Return the fragment."""
    metric = link_to("New billable metric", "definitions", "new-metric", organization=organization)
    plan = link_to("New plan", "definitions", "new-plan", organization=organization)
    undefined = sorted(uncounted.of_code.keys() - {metric["code"] for metric in metrics})
    return markup(
        el("h1", "Metrics and plans"),
        el("p", metric, " · ", plan),
        _undefined(undefined, uncounted, organization),
        _metrics(metrics, uncounted, organization),
        _plans(plans, organization),
        lazy("changes", address("page", "part", "changes", organization=organization), LATEST),
    )


def _undefined(codes: Sequence[str], uncounted: UncountedLine, organization: str | None) -> Node:
    if not codes:
        return None
    items = (
        el(
            "li",
            link_to(code, "definitions", "new-metric", code=code, organization=organization),
            f": {count(uncounted.of_code[code], 'event')} not counted",
            since_then(uncounted.since),
        )
        for code in codes[:20]
    )
    return el("section", el("h2", "Codes that no metric has"), el("ul", items), id="undefined")


def _metrics(metrics: Sequence[Json], uncounted: UncountedLine, organization: str | None) -> Html:
    columns = (
        Column("Metric"),
        Column("Aggregation"),
        Column("Plans", "number"),
        Column("Active subscriptions", "number"),
        Column("Not counted", "number"),
        Column("Property or expression", "id"),
    )
    rows = (
        Row(
            metric["code"],
            (
                markup(_link("metrics", metric, organization), el("small", f" {metric['code']}")),
                metric["aggregation_type"] + (", recurring" if metric["recurring"] else ""),
                whole(metric["plans_count"]),
                whole(metric["active_subscriptions_count"]),
                whole(uncounted.of_code.get(metric["code"], 0)),
                metric["expression"] or metric["field_name"] or NOTHING,
            ),
        )
        for metric in metrics
    )
    since = since_then(uncounted.since)
    caption = markup("Billable metrics", since and el("small", " not counted", since))
    return table("metrics", caption, columns, rows, "There is no metric yet.")


def _plans(plans: Sequence[Json], organization: str | None) -> Html:
    columns = (
        Column("Plan"),
        Column("Interval"),
        Column("Charges", "number"),
        Column("Active subscriptions", "number"),
    )
    rows = (
        Row(
            plan["code"],
            (
                markup(_link("plans", plan, organization), el("small", f" {plan['code']}")),
                plan["interval"],
                whole(len(plan["charges"])),
                whole(plan["active_subscriptions_count"]),
            ),
        )
        for plan in plans
    )
    return table("plans", "Plans", columns, rows, "There is no plan yet.")


def _link(kind: str, one: Json, organization: str | None) -> Html:
    return link_to(one["name"], "definitions", kind, one["code"], organization=organization)


def changes_part(changes: Sequence[DefinitionChange]) -> Html:
    """Return who changed what, as the log has it."""
    columns = (Column("What"), Column("Which"), Column("When"), Column("By key"))
    rows = (
        Row(
            str(change.offset),
            (
                in_words(change.type),
                change.object or NOTHING,
                time(change.append_time_ms),
                change.changed_by or NOTHING,
            ),
        )
        for change in changes
    )
    return table("log", LATEST, columns, rows, "None lately.")


def metric_used(
    metric: Metric, answer: Json, charges: Sequence[Json], organization: str | None
) -> Html:
    """Return who uses a metric."""
    columns = (Column("Plan"), Column("Charge"), Column("Model"))
    rows = (
        Row(
            f"{charge['plan']} {charge['code']}",
            (
                link_to(
                    charge["plan"],
                    "definitions",
                    "plans",
                    charge["plan"],
                    organization=organization,
                ),
                charge["code"],
                charge["charge_model"],
            ),
        )
        for charge in charges
    )
    return markup(
        facts(
            (
                ("Plans", whole(answer["plans_count"])),
                ("Active subscriptions", whole(answer["active_subscriptions_count"])),
                ("Created", time(metric.created_at_ms)),
            )
        ),
        table("charges", "Charges of it", columns, rows, "No plan has a charge of it."),
    )


def plan_view(plan: Json, organization: str | None) -> Html:
    """Return the fragment of a plan."""
    columns = (
        Column("Charge"),
        Column("Metric"),
        Column("Filters"),
        Column("Groups"),
        Column("Billed"),
        Column("Model"),
    )
    rows = (Row(charge["lago_id"], _charge(charge, organization)) for charge in plan["charges"])
    back = link_to("All metrics and plans", "definitions", organization=organization)
    edit = ("definitions", "plans", plan["code"], "edit")
    return markup(
        el("h1", f"Plan {plan['code']}"),
        el("p", back, " ", link_to("Change it", *edit, organization=organization)),
        facts(
            (
                ("Name", plan["name"]),
                ("Interval", plan["interval"]),
                ("Active subscriptions", whole(plan["active_subscriptions_count"])),
            )
        ),
        table("charges", "Charges", columns, rows, "It has none."),
    )


def _charge(charge: Json, organization: str | None) -> tuple[Node, ...]:
    code = charge["billable_metric_code"]
    filters = [bucket(each["values"]) for each in charge["filters"]]
    keys = charge["properties"].get("pricing_group_keys") or charge["properties"].get("grouped_by")
    billed = "in advance" if charge["pay_in_advance"] else "in arrears"
    return (
        charge["code"],
        link_to(code, "definitions", "metrics", code, organization=organization)
        if code
        else "deleted",
        "; ".join(filters) or NOTHING,
        ", ".join(map(str, keys)) if isinstance(keys, list) and keys else NOTHING,
        billed + (", prorated" if charge["prorated"] else ""),
        charge["charge_model"],
    )

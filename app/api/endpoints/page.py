"""The page: its shell at the address of every view, its files, and its fragments."""

from __future__ import annotations

from dataclasses import replace

from app.api.answering.router import Endpoint, Handler
from app.api.pages import page, page_events, page_forms, page_plan_form, page_views

_VIEWS: tuple[tuple[str, Handler], ...] = (
    ("", page_views.fragment(page_views.overview)),
    (
        "/subscriptions/{external_id}/explain/{code}",
        page_views.of_one(page_events.once(page_views.at_owner(page_events.explain))),
    ),
    (
        "/subscriptions/{external_id}",
        page_views.of_one(page_views.at_owner(page_views.subscription)),
    ),
    ("/events/{transaction_id}", page_views.of_one(page_events.once(page_events.event))),
    ("/not-counted", page_views.of_one(page_views.not_counted_events)),
    ("/dead-letters/{partition}/{offset}", page_views.fragment(page_views.letter)),
    ("/dead-letters", page_views.fragment(page_views.letters)),
    ("/definitions/new-metric", page_views.of_one(page_forms.new_metric)),
    ("/definitions/metrics/{code}", page_views.of_one(page_forms.metric)),
    ("/definitions/new-plan", page_views.of_one(page_plan_form.new_plan)),
    ("/definitions/plans/{code}/edit", page_views.of_one(page_plan_form.edited_plan)),
    ("/definitions/plans/{code}", page_views.of_one(page_forms.plan)),
    ("/definitions", page_views.of_one(page_forms.definitions)),
)
"""Addresses of views with what shows them; each has the shell, and a fragment under /page/view."""

_PARTS: tuple[tuple[str, Handler], ...] = (
    ("past", page_views.of_one(page_views.at_owner(page_views.past))),
    ("series", page_views.of_one(page_views.at_owner(page_views.usage_series))),
    ("records", page_views.of_one(page_views.at_owner(page_views.published))),
    ("changes", page_views.of_one(page_forms.changes)),
)

_STEPS: tuple[tuple[str, Handler], ...] = (
    ("filter", page_views.of_one(page_forms.add_filter)),
    ("try", page_views.of_one(page_forms.try_expression)),
    ("examples", page_views.of_one(page_forms.examples)),
    ("example", page_views.of_one(page_forms.example)),
    ("preview", page_views.of_one(page_forms.preview)),
    ("save", page_views.of_one(page_forms.save)),
)

_PLAN_STEPS: tuple[tuple[str, Handler], ...] = (
    ("charge", page_views.of_one(page_plan_form.add_charge)),
    ("preview", page_views.of_one(page_plan_form.preview)),
    ("save", page_views.of_one(page_plan_form.save)),
)


def _get(path: str, handler: Handler, summary: str) -> Endpoint:
    return Endpoint(f"GET {path}", handler, "page", summary, public=True)


def _post(path: str, handler: Handler, summary: str) -> Endpoint:
    return Endpoint(f"POST {path}", handler, "page", summary, public=True)


PAGE = (
    *(_get(path or "/", page.shell, "The page.") for path, _ in _VIEWS),
    *(_get(f"/page/view{path}", show, "A view of the page.") for path, show in _VIEWS),
    *(_get(f"/page/part/{name}", show, "A part of a view.") for name, show in _PARTS),
    *(_post(f"/page/metric/{name}", act, "A step of a form.") for name, act in _STEPS),
    *(_post(f"/page/plan/{name}", act, "A step of a form.") for name, act in _PLAN_STEPS),
    _get("/page/dead-letters/replay", page_views.fragment(page_views.ask_replay), "A question."),
    _post("/page/dead-letters/replay", page_views.fragment(page_views.replay_letters), "Replay."),
    _post("/page/events/correct", page_views.of_one(page_events.correct), "Correct an event."),
    _get("/page/records.csv", page_views.records_csv, "Records of a period."),
    _get("/page/explain.csv", page_events.explain_csv, "The events behind a figure."),
    _get("/page/{name}", page.asset, "A file of the page."),
    _get("/api/page/overview", page.overview, "The figures of its first view."),
    _get("/api/page/organizations", page.organizations, "Whose figures it may show."),
    _get("/api/page/dead_letters/{partition}/{offset}", page.letter, "A dead letter."),
    _get("/api/page/dead_letters", page.letters, "Dead letters."),
    replace(
        _post("/api/page/dead_letters/replay", page.replay, "Append dead letters anew."),
        interruptible=True,
    ),
)

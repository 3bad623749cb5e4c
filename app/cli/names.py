"""Names that a command was asked about: where there is nothing to show, whether they are known."""

from __future__ import annotations

from app.cli.exits import NotThere
from app.cli.objects import KINDS, STATUSES, did_you_mean
from app.cli.remote import Asked, Remote, segment


def require_known(
    worker: Remote,
    subscription: str | None,
    metric: str | None = None,
    customer: str | None = None,
) -> None:
    """Raise NotThere for a subscription without definition and events, or a name of nothing else.

    To be asked where an answer is empty: what was deleted may still have usage.
    """
    if subscription is not None and not _is_known(worker, subscription):
        near = did_you_mean(worker, KINDS["subscriptions"], subscription)
        raise NotThere(
            f"Subscription {subscription} is unknown: nobody defined it, and no event of it came."
            f"{near}"
        )
    if metric is not None and not _is_there(worker, "billable_metrics", metric):
        near = did_you_mean(worker, KINDS["metrics"], metric)
        raise NotThere(f"There is no metric {metric}.{near}")
    if customer is not None and not _is_there(worker, "customers", customer):
        near = did_you_mean(worker, KINDS["customers"], customer)
        raise NotThere(f"There is no customer {customer}.{near}")


def _is_known(worker: Remote, subscription: str) -> bool:
    if _is_there(worker, "subscriptions", subscription, status=STATUSES):
        return True
    found = worker.get("/api/v1/events", external_subscription_id=subscription, per_page=1)
    return bool(found["events"])


def _is_there(worker: Remote, kind: str, name: str, **query: Asked) -> bool:
    return worker.found(f"/api/v1/{kind}/{segment(name)}", **query) is not None

"""Commands: the records of the definitions log, as the REST layer builds them from requests.

Whoever builds a command makes the ids of the objects it creates, so that applying it is
deterministic. A `body` is the object under the request's root key, as parsed JSON of any types.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from app.definitions.command import Command
from app.definitions.model import SettingsRecord
from app.definitions.shapes import (
    alert_body,
    charge_body,
    charge_filter_body,
    customer_body,
    metric_body,
    new_id,
    organization_body,
    plan_body,
    subscription_body,
    webhook_endpoint_body,
    without_blanks,
)


def _command(kind: str, organization_id: str, **payload: Any) -> Command:
    return Command(type=kind, id=new_id(), organization_id=organization_id, payload=payload)


def create_billable_metric(organization_id: str, body: object) -> Command:
    """Make the command of `POST /billable_metrics`."""
    return _command(
        "create_billable_metric",
        organization_id,
        id=new_id(),
        billable_metric=metric_body(body),
    )


def update_billable_metric(organization_id: str, code: str, body: object) -> Command:
    """Make the command of `PUT /billable_metrics/{code}`."""
    return _command(
        "update_billable_metric", organization_id, code=code, billable_metric=metric_body(body)
    )


def delete_billable_metric(organization_id: str, code: str) -> Command:
    """Make the command of `DELETE /billable_metrics/{code}`."""
    return _command("delete_billable_metric", organization_id, code=code)


def create_plan(organization_id: str, body: object) -> Command:
    """Make the command of `POST /plans`."""
    return _command("create_plan", organization_id, id=new_id(), plan=plan_body(body))


def update_plan(organization_id: str, code: str, body: object) -> Command:
    """Make the command of `PUT /plans/{code}`.

    Former commands left charges of child plans with and without wallets: they have no mark.
    """
    shaped, cascading = plan_body(body), _cascading(body)
    marks = _marked(shaped) | ({"cascade_wallets": True} if cascading else {})
    return _command("update_plan", organization_id, code=code, plan=shaped, **cascading, **marks)


def delete_plan(organization_id: str, code: str) -> Command:
    """Make the command of `DELETE /plans/{code}`."""
    return _command("delete_plan", organization_id, code=code)


def create_charge(organization_id: str, plan_code: str, body: object) -> Command:
    """Make the command of `POST /plans/{code}/charges`."""
    return _of_plan("create_charge", organization_id, plan_code, body, charge=charge_body(body))


def update_charge(organization_id: str, plan_code: str, charge_code: str, body: object) -> Command:
    """Make the command of `PUT /plans/{code}/charges/{charge_code}`."""
    named = {"charge_code": charge_code, "charge": charge_body(body)}
    return _of_plan("update_charge", organization_id, plan_code, body, **named)


def delete_charge(
    organization_id: str, plan_code: str, charge_code: str, body: object = None
) -> Command:
    """Make the command of `DELETE /plans/{code}/charges/{charge_code}`."""
    return _of_plan("delete_charge", organization_id, plan_code, body, charge_code=charge_code)


def create_charge_filter(
    organization_id: str, plan_code: str, charge_code: str, body: object
) -> Command:
    """Make the command of `POST /plans/{code}/charges/{charge_code}/filters`."""
    named = {"charge_code": charge_code, "filter": charge_filter_body(body)}
    return _of_plan("create_charge_filter", organization_id, plan_code, body, **named)


def update_charge_filter(
    organization_id: str, plan_code: str, charge_code: str, filter_id: str, body: object
) -> Command:
    """Make the command of `PUT /plans/{code}/charges/{charge_code}/filters/{id}`."""
    named = {"charge_code": charge_code, "filter_id": filter_id}
    shaped = charge_filter_body(body)
    return _of_plan(
        "update_charge_filter", organization_id, plan_code, body, **named, filter=shaped
    )


def delete_charge_filter(
    organization_id: str, plan_code: str, charge_code: str, filter_id: str, body: object = None
) -> Command:
    """Make the command of `DELETE /plans/{code}/charges/{charge_code}/filters/{id}`."""
    named = {"charge_code": charge_code, "filter_id": filter_id}
    return _of_plan("delete_charge_filter", organization_id, plan_code, body, **named)


def _of_plan(kind: str, organization_id: str, code: str, body: object, **more: Any) -> Command:
    """Make a command about a part of a plan, which says whether child plans follow it."""
    return _command(kind, organization_id, code=code, **more, **_cascading(body))


def _cascading(body: object) -> dict[str, bool]:
    """Return the mark of a change that child plans follow; nothing for one they do not."""
    wanted = isinstance(body, Mapping) and body.get("cascade_updates") in (True, "true")
    return {"cascade_updates": True} if wanted else {}


def _marked(plan: object) -> dict[str, bool]:
    """Return the mark of a change of a plan that tells of its charges.

    Former commands changed what billing hangs on: they have no mark.
    """
    return {"keeps_charges": True} if isinstance(plan, Mapping) and "charges" in plan else {}


class SubscriptionCharge(NamedTuple):
    """A charge of a subscription, as a path names it; status None: of the active one."""

    organization_id: str
    external_id: str
    charge_code: str
    status: str | None = None


def update_subscription_charge(named: SubscriptionCharge, body: object) -> Command:
    """Make the command of `PUT /subscriptions/{external_id}/charges/{code}`."""
    return _of_subscription("update_subscription_charge", named, charge=charge_body(body))


def create_subscription_charge_filter(named: SubscriptionCharge, body: object) -> Command:
    """Make the command of `POST /subscriptions/{external_id}/charges/{code}/filters`."""
    shaped = charge_filter_body(body)
    return _of_subscription("create_subscription_charge_filter", named, filter=shaped)


def update_subscription_charge_filter(
    named: SubscriptionCharge, filter_id: str, body: object
) -> Command:
    """Make the command of `PUT /subscriptions/{external_id}/charges/{code}/filters/{id}`."""
    kind, shaped = "update_subscription_charge_filter", charge_filter_body(body)
    return _of_subscription(kind, named, filter_id=filter_id, filter=shaped)


def delete_subscription_charge_filter(named: SubscriptionCharge, filter_id: str) -> Command:
    """Make the command of `DELETE /subscriptions/{external_id}/charges/{code}/filters/{id}`."""
    return _of_subscription("delete_subscription_charge_filter", named, filter_id=filter_id)


def _of_subscription(kind: str, named: SubscriptionCharge, **more: Any) -> Command:
    return _command(
        kind,
        named.organization_id,
        external_id=named.external_id,
        status=named.status,
        child_plan_id=new_id(),
        charge_code=named.charge_code,
        **more,
    )


def upsert_customer(organization_id: str, body: object) -> Command:
    """Make the command of `POST /customers`; the id is used if the customer is new.

    Former commands kept the currency of who has subscriptions: they have no mark.
    """
    customer = customer_body(body)
    mark = {"any_currency": True} if "currency" in customer else {}
    return _command("upsert_customer", organization_id, id=new_id(), customer=customer, **mark)


def delete_customer(organization_id: str, external_id: str) -> Command:
    """Make the command of `DELETE /customers/{external_id}`."""
    return _command("delete_customer", organization_id, external_id=external_id)


def update_organization(organization_id: str, body: object) -> Command:
    """Make the command of `PUT /organizations` and of `PUT /billing_entities/default`.

    The endpoint's id is used if it names a first `webhook_url`.
    """
    return _command(
        "update_organization",
        organization_id,
        webhook_endpoint_id=new_id(),
        organization=organization_body(body),
    )


def create_subscription(organization_id: str, body: object) -> Command:
    """Make the command of `POST /subscriptions`.

    The customer's id is used if the customer is unknown. As in Lago blanks around ids and the name
    are none of them.
    """
    return _command(
        "create_subscription",
        organization_id,
        id=new_id(),
        customer_id=new_id(),
        **_subscription(without_blanks(body)),
    )


def update_subscription(
    organization_id: str, external_id: str, body: object, status: str | None = None
) -> Command:
    """Make the command of `PUT /subscriptions/{external_id}`.

    Without a status it is about the active one, else the pending.
    """
    return _command(
        "update_subscription",
        organization_id,
        external_id=external_id,
        status=status,
        **_subscription(body),
    )


def _subscription(body: object) -> dict[str, Any]:
    """Return the body of a subscription, and an id for the child plan that it may make."""
    shaped = subscription_body(body)
    made = {"child_plan_id": new_id()} if "plan_overrides" in shaped else {}
    return {**made, **_marked(shaped.get("plan_overrides")), "subscription": shaped}


def terminate_subscription(
    organization_id: str,
    external_id: str,
    status: str | None = None,
    on_termination_invoice: str | None = None,
) -> Command:
    """Make the command of `DELETE /subscriptions/{external_id}`.

    It ends the active one, or cancels with `pending`. `on_termination_invoice` None: what the
    subscription has.
    """
    asked = {"external_id": external_id, "status": status}
    if on_termination_invoice is not None:
        asked["on_termination_invoice"] = on_termination_invoice
    return _command("terminate_subscription", organization_id, **asked)


def create_webhook_endpoint(organization_id: str, body: object) -> Command:
    """Make the command of `POST /webhook_endpoints`."""
    return _command(
        "create_webhook_endpoint",
        organization_id,
        id=new_id(),
        webhook_endpoint=webhook_endpoint_body(body),
    )


def update_webhook_endpoint(organization_id: str, lago_id: str, body: object) -> Command:
    """Make the command of `PUT /webhook_endpoints/{lago_id}`."""
    return _command(
        "update_webhook_endpoint",
        organization_id,
        lago_id=lago_id,
        webhook_endpoint=webhook_endpoint_body(body),
    )


def delete_webhook_endpoint(organization_id: str, lago_id: str) -> Command:
    """Make the command of `DELETE /webhook_endpoints/{lago_id}`."""
    return _command("delete_webhook_endpoint", organization_id, lago_id=lago_id)


def create_alert(
    organization_id: str, external_id: str, body: object, status: str | None = None
) -> Command:
    """Make the command of `POST /subscriptions/{external_id}/alerts` with one alert."""
    told = {"status": status, "alert": alert_body(body)}
    return _command("create_alert", organization_id, external_id=external_id, **told)


def create_alerts(
    organization_id: str, external_id: str, bodies: object, status: str | None = None
) -> Command:
    """Make the command of `POST /subscriptions/{external_id}/alerts` with a list."""
    alerts = [alert_body(body) for body in bodies] if isinstance(bodies, list) else bodies
    told = {"status": status, "alerts": alerts}
    return _command("create_alerts", organization_id, external_id=external_id, **told)


def update_alert(
    organization_id: str, external_id: str, code: str, body: object, status: str | None = None
) -> Command:
    """Make the command of `PUT /subscriptions/{external_id}/alerts/{code}`."""
    told = {"status": status, "code": code, "alert": alert_body(body)}
    return _command("update_alert", organization_id, external_id=external_id, **told)


def delete_alert(
    organization_id: str, external_id: str, code: str, status: str | None = None
) -> Command:
    """Make the command of `DELETE /subscriptions/{external_id}/alerts/{code}`."""
    told = {"status": status, "code": code}
    return _command("delete_alert", organization_id, external_id=external_id, **told)


def delete_alerts(organization_id: str, external_id: str, status: str | None = None) -> Command:
    """Make the command of `DELETE /subscriptions/{external_id}/alerts`."""
    return _command("delete_alerts", organization_id, external_id=external_id, status=status)


def set_settings(record: SettingsRecord) -> Command:
    """Set what shapes bytes, for all organizations (records-and-cuts §7)."""
    return _command("settings", "", **msgspec.to_builtins(record))


def set_aside(
    partition: int,
    offset: int,
    *,
    code: str,
    message: str,
    count: int = 1,
    index: int | None = None,
) -> Command:
    """Say that these raw records, or one element of one, were never there (bounded-work §1.4)."""
    return _command(
        "set_aside",
        "",
        partition=partition,
        offset=offset,
        count=count,
        index=index,
        code=code,
        message=message,
    )


def lift(set_aside_id: str) -> Command:
    """Take a set-aside record off the list; what it names was appended anew."""
    return _command("lift", "", set_aside_id=set_aside_id)


def grant(organization_id: str, sha256: bytes) -> Command:
    """Let a raw record with this digest correct, and be admitted (bounded-work §4)."""
    return _command("grant", organization_id, sha256=sha256.hex())


def apply_history(
    organization_id: str,
    *,
    metric_ids: Sequence[str] = (),
    charge_ids: Sequence[str] = (),
    from_ms: int,
    to_ms: int,
) -> Command:
    """Fold published periods that start in [from_ms, to_ms) under the definitions at this record.

    Of these metrics and charges only (records-and-cuts §7).
    """
    return _command(
        "history",
        organization_id,
        billable_metric_ids=list(metric_ids),
        charge_ids=list(charge_ids),
        from_ms=from_ms,
        to_ms=to_ms,
    )

"""What Lago has, kind by kind, and what of it stands where here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from app.cli.lago import objects
from app.cli.lago.client import Here, Lago, LagoRefused
from app.cli.lago.objects import Difference
from app.cli.lago.taking import REFUSED, PlacedObject, Taking
from app.cli.output import echo
from app.cli.remote import Json, segment
from app.definitions.aggregation_types import NOT_FOR_SALE

_OTHERS: Final = ("taxes", "coupons", "add_ons")


class Copying:
    """Reads Lago's objects and has them taken over."""

    def __init__(self, lago: Lago, here: Here, taking: Taking, with_terminated: bool) -> None:
        self._lago = lago
        self._here = here
        self._taking = taking
        self._with_terminated = with_terminated
        self._not_here: set[str] | None = None
        """Codes of Lago's metrics that have no place here; None: not read yet."""

    def organization(self) -> None:
        """Take over timezone and grace; what is not at its default here only if wished."""
        theirs = self._read("/organizations", "organization")
        if theirs is None:
            return
        body = objects.organization_body(theirs)

        def differs(here: Json) -> list[Difference]:
            known = objects.organization_body(here)
            return objects.differences(body, known, objects.ORGANIZATION_KEYS)

        here = self._here.get("/organizations")["organization"]
        untouched = all(objects.same(each.here, {}) or each.here == "UTC" for each in differs(here))
        one = PlacedObject(
            "organization", "", "/organizations", "organization", body, here, differs
        )
        self._taking.take(one, update=untouched)

    def metrics(self) -> None:
        """Copy billable metrics."""
        self._not_here = set()
        for metric in self._oldest_first("/billable_metrics", "billable_metrics"):
            code = str(metric["code"])
            self._taking.without_place("metric", code, metric)
            if metric.get("aggregation_type") == NOT_FOR_SALE:
                self._not_here.add(code)
                continue
            body = objects.metric_body(metric) | {"code": code}

            def differs(here: Json, body: Json = body) -> list[Difference]:
                return objects.differences(body, objects.metric_body(here), objects.METRIC_KEYS)

            path, root = f"/billable_metrics/{segment(code)}", "billable_metric"
            here = self._here.found(path, root)
            one = PlacedObject("metric", code, path, root, body, here, differs)
            self._taking.identify("metrics", metric, self._taking.take(one))

    def customers(self) -> None:
        """Copy customers."""
        for customer in self._oldest_first("/customers", "customers"):
            external_id = str(customer["external_id"])
            self._taking.without_place("customer", external_id, customer)
            body = objects.customer_body(customer) | {"external_id": external_id}

            def differs(here: Json, body: Json = body) -> list[Difference]:
                return objects.differences(body, objects.customer_body(here), objects.CUSTOMER_KEYS)

            path = f"/customers/{segment(external_id)}"
            here = self._here.found(path, "customer")
            one = PlacedObject("customer", external_id, path, "customer", body, here, differs)
            self._taking.identify("customers", customer, self._taking.take(one))

    def plans(self) -> None:
        """Copy plans with their charges and filters."""
        for listed in self._oldest_first("/plans", "plans"):
            if listed.get("parent_id"):
                continue
            code = str(listed["code"])
            self._taking.without_place("plan", code, listed)
            plan = self._with_charges_that_have_place(listed)
            body = objects.plan_body(plan) | {"code": code}

            def differs(here: Json, body: Json = body) -> list[Difference]:
                return objects.plan_differences(body, objects.plan_body(here))

            path = f"/plans/{segment(code)}"
            here = self._here.found(path, "plan")
            _name_charges(body["charges"], (here or {}).get("charges") or [])
            one = PlacedObject("plan", code, path, "plan", body, here, differs)
            self._identify_plan(plan, self._taking.take(one))

    def subscriptions(self) -> None:
        """Copy subscriptions that run or wait, with what they override; ended ones if wished."""
        alive = [*self._subscriptions_in("active"), *self._subscriptions_in("pending")]
        for subscription in alive:
            self._subscription(subscription)
        if not self._with_terminated:
            return
        names = {str(each["external_id"]) for each in alive}
        for subscription in self._subscriptions_in("terminated"):
            if str(subscription["external_id"]) not in names:
                self._terminated(subscription)

    def others(self) -> None:
        """List objects of kinds that have no place here at all."""
        for kind in _OTHERS:
            try:
                found = self._lago.listed(f"/{kind}", kind)
            except LagoRefused as refused:
                echo(f"? {kind}: not read: {refused.message}")
                continue
            for item in found:
                self._taking.leave(f"{item.get('code')}", kind)

    def _subscription(self, listed: Json) -> None:
        status, external_id = str(listed["status"]), str(listed["external_id"])
        path = f"/subscriptions/{segment(external_id)}"
        # Only alone it tells its plan, which may be one of its own.
        query = {"status": status}
        alone = listed if "plan" in listed else self._read(path, "subscription", query)
        if alone is None:
            # Whether it overrides its plan is not known.
            self._taking.count("subscription", REFUSED)
            return
        subscription = {**listed, **alone}
        self._taking.without_place("subscription", external_id, subscription)
        if status == "active" and subscription.get("previous_plan_code"):
            before = f"{subscription['previous_plan_code']} before {subscription.get('started_at')}"
            self._taking.leave(f"subscription {external_id}", f"its plan {before}")
        here = self._here.found(path, "subscription", status=status)
        body = objects.subscription_body(subscription) | {"external_id": external_id}
        plan = subscription.get("plan") or {}
        if plan.get("parent_id"):
            plan = self._with_charges_that_have_place(plan)
            body["plan_overrides"] = self._overrides(plan, (here or {}).get("plan") or {})

        def differs(here: Json) -> list[Difference]:
            found = objects.differences(body, here, objects.SUBSCRIPTION_KEYS)
            overridden = objects.override_differences(plan, here.get("plan") or {})
            return found + (overridden if plan.get("parent_id") else [])

        path = f"{path}?status={status}"
        one = PlacedObject("subscription", external_id, path, "subscription", body, here, differs)
        self._taking.identify("subscriptions", listed, self._taking.take(one))

    def _overrides(self, plan: Json, ours: Json) -> Json:
        """Return a child plan as overrides of our plan, or of the child that is here."""
        if not ours.get("parent_id"):
            ours = self._here.found(f"/plans/{segment(str(plan['code']))}", "plan") or {}
        pairs, _ = objects.paired(plan["charges"], ours.get("charges") or [])
        known = {id(theirs): str(found["lago_id"]) for _, theirs, found in pairs if found}
        return objects.overrides_of(plan, lambda charge: known.get(id(charge)))

    def _terminated(self, subscription: Json) -> None:
        """Copy one that has ended: here it ends when it is copied."""
        external_id, ended = str(subscription["external_id"]), subscription.get("terminated_at")
        path = f"/subscriptions/{segment(external_id)}"
        for status in ("terminated", "active"):
            # One that still runs is there since a run was interrupted before its end.
            here = self._here.found(path, "subscription", status=status)
            if here is not None:
                break
        self._taking.leave(
            f"subscription {external_id}", f"its end at {ended}: it ends when copied"
        )
        body = objects.subscription_body(subscription) | {"external_id": external_id}
        for name in ("ending_at", "on_termination_invoice"):
            body.pop(name, None)
        one = PlacedObject(
            "subscription", external_id, path, "subscription", body, here, lambda _: []
        )
        made = self._taking.take(one)
        self._taking.identify("subscriptions", subscription, made)
        if made is not None and made.get("status") == "active" and not self._taking.is_dry:
            self._here.delete(f"{path}?on_termination_invoice=skip")

    def _subscriptions_in(self, status: str) -> list[Json]:
        found = self._oldest_first("/subscriptions", "subscriptions", {"status[]": status})
        return [each for each in found if each.get("status") == status]

    def _read(self, path: str, root: str, query: Mapping[str, str] | None = None) -> Json | None:
        """Return an object of Lago; tell if it cannot be had, and return None."""
        try:
            found: Json | None = self._lago.get(path, query).get(root)
        except LagoRefused as refused:
            if refused.status != 404:
                raise
            echo(f"? {root}: not read: {refused.message}")
            return None
        return found

    def _oldest_first(
        self, path: str, name: str, query: Mapping[str, str] | None = None
    ) -> list[Json]:
        return self._lago.listed(path, name, query)[::-1]

    def _with_charges_that_have_place(self, plan: Json) -> Json:
        if self._not_here is None:
            listed = self._lago.listed("/billable_metrics", "billable_metrics")
            custom = (m for m in listed if m.get("aggregation_type") == NOT_FOR_SALE)
            self._not_here = {str(metric["code"]) for metric in custom}
        kept = []
        for charge in plan.get("charges") or ():
            if objects.has_place(charge, self._not_here):
                kept.append(charge)
            else:
                name = f"{objects.charge_name(charge)} on {NOT_FOR_SALE}"
                self._taking.leave(f"plan {plan['code']}", name)
        return {**plan, "charges": kept}

    def _identify_plan(self, theirs: Json, ours: Json | None) -> None:
        self._taking.identify("plans", theirs, ours)
        pairs, _ = objects.paired(theirs["charges"], (ours or {}).get("charges") or [])
        for _, charge, known in pairs:
            self._taking.identify("charges", charge, known)
            ours_of = (known or {}).get("filters") or ()
            filters = {objects.values_text(each): each for each in ours_of}
            for each in charge.get("filters") or ():
                self._taking.identify("filters", each, filters.get(objects.values_text(each)))


def _name_charges(wanted: Iterable[Json], here: Sequence[Json]) -> None:
    """Give charges that are there their id, so that a change finds them."""
    for _, charge, known in objects.paired(list(wanted), here)[0]:
        if known is not None:
            charge["id"] = known["lago_id"]


KINDS: Final[Mapping[str, Callable[[Copying], None]]] = {
    "organization": Copying.organization,
    "metrics": Copying.metrics,
    "customers": Copying.customers,
    "plans": Copying.plans,
    "subscriptions": Copying.subscriptions,
}
"""What is copied, in the order in which it is."""

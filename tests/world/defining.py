"""What a customer of the API defines and sends, by whichever client."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any

from tests.world import bodies
from tests.world.bodies import Json


class Defining(ABC):
    """A client of the API that can post."""

    @abstractmethod
    async def post(self, path: str, body: Json) -> Json:
        """Return the answer to a request that succeeds."""

    async def make_metric(self, code: str, aggregation_type: str, **more: Any) -> Json:
        """Make a metric that is called like its code, and return it."""
        body = bodies.metric(code, aggregation_type, **more)
        return await self._made("/billable_metrics", "billable_metric", body)

    async def make_plan(self, code: str, charges: Iterable[Json] = (), **more: Any) -> Json:
        """Make a monthly plan of these charges, and return it."""
        return await self._made("/plans", "plan", bodies.plan(code, charges, **more))

    async def subscribe(
        self, external_id: str, plan_code: str, customer: str = "c", **more: Any
    ) -> Json:
        """Subscribe a customer to a plan, and return the subscription."""
        names = {"external_customer_id": customer, "plan_code": plan_code}
        body = {**names, "external_id": external_id, **more}
        return await self._made("/subscriptions", "subscription", body)

    async def send(
        self,
        external_subscription_id: str,
        transaction_id: str,
        code: str,
        timestamp: object = None,
        **properties: Any,
    ) -> Json:
        """Send an event, of now where no time is said, and return it."""
        body: Json = {
            "transaction_id": transaction_id,
            "external_subscription_id": external_subscription_id,
            "code": code,
            "properties": properties,
        }
        if timestamp is not None:
            body["timestamp"] = timestamp
        return await self._made("/events", "event", body)

    async def _made(self, path: str, resource: str, body: Json) -> Json:
        made: Json = (await self.post(path, {resource: body}))[resource]
        return made

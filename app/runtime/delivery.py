"""Delivery: the app that delivers batches of our partitions, as the runtime sees it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from time import monotonic
from typing import Protocol

from app.kafka.names import TP
from app.kafka.record_batch import RecordBatch

_HEARD_POLL_S = 0.1


class BatchDelivery(Protocol):
    """What delivers the batches."""

    def acknowledge(self, batch: RecordBatch) -> bool: ...

    @property
    def group_heard_s(self) -> float:
        """Monotonic time of the group's last answer that we are in it."""
        ...

    def fetched_ends(self, tp: TP) -> tuple[int, int] | None:
        """Return where the last fetch saw a partition end: what is committed, and all of it."""
        ...

    def hold(self, partition: int) -> None:
        """Deliver nothing of a partition; what is on its way is void."""
        ...

    async def deliver_from(self, partition: int, offsets: Mapping[TP, int]) -> bool:
        """Deliver a held partition again, from there; False when a rebalance has begun."""
        ...


class Deliverer(Protocol):
    """The app that delivers batches."""

    @property
    def batches(self) -> BatchDelivery: ...

    async def crash(self, error: BaseException) -> None: ...


class Delivery:
    """The app, once it is attached; before that nothing is delivered."""

    def __init__(self) -> None:
        self._app: Deliverer | None = None

    def attach(self, app: Deliverer) -> None:
        """Deliver by this app from now on."""
        self._app = app

    @property
    def attached(self) -> bool:
        """Whether anything is delivered."""
        return self._app is not None

    def acknowledge(self, batch: RecordBatch) -> bool:
        """Say that a batch is durable; False if a rebalance has made it void."""
        return self._app is not None and self._app.batches.acknowledge(batch)

    async def crash(self, error: BaseException) -> None:
        """End the app."""
        if self._app is not None:
            await self._app.crash(error)

    def group_heard_s(self) -> float:
        """Return the monotonic time of the group's last answer that we are in it."""
        return monotonic() if self._app is None else self._app.batches.group_heard_s

    async def heard_since(self, since_s: float) -> None:
        """Wait until the group has answered that we are in it."""
        while self.group_heard_s() <= since_s:
            await asyncio.sleep(_HEARD_POLL_S)

    def fetched_ends(self, tp: TP) -> tuple[int, int] | None:
        """Return where the last fetch saw a partition end: what is committed, and all of it."""
        return None if self._app is None else self._app.batches.fetched_ends(tp)

    def hold(self, partition: int) -> None:
        """Deliver nothing of a partition; what is on its way is void."""
        if self._app is not None:
            self._app.batches.hold(partition)

    async def deliver_from(self, partition: int, offsets: Mapping[TP, int]) -> bool:
        """Deliver a held partition again, from there; False when a rebalance has begun."""
        return self._app is not None and await self._app.batches.deliver_from(partition, offsets)

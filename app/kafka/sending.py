"""What a producer sends: batches that are not taken yet, and the requests that take them along."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Collection
from typing import Any

from aiokafka import TopicPartition
from aiokafka.producer.message_accumulator import MessageAccumulator, MessageBatch
from aiokafka.producer.sender import Sender

from app.bounds.cancellation import retrieve


class Requests(Sender):  # type: ignore[misc]
    """What sends the batches. As it comes, it can end one of the tasks that ask brokers at most."""

    asking: set[asyncio.Task[Any]]

    def _asks(self, task: asyncio.Task[Any]) -> None:
        self.asking.add(task)
        task.add_done_callback(self.asking.discard)

    async def _send_produce_req(self, *arguments: Any) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._asks(task)
        await super()._send_produce_req(*arguments)

    def _maybe_do_transactional_request(self) -> asyncio.Task[Any] | None:
        task: asyncio.Task[Any] | None = super()._maybe_do_transactional_request()
        if task is not None:
            self._asks(task)
        return task


class Batches(MessageAccumulator):  # type: ignore[misc]
    """Batches that are not sent yet."""

    _exception: BaseException | None

    def refuse(self, error: BaseException) -> None:
        """Let nothing be sent from now on, for the first time or again."""
        self._exception = error
        waiting = [batch for batches in self._batches.values() for batch in batches]
        self._batches.clear()
        for batch in waiting:
            if batch.retry_count:
                # As it ends, it is looked for among what is on its way; its waiter is a new one.
                self._pending_batches.add(batch)
                batch._drain_waiter.add_done_callback(retrieve)
            batch.failure(error)

    def fail_all(self, exception: BaseException) -> None:
        """Fail what is on its way too."""
        self.refuse(exception)
        super().fail_all(exception)

    def reenqueue(self, batch: MessageBatch) -> None:
        """Let a batch be sent again."""
        if self._exception is None:
            super().reenqueue(batch)
        else:
            batch.failure(self._exception)

    def _append_batch(self, builder: object, tp: TopicPartition) -> MessageBatch:
        if self._exception is not None:
            # Whoever waited for room did not see it.
            raise copy.copy(self._exception)
        batch = super()._append_batch(builder, tp)
        # Mostly nobody waits for it to be taken, and what fails it the batch tells too. Whoever
        # waited for the batch may wait no longer.
        batch._drain_waiter.add_done_callback(retrieve)
        batch.future.add_done_callback(retrieve)
        return batch

    def drain_by_nodes(
        self, ignore_nodes: Collection[int], muted_partitions: Collection[TopicPartition] = ()
    ) -> Any:
        """Take what is due, and along with it what lingers: one request more costs more."""
        first = [batches[0] for tp, batches in self._batches.items() if tp not in muted_partitions]
        if any(batch.remaining_linger() is None for batch in first):
            for batch in first:
                batch._linger_time = 0.0
        return super().drain_by_nodes(ignore_nodes, muted_partitions)

    async def add_batch(self, builder: object, tp: TopicPartition, timeout: float) -> object:
        """Take a batch; one before it, which waits for those of other partitions, goes now."""
        if waiting := self._batches.get(tp):
            waiting[-1]._builder.close()
            self._wakeup(self._waiter_future)
        return await super().add_batch(builder, tp, timeout)


class InOrderBatches(Batches):
    """The same of one that delivers nothing after what failed."""

    def _append_batch(self, builder: object, tp: TopicPartition) -> MessageBatch:
        batch = super()._append_batch(builder, tp)
        batch.future.add_done_callback(self._end_if_failed)
        return batch

    def _end_if_failed(self, sent: asyncio.Future[object]) -> None:
        # It runs before the next batch is taken: one of a partition is on its way at a time.
        error = None if sent.cancelled() else sent.exception()
        if error is not None:
            self.fail_all(error)

"""Whether a partition is ours still, and what its fold waits for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum

from app.kafka.transactions import Fenced
from app.runtime.context import WorkerContext


class State(Enum):
    """What a partition does; one fold at a time, so it waits for one thing at a time.

    Not in here: `stalled` and `woken` wake tasks, `moved` says what the next flush holds. Each of
    them may be so in any state.
    """

    NEW = "new"
    """Nothing was ever folded, and where its logs begin is not noted."""
    RUNNING = "running"
    WAITING_FOR_MEMBERS = "waiting for members"
    """The fold has asked Redis, in the middle of a batch."""
    WAITING_FOR_DEFINITIONS = "waiting for definitions"
    """The fold stands still, in the middle of a batch."""
    ABANDONED = "abandoned"
    """Given up with what is not flushed: the next owner folds it again."""


class Life:
    """The state of one partition; nothing leads out of `ABANDONED`."""

    def __init__(self, number: int, context: WorkerContext, state: State):
        self.number = number
        self.context = context
        self.state = state

    def is_given_up(self) -> bool:
        """Return whether nothing of it may be written any more."""
        return self.state is State.ABANDONED

    def require_ours(self) -> None:
        """Raise Fenced if the partition was given up."""
        if self.is_given_up():
            raise Fenced(f"partition {self.number} was given up")

    def begin(self) -> None:
        """Note that it is known where the logs of a new partition begin."""
        if self.state is State.NEW:
            self.state = State.RUNNING

    def give_up(self) -> None:
        """Give the partition up as it is; who waits finds out when it is woken."""
        self.state = State.ABANDONED

    async def wake(self) -> None:
        """Wake whoever waits for definitions: it may find the partition given up."""
        async with self.context.followed.changed:
            self.context.followed.changed.notify_all()

    @contextmanager
    def waiting(self, state: State) -> Iterator[None]:
        """Let the fold be seen to wait."""
        if not self.is_given_up():
            self.state = state
        try:
            yield
        finally:
            if not self.is_given_up():
                self.state = State.RUNNING

    @contextmanager
    def change(self) -> Iterator[None]:
        """Let a change of the tables be taken whole or not at all.

        What failed half-way, for want of memory or disk, is in no flush: the next owner begins at
        the last one.
        """
        try:
            yield
        except BaseException:
            self.give_up()
            raise

    async def definitions_past(self, past_ms: int) -> None:
        """Wait until definitions are applied past a time; whoever can lets the log go on."""
        definitions, followed = self.context.definitions, self.context.followed
        followed.want(past_ms)
        self.context.progress.stirred.set()
        async with followed.changed:
            await followed.changed.wait_for(
                lambda: self.is_given_up() or definitions.append_time_ms > past_ms
            )

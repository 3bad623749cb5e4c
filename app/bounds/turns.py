"""Share the event loop by time among all work on data of unbounded size.

Work is a generator that yields after each small step (at most 64 items or 64 KiB). `Turns.run` lets
it go on for 10 ms and then at a later turn. There is one turn at a time, and the event loop goes
round between two turns, so that no sum of work holds the loop. Folding comes first, then requests,
then the rest. While there is something to fold, the rest has at most half of the time, also between
two turns of the fold. Within each kind organizations take turns, weighed by the time they used.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from heapq import merge
from itertools import islice
from typing import Any, Generic, Literal, NamedTuple, TypeVar

from app.log import facts

T = TypeVar("T")

Kind = Literal[
    "decode",
    "fold",
    "duplicates",
    "flush",
    "close",
    "define",
    "reschedule",
    "restore",
    "refold",
    "scan",
    "request",
    "page",
    "gc",
    "other",
]
"""What held the loop; the label of `meter_loop_held_seconds_total`."""

Steps = Generator[None, None, T]
"""Work by small steps; the generator's return value is its outcome."""

STEP_ITEMS = 64
"""Most items of one step; the other bound of a step is 64 KiB."""

SORTED_AT_ONCE = 1_024
"""Items that are sorted in one step: some of them cost what one takes elsewhere."""

TURN_S = 0.010
"""Seconds that work goes on in one turn."""

HELD_S = 0.050
"""Seconds beyond which a step counts as holding the loop."""

TOLD_S = 0.250
"""Seconds beyond which the log tells of a step."""

PASSED_OVER = 4
"""Turns of the fold after which a request has one, however much time requests have used."""

_TOLD_EVERY_S = 10.0
_WINDOW_S = 1.0
"""Seconds after which all used time is halved, so that shares weigh recent time most."""

_RANKS: dict[Kind, int] = {
    "decode": 0,
    "fold": 0,
    "duplicates": 0,
    "flush": 0,
    "close": 0,
    "define": 0,
    "request": 1,
}
_REST = 2

log = logging.getLogger(__name__)


class Work(NamedTuple):
    """What a turn is for."""

    kind: Kind
    what: str = ""
    """Name of the operation, for the log; without values of customers' events."""
    organization: str = ""
    subscription: str = ""
    request: str = ""
    urgent: bool = False
    """True: the fold of a partition waits for this work, which then queues with the fold."""

    @property
    def rank(self) -> int:
        """The share that the work's time counts in: 0 the fold, 1 requests, 2 the rest."""
        return _RANKS.get(self.kind, _REST)

    @property
    def queue(self) -> int:
        """The queue that the work waits in: 0 the fold, 1 requests, 2 the rest."""
        return 0 if self.urgent else self.rank


def batches(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Yield so many items at a time."""
    return (items[first : first + size] for first in range(0, len(items), size))


def in_steps(items: Sequence[T], take: Callable[[Sequence[T]], object]) -> Steps[None]:
    """Take items, `STEP_ITEMS` at a step."""
    for some in batches(items, STEP_ITEMS):
        take(some)
        yield


def weighed(items: Iterable[T], weight: Callable[[T], int]) -> Iterator[list[T]]:
    """Yield some items at a time: so few as weigh what a step takes, or one that weighs more."""
    some, weighs = list[T](), 0
    for item in items:
        more = weight(item)
        if some and weighs + more > STEP_ITEMS:
            yield some
            some, weighs = [], 0
        some.append(item)
        weighs += more
    if some:
        yield some


def in_order(items: Iterable[T], key: Callable[[T], Any] | None = None) -> Steps[Iterator[T]]:
    """Sort any number of items by parts, a part at a step; return them in order."""
    left, parts = iter(items), list[list[T]]()
    while part := list(islice(left, SORTED_AT_ONCE)):
        part.sort(key=key)
        parts.append(part)
        yield
    return merge(*parts, key=key)  # type: ignore[arg-type]  # without a key they have an order


def freeing(items: set[Any] | list[Any]) -> Iterator[None]:
    """Let go of what a set or a list alone keeps, by steps, but for the last items.

    To free some hundred thousand names at once takes a tenth of a second.
    """
    while len(items) > SORTED_AT_ONCE:
        for _ in range(SORTED_AT_ONCE):
            items.pop()
        yield


def drained(steps: Steps[T]) -> T:
    """Take all steps at once and return their outcome."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            outcome: T = end.value
            return outcome


class Turns:
    """Hands out the turns of one event loop."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter):
        self._waiting: tuple[dict[str, deque[asyncio.Future[None]]], ...] = ({}, {}, {})
        self._used: tuple[dict[str, float], ...] = ({}, {}, {})
        self._used_in_all = [0.0, 0.0, 0.0]
        """The same of all organizations together: very many may have used some."""
        self._window_s = clock()
        self._taken = False
        self._until_s = 0.0
        """Time of the clock until which the turn lasts."""
        self._ended: tuple[asyncio.Task[Any] | None, asyncio.Handle] | None = None
        """(whose turn has ended, what hands the next one out); None: the loop has gone round."""
        self._passed_over = 0
        """Turns of the fold since a request had one."""
        self._to_fold = 0
        self._rest_from_s = 0.0
        """Time of the clock until which the rest waits while there is something to fold."""
        self._handing_out: asyncio.TimerHandle | None = None
        self._told_s: dict[str, float] = {}
        self.clock = clock
        self.others_s = 0.0
        """Seconds of the running step that count for other work."""
        self.held_s: dict[str, float] = {}
        """Seconds of steps over 50 ms, by kind."""
        self.held_in_all_s = 0.0
        self.at_next: Callable[[], None] | None = None

    def call_at_next(self, called: Callable[[], None] | None) -> None:
        """Call `called`, and nothing else, when the next step begins; None: call nothing."""
        self.at_next = called

    async def run(self, work: Work, steps: Steps[T]) -> T:
        """Run the steps to their end, 10 ms at a turn; whoever is cancelled closes them.

        Of short ones that follow each other in a task, several have a turn together.
        """
        try:
            while True:
                await self._begin(work)
                try:
                    while True:
                        with self.holding(work):
                            next(steps)
                        if self.clock() >= self._until_s:
                            break
                except StopIteration as end:
                    outcome: T = end.value
                    return outcome
                finally:
                    self._end()
        finally:
            steps.close()

    async def wait(self, work: Work) -> None:
        """Wait for a turn, and leave it to others."""
        await self._begin(work)
        self._end()

    @contextmanager
    def folding(self) -> Iterator[None]:
        """Mark that there is something to fold: after each of its turns the rest waits as long."""
        self._to_fold += 1
        try:
            yield
        finally:
            self._to_fold -= 1

    def holding(self, work: Work) -> _Holding:
        """Name whoever holds the loop with one step, and count the time that it took."""
        return _Holding(self, work)

    def watched(self, work: Work, task: Coroutine[Any, Any, T]) -> Awaitable[T]:
        """Return a coroutine that counts the time for which it holds the loop between its waits."""
        return _Watched(self, work, task)

    def interrupted(self, work: Work, took_s: float) -> None:
        """Count a part of the running step for other work, such as garbage collection."""
        self.others_s += took_s
        if took_s > HELD_S:
            self.note_held(work, took_s)

    def used(self, work: Work, took_s: float) -> None:
        """Count the time of one step for its organization and its share."""
        rank = work.rank
        used = self._used[rank]
        used[work.organization] = used.get(work.organization, 0.0) + took_s
        self._used_in_all[rank] += took_s
        if rank == _REST:
            now_s = self.clock()
            until_s = max(self._rest_from_s, now_s - took_s) + 2 * took_s
            self._rest_from_s = min(until_s, now_s + max(took_s, TURN_S))
        if took_s > HELD_S:
            self.note_held(work, took_s)

    def note_held(self, work: Work, took_s: float) -> None:
        """Count a step over 50 ms; log it when it took over 250 ms, every 10 s at most."""
        self.held_s[work.kind] = self.held_s.get(work.kind, 0.0) + took_s
        self.held_in_all_s += took_s
        now_s = self.clock()
        if took_s > TOLD_S and now_s - self._told_s.get(work.kind, -_TOLD_EVERY_S) >= _TOLD_EVERY_S:
            self._told_s[work.kind] = now_s
            named = {
                name: value
                for name in ("organization", "subscription", "request")
                if (value := getattr(work, name))
            }
            log.warning(
                "loop held %.2f s by %s: %s",
                took_s,
                work.kind,
                work.what,
                extra=facts("loop_held", **named, seconds=round(took_s, 3), by=work.kind),
            )

    async def _begin(self, work: Work) -> None:
        put_off = work.queue == _REST and self._is_rest_put_off()
        if not put_off and self._goes_on():
            return
        if not self._taken and not put_off:
            # Nobody waits that may begin, and the loop has gone round since the last turn.
            self._taken = True
            self._until_s = self.clock() + TURN_S
            self._halve_when_due()
            return
        mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[work.queue].setdefault(work.organization, deque()).append(mine)
        if not self._taken:
            self._hand_out_later()
        try:
            await mine
        except asyncio.CancelledError:
            if mine.done() and not mine.cancelled():
                self._end()
            raise
        self._until_s = self.clock() + TURN_S

    def _end(self) -> None:
        """End the turn; the next one begins when the loop has gone round."""
        loop = asyncio.get_running_loop()
        self._ended = asyncio.current_task(), loop.call_soon(self._hand_out)

    def _goes_on(self) -> bool:
        """Take back the end of the task's own turn, which is not over, before the loop goes round.

        A batch of few events takes less than the rounds that it would wait for.
        """
        if self._ended is None or self.clock() >= self._until_s:
            return False
        task, handing_out = self._ended
        if task is not asyncio.current_task():
            return False
        handing_out.cancel()
        self._ended = None
        return True

    def _hand_out(self) -> None:
        self._ended = None
        self._halve_when_due()
        while (rank := self._next_rank()) is not None:
            waiting, used = self._waiting[rank], self._used[rank]
            organization = min(waiting, key=lambda each: used.get(each, 0.0))
            queue = waiting[organization]
            mine = queue.popleft()
            if not queue:
                del waiting[organization]
            if not mine.done():
                self._passed_over = 0 if rank else self._passed_over + 1
                mine.set_result(None)
                return
        self._taken = False
        if self._waiting[_REST]:
            self._hand_out_later()

    def _is_rest_put_off(self) -> bool:
        return self._to_fold > 0 and self.clock() < self._rest_from_s

    def _hand_out_later(self) -> None:
        """Hand out the next turn when the rest may go on again."""
        if self._handing_out is None:
            delay_s = self._rest_from_s - self.clock()
            loop = asyncio.get_running_loop()
            self._handing_out = loop.call_later(delay_s, self._hand_out_again)

    def _hand_out_again(self) -> None:
        self._handing_out = None
        if not self._taken:
            self._taken = True
            self._hand_out()

    def _next_rank(self) -> int | None:
        first, requests, rest = (bool(waiting) for waiting in self._waiting)
        rest = rest and not self._is_rest_put_off()
        if first and (requests or rest):
            # Each of the others has its share, or a backlog would shut them out.
            folded_s, asked_s, rest_s = self._used_in_all
            if requests and (asked_s <= folded_s or self._passed_over >= PASSED_OVER):
                return 1
            if rest and rest_s <= folded_s / 2:
                return _REST
            return 0
        if requests and rest:
            _, asked_s, rest_s = self._used_in_all
            return _REST if rest_s <= asked_s / 2 else 1
        return 0 if first else 1 if requests else _REST if rest else None

    def _halve_when_due(self) -> None:
        """Forget slowly, so that a long quiet time earns nobody the loop."""
        now_s = self.clock()
        if now_s - self._window_s < _WINDOW_S:
            return
        self._window_s = now_s
        for used in self._used:
            for organization in list(used):
                used[organization] /= 2
                if used[organization] < TURN_S / 1_000:
                    del used[organization]
        self._used_in_all = [sum(used.values()) for used in self._used]


class _Holding:
    """A context manager around one step, which must not wait inside it."""

    def __init__(self, turns: Turns, work: Work):
        self._turns, self._work = turns, work

    def __enter__(self) -> None:
        turns = self._turns
        if turns.at_next is not None:
            called, turns.at_next = turns.at_next, None
            called()
        self._others_s, turns.others_s = turns.others_s, 0.0
        self._began_s = turns.clock()

    def __exit__(self, *_: object) -> None:
        turns = self._turns
        took_s = turns.clock() - self._began_s
        turns.used(self._work, took_s - turns.others_s)
        turns.others_s = self._others_s + took_s


class _Watched(Generic[T]):
    """A coroutine whose steps are counted."""

    def __init__(self, turns: Turns, work: Work, task: Coroutine[Any, Any, T]):
        self._turns, self._work, self._task = turns, work, task

    def __await__(self) -> Generator[Any, None, T]:
        turns, work, steps = self._turns, self._work, self._task
        error: BaseException | None = None
        try:
            while True:
                with turns.holding(work):
                    waited = steps.send(None) if error is None else steps.throw(error)
                error = None
                try:
                    yield waited
                except BaseException as raised:
                    error = raised
        except StopIteration as end:
            outcome: T = end.value
            return outcome
        finally:
            steps.close()
            # The error's traceback holds this frame, which holds the error: without this only the
            # collector would free both, and the request and its body with them.
            error = None

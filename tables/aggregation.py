"""What every aggregation is: a small state with the verbs initialize, apply, merge, result.

A state is the fold of a set of events, never of a sequence. Apply and merge commute: any order of
delivery, batching or sharing of work gives the same state. One state exists per cell and cut
bucket; a cell's figures are the result of its merged states.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from datetime import date
from decimal import Decimal
from functools import cached_property
from typing import Any, ClassVar, Generic, Literal, NamedTuple, TypeVar, get_args

import msgspec
from msgspec.structs import astuple

from app.numbers import EXACT, ZERO, spelled
from app.wire.arrivals import Position

DIGEST_MASK = (1 << 128) - 1


Groups = tuple[str | None, ...]
"""Group values in the order of the bucket's keys; () when it is not grouped."""


class State(msgspec.Struct, gc=False):
    """The part that all aggregations share.

    A type of its own never touches what other types have stored. Whoever changes the state of a
    type that exists, or what its fields mean, raises `app.definitions.model.FOLD_VERSION`.
    """

    events: int = 0
    """Events folded in."""
    digest: int = 0
    """Sum of the events' BLAKE2b-128 digests, mod 2^128."""
    precise: Decimal | None = None
    """Sum of precise_total_amount_cents; None until an event carried one."""
    bare: int = 0
    """How many of the events carried none; 0 as long as `precise` is None."""


WITH_BARE = 64
"""Added to the fold version of a packed cell that counts events without an amount beside others:
programs that do not count them take it for one of a later version, and leave it alone."""

_BARE = State.__struct_fields__.index("bare")

S = TypeVar("S", bound=State)

Reads = Literal["nothing", "number", "operation"]
"""What an aggregation takes from an event: that it was, a number of its property, or a text of its
property that is added or removed. Only subclasses of UniqueCount can fold operations."""


Lists = Literal["none", "each", "number", "greatest"]
"""What a list of events holds: nothing, 1 for each, its number, or 0 but for the greatest one."""


Kept = Literal["", "sum", "greatest", "moments"]
"""How the first field of its own of a state keeps numbers; "": otherwise.

"moments": their sum, with Σ number x event time in the second and the newest time in the third.
"""

KEPT: tuple[Kept, ...] = get_args(Kept)


class Window(msgspec.Struct, frozen=True, gc=False):
    """The period that a result is asked for."""

    from_ms: int
    end_ms: int
    """Exclusive."""
    last_ms: int
    """The last instant as Lago counts days: end - 1 ms, or the instant of termination."""
    duration_days: int
    """Nominal length, the denominator of weights and proration."""
    timezone: str
    upgraded: bool = False
    """Ended by an upgrade: the last day belongs to the new plan."""


class AggregateResult(msgspec.Struct, frozen=True, gc=False):
    """A result before metric rounding and clamping."""

    value: Decimal
    """The aggregate; for a prorated charge the prorated one."""
    full_units: Decimal
    """The unprorated aggregate."""
    level: Decimal | None
    """weighted_sum: the level at the end of the period."""
    events_count: int


add = EXACT.add
"""Exact sum of two numbers."""

subtract = EXACT.subtract
"""Exact difference of two numbers."""

multiply = EXACT.multiply
"""Exact product of two numbers."""


def _bare(state: State) -> int:
    """Return how many events of a state carried no amount, whether or not any did."""
    return state.events if state.precise is None else state.bare


def add_precise(left: Decimal | None, right: Decimal | None) -> Decimal | None:
    """Return the sum of two amounts of which any may be absent."""
    if left is None:
        return right
    return left if right is None else EXACT.add(left, right)


def lose(state: State, digest: int, amount: Decimal | None) -> bool:
    """Take out of a state what all types keep of one of its events; False: it was not in there."""
    if amount is None:
        state.bare -= state.precise is not None
    elif state.precise is None:
        return False
    elif state.events - state.bare == 1:
        # No other event carried one.
        state.precise, state.bare = None, 0
    else:
        state.precise = subtract(state.precise, amount)
    state.events -= 1
    state.digest = (state.digest - digest) & DIGEST_MASK
    return True


def local_ordinal(day: date) -> int:
    """Return the number of a local date, so that days between two dates are a subtraction."""
    return day.toordinal()


class Amended(NamedTuple):
    """What an event becomes, at the position that it has."""

    value: Decimal
    timestamp_ms: int


class Aggregation(ABC, Generic[S]):
    """One aggregation type, bound to how its charge uses it; `tables/registry.py` names all."""

    type_name: ClassVar[str]
    """The name of the type in definitions, such as sum_agg."""

    reads: ClassVar[Reads] = "number"
    """What an event has to bring."""

    lists: ClassVar[Lists] = "none"
    """What the lists of single events hold."""

    ordered: ClassVar[bool] = True
    """Whether `apply` looks at the positions of events."""

    state_type: type[S]

    @property
    def kept(self) -> Kept:
        """How `apply` keeps numbers, if that is all it does."""
        return ""

    def __init__(
        self,
        *,
        recurring: bool = False,
        prorated: bool = False,
        timezone: str = "UTC",
    ):
        self.recurring = recurring
        self.prorated = prorated
        self.timezone = timezone

    def initialize(self) -> S:
        """Return the state of no event."""
        return self.state_type()

    def apply(
        self,
        state: S,
        value: Decimal,
        timestamp_ms: int,
        position: Position,
    ) -> None:
        """Fold the value of one event into the state; the fold itself keeps what all types have."""

    def remove(self, state: S, value: Decimal, timestamp_ms: int, position: Position) -> bool:
        """Take one event of the state back out; what all types have is the caller's.

        Return False, and leave the state as it is, if only a refold can tell what is left.
        """
        return False

    def give_way(self, state: S, value: Decimal, timestamp_ms: int, after: Amended) -> bool:
        """Take out an event that `remove` leaves, for what it becomes, which is applied next.

        Return False, and leave the state as it is, if another event may hold then.
        """
        return False

    def merge(self, state: S, other: S) -> None:
        """Fold another state into this one; the two hold different events."""
        if state.precise is not None or other.precise is not None:
            state.bare = _bare(state) + _bare(other)
        state.events += other.events
        state.digest = (state.digest + other.digest) & DIGEST_MASK
        state.precise = add_precise(state.precise, other.precise)

    def carry(self, state: S, other: S) -> None:
        """Fold another state into that of what lies before the first period."""
        self.merge(state, other)

    @abstractmethod
    def result(self, state: S, before: S | None, window: Window) -> AggregateResult:
        """Return the figures of a period.

        `state` holds the events dated in it; `before` those dated earlier, None unless recurring.
        """

    def presented(self, state: S, before: S | None, window: Window) -> Decimal:
        """Return the units of a row of a breakdown: not prorated, rounded or clamped."""
        return self.result(state, before, window).full_units

    def carried(self, before: S | None) -> Decimal:
        """Return the unrounded balance at the start of a period; 0 where none is carried."""
        return ZERO

    def recency(self, state: S) -> tuple[int, Position] | None:
        """Return what of several rows makes one the newest; None where all of them count."""
        return None

    def units_so_far(
        self, state: S, before: S | None, window: Window, at_ms: int
    ) -> Decimal | None:
        """Return the part of the value that has accrued by an instant, before rounding.

        None when that cannot be told, and for all types that are no average over time.
        """
        return None

    def part(self, number: Decimal, *, adds: bool, active: bool) -> Decimal:
        """Return what one event adds to the bill of a charge that is paid in advance.

        `adds`, `active`: for operations, what it does, and whether its property was active before.
        """
        return number

    decimals: frozenset[str] = frozenset({"precise"})
    """Fields of the state that hold a decimal, for `unpack`."""

    def pack(self, state: S) -> list[Any]:
        """Return the state as scalars for the changelog: decimals as text, digest as 16 bytes.

        A number has one text: which events were there before, and are gone, does not show. `bare`
        comes last, if it is not 0.
        """
        packed: list[Any] = [*astuple(state)]
        bare = packed.pop(_BARE)
        packed[1] = packed[1].to_bytes(16, "big")
        for i in self._layout[1]:
            number = packed[i]
            if number is ZERO:
                packed[i] = "0"
            elif number is not None:
                packed[i] = spelled(number)
        if bare:
            packed.append(bare)
        return packed

    def unpack(self, packed: list[Any]) -> S:
        """Return the state that `pack` wrote; change the list."""
        fields, decimals = self._layout
        bare = packed.pop() if len(packed) == fields + 1 else 0
        if len(packed) != fields:
            raise ValueError(f"a packed state of {len(packed)} fields, not {fields}")
        packed[1] = int.from_bytes(packed[1], "big")
        for i in decimals:
            if packed[i] is not None:
                packed[i] = Decimal(packed[i])
        packed.insert(_BARE, bare)
        return self.state_type(*packed)

    @cached_property
    def _layout(self) -> tuple[int, list[int]]:
        """How many fields a packed state has but `bare`, and which of them are decimals."""
        names = [name for name in self.state_type.__struct_fields__ if name != "bare"]
        return len(names), [i for i, name in enumerate(names) if name in self.decimals]

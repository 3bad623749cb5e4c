"""A copy of every index goes its own way, whatever is played on it."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.definitions import commands
from app.definitions.active_counts import ActiveCounts
from app.definitions.command import Command
from app.definitions.indexes.groups import Groups
from app.definitions.indexes.index import Index
from app.definitions.indexes.places import Places
from app.definitions.log import apply
from app.definitions.outcome import Applied, Rejected
from app.definitions.state import Definitions
from app.definitions.versions import Versions
from tests.app.definitions.test_laws import DAY_MS, commands_of
from tests.world.prologue import ORGS, START_MS, prologue

LIFTED = ("a", "b", "c")
"""Ids of set-aside records."""

places = st.integers(0, 2)


def _set_aside(identity: str, partition: int, offset: int, index: int | None) -> Command:
    made = commands.set_aside(partition, offset, code="c", message="m", index=index)
    return Command(type=made.type, id=identity, organization_id="", payload=made.payload)


others = st.one_of(
    st.builds(_set_aside, st.sampled_from(LIFTED), places, places, st.none() | places),
    st.builds(commands.lift, st.sampled_from(LIFTED)),
    st.builds(commands.grant, st.sampled_from(ORGS), st.binary(min_size=32, max_size=32)),
    st.builds(
        commands.apply_history,
        st.sampled_from(ORGS),
        metric_ids=st.just(["m"]),
        from_ms=st.just(0),
        to_ms=st.integers(1, 2),
    ),
)
told = st.lists(
    st.tuples(commands_of(lambda bodies: bodies) | others, st.sampled_from([0, 1, DAY_MS])),
    min_size=1,
    max_size=20,
)


def play(
    definitions: Definitions, records: Iterable[tuple[Command, int]]
) -> list[Applied | Rejected | None]:
    """Apply commands, each so long after the one before."""
    outcomes = []
    for command, after_ms in records:
        at_ms = max(definitions.append_time_ms, START_MS) + after_ms
        outcomes.append(apply(definitions, command.encode(), at_ms, definitions.offset))
    return outcomes


def defined(records: Iterable[tuple[Command, int]]) -> Definitions:
    """Definitions that hold something of everything."""
    definitions = Definitions()
    play(definitions, [(command, 1) for command in prologue()])
    play(definitions, records)
    return definitions


def written(held: object) -> bytes:
    """Return all that is held, in its order, as bytes."""
    match held:
        case Groups():
            return written([(group, list(held.keys(group))) for group in held])
        case Index():
            # What is packed stands in one of its fields already, and what was asked for last is
            # no state.
            passed_over = ("_packed", "_asked", "_walked")
            return written({k: v for k, v in vars(held).items() if k not in passed_over})
        case Places():
            return written(held._buckets)
        case Mapping():
            return b"{%b}" % b",".join(written(key) + written(held[key]) for key in held)
        case Versions():
            return written([*held.changes, *held.offsets]) + written(held._objects)
        case ActiveCounts():
            moments = held._starts_ms, held._ends_ms
            return written([(one._past, one._runs) for one in moments])
        case list() | tuple() | array() | set():
            return b"[%b]" % b",".join(map(written, held))
        case _:
            return repr(held).encode()


@given(told, told)
def test_what_is_played_on_a_branch_leaves_the_original_byte_for_byte(
    before: list[tuple[Command, int]], after: list[tuple[Command, int]]
) -> None:
    definitions = defined(before)
    known = written(definitions)
    assert vars(definitions.copy()) == vars(definitions)
    branch = definitions.copy()
    outcomes = play(branch, after)
    assert written(definitions) == known
    # And it is what the original would have become.
    assert play(definitions, after) == outcomes
    assert vars(branch) == vars(definitions)


def test_who_has_charges_paid_in_advance_is_copied() -> None:
    charge = {"billable_metric_code": "a", "charge_model": "standard", "pay_in_advance": True}
    plan = {"name": "n", "code": "d", "interval": "monthly", "amount_cents": 0}
    body = {**plan, "amount_currency": "EUR", "pay_in_advance": False, "charges": [charge]}
    definitions = defined([(commands.create_plan(ORGS[0], body), 1)])
    assert definitions.plan_index.pay_in_advance
    assert vars(definitions.copy()) == vars(definitions)


@given(told, told)
def test_a_branch_of_a_branch_leaves_it_byte_for_byte(
    before: list[tuple[Command, int]], after: list[tuple[Command, int]]
) -> None:
    definitions = defined(before)
    branch = definitions.copy()
    play(branch, after)
    known = written(branch)
    play(branch.copy(), after)
    assert written(branch) == known


def test_what_has_no_copy_of_its_own_is_not_shared_in_silence() -> None:
    @dataclass
    class Forgetful(Index):
        kept: object = field(default_factory=object)

    with pytest.raises(TypeError):
        Forgetful().copy()

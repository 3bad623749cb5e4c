"""Events by runs for the kernel and its twin, and what loads a kernel."""

from __future__ import annotations

import importlib.util
from decimal import Decimal
from importlib.machinery import ExtensionFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
from hypothesis import strategies as st

from app.numbers import ZERO
from app.wire.arrivals import Arrival
from app.wire.events import Event, decode_plain
from tables.cells.cell import Cell, GroupCell, Layer, Span
from tables.changelogged.presence import EventRanges
from tables.registry import AGGREGATIONS
from tables.routing.route import Route

ROOT = Path(__file__).parents[3]
ALWAYS = (-(1 << 62), 1 << 62, -(1 << 62), 1 << 62)

names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=200)
times = st.integers(-(10**13), 10**13)
literals = st.sampled_from(
    [
        *("1", "1.50", "-0.0", "1e3", "123456789012345678901234567890", "true", "null", '""'),
        *("-7", "false", "2E+05", '"a\\\\b"', '"\\ud83d\\ude00"', '"東"'),
        *('"12"', '"a b"', '"\\u0061"', '"{,}"', "[1,{}]", '{"a":[]}', '"add"', '"remove"', '"é"'),
    ]
)
keys = st.sampled_from(["v", "operation_type", "w", "\\u0076", "v "])
spaces = st.sampled_from(["", " ", "\n\t"])


@st.composite
def properties(draw: st.DrawFn) -> bytes:
    """Properties in any spelling; a name may come twice."""
    pairs = draw(st.lists(st.tuples(keys, literals, spaces), max_size=4))
    inside = ",".join(f'{s}"{key}"{s}:{s}{literal}{s}' for key, literal, s in pairs)
    return f"{{{inside}}}".encode()


@st.composite
def arrivals(draw: st.DrawFn) -> Arrival:
    amount = draw(st.sampled_from([None, ZERO, Decimal("1.5"), Decimal(0), Decimal(-2)]))
    envelope = draw(st.just(b"") | st.binary(max_size=20))
    event = Event(
        None,
        "s",
        draw(names),
        "c",
        draw(st.none() | times),
        amount,
        draw(properties()),
        draw(st.binary(max_size=600)),
        envelope,
    )
    at_ms, partition = draw(st.integers(0, 1 << 49)), draw(st.integers(-1, 1 << 17))
    offset, rekeyed = draw(st.integers(0, 1 << 49)), draw(st.integers(-2, 1 << 49))
    inside = draw(st.booleans())
    if inside:
        at_ms, partition, offset = at_ms % (1 << 48), partition % (1 << 16), offset % (1 << 48)
        rekeyed = rekeyed % (1 << 47) if rekeyed >= 0 else -1
    return Arrival(event, "o", at_ms, partition, offset, draw(st.integers(0, 65_535)), rekeyed)


runs = st.lists(arrivals(), max_size=4)
bounds = st.just(ALWAYS) | st.tuples(times, times, times, times)


def compiled_into(directory: Path) -> Path | None:
    """Compile the kernel of the tree, unless one of these sources is there; None: nothing does."""
    path = ROOT / "deploy/build_backend.py"
    found = importlib.util.spec_from_file_location("backend", path)
    assert found is not None
    assert found.loader is not None
    backend = importlib.util.module_from_spec(found)
    found.loader.exec_module(backend)
    made: Path | None = backend.compile_kernel(directory)
    return made


def loaded(path: Path) -> ModuleType:
    """Load a compiled kernel; each file has fields of its own."""
    loader = ExtensionFileLoader("_kernel", str(path))
    spec = importlib.util.spec_from_loader("_kernel", loader)
    assert spec is not None
    kernel = importlib.util.module_from_spec(spec)
    loader.exec_module(kernel)
    return kernel


def learn(kernel: Any) -> None:
    """Let it learn where fields are, as the product does."""
    kinds: tuple[type[Any], ...] = (
        Route,
        Event,
        Arrival,
        GroupCell,
        Cell,
        Layer,
        Span,
        EventRanges,
    )
    for each in kinds:
        kernel.learn(each(*map(str, range(len(each.__struct_fields__)))))
    for aggregation in AGGREGATIONS.values():
        first: list[Any] = [object() for _ in aggregation.state_type.__struct_fields__]
        kernel.learn_state(aggregation.state_type(*first), tuple(first))


def plain_body(number: int, **more: Any) -> bytes:
    """Return an event as most are, and as its record has it."""
    return msgspec.json.encode(
        {
            "organization_id": "o",
            "external_customer_id": None,
            "external_subscription_id": "s",
            "transaction_id": f"t{number}",
            "timestamp": f"1767225600.{number:03}",
            "code": "c",
            "precise_total_amount_cents": "0.0",
            "properties": {"w": {"v": "}"}, "v": number % 3, **more},
            "ingested_at": "2026-01-01T00:00:01.118",
        }
    )


def plain(number: int, **more: Any) -> Arrival:
    """Return an event as most are."""
    event = decode_plain(plain_body(number, **more))
    assert event is not None
    return Arrival(event, "o", 1_767_225_600_500 + number, 1, number, 0)

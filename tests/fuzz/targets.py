"""What is fed any bytes, and what must come of them.

A target takes bytes and gives an answer that can be compared: a value or a named refusal. Whatever
else it raises is a defect, and so is an answer that differs when it is asked again or takes long.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path
from types import ModuleType
from typing import Any, Final, cast
from urllib.parse import quote

from aiokafka import TopicPartition

from app.api.http.errors import ApiError
from app.api.http.query import Query
from app.definitions.judging import Judging
from app.definitions.log import DECIDE, apply
from app.definitions.state import Definitions
from app.expressions import (
    EvaluationFailed,
    InvalidExpression,
    check_size,
    parse,
    result_text,
    result_value,
)
from app.kafka import lenient_fetch
from app.kafka.lenient_fetch import FetchedRecords
from app.kafka.open_batch import UnreadBatch
from app.kernel import chosen, twin
from app.numbers import EXACT, ZERO, InvalidValue
from app.wire.arrivals import PLAINLY, Arrival, MeterKey, arrivals_of, hang_on_limits
from app.wire.decode import Headers, decode_record, organizations_named
from app.wire.events import Event
from app.wire.properties import read_properties
from tables.aggregation import State
from tables.cells.cell import Cell
from tables.values import Reading, number_of
from tests.world.batches import CODECS, Record, packed_batch, split_records
from tests.world.corrections import current, used
from tests.world.events import amend, cancel
from tests.world.prologue import ORGS, START_MS, prologue

CORPUS: Final = Path(__file__).parent / "corpus"

WITHIN_S: Final = 1.0
"""Processor time of one input: what a busy machine does meanwhile is not its fault."""

WITHIN_BYTES: Final = 512 * 1024 * 1024
"""Memory of one input; `make fuzz` limits the process to that much more than it began with."""

Target = Callable[[bytes], object]


class Slow(AssertionError):
    """An input took longer than one may."""


def check(target: Target, data: bytes) -> None:
    """Ask twice; raises what is a defect."""
    began_s = time.process_time()
    answer = target(data)
    took_s = time.process_time() - began_s
    if took_s > WITHIN_S:
        raise Slow(f"{len(data)} bytes took {took_s:.2f} s")
    assert target(data) == answer, "another answer the second time"


def inputs_of(name: str) -> list[Path]:
    """The corpus of a target, with everything that was ever found."""
    return sorted(each for each in (CORPUS / name).iterdir() if each.is_file())


# Records of the raw topic. The first byte says which headers, and whether there are limits.

_HEADERS: Final[Sequence[Headers]] = (
    (),
    [("content-type", b"application/cloudevents+json")],
    [("content-type", b"application/cloudevents-batch+json")],
    [("ce_specversion", b"1.0"), ("ce_subject", b"s"), ("ce_id", b"t"), ("ce_type", b"c")],
    [("meter-admit", b"true")],
)


def records(data: bytes) -> object:
    """What arrives of a record of these bytes."""
    kind, value = data[:1], data[1:]
    choice = kind[0] if kind else 0
    headers = _HEADERS[choice % len(_HEADERS)]
    if choice >= 128:
        # Attributes of an event in binary mode may be any bytes too.
        name, _, value = value.partition(b"\n")
        headers = [("ce_specversion", b"1.0"), ("ce_id", name), ("ce_time", name)]
    default = None if choice & 32 else "o"
    judging = Judging(default, 16 if choice & 64 else 17)
    found = arrivals_of(value, headers, 17, 0, 7, judging)
    named = organizations_named(value, headers)
    noted = _noted(value, headers, default)
    assert not noted or noted == found
    return repr(found), hang_on_limits(found), named


def _noted(value: bytes, headers: Headers, default: str | None) -> list[Arrival]:
    """Return what the kernel in use notes of a record that it splits, in its order."""
    split = split_records([Record(7, 17, 0, None, value, headers)])
    runs: dict[MeterKey, Sequence[Arrival]] = {}
    chosen.arrive_many(split, 0, 1 << 40, 0, 0, 17, 17, 0, 0, default, runs, PLAINLY)
    noted = [each for run in runs.values() for each in run]
    return sorted(noted, key=lambda arrival: arrival.array_index)


# Records of the raw topic without headers, and their values by any property of theirs.


def plain_records(data: bytes) -> object:
    """What arrives of a record and is read of it, by the kernel in use and by its twin."""
    arrived = []
    for each in (chosen, twin):
        runs: dict[MeterKey, Sequence[Arrival]] = {}
        taken = each.arrive(data, 17, 0, 7, "o", runs, PLAINLY)
        arrived.append((taken, {key: list(run) for key, run in runs.items()}))
    assert repr(arrived[0]) == repr(arrived[1])
    found = []
    for (_, name, code), run in arrived[0][1].items():
        for field in (None, *read_properties(run[0].event.properties)):
            for numbers in (None, dict[str, object]()):
                read, expected = (
                    _folded(each, (name, code, run), field, numbers) for each in (chosen, twin)
                )
                # The kernel may hand back more.
                assert read is None or read == expected
                found.append(read)
    return repr((arrived[0], found))


def _folded(
    kernel: ModuleType, run: tuple[object, ...], field: str | None, numbers: dict[str, Any] | None
) -> str | None:
    """Return what it folds of a run into a cell; None: it hands the run back."""
    applied: list[tuple[object, ...]] = []

    def apply(_: State, *found: object) -> None:
        applied.append(found)

    cell = Cell(cast(Any, None), None, (), State())
    applies = None if numbers is None else apply
    reading = Reading(field, 99, numbers, number_of, True, ZERO, EXACT.add, applies, 0, EXACT.fma)
    limits = (-(1 << 62), 1 << 62, -1, 1 << 62)
    answer = kernel.take_run(cell, *run, *limits, reading, [])
    assert answer is not False or cell.state == State()
    return None if answer is False else repr((answer, cell.state, applied))


# Batches. The first byte says which codec; what follows is what a producer calls the records. Its
# head is the broker's.


def batches(data: bytes) -> object:
    """The records of a fetched batch, inflated by bounded pieces."""
    codec = list(CODECS)[data[0] % len(CODECS)] if data else "none"
    kept = lenient_fetch._KeptRecords(packed_batch(data[1:], 3, codec))
    found = FetchedRecords(TopicPartition("raw", 0), kept, [], 0, None, None, True, 1)
    answer: list[object] = []
    while not found.ended:
        if found.waits:
            found.inflate()
        answer += [
            (each.offset, str(each.reason) if isinstance(each, UnreadBatch) else each.value)
            for each in found.take(1_000)
        ]
    return answer


# Expressions. The first line is the text, the second the properties of the event.


def expressions(data: bytes) -> object:
    """The value of an expression for an event, as a quantity and as text."""
    line, _, literal = data.partition(b"\n")
    parse.cache_clear()
    value = b'{"external_subscription_id":"s","transaction_id":"t","code":"c","properties":'
    ((_, decoded),) = decode_record(value + literal + b"}") or ((0, None),)
    if not isinstance(decoded, Event):
        return "no event"
    text = line.decode(errors="replace")
    try:
        check_size(text)
        result = parse(text).evaluate(
            "code", 1_767_225_600_250, read_properties(decoded.properties)
        )
        return result, result_value(result), result_text(result)
    except (InvalidExpression, EvaluationFailed, InvalidValue) as refused:
        return type(refused).__name__


# Query strings: aiohttp refuses what is not ASCII, so other bytes come as clients spell them.

_ASCII: Final = bytes(range(128)).decode()


def queries(data: bytes) -> object:
    """Everything that a query string is asked for."""
    query = Query(quote(data, safe=_ASCII))
    names = ("page", "filters", "group", "per_page")
    answer = [
        (
            query.text(name),
            query.texts(name),
            query.flag(name),
            query.natural(name, 7, {}),
            query.positive(name, 7),
            _read(query.mapping, name),
            _read(query.choices, name),
        )
        for name in names
    ]
    other = Query(query.to_depth("depth", 20))
    assert (other.positive("per_page", 9), other.positive("depth", 1)) == (1, 20)
    assert _read(other.choices, "filters") == _read(query.choices, "filters")
    return repr(answer)


def _read(ask: Callable[[Sequence[str]], object], name: str) -> object:
    """What is chosen, or with which status it is refused."""
    try:
        return ask([name])
    except ApiError as refused:
        return refused.status


# Corrections, against a model that knows only the rule. Three bytes are one record.


def corrections(data: bytes) -> object:
    """The sum of events that were cancelled and amended, in any order."""
    appended: list[dict[str, Any]] = []
    first: dict[str, int] = {}
    said: set[str] = set()
    corrected: dict[str, int | None] = {}
    for at in range(0, min(len(data), 60) - 2, 3):
        kind, name, number = data[at] % 3, f"t{data[at + 1] % 3}", data[at + 2] % 100
        correction = f"c{data[at + 1] // 3 % 5}"
        if kind == 0:
            appended.append(used(name, str(number)))
            first.setdefault(name, number)
            continue
        value = None if kind == 1 else number
        appended.append(
            cancel(name, correction) if value is None else amend(used(name, str(value)), correction)
        )
        # What is sent again under its id says nothing; of the others the last one holds.
        if correction not in said:
            said.add(correction)
            corrected[name] = value
    wanted = sum(corrected.get(name, number) or 0 for name, number in first.items())
    found = current(*appended)
    assert Decimal(found) == wanted, f"{found}, but by the rule {wanted}"
    return found


# Definitions. The first byte says of which type the JSON that follows is the payload.

_TYPES: Final = sorted(DECIDE)
_PROLOGUE: Final = [command.encode() for command in prologue()]


def definitions(data: bytes) -> object:
    """What applying a record comes to, after something of everything was defined."""
    applied = Definitions()
    for offset, value in enumerate(_PROLOGUE):
        apply(applied, value, START_MS, offset)
    value = data[1:]
    if data and data[0] < 128:
        kind, organization = _TYPES[data[0] % len(_TYPES)], ORGS[0]
        value = (
            f'{{"type":"{kind}","id":"i","organization_id":"{organization}","payload":'.encode()
            + value
            + b"}"
        )
    return repr(apply(applied, value, START_MS + 1, len(_PROLOGUE)))


TARGETS: Final[dict[str, Target]] = {
    each.__name__: each
    for each in (records, plain_records, batches, expressions, queries, corrections, definitions)
}

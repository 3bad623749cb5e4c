"""Events that the kernel sends from one raw partition to another, and takes there.

What arrives is what the Python way makes of each record, and ledgers have the same rows of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple, cast
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.bounds.turns import drained
from app.definitions.indexes.set_asides import SetAsides
from app.definitions.judging import Judging
from app.definitions.periods import NEVER_MS
from app.kafka.names import TP
from app.kafka.record_batch import RawRecord, RecordBatch
from app.kernel import twin
from app.ledger.rows import Chunks, rows_of
from app.runtime.partition.forwarder import Leaving, leaving_of
from app.runtime.partition.portion import RekeyedPortion
from app.wire.arrivals import PLAINLY, Arrival
from app.wire.keys import message_key
from app.wire.rekeyed import POSITION_HEADER, position_of
from tests.app.kernel.batches import binary, noted, split
from tests.app.kernel.runs import plain_body
from tests.app.kernel.test_arriving import bodies, cloud_body, listed
from tests.world.batches import packed_batch, record_bytes
from tests.world.profiles import examples
from tests.world.set_asides import aside_of

Header = tuple[str, bytes | None]

UNTIL_MS = 17
USUAL = [*map(plain_body, range(3)), *map(cloud_body, range(2))]
NUMBERS = st.integers(0, 3) | st.sampled_from([2**31, 10**15 - 1, 10**15])
POSITIONS = st.tuples(st.integers(15, 18), *[NUMBERS] * 3).map(
    lambda position: b"%d:%d:%d:%d" % position
)
ODD = (b"", b"1:2:3", b"1:2:3:4:", b"1::3:4", b"-1:2:3:4", b"1:2:3:+4", b" 1:2:3:4", b"1:2:3:x")
HEADERS = st.one_of(
    POSITIONS.map(lambda text: [(POSITION_HEADER, text)]),
    st.sampled_from(ODD).map(lambda text: [(POSITION_HEADER, text)]),
    st.permutations([("meter-admit", b"true"), (POSITION_HEADER, b"16:1:1:0")]),
    st.sampled_from([[], [(POSITION_HEADER, None)], [("meter-offset", b"1:2:3:4")]]),
)


class Sent(NamedTuple):
    """A record of the topic of forwards."""

    value: bytes | None
    headers: Sequence[Header]


def batch_of(kernel: Any, sent: Sequence[Sent]) -> RecordBatch:
    """Return the records as they are fetched."""
    payload = b"".join(
        record_bytes(n, value, [(name.encode(), text) for name, text in headers])
        for n, (value, headers) in enumerate(sent)
    )
    part = split(kernel, packed_batch(payload, len(sent), "none"), len(sent))
    return RecordBatch([part], TP("rekeyed", 3), 0, len(sent), 0)


def taken(
    kernel: Any, sent: Sequence[Sent], marks: dict[int, tuple[int, int]], asides: SetAsides
) -> tuple[object, ...]:
    """Return all that a portion takes of records."""
    portion = RekeyedPortion(batch_of(kernel, sent), 0, dict(marks))
    judging = Judging("d", NEVER_MS, UNTIL_MS + 1).of_forwards()
    with (
        patch("app.runtime.partition.portion.arrive_forwards", kernel.arrive_forwards),
        patch("app.definitions.judging.TRUST_AFTER_MS", -1),
    ):
        drained(portion.decode(judging, asides))
    told = portion.next_offset, portion.marks, portion.whole, portion.waits_past_ms
    return listed(dict(portion.runs)), portion.corrections, *told


@examples(500)
@given(
    sent=st.lists(
        st.builds(Sent, st.none() | bodies() | st.sampled_from([*USUAL, b"[]"]), HEADERS),
        min_size=1,
        max_size=6,
    ),
    marks=st.dictionaries(st.integers(0, 2), st.tuples(st.integers(0, 3), st.integers(0, 2))),
    asides=st.lists(st.tuples(*[st.integers(0, 2)] * 2, st.none() | st.integers(0, 2)), max_size=2),
)
def test_what_a_home_takes_is_what_python_takes(
    kernel: Any,
    sent: list[Sent],
    marks: dict[int, tuple[int, int]],
    asides: list[tuple[int, int, int | None]],
) -> None:
    found = SetAsides()
    found.foresee(aside_of(*place) for place in asides)
    assert taken(kernel, sent, marks, found) == taken(
        SimpleNamespace(split=kernel.split, arrive_forwards=twin.arrive_forwards),
        sent,
        marks,
        found,
    )


def positioned(body: bytes, *position: int) -> Sent:
    """Return a forward."""
    return Sent(body, [(POSITION_HEADER, b"%d:%d:%d:%d" % position)])


def test_the_kernel_takes_most_of_them_itself(kernel: Any) -> None:
    sent = [
        positioned(plain_body(0), 5, 1, 7, 0),
        positioned(plain_body(1), 6, 1, 7, 1),
        positioned(plain_body(1), 6, 1, 7, 1),
        positioned(cloud_body(2), 4, 2, 9, 0),
        positioned(plain_body(2), 7, 1, 8, 0),
        positioned(plain_body(1), 9, 1, 9, 0),
        positioned(plain_body(0), 8, 1, 9, 0),
    ]
    (part,) = batch_of(kernel, sent).parts
    marks, runs = {2: (8, 5)}, dict[Any, Any]()
    left: Any = (0, 1 << 20, 10, 0, 8, "d", marks, {}, runs, PLAINLY)
    place, count, room, after = kernel.arrive_forwards(part, *left)
    assert (place, count, after) == (5, 5, 5)
    assert room == (1 << 20) - sum(10 + len(each.value or b"") for each in sent[:5])
    assert marks == {1: (8, 0), 2: (9, 0)}
    places = sorted((each.position, each.rekeyed_offset) for run in runs.values() for each in run)
    assert places == [((4, 2, 9, 0), 3), ((5, 1, 7, 0), 0), ((6, 1, 7, 1), 1), ((7, 1, 8, 0), 4)]
    assert kernel.arrive_forwards(part, 0, 1, *left[2:])[:2] == (1, 1)
    assert kernel.arrive_forwards(part, *left[:7], {1: 8}, runs, PLAINLY)[:2] == (0, 0)
    assert kernel.arrive_forwards([], *left)[:2] == (0, 0)
    assert twin.arrive_forwards(part, *left) == (0, 0, 1 << 20, 0)


def left_of(kernel: Any, values: list[bytes], from_offset: int) -> list[Leaving]:
    """Return what the kernel sends of some values."""
    leaving: list[Leaving] = []
    for key, run in noted(kernel, values).items():
        assert kernel.note_leaving(run, from_offset, 2, message_key(*key[:2]), leaving)
    return leaving


@examples(200)
@given(
    values=st.lists(bodies() | st.sampled_from(USUAL), min_size=1, max_size=6),
    from_offset=st.integers(0, 6),
)
def test_what_leaves_is_what_its_home_takes(
    kernel: Any, values: list[bytes], from_offset: int
) -> None:
    arrivals = [each for run in noted(kernel, values).values() for each in run]
    expected = [leaving_of(2, each, ()) for each in arrivals if each.raw_offset >= from_offset]
    leaving = left_of(kernel, values, from_offset)
    assert [(*each[:3], (*each[3][:3], [*each[3][3]])) for each in leaving] == expected
    sent = [
        Sent(body, [*kept, (POSITION_HEADER, position)])
        for *_, (_, body, position, kept) in sorted(leaving)
    ]
    if sent:
        runs, *_ = taken(kernel, sent, {}, SetAsides())
        found = [each for run in cast(dict[Any, list[Arrival]], runs).values() for each in run]
        places = {each.position for each in found}
        assert places == {position_of(cast(Any, headers)) for _, headers in sent}


def test_what_somebody_has_asked_for_leaves_the_python_way(kernel: Any) -> None:
    (run,) = noted(kernel, [plain_body(0), plain_body(1)]).values()
    assert run[1].raw_offset == 1
    leaving: list[Leaving] = []
    for kind, events in ((kernel, run), (kernel, [*run]), (twin, run)):
        assert not kind.note_leaving(events, 0, 2, b"key", leaving)
    assert leaving == []


def test_what_headers_name_leaves_with_them(kernel: Any) -> None:
    run, expected = binary(kernel, 3)
    leaving: list[Leaving] = []
    assert not kernel.note_leaving(run, 0, 2, b"key", leaving)
    assert leaving == []
    # Of a record that the kernel took nobody has the headers.
    sent = [leaving_of(2, each, ()) for each in run]
    for (*_, (_, body, position, kept)), arrival in zip(sent, expected, strict=True):
        forward = Sent(body, [*kept, (POSITION_HEADER, position)])
        ((found,),) = cast(dict[Any, Any], taken(kernel, [forward], {}, SetAsides())[0]).values()
        assert found == arrival.forwarded(0, 0)


@pytest.mark.parametrize("plain", [False, True])
def test_the_ledger_has_the_rows_of_what_lies_in_arrays_or_was_forwarded(
    kernel: Any, plain: bool
) -> None:
    elements: dict[Any, Any] = {}
    for index in range(3):
        assert kernel.arrive(plain_body(index), 5, 3, 8, None, elements, PLAINLY, index)
    forwards: dict[Any, Any] = {}
    sent = [positioned(plain_body(n), 5 + n, 1 + n % 2, 7 + n, 0) for n in range(4)]
    (part,) = batch_of(kernel, sent).parts
    ways: Any = (0, 1 << 20, 10, 0, 20, None, {}, {}, forwards, PLAINLY)
    assert kernel.arrive_forwards(part, *ways)[1] == 4
    usual = {} if plain else noted(kernel, [plain_body(0), plain_body(1)])
    chunks = Chunks()
    runs = [*elements.items(), *forwards.items(), *usual.items()]
    with patch("app.ledger.rows.write_plain", kernel.write_plain):
        chunks.add(runs, plain=plain)
    begin = 0
    for (_, run), end in zip(runs, chunks.ends, strict=True):
        assert list(rows_of(bytes(chunks.buffer[begin:end]), 3)) == list(run)
        begin = end
    assert [chunks.buffer[at] for at in (0, *list(chunks.ends)[:-1])] == [3, 3, 0][: len(runs)]


def test_a_raw_record_is_what_the_twin_leaves_to_python(kernel: Any) -> None:
    """A batch that no kernel splits has records as they come."""
    part = [cast(RawRecord, SimpleNamespace(offset=0, value=b"{}", headers=[]))]
    assert kernel.arrive_forwards(part, 0, 1, 0, 0, 0, None, {}, {}, {}, PLAINLY) == (0, 0, 1, 0)

"""What stands beside a value: headers that name an event, and elements in an array.

The kernel notes what `arrivals_of` makes of it, or leaves it to Python.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.definitions.judging import ORGANIZATION_HEADER, Belief, Judging
from app.definitions.model import ProducerTrust
from app.wire.arrivals import PLAINLY, Arrival, arrivals_of
from app.wire.decode import MAX_ELEMENTS, decode_plain_binary, envelope_headers
from app.wire.refusals import Refusal
from tests.app.kernel.batches import named_by_headers, split
from tests.app.kernel.runs import plain_body, properties
from tests.app.kernel.test_arriving import bodies, cloud_body
from tests.world.batches import packed_batch, record_bytes
from tests.world.profiles import examples

TRACE = ("traceparent", b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
TYPES = (
    None,
    b"",
    b"application/json",
    b"text/cloudevents",
    b"application/cloudevents+json",
    b"Application/CloudEvents+JSON; charset=utf-8",
    b"application/cloudevents-batch+json",
)
USUAL = [*map(plain_body, range(3)), *map(cloud_body, range(3))]
DECIDE = [("meter-admit", b"true"), ("meter-admit", None), ("meter-tick", b"1"), ("ce_id", b"t")]
NAMED = st.tuples(
    st.sampled_from(["content-type", "Content-Type", "content_type"]), st.sampled_from(TYPES)
)
OF = st.tuples(
    st.just(ORGANIZATION_HEADER), st.sampled_from([None, b"", b"o", b"d", b"oo", b"\xff"])
)
TWO = [(ORGANIZATION_HEADER, b"d"), (ORGANIZATION_HEADER, b"o")]
BESIDE = st.one_of(
    st.lists(st.sampled_from([TRACE, *DECIDE]) | NAMED, max_size=2),
    st.lists(st.sampled_from([TRACE, *DECIDE]) | OF, max_size=2),
    st.permutations(TWO),
)
TRUSTS: tuple[ProducerTrust, ...] = ("claimed", "topic", "header")


@examples(1_000)
@given(
    records=st.lists(st.tuples(bodies() | st.sampled_from(USUAL), BESIDE), max_size=5),
    trust=st.just("claimed") | st.sampled_from(TRUSTS),
    default=st.sampled_from([None, "d", "o"]),
)
def test_what_is_noted_beside_headers_is_what_they_leave_it(
    kernel: Any,
    records: list[tuple[bytes, list[tuple[str, bytes | None]]]],
    trust: ProducerTrust,
    default: str | None,
) -> None:
    """What decides is not taken; a trace, or the type of what it is anyway, holds nobody up."""
    judging = Judging(default, beliefs=[Belief(-1, trust, may_correct=True, may_admit=True)])
    payload = b"".join(
        record_bytes(n, value, [(name.encode(), text) for name, text in beside])
        for n, (value, beside) in enumerate(records)
    )
    split_up = split(kernel, packed_batch(payload, len(records), "none"), len(records))
    runs: dict[Any, Any] = {}
    place, told = 0, (0, 0, 7, 7, 3, TRUSTS.index(trust), default, runs, PLAINLY)
    while place < len(records):
        place, *_ = kernel.arrive_many(split_up, place, 1 << 40, *told)
        place += 1
    found = {each.raw_offset: each for run in runs.values() for each in run}
    for offset, (value, beside) in enumerate(records):
        if offset in found:
            assert [found[offset]] == arrivals_of(value, beside, 7, 3, offset, judging)
        decided = any(header in DECIDE for header in beside)
        assert not (decided and offset in found)
        types_it = any(text in TYPES[3:] for name, text in beside if "-" in name)
        if value in USUAL and not decided and (not types_it or b"specversion" in value):
            (expected,) = arrivals_of(value, beside, 7, 3, offset, judging)
            assert (offset in found) == isinstance(expected, Arrival)


BETWEEN = st.sampled_from([b"", b" ", b"\n\t"])


@examples(500)
@given(
    elements=st.lists(bodies() | st.sampled_from(USUAL), max_size=5),
    spaces=st.tuples(*[BETWEEN] * 4),
    odd=st.sampled_from([b"", b"1", b"]", b",", b"\xff"]),
    separator=st.sampled_from([b",", b",", b"[", b"", b"]", b",,"]),
    beside=st.lists(st.sampled_from([TRACE, *DECIDE]), max_size=1),
    trust=st.sampled_from(TRUSTS),
    default=st.sampled_from(["o", "d"]),
)
def test_an_array_is_noted_as_its_elements_arrive(
    kernel: Any,
    elements: list[bytes],
    spaces: tuple[bytes, ...],
    odd: bytes,
    separator: bytes,
    beside: list[tuple[str, bytes | None]],
    trust: ProducerTrust,
    default: str,
) -> None:
    """Or it is left to Python as a whole."""
    judging = Judging(default, beliefs=[Belief(-1, trust, may_correct=True, may_admit=True)])
    first, before, after, last = spaces
    inside = separator.join(before + element + after for element in elements)
    value = b"%s[%s%s]%s" % (first, inside, odd, last)
    headers = [(name.encode(), text) for name, text in beside]
    of, named = [(ORGANIZATION_HEADER.encode(), default.encode())], cloud_body(0)
    payload = record_bytes(0, named, of) + record_bytes(1, value, headers)
    records = split(kernel, packed_batch(payload, 2, "none"), 2)
    runs: dict[Any, Any] = {}
    ways = TRUSTS.index(trust), default, runs, PLAINLY
    place, count, room, *_ = kernel.arrive_many(records, 0, 1 << 40, 10, 0, 7, 7, 3, *ways)
    found = [each for run in runs.values() for each in run if each.raw_offset == 1]
    expected = arrivals_of(value, beside, 7, 3, 1, judging)
    is_refused = any(isinstance(each, Refusal) for each in expected)
    assert sorted(found, key=lambda each: each.array_index) == (expected if place == 2 else [])
    items = 1 + (place == 2) * (1 + len(elements))
    assert (count, (1 << 40) - room) == (
        items,
        10 * items + len(named) + (place == 2) * len(value),
    )
    usual = (
        elements
        and not odd
        and not beside
        and (separator == b"," or len(elements) == 1)
        and all(each in USUAL for each in elements)
    )
    assert place == 2 or not usual or is_refused


@pytest.mark.parametrize("count", [MAX_ELEMENTS, MAX_ELEMENTS + 1])
def test_an_array_of_more_elements_than_it_may_have_is_left_to_python(
    kernel: Any, count: int
) -> None:
    element = b'{"external_subscription_id":"s","transaction_id":"t","code":"c"}'
    payload = record_bytes(0, b"[" + b",".join([element] * count) + b"]")
    records = split(kernel, packed_batch(payload, 1, "none"), 1)
    taken = kernel.arrive_many(records, 0, 1 << 40, 0, 0, 7, 7, 3, 0, "d", {}, PLAINLY)[1]
    assert taken == (count + 1 if count == MAX_ELEMENTS else 0)


ATTRIBUTES = st.sampled_from(
    [
        *("ce_id", "ce_type", "ce_subject", "ce_time", "ce_organizationid", "ce_specversion"),
        *("ce_source", "ce_data", "CE_id", "ce_", "meter-organization", "content-type"),
    ]
)
LONG = ("id", "type", "subject", "organizationid")
TEXTS = st.one_of(
    st.sampled_from([None, b"", b"o", b"t\0", b"\xff", b'"', b"1767225600.5", b"application/json"]),
    st.sampled_from([b"2026-01-01T00:00:00.123+00:00", b"2026-01-01T01:00:00+01:00", b"1e3"]),
    st.integers(200, 1_100).map(lambda size: b"n" * size),
    st.text(max_size=5).map(str.encode),
)
DATA = st.one_of(
    properties(),
    properties().map(lambda text: b" \n" + text + b"\t"),
    st.sampled_from([b"", b"null", b"[]", b"{", b'{"v":1}x', b'{"v":"\xff"}', b'{"v":1,}', b"1"]),
    st.integers(5, 12).map(lambda levels: b'{"v":' + b"[" * levels + b"]" * levels + b"}"),
)


@examples(1_000)
@given(
    value=DATA,
    odd=st.lists(st.tuples(ATTRIBUTES, TEXTS), max_size=2),
    left_out=st.sets(ATTRIBUTES, max_size=2),
    default=st.sampled_from([None, "d"]),
    instead=st.booleans(),
)
@example(b"{}", [("ce_id", b"t\0")], set(), None, True)
@example(b"{}", [("ce_subject", b"r")], set(), None, False)
@example(b"{}", [(f"ce_{name}", b"n" * 250) for name in LONG], set(), None, True)
def test_what_headers_name_is_noted_as_it_is_decoded(
    kernel: Any,
    value: bytes,
    odd: list[tuple[str, bytes | None]],
    left_out: set[str],
    default: str | None,
    instead: bool,
) -> None:
    if instead:
        left_out = left_out | {name for name, _ in odd}
    headers = [*odd, *(each for each in named_by_headers(1) if each[0] not in left_out)]
    named = [(name.encode(), text) for name, text in headers]
    records = split(kernel, packed_batch(record_bytes(0, value, named), 1, "none"), 1)
    runs: dict[Any, Any] = {}
    told = 0, 0, 7, 7, 3, 0, default, runs, PLAINLY
    taken = kernel.arrive_many(records, 0, 1 << 40, *told)[1]
    expected = arrivals_of(value, headers, 7, 3, 0, Judging(default))
    found = [each for run in runs.values() for each in run]
    assert found == (expected if taken else [])
    is_usual = not odd and isinstance(expected[0], Arrival) and b"[" not in value
    assert taken or not is_usual or value.strip() in (b"", b"null")
    for each in found:
        again = decode_plain_binary(each.event.body, envelope_headers(each.event.envelope))
        assert again == each.event

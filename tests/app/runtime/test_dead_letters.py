"""Dead letters fit their topic, however large the record was that they come from."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from app.bounds.limits import REFUSED_LETTERS
from app.clock import SystemClock
from app.definitions import commands
from app.definitions.judging import Judging
from app.definitions.log import apply
from app.definitions.model import SettingsRecord
from app.definitions.state import Definitions
from app.kafka.log_readers import LogRecord
from app.kafka.record_batch import RawRecord
from app.kafka.topics import DEAD_LETTER_MESSAGE_BYTES, RAW_MESSAGE_BYTES
from app.kafka.transactions import Record
from app.runtime.dead_letters import (
    REPEATED_BYTES,
    Source,
    StandsFor,
    dead_letter,
    organization_of,
)
from app.runtime.partition.owned import OwnedPartition
from app.wire.arrivals import Arrival, arrivals_of
from app.wire.decode import Headers, decode_record
from app.wire.events import MAX_BYTES
from app.wire.refusals import Refusal, RefusalCode
from tables.event_index.index import EventIndex
from tables.partition.intake import RefusedArrival
from tables.partition.partition import Partition
from tests.app.runtime.alone import NoProducer, context_of

KEY = b"organization-subscription"
TRACE = ("trace", b"x" * 1_000_000)
STRUCTURED = ("content-type", b"application/cloudevents+json")
SMALL: Headers = [("ce_id", b"t\xff"), ("ce_time", None), ("trace", b"00-ab")]


def _letter(
    value: bytes = b"{",
    key: bytes | None = KEY,
    headers: Headers = SMALL,
    *,
    index: int = 0,
    first: bool = True,
) -> Record:
    refusal = Refusal(RefusalCode.INVALID_JSON, "the bytes are not JSON", value, index)
    return dead_letter("dead", 3, refusal, Source("raw", 2, 7, key, headers), 17, first=first)


def _split(letter: Record) -> tuple[Headers, dict[str, str]]:
    """Headers of the raw record, and ours."""
    kept = [header for header in letter.headers if not header[0].startswith("meter-")]
    own = {
        name: (text or b"").decode() for name, text in letter.headers if (name, text) not in kept
    }
    return kept, own


def _size(letter: Record) -> int:
    headers = sum(len(name.encode()) + len(text or b"") for name, text in letter.headers)
    return len(letter.key or b"") + len(letter.value or b"") + headers


@pytest.mark.parametrize("first", [True, False])
def test_key_headers_and_bytes_are_kept_as_they_were(first: bool) -> None:
    letter = _letter(headers=[*SMALL, ("meter-admit", b"true")], index=4, first=first)
    kept, own = _split(letter)
    assert (letter.topic, letter.partition, letter.key, letter.value) == ("dead", 3, KEY, b"{")
    assert kept == SMALL
    assert own == {
        "meter-error-code": "invalid_json",
        "meter-error-message": "the bytes are not JSON",
        "meter-source-topic": "raw",
        "meter-source-partition": "2",
        "meter-source-offset": "7",
        "meter-source-index": "4",
        "meter-failed-at": "1970-01-01T00:00:00.017Z",
    }


@pytest.mark.parametrize(
    ("replayed", "stands_for"),
    [
        (b"1/40 invalid_json", (1, 40)),
        (b"1/40 too_large", (3, 50)),
        (b"1/-40 invalid_json", (3, 50)),
        (b"1 invalid_json", (3, 50)),
        (None, (3, 50)),
    ],
)
def test_one_refused_again_for_the_same_reason_stands_for_the_first(
    replayed: bytes | None, stands_for: tuple[int, int]
) -> None:
    letter = _letter(headers=[("meter-replayed", replayed), ("meter-other", b"x")])
    found = StandsFor.of(LogRecord(letter.key, letter.value, letter.headers, 0, 50), 3)
    assert found == (*stands_for, "invalid_json")
    assert "meter-other" not in dict(letter.headers)


def test_large_headers_and_a_large_key_are_not_repeated() -> None:
    key = b"k" * 2_000
    first = _letter(key=key, headers=[TRACE, STRUCTURED])
    other = _letter(key=key, headers=[TRACE, STRUCTURED], index=1, first=False)
    assert (first.key, _split(first)[0]) == (key, [TRACE, STRUCTURED])
    # Without this one it would be something else when it is sent again.
    assert (other.key, _split(other)[0]) == (None, [STRUCTURED])
    assert _split(other)[1]["meter-left-out"] == "key,headers"
    assert _size(other) < 2 * REPEATED_BYTES


def _owned() -> OwnedPartition:
    state = Partition(0, Definitions(), EventIndex())
    return OwnedPartition(state, NoProducer(), context_of(state.definitions, SystemClock()))


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param([], id="lago"),
        pytest.param(
            [
                ("ce_data", b"x=y"),
                ("ce_id", b"t=1"),
                ("ce_organizationid", b"o"),
                ("ce_subject", b"caf\xc3\xa9"),
                ("ce_type", b"gb"),
            ],
            id="binary",
        ),
    ],
)
def test_an_event_that_comes_too_late_can_be_sent_again(headers: Headers) -> None:
    value = (
        b'{"organization_id":"o","external_subscription_id":"s","transaction_id":"t","code":"gb"}'
    )
    (arrival,) = arrivals_of(value, headers, 17, 0, 7, Judging())
    assert isinstance(arrival, Arrival)
    owned = _owned()
    owned.verdicts.refuse_arrivals([RefusedArrival(arrival, RefusalCode.TOO_LATE, "too late")])
    (letter,) = owned.next_flush.records
    assert list(arrivals_of(letter.value, _split(letter)[0], 17, 0, 7, Judging())) == [arrival]


async def test_the_elements_of_an_array_have_its_large_headers_once() -> None:
    owned = _owned()
    refused = [
        (refusal, _raw(None, [TRACE], offset))
        for offset in (7, 9)
        for index, refusal in decode_record(b"[1,{},[]]")
        if isinstance(refusal, Refusal)
    ]
    await owned.fold((), raw_next=10, refused=refused)
    kept = [_split(letter)[0] for letter in owned.next_flush.records]
    assert kept == [[TRACE], [], [], [TRACE], [], []]


def test_the_largest_record_that_is_not_compressed_is_kept_whole() -> None:
    value, key, headers = b"{" * 1_000_000, b"k" * 97_000, [TRACE]
    letter = _letter(value, key, headers)
    assert (letter.value, letter.key, _split(letter)[0]) == (value, key, headers)
    assert "meter-left-out" not in _split(letter)[1]


@pytest.mark.parametrize(
    ("value", "key", "headers"),
    [
        pytest.param(b"x" * 50_000_000, KEY, SMALL, id="value"),
        pytest.param(b"{", b"k" * 50_000_000, SMALL, id="key"),
        pytest.param(b"{", KEY, [("trace", b"x" * 50_000_000)], id="header"),
        pytest.param(b"{", KEY, [("ce_id", b"x" * 50_000_000)], id="attribute"),
        pytest.param(b"{", KEY, [("", None)] * 1_000_000, id="headers"),
        pytest.param(b"x" * RAW_MESSAGE_BYTES, b"k" * MAX_BYTES, [TRACE], id="all"),
    ],
)
def test_what_was_compressed_fits_without_its_largest_parts(
    value: bytes, key: bytes, headers: Headers
) -> None:
    letter = _letter(value, key, headers)
    assert _size(letter) + 10 * len(letter.headers) < DEAD_LETTER_MESSAGE_BYTES
    assert _split(letter)[1]["meter-left-out"]
    assert letter.value is not None
    assert value.startswith(letter.value)


def test_what_is_left_of_a_value_is_too_large_still() -> None:
    letter = _letter(b" " * 50_000_000)
    ((_, refusal),) = decode_record(letter.value)
    assert isinstance(refusal, Refusal)
    assert refusal.code is RefusalCode.TOO_LARGE


def _raw(value: bytes | None, headers: Headers, offset: int) -> RawRecord:
    return cast(
        RawRecord,
        SimpleNamespace(key=KEY, value=value, headers=headers, timestamp=17, offset=offset),
    )


@pytest.mark.parametrize("count", [REFUSED_LETTERS, REFUSED_LETTERS + 1])
async def test_a_record_of_many_refused_elements_has_one_letter(count: int) -> None:
    owned = _owned()
    elements = [b"{}", *[b"1"] * (count - 1)]
    value = b"[" + b",".join(elements) + b"]"
    raw = _raw(value, SMALL[2:], 7)
    refused = [(each, raw) for _, each in decode_record(value) if isinstance(each, Refusal)]
    await owned.fold((), raw_next=8, refused=refused)
    assert owned.shared.tally.refused.total() == len(owned.verdicts.known) == count
    if count == REFUSED_LETTERS:
        assert [letter.value for letter in owned.next_flush.records] == elements
        return
    (letter,) = owned.next_flush.records
    kept, own = _split(letter)
    assert (letter.value, kept) == (value, SMALL[2:])
    assert own["meter-error-code"] == "many_refused"
    assert own["meter-refused"] == f"invalid_event={count - 1},missing_field=1"
    assert own["meter-error-message"].startswith(
        f"{count} elements of the record are refused ({count - 1} invalid_event, 1 missing_field); "
        "the first at index 0: external_subscription_id is missing"
    )


def test_many_records_are_refused_one_at_a_step() -> None:
    """A letter each costs what two events do: none waits for those of a whole portion."""
    owned = _owned()
    refused = [
        (Refusal(RefusalCode.INVALID_JSON, "the bytes are not JSON", b"{", 0), _raw(b"{", [], each))
        for each in range(100)
    ]
    assert sum(1 for _ in owned.verdicts.refusing_raw(refused)) == 100
    assert [dict(letter.headers)["meter-source-offset"] for letter in owned.next_flush.records] == [
        b"%d" % each for each in range(100)
    ]


async def test_many_refused_elements_leave_verdicts_on_what_was_posted() -> None:
    owned = _owned()
    value = b"[" + b",".join([b"1"] * 10_000) + b"]"
    for offset, text in enumerate([b"{", value, value, value]):
        raw = _raw(text, [], offset)
        refused = [(each, raw) for _, each in decode_record(text) if isinstance(each, Refusal)]
        await owned.fold((), raw_next=offset + 1, refused=refused)
    assert list(owned.verdicts.known) == [(0, 0)]
    assert owned.shared.tally.refused.total() == 30_001


def test_what_the_fold_refuses_of_one_record_has_one_letter_an_organization() -> None:
    owned = _owned()
    bodies = [
        b'{"organization_id":"%s","external_subscription_id":"s","transaction_id":"t%d","code":"c"}'
        % (b"pq"[i % 2 : i % 2 + 1], i)
        for i in range(3 * REFUSED_LETTERS)
    ]
    arrivals = arrivals_of(b"[" + b",".join(bodies) + b"]", (), 17, 0, 7, Judging())
    owned.verdicts.refuse_arrivals(
        RefusedArrival(arrival, RefusalCode.TOO_LATE, "too late")
        for arrival in arrivals
        if isinstance(arrival, Arrival)
    )
    assert [letter.value for letter in owned.next_flush.records] == [
        b"[" + b",".join(bodies[i::2]) + b"]" for i in (0, 1)
    ]
    assert [_split(letter)[1]["meter-organization"] for letter in owned.next_flush.records] == [
        "p",
        "q",
    ]
    assert list(map(organization_of, cast(Any, owned.next_flush.records))) == ["p", "q"]


async def test_a_letter_says_whose_it_is() -> None:
    """A CloudEvent of one organization whose data names another (bounded-work M32)."""
    owned = _owned()
    value = b'{"specversion":"1.0","organizationid":"p","data":{"organization_id":"q"}}'
    mixed = b'[{"organization_id":"p"},{"organization_id":"q"}]'
    refused = [
        (each, _raw(text, [], offset))
        for offset, text in enumerate([value, mixed, b"{"])
        for _, each in decode_record(text)
        if isinstance(each, Refusal)
    ]
    await owned.fold((), raw_next=3, refused=refused)
    told = [_split(letter)[1].get("meter-organization") for letter in owned.next_flush.records]
    assert told == ["p", None, None, None]


@pytest.mark.parametrize(
    ("trust", "headers", "organization_id"),
    [
        ("claimed", [("meter-organization", b"q")], "p"),
        ("topic", [("meter-organization", b"q")], "o"),
        ("header", [("meter-organization", b"q")], "q"),
        ("header", [("meter-organization", b"q"), ("meter-organization", b"p")], None),
        ("header", [], None),
    ],
)
async def test_a_letter_is_whose_it_is_believed_to_be(
    trust: Any, headers: Headers, organization_id: str | None
) -> None:
    """Nobody writes into the dead letters of another by claiming to be that other."""
    owned = _owned()
    record = SettingsRecord(producer_trust=trust, default_organization_id="o")
    apply(owned.shared.definitions, commands.set_settings(record).encode(), 1, 0)
    value = b'{"organization_id":"p"}'
    ((_, refusal),) = decode_record(value)
    await owned.fold((), raw_next=1, refused=[(cast(Refusal, refusal), _raw(value, headers, 0))])
    (letter,) = owned.next_flush.records
    assert organization_of(cast(Any, letter)) == organization_id


_NAMED = b'"organization_id":"p"'


@pytest.mark.parametrize(
    ("value", "headers", "organization_id"),
    [
        pytest.param(b'{"code":"c"}', [], "o", id="nobody"),
        pytest.param(b"5", [], "o", id="no object"),
        pytest.param(b'{"code":"c","properties":{"v":12345', [], "o", id="cut off, no name"),
        pytest.param(b'{"\\u006frganization_id":"p"', [], None, id="cut off behind one escaped"),
        pytest.param(b"{%s" % _NAMED, [], None, id="cut off behind a name"),
        pytest.param(b"[{%s},{" % _NAMED, [], None, id="array"),
        pytest.param(b'{%s,"code":"\xff"}' % _NAMED, [], None, id="not UTF-8"),
        pytest.param(b'{"organization_id":["p"]}', [], None, id="no text"),
        pytest.param(b"{%s,%s" % (_NAMED, b" " * MAX_BYTES), [], None, id="too large"),
        pytest.param(b'{%s,"v":%s%s}' % (_NAMED, b"[" * 999, b"]" * 999), [], None, id="too deep"),
        pytest.param(
            b"{", [("ce_id", b"t"), ("ce_organizationid", b"p\xff")], None, id="attribute"
        ),
    ],
)
async def test_what_cannot_be_read_is_nobodys(
    value: bytes, headers: Headers, organization_id: str | None
) -> None:
    """It may name any organization, so the default one does not see it (bounded-work M32)."""
    for trust in ("claimed", "topic"):
        owned = _owned()
        record = SettingsRecord(producer_trust=trust, default_organization_id="o")
        apply(owned.shared.definitions, commands.set_settings(record).encode(), 1, 0)
        ((_, refusal),) = decode_record(value, headers)
        await owned.fold(
            (), raw_next=1, refused=[(cast(Refusal, refusal), _raw(value, headers, 0))]
        )
        (letter,) = owned.next_flush.records
        seen_by = organization_of(cast(Any, letter))
        assert seen_by == (organization_id if trust == "claimed" else "o")

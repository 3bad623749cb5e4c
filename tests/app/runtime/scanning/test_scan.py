"""What a scan does not decode holds nothing that it looks for."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiokafka import TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from app.definitions import commands
from app.definitions.judging import Judging
from app.definitions.log import apply
from app.definitions.model import SettingsRecord
from app.definitions.state import Definitions
from app.runtime.scanning.scan import Scan, may_hold
from app.wire.arrivals import Arrival, arrivals_of
from app.wire.decode import Headers
from app.wire.rekeyed import POSITION_HEADER

NAMES = ["s", "ä/ß", 'quote"', "\u2028", "back\\slash", "tab\t", "emoji \U0001f600"]


def spelled(text: str, how: str) -> str:
    """A JSON string in one of its spellings."""
    plain = {'"': '\\"', "\\": "\\\\", "\t": "\\t"}
    units = text.encode("utf-16-be")
    if how == "escaped":
        return "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2))
    return "".join(plain.get(character, character) for character in text)


@given(
    st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(["plain", "escaped"])), max_size=4),
    st.sampled_from(NAMES),
    st.booleans(),
)
def test_what_is_passed_over_holds_nothing_that_is_sought(
    events: list[tuple[str, str]], sought: str, array: bool
) -> None:
    texts = [
        f'{{"organization_id":"o","transaction_id":"t{n}","code":"c","timestamp":"1",'
        f'"external_subscription_id":"{spelled(name, how)}"}}'
        for n, (name, how) in enumerate(events)
    ]
    value = (f"[{','.join(texts)}]" if array else "".join(texts[:1])).encode()
    found = [
        each.event.external_subscription_id
        for each in arrivals_of(value, [], 10**12, 0, 0, Judging())
        if isinstance(each, Arrival)
    ]
    if sought in found:
        assert may_hold(value, [], [[sought.encode()]])


@pytest.mark.parametrize(
    ("value", "headers", "held"),
    [
        (b'{"external_subscription_id":"other"}', [], False),
        (b'{"external_subscription_id":"sought"}', [], True),
        (b'{"external_subscription_id":"\\u0073ought"}', [], True),
        (b"{}", [("ce_subject", b"sought")], True),
    ],
)
def test_most_of_what_others_sent_is_passed_over(
    value: bytes, headers: Headers, held: bool
) -> None:
    assert may_hold(value, headers, [[b"sought"]]) is held


def test_one_record_of_many_events_is_decoded_by_small_steps() -> None:
    """Also when none of them is at home here."""
    scan = cast(Any, object.__new__(Scan))
    tp = TopicPartition("raw", 0)
    scan._raw, scan._number, scan._sought, scan._reached_ms = tp, 0, (), -1
    scan._definitions, scan._homes = Definitions(), SimpleNamespace(of=lambda *_: 1)
    record = SettingsRecord(default_organization_id="o")
    apply(scan._definitions, commands.set_settings(record).encode(), 1, 0)
    element = b'{"transaction_id":"a","external_subscription_id":"s","code":"c"}'
    value = b"[" + b",".join([element] * 10_000) + b"]"
    raw = SimpleNamespace(offset=0, timestamp=0, value=value, headers=())
    assert sum(1 for _ in scan._portion(tp, [raw], 0, 1)) >= 10_000 // 64


def test_a_forwarded_event_that_was_set_aside_is_read_by_no_scan() -> None:
    """Others of its record are."""
    scan = cast(Any, object.__new__(Scan))
    raw, rekeyed = TopicPartition("raw", 0), TopicPartition("rekeyed", 0)
    scan._raw, scan._number, scan._sought, scan._marks = raw, 0, (), {}
    scan._definitions, scan._judging = Definitions(), Judging()
    aside = commands.set_aside(1, 7, index=1, code="c", message="m")
    apply(scan._definitions, aside.encode(), 1, 0)
    value = (
        b'{"organization_id":"o","transaction_id":"a","external_subscription_id":"s","code":"c"}'
    )
    forwards = [
        SimpleNamespace(
            offset=index, timestamp=0, value=value, headers=[(POSITION_HEADER, b"5:1:7:%d" % index)]
        )
        for index in range(3)
    ]
    found = [each for forward in forwards for each in scan._arrived(rekeyed, forward)]
    assert [arrival.array_index for arrival in found] == [0, 2]

"""What producers may claim is judged alike whenever it is judged, by whatever is known by then."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from app.bounds.limits import TRUST_AFTER_MS
from app.definitions import commands
from app.definitions.judging import GRANTED_HEADER, ORGANIZATION_HEADER, Judging
from app.definitions.log import apply
from app.definitions.model import SettingsRecord
from app.definitions.state import Definitions
from app.wire.arrivals import ADMIT_HEADER, Arrival, Arrived, arrivals_of
from app.wire.decode import Headers
from app.wire.grants import digest_of
from app.wire.refusals import Refusal, RefusalCode
from tests.world.profiles import examples

OURS, OTHERS = "o", "p"
NAMED = {"external_subscription_id": "s", "transaction_id": "t"}
EVENT = {**NAMED, "code": "c"}
CANCEL = {**NAMED, "operation": "cancel", "correction_id": "k"}

CLAIMS: list[dict[str, str]] = [{}, {"organization_id": OURS}, {"organization_id": OTHERS}]
VALUES = [msgspec.json.encode({**sent, **claim}) for claim in CLAIMS for sent in (EVENT, CANCEL)]
VALUES.append(b"[" + b",".join(VALUES) + b"]")
CLOUD = [("ce_specversion", b"1.0"), ("ce_subject", b"s"), ("ce_id", b"t"), ("ce_type", b"c")]

Line = tuple[int, bytes]
"""Append time and value of a record of the definitions."""


class Sent(NamedTuple):
    """A raw record."""

    value: bytes
    headers: Headers
    append_time_ms: int


@st.composite
def logs(draw: st.DrawFn) -> tuple[list[Line], Sent]:
    """Settings that change, grants, and a record that may be of one of them."""
    a_time = st.sampled_from([0, 1, TRUST_AFTER_MS]) | st.integers(0, 4 * TRUST_AFTER_MS)
    times = sorted(draw(st.lists(a_time, min_size=1, max_size=5)))
    sent = draw(st.sampled_from(VALUES))
    headers: list[tuple[str, bytes | None]] = list(draw(st.sampled_from([(), (), CLOUD])))
    named = st.lists(st.sampled_from([OURS.encode(), OTHERS.encode(), b"", None]), max_size=2)
    headers += [(ORGANIZATION_HEADER, text) for text in draw(named)]
    if draw(st.booleans()):
        headers.append((ADMIT_HEADER, b"true"))
    if draw(st.booleans()):
        offset = draw(st.integers(1, len(times)))
        named_so = [b"%d" % offset, b"%d" % offset, b"x", None]
        headers.append((GRANTED_HEADER, draw(st.sampled_from(named_so))))
    lines = [(times[0], _settings(draw))]
    for at_ms in times[1:]:
        of = draw(st.sampled_from([sent, sent, b"{}"]))
        granted = commands.grant(OURS, digest_of(of, headers)).encode()
        lines.append((at_ms, draw(st.sampled_from([_settings(draw), granted, granted]))))
    edges = [at_ms + more for at_ms in times for more in (0, TRUST_AFTER_MS)]
    sent_ms = draw(st.sampled_from(edges)) + draw(st.integers(-1, 1))
    return lines, Sent(sent, headers, max(0, sent_ms))


def _settings(draw: st.DrawFn) -> bytes:
    record = SettingsRecord(
        default_organization_id=OURS,
        producer_trust=draw(st.sampled_from(["claimed", "topic", "header"])),
        producers_may_correct=draw(st.booleans()),
        producers_may_admit=draw(st.booleans()),
    )
    return commands.set_settings(record).encode()


def judged(lines: list[Line], sent: Sent) -> tuple[Judging, list[Arrived]]:
    """What the record holds for whoever knows these definitions."""
    definitions = Definitions()
    for offset, (at_ms, value) in enumerate(lines):
        apply(definitions, value, at_ms, offset)
    judging = Judging.by(definitions)
    value, headers, at_ms = sent
    return judging, list(arrivals_of(value, headers, at_ms, 0, 7, judging))


@examples(400)
@given(logs())
def test_who_need_not_wait_judges_as_whoever_knows_the_whole_log(
    log: tuple[list[Line], Sent],
) -> None:
    lines, sent = log
    _, expected = judged(lines, sent)
    # The first record is known before anything is folded.
    for known in range(1, len(lines)):
        judging, found = judged(lines[:known], sent)
        if judging.waits_past_ms(sent.append_time_ms, sent.headers) is None:
            assert found == expected


@examples(400)
@given(logs())
def test_it_is_judged_by_the_settings_of_an_hour_before(log: tuple[list[Line], Sent]) -> None:
    """Spelled out anew, element by element."""
    lines, sent = log
    in_force: dict[str, Any] = {}
    granted = False
    texts = [text for name, text in sent.headers if name == GRANTED_HEADER]
    digest = digest_of(sent.value, sent.headers).hex()
    for offset, (at_ms, value) in enumerate(lines):
        record = msgspec.json.decode(value)
        if record["type"] == "grant":
            named = texts == [b"%d" % offset] and at_ms <= sent.append_time_ms
            granted |= named and record["payload"]["sha256"] == digest
        elif offset == 0 or at_ms + TRUST_AFTER_MS < sent.append_time_ms:
            in_force = record["payload"]
    vouched = [text for name, text in sent.headers if name == ORGANIZATION_HEADER]
    _, found = judged(lines, sent)
    elements = msgspec.json.decode(sent.value)
    if not isinstance(elements, list):
        elements = [elements]
    if any(name == "ce_id" for name, _ in sent.headers):
        # The value is the data of one event, whatever it is.
        elements = [{}]
        found = [each for each in found if not _is_no_object(each)]
    for each, element in zip(found, elements, strict=False):
        organization_id = element.get("organization_id", OURS)
        trusted = {
            "claimed": True,
            "topic": organization_id == OURS,
            "header": vouched == [organization_id.encode()],
        }[in_force["producer_trust"]]
        if not trusted:
            assert isinstance(each, Refusal)
            assert each.code == RefusalCode.ORGANIZATION_NOT_ALLOWED
        elif "operation" in element and not (in_force["producers_may_correct"] or granted):
            assert isinstance(each, Refusal)
            assert each.code == RefusalCode.INVALID_CORRECTION
        elif isinstance(each, Arrival):
            asked = (ADMIT_HEADER, b"true") in sent.headers
            assert each.admitted == (asked and (in_force["producers_may_admit"] or granted))
        else:
            assert not isinstance(each, Refusal)


def _is_no_object(arrived: Arrived) -> bool:
    return isinstance(arrived, Refusal) and arrived.code == RefusalCode.INVALID_EVENT

"""What arrives of a record is the same, whether the compiled kernel or its twin makes it."""

from __future__ import annotations

import json
import shutil
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.kernel import twin
from app.numbers import ZERO
from app.wire.arrivals import PLAINLY, Arrival, note_plain
from app.wire.events import CLOUDEVENT_NAMES
from tests.app.kernel.runs import ROOT, learn, loaded, plain_body, spaces
from tests.world.profiles import examples

TEXTS = (
    '"s"',
    '""',
    "null",
    "1",
    '"a\\u0000b"',
    '"\\u00e9"',
    '"é"',
    f'"{"x" * 255}"',
    f'"{"x" * 2000}"',
)
STRINGS = (
    *(
        '"\\""',
        '"\\\\"',
        '"\\/\\b\\f\\n\\r\\t"',
        '"\\u00e9\\u20AC"',
        '"\\ud83d\\ude00"',
        '"\\u0000"',
    ),
    *(
        '"\\',
        '"\\"',
        '"\\x"',
        '"\\u12g4"',
        '"\\u12',
        '"\\u"',
        '"\\ud83d"',
        '"\\ud83d\\u0041"',
        '"\\ude00"',
    ),
    *(
        '"\\ud83d\\ud83d\\ude00"',
        '"\\ud83d\\"',
        '"a\tb"',
        '"a\nb"',
        '"é"',
        '"東京 👍"',
        '"\\U00e9"',
        '"\\0"',
    ),
)
"""With escapes, characters of other scripts and of none, well made or not."""
POWERS = ("1e5", "1E+05", "-0.0e-9", "1e", "1e+", "1e5.0", "e5", "1e999", f"1e{'9' * 70}", "1E5e5")
FIELDS = {
    "organization_id": TEXTS,
    "external_subscription_id": TEXTS,
    "transaction_id": TEXTS,
    "code": TEXTS,
    "timestamp": (
        *('"1767225600.123"', "1767225600", "1767225600.5", "1767225600.1234", "-5", "1e9", "-0"),
        *(
            "1767225600.1234567e0",
            '"1767225600.1234567"',
            "1767225600.999999999",
            "1767225600.1239e1",
        ),
        *('"1767225600."', '"-5"', '"+5"', '"0123.12"', "0.5", "0123", '"2026-01-01T00:00:00Z"'),
        *("999999999999.999", "9999999999999", '"9999999999999"', '".5"', '""', "true", "null"),
        *('"1767225600.12 "', '"٣"', "12345678901234567890", '"999999999999"', "1767225600.000"),
        *('"2024-02-29T23:59:59.999Z"', '"2026-02-29T00:00:00Z"', '"1900-02-29T00:00:00Z"'),
        *('"2000-02-29T00:00:00Z"', '"0001-01-01T00:00:00Z"', '"0000-01-01T00:00:00Z"'),
        *('"9999-12-31T23:59:59.9Z"', '"2026-01-01T00:00:00.1239Z"', '"2026-01-01T00:00:00.Z"'),
        *('"2026-01-01T24:00:00Z"', '"2026-01-01T00:60:00Z"', '"2026-01-01T00:00:60Z"'),
        *('"2026-13-01T00:00:00Z"', '"2026-00-01T00:00:00Z"', '"2026-01-00T00:00:00Z"'),
        *('"2026-01-01t00:00:00z"', '"2026-01-01T00:00:00+02:00"', '"2026-01-01 00:00:00Z"'),
        *(
            '"2026-01-01T00:00:00Z+0:00"',
            '"2026-01-01T00:00:00Z00:00"',
            '"2026-01-01T00:00:00+00:00"',
            '"2026-01-01T00:00:00.5+00:00"',
            '"2026-01-01T00:00+00:00"',
        ),
        *(
            '"2026-01-01T00:00:00.+00:00"',
            '"2026-01-01T00:00:00-00:00"',
            '"2026-01-01T00:00:0+00:00"',
            '"2026-01-01T00:00:00+24:00"',
            '"2026-01-01T00:00:00.5-23:59"',
            '"2026-01-01T00:00:00+02:60"',
            '"2026-01-01T00:00:00+2:00"',
            '"2026-01-01T00:00:00.25+0200"',
            '"2026-01-01T00:00:00.25*02:00"',
            '"0001-01-01T00:00:00+02:00"',
            '"9999-12-31T23:59:59-02:00"',
        ),
        *('"2026-01-01T00:00:00.5xZ"', '"2026-1-01T00:00:00.00Z"', '"2026-01-01T00:00:00"'),
    ),
    "precise_total_amount_cents": ('"0.0"', '"0"', '"1.50"', '"x"', "1.5", "0", "null", '"1e2"'),
    "properties": (
        *("{}", "null", "[]", '""', '{"a" : "b" ,"c":[1, 2 ,{ }] , "d":false}', '{"a":1e400}'),
        *('{"a":%s}' % ("[" * n + "]" * n) for n in (7, 8, 9, 15, 16, 400)),
        *('{"a":%s}' % (digits * n) for digits in "19" for n in (15, 64, 65, 400)),
        *('{"a":01}', '{"a":-}', '{"a":1.}', '{"a":tru}', '{"a":1,}', '{"a"}', '{"a":"\x01"}'),
        *('{"a":-1.50}', '{"a":nulls}', '{"a":"\x7f"}', "{,}", '{"a":.5}', '{"a":"\\n"}', "{"),
        *(f'{{"a":{text}}}' for text in (*STRINGS, *POWERS)),
        *(f'{{"b":{{"a":[{text}]}}}}' for text in STRINGS),
        *(f"{{{text}:1}}" for text in STRINGS),
    ),
    "\\u0063ode": TEXTS,
    "specversion": ("null", '"1.0"', "1"),
    "operation": ("null", '"cancel"'),
    "other": ("null", "1", '"\x02"', "[[]]", "{}", "nope", "1e5", *STRINGS, *POWERS),
}


ATTRIBUTES = {
    "specversion": ('"1.0"', "null", "1", '""', "{}"),
    **{name: FIELDS[field] for field, name in CLOUDEVENT_NAMES.items()},
    "time": ('"2026-01-01T00:00:00.5Z"', *FIELDS["timestamp"]),
    "data_base64": ("null", '"e30="'),
    **{name: FIELDS[name] for name in ("operation", "other", "code", "precise_total_amount_cents")},
}
PLAIN = [
    (name, FIELDS[name][0])
    for name in ("external_subscription_id", "transaction_id", "code", "timestamp", "properties")
]
CLOUD = [
    (name, ATTRIBUTES[name][0]) for name in ("specversion", "subject", "id", "type", "time", "data")
]
SHAPES = ((PLAIN, FIELDS), (CLOUD, ATTRIBUTES))
"""Members that most events have, and what may be odd of them: Lago's events, and CloudEvents."""

ends = st.sampled_from(["", "", "", " ", "}", ","])


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """Return a record that is an event, or nearly one."""
    usual, odd = draw(st.sampled_from(SHAPES))
    members = list(usual)
    for _ in range(draw(st.integers(0, 2))):
        # One or two are odd, or come twice.
        name = draw(st.sampled_from(list(odd)))
        members = [each for each in members if each[0] != name or draw(st.booleans())]
        members.append((name, draw(st.sampled_from(odd[name]))))
    members = draw(st.permutations(members))
    inside = ",".join(f'{draw(spaces)}"{name}"{draw(spaces)}:{text}' for name, text in members)
    whole = f"{draw(spaces)}{{{inside}}}{draw(ends)}".encode()
    for _ in range(draw(st.sampled_from([0, 0, 0, 0, 1, 2]))):
        at = draw(st.integers(0, len(whole)))
        whole = whole[:at] + draw(st.binary(max_size=2)) + whole[at + draw(st.integers(0, 2)) :]
    return whole


def never(*_: object) -> None:
    """Stand for whoever is handed back what is not plain."""
    raise AssertionError("it was handed back")


def cloud_body(number: int) -> bytes:
    """Return a CloudEvent as most are."""
    time = f'"2026-01-01T00:00:0{number}.123Z"'
    more = [("source", '"s"'), ("datacontenttype", '"application/json"'), ("time", time)]
    return body_of([*CLOUD[:-2], *more, ("data", '{"v":"1"}')])


def arrived(kernel: Any, value: bytes, otherwise: Any = note_plain) -> tuple[object, str]:
    """Return what it answers and notes."""
    runs: dict[Any, list[Arrival]] = {("o", "s", "c"): []}
    answer = kernel.arrive(value, 5, 1, 2, "d", runs, (otherwise, *PLAINLY[1:]))
    amounts = [
        each.event.precise_total_amount_cents is ZERO for run in runs.values() for each in run
    ]
    return answer, repr((listed(runs), amounts))


def listed(runs: dict[Any, Any]) -> dict[Any, list[Arrival]]:
    """Return all that is in each run: the kernel keeps what lies in its bytes."""
    return {key: list(run) for key, run in runs.items()}


@examples(1_000)
@given(value=bodies())
def test_what_arrives_is_what_is_decoded(kernel: Any, value: bytes) -> None:
    assert arrived(kernel, value) == arrived(twin, value)


def body_of(members: list[tuple[str, str]]) -> bytes:
    """Return an event of these members."""
    inside = ",".join(f'"{name}":{text}' for name, text in members)
    return f"{{{inside}}}".encode()


@pytest.mark.parametrize(
    ("shape", "name"), [(shape, name) for shape in (0, 1) for name in SHAPES[shape][1]]
)
def test_each_odd_member_arrives_alike(kernel: Any, shape: int, name: str) -> None:
    plain, texts = SHAPES[shape]
    without = [member for member in plain if member[0] != name]
    assert arrived(kernel, body_of(without)) == arrived(twin, body_of(without))
    for text in texts[name]:
        odd, usual = (name, text), (name, texts[name][0])
        for members in ([*without, odd], [odd, *without, usual], [usual, *without, odd]):
            value = body_of(members)
            assert arrived(kernel, value) == arrived(twin, value), value


def test_an_event_that_ends_too_early_arrives_alike(kernel: Any) -> None:
    """Wherever it ends."""
    for whole in (plain_body(0), cloud_body(0)):
        for end in range(len(whole)):
            assert arrived(kernel, whole[:end]) == arrived(twin, whole[:end]), whole[:end]


@examples(500)
@given(
    at=st.datetimes(),
    digits=st.integers(0, 6),
    zone=st.one_of(
        st.just("Z"), st.from_regex(r"[+-]([01][0-9]|2[0-3]):[0-5][0-9]", fullmatch=True)
    ),
)
def test_a_time_of_any_zone_arrives_alike(
    kernel: Any, at: datetime, digits: int, zone: str
) -> None:
    fraction = f".{at.microsecond:06d}"[: digits + 1] if digits else ""
    text = f"{at.replace(microsecond=0).isoformat()}{fraction}{zone}"
    value = body_of([*CLOUD[:-2], ("time", f'"{text}"')])
    assert arrived(kernel, value, never) == arrived(twin, value)


@examples(200)
@given(seconds=st.integers(0, 10**12 - 1), fraction=st.from_regex(r"[0-9]{1,12}", fullmatch=True))
def test_seconds_with_any_fraction_arrive_alike(kernel: Any, seconds: int, fraction: str) -> None:
    for literal in (f"{seconds}.{fraction}", f'"{seconds}.{fraction}"'):
        value = body_of([*PLAIN[:3], ("timestamp", literal), PLAIN[4]])
        assert arrived(kernel, value, never) == arrived(twin, value)


def test_what_was_ever_found_arrives_alike(kernel: Any) -> None:
    corpus = (ROOT / "tests" / "fuzz" / "corpus" / "records").iterdir()
    values = [path.read_bytes()[1:] for path in sorted(corpus) if path.is_file()]
    for log in (ROOT / "tests" / "rules" / "golden").glob("events*.jsonl"):
        values += log.read_bytes().splitlines()
    assert len(values) > 20
    for value in values:
        assert arrived(kernel, value) == arrived(twin, value)


@pytest.mark.parametrize("learned", [False, True])
def test_plain_events_are_decoded_by_the_kernel_itself(
    compiled: Path, tmp_path: Path, learned: bool
) -> None:
    kernel: Any = loaded(Path(shutil.copy(compiled, tmp_path)))
    if learned:
        learn(kernel)

    for number in range(3):
        for value in (plain_body(number), cloud_body(number)):
            for spelled in (value, value.replace(b'":', b'" : ')):
                assert arrived(kernel, spelled, never) == arrived(twin, spelled)
                assert arrived(kernel, spelled)[0] is True


SPELLED = (
    *((b'"w":', b'"w\xc3\xa9":'), (b'"}"', '"東京 👍"'.encode()), (b'"v":1', b'"v":1e-05')),
    *((b'"}"', text.encode()) for text in STRINGS[:6]),
    *((b'"t1"', '"tür"'.encode()), (b'"}"', b'{"\\u00e9":["\\n"]}'), (b',"', b' ,\r\n\t"')),
)
"""What stands in most events, and what some producers write in its place."""


@pytest.mark.parametrize(("usual", "spelled"), SPELLED)
def test_other_spellings_are_decoded_by_the_kernel_itself(
    kernel: Any, usual: bytes, spelled: bytes
) -> None:
    value = plain_body(1).replace(usual, spelled)
    assert value != plain_body(1)
    assert arrived(kernel, value, never) == arrived(twin, value)


@examples(300)
@given(text=st.text(max_size=20), is_ascii=st.booleans())
def test_any_text_arrives_alike(kernel: Any, text: str, is_ascii: bool) -> None:
    """As producers in Python spell it: they escape other scripts, unless told not to."""
    spelled = json.dumps(text, ensure_ascii=is_ascii).encode(errors="surrogatepass")
    for usual in (b'"}"', b'"s"', b'"c"', b'"w"'):
        value = plain_body(1).replace(usual, spelled)
        assert arrived(kernel, value) == arrived(twin, value)


def test_what_has_no_organization_does_not_arrive(kernel: Any) -> None:
    value = plain_body(1).replace(b'"o"', b"null")
    for each in (kernel, twin):
        runs: dict[Any, Any] = {}
        assert each.arrive(value, 5, 1, 2, None, runs, PLAINLY) is False
        assert each.arrive(value, 5, 1, 2, "d", runs, PLAINLY) is True
        assert list(runs) == [("d", "s", "c")]


def test_an_element_arrives_with_its_index(kernel: Any) -> None:
    value = plain_body(1)
    for body in (value, value.replace(b'"c"', b'"\xc3\xa9"')):
        found = []
        for each in (kernel, twin):
            runs: dict[Any, Any] = {}
            assert each.arrive(body, 5, 1, 2, None, runs, PLAINLY, 7) is True
            found.append(listed(runs))
        assert found[0] == found[1]
        ((arrival,),) = found[0].values()
        assert arrival.position == (5, 1, 2, 7)

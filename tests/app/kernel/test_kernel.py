"""The compiled kernel and its twin in Python give the same, and what the rules say."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Callable
from decimal import Decimal
from importlib.machinery import ExtensionFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from app.kernel import twin
from app.numbers import ZERO
from app.wire.arrivals import PLAINLY, Arrival, note_plain
from app.wire.events import Event, decode_plain
from app.wire.identity import digest_of, event_body_hash, event_id
from tables.event_index.entries import Entry, pack_entries, unpack_entry
from tables.values import number_of
from tests.world.profiles import examples

ROOT = Path(__file__).parents[3]
ALWAYS = (-(1 << 62), 1 << 62, -(1 << 62), 1 << 62)


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compile the kernel, whatever lies in the tree."""
    found = importlib.util.spec_from_file_location("backend", ROOT / "deploy/build_backend.py")
    assert found is not None
    assert found.loader is not None
    backend = importlib.util.module_from_spec(found)
    found.loader.exec_module(backend)
    path: Path | None = backend.compile_kernel(tmp_path_factory.mktemp("kernel"))
    if path is None:
        pytest.skip("no compiler, or METER_KERNEL=python")
    return path


def loaded(path: Path) -> ModuleType:
    """Load a compiled kernel; each file has fields of its own."""
    loader = ExtensionFileLoader("_kernel", str(path))
    spec = importlib.util.spec_from_loader("_kernel", loader)
    assert spec is not None
    kernel = importlib.util.module_from_spec(spec)
    loader.exec_module(kernel)
    return kernel


@pytest.fixture(scope="module")
def kernel(compiled: Path) -> Any:
    return loaded(compiled)


names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=200)
times = st.integers(-(10**13), 10**13)
literals = st.sampled_from(
    [
        *("1", "1.50", "-0.0", "1e3", "123456789012345678901234567890", "true", "null", '""'),
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
Rows = tuple[bool | str, list[bytes], bytes]


def rows_of(
    kernel: Any, run: list[Arrival], limits: tuple[int, ...], names: tuple[str, str] = ("o", "s")
) -> Rows:
    """Return what it answers and appends."""
    ids, packed = [b"before"], bytearray(b"before")
    hash_of = xxhash.xxh3_64_intdigest
    try:
        answer = kernel.index_rows(*names, run, *limits, hash_of, event_body_hash, ids, packed)
    except ValueError as error:
        answer = str(error)
    return answer, ids, bytes(packed)


@examples(300)
@given(run=runs, limits=bounds, names=st.tuples(names, names))
def test_both_give_the_same_rows(
    kernel: Any, run: list[Arrival], limits: tuple[int, ...], names: tuple[str, str]
) -> None:
    assert rows_of(kernel, run, limits, names) == rows_of(twin, run, limits, names)


@examples(100)
@given(run=runs)
@pytest.mark.parametrize("which", ["kernel", "twin"])
def test_rows_are_what_the_index_keeps(kernel: Any, which: str, run: list[Arrival]) -> None:
    answer, ids, packed = rows_of(kernel if which == "kernel" else twin, run, ALWAYS)
    entries = [
        Entry(*each.position, each.rekeyed_offset, event_body_hash(each.event)) for each in run
    ]
    try:
        expected = pack_entries([each.identity for each in run], entries)
    except (ValueError, OverflowError):
        assert answer == "a field of an entry is out of its range"
        assert (ids, packed) == ([b"before"], b"before")
        return
    assert packed == b"before" + expected
    assert ids[1:] == [event_id("o", "s", each.event.transaction_id) for each in run]
    assert [unpack_entry(expected, i) for i in range(len(run))] == entries


def learn(kernel: Any) -> None:
    """Let it learn where fields are, as the product does."""
    for each in (Event, Arrival):
        fields: list[Any] = [str(i) for i in range(len(each.__struct_fields__))]
        kernel.learn(each(*fields))


def readings(kernel: Any, run: list[Arrival], limits: tuple[int, ...]) -> dict[str, Any]:
    """Return what it reads of a run in every way."""

    def read(field: str | None, numbers: dict[str, Any] | None, ordered: bool) -> Any:
        words = (field, 8, numbers, number_of, ZERO, ordered)
        return kernel.read_run("süb", "c", run, *limits, *words)

    ways: dict[str, Callable[[], Any]] = {
        "nothing": lambda: read(None, None, False),
        "number": lambda: read("v", {}, True),
        "sum": lambda: read("v", {}, False),
        "operation": lambda: read("v", None, True),
    }
    return {name: way() for name, way in ways.items()}


@examples(400)
@given(run=runs, limits=bounds)
def test_what_the_kernel_reads_the_twin_reads(
    kernel: Any, run: list[Arrival], limits: tuple[int, ...]
) -> None:
    ours, expected = readings(kernel, run, limits), readings(twin, run, limits)
    for way, read in ours.items():
        # It may hand back more.
        assert read is None or repr(read) == repr(expected[way]), way
    assert ours["nothing"] == expected["nothing"]


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


@pytest.mark.parametrize("learned", [False, True])
@pytest.mark.parametrize("size", [1, 7])
def test_plain_events_are_read_whole(
    compiled: Path, tmp_path: Path, learned: bool, size: int
) -> None:
    kernel: Any = loaded(Path(shutil.copy(compiled, tmp_path)))
    if learned:
        learn(kernel)
    run = [plain(number, v=str(number % 3)) for number in range(size)]
    ours = readings(kernel, run, ALWAYS)
    assert ours == readings(twin, run, ALWAYS)
    total, amounts, found = ours["operation"]
    digests = (
        digest_of("süb", f"t{i}", 1_767_225_600_000 + i, "c", f"add:{i % 3}") for i in range(size)
    )
    assert total == sum(digests) % (1 << 128)
    assert (amounts, len(found)) == ([ZERO], size)
    assert rows_of(kernel, run, ALWAYS) == rows_of(twin, run, ALWAYS)


@pytest.mark.parametrize("which", ["kernel", "twin"])
def test_bounds_are_kept_to_the_millisecond(kernel: Any, which: str) -> None:
    """The first append time is one of an index row, and none of a run that is read."""
    one = plain(1)
    time_ms, at_ms = one.timestamp_ms, one.append_time_ms
    for limits, has_row, is_read in (
        ((time_ms, time_ms + 1, at_ms - 1, at_ms), True, True),
        ((time_ms, time_ms + 1, at_ms, at_ms), True, False),
        ((time_ms + 1, time_ms + 2, at_ms - 1, at_ms), False, False),
        ((time_ms - 1, time_ms, at_ms - 1, at_ms), False, False),
        ((time_ms, time_ms + 1, at_ms - 1, at_ms - 1), False, False),
        ((time_ms, time_ms + 1, at_ms + 1, at_ms + 1), False, False),
    ):
        asked = kernel if which == "kernel" else twin
        assert rows_of(asked, [one], limits)[0] is has_row
        assert (readings(asked, [one], limits)["nothing"] is not None) is is_read


def test_what_is_no_event_raises_and_appends_nothing(kernel: Any) -> None:
    ids, packed = list[bytes](), bytearray()
    words = (xxhash.xxh3_64_intdigest, event_body_hash, ids, packed)
    for one in (None, plain(1).event, msgspec.structs.replace(plain(1), event=None)):
        for run in ([one], [plain(0), one]):
            with pytest.raises(AttributeError):
                kernel.index_rows("o", "s", run, *ALWAYS, *words)
            with pytest.raises(AttributeError):
                readings(kernel, run, ALWAYS)  # type: ignore[arg-type]
    assert (ids, packed) == ([], bytearray())


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
FIELDS = {
    "organization_id": TEXTS,
    "external_subscription_id": TEXTS,
    "transaction_id": TEXTS,
    "code": TEXTS,
    "timestamp": (
        *('"1767225600.123"', "1767225600", "1767225600.5", "1767225600.1234", "-5", "1e9", "-0"),
        *('"1767225600."', '"-5"', '"+5"', '"0123.12"', "0.5", "0123", '"2026-01-01T00:00:00Z"'),
        *("999999999999.999", "9999999999999", '"9999999999999"', '".5"', '""', "true", "null"),
        *('"1767225600.12 "', '"٣"', "12345678901234567890", '"999999999999"', "1767225600.000"),
    ),
    "precise_total_amount_cents": ('"0.0"', '"0"', '"1.50"', '"x"', "1.5", "0", "null", '"1e2"'),
    "properties": (
        *("{}", "null", "[]", '""', '{"a" : "b" ,"c":[1, 2 ,{ }] , "d":false}', '{"a":1e400}'),
        *('{"a":%s}' % ("[" * n + "]" * n) for n in (7, 8, 9, 15, 16, 400)),
        *('{"a":%s}' % (digits * n) for digits in "19" for n in (15, 64, 65, 400)),
        *('{"a":01}', '{"a":-}', '{"a":1.}', '{"a":tru}', '{"a":1,}', '{"a"}', '{"a":"\x01"}'),
        *('{"a":-1.50}', '{"a":nulls}', '{"a":"\x7f"}', "{,}", '{"a":.5}', '{"a":"\\n"}', "{"),
    ),
    "specversion": ("null", '"1.0"'),
    "operation": ("null", '"cancel"'),
    "other": ("null", "1", '"\x02"', "[[]]", "{}", "nope", "1e5"),
}


PLAIN = [
    (name, FIELDS[name][0])
    for name in ("external_subscription_id", "transaction_id", "code", "timestamp", "properties")
]

ends = st.sampled_from(["", "", "", " ", "}", ","])


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """Return a record that is an event, or nearly one."""
    members = list(PLAIN)
    for _ in range(draw(st.integers(0, 2))):
        # One or two are odd, or come twice.
        name = draw(st.sampled_from(list(FIELDS)))
        members = [each for each in members if each[0] != name or draw(st.booleans())]
        members.append((name, draw(st.sampled_from(FIELDS[name]))))
    members = draw(st.permutations(members))
    inside = ",".join(f'{draw(spaces)}"{name}"{draw(spaces)}:{text}' for name, text in members)
    whole = f"{draw(spaces)}{{{inside}}}{draw(ends)}".encode()
    for _ in range(draw(st.sampled_from([0, 0, 0, 0, 1, 2]))):
        at = draw(st.integers(0, len(whole)))
        whole = whole[:at] + draw(st.binary(max_size=2)) + whole[at + draw(st.integers(0, 2)) :]
    return whole


def arrived(kernel: Any, value: bytes, otherwise: Any = note_plain) -> tuple[object, str]:
    """Return what it answers and notes."""
    runs: dict[Any, list[Arrival]] = {("o", "s", "c"): []}
    answer = kernel.arrive(value, 5, 1, 2, "d", runs, (otherwise, *PLAINLY[1:]))
    amounts = [
        each.event.precise_total_amount_cents is ZERO for run in runs.values() for each in run
    ]
    return answer, repr((runs, amounts))


@examples(1_000)
@given(value=bodies())
def test_what_arrives_is_what_is_decoded(kernel: Any, value: bytes) -> None:
    assert arrived(kernel, value) == arrived(twin, value)


def body_of(members: list[tuple[str, str]]) -> bytes:
    """Return an event of these members."""
    inside = ",".join(f'"{name}":{text}' for name, text in members)
    return f"{{{inside}}}".encode()


@pytest.mark.parametrize("name", FIELDS)
def test_each_odd_member_arrives_alike(kernel: Any, name: str) -> None:
    without = [member for member in PLAIN if member[0] != name]
    assert arrived(kernel, body_of(without)) == arrived(twin, body_of(without))
    for text in FIELDS[name]:
        odd, usual = (name, text), (name, FIELDS[name][0])
        for members in ([*without, odd], [odd, *without, usual], [usual, *without, odd]):
            value = body_of(members)
            assert arrived(kernel, value) == arrived(twin, value), value


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

    def otherwise(*_: object) -> None:
        raise AssertionError("it was handed back")

    for number in range(3):
        for value in (plain_body(number), plain_body(number).replace(b":", b" : ")):
            assert arrived(kernel, value, otherwise) == arrived(twin, value)
            assert arrived(kernel, value)[0] is True


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
            found.append(runs)
        assert found[0] == found[1]
        ((arrival,),) = found[0].values()
        assert arrival.position == (5, 1, 2, 7)

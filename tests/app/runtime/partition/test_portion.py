"""What a portion decodes: elements of arrays go another way than records, and are the same."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.bounds.limits import ID_BYTES
from app.bounds.turns import drained
from app.definitions.indexes.set_asides import SetAsides
from app.definitions.judging import ORGANIZATION_HEADER, Belief, Judging
from app.definitions.periods import NEVER_MS
from app.definitions.state import Definitions
from app.kafka.names import TP
from app.kafka.record_batch import RecordBatch
from app.kernel import arrive_many, described
from app.runtime.homes import HomePartitions
from app.runtime.partition.portion import Portion
from app.settings import Settings
from app.wire.arrivals import Arrival, CorrectionArrival, arrivals_of, runs_of
from app.wire.refusals import Refusal
from tests.world.batches import Record, split_records
from tests.world.profiles import examples
from tests.world.set_asides import aside_of

PARTITIONS, NAMES = 3, 9
NAMED = b'"external_subscription_id":"s","transaction_id":"t","code":"%s"'
ELEMENTS = [
    b"{" + NAMED % b"c" + b"}",
    b"{" + NAMED % b"d" + b',"organization_id":"p","timestamp":"7.5"}',
    b"{" + NAMED % b"\xc3\xa9" + b"}",
    b"{" + NAMED % (b"c" * (ID_BYTES + 1)) + b"}",
    b"{" + NAMED % b"c" + b',"properties":' + b"[" * 400 + b"]" * 400 + b"}",
    b'{"specversion":"1.0","subject":"s","id":"t","type":"c"}',
    b'{"operation":"cancel","correction_id":"x",' + NAMED % b"c" + b"}",
    b'{"organization_id":"p"}',
    b"[]",
    b"1",
    b'"{"',
    b" {} ",
]


def _decoded(value: bytes, judging: Judging) -> Portion:
    shared = SimpleNamespace(
        settings=Settings(profile="test", test_clock=True),
        homes=SimpleNamespace(of=lambda *_: 3),
        definitions=SimpleNamespace(set_asides=SetAsides()),
    )
    part = split_records([Record(5, 17, 0, None, value, ())])
    batch = RecordBatch([part], TP("events", 3), 5, 6, 0)
    portion = Portion(batch, 5, -1)
    drained(portion.decode(cast(Any, shared), 3, judging))
    return portion


@pytest.mark.parametrize("default", [None, "o"])
@pytest.mark.parametrize("limited_after_ms", [0, 17, NEVER_MS])
@given(
    st.lists(st.sampled_from(ELEMENTS), max_size=200) | st.lists(st.sampled_from(ELEMENTS[:3])),
    st.sampled_from([b"", b" \n", b"["]),
)
@examples(60)
def test_an_array_is_taken_as_its_record_would_be(
    default: str | None, limited_after_ms: int, elements: Sequence[bytes], before: bytes
) -> None:
    value = before + b"[" + b",".join(elements) + b"]"
    # The definitions are known: nothing has to wait for them.
    judging = Judging(default, limited_after_ms, known_before_ms=18)
    portion = _decoded(value, judging)
    found = arrivals_of(value, (), 17, 3, 5, judging)
    homes: Any = SimpleNamespace(of_all=lambda names: [3] * len(names))
    wanted = runs_of([each for each in found if isinstance(each, Arrival)])
    assert {key: list(run) for key, run in portion.runs(homes, 3)} == dict(wanted)
    assert [each for each, _ in portion.refused] == [e for e in found if isinstance(e, Refusal)]
    assert portion.corrections == [e for e in found if isinstance(e, CorrectionArrival)]
    assert portion.next_offset == 6
    assert not (wanted and portion.plain)


@pytest.mark.parametrize("known", [0, 3, NAMES])
def test_each_run_stays_at_one_home(known: int) -> None:
    """Whether the homes of all, of some or of none are known yet."""
    homes = HomePartitions(Definitions(), PARTITIONS)
    for number in range(known):
        homes.of("p", f"s{number}")
    named = (
        b'{"organization_id":"p","external_subscription_id":"s%d","transaction_id":"t","code":"c"}'
    )
    elements = b",".join(named % number for number in range(NAMES))
    left: list[str] = []
    for number in range(PARTITIONS):
        portion = _decoded(b"[" + elements + b"]", Judging(None, NEVER_MS, known_before_ms=18))
        for (organization_id, external_id, _), run in portion.runs(homes, number):
            assert homes.of(organization_id, external_id) == number
            left += [external_id] * len(run)
    assert sorted(left) == sorted(f"s{number}" for number in range(NAMES))


CLAIMED = Belief(3, "claimed", may_correct=False, may_admit=False)
TOPIC = Belief(1, "topic", may_correct=True, may_admit=True)


@pytest.mark.parametrize(
    ("beliefs", "aside_from", "noted"),
    [
        ((), None, 3),
        ((TOPIC, CLAIMED), None, 3),
        ((CLAIMED, TOPIC), None, 3),
        ((CLAIMED, TOPIC._replace(producer_trust="header")), None, 3),
        ((CLAIMED._replace(after_ms=17),), None, 0),
        ((), 4, 3),
        ((), 6, 0),
    ],
)
def test_what_was_set_aside_or_mistrusted_before_slows_nothing(
    monkeypatch: pytest.MonkeyPatch, beliefs: list[Belief], aside_from: int | None, noted: int
) -> None:
    counts = []

    def noting(*given: Any) -> tuple[int, ...]:
        found: tuple[int, ...] = arrive_many(*given)
        counts.append(found[1])
        return found

    monkeypatch.setattr("app.runtime.partition.portion.arrive_many", noting)
    asides = SetAsides()
    if aside_from is not None:
        asides.commit(aside_of(3, aside_from))
    values = [b"{" + NAMED % code + b',"organization_id":"o"}' for code in (b"c", b"d", b"e")]
    of = [(ORGANIZATION_HEADER, b"o")]
    records = [
        Record(offset, 17, 0, None, value, of) for offset, value in enumerate(values, start=5)
    ]
    batch = RecordBatch([split_records(records)], TP("events", 3), 5, 8, 0)
    judging = Judging("o", NEVER_MS, 18, beliefs)
    portion = Portion(batch, 5, 17)
    shared = SimpleNamespace(
        settings=Settings(profile="test", test_clock=True),
        homes=SimpleNamespace(of=lambda *_: 3),
        definitions=SimpleNamespace(set_asides=asides),
    )
    drained(portion.decode(cast(Any, shared), 3, judging))
    homes: Any = SimpleNamespace(of_all=lambda names: [3] * len(names))
    codes = [code for (_, _, code), run in portion.runs(homes, 3) for _ in run]
    assert codes == (["c", "e"] if aside_from == 6 else ["c", "d", "e"])
    assert sum(counts) == (noted if described == "compiled" else 0)

"""The sharing of partitions: laws, and what moves when workers come and go."""

from __future__ import annotations

import msgspec
import pytest
from aiokafka.cluster import ClusterMetadata
from aiokafka.coordinator.protocol import ConsumerProtocolMemberMetadata
from aiokafka.protocol.metadata import MetadataResponse_v1
from hypothesis import given
from hypothesis import strategies as st

from app.kafka.assignor import EvenAssignor, share

NAMES = st.lists(st.text("abc", min_size=1, max_size=3), min_size=1, max_size=8, unique=True)


@given(
    count=st.integers(0, 40),
    held=NAMES.flatmap(
        lambda names: st.fixed_dictionaries(
            {name: st.lists(st.integers(0, 45), unique=True) for name in names}
        )
    ),
)
def test_every_partition_has_one_member_and_none_has_two_more_than_another(
    count: int, held: dict[str, list[int]]
) -> None:
    shares = share(range(count), held)
    assert shares.keys() == held.keys()
    assert sorted(number for numbers in shares.values() for number in numbers) == list(range(count))
    sizes = [len(numbers) for numbers in shares.values()]
    assert max(sizes) - min(sizes) <= 1


@given(count=st.integers(0, 40), names=NAMES)
def test_nothing_moves_when_nobody_comes_or_goes(count: int, names: list[str]) -> None:
    first = share(range(count), {name: [] for name in names})
    assert share(range(count), first) == first


@given(count=st.integers(0, 40), names=NAMES)
def test_only_what_the_newcomer_gets_moves(count: int, names: list[str]) -> None:
    before = share(range(count), {name: [] for name in names})
    after = share(range(count), before | {"newcomer": []})
    assert all(set(after[name]) <= set(before[name]) for name in names)


@given(count=st.integers(0, 40), names=NAMES.filter(lambda names: len(names) > 1))
def test_only_what_the_leaver_had_moves(count: int, names: list[str]) -> None:
    before = share(range(count), {name: [] for name in names})
    after = share(range(count), {name: before[name] for name in names[1:]})
    assert all(set(before[name]) <= set(after[name]) for name in names[1:])


@pytest.mark.parametrize(
    ("held", "expected"),
    [
        pytest.param({"a": []}, {"a": [0, 1, 2, 3]}, id="one"),
        pytest.param({"a": [0, 1, 2, 3], "b": []}, {"a": [0, 1], "b": [2, 3]}, id="a second"),
        pytest.param(
            {"a": [0, 1], "b": [2, 3], "c": []},
            {"a": [0, 1], "b": [2], "c": [3]},
            id="the third is not idle",
        ),
        pytest.param({"a": [0, 1], "z": [0]}, {"a": [0, 1], "z": [2, 3]}, id="a zombie"),
        pytest.param(
            {name: [] for name in "abcdef"},
            {"a": [0], "b": [1], "c": [2], "d": [3], "e": [], "f": []},
            id="more workers than partitions",
        ),
    ],
)
def test_four_partitions(held: dict[str, list[int]], expected: dict[str, list[int]]) -> None:
    assert share(range(4), held) == expected


TOPICS = ["raw", "rekeyed"]


def heard(**counts: int) -> ClusterMetadata:
    """What a client knows that was told of so many partitions by topic."""
    cluster = ClusterMetadata()
    broker, no_error = 1, 0
    topics = [
        (no_error, name, False, [(no_error, n, broker, [broker], [broker]) for n in range(count)])
        for name, count in counts.items()
    ]
    response = MetadataResponse_v1([(broker, "localhost", 9092, None)], broker, topics)
    cluster.update_metadata(response)
    return cluster


@pytest.mark.parametrize(
    ("cluster", "expected"),
    [
        pytest.param(heard(raw=4, rekeyed=4), [0, 1, 2, 3], id="all topics"),
        pytest.param(heard(raw=4, rekeyed=3), [0, 1, 2], id="a topic that has fewer"),
        pytest.param(heard(), [0, 1, 2, 3], id="no topic yet"),
        pytest.param(heard(raw=4), [0, 1, 2, 3], id="one topic not yet"),
    ],
)
def test_every_partition_has_a_member_whatever_was_heard_of_the_topics(
    cluster: ClusterMetadata, expected: list[int]
) -> None:
    nothing = ConsumerProtocolMemberMetadata(0, TOPICS, msgspec.msgpack.encode([]))
    assigned = EvenAssignor(4).assign(cluster, {"a": nothing, "b": nothing})
    for topic in TOPICS:
        numbers = [n for member in assigned.values() for n in dict(member.assignment)[topic]]
        assert sorted(numbers) == expected

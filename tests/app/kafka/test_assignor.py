"""The sharing of partitions: laws, and what moves when workers come and go."""

from __future__ import annotations

import msgspec
import pytest
from aiokafka.cluster import ClusterMetadata
from aiokafka.coordinator.protocol import ConsumerProtocolMemberMetadata
from aiokafka.protocol.metadata import MetadataResponse_v1
from hypothesis import given
from hypothesis import strategies as st

from app.kafka.assignor import EvenAssignor, GroupStanding, LoadAssignor, share, share_by_load

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


HELD = NAMES.flatmap(
    lambda names: st.fixed_dictionaries(
        {name: st.lists(st.integers(0, 45), unique=True) for name in names}
    )
)
LOADS = st.dictionaries(
    st.integers(0, 45), st.one_of(st.integers(0, 30), st.integers(0, 10**7)), max_size=45
)


def disjoint(held: dict[str, list[int]]) -> dict[str, list[int]]:
    """Every partition with the last that names it."""
    owner = {number: name for name, numbers in held.items() for number in numbers}
    return {name: sorted(n for n in owner if owner[n] == name) for name in held}


def weights(count: int, loads: dict[int, int]) -> dict[int, float]:
    """What each partition weighs: its load, or the mean, and a little for being there."""
    known = [loads[n] for n in range(count) if n in loads]
    mean = sum(known) // len(known) + 1 if known else 0
    return {n: 20 * loads.get(n, mean) + mean for n in range(count)}


def busy(shares: dict[str, list[int]], weight: dict[int, float]) -> dict[str, float]:
    return {name: sum(weight[n] for n in numbers) for name, numbers in shares.items()}


def is_even(shares: dict[str, list[int]], weight: dict[int, float]) -> bool:
    all_busy = busy(shares, weight).values()
    mean = sum(all_busy) / len(all_busy)
    return max(all_busy) <= 1.2 * mean and mean <= 1.2 * min(all_busy)


@given(count=st.integers(0, 40), held=HELD, loads=LOADS)
def test_every_partition_has_one_member_whatever_is_held_and_told(
    count: int, held: dict[str, list[int]], loads: dict[int, int]
) -> None:
    shares = share_by_load(range(count), held, loads)
    assert shares.keys() == held.keys()
    assert sorted(n for numbers in shares.values() for n in numbers) == list(range(count))


@given(count=st.integers(0, 40), held=HELD, loads=LOADS)
def test_nobody_is_far_from_the_mean_who_could_give(
    count: int, held: dict[str, list[int]], loads: dict[int, int]
) -> None:
    if not any(loads.get(n) for n in range(count)):
        return
    shares, weight = share_by_load(range(count), held, loads), weights(count, loads)
    while len(shares) > 1 and not is_even(shares, weight):
        all_busy = busy(shares, weight)
        most = max(all_busy, key=lambda name: (all_busy[name], name))
        least = min(all_busy.values())
        # Whoever took one of its partitions would be as busy.
        assert all(least + weight[n] >= all_busy[most] for n in shares[most])
        del shares[most]


@given(count=st.integers(1, 40), held=HELD, loads=LOADS)
def test_shares_stay_as_long_as_nobody_is_far_from_the_mean(
    count: int, held: dict[str, list[int]], loads: dict[int, int]
) -> None:
    shares = share_by_load(range(count), held, loads)
    assert share_by_load(range(count), shares, loads) == shares
    weight = weights(count, loads)
    given_to = {n: name for name, numbers in shares.items() for n in numbers}
    held = disjoint(held)
    whole = {name: [n for n in numbers if n < count] for name, numbers in held.items()}
    if sum(map(len, whole.values())) == count and any(loads.get(n) for n in range(count)):
        before = busy(whole, weight)
        moved = [(name, n) for name in whole for n in whole[name] if given_to[n] != name]
        if is_even(whole, weight):
            assert not moved
        # Each move leaves the giver no less busy than the taker was.
        assert all(before[name] > min(before.values()) for name, _ in moved)


@given(count=st.integers(0, 40), held=HELD, loads=LOADS, data=st.data())
def test_the_order_in_which_members_are_named_changes_nothing(
    count: int, held: dict[str, list[int]], loads: dict[int, int], data: st.DataObject
) -> None:
    order = data.draw(st.permutations(list(held)))
    other = {name: held[name] for name in order}
    assert share_by_load(range(count), other, loads) == share_by_load(range(count), held, loads)


@given(count=st.integers(0, 40), held=HELD, zeros=st.lists(st.integers(0, 45), unique=True))
def test_if_nothing_is_known_partitions_are_shared_by_number(
    count: int, held: dict[str, list[int]], zeros: list[int]
) -> None:
    assert share_by_load(range(count), held, dict.fromkeys(zeros, 0)) == share(range(count), held)


@pytest.mark.parametrize(
    ("held", "loads", "expected"),
    [
        pytest.param(
            {"a": [0, 1], "b": [2, 3]},
            {0: 900, 1: 300, 2: 50, 3: 50},
            {"a": [0], "b": [1, 2, 3]},
            id="a hot one has a worker to itself",
        ),
        pytest.param(
            {"a": [0, 1], "b": [2, 3]},
            {0: 110, 1: 100, 2: 90, 3: 90},
            {"a": [0, 1], "b": [2, 3]},
            id="what is nearly even stays",
        ),
        pytest.param(
            {"a": [0, 1, 2, 3], "b": []},
            {0: 100, 1: 100, 2: 100},
            {"a": [1, 2], "b": [0, 3]},
            id="one of which nothing is known counts as the mean",
        ),
        pytest.param(
            {"a": [0], "b": []},
            {0: 800, 1: 10, 2: 10, 3: 400},
            {"a": [0], "b": [1, 2, 3]},
            id="the heaviest of a worker that is gone go first",
        ),
        pytest.param(
            {"a": [0, 1, 2], "b": [3, 4, 5], "c": []},
            dict.fromkeys(range(6), 100),
            {"a": [1, 2], "b": [4, 5], "c": [0, 3]},
            id="a newcomer takes from each",
        ),
        pytest.param(
            {name: [number] for number, name in enumerate("abcd")} | {"e": []},
            {0: 900, 1: 100, 2: 100, 3: 100},
            {name: [number] for number, name in enumerate("abcd")} | {"e": []},
            id="more workers than partitions",
        ),
    ],
)
def test_partitions_are_shared_by_load(
    held: dict[str, list[int]], loads: dict[int, int], expected: dict[str, list[int]]
) -> None:
    count = max(max(loads), *(n for numbers in expected.values() for n in numbers)) + 1
    assert share_by_load(range(count), held, loads) == expected


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
    assignor = EvenAssignor(GroupStanding(4, dict))
    assigned = assignor.assign(cluster, {"a": nothing, "b": nothing})
    for topic in TOPICS:
        numbers = [n for member in assigned.values() for n in dict(member.assignment)[topic]]
        assert sorted(numbers) == expected


def members_of(told: dict[str, GroupStanding], kind: type[EvenAssignor]) -> dict[str, list[int]]:
    """Let a leader of this kind share four partitions, and each member hear of it."""
    said = {name: kind(standing).metadata(TOPICS) for name, standing in told.items()}
    through = ConsumerProtocolMemberMetadata.decode
    said = {name: through(one.encode()) for name, one in said.items()}
    assigned = kind(GroupStanding(4, dict)).assign(heard(raw=4, rekeyed=4), said)
    for name, standing in told.items():
        kind(standing).on_assignment(assigned[name])
    return {name: standing.held for name, standing in told.items()}


@pytest.mark.parametrize("kind", [EvenAssignor, LoadAssignor])
def test_who_joins_again_before_it_has_its_share_says_the_same(kind: type[EvenAssignor]) -> None:
    """Another word has the brokers begin again, for all: the group would never come to an end."""
    measured = {0: 900, 1: 800}
    assignor = kind(GroupStanding(4, lambda: measured, [0, 1]))
    said = assignor.metadata(["raw"])
    measured[0] = 950
    assert assignor.metadata(["raw"]).encode() == said.encode()
    heard_by_all = assignor.assign(heard(raw=4), {"a": said})
    assignor.on_assignment(heard_by_all["a"])
    measured[1] = 850
    again = assignor.metadata(["raw"])
    if kind is LoadAssignor:
        told = msgspec.msgpack.decode(again.user_data)
        assert told["loads"] == {0: 950, 1: 850}


def test_a_partition_takes_its_load_along() -> None:
    """Its new worker has not measured it yet when the next one comes or goes."""
    measured = {0: 900, 1: 800, 2: 10, 3: 10}
    told = {"a": GroupStanding(4, lambda: measured, [0, 1, 2, 3]), "b": GroupStanding(4, dict)}
    assert members_of(told, LoadAssignor) == {"a": [1, 2, 3], "b": [0]}
    # One whose measure differs from what all had heard.
    measured[1] = 700
    del told["a"]
    told["c"] = GroupStanding(4, dict)
    assert members_of(told, LoadAssignor) == {"b": [0], "c": [1, 2, 3]}
    assert told["c"].loads == {0: 900, 1: 800, 2: 10, 3: 10}


def test_who_has_a_partition_knows_its_load_best() -> None:
    told = {
        "a": GroupStanding(4, lambda: {0: 5, 2: 1_000}, [0, 1], {0: 1, 1: 2, 2: 3, 3: 4}),
        "b": GroupStanding(4, lambda: {2: 6}, [2, 3], {0: 10, 1: 20, 2: 30, 3: 40}),
    }
    members_of(told, LoadAssignor)
    assert told["a"].loads == told["b"].loads == {0: 5, 1: 2, 2: 6, 3: 40}


def test_by_number_nothing_is_said_of_loads() -> None:
    """What a worker of an earlier version shares out, or has to understand."""
    standing = GroupStanding(4, lambda: {0: 900}, [0, 1, 2, 3], {0: 900})
    told = {"a": standing, "b": GroupStanding(4, dict)}
    assert EvenAssignor(standing).metadata(TOPICS).user_data == msgspec.msgpack.encode([0, 1, 2, 3])
    assert members_of(told, EvenAssignor) == {"a": [0, 1], "b": [2, 3]}

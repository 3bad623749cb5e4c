"""Homes: the partition of each subscription, and the subscriptions of each partition."""

from __future__ import annotations

from collections import deque

from hypothesis import given
from hypothesis import strategies as st

from app.definitions import commands
from app.definitions.command import Command
from app.definitions.model import SettingsRecord
from app.runtime.homes import HomePartitions
from bench.growth.spent import steps_of
from tests.world.definitions_log import ORG, Log, subscription_body

PARTITIONS = 3
COMMANDS = st.one_of(
    st.integers(0, 9).map(
        lambda number: commands.create_subscription(
            ORG, subscription_body(external_id=f"sub_{number}")
        )
    ),
    st.integers(0, 9).map(lambda number: commands.terminate_subscription(ORG, f"sub_{number}")),
    st.just(commands.set_settings(SettingsRecord(home_partitioner="murmur2"))),
)


@given(st.lists(st.lists(st.tuples(COMMANDS, st.just(1)), max_size=8), max_size=3))
def test_each_partition_is_told_of_the_names_at_home_there(
    changes: list[list[tuple[Command, int]]],
) -> None:
    log = Log("2024-01-31T01:00:00Z")
    homes = HomePartitions(log.definitions, PARTITIONS)
    log.plan()
    log.customer()
    for some in changes:
        deque(log.append_all(some), maxlen=0)
        homes.forget()
        names = list(log.definitions.all_subscription_keys())
        for number in range(PARTITIONS):
            at_home = [n for n in names if homes.of(*n) == number]
            assert list(homes.names_at(number)) == at_home
            assert {*homes.names_of(ORG, number)} - {None} == {*at_home}
            assert list(homes.names_of(ORG, number)).count(None) < 2
            assert {*homes.names_of("another", number)} <= {None}


def test_those_at_home_are_found_without_a_look_at_others() -> None:
    log = Log("2024-01-31T01:00:00Z")
    log.plan()
    log.customer()
    for number in range(400):
        log.subscribe(external_id=f"sub_{number}")
    few, many = (HomePartitions(log.definitions, partitions) for partitions in (4, 40))
    for homes in (few, many):
        assert len(list(homes.names_at(1))) > 0
    for homes in (few, many):
        found = list(homes.names_at(1))
        steps = steps_of(lambda homes=homes: list(homes.names_at(1)))  # type: ignore[misc]
        assert steps < 200 + 200 * len(found)
        steps = steps_of(lambda homes=homes: list(homes.names_of(ORG, 1)))  # type: ignore[misc]
        assert steps < 300 + 200 * len(found)


def test_two_who_ask_for_all_homes_do_not_come_in_each_others_way() -> None:
    log = Log("2024-01-31T01:00:00Z")
    log.plan()
    log.customer()
    names = [(ORG, f"sub_{number}") for number in range(200)]
    for _, external_id in names:
        log.subscribe(external_id=external_id)
    homes = HomePartitions(log.definitions, PARTITIONS)
    asking = [homes.knowing(), homes.knowing()]
    while asking:
        asking = [each for each in asking if next(each, homes) is None]
    found = [name for number in range(PARTITIONS) for name in homes.names_at(number)]
    assert sorted(found) == sorted(names)

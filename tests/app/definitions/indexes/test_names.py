"""Subscriptions are found by their names, and by no others."""

from __future__ import annotations

import numpy as np
import pytest

from app.definitions.indexes import names as names_module
from app.definitions.indexes.index import newest
from app.definitions.indexes.packed import PackedVersions
from app.definitions.indexes.subscriptions import SubscriptionIndex
from app.definitions.model import Customer, Subscription
from tests.world.definitions import subscription_object

ORG = "org"


def subscription(number: int, external_id: str, customer_id: str) -> Subscription:
    return subscription_object(
        f"id {number}", external_id=external_id, external_customer_id=customer_id
    )


MADE = [
    subscription(0, "a", "x"),
    subscription(1, "b", "x"),
    subscription(2, "a", "y"),
    subscription(3, "c", "x"),
]


@pytest.fixture(params=[False, True], ids=["several hashes", "one hash"])
def index(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> SubscriptionIndex:
    """An index of some subscriptions, made at offsets from 0 on."""
    if request.param:
        monkeypatch.setattr(names_module, "hash", lambda name: 7, raising=False)
    made = SubscriptionIndex()
    for offset, one in enumerate(MADE):
        made.commit(one, offset, offset)
    return made


def by_name(index: SubscriptionIndex) -> dict[str, list[str]]:
    """Return the ids of all subscriptions by external id; it is known which names there are."""
    for name in ((ORG, external_id) for external_id in "abcde"):
        assert index.by_external_id.has(name) == bool(index.of_external_id(name))
    return {
        external_id: [
            newest(each).id for each in index.of_external_id((organization_id, external_id))
        ]
        for organization_id, external_id in index.by_external_id
    }


def of_customer(index: SubscriptionIndex, customer_id: str) -> list[str]:
    """Return the ids of the subscriptions of a customer; their numbers lead to the same."""
    found = [one.id for one in index.of_customer((ORG, customer_id))]
    if isinstance(index.versions, PackedVersions):
        numbers = index.numbers_of_customer((ORG, customer_id)).tolist()
        assert [index.numbered(number).id for number in numbers] == found[::-1]
    return found


def test_each_is_found_by_its_names(index: SubscriptionIndex) -> None:
    assert by_name(index) == {"a": ["id 0", "id 2"], "b": ["id 1"], "c": ["id 3"]}
    assert of_customer(index, "x") == ["id 0", "id 1", "id 3"]
    assert of_customer(index, "y") == ["id 2"]
    assert index.of_external_id((ORG, "d")) == []
    assert index.of_external_id(("other", "a")) == []


def test_names_that_come_later_are_not_among_those_of_before(index: SubscriptionIndex) -> None:
    names = iter(index.by_external_id)
    assert next(names) == (ORG, "a")
    index.commit(subscription(4, "d", "x"), 4, 4)
    assert list(names) == [(ORG, "b"), (ORG, "c")]


def test_a_customer_made_anew_has_none_of_those_before(index: SubscriptionIndex) -> None:
    customer = Customer(
        id="x", organization_id=ORG, external_id="x", created_at_ms=0, updated_at_ms=0
    )
    index.commit_deletion(customer, 4)
    assert of_customer(index, "x") == []
    index.commit(subscription(5, "d", "x"), 5, 5)
    assert of_customer(index, "x") == ["id 5"]
    assert list(index.by_customer.ids((ORG, "x"))) == ["id 0", "id 1", "id 3", "id 5"]


def test_the_first_of_a_name_is_known_of_each_that_is_not(index: SubscriptionIndex) -> None:
    names, numbers = index.by_customer, index.by_customer.numbers((ORG, "x"))
    assert numbers.tolist() == [3, 1, 0]
    again = names.again(numbers)
    assert (again.tolist(), names.firsts_of(again).tolist()) == ([3, 1], [0, 0])
    index.commit(subscription(4, "d", "y"), 4, 4)
    assert names.firsts_of(names.again(np.array([4, 2, 3], np.uint32))).tolist() == [2, 0]


def test_a_branch_of_nothing_does_not_find_what_comes_later() -> None:
    index = SubscriptionIndex()
    branch = index.copy()
    index.commit(MADE[0], 0, 0)
    assert by_name(branch) == {}
    assert branch.of_external_id((ORG, "a")) == []


def test_a_branch_finds_its_own_and_the_original_does_not(index: SubscriptionIndex) -> None:
    branch = index.copy()
    for number, external_id in ((4, "d"), (5, "a")):
        branch.commit(subscription(number, external_id, "x"), number, number)
    of_branch = {"a": ["id 0", "id 2", "id 5"], "b": ["id 1"], "c": ["id 3"], "d": ["id 4"]}
    assert by_name(branch) == by_name(branch.copy()) == of_branch
    assert of_customer(branch, "x") == ["id 0", "id 1", "id 3", "id 4", "id 5"]
    assert by_name(index) == {"a": ["id 0", "id 2"], "b": ["id 1"], "c": ["id 3"]}
    index.commit(subscription(6, "e", "y"), 6, 6)
    assert by_name(branch) == of_branch


def test_the_only_one_of_a_name_is_told_with_its_life(index: SubscriptionIndex) -> None:
    names = index.by_external_id
    told = {external_id: names.lived((ORG, external_id)) for external_id in "abcd"}
    assert told["a"] is None
    assert told["d"] is None
    for number, external_id in (1, "b"), (3, "c"):
        lived = told[external_id]
        assert lived is not None
        life, one = lived
        assert one == MADE[number]
        assert life == names.life((ORG, external_id))
        assert life.created_ms == number
    index.commit(subscription(4, "b", "z"), 4, 4)
    assert names.lived((ORG, "b")) is None

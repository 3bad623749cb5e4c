"""What is kept packed is as it would be in a plain dict, whatever is played on it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid5

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from app.definitions.indexes import packed as packed_module
from app.definitions.indexes.forms import CustomerForm, SubscriptionForm
from app.definitions.indexes.index import Overlay, push
from app.definitions.indexes.packed import PackedVersions
from app.definitions.model import Customer, Subscription
from app.definitions.versions import Coming, Versions
from tests.app.definitions.indexes.test_rows import small_chunks
from tests.world.definitions import subscription_object

NAMESPACE = UUID(int=7)
KEYS = [str(uuid5(NAMESPACE, str(number))) for number in range(20)] + [
    "sub_1",
    "ü" * 16,
    str(UUID(int=1)).upper().replace("0", "A"),
    UUID(int=2).hex,
]
"""The last few are no ids of ours."""


@pytest.fixture(autouse=True, scope="module")
def little_is_kept() -> Iterator[None]:
    """Keep next to nothing at hand, sweep again and again, and begin chunk after chunk."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packed_module, "_MOST_AT_HAND", 1)
        patch.setattr(packed_module, "_LEAST_SWEPT", 1)
        small_chunks(patch)
        yield


def subscription(identity: str, plan_id: str, ends_ms: int | None) -> Subscription:
    return subscription_object(
        identity,
        external_id=f"sub {identity}",
        plan_id=plan_id,
        subscription_at_ms=1_700_000_000_000,
        started_at_ms=1_700_000_000_000,
        created_at_ms=1_700_000_000_000,
        name=plan_id if ends_ms else None,
        ending_at_ms=ends_ms,
    )


keys = st.sampled_from(KEYS[-5:])
plans = st.sampled_from(["p", "q", str(UUID(int=3))])
ends = st.none() | st.integers(1, 3)
moments = st.none() | st.integers(-1, 60)
played = st.lists(
    st.one_of(
        st.tuples(st.just("push"), keys, plans, ends),
        st.tuples(st.just("push"), keys, plans, ends),
        st.tuples(st.just("delete"), keys),
        st.tuples(st.just("promise"), keys, plans, ends),
        st.tuples(st.just("come")),
        st.tuples(st.just("look"), keys, moments),
        st.tuples(st.just("hold"), keys),
        st.tuples(st.just("let go")),
        st.tuples(st.just("look at all")),
        st.tuples(st.just("branch"), keys, plans, ends),
    ),
    min_size=10,
    max_size=60,
)


class Twins:
    """The same, packed and in a plain dict."""

    def __init__(self) -> None:
        self.packed = PackedVersions[str, Subscription](SubscriptionForm(), lambda one: one.id)
        self.plain: dict[str, Versions[Subscription]] = {}
        self.offset = 0
        self.coming: Coming | None = None
        """With which the next is promised; None, or here: with another one."""
        self.held: list[tuple[Versions[Subscription], Versions[Subscription]]] = []
        """Some that are held, packed and plain."""

    def play(self, kind: str, *told: Any) -> None:
        """Do one thing to both, and compare what it comes to."""
        self.offset += 1
        match kind, told:
            case "push", (key, *terms):
                self.coming, new = None, subscription(key, *terms)
                before = [push(each, key, self.offset, self.offset, new) for each in self.both()]
                assert before[0] == before[1]
            case "delete", (key,) if key in self.plain:
                self.coming = None
                for each in self.both():
                    each[key].push(self.offset, self.offset, None)
                    each[key] = each[key]
            case "promise", (key, *terms) if key in self.plain:
                if self.coming is None or self.coming.is_here:
                    self.coming = Coming(self.offset, self.offset)
                for each in self.both():
                    versions = each[key]
                    versions.promise(self.coming, subscription(key, *terms))
                    each[key] = versions
            case "come", () if self.coming is not None:
                self.coming.is_here = True
            case "look", (key, at_ms):
                assert (key in self.packed) is (key in self.plain)
                found = self.packed.get(key)
                assert found == self.plain.get(key)
                if found is not None:
                    assert found.at(at_ms) == self.plain[key].at(at_ms)
                    assert found is self.packed[key]
            case "hold", (key,) if key in self.plain:
                self.held.append((self.packed[key], self.plain[key]))
            case "let go", ():
                self.held.clear()
            case "look at all", ():
                assert list(self.packed) == list(self.plain)
                assert dict(self.packed) == self.plain
            case "branch", (key, *terms):
                branches = [Overlay(each, _copied) for each in self.both()]
                for each in branches:
                    push(each, key, self.offset, self.offset, subscription(key, *terms))
                assert dict(branches[0]) == dict(branches[1])
        for ours, theirs in self.held:
            assert ours == theirs

    def both(self) -> Iterator[Any]:
        """Yield what is packed, and what is plain."""
        yield self.packed
        yield self.plain


def _copied(versions: Versions[Subscription]) -> Versions[Subscription]:
    return versions.__copy__()


def play(things: list[tuple[Any, ...]]) -> Twins:
    """Play one thing after the other."""
    twins = Twins()
    for each in things:
        twins.play(*each)
    twins.play("look at all")
    return twins


@given(played)
def test_what_is_packed_is_as_in_a_plain_dict(things: list[tuple[Any, ...]]) -> None:
    play(things)


@given(played)
def test_names_of_one_hash_are_told_apart(things: list[tuple[Any, ...]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packed_module, "hash", lambda key: 7, raising=False)
        play(things)


def test_who_holds_versions_sees_what_others_change() -> None:
    twins = play([("push", key, "p", None) for key in KEYS])
    held = [twins.packed[key] for key in KEYS]
    for times in range(10):
        for key in KEYS:
            twins.play("push", key, f"p{times}", None)
    assert [versions.at() for versions in held] == [v.at() for v in twins.plain.values()]
    assert all(versions is twins.packed[key] for versions, key in zip(held, KEYS, strict=True))


def test_what_is_promised_and_comes_is_there_though_nobody_held_it() -> None:
    twins = play([("push", key, "p", None) for key in KEYS])
    for key in KEYS:
        twins.play("promise", key, "q", 2)
    twins.play("look at all")
    twins.play("come")
    assert all(each.at() == subscription(key, "q", 2) for key, each in twins.packed.items())
    twins.play("look at all")


def test_what_changes_often_is_not_packed_anew_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    key, packed = KEYS[0], list[int]()
    twins = play([("push", key, f"p{times}", None) for times in range(10)])
    form = SubscriptionForm()
    twins.packed._form = form
    with monkeypatch.context() as patch:
        patch.setattr(form, "told", lambda one: packed.append(1))
        twins.play("push", key, "q", None)
        twins.play("look at all")
    assert not packed
    assert form.external_name(twins.packed.row(0)) == ("org", f"sub {key}")


texts = st.text(max_size=40)
times = st.integers(0, 1 << 62)
optional = st.none() | texts
fractions = st.decimals(allow_nan=False, allow_infinity=False).map(
    lambda number: msgspec.Raw(str(number).encode())
)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 80), 1 << 80) | fractions | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
subscriptions = st.builds(
    Subscription,
    id=keys | texts,
    organization_id=texts,
    external_id=texts,
    external_customer_id=texts,
    plan_id=texts,
    billing_time=st.sampled_from(["calendar", "anniversary"]),
    subscription_at_ms=times,
    started_at_ms=times,
    created_at_ms=times,
    name=optional,
    ending_at_ms=st.none() | times,
    terminated_at_ms=st.none() | times,
    canceled_at_ms=st.none() | times,
    replaced_by=optional,
    previous_subscription_id=optional,
    upgraded=st.booleans(),
    parent_plan_id=optional,
    activated_at_ms=st.none() | times,
    on_termination_invoice=st.sampled_from(["generate", "skip"]),
    superseded_at_ms=st.none() | times,
)
customers = st.builds(
    Customer,
    id=keys | texts,
    organization_id=texts,
    external_id=texts,
    created_at_ms=times,
    updated_at_ms=times,
    timezone=optional,
    grace_days=st.none() | st.integers(0, 1_000),
    attributes=st.dictionaries(texts, values, max_size=3),
)


@given(st.lists(subscriptions, min_size=1, max_size=3))
def test_any_subscription_comes_back_as_it_was(told: list[Subscription]) -> None:
    form, entries = SubscriptionForm(), [(at, at, one) for at, one in enumerate(told)]
    assert list(form.unpacked(form.packed_all(entries)).entries()) == entries
    row = form.packed(*entries[0])
    assert list(form.unpacked(row).entries()) == entries[:1]
    one = told[0]
    assert form.external_name(row) == (one.organization_id, one.external_id)
    assert form.customer_name(row) == (one.organization_id, one.external_customer_id)


@given(st.lists(customers, min_size=1, max_size=3))
def test_any_customer_comes_back_as_it_was(told: list[Customer]) -> None:
    form, entries = CustomerForm(), [(at, at, one) for at, one in enumerate(told)]
    # A number is packed by its text: where two have the same, one comes back as the other.
    text = msgspec.json.encode(entries)
    assert msgspec.json.encode(list(form.unpacked(form.packed_all(entries)).entries())) == text
    assert list(form.unpacked(form.packed(*entries[0])).entries()) == entries[:1]


edges = st.sampled_from([-1, 0, 1, (1 << 47) - 1, 1 << 47, (1 << 48) - 1, 1 << 48]) | times
offsets = st.sampled_from([-1, 0, (1 << 32) - 1, 1 << 32]) | st.integers(0, 1 << 40)


@given(edges, edges, offsets, keys, texts, texts, st.sampled_from(["calendar", "anniversary"]))
def test_what_nothing_was_done_to_comes_back_as_it_was(
    at_ms: int, since_ms: int, offset: int, identity: str, one: str, other: str, billing_time: Any
) -> None:
    form = SubscriptionForm()
    subscription = Subscription(
        id=identity,
        organization_id=other,
        external_id=one,
        external_customer_id=other,
        plan_id=one,
        billing_time=billing_time,
        subscription_at_ms=since_ms,
        started_at_ms=since_ms,
        created_at_ms=at_ms,
    )
    row = form.packed(at_ms, offset, subscription)
    assert list(form.unpacked(row).entries()) == [(at_ms, offset, subscription)]
    assert form.newest(row) == subscription
    assert form.external_name(row) == (other, one)
    assert form.customer_name(row) == (other, other)

    of_customers = CustomerForm()
    customer = Customer(
        id=identity,
        organization_id=one,
        external_id=other,
        created_at_ms=at_ms,
        updated_at_ms=at_ms,
    )
    row = of_customers.packed(at_ms, offset, customer)
    assert list(of_customers.unpacked(row).entries()) == [(at_ms, offset, customer)]


def test_long_names_and_very_many_plans_are_told_apart() -> None:
    form, of_customers = SubscriptionForm(), CustomerForm()
    one = subscription(KEYS[0], "p", None)
    at_ms = one.created_at_ms
    of_all = [one, replace(one, external_id="ü" * 65_536), replace(one, external_id="ü" * 65_535)]
    form._shapes += [("o", str(number), "calendar") for number in range(65_535)]
    of_customers._texts += [str(number) for number in range(65_535)]
    of_all += [replace(one, plan_id="q"), replace(one, plan_id="r")]
    rows = [form.packed(at_ms, 0, each) for each in of_all]
    assert [form.newest(row) for row in rows] == of_all
    for organization_id in "ab":
        customer = Customer(
            id=KEYS[0],
            organization_id=organization_id,
            external_id="c",
            created_at_ms=0,
            updated_at_ms=0,
        )
        assert of_customers.newest(of_customers.packed(0, 0, customer)) == customer


def test_who_started_later_than_its_date_comes_back_as_it_was() -> None:
    form, one = SubscriptionForm(), subscription(KEYS[0], "p", None)
    later = replace(one, started_at_ms=one.started_at_ms + 1)
    assert form.newest(form.packed(one.created_at_ms, 0, later)) == later


def test_what_nothing_was_done_to_takes_little_room() -> None:
    one = subscription(KEYS[0], str(UUID(int=3)), None)
    row = SubscriptionForm().packed(one.created_at_ms, 1 << 20, one)
    assert len(row) == 36 + len(one.external_id + one.external_customer_id)


@pytest.mark.parametrize(
    ("form", "type_"), [(SubscriptionForm(), Subscription), (CustomerForm(), Customer)]
)
def test_what_has_its_default_takes_no_room(form: Any, type_: Any) -> None:
    given = {each.name: each.name for each in msgspec.structs.fields(type_) if each.required}
    assert len(form.told(type_(**given))) == len(given)

"""Filters claim events as if each was asked in turn, and many cost what few do."""

from __future__ import annotations

from functools import partial

import msgspec
from hypothesis import example, given
from hypothesis import strategies as st

from bench.growth.spent import steps_of
from tables.claims import Claims
from tables.values import text_of

KEYS = ("a", "b", "c")
TEXTS = ("x", "y", "z", "1")
Conditions = tuple[tuple[str, frozenset[str]], ...]

conditions = st.dictionaries(st.sampled_from(KEYS), st.frozensets(st.sampled_from(TEXTS))).map(
    lambda found: tuple(found.items())
)
literals = st.sampled_from([b'"x"', b'"y"', b'"z"', b"1", b'"1"', b"null", b"{}", b'"other"'])


def asked_in_turn(filters: list[Conditions], properties: dict[str, msgspec.Raw]) -> int | None:
    for place, each in enumerate(filters):
        if all(text_of(properties, key) in values for key, values in each):
            return place
    return None


@example([(("a", frozenset("xy")),), (("a", frozenset("x")),)], {"a": b'"x"'})
@given(st.lists(conditions), st.dictionaries(st.sampled_from(KEYS), literals))
def test_the_first_filter_that_fits_has_the_event(
    filters: list[Conditions], sent: dict[str, bytes]
) -> None:
    properties = {key: msgspec.Raw(literal) for key, literal in sent.items()}
    assert Claims(filters).first(properties) == asked_in_turn(filters, properties)


def test_an_event_costs_the_same_beside_many_filters() -> None:
    def steps(filters: int) -> int:
        named = [(("a", frozenset([str(n)])), ("b", frozenset(TEXTS))) for n in range(filters)]
        properties = {key: msgspec.Raw(b'"x"') for key in KEYS}
        claims = Claims(named)
        assert claims.first(properties) is None
        return steps_of(partial(claims.first, properties))

    assert steps(2_000) == steps(20)


def test_filters_by_all_values_are_made_as_one_is() -> None:
    def steps(filters: int) -> int:
        everything = frozenset(map(str, range(2_000)))
        named = [(("a", everything), ("b", frozenset([str(n)]))) for n in range(filters)]
        return steps_of(partial(Claims, named))

    # Each of the 2,000 texts of 1,980 filters more would be 30 million.
    assert steps(2_000) - steps(20) < 1_980 * 100

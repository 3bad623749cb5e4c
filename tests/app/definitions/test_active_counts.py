import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.definitions import active_counts


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 30), st.integers(0, 3)), max_size=80))
def test_from_now_on_moments_are_one_sorted_list(steps: list[tuple[bool, int, int]]) -> None:
    kept: list[int] = []
    now_ms = 0
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(active_counts, "_MOST_IN_A_RUN", 3)
        found = active_counts._Moments()
        for added, value, later_ms in steps:
            now_ms += later_ms
            if added:
                found.add(value, now_ms)
                kept.append(value)
            elif value in kept:
                found.remove(value)
                kept.remove(value)
            assert all(found._runs)
            assert bool(found) == bool(kept)
            for most in range(now_ms, 32):
                assert found.until(most) == sum(value <= most for value in kept)


def test_what_goes_by_leaves_a_count_only() -> None:
    found = active_counts._Moments()
    for day in range(3_000):
        found.add(day + 30, day)
    assert sum(map(len, found._runs)) < 2 * active_counts._MOST_IN_A_RUN

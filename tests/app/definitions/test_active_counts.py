import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.definitions import active_counts


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 30)), max_size=80))
def test_sorted_runs_are_one_sorted_list(steps: list[tuple[bool, int]]) -> None:
    kept: list[int] = []
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(active_counts, "_MOST_IN_A_RUN", 3)
        found = active_counts._Sorted()
        for added, value in steps:
            if added:
                found.add(value)
                kept.append(value)
            else:
                found.remove(value)
                if value in kept:
                    kept.remove(value)
            assert [n for run in found._runs for n in run] == sorted(kept)
            assert all(found._runs)
        for most in range(-1, 32):
            assert found.until(most) == sum(value <= most for value in kept)

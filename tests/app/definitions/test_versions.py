import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.definitions.versions import Versions


def three() -> Versions[str]:
    versions: Versions[str] = Versions()
    versions.push(10, 0, "a")
    versions.push(20, 1, None)
    versions.push(30, 5, "b")
    return versions


@pytest.mark.parametrize(
    ("at_ms", "version", "last"),
    [
        (9, None, None),
        (10, "a", "a"),
        (19, "a", "a"),
        (20, None, "a"),
        (30, "b", "b"),
        (None, "b", "b"),
    ],
)
def test_the_version_in_force(at_ms: int | None, version: str | None, last: str | None) -> None:
    assert three().at(at_ms) == version
    assert three().last_before_deletion(at_ms) == last


def test_of_two_versions_at_one_moment_the_later_record_holds() -> None:
    versions = three()
    versions.push(30, 6, "c")
    assert versions.at(30) == "c"
    assert list(versions.changes) == [10, 20, 30, 30]
    assert list(versions.offsets) == [0, 1, 5, 6]
    assert list(versions.all()) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("offset", "known"),
    [(0, ["a"]), (1, ["a", "b"]), (5, ["a", "b"])],
    ids=["deleted-later", "deleted-then", "made-anew"],
)
def test_until_deleted(offset: int, known: list[str]) -> None:
    versions = three().until_deleted(offset)
    assert list(versions.all()) == known
    assert versions.at() == known[-1]


def test_time_never_goes_back() -> None:
    with pytest.raises(ValueError, match="older"):
        three().push(29, 6, "c")


def test_nothing_was_ever_there() -> None:
    assert Versions[str]().at() is None
    assert Versions[str]().at(5) is None
    assert Versions[str]().last_before_deletion() is None


@given(st.lists(st.tuples(st.integers(0, 50), st.none() | st.integers()), max_size=12))
def test_the_past_is_what_a_scan_finds(pushes: list[tuple[int, int | None]]) -> None:
    versions: Versions[int] = Versions()
    ordered = sorted(pushes, key=lambda push: push[0])
    for offset, (time_ms, version) in enumerate(ordered):
        versions.push(time_ms, offset, version)
    for at_ms in range(-1, 52):
        until = [version for time_ms, version in ordered if time_ms <= at_ms]
        assert versions.at(at_ms) == (until[-1] if until else None)
        kept = [version for version in until if version is not None]
        assert versions.last_before_deletion(at_ms) == (kept[-1] if kept else None)

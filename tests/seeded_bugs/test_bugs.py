"""A bug whose place has changed would be caught by nobody, and be said to be."""

from __future__ import annotations

import pytest

from tests.seeded_bugs.__main__ import ROOT
from tests.seeded_bugs.bugs import BUGS, Bug


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_every_bug_can_be_planted(bug: Bug) -> None:
    assert (ROOT / bug.file).read_text().count(bug.old) == 1


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_the_guard_of_every_bug_is_there(bug: Bug) -> None:
    file, _, test = bug.guard.partition("[")[0].partition("::")
    assert f"def {test.rpartition('::')[2]}(" in (ROOT / file).read_text()

"""A bug whose place has changed would be caught by nobody, and be said to be."""

from __future__ import annotations

import pytest

from tests.seeded_bugs.__main__ import ROOT
from tests.seeded_bugs.bugs import BUGS, Bug


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_every_bug_can_be_planted(bug: Bug) -> None:
    assert (ROOT / bug.file).read_text().count(bug.old) == 1

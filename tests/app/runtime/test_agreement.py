"""Which settings a worker must have as the log has them, and which version of it may come first."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from app.definitions.model import FOLD_VERSION
from app.runtime.agreement import differing_settings, settings_record
from app.settings import Settings

OURS = Settings(profile="test")


@pytest.mark.parametrize(
    ("in_the_log", "differing"),
    [
        pytest.param({}, [], id="equal"),
        pytest.param({"fold_version": FOLD_VERSION - 1}, [], id="an older fold version"),
        pytest.param({"fold_version": FOLD_VERSION + 1}, ["fold_version"], id="a newer one"),
        pytest.param({"tzdata_version": "1999.1"}, ["tzdata_version"], id="other zones"),
        pytest.param({"grace_s": 7}, ["grace_s"], id="another grace"),
    ],
)
def test_what_differs_is_named(in_the_log: dict[str, Any], differing: list[str]) -> None:
    record = msgspec.structs.replace(settings_record(OURS), **in_the_log)
    assert differing_settings(OURS, record) == differing

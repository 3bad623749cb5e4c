"""The list of what was given up."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.webhooks import failures
from app.webhooks.failures import Failure, Failures, host_of


def failure(number: int) -> Failure:
    return Failure(
        given_up_at="2024-01-01T00:00:00.000Z",
        organization_id="acme",
        lago_endpoint_id="e",
        host="h",
        webhook_type="plan.created",
        unique_key=str(number),
        attempts=3,
        reason="status 500",
    )


def test_the_newest_are_kept_newest_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failures, "KEPT", 3)
    directory = tmp_path / "state"
    assert list(Failures(directory).newest()) == []
    kept = Failures(directory)
    for number in range(7):
        kept.note(failure(number))
    again = Failures(directory)
    again.note(failure(7))
    found = [each.unique_key for each in again.newest()]
    assert found == ["7", "6", "5", "4", "3"]


def test_a_torn_line_is_left_out(tmp_path: Path) -> None:
    kept = Failures(tmp_path)
    kept.note(failure(0))
    with (tmp_path / "webhooks-failed.jsonl").open("ab") as file:
        file.write(b'{"given_up_at":')
    again = Failures(tmp_path)
    assert [each.unique_key for each in again.newest()] == ["0"]
    again.note(failure(1))
    assert [each.unique_key for each in again.newest()] == ["1", "0"]


def test_of_a_url_only_the_host_is_kept() -> None:
    assert host_of("https://user:secret@hooks.example:8443/a?token=b") == "hooks.example"
    assert host_of("http://[::1") == ""

"""All events of a listing are asked for at once, not page by page."""

from __future__ import annotations

import click
import pytest

from app.cli.listed_events import listed_events
from app.cli.remote import Asked, Json, Remote


class Listing(Remote):
    """A worker that shows so many events at most, and counts those that it reads for it."""

    def __init__(self, times: list[int], most: int) -> None:
        super().__init__("http://worker", None)
        self.most, self.read = most, 0
        self.events = sorted(
            (
                {
                    "transaction_id": f"t{number:05}",
                    "external_subscription_id": f"s{number % 3}",
                    "timestamp": f"2024-01-01T00:00:{second:06.3f}Z",
                }
                for number, second in enumerate(each / 1_000 for each in times)
            ),
            key=lambda event: event["timestamp"],
            reverse=True,
        )

    def get(self, path: str, **query: Asked) -> Json:
        """Answer as the API does."""
        assert (path, query["whole"], query["code"]) == ("/api/v1/events", "true", "c")
        self.read += len(self.events)
        until = str(query.get("timestamp_to", "9"))
        found = [event for event in self.events if event["timestamp"] <= until]
        more = len(found) > self.most
        return {"events": found[: self.most], "meta": {"next_page": 2 if more else None}}


@pytest.mark.parametrize("count", [200, 2_000])
def test_all_events_are_read_once_however_many_there_are(count: int) -> None:
    worker = Listing([*range(count)], most=100_000)
    assert list(listed_events(worker, {"code": "c"})) == worker.events
    assert worker.read == count


def test_of_more_than_one_answer_shows_each_is_yielded_once() -> None:
    worker = Listing([each // 3 for each in range(50)], most=7)
    assert list(listed_events(worker, {"code": "c"})) == worker.events
    assert worker.read == 50 * 9


def test_more_of_one_time_than_an_answer_shows_are_told() -> None:
    worker = Listing([5] * 9, most=7)
    with pytest.raises(click.ClickException, match=r"of 2024-01-01T00:00:00\.005Z than"):
        list(listed_events(worker, {"code": "c"}))

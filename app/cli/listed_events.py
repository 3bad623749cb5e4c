"""All events of a listing, from as few readings of the log as there can be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import click

from app.cli.remote import Asked, Json, Remote

EVENTS = "/api/v1/events"


def listed_events(worker: Remote, query: Mapping[str, Asked]) -> Iterator[Json]:
    """Yield all events that a query lists, newest first.

    A worker reads all of them again for each answer, so it is asked for all that it shows at once.
    Further ones are those until the time of the last, without what was shown of that time.

    Raises:
        ClickException: more than one answer shows are of one millisecond.
    """
    asked, told = dict(query), set[tuple[str, str]]()
    while True:
        answer = worker.get(EVENTS, **asked, whole="true")
        events = answer["events"]
        yield from (event for event in events if _name_of(event) not in told)
        if answer["meta"]["next_page"] is None:
            return
        last = events[-1]["timestamp"]
        if asked.get("timestamp_to") == last:
            raise click.ClickException(f"More events are of {last} than one answer shows.")
        asked["timestamp_to"] = last
        told = {_name_of(event) for event in events if event["timestamp"] == last}


def _name_of(event: Json) -> tuple[str, str]:
    return event["external_subscription_id"], event["transaction_id"]

"""Lines of the log: their fields, their events, and what is said again and again."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Mapping
from typing import get_args

import pytest

from app.bounds.limits import LOG_REPEATED_S
from app.kafka.batch_consumer import BatchConsumer, _BatchThread
from app.kafka.faust_app import MeterApp, Transport
from app.kafka.quiet import QuietMonitor
from app.log import (
    FAUST_SERVICES,
    STARTING_MS,
    Event,
    Json,
    Repeats,
    Text,
    configure,
    facts,
    no_start_noise,
)

COORDINATOR = "aiokafka.consumer.group_coordinator"


def line(extra: Mapping[str, object], name: str = "app.runtime.engine") -> logging.LogRecord:
    record = logging.LogRecord(name, logging.INFO, "", 1, "Partition %s", ("3",), None)
    record.created = 1_700_000_000.25
    record.__dict__.update(extra)
    return record


def test_facts_are_fields_of_the_object_and_end_the_text() -> None:
    told = facts("restore", partition=3, seconds=1.5, source="the log", gained=[1, 2])
    record = line(told)
    assert json.loads(Json().format(record)) == {
        "time": "2023-11-14T22:13:20.250Z",
        "level": "info",
        "event": "restore",
        "message": "Partition 3",
        "logger": "app.runtime.engine",
        "partition": 3,
        "seconds": 1.5,
        "source": "the log",
        "gained": [1, 2],
    }
    assert Text().format(record) == (
        "2023-11-14T22:13:20.250Z INFO app.runtime.engine: Partition 3 partition=3 seconds=1.5 "
        'source="the log" gained=1,2'
    )


@pytest.mark.parametrize(("name", "event"), [("aiokafka.conn", "client"), ("app.main", "note")])
def test_every_line_has_an_event_of_the_list(name: str, event: str) -> None:
    assert json.loads(Json().format(line({}, name)))["event"] == event
    assert event in get_args(Event)


def test_services_of_faust_among_our_modules_are_as_quiet_as_clients() -> None:
    services = (BatchConsumer, _BatchThread, MeterApp, Transport.Producer, QuietMonitor)
    names = [service.logger.name for service in services]
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    root.handlers = []
    try:
        configure("info", "text", LOG_REPEATED_S)
        for name in names:
            assert not logging.getLogger(name).isEnabledFor(logging.INFO), name
            assert json.loads(Json().format(line({}, name)))["event"] == "client"
    finally:
        root.handlers = handlers
        root.setLevel(level)
        for name in names:
            logging.getLogger(name).setLevel(logging.NOTSET)
    assert set(names) == set(FAUST_SERVICES)


def test_a_line_stays_a_line() -> None:
    said = "a\n2023-11-14 INFO forged\x1b[31m"
    record = line({"msg": said, "args": (), **facts("note", key="a\nb")})
    text = Text().format(record)
    assert text.endswith('a\\x0a2023-11-14 INFO forged\\x1b[31m key="a\\nb"')
    assert text.isprintable()
    assert json.loads(Json().format(record))["message"] == said


def test_a_traceback_is_told_without_what_it_may_quote_of_an_event() -> None:
    try:
        try:
            int("what an event says"[::-1])
        except ValueError as error:
            raise ConnectionError("no broker") from error
    except ConnectionError:
        record = line({"exc_info": sys.exc_info()})
    traceback = json.loads(Json().format(record))["traceback"]
    for text in (traceback, Text().format(record)):
        assert "ValueError at test_a_traceback_is_told" in text
        assert text.endswith("ConnectionError('no broker')")
        assert "what an event says"[::-1] not in text


class Said:
    """What comes of lines through the filter; None: nothing."""

    def __init__(self) -> None:
        self._repeats = Repeats(LOG_REPEATED_S)

    def __call__(
        self,
        name: str,
        text: str,
        at_s: float,
        *,
        place: int = 7,
        level: int = logging.ERROR,
        raised: Exception | None = None,
    ) -> str | None:
        info = None if raised is None else (type(raised), raised, None)
        record = logging.LogRecord(name, level, "", place, "%s", (text,), info)
        record.created = at_s
        return record.getMessage() if self._repeats.filter(record) else None


def test_what_a_client_repeats_is_logged_once_in_a_while() -> None:
    said = Said()
    assert said("aiokafka", "refused by 1", 0.0) == "refused by 1"
    assert [said("aiokafka", f"refused by {n}", 1.0 + n / 100) for n in range(70)] == [None] * 70
    assert said("redis", "refused by 1", 1.0) == "refused by 1"
    ours = [said("app.runtime.engine", "kept", 1.0) for _ in range(2)]
    assert ours == ["kept"] * 2
    assert said("aiokafka", "refused by 2", LOG_REPEATED_S) == "refused by 2 (70 lines more)"
    assert said("aiokafka", "refused by 2", 3 * LOG_REPEATED_S) == "refused by 2"


def test_parts_of_a_client_tell_one_loss_once() -> None:
    """Each part of aiokafka needs the broker; a minute without one began with ten lines of it."""
    said = Said()
    parts = ["aiokafka", "aiokafka.consumer.fetcher", "aiokafka.producer.sender"]
    told = [
        said(name, f"no answer at {place}", second + place / 10, place=place)
        for second in range(60)
        for place, name in enumerate(parts)
    ]
    lines = list(filter(None, told))
    assert lines == ["no answer at 0", "no answer at 0 (89 lines more)"]
    assert said("aiokafka.conn", "joined anew", 5.0, level=logging.WARNING) == "joined anew"
    assert said("aiokafka.conn", "a defect", 5.0, raised=KeyError()) == "a defect"
    assert said("aiokafka.conn", "a defect", 6.0, raised=KeyError()) is None


@pytest.mark.parametrize(
    ("logger", "message", "at_ms", "shown"),
    [
        (COORDINATOR, "Group Request failed: GroupCoordinatorNotAvailableError", 1_000, False),
        (COORDINATOR, "Marking the coordinator dead (node 1)for group x.", 1_000, False),
        (COORDINATOR, "Marking the coordinator dead (node 1)for group x.", STARTING_MS, True),
        (COORDINATOR, "Heartbeat session expired", 1_000, True),
        ("aiokafka.cluster", "No broker metadata found in MetadataResponse", 1_000, False),
        ("aiokafka.cluster", "Topic events-raw is not available", 1_000, True),
        ("aiokafka", "Unable connect to node with id None: StaleMetadata: not in", 1_000, False),
        ("aiokafka", "Unable connect to node with id 1: [Errno 111] refused", 1_000, True),
    ],
)
def test_only_a_starting_broker_is_passed_over(
    logger: str, message: str, at_ms: int, shown: bool
) -> None:
    record = logging.makeLogRecord({"name": logger, "msg": message, "relativeCreated": at_ms})
    assert no_start_noise(record) is shown

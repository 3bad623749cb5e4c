"""The topics that hold a partition's state, and what is read of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping

from app.kafka.log_readers import read_to_end
from app.kafka.names import TopicPartition
from app.kafka.topics import (
    CELLS_CHANGELOG,
    CORRECTIONS_CHANGELOG,
    DAILY_CHANGELOG,
    EVALUATIONS_CHANGELOG,
    INSTANTS_CHANGELOG,
    MEBIBYTE,
    MEMBERS_CHANGELOG,
    PRESENCE_CHANGELOG,
    PUBLISHED_CHANGELOG,
)
from app.settings import Settings
from app.wire.arrivals import MeterKey

CHANGELOGS = {
    "cells": CELLS_CHANGELOG,
    "members": MEMBERS_CHANGELOG,
    "presence": PRESENCE_CHANGELOG,
    "published": PUBLISHED_CHANGELOG,
    "corrections": CORRECTIONS_CHANGELOG,
    "evaluations": EVALUATIONS_CHANGELOG,
    "instants": INSTANTS_CHANGELOG,
    "daily": DAILY_CHANGELOG,
}
"""Changelog of each kind of row."""

CHECKPOINT_KEY = b"\xffpartition-record"
"""Key of the checkpoint in the cell changelog; no cell key begins with this byte."""

CHECKPOINT_BYTES = 8 * MEBIBYTE
"""The checkpoint is written with every flush, and has to fit into the cell changelog."""

MOST_REFOLDING = 10_000
"""Meter keys under a refold that it names: each flush sorts, packs and sends them."""

ANY_METER_KEY: MeterKey = ("", "", "")
"""Stands for more meter keys under a refold than can be written. No event has empty names."""

PLACE_HEADER = "meter-index-place"
"""Header of a record of index or figures: how many rows are before it, and their sum."""


Take = Callable[[bytes, bytes | None], None]
"""Takes over one record of a changelog; a None value deletes."""


async def read_changelogs(settings: Settings, takes: Mapping[str, Take], number: int) -> None:
    """Read changelogs of a partition to their ends, all by one reader."""
    by_topic = {settings.topic(name): take for name, take in takes.items()}
    tps = [TopicPartition(topic, number) for topic in by_topic]
    async with read_to_end(settings, tps) as batches:
        async for tp, records in batches:
            take = by_topic[tp.topic]
            for _, key, value in records:
                take(key, value)
            await asyncio.sleep(0)


async def newest_values(
    settings: Settings, changelogs: Iterable[str], number: int
) -> dict[str, dict[bytes, bytes]]:
    """Return the newest value of every key of compacted changelogs, without deleted keys."""
    newest: dict[str, dict[bytes, bytes]] = {name: {} for name in changelogs}
    await read_changelogs(
        settings, {name: newest_into(values) for name, values in newest.items()}, number
    )
    return newest


def newest_into(values: dict[bytes, bytes]) -> Take:
    """Return what keeps the newest value of every key."""

    def take(key: bytes, value: bytes | None) -> None:
        if value is None:
            values.pop(key, None)
        else:
            values[key] = value

    return take

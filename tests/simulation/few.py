"""Bounds that no seed would reach: from 50,000,000 on a few are as many as the program minds."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import ModuleType
from unittest.mock import patch

FEW_FROM = 50_000_000
"""Seeds from here on take some of the bounds below for their least, by turns."""
LEAST = {
    # Between two chances to let others go on.
    "app.bounds.turns.STEP_ITEMS": 1,
    "app.bounds.turns.SORTED_AT_ONCE": 2,
    "tables.closing.period_at_cut.CELLS_A_STEP": 1,
    "tables.closing.told._PERIODS_A_STEP": 1,
    "tables.closing.changed.STEPS_AT_ONCE": 1,
    "tables.closing.instants.STEPS_AT_ONCE": 1,
    "tables.closing.instants.LOOKED_UP_AT_ONCE": 1,
    "app.runtime.followed._STEP_RECORDS": 1,
    "app.runtime.partition.table_work.STEPS_AT_ONCE": 1,
    # What is done at once, and the rest later.
    "app.bounds.limits.FLUSH_USAGE_RECORDS": 1,
    "agents.close.HALF_CLOSED_BYTES": 1,
    "agents.close.AT_FIRST": 1,
    "agents.close.AT_ONCE": 1,
    "agents.close.OF_ORGANIZATION": 1,
    "agents.repair.MOST_EVENTS": 1,
    "app.runtime.partition.renewal._AT_ONCE": 1,
    "tables.closing.daily.FORGOTTEN_AT_ONCE": 1,
    "tables.closing.forgetting.MOST_CELLS": 1,
    "tables.closing.forgetting.MOST_SETS": 1,
    "tables.closing.forgetting.NAMES_AT_ONCE": 1,
    "tables.partition.redefinition.TOLD_AT_ONCE": 1,
    "tables.partition.refold_apart.ROUTES_AT_ONCE": 1,
    "tables.changelogged.instants.MOST_LAID_DOWN": 1,
    # What is kept at hand, or one by one.
    "app.definitions.indexes.packed._MOST_AT_HAND": 1,
    "app.definitions.indexes.packed._LEAST_SWEPT": 1,
    "app.definitions.indexes.subscriptions._FEW": 0,
    "app.runtime.partition.verdicts.REMEMBERED": 1,
    "tables.changelogged.daily._AT_HAND": 1,
    "tables.changelogged.published._AT_HAND": 1,
    "tables.changelogged.members.MEMBERS_AT_HAND": 1,
    "tables.changelogged.published_period.KEPT_ROWS_BYTES": 40,
    "tables.closing.instant_records.CELLS_AT_HAND": 1,
    "tables.partition.rewritten.MOST_CHANGES": 1,
    "tables.partition.route_table.ALIKE": 1,
    "tables.partition.route_table.MOST_BEGUN": 1,
    "tables.partition.views.KEPT_NAMES": 1,
    "tables.partition.views.KEPT_BYTES": 1,
    "tables.routing.plan.MOST_CODES": 1,
    "tables.routing.plan.MOST_SHARED": 1,
    # What is looked at before another way is taken.
    "app.definitions.periods._FEW_TERMS": 1,
    "app.definitions.timeline._NEAR_PERIODS": 1,
    "tables.changelogged.instants.CHAINS_LOOKED_AT": 1,
    "tables.changelogged.resting._MOST_LOOKED_AT": 1,
    "tables.partition.timelines.FEW": 0,
    "tables.routing.route.FEW_SPANS": 0,
}

ALL_FROM = 51_000_000
"""Seeds from here on take more of them."""
LEAST_TOO = {
    # Between two chances to let others go on.
    "app.runtime.followed._STEP_BYTES": 1,
    "app.runtime.partition.duplicates._JUDGED_A_STEP": 1,
    "app.runtime.partition.duplicates._READ_AT_ONCE": 1,
    "app.runtime.partition.portion.STEP_BYTES": 1,
    "app.runtime.scanning.scan.MAX_RECORDS": 1,
    "app.runtime.scanning.scan.STEP_BYTES": 1,
    "app.wire.identity._COMPARED_A_STEP": 1,
    "tables.changelogged.followed._STEP_ROWS": 1,
    "tables.changelogged.named_rows._AT_ONCE": 1,
    # What is done at once, and the rest later.
    "agents.ingest.JOINED_RECORDS": 1,
    "app.bounds.limits.FLUSH_BYTES": 1,
    "app.bounds.limits.FLUSH_CHANGES": 1,
    "app.bounds.limits.PORTION_BYTES": 1,
    "app.bounds.limits.PORTION_EVENTS": 1,
    "app.runtime.partition.ahead.MAX_RECORDS": 1,
    "app.runtime.refold_process.ASKED_AT_ONCE": 1,
    "app.runtime.restoring.index_log.LOADED_BYTES": 1,
    "app.runtime.restoring.restorer.RESTORED_AT_ONCE": 1,
    "app.runtime.scanning.scans.FAR_RECORDS": 0,
    "app.runtime.scanning.scans.NEAR_RECORDS": 0,
    "app.runtime.topics.daily_additions._KEPT_AT_ONCE": 1,
    "tables.event_index.index.MAX_MERGE_STEP_ROWS": 1,
    "tables.event_index.index.MIN_MERGE_STEP_ROWS": 1,
    # What is kept at hand, or one by one.
    "app.definitions.by_identity.MOST": 1,
    "app.definitions.indexes.packed._MOST_PACKED": 1,
    "app.ledger.ledger.FEW_BLOCKS": 1,
    "app.ledger.ledger.SLABS_AT_ONCE": 1,
    "app.runtime.homes._REMEMBERED": 1,
    "app.runtime.partition.member_sync.UNSTORED_MEMBERS": 1,
    "app.runtime.topics.changelogs.CHECKPOINT_BYTES": 1,
    "app.runtime.topics.spooled_newest.AT_HAND_BYTES": 0,
    "tables.event_index.index.MAX_HEAD_ROWS": 1,
    "tables.event_index.index.MIN_HEAD_ROWS": 1,
    "tables.partition.trial.KEPT_EVENTS": 1,
    # What is looked at before another way is taken.
    "app.runtime.scanning.scan.SOUGHT_NAMES": 0,
}


def _least(seed: int) -> dict[str, int]:
    if seed < FEW_FROM:
        return {}
    return LEAST if seed < ALL_FROM else {**LEAST, **LEAST_TOO}


def _modules_with(name: str) -> Iterator[ModuleType]:
    """Yield whoever knows a bound by its name: the module that has it, and those that import it."""
    home, _, bound = name.rpartition(".")
    value = vars(sys.modules[home])[bound]
    for module in list(sys.modules.values()):
        if module.__name__.split(".")[0] not in ("app", "tables", "agents"):
            continue
        if module.__name__ == home or (
            bound.isupper() and not bound.startswith("_") and vars(module).get(bound) == value
        ):
            yield module


@contextmanager
def few_are_many(seed: int) -> Iterator[list[str]]:
    """Set bounds of a seed to their least, and tell which."""
    chosen = list[str]()
    with ExitStack() as stack:
        for name, least in _least(seed).items():
            if random.Random(f"{name} {seed}").random() < 0.5:
                chosen.append(name)
                bound = name.rpartition(".")[2]
                for module in _modules_with(name):
                    stack.enter_context(patch.object(module, bound, least))
        yield chosen

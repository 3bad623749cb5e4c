"""Agents: what runs beside the engine, once in a worker or once for each partition it owns.

They may import all of `app.runtime` and `app.queries`; only `app.main` imports them.
"""

from __future__ import annotations

from typing import Final

from agents import (
    add_days,
    check_output,
    close,
    cool,
    flush,
    forward_ahead,
    probe,
    refold,
    renew,
    repair,
    sample_lag,
    tail_output,
    tick,
    verify_samples,
)
from app.runtime.engine import PartitionAgent, WorkerAgent

PARTITION_AGENTS: Final[tuple[PartitionAgent, ...]] = (
    lambda engine, owned: flush.flush(owned),
    lambda engine, owned: renew.renew(owned),
    lambda engine, owned: close.close(owned),
    lambda engine, owned: cool.cool(owned, lambda: len(engine.owned)),
    lambda engine, owned: repair.repair(owned),
    lambda engine, owned: refold.refold(owned, engine.scan, engine.refolder),
    lambda engine, owned: forward_ahead.forward_ahead(owned, engine.ahead),
)

WORKER_AGENTS: Final[tuple[WorkerAgent, ...]] = (
    tick.tick,
    sample_lag.sample_lag,
    verify_samples.verify_samples,
    check_output.check_output,
    add_days.add_days,
    lambda engine: tail_output.tail_output(engine.settings, engine.status),
    probe.probe,
)

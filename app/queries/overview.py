"""Show the figures of the live page."""

from __future__ import annotations

from importlib.metadata import version
from os import sysconf
from pathlib import Path
from typing import Final

from app.bounds.limits import NOT_COUNTED_KINDS
from app.bounds.turns import Steps, Work
from app.clock import SystemClock
from app.meter.overview import (
    LATELY_MS,
    ClosingView,
    DeadLetterView,
    Overview,
    OverviewQuery,
    PartitionView,
    RecordView,
    WorkerView,
)
from app.queries.usage_lines import UsageLines
from app.runtime.engine import Engine

_STARTED_MS: Final = SystemClock().now_ms()
"""When this program started: it loads its modules first."""
_STATM: Final = Path("/proc/self/statm")


class Overviews:
    """Looks at everything that this worker knows."""

    def __init__(self, engine: Engine):
        self._engine = engine
        self._lines = UsageLines(engine.shared.turns, engine.shared.tally)

    async def overview(self, query: OverviewQuery) -> Overview:
        """Return the live page's figures."""
        engine = self._engine
        engine.status.output_looked_at.set()
        views = [self._partition_view(n) for n in range(engine.settings.raw_partitions)]
        work = Work("page", "overview", query.organization_id or "")
        states = {number: owned.state for number, owned in engine.owned.items()}
        steps = self._lines.shown(states, query, engine.clock.now_ms())
        usage, total = await engine.shared.turns.run(work, steps)
        lately = await engine.shared.turns.run(work, self._lately(query.organization_id))
        return Overview(
            now_ms=engine.clock.now_ms(),
            worker=engine.url,
            partitions=tuple(views),
            closing=tuple(
                ClosingView(
                    partition=owned.number, cut_ms=cut_ms, blocked_by=reason, since_ms=since_ms
                )
                for owned in engine.owned.values()
                if owned.cuts.blocked is not None
                for cut_ms, reason, since_ms, _ in [owned.cuts.blocked]
            ),
            usage=tuple(usage),
            usage_total=total,
            health=tuple(engine.reasons()),
            records=tuple(r for r in reversed(engine.status.latest_records) if _sees(query, r)),
            set_aside=engine.definitions.set_asides.counts.total(),
            parked=engine.parked_subscriptions,
            about=self._about(),
            not_counted_lately=lately,
            not_counted_since_ms=max(
                (owned.state.not_counted.since_ms for owned in engine.owned.values()), default=-1
            ),
            dead_letters_more=self._has_more_letters(),
            dead_letters=tuple(d for d in reversed(engine.status.dead_letters) if _sees(query, d)),
        )

    def _has_more_letters(self) -> bool:
        """Return whether letters of the last hour may be missing among those that are kept."""
        return self._engine.status.letters_left_out_ms >= self._engine.clock.now_ms() - LATELY_MS

    def _about(self) -> WorkerView:
        verified = self._engine.status.verified
        return WorkerView(
            version=version("meterstream"),
            since_ms=_STARTED_MS,
            memory_bytes=_resident_bytes(),
            verified=verified.pairs,
            differing=verified.differing,
        )

    def _lately(self, organization_id: str | None) -> Steps[frozenset[tuple[str, str]] | None]:
        """Return the codes that were not counted in the last hour, by reason, up to a limit.

        Of all organizations together nobody looks, unless there is only one.
        """
        known = [organization_id] if organization_id else self._engine.definitions.organizations(2)
        if len(known) > 1:
            return None
        since_ms, found = self._engine.clock.now_ms() - LATELY_MS, set[tuple[str, str]]()
        for owned in list(self._engine.owned.values()) if known else ():
            for one in owned.state.not_counted.of(known[0]):
                if len(found) == NOT_COUNTED_KINDS:
                    break
                if one is not None and one.last_ms >= since_ms:
                    found.add((one.reason, one.code))
                yield
        return frozenset(found)

    def _partition_view(self, number: int) -> PartitionView:
        engine = self._engine
        owned = engine.owned.get(number)
        if owned is None:
            progress = engine.progress.of(number)
            return PartitionView(
                partition=number,
                state="restoring" if number in engine.restoring else "elsewhere",
                owner=None if progress is None else progress.url,
                offset=0 if progress is None else progress.raw_next,
                lag=None,
            )
        observed = engine.status.observed.get(number)
        checkpoint = owned.state.checkpoint
        return PartitionView(
            partition=number,
            state="refolding" if owned.refold_queue.since_ms is not None else "running",
            offset=checkpoint.raw_next,
            lag=0 if observed is None else observed.lag,
            rekeyed_lag=0 if observed is None else observed.rekeyed_lag,
            events_per_s=0.0 if observed is None else observed.events_per_s,
            append_time_ms=checkpoint.append_time_ms if checkpoint.append_time_ms >= 0 else None,
        )


def _resident_bytes() -> int | None:
    try:
        return int(_STATM.read_text().split()[1]) * sysconf("SC_PAGE_SIZE")
    except OSError:
        return None


def _sees(query: OverviewQuery, view: RecordView | DeadLetterView) -> bool:
    return query.organization_id is None or view.organization_id == query.organization_id

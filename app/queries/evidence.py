"""Show figures by the events behind them, which are read again for every answer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing, suppress

from msgspec.structs import replace

from app.bounds.turns import Steps, Work
from app.definitions.command import Command
from app.definitions.outcome import Rejected
from app.definitions.periods import Period
from app.definitions.sizes import oversized
from app.definitions.what_if import Branch, branch_with
from app.kafka.asked import asked
from app.kafka.transactions import Fenced
from app.meter.errors import Unavailable
from app.meter.evidence import (
    EventFate,
    ExplainQuery,
    Explanation,
    KnownEvent,
    PreviewReport,
    SeriesQuery,
    TopicsReport,
    UsageSeries,
    VerifyReport,
)
from app.meter.records import RecordPlace, RecordQuery
from app.queries.explain import explain
from app.queries.preview import Overtaken, preview_organization
from app.queries.records import Records
from app.queries.replay import Replay
from app.queries.routing import CHANGED_HANDS, Routing
from app.queries.series import usage_series
from app.queries.trace import entries_of, trace, verdicts
from app.queries.undisturbed import undisturbed
from app.queries.verify import verify_names, verify_organization
from app.runtime.engine import Engine
from app.runtime.partition.owned import OwnedPartition
from app.wire.arrivals import SubscriptionKey
from tables.reading.preview import PreviewScope

log = logging.getLogger(__name__)

ProveTopics = Callable[[str, str | None, Mapping[int, int]], Awaitable[TopicsReport]]
"""Compares what is published of an organization, or of one subscription, up to the last cuts."""

ALIVE_S = 5.0
"""Between two reports of a verification that has only to wait."""


class Evidence:
    """Hands out the places for scans, and says which partitions each of them reads."""

    def __init__(
        self, engine: Engine, routing: Routing, records: Records, prove_topics: ProveTopics
    ):
        self._engine, self._routing, self._records = engine, routing, records
        self._prove_topics = prove_topics

    async def explain(self, organization_id: str, query: ExplainQuery) -> Explanation | None:
        """Show how the figures of a metric in a period come about."""
        engine = self._engine
        external_id = query.external_subscription_id
        owned = self._routing.at_home(organization_id, external_id)
        async with engine.scans.place("explain", organization_id, external_id) as turn:
            replay = Replay(owned, engine.scan, turn)

            async def revisions(period: Period) -> Sequence[RecordPlace]:
                wanted = RecordQuery(
                    external_subscription_id=external_id,
                    metric_code=query.metric_code,
                    since=period.start_ms,
                    until=period.end_ms,
                    revisions=True,
                )
                return await self._records.revisions(owned, organization_id, wanted, turn)

            return await explain(replay, organization_id, query, revisions)

    async def trace(
        self, organization_id: str, transaction_id: str, external_subscription_id: str | None
    ) -> list[EventFate]:
        """Show what became of every arrival of an event id among those at home here."""
        engine = self._engine
        wanted: list[tuple[OwnedPartition, SubscriptionKey]] = []
        fates: list[EventFate] = []
        async with engine.scans.place(
            "trace", organization_id, external_subscription_id or ""
        ) as turn:
            parts = self._routing.asked(organization_id, external_subscription_id)
            for owned in parts:
                if external_subscription_id is not None:
                    wanted.append((owned, (organization_id, external_subscription_id)))
                    continue
                known = await turn.run(entries_of(owned, organization_id, transaction_id))
                wanted += [(owned, name) for _, name in known]
            for owned, name in wanted:
                async with asked():
                    starts = await engine.offsets.log_starts(owned.number)
                replay = Replay(owned, engine.scan, turn)
                fates += await trace(replay, name, transaction_id, starts)
        if external_subscription_id is None:
            self._routing.check_same(parts)
        return fates

    async def verdicts(
        self, organization_id: str, identities: Sequence[tuple[str, str]]
    ) -> list[KnownEvent | None]:
        """Say what became of events at home here; only their records are read."""
        by_partition: dict[OwnedPartition, list[int]] = {}
        for index, (external_id, _) in enumerate(identities):
            owned = self._routing.at_home(organization_id, external_id)
            by_partition.setdefault(owned, []).append(index)
        found: list[KnownEvent | None] = [None] * len(identities)
        # Each may lie in a record of a megabyte.
        async with self._engine.scans.place("verdicts", organization_id) as turn:
            for owned, indexes in by_partition.items():
                wanted = [
                    ((organization_id, external_id), transaction_id)
                    for external_id, transaction_id in (identities[index] for index in indexes)
                ]
                answers = await verdicts(owned, wanted, turn)
                for index, answer in zip(indexes, answers, strict=True):
                    found[index] = answer
        return found

    async def series(self, organization_id: str, query: SeriesQuery) -> UsageSeries:
        """Return the usage of a metric over time."""
        owned = self._routing.at_home(organization_id, query.external_subscription_id)
        meter_key = (organization_id, query.external_subscription_id, query.metric_code)
        async with self._engine.scans.place("series", *meter_key[:2]) as turn:
            replay = Replay(owned, self._engine.scan, turn)
            return await usage_series(replay, meter_key, query.windows, query.timezone)

    def verify(
        self,
        organization_id: str,
        external_subscription_id: str | None,
        repair: bool,
        figures_only: bool,
    ) -> AsyncGenerator[VerifyReport, None]:
        """Compare live cells to the raw topic: of one subscription, or all that are owned here."""
        self._engine.scans.check(organization_id)
        return self._verified(organization_id, external_subscription_id, repair, figures_only)

    async def _verified(
        self,
        organization_id: str,
        external_subscription_id: str | None,
        repair: bool,
        figures_only: bool,
    ) -> AsyncGenerator[VerifyReport, None]:
        engine = self._engine
        external_id = external_subscription_id
        async with engine.scans.place(
            "verify", organization_id, external_id or "", endless=True
        ) as turn:
            if external_id is None:
                parts = dict(engine.owned)
                reports = verify_organization(
                    parts,
                    engine.settings.raw_partitions,
                    organization_id,
                    engine.status.verified,
                    turn,
                    repair=repair,
                )
            else:
                owned = self._routing.at_home(organization_id, external_id)
                parts = {owned.number: owned}
                names = [(organization_id, external_id)]
                replay = Replay(owned, engine.scan, turn)
                reports = verify_names(replay, names, engine.status.verified, repair=repair)
            if not figures_only:
                reports = self._beside_topics(reports, organization_id, external_id, parts)
            try:
                async with aclosing(reports):
                    async for report in reports:
                        yield report
            except Fenced as error:
                # Another worker has it by now, or its members.
                raise Unavailable(CHANGED_HANDS) from error

    async def _beside_topics(
        self,
        reports: AsyncGenerator[VerifyReport, None],
        organization_id: str,
        external_id: str | None,
        parts: Mapping[int, OwnedPartition],
    ) -> AsyncGenerator[VerifyReport, None]:
        """Compare published topics at the same time; the last report says how."""
        cuts_ms = await _last_cuts(parts)
        proof = asyncio.ensure_future(self._prove_topics(organization_id, external_id, cuts_ms))
        try:
            async with aclosing(reports):
                async for report in reports:
                    if not report.done:
                        yield report
            while not (await asyncio.wait([proof], timeout=ALIVE_S))[0]:
                yield replace(report, done=False, differences=(), skipped=())
            found = proof.result()
            for difference in found.differences:
                log.error("Verification: record differs: %s", difference)
            yield replace(
                report,
                differences=report.differences + found.differences,
                topics=replace(found, differences=()),
            )
        finally:
            proof.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await proof

    async def preview(
        self, organization_id: str, changes: Sequence[Command], from_ms: int, to_ms: int
    ) -> AsyncGenerator[PreviewReport, None] | Rejected:
        """Compute what changes would make of the usage on the partitions owned here."""
        for refused in map(oversized, changes):
            if refused is not None:
                return refused
        engine, now_ms = self._engine, self._engine.clock.now_ms()

        def branched() -> Steps[Branch | Rejected]:
            known = engine.definitions
            return branch_with(known, organization_id, changes, from_ms, to_ms, now_ms)

        work = Work("request", "preview", organization_id)
        steps = undisturbed(engine.definitions, branched)
        branch = await engine.shared.turns.run(work, steps)
        if isinstance(branch, Rejected):
            return branch
        engine.scans.check(organization_id)
        return self._previewed(organization_id, branch, PreviewScope(from_ms, to_ms, now_ms))

    async def _previewed(
        self, organization_id: str, branch: Branch, scope: PreviewScope
    ) -> AsyncGenerator[PreviewReport, None]:
        engine = self._engine
        async with engine.scans.place("preview", organization_id, endless=True) as turn:
            reports = preview_organization(
                engine.owned,
                engine.settings.raw_partitions,
                organization_id,
                branch,
                scope,
                engine.scan,
                turn,
            )
            try:
                async with aclosing(reports):
                    async for report in reports:
                        yield report
            except Overtaken as error:
                raise Unavailable(str(error)) from error


async def _last_cuts(parts: Mapping[int, OwnedPartition]) -> dict[int, int]:
    """Return the last cut of each partition of which everything is published."""
    cuts_ms = {}
    for number, owned in parts.items():
        async with owned.work.shaping:
            cuts_ms[number] = owned.state.checkpoint.cut_ms
    return cuts_ms

"""The bugs: what is changed where, and what it breaks."""

from __future__ import annotations

from typing import NamedTuple


class Bug(NamedTuple):
    """One replacement in one file; `old` occurs there exactly once."""

    name: str
    file: str
    old: str
    new: str


BUGS = (
    Bug(
        "dedupe-removed",
        "tables/partition/intake.py",
        "known = latest.get(identity) or found",
        "known = None",
    ),
    Bug(
        "smaller-position-not-refolded",
        "tables/partition/partition.py",
        "folded.displaced |= self.event_ranges.meter_keys_of(name)",
        "pass",
    ),
    Bug(
        "too-late-counts",
        "tables/partition/intake.py",
        "return RefusalCode.TOO_LATE",
        "return None",
    ),
    Bug(
        "torn-state-unnoticed",
        "tables/partition/snapshot.py",
        "(self._loaded, self._loaded_hash % SUM_MODULUS) != (\n"
        "            checkpoint.cells,\n            checkpoint.cells_hash,\n        )",
        "False",
    ),
    Bug(
        "torn-presence-unnoticed",
        "tables/partition/snapshot.py",
        "checkpoint.presence_sum not in (None, tables.event_ranges.sum)",
        "False",
    ),
    Bug(
        "void-members-come-back",
        "tables/partition/route_table.py",
        "span.generation = self._generation()",
        "pass",
    ),
    Bug(
        "queued-refold-holds-no-cut-after-a-restart",
        "app/runtime/restore.py",
        "queue.want(refolding_keys(state), checkpoint.cut_ms)",
        "pass",
    ),
    Bug(
        "announced-cut-passed-over",
        "agents/close.py",
        "if cuts.schedule.next_ms() != cut_ms or _to_be_shaped(owned, cut_ms) is not None:",
        "if False:",
    ),
    Bug(
        "lost-usage-records-unnoticed",
        "app/runtime/restore.py",
        "checkpoint.output is not None"
        " and await output_stands(settings, number, checkpoint.output)",
        "checkpoint.output is not None",
    ),
    Bug(
        "usage-records-lost-under-the-worker-unnoticed",
        "app/runtime/commit.py",
        "0 <= offset < known[0] + len(published)",
        "False",
    ),
    Bug(
        "correction-known-before-its-time",
        "tables/partition/corrected.py",
        "shown = stored.applied if horizon_ms is None else at_ms <= horizon_ms",
        "shown = True",
    ),
    Bug(
        "history-of-open-periods",
        "app/definitions/model.py",
        " and due_at_ms < self.append_time_ms",
        "",
    ),
    Bug(
        "history-half-done-taken-for-done",
        "tables/partition/standing.py",
        "        if not refolds:\n            self._checkpoint.history_ms",
        "        if True:\n            self._checkpoint.history_ms",
    ),
    Bug(
        "cells-of-other-keys-confused",
        "tables/routing/period_charges.py",
        "return charge_id, filter_id, groups, keys",
        "return charge_id, filter_id, groups",
    ),
    Bug(
        "amended-event-in-an-earlier-cut",
        "tables/fold.py",
        "since_ms = max(append_time_ms, corrected_ms)",
        "since_ms = append_time_ms",
    ),
    Bug(
        "period-edge-closed",
        "tables/cells/cell.py",
        "        layer = self.current\n"
        "        if layer is not None and layer.start_ms <= timestamp_ms < layer.end_ms:",
        "        layer = self.current\n"
        "        if layer is not None and layer.start_ms <= timestamp_ms <= layer.end_ms:",
    ),
    Bug(
        "cut-a-millisecond-late",
        "tables/fold.py",
        "if append_time_ms > layer.due_at_ms or",
        "if append_time_ms > layer.due_at_ms + 1 or",
    ),
    Bug(
        "recurring-carry-ignored",
        "tables/cells/cell.py",
        "elif start_ms < period.start_ms and recurring:",
        "elif start_ms < period.start_ms and recurring and False:",
    ),
    Bug(
        "later-cuts-shown",
        "tables/cells/cell.py",
        "            if late_ms <= cut_ms:\n                aggregation.merge(total, state)",
        "            aggregation.merge(total, state)",
    ),
    Bug(
        "settled-state-lost",
        "tables/cells/cell.py",
        "aggregation.merge(self.state, self.late.pop(late_ms))",
        "self.late.pop(late_ms)",
    ),
    Bug(
        "float-fold",
        "tables/sum.py",
        "state.total = add(state.total, value)",
        "state.total = Decimal(float(state.total) + float(value))",
    ),
    Bug(
        "clamp-before-carry",
        "tables/sum.py",
        "add(full, before.total), events + before.events",
        "add(full, max(before.total, ZERO)), events + before.events",
    ),
    Bug(
        "last-day-not-prorated",
        "tables/sum.py",
        "Fraction(state.total) * (last_day + 1)",
        "Fraction(state.total) * last_day",
    ),
    Bug(
        "latest-ties-by-arrival",
        "tables/latest.py",
        "if (timestamp_ms, position) > (state.timestamp_ms, state.position):",
        "if timestamp_ms >= state.timestamp_ms:",
    ),
    Bug(
        "maximum-merges-the-lesser",
        "tables/maximum.py",
        "other.greatest > state.greatest",
        "other.greatest < state.greatest",
    ),
    Bug(
        "level-starts-at-zero",
        "tables/weighted_sum.py",
        "initial = ZERO if before is None else before.change",
        "initial = ZERO",
    ),
    Bug(
        "spell-begun-twice",
        "tables/unique_count.py",
        "opens, closes = adds and not was,",
        "opens, closes = adds,",
    ),
    Bug(
        "unique-ignores-cuts",
        "tables/unique_count.py",
        "group = [o for o in member[first:after] if o.cut_ms <= cut_ms]",
        "group = list(member[first:after])",
    ),
    Bug(
        "digest-dropped",
        "tables/changelogged/published.py",
        "self.digest == other.digest\n            and ",
        "",
    ),
    Bug(
        "revision-not-advanced",
        "tables/closing/period_at_cut.py",
        "revision = 0 if published is None else published.revision + 1",
        "revision = 0 if published is None else max(1, published.revision)",
    ),
    Bug(
        "completion-counts-this-cut-only",
        "tables/closing/period_at_cut.py",
        "completion_record(envelope, revision, len(now.cells), now.digest)",
        "completion_record(envelope, revision, len(records), now.digest)",
    ),
    Bug(
        "no-closing-zero",
        "tables/closing/period_at_cut.py",
        'if cell.units != "0.0"}',
        "if False}",
    ),
    Bug(
        "due-times-taken-to-ascend",
        "tables/closing/close.py",
        "earliest_ms = min(earliest_ms, period.due_at_ms)",
        "continue",
    ),
    Bug(
        "refold-without-index",
        "tables/partition/refold.py",
        "if entry is None or entry[1:5] != arrival.place:",
        "if entry is None:",
    ),
    Bug(
        "refold-starts-too-late",
        "tables/changelogged/presence.py",
        "return min(raw, default=None), min(rekeyed, default=None)",
        "return max(raw, default=None), max(rekeyed, default=None)",
    ),
    Bug(
        "recreated-metric-counts-all",
        "tables/fold.py",
        "if append_time_ms <= counts_after_ms:",
        "if append_time_ms <= 0:",
    ),
    Bug(
        "filter-with-fewest-keys",
        "tables/charge.py",
        "(-len(b.conditions), sum(",
        "(len(b.conditions), sum(",
    ),
    Bug(
        "grace-ignored",
        "app/definitions/timeline.py",
        "max(end_ms, created_ms) + (terms.grace_ms if has_grace else 0)",
        "max(end_ms, created_ms)",
    ),
    Bug(
        "termination-without-grace",
        "app/definitions/timeline.py",
        "has_grace = not ended or terms.fold_version > 1",
        "has_grace = not ended",
    ),
    Bug(
        "skipped-end-published",
        "app/definitions/timeline.py",
        'subscription.on_termination_invoice == "skip"',
        "False",
    ),
    Bug(
        "later-subscription-shares-a-skipped-period",
        "app/definitions/skipped_ends.py",
        "changed.append(superseded)",
        "pass",
    ),
    Bug(
        "late-event-of-a-balance-refused",
        "tables/partition/intake.py",
        "if metric is None or metric.recurring:",
        "if metric is None:",
    ),
    Bug(
        "closed-period-shows-a-late-balance",
        "tables/closing/period_at_cut.py",
        "return None if cut_ms > last_ms or merged else open_until_ms",
        "return cut_ms",
    ),
    Bug(
        "last-cut-shows-what-came-after-the-window",
        "tables/cells/cell.py",
        "cut_ms = min(cut_ms, period.carries_until_ms)",
        "pass",
    ),
    Bug(
        "correction-leaves-a-late-balance-out",
        "tables/closing/period_at_cut.py",
        "or self._is_recounted(period_charge)",
        "or False",
    ),
    Bug(
        "termination-instant-counts",
        "app/definitions/timeline.py",
        "end_ms = natural_end_ms if ended_ms is None else ended_ms",
        "end_ms = natural_end_ms if ended_ms is None else ended_ms + 1",
    ),
    Bug(
        "days-on-the-utc-clock",
        "app/billing_periods/day_count.py",
        "(to_ms - from_ms - clock_change_ms)",
        "(to_ms - from_ms)",
    ),
    Bug(
        "wrong-partitioner",
        "app/wire/keys.py",
        "return zlib.crc32(key) % partitions",
        "return zlib.adler32(key) % partitions",
    ),
    Bug(
        "rest-of-array-skipped",
        "app/runtime/portion.py",
        "position[2:] > marks.get(position[1], (-1, -1))",
        "position[2] > marks.get(position[1], (-1, -1))[0]",
    ),
    Bug(
        "portion-passes-over-what-it-left",
        "app/runtime/portion.py",
        "append_time_ms, next_offset\n                if events",
        "append_time_ms, batch.next\n                if events",
    ),
    Bug(
        "cut-before-other-partitions",
        "agents/close.py",
        "if progress.append_time_ms(partition) <= cut_ms:",
        "if progress.append_time_ms(partition) < -1:",
    ),
    Bug(
        "half-taken-period-never-completed",
        "tables/closing/period_at_cut.py",
        "completes = revision == 0 or self.before.is_half_taken(self.cut_ms)",
        "completes = revision == 0",
    ),
    Bug(
        "cuts-do-not-wait-for-definitions",
        "agents/close.py",
        "if behind_ms is not None and (behind_ms <= cut_ms or",
        "if behind_ms is not None and (behind_ms < 0 or",
    ),
    Bug(
        "packed-cells-under-definitions-not-looked-at",
        "tables/partition/packing.py",
        "until_ms, history_ms = self._standing.of(meter_key[:2])",
        "until_ms, history_ms = None, self._standing.of(meter_key[:2])[1]",
    ),
    Bug(
        "cut-during-refold",
        "agents/close.py",
        "if since_ms is not None and since_ms <= cut_ms:",
        "if since_ms is not None and since_ms < 0:",
    ),
    Bug(
        "committed-before-the-rest",
        "app/runtime/commit.py",
        "await self.producer.commit(*self._output_noted(unsent))",
        "self._output_noted(unsent)\n"
        "            await self.producer.commit(unsent.records[-1:])\n"
        "            await self.producer.commit(unsent.records[:-1])",
    ),
    Bug(
        "flush-sent-again-though-committed",
        "app/runtime/commit.py",
        "            return True\n        if found != self._durable:",
        "        elif found != self._durable:",
    ),
    Bug(
        "flush-not-sent-again-though-aborted",
        "app/runtime/commit.py",
        "if newest is not None and found in unsent.tried:",
        "if newest is not None and found in (*unsent.tried, self._durable):",
    ),
    Bug(
        "dead-letters-lost",
        "app/runtime/owned.py",
        "self.verdicts.refuse_arrivals(result.refused)",
        "self.verdicts.refuse_arrivals(result.refused[1:])",
    ),
    Bug(
        "wrong-members-not-verified",
        "tables/reading/member_sets.py",
        "self.expected.keys() | kept.keys()",
        "at_hand.keys()",
    ),
    Bug(
        "refolded-members-stay-in-the-store",
        "tables/partition/route_table.py",
        "gone += span.all_sets().values()",
        "gone += span.sets.values()",
    ),
    Bug(
        "redis-declared-whole",
        "app/runtime/restore.py",
        "await fill(store, number, checkpoint.epoch, checkpoint.flush, members)",
        "await fill(store, number, checkpoint.epoch, checkpoint.flush, {})",
    ),
    Bug(
        "gap-before-a-batch-unnoticed",
        "agents/ingest.py",
        "if batch.start > next_offset:",
        "if batch.start > next_offset + 1_000:",
    ),
    Bug(
        "corrections-out-of-reach",
        "tables/changelogged/presence.py",
        "self.appended_ms = max(self.appended_ms, append_time_ms)",
        "self.appended_ms = max(self.appended_ms, -1)",
    ),
    Bug(
        "epochs-begin-again",
        "app/runtime/restore.py",
        "unknown = Checkpoint(epoch=told_epoch)",
        "unknown = Checkpoint()",
    ),
    Bug(
        "lost-while-filled-taken-for-whole",
        "app/redis/members.py",
        "self._expected[number] = {mark}",
        "self._expected[number] = {mark, None}",
    ),
    Bug(
        "gone-back-within-a-fill-taken-for-whole",
        "app/redis/members.py",
        "mark -= 1",
        "mark -= 0",
    ),
    Bug(
        "rebuilt-at-the-flush-of-the-torn-state",
        "app/runtime/rebuild.py",
        "max(known.flush, stored.flush or 0) + 1",
        "max(known.flush, stored.flush or 0)",
    ),
    Bug(
        "zeros-for-former-group-keys",
        "tables/closing/period_at_cut.py",
        "if now == (self._charges_earlier.keys_of(name) if groups else ()):",
        "if not groups or now == self._charges_earlier.keys_of(name):",
    ),
    Bug(
        "groups-by-what-an-expression-replaced",
        "tables/charge.py",
        "if self._overwrites is not None:",
        "if self._overwrites is not None and self.metric.recurring:",
    ),
    Bug(
        "amended-member-not-looked-up",
        "tables/partition/partition.py",
        "for stored in self.corrections.history(arrival.identity):",
        "for stored in ():",
    ),
    Bug(
        "period-in-grace-decides-how-another-is-revised",
        "tables/cells/cell.py",
        "own is not None and own.due_at_ms < at_ms",
        "own is not None",
    ),
    Bug(
        "every-cut-is-one-of-the-period",
        "tables/closing/period_at_cut.py",
        "or cut_ms % period.revise_every_ms == 0",
        "or True",
    ),
    Bug(
        "compressed-bodies-taken",
        "app/api/server.py",
        "        require_plain(request)\n",
        "",
    ),
    Bug(
        "values-of-a-body-not-counted",
        "app/api/bodies.py",
        "if holds_more_than(body, BODY_VALUES):",
        "if False:",
    ),
    Bug(
        "a-body-is-waited-for-without-end",
        "app/api/bodies.py",
        "async with asyncio.timeout(seconds):",
        "async with asyncio.timeout(None):",
    ),
    Bug(
        "one-organization-has-all-memory",
        "app/api/admission.py",
        "            and taken.fits(memory, _SHARE)\n",
        "",
    ),
    Bug(
        "no-turns-between-organizations",
        "app/api/admission.py",
        "self._queues[organization] = self._queues.pop(organization)",
        "pass",
    ),
    Bug(
        "idle-connections-keep-their-place",
        "app/api/connections.py",
        "and not self._end_longest_idle()",
        "and True",
    ),
    Bug(
        "a-head-is-waited-for-without-end",
        "app/api/connections.py",
        "now_s - self._head_since_s > HEAD_S",
        "False",
    ),
    Bug(
        "who-takes-nothing-is-kept",
        "app/api/connections.py",
        "if now_s - self._taken_s > UNTAKEN_S:",
        "if False:",
    ),
    Bug(
        "reads-outlive-their-client",
        "app/api/server.py",
        "handler_cancellation=True",
        "handler_cancellation=False",
    ),
    Bug(
        "writes-end-with-their-client",
        "app/api/server.py",
        "if endpoint.ends_with_client:",
        "if True:",
    ),
    Bug(
        "any-name-is-answered",
        "app/api/hosts.py",
        "if not is_loopback(host) and host not in others:",
        "if False:",
    ),
    Bug(
        "limits-learnt-late-not-refolded",
        "tables/routing/route.py",
        "min(span.fold.limited_after_ms, appended_ms) if span.fold.limited else 0,",
        "0,",
    ),
    Bug(
        "long-members-counted",
        "tables/values.py",
        'return Ignored("value_too_long")',
        "pass",
    ),
    Bug(
        "undefined-names-not-looked-for",
        "tables/partition/redefinition.py",
        "return searched_ms <= definitions.named_since_ms(*name) < NEVER_MS",
        "return False",
    ),
    Bug(
        "set-aside-not-foreseen",
        "app/offline/fold.py",
        "self.definitions.set_asides.foresee(named_in(line.value for _, line in defined))",
        "pass",
    ),
    Bug(
        "set-aside-folded-by-who-takes-over",
        "app/runtime/restore.py",
        "end = await shared.followed.caught_up()\n    cells",
        "end = shared.definitions.offset\n    cells",
    ),
    Bug(
        "default-bucket-projected",
        "app/meter/projection.py",
        "if in_force.charge.filters and row.filter_id is None:",
        "if False:",
    ),
    Bug(
        "set-aside-folded-where-it-was-forwarded",
        "app/runtime/portion.py",
        "if aside is None or not aside.holds_element(offset, index):",
        "if aside is None or offset >= 0:",
    ),
    Bug(
        "set-aside-counted-by-refolds",
        "app/runtime/scan.py",
        "if aside is not None and aside.holds_element(raw_offset, index):",
        "if False:",
    ),
    Bug(
        "silent-brokers-void-a-flush",
        "app/runtime/ownership.py",
        "if late and owned.is_between_flushes() and not owned.waits_for_definitions:",
        "if False:",
    ),
    Bug(
        "trust-of-today",
        "app/definitions/judging.py",
        "if append_time_ms > belief.after_ms:",
        "if True:",
    ),
    Bug(
        "grant-not-waited-for",
        "app/definitions/judging.py",
        "if granted is not None and granted >= self.next_grant:",
        "if False:",
    ),
    Bug(
        "organization-moves-no-downgrade",
        "app/definitions/organizations.py",
        "yield subscription if follows else None",
        "yield None",
    ),
    Bug(
        "timezone-of-organizations-in-force-at-once",
        "app/definitions/terms.py",
        "organization = organizations.at(at_ms)",
        "organization = organizations.at()",
    ),
    Bug(
        "webhook-url-twice",
        "app/definitions/webhook_endpoints.py",
        "other.webhook_url == value and other.id != endpoint.id",
        "False",
    ),
    Bug(
        "unsealed-progress-believed",
        "app/runtime/progress.py",
        "hmac.compare_digest(seal.encode(), self._of(progress).encode())",
        "True",
    ),
)

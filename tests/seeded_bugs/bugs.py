"""The bugs: what is changed where, and what it breaks.

It has over 500 lines: a list.
"""

from __future__ import annotations

from typing import NamedTuple


class Bug(NamedTuple):
    """One replacement in one file; `old` occurs there exactly once."""

    name: str
    file: str
    old: str
    new: str
    guard: str
    """The test that has to fail with it."""


BUGS = (
    Bug(
        "those-that-fail-have-all-requests",
        "app/webhooks/outbox.py",
        "async with self._doubtful if self._is_doubtful else nullcontext():",
        "async with nullcontext():",
        "tests/app/webhooks/test_outboxes.py"
        "::test_endpoints_that_fail_leave_half_of_the_requests_to_others",
    ),
    Bug(
        "what-nobody-has-seen-is-read",
        "app/webhooks/process.py",
        "        self._metrics.unread.lose(READING)\n        try:",
        "        try:",
        "tests/app/webhooks/test_standstill.py"
        "::test_before_a_broker_has_answered_nobody_knows_what_is_unread",
    ),
    Bug(
        "a-metric-that-is-deleted-has-nothing-to-show",
        "app/api/usage/explain.py",
        "if not shows and call.meter.definitions.metric(call.organization_id, code) is None:",
        "if False:",
        "tests/app/api/usage/test_explain.py"
        "::test_a_metric_that_never_was_has_no_figures_that_are_equal",
    ),
    Bug(
        "an-update-of-a-plan-in-use-turns-its-charges",
        "app/definitions/plan_terms.py",
        'keeps_charges = in_use and command.payload.get("keeps_charges") is True',
        "keeps_charges = False",
        "tests/semantics/test_plan_charges.py"
        "::test_an_update_of_the_plan_leaves_how_charges_are_billed",
    ),
    Bug(
        "a-bucket-without-events-was-corrected-with-another",
        "tables/closing/reasons.py",
        "if closing.figures.digest == 0 and closing.cell.name[2]:",
        "if closing.figures.digest == 0:",
        "tests/semantics/test_plan_charges.py"
        "::test_a_bucket_is_not_corrected_by_what_was_corrected_in_another",
    ),
    Bug(
        "what-was-billed-event-by-event-is-listed-again",
        "app/definitions/per_event.py",
        "if charge.pay_in_advance and allowed.in_advance and not metric.recurring:",
        "if False:",
        "tests/tables/reading/test_single_events.py"
        "::test_what_was_billed_event_by_event_has_no_lists",
    ),
    Bug(
        "nobody-waits-for-the-grace-of-an-organization",
        "app/definitions/terms.py",
        "graces_s.append((said.grace_days or 0) * _DAY_S)",
        "pass",
        "tests/laws/test_many_of_one_id.py::test_whoever_has_the_longest_grace_is_waited_for",
    ),
    Bug(
        "a-move-hours-after-a-period-makes-one-of-hours",
        "app/definitions/periods.py",
        "if wished_ms is None and (previous is None or previous.timezone == grid.timezone):",
        "if wished_ms is None:",
        "tests/app/definitions/test_timeline.py"
        "::test_a_move_hours_after_a_period_was_fixed_makes_no_period_of_hours",
    ),
    Bug(
        "periods-of-terms-that-differ-from-the-first-on-are-kept",
        "app/definitions/timeline.py",
        "if ours != theirs), alike)",
        "if ours == theirs), alike)",
        "tests/app/definitions/test_timeline.py"
        "::test_under_terms_that_differ_from_the_first_on_nothing_is_kept",
    ),
    Bug(
        "one-that-waits-begins-where-it-ends",
        "app/definitions/subscriptions.py",
        "if (one := versions.at()) is not None and one.id != subscription.id",
        "if (one := versions.at()) is not None",
        "tests/app/definitions/test_subscriptions.py"
        "::test_one_with_an_end_to_come_begins_when_it_is_told_to_begin_earlier",
    ),
    Bug(
        "a-letter-refused-again-says-not-of-which",
        "app/runtime/partition/verdicts.py",
        "if isinstance(arrival, ReplayedArrival):",
        "if False:",
        "tests/app/runtime/partition/test_duplicates.py"
        "::test_a_letter_that_is_refused_again_says_of_which_it_was_made",
    ),
    Bug(
        "revisions-that-meet-seldom-are-taken",
        "app/cli/settings_apply.py",
        "lcm(*known_s, wanted_s) <= at_most_s",
        "max(0, *known_s, wanted_s) <= at_most_s",
        "tests/app/cli/test_settings_apply.py::test_revisions_that_meet_seldom_are_refused",
    ),
    Bug(
        "late-cuts-are-settled-where-not-all-revisions-meet",
        "tables/partition/cuts.py",
        "(grids_ms, lcm(*grids_ms))",
        "(grids_ms, max(grids_ms))",
        "tests/rules/test_between_revisions.py"
        "::test_cuts_are_settled_where_revisions_of_all_grids_meet",
    ),
    Bug(
        "a-year-is-milliseconds",
        "app/cli/fold.py",
        "if is_number and at_ms < LEAST_MS:",
        "if False:",
        "tests/app/cli/test_fold.py::test_a_number_that_is_small_is_no_time",
    ),
    Bug(
        "all-that-is-at-hand-stays",
        "app/bounds/at_hand.py",
        "        at_hand.clear()\n",
        "        pass\n",
        "tests/app/bounds/test_at_hand.py::test_where_as_many_are_at_hand_all_of_them_go",
    ),
    Bug(
        "who-restores-is-not-waited-for",
        "app/cli/every_worker.py",
        "if again_s is None or monotonic() + again_s > until_s:",
        "if True:",
        "tests/app/cli/test_every_worker.py"
        "::test_a_worker_that_takes_partitions_over_is_waited_for",
    ),
    Bug(
        "a-line-for-each-that-waits",
        "app/runtime/ownership.py",
        "waits(error)",
        'log.warning("Partition %s waits for brokers: %r", brought.number, error)',
        "tests/app/runtime/test_ownership.py::test_hundreds_that_wait_for_a_leader_are_one_line",
    ),
    Bug(
        "import-tells-no-progress",
        "app/cli/import_logs.py",
        "        advance(1)\n",
        "",
        "tests/live/test_import.py::test_a_total_loss_is_restored",
    ),
    Bug(
        "implicit-plan-not-told",
        "app/cli/usage.py",
        "if defined is None and not past:",
        "if False:",
        "tests/app/cli/test_asking.py::test_an_undefined_subscription_is_its_own_customer",
    ),
    Bug(
        "webhook-reason-without-words",
        "app/webhooks/sender.py",
        "return reason_of(error)",
        "return type(error).__name__",
        "tests/app/webhooks/test_process.py::test_what_is_given_up_says_why_in_words",
    ),
    Bug(
        "late-fold-holds-back-all",
        "app/runtime/partition/ahead.py",
        "looks = looks + 1 if _is_waited_for(going) else 0",
        "looks = 0",
        "tests/simulation/test_ahead.py::test_a_fold_that_is_late_holds_back_no_other_partition",
    ),
    Bug(
        "restored-log-that-nobody-passes-on",
        "agents/tick.py",
        "for number in self._worker.coming:",
        "for number in ():",
        "tests/simulation/test_ahead.py::test_a_partition_that_is_restored_holds_back_no_other",
    ),
    Bug(
        "read-ahead-without-care",
        "app/runtime/partition/ahead.py",
        "if records and going.wants_care(tp, going.forwarded[0]):",
        "if False:",
        "tests/simulation/test_ahead.py::test_what_may_end_the_process_is_not_read_ahead",
    ),
    Bug(
        "told-before-it-is-acknowledged",
        "app/runtime/partition/ahead.py",
        "await going.forwards.settle(going.forwards.count)",
        "await asyncio.sleep(0)",
        "tests/app/runtime/partition/test_ahead.py"
        "::test_progress_is_told_once_all_of_it_is_acknowledged",
    ),
    Bug(
        "flush-takes-back-what-was-forwarded",
        "app/runtime/reports.py",
        "= self._told.of(progress.partition) or progress",
        "= progress",
        "tests/app/runtime/test_progress.py"
        "::test_a_flush_takes_back_nothing_that_was_forwarded_ahead_of_it",
    ),
    Bug(
        "event-dated-ahead-in-a-day-before",
        "tables/cells/days.py",
        "day = day_holding(max(timestamp_ms, append_time_ms - longest_ms, 0), timezone)",
        "day = day_holding(append_time_ms - longest_ms, timezone)",
        "tests/laws/test_days.py::test_a_day_shows_what_is_known_and_dated_before_its_end",
    ),
    Bug(
        "corrected-day-forgotten-at-a-restart",
        "tables/changelogged/daily.py",
        "            self._touched[_decode_name(name)] = _decode_cuts(value)",
        "            pass",
        "tests/laws/test_days.py::test_a_definition_shows_at_the_end_of_its_day_after_a_restart",
    ),
    Bug(
        "day-of-what-was-defined-since-the-last-cut-lost-with-its-changelog",
        "app/runtime/topics/daily_topic.py",
        "if offset < told_from and definitions",
        "if offset < 0 and definitions",
        "tests/simulation/test_daily.py"
        "::test_a_torn_changelog_takes_no_day_from_what_was_defined_since_the_last_cut",
    ),
    Bug(
        "letter-refused-again-replayed-beside-the-first",
        "app/queries/letters.py",
        "if letter is not None and query.to_replay and not _is_to_replay(",
        "if letter is not None and False and not _is_to_replay(",
        "tests/app/queries/test_letters.py"
        "::test_one_refused_again_is_left_out_while_the_first_is_there",
    ),
    Bug(
        "client-of-one-restored-while-a-rebalance-begins-kept",
        "app/runtime/restoring/restorer.py",
        "            await owned.give_up()",
        "            pass",
        "tests/app/runtime/restoring/test_restorer.py"
        "::test_one_that_a_rebalance_finds_restored_and_nobodys_is_given_up",
    ),
    Bug(
        "day-read-again-under-what-is-defined-later",
        "app/runtime/topics/daily_topic.py",
        "record.period_in(definitions, cut_ms)",
        "record.period_in(definitions)",
        "tests/app/runtime/topics/test_daily_topic.py"
        "::test_a_record_is_read_again_of_a_period_that_a_later_timezone_begins_elsewhere",
    ),
    Bug(
        "last-day-over-with-its-period",
        "tables/cells/days.py",
        "list(self._timeline.within(at_ms - shown_within_ms(self._grids), at_ms))",
        "list(self._timeline.within(at_ms, at_ms))",
        "tests/semantics/test_daily.py"
        "::test_a_correction_after_a_planned_end_shows_in_the_last_day",
    ),
    Bug(
        "repeated-day-keeps-what-it-cannot-tell",
        "tables/closing/daily.py",
        "                if at_day.holds_back:",
        "                if False:",
        "tests/semantics/test_daily.py::test_what_a_repeated_day_cannot_tell_shows_in_the_next_day",
    ),
    Bug(
        "day-told-again-as-a-whole",
        "tables/closing/daily.py",
        "delta = plain(EXACT.subtract(figures.units, before))",
        "delta = units",
        "tests/semantics/test_daily.py::test_what_comes_late_shows_in_the_next_day",
    ),
    Bug(
        "late-pair-known-too-early",
        "tables/cells/breakdown.py",
        "append_time_of(cell.first) <= cut_ms",
        "cell.first != b''",
        "tests/rules/test_groups.py::test_a_row_that_comes_after_a_cut_makes_none_too_many_at_it",
    ),
    Bug(
        "row-that-moved-not-told",
        "tables/closing/beside.py",
        "presentation_breakdowns=self.rows(filter_id, groups),",
        'presentation_breakdowns="[]",',
        "tests/laws/test_cuts.py::test_published_at_a_cut_is_the_fold_of_the_prefix",
    ),
    Bug(
        "entries-in-order-of-arrival",
        "tables/entries.py",
        "insort(state.entries, ListedEntry(timestamp_ms, position, value))",
        "state.entries.append(ListedEntry(timestamp_ms, position, value))",
        "tests/semantics/test_single_events.py"
        "::test_the_first_events_are_enough_for_a_short_running_total",
    ),
    Bug(
        "too-many-operations-of-a-period-make-an-empty-list",
        "tables/cells/entries.py",
        "whole=own.whole and history.whole,",
        "whole=history.whole,",
        "tests/semantics/test_single_events.py"
        "::test_a_prorated_list_is_null_where_its_period_or_its_history_has_too_many",
    ),
    Bug(
        "share-below-zero-of-version-1-bills-nothing-when-packed",
        "tables/closing/packed_period.py",
        "if fold.charge.prorated and period.fold_version > 1:",
        "if fold.charge.prorated:",
        "tests/laws/test_packed_period.py::test_a_share_below_zero_bills_nothing",
    ),
    Bug(
        "day-takes-back-what-no-filter-had",
        "tables/closing/daily.py",
        "None if cell.bucket is None else cell.bucket.id,",
        "None,",
        "tests/semantics/test_daily.py::test_a_charge_that_is_gone_takes_its_units_back",
    ),
    Bug(
        "past-usage-without-precise-amounts",
        "tables/reading/usage.py",
        "precise_total_amount_cents=None if precise is None else Decimal(precise),",
        "precise_total_amount_cents=None,",
        "tests/laws/test_past_rows.py::test_they_are_those_of_the_newest_record",
    ),
    Bug(
        "amended-into-a-code-not-read-from-where-it-came",
        "tables/partition/corrected.py",
        "self._event_ranges.extend_to(name, event.code)",
        "pass",
        "tests/tables/partition/test_corrected.py"
        "::test_what_is_amended_into_a_code_is_read_where_it_came_with_another",
    ),
    Bug(
        "decided-event-waits-again-after-a-restart",
        "tables/changelogged/instants.py",
        "changes.append((_event_key(name, position), _encode(waiting.pop(position)), None))",
        "waiting.pop(position)",
        "tests/tables/changelogged/test_instants.py::test_an_event_that_is_decided_leaves_no_row",
    ),
    Bug(
        "instant-without-its-precise-amount",
        "tables/closing/instant_records.py",
        "None if precise is None else plain(precise),",
        "None,",
        "tests/semantics/test_instants.py"
        "::test_an_event_tells_what_it_is_presented_by_and_its_precise_amount",
    ),
    Bug(
        "precise-amount-of-what-comes-late-is-lost",
        "tables/aggregation.py",
        "state.precise = add_precise(state.precise, other.precise)",
        "pass",
        "tests/semantics/test_aggregations.py::test_the_precise_amount_of_what_comes_late_is_added",
    ),
    Bug(
        "rows-of-filters-are-not-merged",
        "tables/reading/regrouped_rows.py",
        "{None: None} | {charge_filter.id: charge_filter for charge_filter in charge.filters}",
        "{None: None}",
        "tests/semantics/test_presentation.py"
        "::test_rows_of_a_filter_stay_its_own_where_its_groups_are_merged",
    ),
    Bug(
        "state-that-lacks-corrections-is-whole",
        "tables/partition/snapshot.py",
        "not corrections.outdated and checkpoint.corrections_sum in (None, corrections.sum)",
        "not corrections.outdated",
        "tests/tables/partition/test_announcing.py"
        "::test_a_state_without_a_row_that_its_checkpoint_knows_of_is_not_whole",
    ),
    Bug(
        "rows-of-what-version-1-published",
        "tables/closing/presented.py",
        " if c.charge.presents and period.fold_version > 1]",
        " if c.charge.presents]",
        "tests/semantics/test_presentation.py::test_under_fold_version_1_nothing_is_presented",
    ),
    Bug(
        "removal-of-the-same-day-listed",
        "tables/per_event.py",
        "elif day == last_added_day:",
        "elif False:",
        "tests/conformance/test_vectors.py::test_vector",
    ),
    Bug(
        "billed-below-the-peak",
        "tables/instants/chain.py",
        "units = _subtract(current, chain.peak)",
        "units = part",
        "tests/semantics/test_instants.py::test_each_event_bills_what_rises_above_the_peak",
    ),
    Bug(
        "figure-not-taken-out",
        "tables/closing/instants.py",
        "changes = {f.cell_id: self._taken_out(f, at) for f in known.values() if f.counts}",
        "pass",
        "tests/semantics/test_instants.py::test_a_cancel_takes_its_event_out",
    ),
    Bug(
        "straight-and-not-billed-at-once",
        "tables/partition/partition.py",
        "folded.billed_at_once += run",
        "pass",
        "tests/laws/test_billed_at_once.py"
        "::test_events_that_are_billed_when_they_come_go_straight[spent]",
    ),
    Bug(
        "straight-and-billed-when-something-else-comes",
        "app/runtime/partition/owned.py",
        "            self.cuts.reschedule(self.state.cuts.take_late_names())\n            await",
        "            await",
        "tests/app/runtime/partition/test_straight.py"
        "::test_the_cut_of_what_goes_straight_and_is_billed_at_once_is_looked_for",
    ),
    Bug(
        "late-and-billed-at-once-by-the-first-charge-alone",
        "tables/routing/route.py",
        "return any(each.layer.span.fold.bills_at_once for each in (self, *self.beside))",
        "return self.layer.span.fold.bills_at_once",
        "tests/laws/test_billed_at_once.py"
        "::test_late_events_of_two_charges_are_billed_at_once_by_either",
    ),
    Bug(
        "earlier-copy-billed-at-once-as-the-later",
        "tables/partition/earlier_copies.py",
        "fold.bills_at_once\n            or fold.whole_members",
        "fold.whole_members",
        "tests/laws/test_copies.py"
        "::test_copies_told_by_their_rows_count_as_those_looked_at[plain-spent]",
    ),
    Bug(
        "chain-of-another-group",
        "tables/closing/instants.py",
        "key = (span, start_ms, filter_id, groups)",
        "key = (span, start_ms, filter_id, ())",
        "tests/semantics/test_instants.py::test_each_group_has_a_peak_of_its_own",
    ),
    Bug(
        "chain-as-it-was-at-first",
        "tables/closing/instants.py",
        "keep(self._chains, identity, now, CELLS_AT_HAND)",
        "self._chains.setdefault(identity, now)",
        "tests/semantics/test_instants.py::test_each_group_has_a_peak_of_its_own",
    ),
    Bug(
        "taken-out-under-the-names-of-today",
        "tables/closing/instant_records.py",
        "if change.span is None:",
        "if False:",
        "tests/semantics/test_instants.py"
        "::test_an_event_is_taken_out_under_the_names_that_it_was_billed_by",
    ),
    Bug(
        "member-of-a-corrected-event-not-asked-for",
        "tables/closing/instants.py",
        "if self._partition.corrections:",
        "if False:",
        "tests/laws/test_operations.py"
        "::test_a_correction_that_makes_an_operation_of_an_event_asks_for_its_member",
    ),
    Bug(
        "escaped-id-not-traced",
        "app/ledger/rows.py",
        'return text in chunk or b"\\\\" in chunk',
        "return text in chunk",
        "tests/app/ledger/test_scanned.py::test_a_scan_for_one_id_reads_few_rows_and_misses_none",
    ),
    Bug(
        "seat-known-too-early",
        "tables/unique_count.py",
        "next((member[i].adds for i in places if member[i].position < known), False)",
        "next((member[i].adds for i in places), False)",
        "tests/semantics/test_instants.py"
        "::test_a_seat_does_not_know_of_an_event_that_came_after_its_own",
    ),
    Bug(
        "row-known-too-early",
        "tables/changelogged/operations.py",
        "if position_of(row) < known:",
        "if True:",
        "tests/laws/test_operations.py::test_rows_know_what_came_before_as_a_whole_member_does",
    ),
    Bug(
        "operations-lost-when-they-are-many",
        "tables/changelogged/members.py",
        "self.operations.add(name, known)",
        "pass",
        "tests/laws/test_operations.py::test_what_an_older_program_wrote_gets_rows_when_it_changes",
    ),
    Bug(
        "rows-of-a-refold-lost",
        "tables/changelogged/members.py",
        "yield from self.operations.replacing(others.operations)",
        "yield",
        "tests/laws/test_operations.py"
        "::test_order_batches_refolds_and_restarts_tell_and_write_the_same",
    ),
    Bug(
        "late-cells-of-a-large-refold-lost",
        "tables/partition/refold_apart.py",
        "folded.late += [folded.dirty[number] for number in told]",
        "pass",
        "tests/laws/test_refold_apart.py::test_of_all_metrics",
    ),
    Bug(
        "large-refold-fed-twice",
        "app/runtime/refolder.py",
        "scan.take_over(answer.rows, left)",
        "pass",
        "tests/app/runtime/test_refolder.py"
        "::test_a_child_feeds_what_is_on_disk_and_the_loop_the_rest",
    ),
    Bug(
        "rows-not-verified",
        "tables/reading/member_sets.py",
        "if apart and self._rows_of(text, member) != self.wanted_rows.get(text):",
        "if False:",
        "tests/laws/test_operations.py::test_verify_finds_nothing_and_misses_no_row",
    ),
    Bug(
        "operations-looked-at-one-by-one",
        "tables/closing/close.py",
        "yield from partition.members.operations.settling(partition.checkpoint.cut_ms)",
        "yield",
        "tests/laws/test_operations.py::test_the_same_holds_from_event_to_figure",
    ),
    Bug(
        "place-of-a-canceled-amend-lost",
        "tables/partition/repair.py",
        "return not (amended and route_of(arrival.meter_key).grouped)",
        "return True",
        "tests/laws/test_repairs.py"
        "::test_a_repair_claims_no_place_for_a_group_that_a_refold_gives_another",
    ),
    Bug(
        "run-read-past-its-due-time",
        "app/kernel/twin.py",
        "and after_ms < append_time_ms <= until_ms):",
        "and after_ms < append_time_ms):",
        "tests/app/kernel/test_kernel.py::test_bounds_are_kept_to_the_millisecond",
    ),
    Bug(
        "kernel-reads-beyond-its-batch",
        "app/kernel/records.h",
        "length < 1 || length > end - p || *p != 0",
        "length < 1 || length > end - p + 64 || *p != 0",
        "tests/app/kernel/test_sanitized.py::test_no_access_is_out_of_bounds",
    ),
    Bug(
        "kernel-takes-the-first-of-two-members",
        "app/kernel/plain_json.h",
        "if (wanted[i].found != NULL ||\n",
        "if (0 ||\n",
        "tests/app/kernel/test_arriving.py::test_each_odd_member_arrives_alike",
    ),
    Bug(
        "kernel-keeps-another-offset",
        "app/kernel/events.h",
        "place[1] = v->entry->offset;",
        "place[1] = v->entry->offset + 1;",
        "tests/app/kernel/test_records.py::test_events_are_hashed_read_and_written_like_arrivals",
    ),
    Bug(
        "kernel-keeps-the-least",
        "app/kernel/reading.h",
        "PyObject_RichCompareBool(other, before, Py_GT)",
        "PyObject_RichCompareBool(other, before, Py_LT)",
        "tests/app/kernel/test_kept.py::test_numbers_are_kept_as_they_are_applied",
    ),
    Bug(
        "kernel-splits-what-has-another-length",
        "app/kernel/records.h",
        "return p == end ? p : NULL;",
        "return p ? end : NULL;",
        "tests/app/kernel/test_records.py::test_a_record_of_another_length_is_left_to_aiokafka",
    ),
    Bug(
        "straight-after-the-period-is-due",
        "tables/routing/route.py",
        "until_ms = min(period.due_at_ms, layer.due_at_ms)",
        "until_ms = period.due_at_ms + 1",
        "tests/laws/test_straight.py::test_what_is_late_is_looked_at",
    ),
    Bug(
        "straight-though-the-id-is-known",
        "tables/partition/intake.py",
        "found = index.known(self.rows)",
        "found = dict[int, bytes | None]()",
        "tests/laws/test_straight.py::test_what_does_not_lead_straight_is_looked_at",
    ),
    Bug(
        "period-looked-for-at-any-time",
        "tables/partition/intake.py",
        "        if check_range(newest_ms, earliest_ms) is not None:\n",
        "        if False:\n",
        "tests/laws/test_straight.py::test_a_time_that_no_calendar_has_is_refused",
    ),
    Bug(
        "straight-into-members-that-are-not-at-hand",
        "app/kernel/parted.h",
        "return whole > 0 ?",
        "return found ?",
        "tests/app/kernel/test_parted.py::test_both_fold_the_same_parts",
    ),
    Bug(
        "straight-drops-what-has-no-value",
        "app/kernel/parted.h",
        " || (folded == 0 && note(odd, literals) < 0)",
        "",
        "tests/app/kernel/test_parted.py::test_both_fold_the_same_parts",
    ),
    Bug(
        "blank-text-is-a-group",
        "app/kernel/parted.h",
        "p[1] <= ' '",
        "p[1] < ' '",
        "tests/app/kernel/test_parted.py::test_both_fold_the_same_parts",
    ),
    Bug(
        "groups-in-order-of-their-names",
        "app/kernel/parted.h",
        "PyTuple_GetItem(literals, at)",
        "PyTuple_GetItem(literals, i)",
        "tests/app/kernel/test_parted.py::test_both_fold_the_same_parts",
    ),
    Bug(
        "groups-named-where-filters-decide",
        "tables/charge.py",
        "None if self.buckets else tuple(",
        "tuple(",
        "tests/laws/test_straight.py::test_a_filter_decides_beside_groups",
    ),
    Bug(
        "first-groups-at-once-though-there-is-no-room",
        "tables/fold.py",
        "is_roomy = span.fold.prices and seen.layer.has_room(len(by_place))",
        "is_roomy = span.fold.prices",
        "tests/laws/test_groups.py::test_order_of_delivery",
    ),
    Bug(
        "groups-begin-with-their-last-event",
        "tables/fold.py",
        "_first_cell(seen.layer, *place, part[0])",
        "_first_cell(seen.layer, *place, part[-1])",
        "tests/laws/test_at_once.py::test_a_group_begins_with_the_first_of_its_events",
    ),
    Bug(
        "late-events-of-groups-at-any-cut",
        "tables/fold.py",
        "layer, cut_ms = cell.layer, seen.cut_ms",
        "layer, cut_ms = cell.layer, 0 if cell.groups else seen.cut_ms",
        "tests/laws/test_watched.py::test_events_of_a_cut_are_folded_at_once_as_one_by_one",
    ),
    Bug(
        "texts-named-by-the-last-filter-alone",
        "tables/claims.py",
        "met[text] = met.get(text, 0) | filters",
        "met[text] = filters",
        "tests/tables/test_claims.py::test_the_first_filter_that_fits_has_the_event",
    ),
    Bug(
        "what-is-odd-of-a-part-is-dropped",
        "tables/partition/partition.py",
        "        for number, literals in odd:\n",
        "        for number, literals in ():\n",
        "tests/laws/test_straight.py::test_an_event_without_a_value_takes_no_others_along",
    ),
    Bug(
        "rows-placed-as-if-none-were-packed",
        "app/ledger/rows.py",
        "self.ends.extend((packed + end for end in written) if packed else written)",
        "self.ends.extend(written)",
        "tests/app/kernel/test_records.py::test_rows_behind_packed_ones_have_their_places",
    ),
    Bug(
        "packed-rows-not-written",
        "app/ledger/blocks.py",
        "                *chunks.slabs,\n",
        "",
        "tests/app/ledger/test_ledger.py::test_what_is_held_is_packed_once_it_is_much",
    ),
    Bug(
        "late-events-at-once-whatever-their-cuts",
        "tables/fold.py",
        "bounds = layer.start_ms, seen.before_ms, parts.counts_after_ms, seen.until_ms",
        "bounds = layer.start_ms, seen.before_ms, parts.counts_after_ms, 1 << 62",
        "tests/laws/test_at_once.py::test_late_events_of_two_cuts_are_told_apart",
    ),
    Bug(
        "late-events-at-once-into-a-published-cut",
        "tables/fold.py",
        "    if cut_ms <= settled_ms or cut_ms in untaken:\n        cut_ms = 0\n",
        "    if cut_ms in untaken:\n        cut_ms = 0\n",
        "tests/laws/test_at_once.py::test_late_events_count_from_cuts_that_are_to_come",
    ),
    Bug(
        "late-events-at-once-into-a-revision-that-is-taken",
        "tables/fold.py",
        "    if cut_ms <= settled_ms or cut_ms in untaken:\n        cut_ms = 0\n",
        "    if cut_ms <= settled_ms:\n        cut_ms = 0\n",
        "tests/laws/test_at_once.py::test_late_events_count_from_cuts_that_are_to_come",
    ),
    Bug(
        "late-events-at-once-into-cells-that-are-forgotten",
        "tables/fold.py",
        "    if layer is None or is_forgotten(layer):\n        return None\n    before_ms",
        "    if layer is None:\n        return None\n    before_ms",
        "tests/laws/test_at_once.py::test_no_event_is_folded_at_once_into_cells_that_are_forgotten",
    ),
    Bug(
        "events-by-cells-into-those-that-are-forgotten",
        "tables/fold.py",
        "latest_ms > layer.due_at_ms or is_forgotten(layer):",
        "latest_ms > layer.due_at_ms:",
        "tests/laws/test_at_once.py::test_no_event_is_folded_at_once_into_cells_that_are_forgotten",
    ),
    Bug(
        "first-event-of-a-group-not-noted",
        "tables/fold.py",
        "if isinstance(cell, GroupCell) and not (span.fold.prices or cell.first < since):",
        "if False:",
        "tests/laws/test_at_once.py::test_what_comes_first_of_a_group_is_known_though_it_comes_later",
    ),
    Bug(
        "known-ids-in-a-run-that-is-taken-whole",
        "tables/partition/intake.py",
        "        repeated.update(compress(ids, stored))\n",
        "",
        "tests/simulation/test_recount.py::test_every_week_is_published_as_recounted",
    ),
    Bug(
        "ids-twice-in-a-slice-not-noticed",
        "tables/partition/intake.py",
        "for identity, times in Counter(ids).items() if times > 1}",
        "for identity, times in Counter(ids).items() if times > 2}",
        "tests/laws/test_partition.py::test_redelivery_of_ranges",
    ),
    Bug(
        "straight-into-a-group-that-is-too-long",
        "tables/charge.py",
        "return place if is_plain else None",
        "return place",
        "tests/laws/test_straight.py::test_a_group_that_is_too_long_takes_no_place",
    ),
    Bug(
        "kernel-parts-events-by-the-first-of-two-names",
        "app/kernel/parted.h",
        "PyObject *literals = found < 0 ? NULL : found ? PyTuple_New(count) : Py_NewRef(Py_None);",
        "found = found < 0 ? found : 1;\n"
        "    PyObject *literals = found < 0 ? NULL : PyTuple_New(count);",
        "tests/app/kernel/test_kernel.py::test_events_are_parted_by_the_same_literals",
    ),
    Bug(
        "straight-though-it-is-corrected",
        "tables/partition/intake.py",
        "return led.without(self._awaited(led)) if self._corrections.awaits_any() else led",
        "return led",
        "tests/laws/test_straight.py::test_what_was_corrected_before_it_came_is_looked_at",
    ),
    Bug(
        "corrections-that-are-told-are-followed-for-good",
        "tables/closing/close.py",
        "partition.corrections.followed.settle(name, partition.cuts.settled_ms)",
        "pass",
        "tests/rules/test_corrections.py::test_corrections_that_are_told_are_followed_no_more",
    ),
    Bug(
        "corrections-are-followed-no-more-before-they-are-told",
        "tables/closing/close.py",
        "partition.corrections.followed.settle(name, partition.cuts.settled_ms)",
        "partition.corrections.followed.settle(name, partition.checkpoint.cut_ms)",
        "tests/rules/test_corrections.py::test_corrections_that_are_told_are_followed_no_more",
    ),
    Bug(
        "settings-look-at-whoever-was-ever-corrected",
        "tables/partition/new_settings.py",
        "self._corrections.followed.has_any(name)",
        "self._corrections.touches(name)",
        "tests/rules/test_corrections.py::test_corrections_that_are_told_are_followed_no_more",
    ),
    Bug(
        "settings-have-all-noted-anew-that-are-told",
        "tables/partition/changed.py",
        "return bool(asked - {(before[-1].usage_changed, before[-1].close_grid_s)})",
        "return True",
        "tests/laws/test_changed.py"
        "::test_settings_come_too_late_for_nobody_if_they_ask_for_the_same",
    ),
    Bug(
        "settings-have-nothing-noted-anew",
        "tables/partition/changed.py",
        "return bool(asked - {(before[-1].usage_changed, before[-1].close_grid_s)})",
        "return False",
        "tests/laws/test_changed.py"
        "::test_settings_come_too_late_for_nobody_if_they_ask_for_the_same",
    ),
    Bug(
        "a-correction-without-its-event-slows-all-others",
        "tables/partition/intake.py",
        "(at for at, each in enumerate(ids, begin) if awaits_event(each))",
        "(at for at, _ in enumerate(ids, begin))",
        "tests/rules/test_corrections.py"
        "::test_events_go_straight_where_no_correction_can_be_about_them",
    ),
    Bug(
        "a-corrected-event-is-not-known-when-it-comes",
        "tables/changelogged/correction_rows.py",
        "return row >= 0 and bool(self._flags(row) & _AWAITS)",
        "return False",
        "tests/laws/test_straight.py::test_what_was_corrected_before_it_came_is_looked_at",
    ),
    Bug(
        "an-earlier-copy-of-whoever-was-corrected-is-slow-for-good",
        "tables/partition/earlier_copies.py",
        "is_odd = corrections.touches(meter_key[:2]) and any(",
        "is_odd = corrections.touches(meter_key[:2]) or any(",
        "tests/laws/test_copies.py"
        "::test_an_earlier_copy_is_not_looked_at_for_a_correction_of_another",
    ),
    Bug(
        "joins-once-for-each-assignor",
        "app/kafka/clients.py",
        "        if isinstance(request, JoinGroupRequest):",
        "        if False:",
        "tests/app/kafka/test_sharing.py::test_who_joins_tells_all_it_can_share_by_each_time",
    ),
    Bug(
        "row-of-an-odd-event-kept",
        "tables/partition/intake.py",
        "        even[odd_places] = False\n",
        "",
        "tests/laws/test_straight.py::test_an_odd_event_takes_no_others_with_it",
    ),
    Bug(
        "late-event-after-another-cut-not-waited-for",
        "tables/partition/cuts.py",
        "        return not known\n",
        "        return False\n",
        "tests/simulation/test_simulation.py::test_seeds_come_to_the_offline_fold[20]",
    ),
    Bug(
        "dedupe-removed",
        "tables/partition/intake.py",
        "known = latest.get(identity) or stored[at]",
        "known = None",
        "tests/simulation/test_recount.py::test_every_week_is_published_as_recounted",
    ),
    Bug(
        "smaller-position-not-refolded",
        "tables/partition/earlier_copies.py",
        "folded.displaced |= self._event_ranges.meter_keys_of(arrival.name)",
        "pass",
        "tests/simulation/test_between_refolds.py"
        "::test_cells_that_a_definition_has_made_meanwhile_are_not_taken_for_torn",
    ),
    Bug(
        "too-late-counts",
        "tables/partition/intake.py",
        "return RefusalCode.TOO_LATE",
        "return None",
        "tests/simulation/test_recount.py::test_a_week_has_what_came_while_it_was_open",
    ),
    Bug(
        "torn-state-unnoticed",
        "tables/partition/snapshot.py",
        "(self._loaded, self._loaded_hash % SUM_MODULUS) != (\n"
        "            checkpoint.cells,\n            checkpoint.cells_hash,\n        )",
        "False",
        "tests/simulation/test_simulation.py::test_seeds_that_found_something[41083]",
    ),
    Bug(
        "torn-presence-unnoticed",
        "tables/partition/snapshot.py",
        "checkpoint.presence_sum not in (None, tables.event_ranges.sum)",
        "False",
        "tests/simulation/test_mending.py::test_presence_is_checked_where_no_cell_shows_it",
    ),
    Bug(
        "restart-forgets-days-to-look-at",
        "tables/partition/partition.py",
        "        yield from self.cuts.announcing_days()\n",
        "",
        "tests/laws/test_days.py::test_a_definition_shows_at_the_end_of_its_day_after_a_restart",
    ),
    Bug(
        "history-record-announced-in-one-step-after-a-restart",
        "tables/partition/partition.py",
        "        yield from self.history.announcing()\n",
        "        list(self.history.announcing())\n",
        "tests/tables/partition/test_announcing.py"
        "::test_whatever_waits_for_a_cut_is_announced_by_small_steps",
    ),
    Bug(
        "corrections-followed-in-one-step-after-a-restart",
        "tables/partition/corrected.py",
        "                names.add(stored.name)\n            yield\n",
        "                names.add(stored.name)\n",
        "tests/tables/partition/test_announcing.py::test_corrections_are_followed_by_small_steps",
    ),
    Bug(
        "range-set-aside-ends-where-the-last-one-does",
        "app/definitions/indexes/set_asides.py",
        "max(after, ranges[end - 1][1])",
        "after",
        "tests/laws/test_set_asides.py::test_ranges_hold_what_each_of_them_holds",
    ),
    Bug(
        "cut-forgets-in-one-step-what-corrections-revised",
        "tables/partition/corrected.py",
        "        for some in batches(list(self._revised), STEP_ITEMS):\n",
        "        for some in (list(self._revised),):\n",
        "tests/tables/partition/test_corrected.py"
        "::test_what_corrections_revised_is_forgotten_by_small_steps",
    ),
    Bug(
        "void-members-come-back",
        "tables/partition/route_table.py",
        "span.generation = self._generation()",
        "pass",
        "tests/rules/test_same_millisecond.py::test_a_set_that_is_gone_is_not_begun_again",
    ),
    Bug(
        "queued-refold-holds-no-cut-after-a-restart",
        "app/runtime/restoring/restore.py",
        "queue.want((meter_key,), checkpoint.cut_ms)",
        "pass",
        "tests/simulation/test_mending.py"
        "::test_a_refold_that_was_queued_holds_all_cuts_to_come_after_a_restart",
    ),
    Bug(
        "announced-cut-passed-over",
        "agents/close.py",
        "if cuts.schedule.next_ms() != cut_ms or _to_be_shaped(owned, cut_ms) is not None:",
        "if False:",
        "tests/agents/test_close.py"
        "::test_a_cut_that_is_announced_while_a_later_one_waits_comes_first",
    ),
    Bug(
        "cut-takes-organizations-one-after-another",
        "agents/close.py",
        "turns.append(organization)",
        "turns.appendleft(organization)",
        "tests/agents/test_close.py::test_organizations_take_turns_within_a_cut",
    ),
    Bug(
        "cut-looks-at-all-cells-of-a-period-in-one-step",
        "agents/close.py",
        "            items += OF_A_STEP if record is None else 1\n",
        "            items += 1\n",
        "tests/agents/test_close.py::test_however_many_cells_a_period_has_each_step_looks_at_few",
    ),
    Bug(
        "lost-usage-records-unnoticed",
        "app/runtime/restoring/restore.py",
        "mark is not None and await output_stands(settings, number, mark)",
        "mark is not None",
        "tests/simulation/test_mending.py"
        "::test_records_of_single_events_that_are_lost_with_a_torn_changelog_are_published_again",
    ),
    Bug(
        "records-of-single-events-lost-unnoticed",
        "app/runtime/restoring/restore.py",
        "found.sum == expected and (stands or mark is None)",
        "found.sum == expected",
        "tests/simulation/test_mending.py"
        "::test_records_of_single_events_that_are_lost_with_a_torn_changelog_are_published_again",
    ),
    Bug(
        "rebuilt-under-what-waits-for-a-grid-cut",
        "app/runtime/restoring/rebuild.py",
        "owned.renewal.note_seen(seen[0])",
        "owned.renewal.note_seen(shared.followed.last[0])",
        "tests/simulation/test_simulation.py::test_seeds_that_found_something[3000419]",
    ),
    Bug(
        "waiting-definition-shown-with-another",
        "tables/partition/redirection.py",
        "new = routes.compile(meter_key, self._standing.shown_until_ms)",
        "new = routes.compile(meter_key)",
        "tests/rules/test_waiting_definitions.py"
        "::test_one_definition_is_looked_at_without_the_one_after_the_next_grid_cut",
    ),
    Bug(
        "history-waits-for-what-waits-for-it",
        "tables/partition/standing.py",
        "until_ms = max(cut_ms, self.looks_until_ms)",
        "until_ms = NEVER_MS",
        "tests/rules/test_waiting_definitions.py"
        "::test_a_history_record_comes_into_force_without_what_waits_for_a_later_cut",
    ),
    Bug(
        "alert-deaf-to-what-was-late-before-it",
        "tables/partition/redefinition.py",
        "self._cuts.remember(cell)",
        "pass",
        "tests/semantics/test_alerts.py"
        "::test_what_was_late_before_the_alert_is_seen_when_it_counts",
    ),
    Bug(
        "correction-before-the-charge-paid-in-advance-forgotten",
        "tables/partition/redefinition.py",
        "self._corrected.schedule_again(name)",
        "pass",
        "tests/rules/test_waiting_definitions.py"
        "::test_a_correction_is_decided_also_if_it_is_read_before_the_charge_paid_in_advance",
    ),
    Bug(
        "correction-followed-until-any-cut",
        "tables/partition/recorrection.py",
        "partition, settled_ms = self._partition, self._partition.cuts.settled_ms",
        "partition, settled_ms = self._partition, self._partition.checkpoint.cut_ms",
        "tests/semantics/test_instants.py"
        "::test_an_event_amended_just_before_its_subscription_is_billed_at_once",
    ),
    Bug(
        "group-beyond-the-limit-billed-after-a-definition",
        "tables/closing/instants.py",
        "if not asks or (living.filter_id, living.groups) in living.layer.cells:",
        "if True:",
        "tests/rules/test_groups.py::test_an_event_beyond_the_limit_bills_nothing_at_once",
    ),
    Bug(
        "definition-bills-at-once-what-no-cut-billed",
        "app/offline/fold.py",
        "settle(self.partition, append_time_ms - 1)",
        "pass",
        "tests/semantics/test_instants.py"
        "::test_a_group_beyond_the_limit_is_not_billed_at_once_by_what_is_defined_later",
    ),
    Bug(
        "lost-figure-decided-again-over-other-cells",
        "app/runtime/restoring/rebuild.py",
        "-1 if loses else checkpoint.grid_ms",
        "checkpoint.grid_ms",
        "tests/simulation/test_mending.py"
        "::test_records_of_single_events_that_are_lost_with_a_torn_changelog_are_published_again",
    ),
    Bug(
        "lost-figure-decided-again-behind-later-definitions",
        "tables/partition/standing.py",
        "next_ms = grid_cut_after(self._checkpoint.cut_ms, definitions.close_grids_ms())",
        "next_ms = grid_cut_after(self._checkpoint.grid_done_ms, definitions.close_grids_ms())",
        "tests/simulation/test_mending.py"
        "::test_records_of_single_events_that_are_lost_with_a_torn_changelog_are_published_again",
    ),
    Bug(
        "lost-figure-billed-again-over-later-events",
        "tables/cells/watch.py",
        "(checkpoint.cut_ms if self.is_retaken else checkpoint.grid_done_ms)",
        "checkpoint.grid_done_ms",
        "tests/simulation/test_simulation.py::test_seeds_that_found_something[3000512]",
    ),
    Bug(
        "regrouped-by-the-charge-that-was-asked-for",
        "tables/reading/regrouping.py",
        "(in_force,) = as_folded((asked,), *about)",
        "in_force = asked",
        "tests/rules/test_stale.py::test_what_is_swapped_before_somebody_goes_on_is_shown",
    ),
    Bug(
        "only-the-first-cut-after-a-restart-may-be-decided",
        "tables/changelogged/instants.py",
        "newest_ms = max(folded_ms, cut_ms) if self._newest_ms is None else self._newest_ms",
        "newest_ms = cut_ms if self._newest_ms is None else self._newest_ms",
        "tests/tables/changelogged/test_instants.py"
        "::test_nor_when_other_cuts_come_first_after_a_restart",
    ),
    Bug(
        "members-go-before-they-are-asked-for",
        "tables/changelogged/members.py",
        "if self._keeps_all or self.capacity is None",
        "if self.capacity is None",
        "tests/tables/changelogged/test_members.py"
        "::test_what_is_looked_up_for_a_cut_stays_until_it_is_decided",
    ),
    Bug(
        "cut-asks-for-members-that-a-flush-let-go",
        "agents/close.py",
        "    members.keep_all()\n",
        "",
        "tests/simulation/test_billed_at_once.py"
        "::test_a_flush_in_the_midst_of_a_cut_leaves_the_members_that_it_asks_for",
    ),
    Bug(
        "view-that-is-made-again-goes-first",
        "tables/partition/views.py",
        "self._kept.pop(name, None)",
        "pass",
        "tests/tables/partition/test_views.py::test_one_that_is_made_again_stays_when_others_go",
    ),
    Bug(
        "gone-event-of-whom-nothing-is-folded-left-to-a-refold",
        "tables/partition/repair.py",
        "if entry is not None and self.is_folded:",
        "if entry is not None:",
        "tests/tables/partition/test_repair.py"
        "::test_an_event_that_is_gone_is_left_to_a_refold_that_tells_so[0]",
    ),
    Bug(
        "unclear-name-of-which-nothing-is-folded-left-to-a-refold",
        "tables/partition/repair.py",
        "return not self.is_folded or partition.corrections.followed.is_clear(name)",
        "return partition.corrections.followed.is_clear(name)",
        "tests/tables/partition/test_repair.py"
        "::test_a_correction_that_takes_the_place_of_another_calls_for_a_refold[0]",
    ),
    Bug(
        "newest-repaired-though-another-is-newer-once-it-is-amended",
        "tables/latest.py",
        "stays = after.timestamp_ms >= timestamp_ms",
        "stays = True",
        "tests/laws/test_repairs.py"
        "::test_what_holds_needs_no_refold_where_it_holds_once_amended[latest-first2-second2-1]",
    ),
    Bug(
        "greatest-repaired-once-its-period-is-published",
        "tables/unfold.py",
        "span.watch is not None or after_ms > place.layer.due_at_ms",
        "span.watch is not None",
        "tests/laws/test_repairs.py::test_a_repair_of_one_metric_comes_to_what_a_refold_does[max]",
    ),
    Bug(
        "event-read-of-whom-nothing-is-folded",
        "agents/repair.py",
        "found = state.index.find_many(ids) if job.is_folded else repeat(None, len(ids))",
        "found = state.index.find_many(ids)",
        "tests/simulation/test_beyond_retention.py"
        "::test_a_correction_waits_for_no_refold_that_finds_nothing",
    ),
    Bug(
        "balance-of-before-stays-in-days-of-another-timezone",
        "tables/routing/course.py",
        "shown = [*periods] if first is None else [*periods, first]",
        "shown = [*periods]",
        "tests/semantics/test_daily.py"
        "::test_a_balance_of_before_shows_on_the_first_day_as_the_timezone_has_it[all]",
    ),
    Bug(
        "late-event-stays-in-days-of-another-timezone",
        "tables/routing/course.py",
        "return tuple((period.start_ms, period.timezone) for period in shown)",
        "return () if first is None else (first.timezone,)",
        "tests/simulation/test_simulation.py::test_seeds_that_found_something[50001382]",
    ),
    Bug(
        "search-beyond-retention-never-made",
        "agents/refold.py",
        "return lost - {REST[:2]}",
        "return lost",
        "tests/simulation/test_beyond_retention.py"
        "::test_undefined_names_are_sought_in_what_is_left",
    ),
    Bug(
        "names-found-beyond-retention-stand-for-whole",
        "agents/refold.py",
        "_swapped(owned, job, corrected, job.unsure(kept))",
        "_swapped(owned, job, corrected, ())",
        "tests/simulation/test_beyond_retention.py"
        "::test_undefined_names_are_sought_in_what_is_left",
    ),
    Bug(
        "search-from-before-the-log",
        "agents/refold.py",
        "return None if offset is None else max(offset, start)",
        "return offset",
        "tests/simulation/test_beyond_retention.py"
        "::test_undefined_names_are_sought_in_what_is_left",
    ),
    Bug(
        "cell-that-stands-under-other-keys",
        "tables/routing/period_charges.py",
        "if not groups or len(groups) == len(keys):",
        "if True:",
        "tests/simulation/test_beyond_retention.py"
        "::test_what_stands_in_other_groups_has_records_of_its_own[at hand]",
    ),
    Bug(
        "daily-cell-that-stands-under-other-keys",
        "tables/closing/daily.py",
        "keys = self._charges.keys_that_fit(charge, filter_id, groups, keys)",
        "pass",
        "tests/simulation/test_beyond_retention.py"
        "::test_what_stands_in_other_groups_has_records_of_its_own[at hand]",
    ),
    Bug(
        "packed-cell-that-stands-under-other-keys",
        "tables/closing/packed_period.py",
        "if groups and len(groups) != len(keys):",
        "if False:",
        "tests/simulation/test_beyond_retention.py"
        "::test_what_stands_in_other_groups_has_records_of_its_own[packed]",
    ),
    Bug(
        "other-groups-merged-of-what-stands",
        "tables/reading/regrouping.py",
        "if (bucket and bucket.id) != filter_id or len(keys) != len(groups):",
        "if False:",
        "tests/simulation/test_beyond_retention.py"
        "::test_what_stands_in_other_groups_has_records_of_its_own[at hand]",
    ),
    Bug(
        "copy-of-a-deleted-event-told-to-differ",
        "tables/partition/conflicts.py",
        "if first is None:",
        "if False:",
        "tests/app/runtime/partition/test_duplicates.py"
        "::test_what_repeats_a_deleted_event_is_told_so",
    ),
    Bug(
        "torn-state-folded-anew-from-what-is-left",
        "app/runtime/restoring/rebuild.py",
        "if known.flush == 0:",
        "if True:",
        "tests/simulation/test_beyond_retention.py"
        "::test_what_cannot_be_made_again_is_left_as_it_is",
    ),
    Bug(
        "cells-of-who-is-older-than-the-log-stay",
        "tables/closing/forgetting.py",
        "if not event_ranges.names_lacking(meter_keys, kept) or self._are_kept(meter_keys, kept):",
        "if not event_ranges.names_lacking(meter_keys, kept):",
        "tests/simulation/test_beyond_retention.py"
        "::test_who_is_older_than_the_log_forgets_and_is_corrected",
    ),
    Bug(
        "refold-of-who-is-older-than-the-log-reads-all",
        "agents/refold.py",
        "names_lacking(some, kept, job.appended_from)",
        "names_lacking(some, kept)",
        "tests/simulation/test_beyond_retention.py"
        "::test_who_is_older_than_the_log_forgets_and_is_corrected",
    ),
    Bug(
        "correction-of-who-is-older-than-the-log-refused",
        "app/runtime/partition/retained.py",
        "state.event_ranges.names_lacking(meter_keys, kept, appended)",
        "state.event_ranges.names_lacking(meter_keys, kept)",
        "tests/simulation/test_beyond_retention.py"
        "::test_who_is_older_than_the_log_forgets_and_is_corrected",
    ),
    Bug(
        "definition-of-what-is-forgotten-refused",
        "tables/partition/retained.py",
        "return kept.lacks(event_ranges, appended_ms)",
        "return kept.lacks(event_ranges)",
        "tests/app/queries/test_retained.py"
        f"::test_of_what_is_forgotten_nothing_has_to_be_there[{9 * 86_400_000}]",
    ),
    Bug(
        "name-begins-before-the-rest-by-one-log",
        "tables/changelogged/presence.py",
        "return all(theirs < 0 or 0 <= ours < theirs for ours, theirs in firsts)",
        "return any(0 <= ours < theirs for ours, theirs in firsts)",
        "tests/tables/changelogged/test_presence.py"
        "::test_one_log_does_not_tell_that_a_name_was_kept_before_the_rest",
    ),
    Bug(
        "filter-that-is-gone-ends-a-cut",
        "tables/closing/period_at_cut.py",
        "return known or charges.filter_before(span.key.charge_id, filter_id)",
        "return told_of(span.fold.charge, span.fold.metric).filters[filter_id]",
        "tests/simulation/test_beyond_retention.py"
        "::test_what_stands_in_another_filter_is_told_as_it_was",
    ),
    Bug(
        "filter-that-is-gone-ends-a-day",
        "tables/closing/daily.py",
        "return buckets.get(filter_id) or self._charges.filter_before(charge.id, filter_id)",
        "return buckets[filter_id]",
        "tests/simulation/test_beyond_retention.py"
        "::test_what_stands_in_another_filter_is_told_as_it_was",
    ),
    Bug(
        "rows-of-a-filter-that-is-gone-end-a-cut",
        "tables/cells/breakdown.py",
        "if not fold.fits(filter_id, groups):",
        "if False:",
        "tests/simulation/test_beyond_retention.py"
        "::test_what_stands_in_another_filter_is_told_as_it_was",
    ),
    Bug(
        "search-folds-what-lacks-events",
        "tables/partition/search.py",
        "if own is not None and self.kept.lacks(own):",
        "if False:",
        "tests/laws/test_undefined_names.py::test_a_search_leaves_alone_what_lacks_events_of_its_own",
    ),
    Bug(
        "newer-owner-taken-for-a-torn-state",
        "app/runtime/restoring/rebuild.py",
        "if await producer.newest(changelog, CHECKPOINT_KEY) != durable:",
        "if False:",
        "tests/app/runtime/restoring/test_rebuild.py"
        "::test_a_state_that_a_newer_owner_has_flushed_is_not_rebuilt",
    ),
    Bug(
        "refold-for-what-is-folded-nowhere",
        "tables/partition/repair.py",
        "if not any(partition.event_ranges.find(key[:2], key[2]) for key in concerned):",
        "if False:",
        "tests/tables/partition/test_repair.py::test_what_is_folded_nowhere_is_left_to_no_refold",
    ),
    Bug(
        "published-of-deleted-events-called-wrong",
        "tables/reading/verification.py",
        "map(self._is_unproved, meter_keys)",
        "map(self._has_changed, meter_keys)",
        "tests/tables/reading/test_verification.py"
        "::test_what_is_published_of_deleted_events_is_not_called_wrong",
    ),
    Bug(
        "skipped-pairs-counted-as-verified",
        "app/queries/verify.py",
        "                    progress.skipped.append(one.meter_key)\n",
        "                    progress.skipped.append(one.meter_key)\n"
        "                    progress.pairs += 1\n",
        "tests/live/test_verify.py::test_what_retention_took_is_not_called_wrong_and_proves_nothing",
    ),
    Bug(
        "what-was-given-up-verified",
        "app/queries/verify.py",
        "        owned.life.require_ours()\n",
        "",
        "tests/simulation/test_handover.py::test_what_was_given_up_is_not_verified",
    ),
    Bug(
        "passed-once-given-up",
        "app/runtime/partition/owned.py",
        "await self._fold(runs, plain)\n                if self.life.is_given_up():\n",
        "await self._fold(runs, plain)\n                if False:\n",
        "tests/app/runtime/partition/test_life.py"
        "::test_what_is_not_folded_once_it_is_given_up_is_not_passed",
    ),
    Bug(
        "correction-that-waits-called-wrong",
        "tables/reading/verification.py",
        "if name in self._repaired or name in self._early:",
        "if name in self._repaired:",
        "tests/tables/reading/test_verification.py"
        "::test_a_correction_as_old_as_its_event_is_not_called_wrong_before_cells_show_it",
    ),
    Bug(
        "rows-of-two-revisions-in-one-answer",
        "tables/reading/usage.py",
        "if newest is None or newest.cut_ms != cut_ms:",
        "if newest is None:",
        "tests/tables/reading/test_past_usage.py::test_a_cut_between_two_steps_is_in_all_rows",
    ),
    Bug(
        "half-taken-meanwhile-is-not-stale",
        "tables/reading/usage.py",
        "stale = usage.stale or partition.refolding(*name)",
        "stale = usage.stale",
        "tests/tables/reading/test_past_usage.py"
        "::test_a_cut_half_taken_between_two_steps_makes_it_stale",
    ),
    Bug(
        "groups-that-are-read-again-left-out",
        "tables/reading/verification.py",
        "self._left.setdefault(meter_key[:2], []).append(meter_key)",
        "pass",
        "tests/tables/reading/test_verification.py"
        "::test_groups_that_came_once_places_were_forgotten_are_not_called_wrong",
    ),
    Bug(
        "read-again-as-it-was-read-before",
        "tables/reading/verification.py",
        "yield from self.refold.opening_as(before.refold)",
        "pass",
        "tests/tables/reading/test_verification.py"
        "::test_groups_that_came_once_places_were_forgotten_are_not_called_wrong",
    ),
    Bug(
        "read-again-without-end",
        "tables/reading/verification.py",
        "if not self._reads_again:\n                    self._left",
        "if True:\n                    self._left",
        "tests/tables/reading/test_verification.py"
        "::test_what_has_other_groups_at_the_second_reading_is_skipped",
    ),
    Bug(
        "records-of-who-is-read-again-called-wrong",
        "tables/reading/verification.py",
        "if name in self._left or not (yield from self._agree(meter_keys)):",
        "if False:",
        "tests/tables/reading/test_verification.py"
        "::test_groups_that_came_once_places_were_forgotten_are_not_called_wrong",
    ),
    Bug(
        "groups-of-other-places-compared-at-once",
        "tables/reading/verification.py",
        "if route is not None and not (yield from job.group_admission.agreeing(route)):",
        "if route is not None and (yield from job.group_admission.agreeing(route)) is None:",
        "tests/tables/reading/test_verification.py"
        "::test_groups_that_came_once_places_were_forgotten_are_not_called_wrong",
    ),
    Bug(
        "organization-not-read-again",
        "app/queries/verify.py",
        "jobs = {home: (owned, job) for home, owned, job in left if job is not None}",
        "jobs = {}",
        "tests/live/test_verify.py"
        "::test_what_other_groups_than_the_admitted_have_is_read_once_more",
    ),
    Bug(
        "subscription-not-read-again",
        "app/queries/verify.py",
        "        job = await _again(job, turn)\n",
        "        job = None\n",
        "tests/live/test_verify.py"
        "::test_what_other_groups_than_the_admitted_have_is_read_once_more",
    ),
    Bug(
        "defined-between-two-steps-of-a-comparison",
        "tables/reading/verification.py",
        "if differences and self._has_changed(meter_key):",
        "if False:",
        "tests/tables/reading/test_verification.py"
        "::test_what_is_defined_between_two_steps_is_not_called_wrong",
    ),
    Bug(
        "balance-of-a-closed-period-not-verified",
        "tables/reading/verification.py",
        "if is_over and self._compares(period) and subscription is not None:",
        "if False:",
        "tests/tables/reading/test_verification.py"
        "::test_a_recurring_figure_is_recounted_when_its_period_is_open_no_more",
    ),
    Bug(
        "copy-late-for-a-later-period-unforeseen",
        "tables/partition/timelines.py",
        "if not recurs:",
        "if True:",
        "tests/rules/test_corrections.py"
        "::test_an_earlier_copy_that_only_a_later_period_is_late_for_has_its_own_cut",
    ),
    Bug(
        "copy-amended-before-it-came-unforeseen",
        "tables/partition/refold.py",
        "if 0 <= since_ms <= placed.append_time_ms:",
        "if False:",
        "tests/rules/test_corrections.py"
        "::test_an_earlier_copy_that_was_amended_into_a_closed_period_has_its_own_cut",
    ),
    Bug(
        "watched-event-unforeseen",
        "tables/partition/recorrection.py",
        "if asked:",
        "if False:",
        "tests/tables/partition/test_recorrection.py"
        "::test_an_event_that_comes_while_its_alert_is_refolded_is_told_at_its_own_cut",
    ),
    Bug(
        "cut-of-a-watched-event-not-taken",
        "tables/partition/recorrection.py",
        "cuts.grid.add(name, cut_ms)",
        "pass",
        "tests/tables/partition/test_recorrection.py"
        "::test_a_cut_before_a_group_gets_in_is_taken_though_it_shows_nothing",
    ),
    Bug(
        "day-of-an-event-unforeseen",
        "tables/partition/recorrection.py",
        "yield watch.day_cut_of(timestamp_ms, append_time_ms)",
        "yield 0",
        "tests/tables/partition/test_recorrection.py"
        "::test_an_event_that_comes_meanwhile_is_told_in_its_own_day",
    ),
    Bug(
        "cut-for-what-no-watched-cell-has",
        "tables/partition/recorrection.py",
        "if watch is None or span.layer_at(timestamp_ms) is None:",
        "if watch is None:",
        "tests/tables/partition/test_recorrection.py"
        "::test_a_refold_goes_on_if_nobody_asks_before_the_next_cut",
    ),
    Bug(
        "refused-event-names-a-subscription",
        "tables/partition/search.py",
        "entry = index.find(arrival.identity)\n                if entry is None or",
        "entry = index.find(arrival.identity)\n                if entry is not None and",
        "tests/laws/test_undefined_names.py::test_an_event_that_was_refused_names_nothing",
    ),
    Bug(
        "alert-looked-at-at-a-cut-of-another-grid",
        "tables/closing/alerts.py",
        "return self._partition.cuts.grid_cut_of(append_time_ms) == self._cut_ms",
        "return append_time_ms <= self._cut_ms",
        "tests/semantics/test_alerts.py"
        "::test_an_alert_is_looked_at_at_the_grid_cut_of_what_changed",
    ),
    Bug(
        "correction-at-a-cut-of-another-grid",
        "tables/closing/instants.py",
        "and partition.cuts.grid_cut_of(stored.append_time_ms) <= cut_ms",
        "and stored.append_time_ms <= cut_ms",
        "tests/semantics/test_instants.py"
        "::test_a_correction_is_decided_at_its_own_grid_cut_when_the_grid_changes",
    ),
    Bug(
        "usage-records-lost-under-the-worker-unnoticed",
        "app/runtime/partition/commit.py",
        "0 <= offset < known[0] + len(published)",
        "False",
        "tests/simulation/test_mending.py::test_what_usage_records_lost_is_published_again",
    ),
    Bug(
        "correction-known-before-its-time",
        "tables/partition/corrected.py",
        "shown = stored.applied",
        "shown = True",
        "tests/tables/reading/test_verification.py"
        "::test_what_changes_while_events_are_read_is_not_called_wrong",
    ),
    Bug(
        "correction-in-force-with-half-of-its-codes",
        "tables/partition/recorrection.py",
        "return meter_key in self._meter_keys and version.timestamp_ms >= from_ms",
        "return version.timestamp_ms >= from_ms",
        "tests/laws/test_narrow_refolds.py"
        "::test_what_came_in_force_for_other_codes_waits_for_a_refold_of_these",
    ),
    Bug(
        "narrow-refold-takes-what-others-are-revised-by",
        "tables/partition/corrected.py",
        "if (*name, key[0]) not in meter_keys}",
        "if False}",
        "tests/laws/test_narrow_refolds.py"
        "::test_of_the_codes_concerned_it_comes_to_what_a_refold_of_all_does",
    ),
    Bug(
        "narrow-refold-shows-corrections-that-wait",
        "tables/partition/recorrection.py",
        "            horizon_ms, known = NEVER_MS, ()\n",
        "            pass\n",
        "tests/laws/test_narrow_refolds.py"
        "::test_what_came_in_force_for_other_codes_waits_for_a_refold_of_these",
    ),
    Bug(
        "refold-passes-over-what-was-amended-into-its-code",
        "tables/changelogged/correction_rows.py",
        "        if came_with != amended:\n",
        "        if False:\n",
        "tests/laws/test_narrow_refolds.py"
        "::test_an_event_that_was_amended_into_the_code_is_read_again",
    ),
    Bug(
        "refold-trusts-amendments-that-a-restart-has-loaded",
        "tables/changelogged/correction_rows.py",
        "self._unread[number] += 1",
        "pass",
        "tests/laws/test_narrow_refolds.py"
        "::test_an_event_that_was_amended_into_the_code_is_read_again",
    ),
    Bug(
        "refold-passes-over-what-came-amended-meanwhile",
        "tables/partition/refold.py",
        "return codes is None or all(",
        "return True or all(",
        "tests/laws/test_narrow_refolds.py"
        "::test_an_event_that_was_amended_before_it_came_may_come_during_a_refold",
    ),
    Bug(
        "repair-beside-a-refold-for-corrections",
        "app/runtime/partition/refold_queue.py",
        "elif name in self._recorrected:",
        "elif False:",
        "tests/app/runtime/partition/test_refold_queue.py"
        "::test_a_repair_waits_for_a_refold_for_corrections_and_so_does_its_cut",
    ),
    Bug(
        "repair-waits-for-a-refold-of-nothing",
        "app/runtime/partition/refold_queue.py",
        "if self.meter_keys and name in self._recorrecting:",
        "if name in self._recorrecting:",
        "tests/app/runtime/partition/test_refold_queue.py"
        "::test_no_repair_waits_for_a_refold_of_nothing",
    ),
    Bug(
        "correction-during-a-refold-put-in-force-twice",
        "tables/partition/corrected.py",
        "return known is None or stored.applied or stored.row in known",
        "return True",
        "tests/laws/test_repairs.py"
        "::test_a_correction_that_comes_during_a_refold_is_put_in_force_once",
    ),
    Bug(
        "correction-whose-place-was-taken-during-a-refold-left-in-cells",
        "tables/changelogged/followed.py",
        "if self._unclear.get(name, 0) <= standing.times_unclear:",
        "if True:",
        "tests/laws/test_repairs.py"
        "::test_a_correction_whose_place_is_taken_during_a_refold_counts_nowhere",
    ),
    Bug(
        "correction-put-in-force-once-too-often",
        "tables/changelogged/followed.py",
        "if self._rows.append_time_ms(row) > horizon_ms:",
        "if False:",
        "tests/rules/test_corrections.py"
        "::test_which_corrections_a_cut_turns_is_known_without_looking_at_all",
    ),
    Bug(
        "correction-of-an-event-lost-behind-another",
        "tables/changelogged/correction_rows.py",
        "following = _NONE if first < 0 else first",
        "following = _NONE",
        "tests/rules/test_corrections.py"
        "::test_corrections_of_one_event_stand_in_order_and_one_may_take_the_place_of_another",
    ),
    Bug(
        "repair-of-an-event-in-another-cut",
        "tables/unfold.py",
        "return layer.revision_of(cut_ms) <= settled_ms and cut_ms not in cell.late",
        "return True",
        "tests/laws/test_repairs.py::test_a_repair_comes_to_what_a_refold_does",
    ),
    Bug(
        "closed-twice-in-one-cut",
        "tables/closing/schedule.py",
        "if cut_ms != self._cuts[number] < _TAKEN:",
        "if cut_ms != self._cuts[number]:",
        "tests/tables/closing/test_schedule.py::test_who_is_taken_has_no_cut_before_it_is_free",
    ),
    Bug(
        "next-cut-of-somebody-else",
        "tables/closing/schedule.py",
        "known = self._told[place] if place > 0 else None",
        "known = self._told[-1] if place > 0 else None",
        "tests/tables/closing/test_schedule.py::test_who_is_taken_has_no_cut_before_it_is_free",
    ),
    Bug(
        "alerts-that-a-restart-forgets",
        "app/runtime/partition/cuts.py",
        "            yield from self._state.cuts.announcing_grid(name, untold_ms)\n",
        "",
        "tests/app/runtime/partition/test_cuts.py"
        "::test_a_restart_announces_what_alerts_wait_for_by_small_steps",
    ),
    Bug(
        "alert-deleted-before-a-restart",
        "tables/partition/cuts.py",
        "first_ms.setdefault(at_ms if each_once else self.grid_cut_of(at_ms), at_ms)",
        "first_ms[at_ms if each_once else self.grid_cut_of(at_ms)] = at_ms",
        "tests/app/runtime/partition/test_cuts.py"
        "::test_a_restart_announces_what_alerts_wait_for_by_small_steps",
    ),
    Bug(
        "late-events-that-nobody-announces",
        "app/runtime/partition/cuts.py",
        "        yield from self._state.announcing()\n",
        "",
        "tests/app/runtime/partition/test_cuts.py"
        "::test_a_restart_announces_what_alerts_wait_for_by_small_steps",
    ),
    Bug(
        "late-events-that-a-restart-forgets",
        "tables/partition/partition.py",
        "            yield from self._expecting_cuts(name)\n",
        "",
        "tests/tables/partition/test_announcing.py"
        "::test_late_events_are_looked_at_in_turns_and_no_cut_is_missed",
    ),
    Bug(
        "verified-while-it-is-repaired",
        "tables/partition/staleness.py",
        "            asking.note(name)",
        "            pass",
        "tests/tables/reading/test_verification.py"
        "::test_what_changes_while_events_are_read_is_not_called_wrong",
    ),
    Bug(
        "repair-takes-the-greatest-along",
        "tables/maximum.py",
        "state.greatest is not None and value < state.greatest",
        "state.greatest is not None and value <= state.greatest",
        "tests/laws/test_aggregations.py::test_a_removed_event_was_never_there",
    ),
    Bug(
        "earlier-copy-beside-the-later-one",
        "tables/partition/earlier_copies.py",
        "            cell.state = state\n",
        "            pass\n",
        "tests/laws/test_repairs.py::test_an_earlier_copy_comes_to_what_a_refold_does",
    ),
    Bug(
        "earlier-copy-of-another-time",
        "tables/unfold.py",
        "if known.timestamp_ms != earlier.timestamp_ms:",
        "if False:",
        "tests/laws/test_repairs.py::test_an_earlier_copy_comes_to_what_a_refold_does",
    ),
    Bug(
        "earlier-copy-of-another-cut",
        "tables/unfold.py",
        "if _cut_of(span, layer, known) != _cut_of(span, layer, earlier):",
        "if False:",
        "tests/laws/test_repairs.py::test_an_earlier_copy_comes_to_what_a_refold_does",
    ),
    Bug(
        "earlier-copy-that-orders-the-newest",
        "tables/unfold.py",
        "if fold.aggregation.ordered and not fold.unique:",
        "if False:",
        "tests/laws/test_repairs.py::test_an_earlier_copy_comes_to_what_a_refold_does",
    ),
    Bug(
        "earlier-copy-of-a-value-among-others-of-its-time",
        "tables/unique_count.py",
        "if operation.others_until_ms >= earlier[0]:",
        "if operation.others_until_ms == UNKNOWN:",
        "tests/laws/test_unique_count.py::test_an_operation_moves_as_if_it_had_come_so",
    ),
    Bug(
        "earlier-copy-of-a-value-beside-one-of-another-cut",
        "tables/unique_count.py",
        "if sum(o.timestamp_ms == operation.timestamp_ms for o in member) > 1:",
        "if False:",
        "tests/laws/test_unique_count.py::test_an_operation_moves_as_if_it_had_come_so",
    ),
    Bug(
        "earlier-copy-leaves-its-member",
        "tables/partition/earlier_copies.py",
        "                self._members.put(name, member)\n",
        "                pass\n",
        "tests/laws/test_repairs.py::test_an_earlier_copy_comes_to_what_a_refold_does",
    ),
    Bug(
        "earlier-copy-in-place-of-one-that-came-late",
        "tables/partition/earlier_copies.py",
        "known_ms > route.until_ms\n",
        "False\n",
        "tests/laws/test_copies.py::test_an_earlier_copy_of_one_that_came_late_is_looked_at",
    ),
    Bug(
        "earlier-copy-in-place-of-one-that-was-too-long",
        "tables/partition/earlier_copies.py",
        "or fold.limits.parts(appended_ms, known_ms)",
        "or False",
        "tests/laws/test_copies.py::test_an_earlier_copy_of_one_that_was_too_long_is_looked_at",
    ),
    Bug(
        "earlier-copy-orders-no-newest",
        "tables/partition/earlier_copies.py",
        "or (fold.aggregation.ordered and not fold.unique)",
        "or False",
        "tests/laws/test_copies.py::test_an_earlier_copy_is_looked_at_where_positions_may_decide",
    ),
    Bug(
        "earlier-copy-dated-as-the-later-one",
        "tables/partition/earlier_copies.py",
        "or None in [arrival.event.timestamp_ms for arrival in run]",
        "or False",
        "tests/laws/test_copies.py"
        "::test_an_earlier_copy_without_a_time_of_its_own_is_dated_otherwise",
    ),
    Bug(
        "earlier-copies-leave-their-members",
        "tables/partition/earlier_copies.py",
        "or (fold.unique and not self._move_members(copies, fold, route.set_key))",
        "or False",
        "tests/laws/test_copies.py::test_copies_told_by_their_rows_count_as_those_looked_at",
    ),
    Bug(
        "earlier-copy-of-a-filtered-member-taken-by-its-row",
        "tables/partition/earlier_copies.py",
        "if key is None or not fold.plain:",
        "if key is None:",
        "tests/laws/test_copies.py::test_an_earlier_copy_is_looked_at_where_positions_may_decide",
    ),
    Bug(
        "earlier-copy-of-a-group-of-all-history-taken-by-its-row",
        "tables/partition/earlier_copies.py",
        "(fold.limits_history or not has_cells(layer, run))",
        "not has_cells(layer, run)",
        "tests/laws/test_copies.py::test_an_earlier_copy_is_looked_at_where_positions_may_decide",
    ),
    Bug(
        "earlier-copy-of-a-group-taken-by-its-row",
        "tables/partition/earlier_copies.py",
        " or not has_cells(layer, run)",
        "",
        "tests/laws/test_copies.py::test_an_earlier_copy_of_a_group_without_room_is_looked_at",
    ),
    Bug(
        "earlier-copy-into-cells-that-wait-for-a-refold",
        "tables/partition/earlier_copies.py",
        "if not self._is_at_rest(meter_key, folded):",
        "if False:",
        "tests/laws/test_copies.py"
        "::test_an_earlier_copy_is_looked_at_unless_cells_are_at_rest_and_nobody_notes_more",
    ),
    Bug(
        "earlier-copy-though-changes-are-told",
        "tables/partition/earlier_copies.py",
        "if changed is not None and not changed.are_alike(reach_of(run)[1], each.known_ms):",
        "if False:",
        "tests/laws/test_copies.py"
        "::test_an_earlier_copy_is_looked_at_unless_cells_are_at_rest_and_nobody_notes_more",
    ),
    Bug(
        "earlier-copy-though-it-may-be-corrected",
        "tables/partition/earlier_copies.py",
        "is_odd = corrections.touches(meter_key[:2]) and any(",
        "is_odd = False and any(",
        "tests/laws/test_copies.py"
        "::test_an_earlier_copy_is_looked_at_unless_cells_are_at_rest_and_nobody_notes_more",
    ),
    Bug(
        "earlier-copies-beyond-the-event-ranges",
        "tables/partition/earlier_copies.py",
        "if ranges.note(run):",
        "if False:",
        "tests/laws/test_copies.py::test_an_earlier_copy_extends_the_event_ranges",
    ),
    Bug(
        "any-of-two-earlier-copies-counts",
        "tables/partition/copies.py",
        "if len(set(ids)) < len(ids):",
        "if False:",
        "tests/laws/test_copies.py::test_of_two_earlier_copies_in_one_batch_the_earliest_counts",
    ),
    Bug(
        "copies-told-without-their-bodies",
        "tables/event_index/entries.py",
        'same = ours["body"] == theirs["body"]',
        "same = np.ones(len(ours), np.bool_)",
        "tests/laws/test_straight.py::test_only_copies_of_known_events_are_not_looked_at",
    ),
    Bug(
        "verdict-on-a-copy-of-another-partition",
        "app/runtime/partition/verdicts.py",
        "        if number != self._number:\n",
        "        if False:\n",
        "tests/app/runtime/partition/test_owned.py"
        "::test_who_posts_an_event_is_not_told_the_verdict_on_one_of_another_partition",
    ),
    Bug(
        "kernel-takes-what-shares-its-time-for-alone",
        "app/kernel/members.h",
        "return shares && order > 0 ? LEAVE : PASS;",
        "return PASS;",
        "tests/app/kernel/test_members.py::test_both_take_the_same",
    ),
    Bug(
        "kernel-ties-an-operation-with-itself",
        "app/kernel/members.h",
        "*appended = known + position + 1;",
        "*appended = row->bytes + position + 1;",
        "tests/app/kernel/test_members.py::test_both_take_the_same",
    ),
    Bug(
        "tied-operation-forgets-who-came-before",
        "tables/unique_count.py",
        "until_ms = max(last.others_until_ms, operation.position[0])",
        "until_ms = operation.position[0]",
        "tests/laws/test_unique_count.py::test_what_is_alone_in_its_time_is_known_to_be",
    ),
    Bug(
        "settled-operation-taken-for-alone",
        "tables/unique_count.py",
        "unsure = tuple(o._replace(others_until_ms=UNKNOWN) for o in merged)",
        "unsure = tuple(merged)",
        "tests/laws/test_unique_count.py::test_an_operation_moves_as_if_it_had_come_so",
    ),
    Bug(
        "kernel-passes-over-grants",
        "app/kernel/events.h",
        'begins_with(&h, "meter-") && !is_named(&h, ORGANIZATION_HEADER)',
        "0",
        "tests/app/kernel/test_headers.py::test_what_is_noted_beside_headers_is_what_they_leave_it",
    ),
    Bug(
        "kernel-passes-over-binary-mode",
        "app/kernel/events.h",
        'is_binary |= begins_with(&h, "ce_");',
        "",
        "tests/app/kernel/test_headers.py::test_what_is_noted_beside_headers_is_what_they_leave_it",
    ),
    Bug(
        "kernel-passes-over-content-types",
        "app/kernel/events.h",
        "} else if (decided == CLOUD) {",
        "} else if (0) {",
        "tests/app/kernel/test_headers.py::test_what_is_noted_beside_headers_is_what_they_leave_it",
    ),
    Bug(
        "kernel-knows-types-by-case",
        "app/kernel/events.h",
        "(text[at + same] | 0x20) == word[same]",
        "text[at + same] == word[same]",
        "tests/app/kernel/test_headers.py::test_what_is_noted_beside_headers_is_what_they_leave_it",
    ),
    Bug(
        "cut-of-an-earlier-copy-forgotten-at-a-restart",
        "tables/partition/corrected.py",
        "self._cuts.schedule_revision(stored.name, entry.append_time_ms)",
        "pass",
        "tests/rules/test_corrections.py::test_an_earlier_copy_has_its_own_cut_though_the_worker_starts_again_before_its_refold",
    ),
    Bug(
        "kernel-has-no-leap-days",
        "app/kernel/events.h",
        "(month > 2 && is_leap)",
        "0",
        "tests/app/kernel/test_arriving.py::test_a_time_of_any_zone_arrives_alike",
    ),
    Bug(
        "kernel-passes-over-data-in-base64",
        "app/kernel/events.h",
        "|| found[FIELDS].found != NULL",
        "",
        "tests/app/kernel/test_arriving.py::test_each_odd_member_arrives_alike",
    ),
    Bug(
        "repair-leaves-the-digest",
        "tables/aggregation.py",
        "state.digest = (state.digest - digest) & DIGEST_MASK",
        "state.digest = state.digest & DIGEST_MASK",
        "tests/laws/test_repairs.py"
        "::test_a_correction_that_comes_during_a_refold_is_put_in_force_once",
    ),
    Bug(
        "repair-keeps-an-amount-that-nothing-carries",
        "tables/aggregation.py",
        "elif state.events - state.bare == 1:",
        "elif state.events == 1:",
        "tests/laws/test_repairs.py::test_a_repair_comes_to_what_a_refold_does",
    ),
    Bug(
        "amount-of-whoever-carries-none",
        "tables/fold.py",
        "            state.bare += 1\n",
        "            pass\n",
        "tests/laws/test_repairs.py::test_an_earlier_copy_comes_to_what_a_refold_does",
    ),
    Bug(
        "merge-forgets-who-carries-no-amount",
        "tables/aggregation.py",
        "state.bare = _bare(state) + _bare(other)",
        "state.bare += other.bare",
        "tests/laws/test_aggregations.py::test_a_removed_event_was_never_there",
    ),
    Bug(
        "kernel-forgets-who-carries-no-amount",
        "app/kernel/straight.h",
        "is_first ? OF_EVENTS : OF_BARE",
        "OF_BARE",
        "tests/app/kernel/test_kernel.py::test_what_the_kernel_folds_the_twin_folds",
    ),
    Bug(
        "newest-time-of-a-run-taken-for-that-of-all",
        "app/kernel/straight.h",
        "if (newer)\n        return keep",
        "if (newer >= 0)\n        return keep",
        "tests/app/kernel/test_kept.py::test_numbers_are_kept_as_they_are_applied",
    ),
    Bug(
        "kernel-forgets-what-a-member-was",
        "app/kernel/members.h",
        "if (noted == 0)\n        noted = ",
        "if (noted >= 0)\n        noted = ",
        "tests/app/kernel/test_members.py::test_both_take_the_same",
    ),
    Bug(
        "moments-of-other-decimals",
        "app/kernel/few_digits.h",
        "few->products *= 10;",
        "",
        "tests/app/kernel/test_kept.py::test_numbers_are_kept_as_they_are_applied",
    ),
    Bug(
        "negative-zero-summed-as-an-integer",
        "app/kernel/few_digits.h",
        " || (negative && *number == 0)",
        "",
        "tests/app/kernel/test_kept.py::test_numbers_are_kept_as_they_are_applied",
    ),
    Bug(
        "state-that-earlier-programs-misread",
        "tables/cells/cell.py",
        "FOLD_VERSION + WITH_BARE * bare",
        "FOLD_VERSION",
        "tests/laws/test_packed.py::test_an_earlier_program_leaves_a_cell_with_bare_events_alone",
    ),
    Bug(
        "history-of-open-periods",
        "tables/routing/period_charges.py",
        "return found[bisect_right(found, period.due_at_ms, key=_APPENDED_MS) :]",
        "return found",
        "tests/rules/test_history.py::test_a_period_not_yet_due_folds_under_its_own_definitions",
    ),
    Bug(
        "cuts-wait-for-what-is-queued-meanwhile",
        "app/runtime/partition/refold_queue.py",
        "self._begun_since_ms, self._queued_since_ms = self._queued_since_ms, NEVER_MS",
        "self._begun_since_ms = self._queued_since_ms",
        "tests/simulation/test_between_refolds.py::"
        "test_cuts_before_what_is_queued_meanwhile_do_not_wait_for_it",
    ),
    Bug(
        "cuts-go-on-before-what-a-refold-puts-back",
        "app/runtime/partition/refold_queue.py",
        "            self._queued_since_ms = min(self._queued_since_ms, self._begun_since_ms)\n",
        "",
        "tests/app/runtime/partition/test_refold_queue.py::"
        "test_cuts_wait_for_what_was_queued_before_them",
    ),
    Bug(
        "what-an-earlier-event-changes-holds-later-cuts-alone",
        "app/runtime/partition/refold_queue.py",
        "self.want(smaller, min(times, default=self._state.checkpoint.cut_ms))",
        "self.want(smaller, max(times, default=self._state.checkpoint.cut_ms))",
        "tests/app/runtime/partition/test_refold_queue.py::"
        "test_what_an_earlier_copy_changes_is_refolded_as_a_whole",
    ),
    Bug(
        "cells-said-to-show-what-is-left-to-do",
        "app/runtime/partition/refold_queue.py",
        "            append_time_ms = first_ms - 1\n",
        "            append_time_ms = first_ms\n",
        "tests/app/runtime/partition/test_refold_queue.py::"
        "test_cells_stand_under_what_comes_before_what_is_left_to_do",
    ),
    Bug(
        "flushed-for-definitions-that-concern-nobody",
        "app/runtime/partition/renewal.py",
        "if concerns or self._state.checkpoint.behind:",
        "if True:",
        "tests/app/runtime/partition/test_renewal.py::"
        "test_a_definition_that_concerns_nobody_goes_with_the_next_flush",
    ),
    Bug(
        "flushed-for-who-has-no-event",
        "app/runtime/partition/renewal.py",
        "concerns or bool(event_ranges.codes_of(renewed.name) or renewed.refold)",
        "True",
        "tests/app/runtime/partition/test_renewal.py::"
        "test_one_of_who_has_no_event_goes_with_the_next_flush",
    ),
    Bug(
        "brokers-asked-of-who-has-no-event",
        "tables/partition/retained.py",
        "return bool(state.event_ranges.codes_of((organization_id, external_id)))",
        "return True",
        "tests/app/queries/test_retained.py::"
        "test_only_the_logs_of_its_home_are_asked_for_a_subscription",
    ),
    Bug(
        "cuts-that-definitions-make-told-with-the-next-event",
        "app/runtime/partition/renewal.py",
        "if not self._cuts.is_told():",
        "if False:",
        "tests/app/runtime/partition/test_renewal.py::"
        "test_a_cut_that_a_definition_makes_is_told_at_once",
    ),
    Bug(
        "logs-of-all-asked-for-one-subscription",
        "app/queries/definer.py",
        "engine.owned.keys() & {home}",
        "engine.owned.keys()",
        "tests/app/queries/test_retained.py::"
        "test_only_the_logs_of_its_home_are_asked_for_a_subscription",
    ),
    Bug(
        "cuts-wait-for-definitions-that-never-end",
        "tables/partition/redefinition.py",
        "min(standing.looks_until_ms, standing.newest_ms)",
        "standing.looks_until_ms",
        "tests/app/runtime/partition/test_renewal.py::"
        "test_a_cut_comes_between_definitions_that_never_end",
    ),
    Bug(
        "cuts-wait-until-all-who-are-final-are-forgotten",
        "tables/closing/forgetting.py",
        "for _ in range(NAMES_AT_ONCE):",
        "while True:",
        "tests/tables/closing/test_forgetting.py::"
        "test_cuts_have_their_turn_between_some_and_others",
    ),
    Bug(
        "who-is-final-is-forgotten-in-part",
        "agents/close.py",
        "                owned.cuts.woken.set()\n        owned.next_flush",
        "                pass\n        owned.next_flush",
        "tests/agents/test_close.py::test_who_is_final_is_forgotten_with_cuts_in_between",
    ),
    Bug(
        "who-was-due-is-never-forgotten",
        "tables/closing/schedule.py",
        "            self._closed.append(number)\n",
        "",
        "tests/simulation/test_forgetting.py::test_what_is_forgotten_changes_no_record[6000002]",
    ),
    Bug(
        "who-is-noted-at-several-cuts-is-looked-at-as-often",
        "tables/closing/forgetting.py",
        "np.unique(np.concatenate(found))",
        "np.concatenate(found)",
        "tests/tables/closing/test_forgetting.py::"
        "test_cuts_have_their_turn_between_some_and_others",
    ),
    Bug(
        "what-a-period-said-is-dropped-while-its-days-are-shown",
        "tables/closing/daily.py",
        "and shown_until_ms(period, grids) <= cut_ms",
        "and period.end_ms <= cut_ms",
        "tests/semantics/test_daily.py::"
        "test_what_a_period_said_is_dropped_once_no_day_of_it_is_shown",
    ),
    Bug(
        "what-a-period-said-stays-in-the-changelog",
        "tables/changelogged/daily.py",
        "                self._put(_CELL + _encode(name) + _encode(identity), before, None)\n",
        "                pass\n",
        "tests/semantics/test_daily.py::"
        "test_what_a_period_said_is_dropped_once_no_day_of_it_is_shown",
    ),
    Bug(
        "day-of-two-batches-is-that-of-the-last",
        "tables/changelogged/added_days.py",
        "units if before is None else EXACT.add(Decimal(before), units)",
        "units",
        "tests/tables/changelogged/test_added_days.py::test_days_are_those_of_a_recount",
    ),
    Bug(
        "months-end-with-the-year",
        "tables/changelogged/added_days.py",
        "return date(day.year + day.month // 12, day.month % 12 + 1, 1)",
        "return date(day.year + day.month // 12, min(12, day.month + 1), 1)",
        "tests/tables/changelogged/test_added_days.py::test_days_are_those_of_a_recount",
    ),
    Bug(
        "days-of-a-topic-that-is-gone",
        "app/runtime/topics/daily_additions.py",
        "                if mark is not None and mark != _mark_of(records.pop(0)):\n",
        "                if mark is not None and not records.pop(0):\n",
        "tests/app/runtime/topics/test_daily_additions.py::"
        "test_a_topic_that_was_made_anew_is_read_from_its_beginning[40]",
    ),
    Bug(
        "days-of-a-disk-that-is-lost",
        "app/runtime/topics/daily_additions.py",
        "if self._read.get(tp.partition) != (ends[tp], days.newest)",
        "if self._read.get(tp.partition, (-1, None))[0] != ends[tp]",
        "tests/app/runtime/topics/test_daily_additions.py::"
        "test_local_disk_that_is_lost_is_filled_anew",
    ),
    Bug(
        "half-of-a-flush-taken-for-all-on-disk",
        "tables/changelogged/published.py",
        "            if not store.write(some):\n                return\n            yield\n",
        "            if not store.write(some):\n                return\n"
        "            store.commit(self._taken)\n            self._pieces.clear()\n"
        "            yield\n",
        "tests/tables/changelogged/test_published.py::"
        "test_local_disk_gets_a_flush_by_steps_that_may_end_early",
    ),
    Bug(
        "restore-that-pauses-in-its-place",
        "app/runtime/restoring/restorer.py",
        "                async with self._at_once:\n",
        "                await self._at_once.acquire()\n                if number >= 0:\n",
        "tests/app/runtime/restoring/test_restorer.py"
        "::test_who_cannot_be_restored_yet_keeps_no_other_waiting",
    ),
    Bug(
        "members-at-hand-for-each-partition",
        "app/runtime/restoring/restorer.py",
        "            owned.state.members.keep_at_most(self._shared.members_at_hand)\n",
        "            pass\n",
        "tests/app/runtime/restoring/test_restorer.py::test_members_at_hand_are_those_of_a_worker",
    ),
    Bug(
        "all-with-much-to-publish-at-hand",
        "agents/close.py",
        "            while held_bytes > HALF_CLOSED_BYTES:\n",
        "            while held_bytes < 0:\n",
        "tests/agents/test_close.py::"
        "test_those_with_much_to_publish_do_not_wait_at_hand_all_at_once[30]",
    ),
    Bug(
        "cell-that-is-gone-told-as-it-was",
        "tables/closing/daily.py",
        "self._gone_from.add(self._identity(charge, bucket, cell.groups)[0])",
        "pass",
        "tests/tables/closing/test_daily_noted.py::"
        "test_a_cell_that_a_correction_leaves_nothing_in_is_told",
    ),
    Bug(
        "cell-of-a-later-event-told-as-there",
        "tables/closing/daily.py",
        "if is_some or self._has_any(span, filter_id, groups):",
        "if span:",
        "tests/tables/closing/test_daily_noted.py::"
        "test_a_cell_that_only_a_later_event_is_in_is_told_as_gone",
    ),
    Bug(
        "cell-of-a-later-event-told-as-it-was",
        "tables/closing/daily.py",
        "self._gone_from.add(found[0])",
        "pass",
        "tests/tables/closing/test_daily_noted.py::"
        "test_a_cell_that_only_a_later_event_is_in_is_told_as_gone",
    ),
    Bug(
        "day-looks-at-all-cells",
        "tables/closing/daily.py",
        "            noted.told(self._partition.daily)\n",
        "            noted.told(None)\n",
        "tests/tables/closing/test_daily_noted.py::test_a_day_looks_at_the_group_that_changed",
    ),
    Bug(
        "newest-daily-record-added-twice",
        "app/runtime/topics/daily_additions.py",
        "mark != _mark_of(records.pop(0))",
        "mark != _mark_of(records[0])",
        "tests/app/runtime/topics/test_daily_additions.py::"
        "test_what_came_since_is_read_however_much_was_there[10]",
    ),
    Bug(
        "history-shows-in-no-day",
        "tables/partition/history.py",
        "watches and self._cuts.schedule_grid(name, record.append_time_ms)",
        "False",
        "tests/semantics/test_daily.py::test_what_history_changes_shows_in_the_next_day",
    ),
    Bug(
        "day-that-history-waits-for-is-not-scheduled",
        "tables/partition/history.py",
        "yield Renewed(name, refold, waits) if refold or waits else None",
        "yield Renewed(name, refold, False) if refold else None",
        "tests/tables/partition/test_new_settings.py::test_who_is_watched_waits_for_the_day_after_history",
    ),
    Bug(
        "history-half-done-taken-for-done",
        "tables/partition/standing.py",
        "        if not refolds:\n            self._checkpoint.history_ms",
        "        if True:\n            self._checkpoint.history_ms",
        "tests/rules/test_history.py::test_a_restart_at_any_moment_changes_nothing",
    ),
    Bug(
        "history-of-nobody-has-no-cut",
        "tables/closing/schedule.py",
        "            self._partition.cuts.next_of_history(),\n",
        "",
        "tests/rules/test_history.py::test_a_period_without_events_shows_it_from_its_cut_on[False]",
    ),
    Bug(
        "history-shown-at-a-later-records-cut",
        "tables/partition/cuts.py",
        "definitions.history_after(done_ms // every_ms * every_ms)",
        "definitions.history_after(done_ms)",
        "tests/rules/test_history.py::test_a_period_without_events_shows_it_from_its_cut_on[False]",
    ),
    Bug(
        "cells-of-other-keys-confused",
        "tables/routing/period_charges.py",
        "return charge_id, filter_id, groups, keys",
        "return charge_id, filter_id, groups",
        "tests/rules/test_history.py"
        "::test_other_keys_with_the_same_values_are_other_cells_and_come_back_as_revisions",
    ),
    Bug(
        "amended-event-in-an-earlier-cut",
        "tables/fold.py",
        "since_ms = max(append_time_ms, corrected_ms)",
        "since_ms = append_time_ms",
        "tests/rules/test_corrections.py"
        "::test_a_refold_for_a_definition_leaves_a_corrected_event_at_the_cut_of_its_correction",
    ),
    Bug(
        "period-edge-closed",
        "tables/cells/cell.py",
        "        layer = self.current\n"
        "        if layer is not None and layer.start_ms <= timestamp_ms < layer.end_ms:",
        "        layer = self.current\n"
        "        if layer is not None and layer.start_ms <= timestamp_ms <= layer.end_ms:",
        "tests/semantics/test_deviations.py::test_an_end_means_its_instant",
    ),
    Bug(
        "cut-a-millisecond-late",
        "tables/fold.py",
        "if append_time_ms > layer.due_at_ms or",
        "if append_time_ms > layer.due_at_ms + 1 or",
        "tests/rules/test_cut_edges.py"
        "::test_what_is_appended_a_millisecond_later_counts_at_the_next_revision",
    ),
    Bug(
        "watched-events-count-at-once",
        "tables/cells/watch.py",
        "cut_ms = min(self.cut_of(append_time_ms), due_at_ms)",
        "return 0",
        "tests/semantics/test_alerts.py::test_each_period_begins_at_nothing",
    ),
    Bug(
        "later-copy-told-as-changed",
        "tables/partition/refold.py",
        "self._anew.note(placed, identity, self.routes)",
        "pass",
        "tests/semantics/test_changed.py"
        "::test_a_subscription_is_told_of_events_that_came_before_it",
    ),
    Bug(
        "change-judged-by-later-definitions",
        "tables/partition/changed.py",
        "if self._definitions.has_commands_after(moment_ms):",
        "if False:",
        "tests/laws/test_changed.py::test_what_is_defined_after_a_moment_changes_nothing_of_it",
    ),
    Bug(
        "changes-told-again-after-a-crash",
        "tables/closing/changed.py",
        "if (cut_ms, name) <= checkpoint.changed_name:",
        "if False:",
        "tests/laws/test_changed.py::test_a_cut_left_half_told_goes_on_with_the_others",
    ),
    Bug(
        "redefined-usage-not-told",
        "tables/closing/changed.py",
        "return not before.leads_like_in(concerns, after, newest_ms, cut_ms)",
        "return False",
        "tests/semantics/test_changed.py"
        "::test_a_subscription_is_told_of_events_that_came_before_it",
    ),
    Bug(
        "definition-before-its-grid-cut",
        "tables/partition/standing.py",
        "return waiting_ms[first] - 1 if first < len(waiting_ms) else NEVER_MS",
        "return NEVER_MS",
        "tests/rules/test_waiting_definitions.py"
        "::test_a_subscription_that_nobody_watches_waits_for_no_grid_cut",
    ),
    Bug(
        "watched-metric-taken-for-another",
        "app/definitions/watching.py",
        "metric.id in metric_ids",
        "False",
        "tests/rules/test_waiting_definitions.py"
        "::test_one_definition_is_looked_at_without_the_one_after_the_next_grid_cut",
    ),
    Bug(
        "waiting-definition-that-comes-meanwhile",
        "tables/partition/standing.py",
        "self.looks_for_ms = min(self.looks_for_ms, self.looks_until_ms)",
        "pass",
        "tests/rules/test_waiting_definitions.py"
        "::test_what_has_to_wait_ends_a_look_at_others_of_its_millisecond",
    ),
    Bug(
        "unclear-cells-under-a-definition-that-waits",
        "tables/partition/standing.py",
        "until_ms = min(until_ms, max(self.looks_for_ms, self.looks_until_ms))",
        "pass",
        "tests/rules/test_waiting_definitions.py"
        "::test_who_is_packed_in_the_millisecond_of_one_that_waits_shows_it_later",
    ),
    Bug(
        "unclear-cells-of-whom-nothing-that-waits-concerns",
        "tables/partition/standing.py",
        "        if self.is_behind(name):\n            # One of their",
        "        if True:\n            # One of their",
        "tests/rules/test_waiting_definitions.py"
        "::test_who_began_in_the_millisecond_of_one_that_waits_for_others_loses_nothing",
    ),
    Bug(
        "definition-before-a-look-had-its-turn-does-not-wait",
        "tables/partition/standing.py",
        "        self.looks_for_ms = until_ms\n",
        "        self.looks_for_ms = NEVER_MS\n",
        "tests/rules/test_waiting_definitions.py"
        "::test_what_comes_before_a_look_had_its_turn_waits_too",
    ),
    Bug(
        "last-cut-of-a-grid-not-awaited",
        "tables/cells/grids.py",
        "NEVER_MS if following is None else ceil_to(following, each_ms)",
        "NEVER_MS if following is None else following",
        "tests/rules/test_waiting_definitions.py"
        "::test_the_last_cut_of_a_grid_that_settings_end_is_waited_for",
    ),
    Bug(
        "plan-left-by-what-waits",
        "tables/partition/redirection.py",
        "at_ms = self._standing.shown_until_ms if at_ms is None else at_ms",
        "at_ms = None",
        "tests/rules/test_waiting_definitions.py"
        "::test_a_definition_of_a_plan_shows_although_one_that_waits_leads_to_another_plan",
    ),
    Bug(
        "forgotten-definitions-taken-for-settings",
        "tables/partition/redefinition.py",
        "if leaves and impact.of_settings else",
        "if leaves and impact.organization_id is None else",
        "tests/tables/partition/test_new_settings.py"
        "::test_definitions_that_are_forgotten_one_by_one_are_looked_at",
    ),
    Bug(
        "other-settings-taken-for-due-times",
        "tables/partition/new_settings.py",
        "if any(_all_cells(each, by_day=by_day) != same for each in later):",
        "if False:",
        "tests/tables/partition/test_new_settings.py::test_days_are_looked_at_for_another_grid",
    ),
    Bug(
        "days-begin-for-nobody-at-once",
        "tables/partition/new_settings.py",
        'return newest_ms < (period.start_ms if self._of_days == "begin" else period.end_ms)',
        "return newest_ms < period.end_ms",
        "tests/tables/partition/test_new_settings.py"
        "::test_settings_that_change_cells_are_looked_at[{'daily_records': True}]",
    ),
    Bug(
        "watched-for-days-that-are-over",
        "app/definitions/state.py",
        "return at_ms < until_ms or",
        "return until_ms >= 0 or",
        "tests/tables/partition/test_new_settings.py"
        "::test_who_had_days_is_watched_until_they_end[True]",
    ),
    Bug(
        "cells-of-an-implicit-plan-stay-packed",
        "app/definitions/indexes/records.py",
        "if self._implicit[0] != known:",
        "if not self._implicit[0]:",
        "tests/app/definitions/indexes/test_records.py"
        "::test_when_there_first_was_an_implicit_plan_is_told_under_the_newest_settings",
    ),
    Bug(
        "what-came-in-a-grace-not-looked-at",
        "tables/partition/new_settings.py",
        "if reach_ms > before_ms and not (",
        "if False and not (",
        "tests/tables/partition/test_new_settings.py"
        "::test_what_came_in_the_grace_that_is_no_more_is_late",
    ),
    Bug(
        "grace-of-the-period-before-not-looked-at",
        "tables/partition/new_settings.py",
        "return over_ms + terms.grace_ms + terms.close_grid_ms <= before_ms",
        "return True",
        "tests/tables/partition/test_new_settings.py"
        "::test_what_came_in_the_grace_of_the_period_before_is_looked_at",
    ),
    Bug(
        "late-event-of-a-recurring-metric-not-looked-at",
        "tables/partition/new_settings.py",
        "if recurs:\n",
        "if False:\n",
        "tests/tables/partition/test_new_settings.py"
        "::test_a_late_event_of_a_recurring_metric_counts_from_the_next_period_on",
    ),
    Bug(
        "looked-at-in-the-same-millisecond",
        "tables/partition/standing.py",
        "not self._looked_ms <= self._until_ms < self._told[0].at_ms",
        "not self._until_ms < self._told[0].at_ms",
        "tests/tables/partition/test_new_settings.py"
        "::test_settings_of_the_millisecond_of_what_was_looked_at_are_looked_at",
    ),
    Bug(
        "restored-in-the-same-millisecond",
        "tables/partition/standing.py",
        "not self._looked_ms <= self._until_ms < self._told[0].at_ms",
        "not self._looked_ms <= self._until_ms",
        "tests/tables/partition/test_new_settings.py"
        "::test_settings_of_the_millisecond_of_a_restore_are_looked_at",
    ),
    Bug(
        "resting-route-taken",
        "tables/partition/route_table.py",
        "if route.made_at == RESTS:",
        "if False:",
        "tests/tables/partition/test_new_settings.py"
        "::test_nothing_is_compiled_for_another_grace[False-sum]",
    ),
    Bug(
        "resting-route-forgets-nothing",
        "tables/partition/packing.py",
        "return self.route_of(meter_key) if meter_key in self._routes.by_key else None",
        "return self._routes.find(meter_key)",
        "tests/tables/partition/test_new_settings.py"
        "::test_cells_of_final_periods_are_forgotten_by_routes_that_rest",
    ),
    Bug(
        "period-of-later-terms-shared",
        "app/definitions/periods.py",
        "if created_ms < period.end_ms and terms.since_ms <= period.fixed_at_ms:",
        "if created_ms < period.end_ms:",
        "tests/semantics/test_organizations.py"
        "::test_grace_is_the_customers_then_the_organizations_then_that_of_the_settings",
    ),
    Bug(
        "period-over-before-its-subscription-shared",
        "app/definitions/periods.py",
        "if created_ms < period.end_ms and terms.since_ms <= period.fixed_at_ms:",
        "if terms.since_ms <= period.fixed_at_ms:",
        "tests/app/definitions/test_timeline.py"
        "::test_a_period_that_elapsed_in_its_grace_is_no_running_one",
    ),
    Bug(
        "recurring-carry-ignored",
        "tables/cells/cell.py",
        "elif start_ms < period.start_ms and recurring:",
        "elif start_ms < period.start_ms and recurring and False:",
        "tests/simulation/test_recount.py::test_a_week_has_what_came_while_it_was_open",
    ),
    Bug(
        "later-cuts-shown",
        "tables/cells/cell.py",
        "            if late_ms <= cut_ms:\n                aggregation.merge(total, state)",
        "            aggregation.merge(total, state)",
        "tests/rules/test_cut_edges.py"
        "::test_what_is_appended_a_millisecond_later_counts_at_the_next_revision",
    ),
    Bug(
        "settled-state-lost",
        "tables/cells/cell.py",
        "aggregation.merge(self.state, self.late.pop(late_ms))",
        "self.late.pop(late_ms)",
        "tests/simulation/test_recount.py::test_a_week_has_what_came_while_it_was_open",
    ),
    Bug(
        "float-fold",
        "tables/sum.py",
        "state.total = add(state.total, value)",
        "state.total = Decimal(float(state.total) + float(value))",
        "tests/simulation/test_recount.py::test_a_week_has_what_came_while_it_was_open",
    ),
    Bug(
        "clamp-before-carry",
        "tables/sum.py",
        "add(full, before.total), events + before.events",
        "add(full, max(before.total, ZERO)), events + before.events",
        "tests/simulation/test_recount.py::test_a_week_has_what_came_while_it_was_open",
    ),
    Bug(
        "last-day-not-prorated",
        "tables/sum.py",
        "Fraction(state.total) * (last_day + 1)",
        "Fraction(state.total) * last_day",
        "tests/simulation/test_recount.py::test_every_week_is_published_as_recounted",
    ),
    Bug(
        "latest-ties-by-arrival",
        "tables/latest.py",
        "if (timestamp_ms, position) > (state.timestamp_ms, state.position):",
        "if timestamp_ms >= state.timestamp_ms:",
        "tests/tables/test_latest.py::test_the_highest_position_of_the_newest_millisecond",
    ),
    Bug(
        "maximum-merges-the-lesser",
        "tables/maximum.py",
        "other.greatest > state.greatest",
        "other.greatest < state.greatest",
        "tests/simulation/test_recount.py::test_every_week_is_published_as_recounted",
    ),
    Bug(
        "level-starts-at-zero",
        "tables/weighted_sum.py",
        "initial = ZERO if before is None else before.change",
        "initial = ZERO",
        "tests/simulation/test_recount.py::test_a_week_has_what_came_while_it_was_open",
    ),
    Bug(
        "spell-begun-twice",
        "tables/unique_count.py",
        "opens, closes = adds and not was,",
        "opens, closes = adds,",
        "tests/conformance/test_vectors.py::test_reference_figures",
    ),
    Bug(
        "unique-ignores-cuts",
        "tables/unique_count.py",
        "[at for at, o in enumerate(member) if o.cut_ms <= cut_ms]",
        "list(range(len(member)))",
        "tests/laws/test_unique_count.py::test_every_period_and_cut",
    ),
    Bug(
        "digest-dropped",
        "tables/changelogged/published_period.py",
        "self.digest == other.digest\n            and ",
        "",
        "tests/rules/test_redaction.py::test_usage_and_records_stay_as_they_are",
    ),
    Bug(
        "pending-as-of-the-first-cut",
        "tables/reading/publication.py",
        "ceil_to(max(to_come), period.revise_every_ms)",
        "ceil_to(min(to_come), period.revise_every_ms)",
        "tests/tables/reading/test_past_usage.py"
        "::test_what_waits_for_several_cuts_is_pending_as_the_last_of_them_shows_it",
    ),
    Bug(
        "revision-not-advanced",
        "tables/closing/revision.py",
        "revision = 0 if published is None else published.revision + 1",
        "revision = 0 if published is None else max(1, published.revision)",
        "tests/conformance/test_vectors.py::test_vector",
    ),
    Bug(
        "balance-left-to-a-plan-without-the-metric",
        "tables/closing/period_at_cut.py",
        ") and metric.id in self._carried_on_at(as_of_ms)",
        ") and metric.recurring",
        "tests/simulation/test_widened.py::test_a_metric_that_nobody_carries_on_is_a_violation",
    ),
    Bug(
        "completion-counts-one-cell",
        "tables/closing/period_at_cut.py",
        "told = revision, len(now.cells), now.digest",
        "told = revision, int(completes), now.digest",
        "tests/rules/test_history.py::test_a_history_record_revises_what_is_published_at_the_next_cut",
    ),
    Bug(
        "no-closing-zero",
        "tables/closing/period_before.py",
        'return cell.units != "0.0" and cell.cut_ms <= self._cut_ms',
        "return False",
        "tests/rules/test_cut_edges.py::test_a_level_that_has_ended_is_closed_by_one_zero",
    ),
    Bug(
        "zero-after-what-a-later-cut-showed",
        "tables/closing/period_before.py",
        'return cell.units != "0.0" and cell.cut_ms <= self._cut_ms',
        'return cell.units != "0.0"',
        "tests/tables/closing/test_close.py"
        "::test_a_cut_taken_again_knows_nothing_of_what_the_week_before_shows_since[False]",
    ),
    Bug(
        "zero-told-otherwise-for-what-a-later-cut-showed",
        "tables/closing/period_at_cut.py",
        "if found.cell.period_charge.metric.recurring and self._period_before.is_ahead(found):",
        "if False:",
        "tests/tables/closing/test_close.py"
        "::test_a_cut_taken_again_knows_nothing_of_what_the_week_before_shows_since[True]",
    ),
    Bug(
        "next-cut-as-it-was-asked-for-before",
        "app/definitions/timeline.py",
        "due is not None and due.done_ms <= done_ms < due.at_ms",
        "due is not None and due.done_ms <= done_ms",
        "tests/laws/test_due_after.py"
        "::test_what_is_due_next_is_found_whatever_was_asked_for_before",
    ),
    Bug(
        "earlier-cut-as-a-later-one",
        "app/definitions/timeline.py",
        "due is not None and due.done_ms <= done_ms < due.at_ms",
        "due is not None and done_ms < due.at_ms",
        "tests/laws/test_due_after.py"
        "::test_what_is_due_next_is_found_whatever_was_asked_for_before",
    ),
    Bug(
        "daily-records-as-before-the-settings",
        "app/definitions/indexes/records.py",
        "if self._daily[0] != known:",
        "if not self._daily[0]:",
        "tests/app/definitions/indexes/test_records.py"
        "::test_daily_records_are_told_under_the_newest_settings",
    ),
    Bug(
        "grids-as-before-the-settings",
        "app/definitions/indexes/records.py",
        "if self._grids[0] != known:",
        "if not self._grids[0]:",
        "tests/app/definitions/indexes/test_records.py"
        "::test_grids_are_told_under_the_newest_settings_and_as_of_a_time",
    ),
    Bug(
        "grids-of-later-settings",
        "app/definitions/indexes/records.py",
        "if until_ms is None or (grids and grids[-1][0] <= until_ms):",
        "if True:",
        "tests/app/definitions/indexes/test_records.py"
        "::test_grids_are_told_under_the_newest_settings_and_as_of_a_time",
    ),
    Bug(
        "due-times-taken-to-ascend",
        "app/definitions/periods.py",
        "        if period.end_ms >= earliest_ms:\n",
        "        if earliest_ms < NEVER_MS:\n",
        "tests/tables/closing/test_close.py"
        "::test_by_version_1_a_terminated_period_closes_before_one_that_is_in_grace",
    ),
    Bug(
        "refold-without-index",
        "tables/partition/refold.py",
        "if entry is None or entry[1:5] != arrival.place:\n            return self._freed",
        "if entry is None:\n            return self._freed",
        "tests/simulation/test_simulation.py::test_seeds_come_to_the_offline_fold[0]",
    ),
    Bug(
        "refold-starts-too-late",
        "tables/changelogged/presence.py",
        "return min(raw, default=None), min(rekeyed, default=None)",
        "return max(raw, default=None), max(rekeyed, default=None)",
        "tests/simulation/test_simulation.py::test_seeds_that_found_something[7034]",
    ),
    Bug(
        "recreated-metric-counts-all",
        "tables/fold.py",
        "if append_time_ms <= counts_after_ms:",
        "if append_time_ms <= 0:",
        "tests/rules/test_recreated_metric.py::test_events_up_to_the_deletion_never_count",
    ),
    Bug(
        "rows-of-other-groups",
        "tables/breakdown_fold.py",
        "timezone, limits, apart)",
        "timezone, limits)",
        "tests/laws/test_changed_charges.py::test_what_is_due_later_is_as_if_it_had_always_been_so",
    ),
    Bug(
        "filter-with-fewest-keys",
        "tables/charge.py",
        "(-len(b.conditions), sum(",
        "(len(b.conditions), sum(",
        "tests/conformance/test_vectors.py::test_vector",
    ),
    Bug(
        "grace-ignored",
        "app/definitions/periods.py",
        "max(end_ms, created_ms) + (terms.grace_ms if has_grace else 0)",
        "max(end_ms, created_ms)",
        "tests/app/definitions/test_timeline.py"
        "::test_a_period_that_elapsed_in_its_grace_is_no_running_one",
    ),
    Bug(
        "grace-of-an-uncut-period-ignored",
        "app/definitions/periods.py",
        "ceil_to(end_ms + grace_ms, close_grid_ms)",
        "ceil_to(end_ms, close_grid_ms)",
        "tests/app/definitions/test_timeline.py::test_grace_and_close_grid",
    ),
    Bug(
        "termination-without-grace",
        "app/definitions/periods.py",
        "has_grace = not ended or terms.fold_version > 1",
        "has_grace = not ended",
        "tests/app/definitions/test_timeline.py::test_termination_ends_at_its_instant",
    ),
    Bug(
        "share-below-zero-billed",
        "tables/cells/figures.py",
        "if in_advance or self.prorated_units is None or self.aggregate >= 0:",
        "if self.aggregate >= 0 or True:",
        "tests/semantics/test_proration.py::test_a_share_below_zero_bills_nothing",
    ),
    Bug(
        "figure-of-a-period-that-is-no-more",
        "tables/closing/instant_records.py",
        "for until_ms in (self._cut_ms, decided_ms):",
        "for until_ms in (self._cut_ms,):",
        "tests/semantics/test_instants.py::test_an_event_is_taken_out_of_a_period_that_is_no_more",
    ),
    Bug(
        "billed-beyond-an-end-reopens-no-period",
        "tables/closing/close.py",
        "times_ms |= moved.by_start.keys()",
        "pass",
        "tests/semantics/test_instants.py::test_a_period_cut_short_tells_that_what_it_billed"
        "_beyond_its_end_is_taken_out[True-False-final]",
    ),
    Bug(
        "billed-beyond-an-end-is-late",
        "tables/closing/reasons.py",
        "if fold.in_advance:",
        "if False:",
        "tests/semantics/test_instants.py::test_a_period_cut_short_tells_that_what_it_billed"
        "_beyond_its_end_is_taken_out[True-False-not final]",
    ),
    Bug(
        "billed-beyond-an-end-shows-no-balance-again",
        "tables/reading/shown_last.py",
        "        yield from self._moved_at(period_charge)\n",
        "",
        "tests/semantics/test_instants.py"
        "::test_a_balance_shows_all_once_what_it_billed_is_taken_out",
    ),
    Bug(
        "billed-once-and-corrected-for-ever",
        "tables/closing/billing.py",
        "if figure.decided_ms >= corrected_ms:",
        "if figure.decided_ms >= 0:",
        "tests/semantics/test_instants.py"
        "::test_a_balance_is_left_alone_when_what_it_billed_is_corrected_elsewhere",
    ),
    Bug(
        "renewal-billed-by-its-share",
        "tables/cells/figures.py",
        "if in_advance or self.prorated_units is None or self.aggregate >= 0:",
        "if self.prorated_units is None or self.aggregate >= 0:",
        "tests/semantics/test_instants.py"
        "::test_a_renewal_bills_in_full_what_has_a_share_below_zero",
    ),
    Bug(
        "downgrade-waits-for-the-year",
        "app/definitions/subscriptions.py",
        "if definitions.settings_at().fold_version > 1:",
        "if definitions.settings_at().fold_version > 2:",
        "tests/app/definitions/test_subscriptions.py"
        "::test_a_downgrade_of_a_plan_split_by_month_waits_for_the_next_month",
    ),
    Bug(
        "skipped-end-published",
        "app/definitions/periods.py",
        'subscription.on_termination_invoice == "skip"',
        "False",
        "tests/rules/test_skipped_ends.py::test_a_wished_end_skips_as_it_was_kept",
    ),
    Bug(
        "rest-of-a-skipped-period-published",
        "app/definitions/periods.py",
        "if ended_ms is not None and subscription.superseded_at_ms == ended_ms:",
        "if False:",
        "tests/rules/test_skipped_ends.py"
        "::test_a_late_event_does_not_publish_what_is_left_of_a_skipped_period",
    ),
    Bug(
        "later-subscription-shares-a-skipped-period",
        "app/definitions/skipped_ends.py",
        "changed.append(superseded)",
        "pass",
        "tests/rules/test_skipped_ends.py"
        "::test_usage_of_the_earlier_one_ends_where_the_later_begins",
    ),
    Bug(
        "late-event-of-a-balance-refused",
        "tables/partition/intake.py",
        "if metric is None or metric.recurring:",
        "if metric is None:",
        "tests/rules/test_late_balances.py"
        "::test_with_policy_refuse_the_first_period_not_yet_closed_shows_it",
    ),
    Bug(
        "closed-period-shows-a-late-balance",
        "tables/closing/period_at_cut.py",
        "if cut_ms > last_ms or merged:",
        "if cut_ms < 0:",
        "tests/rules/test_late_balances.py"
        "::test_an_event_of_a_metric_that_was_gone_changes_nothing",
    ),
    Bug(
        "last-cut-shows-what-came-after-the-window",
        "tables/cells/late_cut.py",
        "cut_ms = min(cut_ms, period.carries_until_ms)",
        "pass",
        "tests/rules/test_late_balances.py"
        "::test_the_last_cut_shows_what_came_while_the_period_was_open",
    ),
    Bug(
        "correction-leaves-a-late-balance-out",
        "tables/closing/period_at_cut.py",
        " or self._is_recounted(period_charge)",
        "",
        "tests/rules/test_late_balances.py::test_history_shows_events_that_waited_for_their_metric",
    ),
    Bug(
        "termination-instant-counts",
        "app/definitions/periods.py",
        "end_ms = natural_end_ms if ended_ms is None else ended_ms",
        "end_ms = natural_end_ms if ended_ms is None else ended_ms + 1",
        "tests/app/definitions/test_timeline.py::test_termination_ends_at_its_instant",
    ),
    Bug(
        "days-on-the-utc-clock",
        "app/billing_periods/day_count.py",
        "to_ms - from_ms - clock_change_ms",
        "to_ms - from_ms",
        "tests/app/billing_periods/test_day_count.py::test_inclusive_days",
    ),
    Bug(
        "wrong-partitioner",
        "app/wire/keys.py",
        "return zlib.crc32(key) % partitions",
        "return zlib.adler32(key) % partitions",
        "tests/app/wire/test_raw.py::test_crc32_partitions_are_those_of_librdkafka",
    ),
    Bug(
        "rest-of-array-skipped",
        "app/runtime/partition/portion.py",
        "position[2:] > self.marks.get(position[1], (-1, -1))",
        "position[2] > self.marks.get(position[1], (-1, -1))[0]",
        "tests/simulation/test_set_aside.py::test_of_an_array_only_what_fails_is_set_aside",
    ),
    Bug(
        "portion-passes-over-what-it-left",
        "app/runtime/partition/portion.py",
        "return False\n                step = STEP_BYTES",
        "return True\n                step = STEP_BYTES",
        "tests/agents/test_ingest.py::test_a_batch_is_taken_by_portions_of_whole_records",
    ),
    Bug(
        "cut-before-other-partitions",
        "agents/close.py",
        "    if behind is not None:\n",
        "    if False:\n",
        "tests/agents/test_close.py::test_each_of_these_holds_it_back",
    ),
    Bug(
        "half-taken-period-never-completed",
        "tables/closing/period_at_cut.py",
        "completes = revision == 0 or self.before.is_half_taken(self.cut_ms)",
        "completes = revision == 0",
        "tests/laws/test_half_cuts.py::test_a_period_that_lacks_its_completion_alone",
    ),
    Bug(
        "cuts-do-not-wait-for-definitions",
        "agents/close.py",
        "if owned.state.standing.holds_back(cut_ms):",
        "if False:",
        "tests/agents/test_close.py::test_each_of_these_holds_it_back",
    ),
    Bug(
        "packed-cells-under-definitions-not-looked-at",
        "tables/partition/packing.py",
        "until_ms, history_ms = self._standing.of(meter_key[:2])",
        "until_ms, history_ms = None, self._standing.of(meter_key[:2])[1]",
        "tests/laws/test_looking_later.py::test_packed_cells_come_back_as_they_stand",
    ),
    Bug(
        "admitted-events-do-not-reopen-periods",
        "tables/partition/cuts.py",
        "reopens = not recurs and period is not None and max(cuts) > period.final_ms",
        "reopens = False",
        "tests/laws/test_forgetting.py::test_a_revision_looks_at_all_that_it_revises",
    ),
    Bug(
        "corrections-do-not-reopen-periods",
        "tables/closing/close.py",
        "            else:\n                times_ms |= revised_ms\n",
        "",
        "tests/laws/test_forgetting.py::test_a_revision_looks_at_all_that_it_revises",
    ),
    Bug(
        "place-of-a-canceled-event-reopens-no-period",
        "tables/partition/revised.py",
        "if (before is None) != (after is None) and before is not arrival.event:",
        "if False:",
        "tests/rules/test_places.py"
        "::test_a_period_shows_who_has_the_place_of_a_cancelled_event[True-sum-balance-final]",
    ),
    Bug(
        "place-where-there-are-no-groups",
        "tables/closing/reasons.py",
        "if kept.place_only and not fold.gives_places:",
        "if False:",
        "tests/rules/test_places.py"
        "::test_without_groups_there_is_no_place_and_a_late_event_alone_is_the_reason",
    ),
    Bug(
        "group-that-a-later-period-lets-in-called-missing",
        "tables/reading/shown_last.py",
        "one_sided = not was_there or not",
        "one_sided = known is None or not",
        "tests/rules/test_places.py::test_a_closed_period_keeps_that_it_shows_nothing_of_a_group"
        "_that_a_later_one_lets_in",
    ),
    Bug(
        "corrections-of-what-recurs-reopen-one-period",
        "tables/closing/close.py",
        "                from_ms = min([from_ms, *revised_ms])",
        "                times_ms |= revised_ms",
        "tests/laws/test_forgetting.py::test_a_revision_looks_at_all_that_it_revises",
    ),
    Bug(
        "history-does-not-reopen-periods",
        "tables/partition/history.py",
        "own = (record for record in records if record.organization_id == name[0])",
        "own = iter(())",
        "tests/laws/test_forgetting.py::test_a_revision_looks_at_all_that_it_revises",
    ),
    Bug(
        "final-before-the-last-revision",
        "app/definitions/timeline.py",
        "if period.final_ms >= cut_ms or",
        "if period.final_ms > cut_ms or",
        "tests/tables/closing/test_revising.py::test_the_final_cut_shows_what_came_until_then",
    ),
    Bug(
        "ends-of-charges-not-compared",
        "tables/routing/course.py",
        "    return before_ms, tuple(",
        "    return 0, tuple(",
        "tests/laws/test_alike_periods.py"
        "::test_what_leads_alike_is_told_without_periods_that_are_fixed",
    ),
    Bug(
        "days-and-history-passed-over",
        "tables/routing/plan.py",
        "        if turns_ms and (\n",
        "        if False and (\n",
        "tests/laws/test_alike_periods.py::test_spans_are_those_of_all_periods",
    ),
    Bug(
        "changes-of-charges-passed-over",
        "tables/routing/plan.py",
        "following = *self._changes_ms[changed : changed + 1], *turns_ms[turned : turned + 1]",
        "following = turns_ms[turned : turned + 1]",
        "tests/laws/test_alike_periods.py::test_spans_are_those_of_all_periods",
    ),
    Bug(
        "periods-of-before-all-alike-in-spite-of-history",
        "tables/routing/plan.py",
        "return turned_ms <= period.start_ms and",
        "return",
        "tests/laws/test_alike_periods.py::test_spans_are_those_of_all_periods",
    ),
    Bug(
        "closes-without-what-is-packed",
        "tables/partition/route_table.py",
        "            or self._event_ranges.find(meter_key[:2], meter_key[2]) is not None\n",
        "",
        "tests/laws/test_packed.py::test_a_cut_leaves_packed_cells_as_they_were",
    ),
    Bug(
        "late-windows-passed-over",
        "app/definitions/timeline.py",
        "at_ms - max(map(_LATE_WINDOW_MS, self.terms)) - 1",
        "at_ms - 1",
        "tests/laws/test_due_after.py::test_what_late_events_change_is_found_without_what_is_over",
    ),
    Bug(
        "periods-that-are-open-for-ever-passed-over",
        "app/definitions/timeline.py",
        "any(each.fold_version == 1 for each in self.terms)",
        "False",
        "tests/laws/test_due_after.py::test_what_late_events_change_is_found_without_what_is_over",
    ),
    Bug(
        "last-cut-of-a-period-passed-over",
        "app/definitions/timeline.py",
        "if period.end_ms + open_ms >= before_ms:",
        "if period.end_ms >= start_ms:",
        "tests/laws/test_due_after.py"
        "::test_late_events_count_at_the_last_cut_of_a_period_that_comes_before_revisions",
    ),
    Bug(
        "periods-that-are-never-due-passed-over",
        "app/definitions/timeline.py",
        "_Stretch(periods_under(self.terms, at_ms - _LATE_MS, skips_never=False))",
        "_Stretch(periods_under(self.terms, at_ms - _LATE_MS, skips_never=True))",
        "tests/laws/test_due_after.py::test_any_period_is_found_whichever_was_asked_for_before",
    ),
    Bug(
        "refold-leaves-out-weeks-that-fold-otherwise",
        "tables/partition/left_out.py",
        "    return from_ms if alike else FROM_THE_FIRST",
        "    return from_ms",
        "tests/tables/partition/test_left_out.py::test_all_is_folded_where_a_week_folds_otherwise",
    ),
    Bug(
        "refold-leaves-out-weeks-that-are-kept",
        "tables/partition/left_out.py",
        "from_ms = min(first_kept_ms(old), *",
        "from_ms = min(*",
        "tests/tables/partition/test_left_out.py"
        "::test_it_begins_again_when_an_event_comes_of_a_week_that_had_none",
    ),
    Bug(
        "refold-leaves-out-a-week-final-after-a-later-one",
        "tables/partition/left_out.py",
        "if any(has_forgotten_since(span, from_ms) for span in old.spans):",
        "if False:",
        "tests/tables/partition/test_left_out.py"
        "::test_it_begins_again_when_an_event_comes_of_a_week_that_had_none",
    ),
    Bug(
        "refold-leaves-out-what-came-meanwhile",
        "tables/partition/refold.py",
        "if first_kept_ms(partition.packing.route_of(meter_key)) < from_ms:",
        "if False:",
        "tests/tables/partition/test_left_out.py"
        "::test_it_begins_again_when_an_event_comes_of_a_week_that_had_none",
    ),
    Bug(
        "refold-leaves-out-what-corrections-move",
        "tables/partition/left_out.py",
        "if corrections.rows.dated_until(name) >= from_ms:",
        "if False:",
        "tests/tables/partition/test_left_out.py"
        "::test_all_is_folded_where_an_amendment_dates_an_event_into_a_week_that_is_kept",
    ),
    Bug(
        "correction-in-force-where-it-was-left-out",
        "tables/partition/recorrection.py",
        "return meter_key in self._meter_keys and version.timestamp_ms >= from_ms",
        "return meter_key in self._meter_keys",
        "tests/tables/partition/test_left_out.py"
        "::test_a_correction_that_dates_an_event_into_such_a_week_waits_for_a_refold_of_all",
    ),
    Bug(
        "refold-leaves-out-what-a-correction-is-of",
        "tables/partition/left_out.py",
        "if corrected_ms is not None and corrected_ms < from_ms:",
        "if False:",
        "tests/tables/partition/test_left_out.py"
        "::test_all_is_folded_for_a_correction_in_a_week_that_is_forgotten",
    ),
    Bug(
        "refold-leaves-out-what-a-cut-has-to-tell",
        "tables/partition/left_out.py",
        "else followed.are_told",
        "else lambda *_: True",
        "tests/tables/partition/test_left_out.py"
        "::test_all_is_folded_while_a_cut_has_to_tell_an_earlier_correction",
    ),
    Bug(
        "queued-corrections-forget-the-earliest",
        "app/runtime/partition/refold_queue.py",
        "min(dated_ms, self._recorrecting.get(name, dated_ms))\n        self._recorrected = {}",
        "self._recorrecting.get(name, dated_ms)\n        self._recorrected = {}",
        "tests/app/runtime/partition/test_refold_queue.py"
        "::test_what_is_forgotten_may_stay_so_if_no_correction_is_of_before",
    ),
    Bug(
        "refold-leaves-out-what-a-correction-is-to-change",
        "tables/partition/left_out.py",
        "are_shown = followed.are_shown if corrected_ms is None else followed.are_told",
        "are_shown = followed.are_told",
        "tests/tables/partition/test_left_out.py"
        "::test_all_is_folded_where_more_than_definitions_decides",
    ),
    Bug(
        "refold-keeps-a-place-in-what-is-forgotten",
        "tables/partition/refold.py",
        "if not self._is_left_out(placed.meter_key, placed.timestamp_ms):",
        "if True:",
        "tests/tables/partition/test_left_out.py::test_what_was_corrected_long_ago_is_left_out_too",
    ),
    Bug(
        "whoever-was-corrected-is-slow-for-good",
        "tables/partition/corrected.py",
        "self._corrections.rows.note_event(stored.identity, came=True)",
        "pass",
        "tests/rules/test_corrections.py"
        "::test_events_go_straight_where_no_correction_can_be_about_them",
    ),
    Bug(
        "a-corrected-event-that-came-is-awaited",
        "tables/partition/corrected.py",
        "self._corrections.rows.note_event(identity, came=True)",
        "pass",
        "tests/rules/test_corrections.py"
        "::test_events_go_straight_where_no_correction_can_be_about_them",
    ),
    Bug(
        "a-correction-that-came-first-is-passed-over",
        "tables/changelogged/corrections.py",
        "self.rows.note_event(identity, came=False)",
        "pass",
        "tests/rules/test_corrections.py"
        "::test_events_go_straight_where_no_correction_can_be_about_them",
    ),
    Bug(
        "a-correction-of-a-refused-event-is-passed-over",
        "tables/partition/refold.py",
        "self.partition.corrections.rows.note_event(identity, came=False)",
        "pass",
        "tests/rules/test_corrections.py"
        "::test_a_correction_is_of_the_copy_that_comes_once_its_event_turns_out_to_be_refused",
    ),
    Bug(
        "a-copy-in-place-of-a-refused-event-is-awaited",
        "tables/partition/freed.py",
        "partition.corrections.rows.note_event(identity, came=True)",
        "pass",
        "tests/rules/test_late_definitions.py"
        "::test_the_first_copy_that_is_not_refused_counts_in_place_of_one_that_is",
    ),
    Bug(
        "a-start-takes-all-corrected-events-for-known",
        "tables/changelogged/corrections.py",
        "rows.note_event(identity, came=known is not None)",
        "rows.note_event(identity, came=True)",
        "tests/rules/test_corrections.py"
        "::test_events_go_straight_where_no_correction_can_be_about_them",
    ),
    Bug(
        "amendments-forget-how-late-they-date-an-event",
        "tables/changelogged/correction_rows.py",
        "self._dated_ms[number] = max(self._dated_ms[number], event.timestamp_ms)",
        "pass",
        "tests/tables/partition/test_left_out.py"
        "::test_all_is_folded_where_an_amendment_dates_an_event_into_a_week_that_is_kept",
    ),
    Bug(
        "refold-leaves-out-what-recurs",
        "tables/partition/left_out.py",
        "if any(span.fold.metric.recurring for span in (*old.spans, *new.spans)):",
        "if False:",
        "tests/tables/partition/test_left_out.py::test_all_is_folded_of_what_recurs",
    ),
    Bug(
        "full-usage-reads-again-what-a-span-of-before-has-forgotten",
        "tables/cells/full_usage.py",
        "own_ms = max(from_ms, span.key.start_ms)",
        "own_ms = from_ms",
        "tests/tables/closing/test_carrying.py"
        "::test_full_usage_has_the_groups_that_were_there_before_the_subscription",
    ),
    Bug(
        "beginning-anew-brings-back-what-is-over",
        "tables/partition/refold.py",
        "keeps = meter_key in self.dated_from or meter_key in self._whole",
        "keeps = meter_key in self.dated_from",
        "tests/tables/partition/test_left_out.py::test_cells_of_what_is_over_are_not_made_again",
    ),
    Bug(
        "refold-leaves-out-what-is-over-though-a-correction-waits",
        "tables/partition/left_out.py",
        "    if not partition.corrections.followed.are_shown(name, partition.cuts.settled_ms):\n"
        "        return new\n",
        "",
        "tests/tables/partition/test_left_out.py"
        "::test_they_are_made_again_where_a_correction_waits",
    ),
    Bug(
        "refold-folds-what-has-no-timestamp-into-what-is-forgotten",
        "tables/partition/refold.py",
        "if route is None or self._is_left_out(counted.meter_key, counted.timestamp_ms):",
        "if False:",
        "tests/tables/partition/test_left_out.py"
        "::test_an_event_without_a_timestamp_is_dated_when_it_was_appended",
    ),
    Bug(
        "refold-elsewhere-folds-what-is-forgotten",
        "tables/partition/refold_apart.py",
        "for key, _ in routes if key in job.dated_from}",
        "for key, _ in routes if key in ()}",
        "tests/tables/partition/test_left_out.py::test_another_process_leaves_them_out_too",
    ),
    Bug(
        "refolded-route-does-not-know-what-is-forgotten",
        "tables/partition/route_table.py",
        "            self.lead_by(refolded)\n",
        "",
        "tests/tables/partition/test_left_out.py::test_the_weeks_are_forgotten_by_the_new_route",
    ),
    Bug(
        "refold-for-an-earlier-copy-leaves-out-what-is-forgotten",
        "tables/partition/staleness.py",
        "        if not redefined:\n",
        "        if False:\n",
        "tests/app/runtime/partition/test_refold_queue.py"
        "::test_what_an_earlier_copy_changes_is_refolded_as_a_whole",
    ),
    Bug(
        "refold-reads-from-too-late-where-events-came-early",
        "tables/partition/left_out.py",
        "if known.early_ms < dated_ms > FROM_THE_FIRST else None",
        "if dated_ms > FROM_THE_FIRST else None",
        "tests/tables/partition/test_left_out.py"
        "::test_all_is_read_where_an_event_came_long_before_its_time",
    ),
    Bug(
        "straight-event-of-long-before-not-noted",
        "app/kernel/rows.h",
        " || v->timestamp_ms - v->append_ms > EARLY_MS",
        "",
        "tests/app/kernel/test_kernel.py::test_what_came_long_before_its_time_is_noted",
    ),
    Bug(
        "older-state-taken-to-have-no-early-events",
        "tables/changelogged/presence.py",
        "row.early_ms if row.events == _NOTES_EARLY else NEVER_MS",
        "row.early_ms",
        "tests/tables/changelogged/test_presence.py"
        "::test_a_record_of_an_older_program_is_read_and_replaced_when_it_changes",
    ),
    Bug(
        "refold-of-a-test-clock-begins-at-a-time-of-another",
        "app/runtime/offsets.py",
        "        if self._settings.test_clock:\n",
        "        if False:\n",
        "tests/app/runtime/test_offsets.py::test_times_of_a_test_clock_tell_nothing",
    ),
    Bug(
        "definition-of-the-millisecond-of-a-restore-missed",
        "tables/partition/standing.py",
        "included_ms = max(self._restored_ms, self._until_ms)",
        "included_ms = self._restored_ms",
        "tests/rules/test_same_millisecond.py"
        "::test_one_that_comes_while_another_of_then_waits_is_told_apart",
    ),
    Bug(
        "definition-before-a-cut-off-the-grid-lost-by-a-restart",
        "tables/partition/cuts.py",
        "decided_ms = decided_until(done_ms, definitions.close_grids_ms())",
        "decided_ms = done_ms",
        "tests/rules/test_waiting_definitions.py"
        "::test_a_cut_before_a_history_record_leaves_what_came_since_the_grid_cut",
    ),
    Bug(
        "definition-before-a-cut-off-the-grid-lost-by-folding-anew",
        "app/runtime/restoring/rebuild.py",
        "decided_ms = decided_until(grid_done_ms, definitions.close_grids_ms())",
        "decided_ms = grid_done_ms",
        "tests/app/runtime/restoring/test_rebuild.py"
        "::test_what_was_defined_since_the_last_cut_on_the_grid_is_taken_over",
    ),
    Bug(
        "alert-told-at-the-last-cut-of-a-grid-of-what-the-next-one-decides",
        "tables/closing/alerts.py",
        "told_until(cut_ms, grids)",
        "cut_ms",
        "tests/semantics/test_alerts.py"
        "::test_what_is_defined_with_a_coarser_grid_is_told_of_by_that_one",
    ),
    Bug(
        "late-event-led-to-a-cut-that-is-taken",
        "tables/routing/route.py",
        "return self.cut_ms > taken_ms",
        "return True",
        "tests/laws/test_straight.py::test_the_second_late_event_of_a_cut_goes_straight",
    ),
    Bug(
        "late-event-led-beside-to-a-cut-that-is-taken",
        "tables/routing/route.py",
        "if each.cut_ms <= taken_ms:",
        "if False:",
        "tests/laws/test_watched.py::test_no_event_goes_straight_beside_into_a_day_that_is_taken",
    ),
    Bug(
        "late-event-led-by-periods-of-before",
        "tables/partition/intake.py",
        "if late.timelines != tuple(map(_timeline_in, self._timelines.of(meter_key[:2]))):",
        "if False:",
        "tests/laws/test_straight.py::test_late_events_ask_the_newest_periods_whether_they_are_taken",
    ),
    Bug(
        "late-event-led-by-periods-that-were-asked-once",
        "tables/partition/intake.py",
        "if late.made_at != told_of:",
        "if late.made_at < 0:",
        "tests/laws/test_straight.py::test_late_events_ask_the_newest_periods_whether_they_are_taken",
    ),
    Bug(
        "late-event-led-to-a-cut-after-its-own",
        "tables/routing/route.py",
        "after_ms = max(aim.since_ms, layer.span.fold.counts_after_ms + 1)",
        "after_ms = layer.span.fold.counts_after_ms + 1",
        "tests/laws/test_straight.py::test_the_second_late_event_of_a_cut_goes_straight",
    ),
    Bug(
        "member-of-a-late-event-led-straight-counted-at-once",
        "tables/partition/partition.py",
        "cell, cut_ms = cell.own, route.cut_ms",
        "cell, cut_ms = cell.own, 0",
        "tests/laws/test_straight.py::test_late_events_go_straight_as_closely",
    ),
    Bug(
        "late-event-led-straight-not-written",
        "tables/partition/partition.py",
        "if cell.dirty:",
        "if True:",
        "tests/laws/test_watched.py::test_the_second_event_of_a_day_goes_straight_into_both_spans",
    ),
    Bug(
        "events-that-come-at-once-noted-as-early",
        "tables/changelogged/presence.py",
        "early_ms = max(dated_ms, default=-1)",
        "early_ms = max(dated_ms, default=0)",
        "tests/tables/changelogged/test_presence.py"
        "::test_events_far_apart_that_come_at_once_are_not_noted_as_early",
    ),
    Bug(
        "local-disk-asked-twice-for-what-is-not-published",
        "tables/changelogged/published.py",
        "if period is not None or name in self._absent:",
        "if period is not None:",
        "tests/tables/changelogged/test_published.py"
        "::test_who_closes_a_period_asks_local_disk_once",
    ),
    Bug(
        "filter-of-before-a-history-record-not-read",
        "tables/closing/period_at_cut.py",
        "bucket = told_of_all.filter(filter_id)",
        "bucket = told_of_all.filters[filter_id]",
        "tests/simulation/test_simulation.py::test_seeds_that_found_something[1050324]",
    ),
    Bug(
        "cell-of-another-schema-taken",
        "tables/closing/revision.py",
        'name = "cells", start_ms, at.schema_version',
        'name = "cells", start_ms',
        "tests/tables/closing/test_cells_alike.py"
        "::test_cuts_whose_records_have_other_schemas_have_other_cells",
    ),
    Bug(
        "what-few-have-in-common-kept-for-all",
        "tables/routing/period_charges.py",
        "keep(self._alike, name, make(), _MOST_ALIKE)",
        "keep(self._alike, name, make(), 1 << 60)",
        "tests/tables/closing/test_cells_alike.py"
        "::test_of_periods_that_begin_apart_little_is_kept[packed]",
    ),
    Bug(
        "who-came-again-put-where-it-was-before",
        "app/definitions/indexes/groups.py",
        "leaving[np.flatnonzero(numbers == number)[count:]] = False",
        "leaving[np.flatnonzero(numbers == number)[:-count]] = False",
        "tests/app/definitions/indexes/test_groups.py"
        "::test_groups_are_as_plain_dicts_and_so_are_their_branches",
    ),
    Bug(
        "partition-that-failed-kept-when-a-rebalance-ends-the-mending",
        "app/runtime/ownership.py",
        "letting_go = asyncio.create_task(self._let_go(owned))",
        "letting_go = asyncio.create_task(cancel(self._agents.pop(number, [])))",
        "tests/app/runtime/test_ownership.py"
        "::test_who_failed_is_given_up_though_a_rebalance_ends_the_mending",
    ),
    Bug(
        "full-usage-of-what-is-carried-on-read-from-its-events",
        "tables/cells/full_usage.py",
        "begun and (adds or not has_forgotten_since(span, own_ms))",
        "begun and not has_forgotten_since(span, own_ms)",
        "tests/tables/closing/test_carrying.py"
        "::test_full_usage_of_what_is_carried_on_is_read_of_its_cell",
    ),
    Bug(
        "charges-of-a-period-as-they-were-before-a-definition",
        "tables/partition/route_table.py",
        "known = (definitions.offset, history_ms)",
        "known = (0, history_ms)",
        "tests/tables/partition/test_route_table.py"
        "::test_charges_are_shared_by_what_stands_under_the_same_definitions",
    ),
    Bug(
        "charges-of-a-period-as-they-were-before-history",
        "tables/partition/route_table.py",
        "period.fixed_at_ms, tuple([record.offset for record in covered]))",
        "period.fixed_at_ms, ())",
        "tests/tables/partition/test_route_table.py"
        "::test_charges_are_shared_by_what_stands_under_the_same_definitions",
    ),
    Bug(
        "cell-that-changes-again-before-a-flush-unseen",
        "tables/cells/noted.py",
        "self._changed = {cell: None for cell in self._changed if cell.dirty}",
        "self._changed = {}",
        "tests/tables/closing/test_noted.py::test_who_changes_is_looked_at_once_it_is_told_and_longer_while_nobody_would_note_it",
    ),
    Bug(
        "what-comes-late-before-a-flush-unseen",
        "tables/cells/noted.py",
        "self._changed[cell] = self._late[cell] = None",
        "self._changed[cell] = None\n        if cell.late:\n            self._late[cell] = None",
        "tests/tables/closing/test_noted.py"
        "::test_what_comes_late_before_what_came_on_time_is_flushed_is_revised",
    ),
    Bug(
        "cells-that-may-get-more-late-let-go-of",
        "tables/cells/noted.py",
        "for cell in self._late if cell.late or cell.dirty}",
        "for cell in self._late if cell.late}",
        "tests/tables/closing/test_noted.py"
        "::test_what_comes_late_before_what_came_on_time_is_flushed_is_revised",
    ),
    Bug(
        "spans-shared-where-the-first-period-is-another",
        "tables/routing/plan.py",
        "if folding is not self.folds_in(whole):",
        "if False:",
        "tests/laws/test_shared_runs.py::test_days_that_end_before_it_begins_are_none_of_its_own",
    ),
    Bug(
        "spans-of-another-timeline-shared",
        "tables/routing/plan.py",
        "known = self._of_shared.get(id(timeline))",
        "known = next(iter(self._of_shared.values()), None)",
        "tests/laws/test_shared_runs.py::test_shared_spans_are_those_of_each_alone",
    ),
    Bug(
        "spans-shared-with-their-start",
        "tables/routing/plan.py",
        "Run(run.charge_id, own, first.start_ms, run.end_ms)",
        "Run(run.charge_id, own, run.start_ms, run.end_ms)",
        "tests/laws/test_shared_runs.py::test_shared_spans_are_those_of_each_alone",
    ),
    Bug(
        "periods-passed-over-under-terms-that-go-before-they-are-due",
        "app/definitions/periods.py",
        "if fixed_ms < changes_ms else None",
        "",
        "tests/app/definitions/test_timeline.py"
        "::test_where_to_begin_is_not_told_by_terms_that_do_not_decide",
    ),
    Bug(
        "periods-passed-over-by-the-weeks-of-another-timezone",
        "app/definitions/periods.py",
        "range(newest, before, -1)",
        "range(newest, newest, -1)",
        "tests/app/definitions/test_timeline.py"
        "::test_where_to_begin_is_not_told_by_terms_that_do_not_decide",
    ),
    Bug(
        "charges-of-a-code-passed-over",
        "tables/routing/period_charges.py",
        "places = sorted(place for code in codes for place in self._places.get(code, ()))",
        "places = list[int]()",
        "tests/tables/closing/test_close.py::test_append_time_decides_the_cut[just-after]",
    ),
    Bug(
        "periods-looked-for-long-after-the-end",
        "app/definitions/periods.py",
        "done_ms = min(done_ms, subscription.usage_end_ms - 1)",
        "pass",
        "tests/laws/test_due_after.py::test_what_is_due_is_found_however_often_the_customer_moved",
    ),
    Bug(
        "periods-passed-over-until-before-it-was-made",
        "app/definitions/periods.py",
        "if before_ms < begins_ms:",
        "if before_ms < -(1 << 62):",
        "tests/laws/test_due_after.py::test_who_was_just_made_has_no_period_that_a_grid_had_before",
    ),
    Bug(
        "week-of-another-timezone-taken-for-whole",
        "app/definitions/timeline.py",
        "if regular_ms <= start_ms else None",
        "",
        "tests/app/definitions/test_timeline.py"
        "::test_a_week_that_another_timezone_cut_short_or_not_is_the_one_that_holds_its_instants",
    ),
    Bug(
        "week-of-another-timezone-begun-with-its-sliver",
        "app/definitions/timeline.py",
        "subscription.started_at_ms) + TIMEZONE_SHIFT_MS",
        "subscription.started_at_ms)",
        "tests/app/definitions/test_timeline.py"
        "::test_a_week_that_another_timezone_cut_short_or_not_is_the_one_that_holds_its_instants",
    ),
    Bug(
        "alike-terms-that-move-taken-for-steady",
        "app/definitions/timeline.py",
        "            if terms.moves:\n                return None\n",
        "",
        "tests/laws/test_common_terms.py::test_shared_terms_are_steady_as_those_of_each_alone",
    ),
    Bug(
        "shared-terms-since-they-came",
        "app/definitions/terms.py",
        "[_new(Terms, (max(at_ms, created_ms), one, *each)) for",
        "[_new(Terms, (at_ms, one, *each)) for",
        "tests/laws/test_common_terms.py::test_shared_terms_are_those_of_each_alone",
    ),
    Bug(
        "history-record-of-the-last-hour-revises-nothing",
        "tables/partition/history.py",
        "after_ms = cuts[0] - max(self._cuts.revision_grids_ms)",
        "after_ms = cuts[0]",
        "tests/tables/partition/test_history.py::test_a_record_revises_until_its_cut_is_taken",
    ),
    Bug(
        "history-record-after-a-due-time-passed-over",
        "tables/routing/period_charges.py",
        "bisect_right(found, period.due_at_ms, key=_APPENDED_MS)",
        "bisect_right(found, period.due_at_ms, key=_APPENDED_MS) + 1",
        "tests/laws/test_history.py::test_it_is_as_if_it_had_always_been_so",
    ),
    Bug(
        "connection-that-nobody-reads-of-left-open",
        "app/kafka/clients.py",
        "if self._read_task is None and self._writer is not None:",
        "if False:",
        "tests/app/kafka/test_failed_connections.py"
        "::test_a_connection_that_ends_before_anybody_reads_of_it_is_closed",
    ),
    Bug(
        "periods-open-for-the-time-between-revisions-alone",
        "app/definitions/timeline.py",
        "return late_ms + max(map(_REVISE_EVERY_MS, self.terms), default=0)",
        "return max(map(_REVISE_EVERY_MS, self.terms), default=0)",
        "tests/app/definitions/test_timeline.py"
        "::test_no_period_is_open_for_longer_than_any_terms_say",
    ),
    Bug(
        "cell-that-is-gone-looked-at-for-good",
        "tables/partition/snapshot.py",
        "is done with it: another cell may have its name then.\n        cell.dirty = False\n",
        "is done with it: another cell may have its name then.\n",
        "tests/tables/closing/test_daily_noted.py"
        "::test_a_cell_that_was_made_again_is_not_taken_for_the_one_before",
    ),
    Bug(
        "verification-looks-at-all-for-each",
        "tables/reading/verification.py",
        "return {key: job.routes[key] for code in codes if (key := (*name, code)) in job.routes}",
        "return {key: job.routes[key] for key in job.routes if key[:2] == name and codes}",
        "tests/bench/test_growth.py::test_an_operation_costs_the_same_beside_ten_times_as_much"
        "[\\u2026 of what is published]",
    ),
    Bug(
        "members-are-looked-for-in-what-is-over",
        "tables/fold.py",
        "wanted: list[MemberKey] = []\n    for span in _reached_by(route, run):",
        "wanted: list[MemberKey] = []\n    for span in route.spans:",
        "tests/tables/test_fold.py::test_members_are_looked_for_in_no_subscription_that_ended",
    ),
    Bug(
        "cut-that-ended-early-takes-all-for-told",
        "tables/cells/noted.py",
        "        self._told_to = None\n        return found",
        "        return found",
        "tests/tables/closing/test_noted.py::test_all_are_looked_at_until_all_were_told",
    ),
    Bug(
        "told-to-somebody-else-is-told",
        "tables/cells/noted.py",
        "if self._told_to is teller else None",
        "if self._told_to is not None else None",
        "tests/tables/closing/test_noted.py::test_all_are_looked_at_until_all_were_told",
    ),
    Bug(
        "changes-since-a-flush-unseen-by-a-cut",
        "tables/closing/close.py",
        "    partition.snapshot.note()\n    if name in",
        "    if name in",
        "tests/tables/closing/test_noted.py::test_a_group_that_changes_twice_is_told_twice",
    ),
    Bug(
        "changes-that-are-flushed-unseen-by-a-cut",
        "tables/partition/snapshot.py",
        "        self.note()\n        dirty, self._dirty",
        "        dirty, self._dirty",
        "tests/tables/closing/test_noted.py::test_a_group_that_changes_twice_is_told_twice",
    ),
    Bug(
        "late-states-settled-of-what-was-noted-first",
        "tables/cells/noted.py",
        "self._changed[cell] = self._late[cell] = None",
        "self._changed[cell] = None",
        "tests/tables/closing/test_noted.py::test_what_is_settled_is_found_without_going_through_all",
    ),
    Bug(
        "cell-that-a-correction-deletes-unseen",
        "tables/partition/snapshot.py",
        "        layer.note(cell)\n        del layer",
        "        del layer",
        "tests/tables/closing/test_noted.py"
        "::test_a_cell_that_a_correction_leaves_nothing_in_is_revised",
    ),
    Bug(
        "digest-of-packed-cells-not-kept",
        "tables/changelogged/published_period.py",
        " - lost + _number(cell.digest)",
        " + _number(cell.digest)",
        "tests/tables/changelogged/test_published_period.py"
        "::test_it_tells_the_same_after_any_revisions",
    ),
    Bug(
        "newest-cut-of-packed-cells-not-kept",
        "tables/changelogged/published_period.py",
        "            sums.cut_ms = max(sums.cut_ms, cell.cut_ms)\n",
        "",
        "tests/tables/changelogged/test_published_period.py"
        "::test_it_tells_the_same_after_any_revisions",
    ),
    Bug(
        "sums-of-before-kept-when-rows-are-loaded",
        "tables/changelogged/published.py",
        "            there.pop(SUMS, None)\n",
        "",
        "tests/tables/changelogged/test_published_period.py"
        "::test_it_tells_the_same_after_any_revisions",
    ),
    Bug(
        "days-go-on-without-what-was-forgotten",
        "tables/cells/forgotten.py",
        "return any(span.key in over and not is_over_by(span, forgotten_ms) for span in new)",
        "return False",
        "tests/simulation/test_daily.py::"
        "test_days_that_begin_again_have_what_was_forgotten_once_days_ended",
    ),
    Bug(
        "charges-of-a-period-by-the-millisecond-of-history",
        "tables/partition/route_table.py",
        "record.offset for record in covered",
        "record.append_time_ms for record in covered",
        "tests/rules/test_history.py::test_records_of_one_millisecond_concern_their_own_periods",
    ),
    Bug(
        "closes-without-cells-that-were-published",
        "tables/closing/period_at_cut.py",
        "return bool(self.before.cells) or self.partition.routes.may_have_any(self.name)",
        "return bool(self.before.cells)",
        "tests/tables/closing/test_close.py"
        "::test_records_of_a_cut_come_by_period_and_cell_with_the_completion_last",
    ),
    Bug(
        "changes-told-of-definitions-of-another-moment",
        "tables/closing/changed.py",
        "                is_concerned\n",
        "                True\n",
        "tests/semantics/test_changed.py"
        "::test_a_moment_tells_of_the_definitions_that_belong_to_it_alone",
    ),
    Bug(
        "texts-of-a-period-that-is-never-due",
        "app/wire/usage_records.py",
        "    if period.due_at_ms >= NEVER_MS:",
        "    if period.due_at_ms < 0:",
        "tests/tables/closing/test_close.py"
        "::test_an_event_of_a_period_that_is_never_published_is_billed_at_once",
    ),
    Bug(
        "refold-behind-a-definition-of-its-millisecond-that-waits",
        "tables/partition/refold.py",
        "                partition.standing.look_again(name)\n",
        "                pass\n",
        "tests/rules/test_waiting_definitions.py"
        "::test_a_refold_shows_a_definition_though_one_of_its_millisecond_waits",
    ),
    Bug(
        "refold-without-what-was-looked-at-meanwhile",
        "tables/partition/refold.py",
        "if partition.standing.shown_until_ms != self._shown_until_ms:",
        "if False:",
        "tests/rules/test_waiting_definitions.py"
        "::test_a_refold_shows_a_definition_though_one_of_its_millisecond_waits",
    ),
    Bug(
        "history-takes-what-is-to-be-looked-at-again",
        "tables/partition/redirection.py",
        "        if self._standing.shown_until_ms is not None:\n",
        "        if False:\n",
        "tests/rules/test_waiting_definitions.py"
        "::test_a_refold_shows_a_definition_though_one_of_its_millisecond_waits",
    ),
    Bug(
        "members-let-go-while-usage-is-read-end-the-query",
        "app/queries/usage.py",
        "            with suppress(NotAtHand):\n",
        "            with suppress():\n",
        "tests/simulation/test_simulation.py::test_seeds_that_found_something[51001249]",
    ),
    Bug(
        "members-of-another-cluster-taken-for-ours",
        "app/redis/members.py",
        "        return cluster is None or cluster.decode() == self.cluster\n",
        "        return True\n",
        "tests/app/redis/test_members.py::test_members_of_another_cluster_are_never_taken_for_ours",
    ),
    Bug(
        "who-stands-still-under-another-name-goes-on",
        "app/runtime/claims.py",
        "            await self._fence(former)\n",
        "",
        "tests/app/runtime/test_claims.py"
        "::test_another_goes_on_where_no_worker_is_left_and_fences_who_stands_still",
    ),
    Bug(
        "workers-of-two-names-beside-each-other",
        "app/runtime/claims.py",
        "        if group.members:\n",
        "        if False:\n",
        "tests/app/runtime/test_claims.py::test_another_is_refused_while_there_are_workers",
    ),
    Bug(
        "two-names-that-start-at-once-both-go-on",
        "app/runtime/claims.py",
        "            if self._seal.is_of(seal, claim):\n",
        "            if False:\n",
        "tests/app/runtime/test_claims.py"
        "::test_of_two_that_start_at_once_the_last_to_claim_goes_on",
    ),
    Bug(
        "grace-looked-at-by-nobody-when-trust-changes-with-it",
        "app/definitions/settings_records.py",
        "    same = msgspec.structs.replace(before, **told) == after\n",
        "    same = any(getattr(before, field) != told[field] for field in told)\n",
        "tests/app/definitions/test_settings_records.py"
        "::test_what_leaves_every_cell_as_it_is_has_nobody_looked_at",
    ),
    Bug(
        "definition-alone-in-its-millisecond-taken-for-known-before",
        "tables/partition/standing.py",
        "        alone = self._definitions.is_alone_at(at_ms)\n",
        "        alone = False\n",
        "tests/rules/test_waiting_definitions.py"
        "::test_a_definition_alone_in_the_millisecond_of_a_packing_refolds_what_it_changes",
    ),
    Bug(
        "comes-back-with-another-code-under-a-later-definition-of-its-millisecond",
        "tables/partition/redirection.py",
        "            if self._packing.is_packed(name):\n                # All of it comes back,",
        "            if False:\n                # All of it comes back,",
        "tests/rules/test_same_millisecond.py"
        "::test_what_comes_back_with_another_code_is_refolded_too",
    ),
    Bug(
        "cut-over-routes-of-a-later-definition-of-a-restores-millisecond",
        "app/runtime/restoring/restore.py",
        "queue.want((meter_key,), checkpoint.cut_ms)",
        "queue.want((meter_key,), checkpoint.definitions_ms)",
        "tests/app/runtime/restoring/test_restore.py"
        "::test_cuts_wait_for_routes_that_may_show_what_was_defined_after_them",
    ),
    Bug(
        "carries-on-what-an-earlier-week-is-shown-by",
        "tables/closing/forgetting.py",
        "not any(shows_before(partition, span, known_ms) for span in found.route.spans)",
        "True",
        "tests/tables/closing/test_forgetting_rows.py"
        "::test_a_week_without_events_whose_rows_are_too_long_stays_too",
    ),
    Bug(
        "forgotten-lost-by-a-restart",
        "tables/changelogged/presence.py",
        "            row.forgotten_ms,\n",
        "",
        "tests/tables/closing/test_forgetting.py"
        "::test_a_flush_between_two_steps_leaves_cells_that_nobody_reads",
    ),
    Bug(
        "revises-what-is-forgotten",
        "tables/closing/period_at_cut.py",
        "                if has_forgotten(span, period):\n                    # It is final",
        "                if False:\n                    # It is final",
        "tests/laws/test_forgetting.py::test_the_same_is_published_and_told",
    ),
    Bug(
        "adds-to-what-is-forgotten",
        "tables/fold.py",
        "if not recurring or (bills_at_once",
        "if recurring and (bills_at_once",
        "tests/tables/closing/test_forgetting.py::test_an_admitted_event_brings_the_others_back",
    ),
    Bug(
        "refolds-for-each-very-late-event-of-what-recurs",
        "tables/fold.py",
        "if not recurring or (bills_at_once",
        "if True or (bills_at_once",
        "tests/tables/closing/test_carrying.py::test_the_same_is_told_whether_it_is_carried_on",
    ),
    Bug(
        "carries-on-what-a-cut-to-come-shows",
        "tables/closing/forgetting.py",
        "                    if cell.late is not None:\n",
        "                    if False:\n",
        "tests/tables/closing/test_carrying.py::test_the_same_is_told_whether_it_is_carried_on",
    ),
    Bug(
        "verifies-what-is-carried-on-without-what-came-late",
        "tables/cells/forgotten.py",
        "    for cut_ms, state in (cell.late or {}).items():\n",
        "    for cut_ms, state in {}.items():\n",
        "tests/tables/closing/test_carrying_late.py"
        "::test_a_verification_finds_what_is_lost_of_a_week_that_is_carried_on",
    ),
    Bug(
        "amends-into-what-is-forgotten",
        "tables/unfold.py",
        "if place is not None and is_forgotten(place.layer):",
        "if False:",
        "tests/laws/test_forgetting.py::test_the_same_is_published_and_told",
    ),
    Bug(
        "forgets-what-is-late-yet",
        "tables/closing/forgetting.py",
        "if period.final_ms <= settled_ms and not is_forgotten(layer)",
        "if period.due_at_ms <= settled_ms and not is_forgotten(layer)",
        "tests/tables/closing/test_forgetting.py"
        "::test_cells_of_a_final_period_go_while_a_later_one_is_due_and_not_final",
    ),
    Bug(
        "rows-of-the-flush-under-way-are-found-nowhere",
        "tables/event_index/row_log.py",
        "first = at - self._written",
        "first = at",
        "tests/tables/event_index/test_row_log.py::test_rows_are_as_a_dict_would_have_them",
    ),
    Bug(
        "altered-figures-are-taken-for-what-was-written",
        "tables/event_index/row_log.py",
        "if _hash(row) != entry.body_hash:",
        "if False:",
        "tests/tables/event_index/test_row_log.py::test_a_row_that_the_disk_has_altered_is_noticed",
    ),
    Bug(
        "what-is-not-committed-goes-to-the-file",
        "tables/event_index/row_log.py",
        "        size = self._sealed\n",
        "        size = len(self._tail)\n",
        "tests/tables/event_index/test_row_log.py"
        "::test_rows_stay_in_memory_while_the_disk_takes_nothing",
    ),
    Bug(
        "a-file-that-is-cut-short-leads-nowhere",
        "tables/event_index/row_log.py",
        "self._tail or self._file.size() < at",
        "self._tail",
        "tests/tables/event_index/test_row_log.py"
        "::test_a_file_that_ends_before_the_log_goes_on_is_made_anew",
    ),
    Bug(
        "a-torn-log-of-figures-is-taken-for-whole",
        "tables/partition/snapshot.py",
        "if checkpoint.at_rest != tables.instants.at_rest.end:",
        "if False:",
        "tests/simulation/test_figures.py::test_a_log_of_figures_that_is_torn_is_noticed",
    ),
    Bug(
        "what-events-billed-stays-in-memory",
        "tables/changelogged/instants.py",
        "if self.rests and before is None:",
        "if False:",
        "tests/tables/changelogged/test_instants.py"
        "::test_figures_and_chains_rest_elsewhere_than_in_memory",
    ),
    Bug(
        "days-of-who-ended-are-kept",
        "tables/closing/forgetting.py",
        "        if not partition.daily:\n            return\n",
        "        return\n",
        "tests/tables/closing/test_forgetting_days.py"
        "::test_cells_that_tell_days_go_once_no_day_is_shown",
    ),
    Bug(
        "what-recurs-is-carried-on-for-nobody",
        "tables/closing/forgetting.py",
        "if span.fold.metric.recurring and is_over(span)}",
        "if False}",
        "tests/tables/closing/test_carrying.py::test_nothing_is_carried_on_once_no_week_is_to_come",
    ),
    Bug(
        "what-an-upgrade-leaves-unpublished-keeps-all-cells",
        "tables/closing/told.py",
        "goes_without = may_be_carried_on(subscription, charge, period)",
        "goes_without = False",
        "tests/tables/closing/test_carrying.py::test_the_same_is_told_whether_it_is_carried_on",
    ),
    Bug(
        "what-comes-when-all-is-over-has-cells",
        "tables/fold.py",
        "passes_over = is_over(span)",
        "passes_over = False",
        "tests/tables/closing/test_carrying.py::test_the_same_is_told_whether_it_is_carried_on",
    ),
    Bug(
        "all-is-over-while-an-earlier-period-is-open",
        "tables/cells/forgotten.py",
        "        final_ms = max(final_ms, period.final_ms)\n",
        "        pass\n",
        "tests/tables/closing/test_carrying.py::test_the_same_is_told_whether_it_is_carried_on",
    ),
    Bug(
        "members-of-what-is-over-are-verified",
        "tables/reading/member_sets.py",
        "        return is_over(span)",
        "        return False",
        "tests/tables/closing/test_carrying.py::test_the_same_is_told_whether_it_is_carried_on",
    ),
    Bug(
        "chains-that-rest-begin-anew",
        "tables/changelogged/instants.py",
        "start_ms is None or _day_of(start_ms) in self._rested",
        "start_ms is None",
        "tests/simulation/test_figures.py::test_chains_that_rest_go_on_where_they_were",
    ),
    Bug(
        "starts-of-periods-whose-chains-rest-are-forgotten-with-the-process",
        "tables/changelogged/instants.py",
        "self._rested.add(_day_of(_decode_start(key[1:])))",
        "pass",
        "tests/tables/changelogged/test_instants.py"
        "::test_figures_and_chains_rest_elsewhere_than_in_memory",
    ),
    Bug(
        "figures-rest-where-an-earlier-program-looks-for-them-in-vain",
        "app/runtime/partition/flush.py",
        "if not state.instants.rests and self._context.is_state_read_by_all():",
        "if True:",
        "tests/simulation/test_figures.py"
        "::test_figures_stay_in_the_changelog_while_an_earlier_program_has_a_partition",
    ),
    Bug(
        "events-of-a-cut-that-is-taken-again-are-billed-twice",
        "tables/changelogged/instants.py",
        "return cut_ms <= newest_ms",
        "return False",
        "tests/tables/changelogged/test_instants.py"
        "::test_events_that_a_cut_decided_before_a_refold_are_not_billed_again",
    ),
    Bug(
        "events-that-billed-nothing-billed-after-a-torn-changelog",
        "tables/changelogged/checkpoint.py",
        "return self.grid_done_ms if self.figures_whole else self.cut_ms",
        "return self.cut_ms",
        "tests/simulation/test_simulation.py::test_seeds_that_found_something[10001041]",
    ),
    Bug(
        "events-that-lost-their-figures-bill-nothing",
        "tables/changelogged/checkpoint.py",
        "return self.grid_done_ms if self.figures_whole else self.cut_ms",
        "return self.grid_done_ms",
        "tests/simulation/test_mending.py"
        "::test_records_of_single_events_that_are_lost_with_a_torn_changelog_are_published_again",
    ),
    Bug(
        "all-revised-periods-in-one-step",
        "tables/closing/close.py",
        "        if count:\n            # A history record",
        "        if False:\n            # A history record",
        "tests/tables/closing/test_forgetting.py"
        "::test_each_period_that_a_history_record_revises_is_a_step",
    ),
    Bug(
        "sample-compares-records-of-all-periods",
        "tables/reading/verification.py",
        "return not self._recent or period.final_ms > self.partition.cuts.settled_ms",
        "return True",
        "tests/tables/reading/test_verification.py"
        "::test_each_period_is_a_step_and_a_sample_takes_as_many_at_any_age",
    ),
    Bug(
        "forgets-before-the-last-day-is-told",
        "tables/cells/forgotten.py",
        "max(period.final_ms, shown_until_ms(period, grids))",
        "period.final_ms",
        "tests/tables/closing/test_forgetting_days.py"
        "::test_the_last_day_of_a_final_period_is_told_of_all_cells",
    ),
    Bug(
        "forgets-others-of-who-rests-before-the-last-day-is-told",
        "tables/closing/packed_forgetting.py",
        "            if period.final_ms <= settled_ms:\n",
        "            if False:\n",
        "tests/tables/closing/test_forgetting_days.py"
        "::test_cells_that_tell_days_go_once_no_day_is_shown",
    ),
    Bug(
        "cells-that-tell-days-stay",
        "tables/daily_fold.py",
        "        return True\n",
        "        return False\n",
        "tests/tables/closing/test_forgetting_days.py"
        "::test_however_many_periods_there_were_as_many_cells_tell_days",
    ),
    Bug(
        "forgets-what-no-record-tells",
        "tables/closing/told.py",
        "cell.late is None and (cell.state.digest, precise) == (told, amount)",
        "cell.late is None",
        "tests/tables/closing/test_forgetting.py::test_what_no_record_tells_stays",
    ),
    Bug(
        "forgets-before-a-correction-shows",
        "tables/closing/forgetting.py",
        "    return not (\n        partition.refolding(*name)",
        "    return True or not (\n        partition.refolding(*name)",
        "tests/tables/closing/test_forgetting.py"
        "::test_nothing_goes_while_a_correction_waits_for_its_cut",
    ),
    Bug(
        "cells-go-before-their-members",
        "tables/closing/forgetting.py",
        "elif span.fold.unique and not self._is_empty(cell, waited_for):",
        "elif False:",
        "tests/tables/closing/test_forgetting.py"
        "::test_members_go_before_their_cell_and_nobody_reads_what_is_left",
    ),
    Bug(
        "cells-go-when-a-part-of-their-members-has-gone",
        "tables/changelogged/members.py",
        "if cursor or self.leaving[key]:",
        "if False:",
        "tests/tables/closing/test_forgetting.py"
        "::test_members_go_before_their_cell_and_nobody_reads_what_is_left",
    ),
    Bug(
        "sets-taken-for-empty-at-their-end",
        "tables/changelogged/members.py",
        "if cursor or self.leaving[key]:",
        "if cursor:",
        "tests/tables/changelogged/test_members.py"
        "::test_a_set_that_is_read_in_parts_is_looked_at_once_more",
    ),
    Bug(
        "members-that-the-store-lacks-stay",
        "tables/changelogged/members.py",
        "if name[0] in stored:",
        "if False:",
        "tests/tables/closing/test_forgetting.py::test_members_that_the_store_lacks_yet_go_too",
    ),
    Bug(
        "members-removed-that-are-gone",
        "tables/changelogged/members.py",
        "if self._sets.get(name[0], _NO_ROWS).get(name[1]):",
        "if True:",
        "tests/tables/changelogged/test_members.py::test_members_that_are_not_at_hand_go_as_well",
    ),
    Bug(
        "quarter-of-an-hour-with-two-dates-taken-for-one",
        "app/billing_periods/timezones.py",
        "is_sure = first.date() == last.date() and first.utcoffset() == last.utcoffset()",
        "is_sure = True",
        "tests/app/billing_periods/test_timezones.py"
        "::test_a_date_is_that_of_the_wall_clock_also_where_clocks_are_set",
    ),
    Bug(
        "set-that-lost-members-taken-for-whole",
        "tables/changelogged/members.py",
        "                self.complete.discard(key)\n                self._forget(key, gone)",
        "                self._forget(key, gone)",
        "tests/tables/changelogged/test_members.py"
        "::test_the_oldest_sets_leave_whole_and_the_others_stay_so",
    ),
    Bug(
        "member-let-go-of-before-the-store-has-it",
        "tables/changelogged/members.py",
        " and (key, text) not in unwritten",
        "",
        "tests/tables/changelogged/test_members.py"
        "::test_what_the_store_lacks_stays_however_many_there_are",
    ),
    Bug(
        "what-memory-knows-of-a-member-published",
        "tables/changelogged/members.py",
        "return row if row[-1] else row[: -2 - row[-2]]",
        "return row",
        "tests/tables/changelogged/test_members.py"
        "::test_what_memory_knows_besides_is_not_published_and_ends_with_it",
    ),
    Bug(
        "member-of-the-store-taken-for-alone",
        "tables/changelogged/members.py",
        'packed + _NOTHING_KNOWN if packed else b""',
        'packed or b""',
        "tests/tables/changelogged/test_members.py"
        "::test_what_memory_knows_besides_is_not_published_and_ends_with_it",
    ),
    Bug(
        "members-that-are-gone-kept-at-hand",
        "tables/changelogged/members.py",
        'if self._sets.get(key, _NO_ROWS).get(text) == b"":',
        "if False:",
        "tests/tables/changelogged/test_members.py::test_all_members_of_a_set_go_and_no_others",
    ),
    Bug(
        "verify-misses-members-that-are-forgotten",
        "tables/reading/member_sets.py",
        "if _is_forgotten(live, name):",
        "if False:",
        "tests/laws/test_forgetting.py::test_the_same_is_published_and_told",
    ),
    Bug(
        "amended-into-a-route-of-before",
        "tables/partition/corrected.py",
        "                self._packing.route_of((*name, event.code))\n                # The event",
        "                # The event",
        "tests/laws/test_repairs.py"
        "::test_an_amend_to_a_code_without_events_finds_the_definitions_of_now",
    ),
    Bug(
        "corrects-before-what-is-carried-on",
        "tables/cells/forgotten.py",
        "return span.fold.forgets if period is None else",
        "return False if period is None else",
        "tests/tables/closing/test_carrying.py::test_the_same_is_told_whether_it_is_carried_on",
    ),
    Bug(
        "carries-on-before-an-earlier-period-is-final",
        "tables/closing/forgetting.py",
        "        and _is_in_order(partition, found.layers)\n",
        "",
        "tests/tables/closing/test_carrying.py::test_the_same_is_told_whether_it_is_carried_on",
    ),
    Bug(
        "carries-nothing-on",
        "tables/cells/forgotten.py",
        "    aggregation.carry(into.state, cell.state)\n",
        "",
        "tests/tables/closing/test_carrying.py"
        "::test_there_is_one_cell_however_many_periods_there_were",
    ),
    Bug(
        "carried-on-and-not-written",
        "tables/closing/forgetting.py",
        "                    partition.snapshot.mark(carried)\n",
        "",
        "tests/tables/closing/test_carrying.py"
        "::test_there_is_one_cell_however_many_periods_there_were",
    ),
    Bug(
        "moves-a-member-in-a-period-that-is-gone",
        "tables/fold.py",
        "span.layers.get(period_ms)\n",
        "span.layers[period_ms]\n",
        "tests/tables/closing/test_carrying.py::test_the_same_is_told_whether_it_is_carried_on",
    ),
    Bug(
        "carried-group-forgets-its-place",
        "tables/cells/forgotten.py",
        "        into.first = min(into.first, cell.first)\n",
        "        pass\n",
        "tests/tables/closing/test_carrying.py::test_a_group_keeps_the_place_of_its_first_event",
    ),
    Bug(
        "carries-on-groups-that-are-as-many-as-may-be",
        "tables/closing/forgetting.py",
        "for each in layer.limited_layers() for name",
        "for each in [layer] for name",
        "tests/tables/closing/test_carrying.py"
        "::test_groups_that_are_as_many_as_may_be_are_not_carried_on",
    ),
    Bug(
        "carries-on-by-the-first-rules",
        "tables/closing/forgetting.py",
        "if first is not None and first.carries_until_ms >= NEVER_MS:",
        "if False:",
        "tests/tables/closing/test_carrying.py"
        "::test_what_earlier_events_change_at_any_age_is_not_carried_on",
    ),
    Bug(
        "carries-on-after-a-week-of-the-first-rules-without-events",
        "tables/closing/forgetting.py",
        "        if period.start_ms >= open_ms[span.key]:\n",
        "        if period.start_ms == open_ms[span.key]:\n",
        "tests/tables/closing/test_carrying.py"
        "::test_such_a_week_without_events_shows_what_is_amended_into_it",
    ),
    Bug(
        "recounts-without-what-is-carried-on",
        "tables/partition/history.py",
        "refold = self._recounted(name, named, rewritten)",
        "refold = set[MeterKey]()",
        "tests/tables/closing/test_carrying.py::test_the_same_is_told_whether_it_is_carried_on",
    ),
    Bug(
        "verifies-what-is-carried-on-without-what-was-before",
        "tables/cells/forgotten.py",
        "span.fold.metric.recurring if period is None else has_forgotten(span, period)",
        "period is not None and has_forgotten(span, period)",
        "tests/tables/closing/test_carrying.py::test_the_same_is_told_whether_it_is_carried_on",
    ),
    Bug(
        "what-leaves-is-lost-by-a-restart",
        "tables/partition/partition.py",
        "        yield from in_steps(self.checkpoint.leaving, self.members.leave)\n",
        "",
        "tests/laws/test_partition.py::test_nothing_stays_in_the_store_of_sets_that_were_refolded",
    ),
    Bug(
        "forgotten-though-refolded",
        "tables/partition/route_table.py",
        "self._event_ranges.note_forgotten(meter_key, -1)",
        "pass",
        "tests/laws/test_forgetting.py::test_the_same_is_published_and_told",
    ),
    Bug(
        "forgets-beside-an-earlier-program",
        "app/runtime/progress.py",
        "p is not None and p.state_version >= state_version",
        "p is not None",
        "tests/app/runtime/test_progress.py::test_all_read_what_every_owner_reads",
    ),
    Bug(
        "full-usage-of-what-is-left",
        "tables/cells/full_usage.py",
        " and (adds or not has_forgotten_since(span, own_ms))",
        "",
        "tests/laws/test_forgetting.py::test_the_same_is_published_and_told",
    ),
    Bug(
        "nothing-explained-as-equal",
        "tables/reading/explained.py",
        "told = told if recomputed.figures(self._period, *cell).counts else raw",
        "told = raw",
        "tests/tables/closing/test_forgetting.py"
        "::test_verify_and_explain_hold_the_events_against_the_records",
    ),
    Bug(
        "altered-published-figures-believed",
        "tables/changelogged/piece_store.py",
        "if signed[:_HASH_BYTES] != _hash(name, piece):",
        "if False:",
        "tests/tables/changelogged/test_published.py::test_what_the_disk_has_altered_is_noticed",
    ),
    Bug(
        "partition-goes-on-with-altered-published-figures",
        "tables/changelogged/published.py",
        "                self._tell_lost(error)\n",
        "",
        "tests/app/runtime/partition/test_owned.py"
        "::test_a_partition_that_local_disk_has_altered_is_restored_at_once",
    ),
    Bug(
        "lost-published-figures-taken-for-none",
        "tables/changelogged/piece_store.py",
        "        self._lost = True\n        self._remove()",
        "        self._remove()",
        "tests/tables/changelogged/test_published.py::test_what_the_disk_has_altered_is_noticed",
    ),
    Bug(
        "published-figures-of-another-log-believed",
        "app/runtime/restoring/restore.py",
        "if kept.began is not None and expected != kept.sum:",
        "if False:",
        "tests/simulation/test_published.py::test_local_disk_that_has_something_else_published_is_made_again",
    ),
    Bug(
        "published-figures-discarded-though-kept",
        "app/runtime/restoring/restore.py",
        "    # The sum says nothing of records of single events, but the mark does.",
        "    store.discard()",
        "tests/simulation/test_published.py::test_what_was_published_is_not_forgotten_with_the_checkpoint",
    ),
    Bug(
        "cut-taken-again-takes-nothing-for-published",
        "tables/changelogged/published.py",
        "self.first_ms = cut_ms if cut_ms > self._newest_ms else -1",
        "self.first_ms = cut_ms",
        "tests/tables/changelogged/test_published.py"
        "::test_a_cut_that_is_taken_again_looks_for_what_it_published",
    ),
    Bug(
        "period-without-cells-that-was-looked-at-is-lost",
        "tables/changelogged/published.py",
        "            self._changed.add(name)\n        elif",
        "            pass\n        elif",
        "tests/tables/changelogged/test_published.py"
        "::test_a_period_without_cells_is_kept_whether_it_is_looked_at",
    ),
    Bug(
        "published-cell-packed-as-it-was-first",
        "tables/changelogged/published.py",
        "        period.packed[row] = value\n",
        "        period.packed.setdefault(row, value)\n",
        "tests/tables/changelogged/test_published.py::test_a_start_finds_what_was_committed_last",
    ),
    Bug(
        "published-cell-named-by-another-period",
        "tables/changelogged/published.py",
        "if self._named[0] is not name:",
        "if not self._named[1]:",
        "tests/tables/changelogged/test_published.py::test_each_period_is_found_as_it_was_put",
    ),
    Bug(
        "published-figure-loaded-twice",
        "tables/changelogged/published.py",
        "            for rest in rows.keys() & there.keys():\n",
        "            for rest in ():\n",
        "tests/tables/changelogged/test_published.py::test_a_start_finds_what_was_committed_last",
    ),
    Bug(
        "start-without-local-disk-looks-there-for-each-period",
        "tables/changelogged/published.py",
        "noted is not None and not noted.note(name)",
        "False",
        "tests/tables/changelogged/test_published_load.py"
        "::test_a_start_without_local_disk_looks_there_for_what_came_again_alone",
    ),
    Bug(
        "cells-of-a-refold-replaced-at-once",
        "tables/partition/route_table.py",
        "            cells.append(cell)\n            if len(cells) % STEP_ITEMS == 0:\n",
        "            cells.append(cell)\n            if False:\n",
        "tests/tables/partition/test_refold.py::test_cells_are_replaced_and_freed_by_steps",
    ),
    Bug(
        "local-disk-discarded-and-nobody-told",
        "tables/event_index/index.py",
        "            if discarded is not None:\n",
        "            if False:\n",
        "tests/app/runtime/restoring/test_discards.py::test_local_disk_that_is_of_no_use_is_told",
    ),
    Bug(
        "published-figures-of-a-failed-write-forgotten",
        "tables/changelogged/published.py",
        "store.commit(self._taken):\n            self._pieces.clear()",
        "store.commit(self._taken):\n            pass\n        self._pieces.clear()",
        "tests/tables/changelogged/test_published.py"
        "::test_what_local_disk_does_not_make_last_stays_in_memory",
    ),
    Bug(
        "billing-of-after-the-cut",
        "tables/closing/billing.py",
        "return chain is not None and chain.decided_ms > cut_ms",
        "return chain is None",
        "tests/semantics/test_instants.py"
        "::test_a_cut_that_is_taken_again_says_nothing_of_what_was_billed_after_it",
    ),
    Bug(
        "crash-that-waits-for-who-begins",
        "app/kafka/batch_consumer.py",
        "        if self.app.crashed:\n            # Its thread ends",
        "        if False:\n            # Its thread ends",
        "tests/app/kafka/test_coming.py::test_a_crash_waits_for_no_partition_that_begins",
    ),
    Bug(
        "earlier-copy-led-by-a-late-route",
        "tables/partition/earlier_copies.py",
        "if isinstance(route, LateRoute) or layer is None",
        "if layer is None",
        "tests/laws/test_repairs.py::test_an_earlier_copy_comes_to_what_a_refold_does",
    ),
    Bug(
        "one-charge-alone-bills-an-event-as-it-came",
        "tables/fold.py",
        "            noted[at] = arrival\n            at -= 1\n",
        "            noted[at] = arrival\n            break\n",
        "tests/tables/test_fold.py::test_each_charge_bills_an_event_as_it_came",
    ),
    Bug(
        "fetch-that-ends-unseen",
        "app/kafka/lenient_fetch.py",
        "        super().discard(node_id)\n        self._look()\n",
        "        super().discard(node_id)\n",
        "tests/app/kafka/test_lenient_fetch.py"
        "::test_a_fetch_that_ends_as_room_is_made_is_followed_at_once",
    ),
    Bug(
        "turn-that-others-go-on-in",
        "app/bounds/turns.py",
        "if task is not asyncio.current_task():",
        "if False:",
        "tests/app/bounds/test_turns.py::test_another_task_does_not_go_on_in_a_turn_that_has_ended",
    ),
    Bug(
        "short-works-that-hold-the-loop",
        "app/bounds/turns.py",
        "if self._ended is None or self.clock() >= self._until_s:",
        "if self._ended is None:",
        "tests/app/bounds/test_turns.py::test_short_works_of_a_task_have_a_turn_together",
    ),
    Bug(
        "collector-that-rests-for-good",
        "app/runtime/ownership.py",
        "            asyncio.get_running_loop().call_later(_UNCOLLECTED_S, gc.enable)\n",
        "",
        "tests/app/runtime/test_ownership.py::test_the_collector_rests_no_longer_than_a_while",
    ),
    Bug(
        "stall-that-begins-at-rest",
        "app/bounds/turns.py",
        "            called()\n",
        "            pass\n",
        "tests/app/runtime/test_stall.py"
        "::test_at_rest_it_wakes_seldom_and_a_step_is_measured_from_its_beginning",
    ),
    Bug(
        "made-and-never-cooled",
        "tables/partition/timelines.py",
        "            self._at_hand.note(name)\n",
        "",
        "tests/laws/test_packed.py::test_a_look_installs_nothing_that_stays",
    ),
    Bug(
        "kept-at-hand-and-never-cooled",
        "tables/partition/cooling.py",
        "                    if partition.routes.is_at_hand(name):",
        "                    if touched != now and partition.routes.is_at_hand(name):",
        "tests/laws/test_packed.py::test_what_stays_at_hand_at_a_look_is_looked_at_again",
    ),
    Bug(
        "packed-while-it-changed",
        "tables/partition/packing.py",
        "if any(map(_dirty, cells)) or [*map(_hash, cells)] != hashes:",
        "if False:",
        "tests/laws/test_packed.py::test_what_changes_between_two_steps_stays_at_hand",
    ),
    Bug(
        "cut-during-refold",
        "agents/close.py",
        "if since_ms is not None and since_ms <= cut_ms:",
        "if since_ms is not None and since_ms < 0:",
        "tests/agents/test_close.py::test_each_of_these_holds_it_back",
    ),
    Bug(
        "kernel-writes-a-fraction-with-its-zeros",
        "app/kernel/packing.h",
        "while (text[size - 1] == '0')\n            size--;",
        "while (text[size - 1] == '9')\n            size--;",
        "tests/app/kernel/test_packing.py::test_both_write_the_same",
    ),
    Bug(
        "kernel-writes-no-later-cuts",
        "app/kernel/packing.h",
        "late == Py_None && span_key",
        "span_key",
        "tests/app/kernel/test_packing.py::test_both_write_the_same",
    ),
    Bug(
        "kernel-writes-no-bare-events",
        "app/kernel/packing.h",
        "PyObject_IsTrue(bare) != 0 || ",
        "",
        "tests/app/kernel/test_packing.py::test_both_write_the_same",
    ),
    Bug(
        "cut-taken-again-after-one-that-is-half-taken",
        "tables/closing/period_at_cut.py",
        "not is_first and self.before.is_ahead(self.cut_ms)",
        "False",
        "tests/laws/test_half_cuts.py::test_a_cut_before_one_that_is_half_taken_is_not_taken_again",
    ),
    Bug(
        "straight-parts-take-unique-counts-for-sums",
        "app/runtime/partition/owned.py",
        "return parts_of(runs, size // routes.heaviest)",
        "return parts_of(runs, size)",
        "tests/app/runtime/partition/test_owned.py"
        "::test_events_that_take_long_are_folded_straight_few_at_once",
    ),
    Bug(
        "events-of-many-charges-folded-as-many-at-once",
        "tables/partition/route_table.py",
        "self.heaviest = max(self.heaviest, _straight_weight(route))",
        "self.heaviest = 1",
        "tests/app/runtime/partition/test_owned.py"
        "::test_events_that_take_long_are_folded_straight_few_at_once[sum-5-8]",
    ),
    Bug(
        "charges-looked-up-for-each-alert",
        "tables/closing/alerts.py",
        "@cached_property\n    def _charge_ids",
        "@property\n    def _charge_ids",
        "tests/tables/closing/test_alerts.py"
        "::test_charges_are_looked_up_once_for_all_alerts_that_a_cut_touches",
    ),
    Bug(
        "committed-before-the-rest",
        "app/runtime/partition/commit.py",
        "await self.producer.commit(*self._output_noted(unsent))",
        "self._output_noted(unsent)\n"
        "            await self.producer.commit(unsent.records[-1:])\n"
        "            await self.producer.commit(unsent.records[:-1])",
        "tests/simulation/test_outage.py"
        "::test_a_flush_without_an_answer_says_that_writes_are_refused",
    ),
    Bug(
        "flush-sent-again-though-committed",
        "app/runtime/partition/commit.py",
        "            return True\n        if found != self._durable:",
        "        elif found != self._durable:",
        "tests/simulation/test_outage.py::test_a_flush_without_an_answer_is_committed_once",
    ),
    Bug(
        "flush-not-sent-again-though-aborted",
        "app/runtime/partition/commit.py",
        "if newest is not None and found in unsent.tried:",
        "if newest is not None and found in (*unsent.tried, self._durable):",
        "tests/simulation/test_outage.py"
        "::test_a_partition_is_parked_with_its_flush_and_goes_on_with_it",
    ),
    Bug(
        "dead-letters-lost",
        "app/runtime/partition/owned.py",
        "self.verdicts.refuse_arrivals(result.refused)",
        "self.verdicts.refuse_arrivals(result.refused[1:])",
        "tests/app/runtime/partition/test_owned.py"
        "::test_late_events_of_one_slice_wait_for_each_of_their_cuts",
    ),
    Bug(
        "wrong-members-not-verified",
        "tables/reading/member_sets.py",
        "self.expected.keys() | kept.keys()",
        "at_hand.keys()",
        "tests/laws/test_proof.py::test_verification_finds_exactly_the_member_that_is_wrong",
    ),
    Bug(
        "charges-of-a-plan-outlive-a-definition",
        "tables/routing/plan.py",
        "until_ms, len(plan.changes), len(history))",
        "until_ms, 0, len(history))",
        "tests/semantics/test_plan_charges.py"
        "::test_a_charge_that_is_grouped_anew_is_so_from_the_start_of_the_period",
    ),
    Bug(
        "charges-of-a-plan-outlive-a-history-record",
        "tables/routing/plan.py",
        "len(plan.changes), len(history))",
        "len(plan.changes), 0)",
        "tests/laws/test_history.py::test_it_is_as_if_it_had_always_been_so",
    ),
    Bug(
        "charges-of-a-plan-alike-in-spite-of-history",
        "tables/routing/plan.py",
        "by_day, tuple([record.offset for record in covered]))",
        "by_day, ())",
        "tests/rules/test_history.py"
        "::test_a_recurring_metric_folds_all_history_in_the_periods_covered_only",
    ),
    Bug(
        "charges-of-a-plan-outlive-a-change-of-a-metric",
        "tables/routing/plan.py",
        "under = (definitions.metric_index.changed, len",
        "under = (0, len",
        "tests/rules/test_shared_charges.py::test_who_begins_after_a_change_has_it[metric]",
    ),
    Bug(
        "unique-codes-outlive-a-new-metric",
        "app/definitions/indexes/coded.py",
        "self.codes_of_type.setdefault(metric.aggregation_type, {})[metric.code] = None",
        "self.codes_of_type.setdefault(metric.aggregation_type, {metric.code: None})",
        "tests/rules/test_shared_charges.py"
        "::test_members_are_asked_for_as_soon_as_a_metric_has_any",
    ),
    Bug(
        "refolded-members-stay-in-the-store",
        "tables/partition/route_table.py",
        "gone += span.all_sets().values()",
        "gone += span.sets.values()",
        "tests/laws/test_partition.py"
        "::test_nothing_stays_of_cells_and_sets_whose_place_other_groups_take",
    ),
    Bug(
        "redis-declared-whole",
        "app/runtime/restoring/restore.py",
        "await fill(store, number, checkpoint.epoch, checkpoint.flush, members)",
        "await fill(store, number, checkpoint.epoch, checkpoint.flush, {})",
        "tests/simulation/test_simulation.py::test_one_fault_between_events",
    ),
    Bug(
        "gap-before-a-batch-unnoticed",
        "agents/ingest.py",
        "if batch.start > next_offset:",
        "if batch.start > next_offset + 1_000:",
        "tests/agents/test_ingest.py::test_a_batch_that_leaves_a_gap_is_not_folded",
    ),
    Bug(
        "reach-rounded-to-the-minute",
        "tables/changelogged/presence.py",
        "self.newest_ms, self.appended_ms = newest_ms, appended_ms",
        "self.newest_ms, self.appended_ms = ceil_to(newest_ms, NOTED_TO_MS), appended_ms",
        "tests/tables/changelogged/test_presence.py"
        "::test_who_ends_in_the_minute_of_the_last_event_is_refolded_only_if_that_comes_after",
    ),
    Bug(
        "kernel-keeps-the-reach-of-what-it-leads-to-itself",
        "app/kernel/straight.h",
        "failed = extend_ranges(route, &reached) < 0;",
        "failed = 0;",
        "tests/app/kernel/test_kernel.py::test_what_the_kernel_leads_the_twin_leads",
    ),
    Bug(
        "leads-straight-into-another-hour",
        "tables/changelogged/presence.py",
        "return newest * NOTED_TO_MS, appended * NOTED_TO_MS,",
        "return (newest + 2) * NOTED_TO_MS, (appended + 2) * NOTED_TO_MS,",
        "tests/tables/changelogged/test_presence.py"
        "::test_an_event_is_one_changelog_record_most_of_the_time",
    ),
    Bug(
        "defined-between-the-events-of-a-moment",
        "tables/partition/retained.py",
        "each_ms + APPLIED_WITHIN_MS for each_ms in reach",
        "each_ms for each_ms in reach",
        "tests/app/queries/test_retained.py::test_events_before_its_end_stay_where_they_are",
    ),
    Bug(
        "reach-rounded-down",
        "tables/changelogged/presence.py",
        "newest, appended = -(-self.newest_ms // KEPT_TO_MS),",
        "newest, appended = self.newest_ms // KEPT_TO_MS,",
        "tests/tables/changelogged/test_presence.py"
        "::test_a_restored_reach_is_no_shorter_and_an_hour_longer_at_most",
    ),
    Bug(
        "writes-cells-of-a-span-that-is-gone",
        "tables/partition/route_table.py",
        "        self._take_out(span.key)\n        self.spans[span.key] = span",
        "        self.spans[span.key] = span",
        "tests/tables/partition/test_route_table.py"
        "::test_a_cell_that_no_layer_takes_over_is_not_written",
    ),
    Bug(
        "corrections-out-of-reach",
        "tables/changelogged/presence.py",
        "self.appended_ms = max(self.appended_ms, append_time_ms)",
        "self.appended_ms = max(self.appended_ms, -1)",
        "tests/simulation/test_simulation.py::test_seeds_that_found_something[3546]",
    ),
    Bug(
        "epochs-begin-again",
        "app/runtime/restoring/restore.py",
        "unknown = Checkpoint(epoch=told_epoch)",
        "unknown = Checkpoint()",
        "tests/simulation/test_mending.py::test_epochs_never_go_back",
    ),
    Bug(
        "query-that-waits-for-redis-for-ever",
        "app/runtime/partition/member_sync.py",
        "async with asyncio.timeout(READ_WITHIN_S):",
        "async with asyncio.timeout(None):",
        "tests/app/runtime/partition/test_member_sync.py"
        "::test_a_query_does_not_wait_for_a_redis_that_stalls",
    ),
    Bug(
        "fill-of-members-ends-with-the-query",
        "app/runtime/partition/member_sync.py",
        "await asyncio.wait([refilling])",
        "await refilling",
        "tests/app/runtime/partition/test_member_sync.py"
        "::test_members_are_filled_in_although_no_query_waits_for_the_end",
    ),
    Bug(
        "late-answer-taken-for-the-newest-member",
        "app/runtime/partition/member_sync.py",
        "while stored != self._stored:",
        "while stored is None:",
        "tests/app/runtime/partition/test_member_sync.py"
        "::test_an_answer_that_is_late_is_no_newer_member",
    ),
    Bug(
        "lost-while-filled-taken-for-whole",
        "app/redis/members.py",
        "self._expected[number] = {mark}",
        "self._expected[number] = {mark, None}",
        "tests/simulation/test_mending.py"
        "::test_redis_that_loses_something_within_a_fill_is_not_taken_for_whole",
    ),
    Bug(
        "gone-back-within-a-fill-taken-for-whole",
        "app/redis/members.py",
        "mark -= 1",
        "mark -= 0",
        "tests/simulation/test_mending.py"
        "::test_redis_that_loses_something_within_a_fill_is_not_taken_for_whole",
    ),
    Bug(
        "rebuilt-at-the-flush-of-the-torn-state",
        "app/runtime/restoring/rebuild.py",
        "max(known.flush, stored.flush or 0) + 1",
        "max(known.flush, stored.flush or 0)",
        "tests/simulation/test_mending.py"
        "::test_redis_that_goes_back_to_the_flush_of_a_torn_state_is_not_taken_for_whole",
    ),
    Bug(
        "zeros-for-former-group-keys",
        "tables/closing/period_before.py",
        "if now == (self._charges.keys_of(name) if groups else ()):",
        "if not groups or now == self._charges.keys_of(name):",
        "tests/tables/closing/test_close.py"
        "::test_the_values_of_former_group_keys_name_no_cell_of_the_new_ones",
    ),
    Bug(
        "groups-by-what-an-expression-replaced",
        "tables/charge.py",
        "if self._overwrites is not None:",
        "if self._overwrites is not None and self.metric.recurring:",
        "tests/semantics/test_grouping.py::test_groups_see_the_result_of_the_expression",
    ),
    Bug(
        "amended-member-not-looked-up",
        "tables/partition/partition.py",
        "for stored in self.corrections.history(arrival.identity):",
        "for stored in ():",
        "tests/rules/test_corrections.py"
        "::test_whatever_corrections_may_make_of_a_member_is_looked_up",
    ),
    Bug(
        "period-in-grace-decides-how-another-is-revised",
        "tables/cells/cell.py",
        "own is not None and own.due_at_ms < at_ms",
        "own is not None",
        "tests/rules/test_termination_in_grace.py"
        "::test_the_second_is_revised_as_it_was_due_whatever_the_first_will_be",
    ),
    Bug(
        "every-cut-is-one-of-the-period",
        "tables/closing/period_at_cut.py",
        "or cut_ms % period.revise_every_ms == 0",
        "or True",
        "tests/laws/test_grids.py::test_every_cut_of_a_period_shows_what_was_corrected_until_then",
    ),
    Bug(
        "compressed-bodies-taken",
        "app/api/server.py",
        "        require_plain(request)\n",
        "",
        "tests/app/api/http/test_bodies.py::test_compressed_bodies_are_refused",
    ),
    Bug(
        "values-of-a-body-not-counted",
        "app/api/http/bodies.py",
        "if holds_more_than(body, BODY_VALUES):",
        "if False:",
        "tests/app/api/http/test_bodies.py"
        "::test_a_body_of_crumbs_is_refused_before_it_becomes_objects",
    ),
    Bug(
        "a-search-of-all-goes-by-organizations",
        "app/queries/usage_lines.py",
        "            return range(self._known[state])\n",
        "            return [each for own in self._numbers[state].values() for each in own]\n",
        "tests/app/queries/test_usage_lines.py"
        "::test_a_search_of_all_takes_as_long_however_many_organizations_there_are",
    ),
    Bug(
        "keys-read-on-the-loop",
        "app/api/http/keys.py",
        "await asyncio.to_thread(self._prepared)",
        "self._prepared()",
        "tests/app/api/http/test_keys.py"
        "::test_a_changed_file_is_read_and_prepared_apart_from_the_loop",
    ),
    Bug(
        "metrics-made-for-each-who-asks",
        "app/api/exposition.py",
        "        async with self._turn:\n            made = self._made\n",
        "        async with self._turn:\n            made = None\n",
        "tests/app/api/test_exposition.py::test_many_scrapes_are_one",
    ),
    Bug(
        "metrics-of-all-merged-at-once",
        "app/api/http/siblings.py",
        'batches(text.split(b"\\n"), STEP_ITEMS)',
        '(text.split(b"\\n"),)',
        "tests/app/api/http/test_siblings.py"
        "::test_metrics_of_many_workers_are_merged_some_lines_at_a_step",
    ),
    Bug(
        "a-body-is-waited-for-without-end",
        "app/api/http/bodies.py",
        "async with asyncio.timeout(seconds):",
        "async with asyncio.timeout(None):",
        "tests/app/api/http/test_bodies.py::test_a_body_that_does_not_come_is_given_up",
    ),
    Bug(
        "one-organization-has-all-memory",
        "app/api/http/admission.py",
        "            and taken.fits(memory, _SHARE)\n",
        "",
        "tests/app/api/http/test_admission.py::test_one_organization_cannot_have_all_memory",
    ),
    Bug(
        "no-turns-between-organizations",
        "app/api/http/admission.py",
        "self._queues[organization] = self._queues.pop(organization)",
        "pass",
        "tests/app/api/http/test_admission.py::test_with_many_organizations_none_is_passed_over",
    ),
    Bug(
        "idle-connections-keep-their-place",
        "app/api/http/connections.py",
        "and not self._end_idle()",
        "and True",
        "tests/app/api/http/test_connections.py::test_the_longest_idle_makes_room",
    ),
    Bug(
        "who-shakes-no-hands-keeps-the-place",
        "app/api/http/connections.py",
        "places = [*self._open, *self._starting]",
        "places = [*self._open]",
        "tests/app/api/http/test_connections.py::test_who_shakes_no_hands_makes_room",
    ),
    Bug(
        "who-has-few-connections-makes-room",
        "app/api/http/connections.py",
        "key=lambda each: (-held[each.organization], each.idle_since_s)",
        "key=lambda each: each.idle_since_s",
        "tests/app/api/http/test_connections.py::test_who_has_most_makes_room",
    ),
    Bug(
        "a-connection-in-use-makes-room",
        "app/api/http/connections.py",
        "if idle_s < IN_USE_S and ",
        "if False and ",
        "tests/app/api/http/test_connections.py"
        "::test_who_asked_just_now_keeps_its_place_while_others_have_the_rest",
    ),
    Bug(
        "a-head-is-waited-for-without-end",
        "app/api/http/connections.py",
        "now_s - self._head_since_s > HEAD_S",
        "False",
        "tests/app/api/http/test_connections.py::test_a_head_that_does_not_come_is_given_up",
    ),
    Bug(
        "who-takes-nothing-is-kept",
        "app/api/http/connections.py",
        "if now_s - self._taken_s > UNTAKEN_S:",
        "if False:",
        "tests/app/api/http/test_connections.py::test_who_takes_nothing_is_cut",
    ),
    Bug(
        "what-is-no-http-keeps-its-connection",
        "app/api/http/connections.py",
        "read.exc.__traceback__ = None",
        "pass",
        "tests/app/api/test_memory.py::test_a_connection_goes_with_its_client[no HTTP]",
    ),
    Bug(
        "a-connection-without-a-handshake-keeps-its-parser",
        "app/api/http/connections.py",
        "self._parser = None",
        "pass",
        "tests/app/api/test_memory.py"
        "::test_a_connection_that_shakes_no_hands_goes_with_its_client[no TLS]",
    ),
    Bug(
        "reads-outlive-their-client",
        "app/api/server.py",
        "handler_cancellation=True",
        "handler_cancellation=False",
        "tests/app/api/http/test_gone_clients.py::test_a_read_ends_with_its_client",
    ),
    Bug(
        "writes-end-with-their-client",
        "app/api/server.py",
        "if endpoint.ends_with_client:",
        "if True:",
        "tests/app/api/http/test_gone_clients.py::test_a_write_goes_on_without_its_client",
    ),
    Bug(
        "any-name-is-answered",
        "app/api/http/hosts.py",
        "if not is_loopback(host) and host not in others:",
        "if False:",
        "tests/app/api/http/test_hosts.py::test_other_names_are_not",
    ),
    Bug(
        "limits-learnt-late-not-refolded",
        "tables/routing/course.py",
        "        span.fold.limits_until(appended_ms),\n",
        "",
        "tests/rules/test_input_limits.py"
        "::test_a_value_that_is_too_long_counts_only_until_there_are_limits",
    ),
    Bug(
        "long-members-counted",
        "tables/values.py",
        'return Ignored("value_too_long")',
        "pass",
        "tests/rules/test_input_limits.py"
        "::test_a_value_that_is_too_long_counts_only_until_there_are_limits",
    ),
    Bug(
        "undefined-names-not-looked-for",
        "tables/partition/redefinition.py",
        "return is_new and rest_names.may_have(name)",
        "return False",
        "tests/laws/test_undefined_names.py::test_a_search_is_for_what_is_defined_since",
    ),
    Bug(
        "undefined-names-not-looked-for-at-an-implicit-plan",
        "tables/partition/redefinition.py",
        "return is_new or not (impact.of_settings",
        "return not (impact.of_settings",
        "tests/laws/test_undefined_names.py"
        "::test_settings_that_have_an_implicit_plan_first_ask_for_a_search",
    ),
    Bug(
        "search-asked-for-meanwhile-forgotten",
        "tables/partition/redefinition.py",
        "if self._searched_for.get(organization_id) == asked:",
        "if organization_id in self._searched_for:",
        "tests/laws/test_undefined_names.py"
        "::test_what_is_asked_for_while_a_search_goes_on_is_not_forgotten",
    ),
    Bug(
        "search-learns-nobody",
        "tables/partition/search.py",
        "            rest_names.add(meter_key[:2], meter_key[2])\n",
        "            pass\n",
        "tests/laws/test_undefined_names.py"
        "::test_after_a_restart_one_search_tells_who_has_such_events",
    ),
    Bug(
        "set-aside-not-foreseen",
        "app/offline/fold.py",
        "self.definitions.set_asides.foresee(named_in(line.value for _, line in defined))",
        "pass",
        "tests/simulation/test_set_aside.py::test_an_event_is_set_aside_and_the_others_count",
    ),
    Bug(
        "set-aside-folded-by-who-takes-over",
        "app/runtime/restoring/restore.py",
        "end = await shared.followed.caught_up()\n    cells",
        "end = shared.definitions.offset\n    cells",
        "tests/simulation/test_lagging.py"
        "::test_a_history_record_in_force_is_read_before_anything_is_folded",
    ),
    Bug(
        "default-bucket-projected",
        "app/meter/projection.py",
        "if in_force.charge.filters and row.filter_id is None:",
        "if False:",
        "tests/semantics/test_projection.py"
        "::test_beside_filters_the_default_bucket_is_not_projected",
    ),
    Bug(
        "full-usage-of-one-span",
        "tables/cells/full_usage.py",
        "begun = fold.metric.recurring or span.key.start_ms <= from_ms",
        "begun = True",
        "tests/semantics/test_full_usage.py::test_each_period_has_room_for_its_first_groups",
    ),
    Bug(
        "groups-of-one-result-merged-in-a-step",
        "tables/cells/full_usage.py",
        "            if count % STEP_ITEMS == 0:\n",
        "            if False:\n",
        "tests/tables/reading/test_regrouping.py"
        "::test_one_result_of_many_groups_is_merged_by_steps",
    ),
    Bug(
        "full-usage-adds-up-unique-counts",
        "tables/cells/full_usage.py",
        "return len(list(islice(held, 2))) <= 1",
        "return len(names) == 1",
        "tests/semantics/test_full_usage.py::test_one_machine_runs_over_all_months",
    ),
    Bug(
        "set-aside-folded-where-it-was-forwarded",
        "app/runtime/partition/portion.py",
        "if aside is None or not aside.holds_element(offset, index):",
        "if aside is None or offset >= 0:",
        "tests/simulation/test_set_aside.py::test_an_event_is_set_aside_and_the_others_count",
    ),
    Bug(
        "set-aside-counted-by-refolds",
        "app/runtime/scanning/scan.py",
        "if aside is not None and aside.holds_element(raw_offset, index):",
        "if False:",
        "tests/app/runtime/scanning/test_scan.py"
        "::test_a_forwarded_event_that_was_set_aside_is_read_by_no_scan",
    ),
    Bug(
        "silent-brokers-void-a-flush",
        "app/runtime/ownership.py",
        "if late and owned.is_between_flushes() and not owned.waits_for_definitions:",
        "if False:",
        "tests/app/runtime/test_ownership.py::test_a_last_flush_that_takes_long_holds_nobody_up",
    ),
    Bug(
        "trust-of-today",
        "app/definitions/judging.py",
        "if append_time_ms > belief.after_ms:",
        "if True:",
        "tests/laws/test_trust.py::test_who_need_not_wait_judges_as_whoever_knows_the_whole_log",
    ),
    Bug(
        "grant-not-waited-for",
        "app/definitions/judging.py",
        "if granted is not None and granted >= self.next_grant:",
        "if False:",
        "tests/laws/test_trust.py::test_who_need_not_wait_judges_as_whoever_knows_the_whole_log",
    ),
    Bug(
        "customer-of-another-billing-entity-made-in-silence",
        "app/api/definitions/selections.py",
        "if not is_blank(code) and code != ENTITY_CODE:",
        "if False:",
        "tests/app/api/definitions/test_selections.py"
        "::test_nothing_is_made_for_another_billing_entity",
    ),
    Bug(
        "email-of-several-judged-by-its-first",
        "app/definitions/contacts.py",
        'not all(map(_is_email, email.split(",")))',
        'not _is_email(email.split(",")[0])',
        "tests/app/definitions/test_contacts.py::test_what_is_no_email",
    ),
    Bug(
        "organization-moves-no-downgrade",
        "app/definitions/organizations.py",
        "yield subscription if follows else None",
        "yield None",
        "tests/app/definitions/test_organizations.py::test_planned_downgrades_move_along",
    ),
    Bug(
        "timezone-of-organizations-in-force-at-once",
        "app/definitions/terms.py",
        "its_plan, organization.at(at_ms), settings)",
        "its_plan, organization.at(), settings)",
        "tests/app/definitions/test_organizations.py"
        "::test_what_a_customer_says_goes_before_what_its_organization_says",
    ),
    Bug(
        "webhook-key-of-all-endpoints",
        "app/webhooks/message.py",
        "{self.webhook_type}:{self.id}:{endpoint_id}",
        "{self.webhook_type}:{self.id}",
        "tests/app/webhooks/test_telling.py::test_the_unique_key_is_made_of_type_id_and_endpoint",
    ),
    Bug(
        "webhook-committed-before-it-is-told",
        "app/webhooks/places.py",
        "return next(iter(self._open), self.position)",
        "return self.position",
        "tests/app/webhooks/test_outboxes.py::test_progress_goes_on_from_what_is_not_done",
    ),
    Bug(
        "webhook-signature-whose-size-nobody-tells",
        "app/webhooks/sender.py",
        "reason + _size_told(signature)",
        "reason",
        "tests/app/webhooks/test_process.py"
        "::test_a_signature_too_long_for_a_header_is_told_where_it_is_given_up",
    ),
    Bug(
        "webhook-delivery-that-waits-unseen",
        "app/webhooks/outboxes.py",
        "                self._metrics.waits.begin(delivery)\n",
        "",
        "tests/app/webhooks/test_standstill.py::test_webhooks_that_stand_still_say_since_when",
    ),
    Bug(
        "webhook-records-unread-since-they-were-fetched",
        "app/webhooks/session.py",
        "unread.begin(READING, min(each[0].timestamp_ms for each in fetched.values()))",
        "unread.begin(READING)",
        "tests/app/webhooks/test_standstill.py::test_webhooks_that_stand_still_say_since_when",
    ),
    Bug(
        "webhook-type-counted-from-its-first-burst",
        "app/webhooks/metrics.py",
        "            self.given_up.labels(webhook_type)\n",
        "",
        "tests/app/webhooks/test_metrics.py"
        "::test_each_type_is_counted_from_nought_so_that_its_first_burst_is_an_increase",
    ),
    Bug(
        "webhook-names-looked-up-by-the-loop",
        "app/webhooks/sender.py",
        "TCPConnector(limit=AT_ONCE, resolver=Resolver(AT_ONCE))",
        "TCPConnector(limit=AT_ONCE)",
        "tests/app/webhooks/test_process.py::test_names_that_nobody_answers_for_hold_back_nobody",
    ),
    Bug(
        "webhook-made-for-nobody",
        "app/webhooks/telling.py",
        "if endpoints.wanting(thing.organization_id, told.webhook_type):",
        "if endpoints is not None:",
        "tests/app/webhooks/test_telling.py::test_what_no_endpoint_wants_is_not_made",
    ),
    Bug(
        "webhook-instants-noted-at-each-change",
        "app/webhooks/definitions.py",
        "elif instant not in noted:",
        "else:",
        "tests/app/webhooks/test_turns.py::test_a_change_notes_only_what_did_not_come_before",
    ),
    Bug(
        "webhook-turn-anew-for-each-message",
        "app/webhooks/session.py",
        "return await self._turns.run(_TELLING, _first(items))",
        "return await Turns().run(_TELLING, _first(items))",
        "tests/app/webhooks/test_turns.py::test_instants_are_told_in_turns",
    ),
    Bug(
        "webhook-url-twice",
        "app/definitions/webhook_endpoints.py",
        "other.webhook_url == value and other.id != endpoint.id",
        "False",
        "tests/app/definitions/test_webhook_endpoints.py"
        "::test_a_url_is_there_once_in_an_organization",
    ),
    Bug(
        "overrides-hold-for-what-is-published",
        "app/definitions/state.py",
        "return moves[0][2] if len(moves) == 1 else Versions.joined(moves)",
        "return moves[-1][2]",
        "tests/app/definitions/test_overrides.py"
        "::test_a_put_moves_to_a_child_once_and_then_changes_it",
    ),
    Bug(
        "children-outlive-their-plan",
        "app/definitions/plans.py",
        "        changes.append(Deletion(child))\n",
        "        pass\n",
        "tests/app/definitions/test_overrides.py::test_a_deleted_plan_takes_its_children_along",
    ),
    Bug(
        "counts-that-never-come",
        "app/definitions/active_counts.py",
        "if promised is not None and promised[0].is_here:",
        "if False:",
        "tests/app/definitions/test_at_once.py::test_many_at_once_come_to_what_each_alone_does",
    ),
    Bug(
        "children-that-outlive-their-promise",
        "app/definitions/indexes/coded.py",
        "versions.promise(promised.coming, None)",
        "versions.promise(promised.coming, versions.at())",
        "tests/app/definitions/test_at_once.py::test_many_at_once_come_to_what_each_alone_does",
    ),
    Bug(
        "cascades-refold-no-children",
        "tables/partition/redirection.py",
        "and impact.plan_id in (known.plan_ids if impact.with_children else (known.plan_id,))",
        "and impact.plan_id == known.plan_id",
        "tests/semantics/test_overrides.py"
        "::test_a_cascade_folds_the_running_period_of_children_anew",
    ),
    Bug(
        "own-charges-change-the-plan",
        "app/definitions/subscription_charges.py",
        "if plan.parent_id is None:",
        "if False:",
        "tests/app/definitions/test_subscription_charges.py::test_the_first_write_makes_the_child",
    ),
    Bug(
        "messages-of-later-cuts-compared",
        "app/offline/comparison.py",
        """        if cut_ms is None or told.at_ms > cut_ms:
            return
        key = (place.topic, told.record_id)""",
        """        if cut_ms is None:
            return
        key = (place.topic, told.record_id)""",
        "tests/app/offline/test_comparison.py::test_later_cuts_and_other_subscriptions_are_let_be",
    ),
    Bug(
        "surplus-message-not-told",
        "app/offline/comparison.py",
        "self._note(Differing(topic, record_id, found.name, found.place, None))",
        "pass",
        "tests/app/offline/test_comparison.py::test_one_that_no_event_accounts_for_is_named",
    ),
    Bug(
        "unsealed-progress-believed",
        "app/runtime/progress.py",
        "hmac.compare_digest(seal.encode(), self.of(said).encode())",
        "True",
        "tests/app/runtime/test_progress.py::test_only_what_our_workers_seal_is_a_report",
    ),
    Bug(
        "life-counts-who-stays-again",
        "tables/lifetime_fold.py",
        "recurring=metric.recurring or unique",
        "recurring=metric.recurring",
        "tests/semantics/test_alerts.py::test_who_stays_is_counted_once_in_a_life",
    ),
    Bug(
        "life-reaches-before-its-start",
        "tables/lifetime_fold.py",
        'of a recurring metric alone."""\n        return self._recurring',
        'of a recurring metric alone."""\n        return True',
        "tests/semantics/test_alerts.py::test_a_life_begins_with_its_subscription",
    ),
    Bug(
        "life-begins-with-each-period",
        "tables/closing/alerts.py",
        "return self._subscription.started_at_ms if alert.is_of_life else self._period.start_ms",
        "return self._period.start_ms",
        "tests/semantics/test_alerts.py::test_a_life_is_counted_through_all_its_periods",
    ),
    Bug(
        "rows-of-what-came-too-late",
        "tables/closing/presented.py",
        'if figures.digest.to_bytes(16, "big") != cell.digest:',
        "if False:",
        "tests/semantics/test_presentation.py"
        "::test_rows_of_a_period_are_not_told_when_its_cells_hold_what_came_too_late",
    ),
    Bug(
        "cells-of-long-rows-miscounted",
        "tables/changelogged/packed_rows.py",
        "3 if kind == 0xDC else 5",
        "3",
        "tests/tables/changelogged/test_packed_rows.py::test_cells_are_counted_without_being_read",
    ),
    Bug(
        "usage-unpacks-all-cells-at-once",
        "tables/reading/usage.py",
        "    yield from partition.views.making(name)\n",
        "",
        "tests/tables/partition/test_views.py::test_very_many_packed_cells_are_looked_at_by_steps",
    ),
    Bug(
        "a-first-event-unpacks-all-cells-at-once",
        "app/runtime/partition/owned.py",
        "            await self._unpack_many(straight.rest)\n",
        "",
        "tests/app/runtime/partition/test_owned_at_rest.py::"
        "test_what_comes_for_very_many_cells_has_them_unpacked_by_steps",
    ),
    Bug(
        "cells-of-another-span-left-out-of-a-touch",
        "tables/partition/packing.py",
        "            or not fill(route.spans, cells)\n",
        "            or (not fill(route.spans, cells) and False)\n",
        "tests/tables/partition/test_packing.py"
        "::test_cells_that_are_not_of_the_code_that_is_touched_are_counted_anew[of another span]",
    ),
    Bug(
        "cells-of-another-code-given-to-one-without-events",
        "tables/partition/packing.py",
        "            or (cells and not has_events)\n",
        "",
        "tests/tables/partition/test_packing.py"
        "::test_cells_that_are_not_of_the_code_that_is_touched_are_counted_anew"
        "[of a code without events]",
    ),
    Bug(
        "period-of-who-is-packed-in-part-closes-without-what-is-at-hand",
        "tables/partition/packing.py",
        "        if name in self._in_part:\n            return None\n",
        "",
        "tests/tables/partition/test_packing.py::test_a_cut_of_who_is_packed_in_part_shows_all",
    ),
    Bug(
        "who-is-packed-in-part-let-go-with-what-is-at-hand",
        "tables/partition/packing.py",
        "if pieces and name not in self._in_part:",
        "if pieces:",
        "tests/tables/partition/test_packing.py"
        "::test_whoever_unpacks_the_rest_notes_none_of_whom_a_part_was_at_hand",
    ),
    Bug(
        "readers-see-nothing-of-cells-that-were-packed-since",
        "tables/partition/packing.py",
        "return all(self._packed.piece(part) is piece for part, piece in pieces)",
        "return True",
        "tests/tables/partition/test_packing.py"
        "::test_a_reader_who_looked_before_cells_were_packed_sees_them",
    ),
    Bug(
        "cells-at-hand-stay-packed-as-well",
        "tables/changelogged/packed_rows.py",
        "            parted.pop(self._numbers.get(charge, -1), None)\n",
        "            pass\n",
        "tests/tables/partition/test_packing.py"
        "::test_a_touch_unpacks_the_cells_of_its_own_code_alone",
    ),
    Bug(
        "what-was-left-of-a-piece-kept-beside-it",
        "tables/changelogged/packed_rows.py",
        "        self._parted.pop(first_part, None)\n        self._pieces.put(first_part, piece)\n",
        "        self._pieces.put(first_part, piece)\n",
        "tests/tables/changelogged/test_packed_rows.py"
        "::test_a_piece_takes_the_place_of_what_was_left_of_it",
    ),
    Bug(
        "cells-that-stayed-packed-lost-when-others-are-packed",
        "tables/changelogged/packed_rows.py",
        "                charges.setdefault(number, SomeRows()).add_packed(bytes(packed))\n",
        "                pass\n",
        "tests/tables/partition/test_packing.py"
        "::test_what_stays_packed_while_others_are_packed_is_kept",
    ),
    Bug(
        "definitions-leave-who-is-packed-in-part-under-older-ones",
        "tables/partition/redirection.py",
        "not self._packing.is_all_packed(name)",
        "not self._packing.is_packed(name)",
        "tests/tables/partition/test_packing.py::test_a_definition_finds_who_is_packed_in_part",
    ),
    Bug(
        "cells-come-back-as-older-definitions-had-them",
        "tables/partition/packing.py",
        "if stamp is not None and (stamp != self.stamp(name) or not self.has(name, pieces)):",
        "if stamp is not None and not self.has(name, pieces):",
        "tests/tables/partition/test_packing.py::test_what_comes_between_two_steps_counts_once",
    ),
    Bug(
        "rows-stay-told-when-another-cell-has-too-many",
        "tables/closing/period_at_cut.py",
        "changed = None if charge.presents and told.found is None else changed",
        "pass",
        "tests/laws/test_noted.py"
        "::test_what_is_said_beside_figures_is_told_of_all_that_it_changed_for",
    ),
    Bug(
        "promised-plans-go-unseen",
        "app/definitions/indexes/coded.py",
        "self.changed += promised.holders",
        "self.changed += 0",
        "tests/app/definitions/test_at_once.py::test_many_at_once_come_to_what_each_alone_does",
    ),
    Bug(
        "copies-of-charges-compiled-again-and-again",
        "tables/routing/plan.py",
        "name = (hash(spelled(charge)), id(metric)",
        "name = (id(charge), id(metric)",
        "tests/app/definitions/test_copies.py::test_a_copy_that_is_made_again_is_compiled_once",
    ),
    Bug(
        "followers-copied-of-what-their-parent-was",
        "app/definitions/indexes/coded.py",
        "            parent = promised[1]\n",
        "            pass\n",
        "tests/app/definitions/test_copies.py"
        "::test_children_that_follow_a_change_share_what_came_of_it",
    ),
    Bug(
        "charges-that-a-child-plan-gains-taken-for-prices",
        "app/definitions/prices.py",
        "    if prices is None:\n        return plan\n",
        "    if prices is None and isinstance(plan.charges, tuple):\n        return plan\n"
        "    prices = prices or {}\n",
        "tests/app/definitions/test_prices.py::test_what_is_no_price_is_kept_whole",
    ),
    Bug(
        "a-plan-that-follows-another-begins-as-that-one",
        "app/definitions/versions.py",
        "whole._append(at_ms, offset, _whole(part._objects[known - 1]))",
        "whole._append(at_ms, offset, part._objects[known - 1])",
        "tests/app/definitions/test_prices.py"
        "::test_a_plan_that_another_follows_says_what_it_is_at_first",
    ),
    Bug(
        "other-spellings-taken-for-what-was",
        "app/definitions/kept_parts.py",
        "    return now == before and spelled(now) == spelled(before)\n",
        "    return now == before\n",
        "tests/app/definitions/test_kept_parts.py"
        "::test_other_keys_first_and_other_types_are_a_change_of_what_is_echoed",
    ),
    Bug(
        "codes-that-an-alert-gave-up-stay-taken",
        "app/definitions/indexes/alerts.py",
        "                del self.with_code[name, before.code]\n",
        "",
        "tests/app/definitions/indexes/test_alerts.py::test_they_are_what_all_that_ever_were_tell",
    ),
    Bug(
        "alerts-that-come-together-may-clash",
        "app/definitions/alerts.py",
        "            coming[alert.code] = coming[kind_of(alert)] = alert.id\n",
        "            pass\n",
        "tests/app/definitions/test_alerts.py"
        "::test_many_are_made_by_steps_and_each_is_seen_by_those_after_it",
    ),
    Bug(
        "promised-plans-not-found",
        "app/definitions/indexes/coded.py",
        "            self._count(metric_id, family, more)",
        "            pass",
        "tests/app/definitions/test_at_once.py::test_many_at_once_come_to_what_each_alone_does",
    ),
    Bug(
        "full-usage-without-rows-of-events",
        "tables/reading/regrouping.py",
        "found = yield from breakdowns(second, whole, wanted=self._wanted.presented_by)",
        "found = found and Breakdowns({}, {})",
        "tests/semantics/test_presentation.py"
        "::test_who_is_in_two_periods_is_in_one_row_of_full_usage",
    ),
    Bug(
        "events-lost-beside-a-corrected-one",
        "tables/partition/intake.py",
        "runs = [(self._packing.route_of(route.meter_key), left) for route, left in runs]",
        "pass",
        "tests/laws/test_looking_later.py::test_what_comes_with_a_corrected_event_counts_as_well",
    ),
    Bug(
        "balance-of-a-closed-period-explained-as-it-is-now",
        "tables/reading/explained.py",
        "if self._known is None or self._shown_last is None:",
        "if self._known is None or True:",
        "tests/tables/reading/test_explained.py"
        "::test_what_came_too_late_for_a_period_is_not_live_there",
    ),
    Bug(
        "difference-by-a-cancelled-newcomer",
        "app/queries/revisions.py",
        "if came.append_time_ms > cut_ms:",
        "if came.append_time_ms > cut_ms and now:",
        "tests/app/queries/test_revisions.py"
        "::test_what_came_and_was_cancelled_since_makes_no_difference",
    ),
    Bug(
        "difference-since-a-cut-of-other-cells",
        "app/queries/revisions.py",
        "if at_ms > cut_ms:",
        "if at_ms > cut_ms and revision:",
        "tests/app/queries/test_revisions.py::test_a_cell_that_was_published_later_has_its_own_cut",
    ),
    Bug(
        "ledger-of-another-log-believed",
        "app/ledger/ledger.py",
        "if newest is None or await self._is_of_log(newest):",
        "if True:",
        "tests/app/ledger/test_ledger.py::test_the_ledger_of_another_log_is_not_believed",
    ),
    Bug(
        "ledger-read-from-where-both-logs-reach-beyond",
        "app/ledger/blocks.py",
        "first = min(bisect_right(",
        "first = max(bisect_right(",
        "tests/app/ledger/test_ledger.py"
        "::test_what_lies_beyond_offsets_is_read_from_where_it_begins",
    ),
    Bug(
        "very-many-small-flushes-stay-in-memory",
        "app/ledger/ledger.py",
        " and blocks < MERGED_BLOCKS:",
        ":",
        "tests/app/ledger/test_ledger.py::test_a_file_of_very_many_small_flushes_is_merged",
    ),
    Bug(
        "full-disk-told-in-pairs",
        "app/ledger/ledger.py",
        " and now_s() - self._failed_s >= WELL_AFTER_S:",
        ":",
        "tests/app/ledger/test_ledger.py::test_a_disk_that_takes_nothing_ends_nothing",
    ),
    Bug(
        "ledger-covers-a-hole",
        "app/ledger/blocks.py",
        "            and found[-1].raw_until == span.raw_from\n",
        "",
        "tests/app/ledger/test_ledger.py::test_what_has_no_room_in_memory_is_a_hole",
    ),
    Bug(
        "wrong-bytes-of-the-ledger-believed",
        "app/ledger/blocks.py",
        "    if xxh3_64_intdigest(packed) != int(slabs.checks[number]):",
        "    if False:",
        "tests/app/ledger/test_ledger.py::test_damage_is_found",
    ),
    Bug(
        "ledger-and-log-read-twice",
        "app/runtime/scanning/scan.py",
        "{tp: passed.next_stop(self._next[tp], ends[tp]) for tp",
        "{tp: max(self._next[tp], ends[tp]) for tp",
        "tests/simulation/test_simulation.py::test_seeds_that_found_something[219245]",
    ),
    Bug(
        "ledger-read-again-from-where-it-was-asked",
        "app/runtime/scanning/scan.py",
        "self.rows = LedgerRows(self._number, raw, rekeyed)",
        "self.rows = LedgerRows(self._number, 0, 0)",
        "tests/app/ledger/test_scanned.py::test_a_scan_reads_on_in_the_ledger_while_more_comes",
    ),
    Bug(
        "reader-left-behind-while-the-ledger-is-read",
        "app/runtime/scanning/scan.py",
        "                    self._consumer.seek(tp, stretch.until)",
        "                    pass",
        "tests/simulation/test_ledger.py"
        "::test_each_event_is_read_once_by_turns_from_kafka_and_from_the_ledger",
    ),
    Bug(
        "ledger-asked-again-behind-a-hole",
        "app/runtime/scanning/scan.py",
        "if self._ledger is None or self._wanted is None or holes:",
        "if self._ledger is None or self._wanted is None:",
        "tests/app/ledger/test_scanned.py::test_a_scan_leaves_a_hole_to_the_logs",
    ),
    Bug(
        "displaced-group-called-wrong-where-it-was-shown",
        "tables/reading/shown_last.py",
        "return full and any(",
        "return False and any(",
        "tests/rules/test_groups.py"
        "::test_a_closed_period_keeps_what_it_showed_of_a_group_that_a_later_one_displaced",
    ),
    Bug(
        "progress-that-a-cut-of-others-waits-for",
        "app/runtime/partition/flush.py",
        "return self._context.progress.next_cut_ms(told_ms, own_ms) < at_ms",
        "return told_ms <= own_ms < at_ms",
        "tests/app/runtime/partition/test_flush.py"
        "::test_it_waits_and_tells_its_progress_where_another_partition_has_a_cut_to_take",
    ),
    Bug(
        "progress-that-its-own-cut-waits-for",
        "app/runtime/partition/flush.py",
        "self._context.progress.next_cut_ms(told_ms, own_ms) < at_ms",
        "self._context.progress.next_cut_ms(told_ms) < at_ms",
        "tests/app/runtime/partition/test_flush.py"
        "::test_it_tells_its_progress_where_it_has_a_cut_to_take_itself",
    ),
    Bug(
        "progress-told-before-it-is-acknowledged",
        "app/runtime/partition/flush.py",
        "        await self._forwards.settle(self._forwards.count)\n        self._told_ms",
        "        self._told_ms",
        "tests/app/runtime/partition/test_flush.py::test_it_tells_nothing_that_is_not_acknowledged",
    ),
    Bug(
        "progress-that-says-what-is-folded-is-durable",
        "app/runtime/partition/flush.py",
        "await self._packing.tell(self._durable)",
        "await self._packing.tell(self._packing._state.checkpoint.raw_next)",
        "tests/app/runtime/partition/test_flush.py"
        "::test_it_waits_and_tells_its_progress_where_another_partition_has_a_cut_to_take",
    ),
    Bug(
        "progress-told-once-a-moment-for-ever",
        "app/runtime/partition/flush.py",
        "self._told_ms = max(self._told_ms, at_ms)",
        "pass",
        "tests/app/runtime/partition/test_flush.py"
        "::test_it_waits_and_tells_its_progress_where_another_partition_has_a_cut_to_take",
    ),
    Bug(
        "cut-that-waits-for-what-comes-after-it",
        "app/runtime/partition/cuts.py",
        "if cut_ms > self._forwarded[0]:",
        "if True:",
        "tests/agents/test_close.py::test_what_is_forwarded_after_the_cut_holds_it_back_no_longer",
    ),
    Bug(
        "later-cut-by-what-was-forwarded-before",
        "app/runtime/partition/cuts.py",
        "if cut_ms > self._forwarded[0]:",
        "if self._forwarded[0] < 0:",
        "tests/agents/test_close.py::test_what_is_forwarded_after_the_cut_holds_it_back_no_longer",
    ),
    Bug(
        "closers-that-each-report-wakes",
        "app/runtime/partition/cuts.py",
        'if blocked.held_by == "peer_silent" and (',
        "if False and (",
        "tests/app/runtime/partition/test_cuts.py"
        "::test_a_report_wakes_a_closer_once_all_are_past_its_cut",
    ),
    Bug(
        "all-looked-at-to-find-who-is-behind",
        "app/runtime/progress.py",
        "                self._behind = partition\n",
        "",
        "tests/app/runtime/test_progress.py::test_who_is_behind_is_looked_at_first",
    ),
    Bug(
        "partitions-that-all-stand-still-while-they-are-packed",
        "app/runtime/partition/flush.py",
        "            await held.enter_async_context(self._life.context.packing)\n",
        "",
        "tests/app/runtime/partition/test_flush.py"
        "::test_partitions_that_are_flushed_at_once_stand_still_one_after_another",
    ),
    Bug(
        "flushes-that-wait-for-a-fold-that-waits",
        "app/runtime/partition/flush.py",
        "async with asyncio.timeout(PACKED_IN_TURN_S):",
        "async with asyncio.timeout(None):",
        "tests/app/runtime/partition/test_flush.py"
        "::test_a_fold_that_waits_holds_up_no_flush_of_another_partition",
    ),
    Bug(
        "batches-of-all-partitions-made-at-once",
        "app/kafka/transactions.py",
        "async with _packing.setdefault(asyncio.get_running_loop(), asyncio.Lock()):",
        "async with asyncio.Lock():",
        "tests/app/kafka/test_transactions.py"
        "::test_partitions_make_their_batches_one_after_another",
    ),
    Bug(
        "answer-of-before-the-question",
        "app/kafka/joined.py",
        "                self._next = _Question()\n                try:\n"
        "                    question.answers = await self._ask(question.keys)\n",
        "                try:\n"
        "                    question.answers = await self._ask(question.keys)\n"
        "                    self._next = _Question()\n",
        "tests/app/kafka/test_joined.py::test_who_waits_is_asked_for_in_the_next_question",
    ),
    Bug(
        "question-that-fails-for-all-who-ask",
        "app/kafka/joined.py",
        "told = await self._ask(wanted) if question.failed",
        "told = await self._ask(question.keys) if question.failed",
        "tests/app/kafka/test_joined.py::test_what_cannot_be_answered_is_no_matter_of_the_others",
    ),
    Bug(
        "told-of-a-batch-that-nobody-waits-for",
        "app/kafka/sending.py",
        "        batch.future.add_done_callback(retrieve)\n",
        "",
        "tests/app/kafka/test_clients.py"
        "::test_nobody_hears_of_a_batch_that_is_waited_for_no_longer",
    ),
    Bug(
        "given-up-and-sent-again",
        "app/kafka/sending.py",
        "        waiting = [batch for batches in self._batches.values() for batch in batches]\n"
        "        self._batches.clear()\n",
        "        waiting: list[MessageBatch] = []\n",
        "tests/app/kafka/test_clients.py::test_what_is_given_up_is_never_sent",
    ),
    Bug(
        "lingering-batches-one-by-one",
        "app/kafka/sending.py",
        "if any(batch.remaining_linger() is None for batch in first):",
        "if False:",
        "tests/app/kafka/test_clients.py::test_batches_that_linger_go_in_one_request",
    ),
    Bug(
        "batch-that-waits-for-the-one-before-to-linger",
        "app/kafka/sending.py",
        "            waiting[-1]._builder.close()\n            self._wakeup(self._waiter_future)\n",
        "            pass\n",
        "tests/app/kafka/test_clients.py::test_batches_that_linger_go_in_one_request",
    ),
    Bug(
        "report-that-is-told-once",
        "app/runtime/reports.py",
        "if not is_taken and progress.partition not in self._newest:",
        "if False:",
        "tests/app/runtime/test_progress.py"
        "::test_reports_are_told_at_once_and_again_where_brokers_took_none",
    ),
    Bug(
        "ledger-runs-ahead-of-the-checkpoint",
        "app/ledger/ledger.py",
        "if span.raw_until > restored.raw or span.rekeyed_until > restored.rekeyed:",
        "if False:",
        "tests/app/ledger/test_ledger.py::test_what_no_flush_made_durable_is_forgotten",
    ),
    Bug(
        "statement-with-definitions-of-others",
        "app/offline/stated_definitions.py",
        "_told(command, names.isdisjoint(needed))",
        "_told(command, False)",
        "tests/app/offline/test_statement.py::test_it_shows_nothing_of_others",
    ),
    Bug(
        "records-of-periods-before-the-page-made",
        "app/queries/records.py",
        "        if passed <= offset:\n",
        "        if not passed:\n",
        "tests/app/queries/test_newest_records.py::test_what_is_not_on_the_page_is_counted_only",
    ),
    Bug(
        "sums-of-a-period-counted-as-a-cell",
        "tables/changelogged/published_period.py",
        "len(rows) - completions - (SUMS in rows)",
        "len(rows) - completions",
        "tests/tables/changelogged/test_published.py::test_what_is_counted_is_not_kept_at_hand",
    ),
    Bug(
        "records-behind-others-of-their-cut-not-found",
        "app/queries/records.py",
        "by_cut.setdefault(order[:1], set()).update(ids)",
        "pass",
        "tests/app/queries/test_records.py::test_every_record_is_found_in_a_log",
    ),
    Bug(
        "local-disk-of-another-log-believed",
        "tables/event_index/index.py",
        "if ends and self._log.log_sum != self._flushed.log_sum:",
        "if False:",
        "tests/tables/event_index/test_index.py::test_rows_on_disk_that_the_log_lost_are_noticed",
    ),
    Bug(
        "rows-of-a-log-in-another-order-believed",
        "tables/event_index/log.py",
        "hashed = numbers * _FACTORS[0] + _FACTORS[1]",
        "hashed = numbers * np.uint64(0) + _FACTORS[1]",
        "tests/tables/event_index/test_index.py"
        "::test_a_log_that_differs_is_noticed_where_local_disk_ends",
    ),
    Bug(
        "redaction-forgets-the-target-wallet",
        "app/offline/redaction.py",
        '    if payload.get("accepts_target_wallet"):\n        yield TARGET_WALLET_KEY\n',
        "",
        "tests/rules/test_redaction.py::test_usage_and_records_stay_as_they_are",
    ),
    Bug(
        "page-text-not-escaped",
        "app/page/html.py",
        "        return escape(node, quote=False) if _IS_MARKUP(node) else node",
        "        return node",
        "tests/app/page/test_fragments.py::test_texts_are_escaped_and_attributes_too",
    ),
    Bug(
        "page-download-without-its-choice",
        "app/api/pages/page_events.py",
        '        status=call.query.text("status"),\n',
        "",
        "tests/app/page/test_page.py::test_explained_events_are_downloaded_as_they_are_chosen",
    ),
    Bug(
        "page-letters-of-everybody",
        "app/api/pages/page_views.py",
        "newest = call.meter.repairs.dead_letters(organization_id)",
        "newest = call.meter.repairs.dead_letters(None)",
        "tests/app/page/test_page.py::test_dead_letters_stand_by_code_and_one_by_one",
    ),
    Bug(
        "replay-of-anybodys-letter",
        "app/api/events/replays.py",
        "found = await call.meter.repairs.replay(organization_id, *place, call.key_name)",
        "found = await call.meter.repairs.replay(None, *place, call.key_name)",
        "tests/app/page/test_page.py::test_a_replay_tells_what_became_of_each_and_a_sum",
    ),
    Bug(
        "plan-form-drops-prices",
        "app/page/plan_form.py",
        "properties = dict(old.properties) if old is not None else {}",
        "properties: dict[str, Any] = {}",
        "tests/app/page/test_plan_form.py::test_what_the_form_does_not_show_stays_as_it_is",
    ),
    Bug(
        "plan-form-keeps-what-is-removed",
        "app/page/plan_form.py",
        "if not one.removed and (one.id or one.metric)",
        "if one.id or one.metric",
        "tests/app/page/test_plan_form.py::test_charges_come_and_go",
    ),
    Bug(
        "plan-form-taken-from-another-site",
        "app/api/pages/page_plan_form.py",
        "    page.writing_organization(call)\n",
        "",
        "tests/app/page/test_plan_form.py::test_only_who_may_write_changes_a_plan",
    ),
    Bug(
        "explained-events-of-any-status",
        "app/queries/explain.py",
        "if query.status not in (None, status_of(found)):",
        "if False:",
        "tests/app/queries/test_explain.py::test_events_are_chosen_by_status_and_reason",
    ),
    Bug(
        "csv-hides-the-next-page",
        "app/api/answering/csv_text.py",
        "headers = {} if number is None else",
        "headers = {} if number else",
        "tests/app/api/answering/test_csv.py::test_csv_says_which_page_comes_next",
    ),
    Bug(
        "lago-groups-not-compared",
        "app/cli/lago/figures.py",
        "for part in sorted({*lago.parts, *here.parts}):",
        "for part in (WHOLE,):",
        "tests/app/cli/lago/test_compare.py::test_a_planted_difference_is_found_and_nothing_else",
    ),
    Bug(
        "lago-figures-of-ended-periods-not-compared",
        "app/cli/lago/figures.py",
        "        found += _of_period(period, known, past)",
        "        found += [] if past else _of_period(period, known, past)",
        "tests/app/cli/lago/test_compare.py::test_ended_periods",
    ),
    Bug(
        "lago-charge-of-ours-alone-overlooked",
        "app/cli/lago/figures.py",
        "    for charge in left:\n",
        "    for charge in left[:0]:\n",
        "tests/app/cli/lago/test_compare.py::test_a_planted_difference_is_found_and_nothing_else",
    ),
    Bug(
        "lago-moving-called-equal",
        "app/cli/lago/comparing.py",
        "            if lago == again:",
        "            if lago is not None:",
        "tests/app/cli/lago/test_compare.py::test_what_moves_is_never_equal",
    ),
    Bug(
        "lago-difference-seen-once",
        "app/cli/lago/comparing.py",
        "or before == (lago, here):",
        "or before != (lago, here):",
        "tests/app/cli/lago/test_compare.py::test_what_is_a_moment_behind_here_is_no_difference",
    ),
    Bug(
        "lago-overwrites-without-a-wish",
        "app/cli/lago/taking.py",
        "if one.here is not None and not (self._updates or update):",
        "if False:",
        "tests/app/cli/lago/test_migrate.py"
        "::test_what_differs_is_shown_and_written_only_when_asked",
    ),
    Bug(
        "lago-dry-run-writes",
        "app/cli/lago/taking.py",
        "        if self.is_dry:\n            self.count",
        "        if False:\n            self.count",
        "tests/app/cli/lago/test_migrate.py::test_a_dry_run_prints_the_plan_and_writes_nothing",
    ),
    Bug(
        "lago-first-page-alone",
        "app/cli/lago/client.py",
        "            if following is None:\n                break",
        "            if page:\n                break",
        "tests/app/cli/lago/test_compare.py::test_limits_and_slow_pages_change_nothing",
    ),
    Bug(
        "lago-list-that-moved-is-taken",
        "app/cli/lago/client.py",
        "if totals in ({None}, {len(found)}):",
        "if totals:",
        "tests/app/cli/lago/test_migrate.py"
        "::test_a_list_that_changes_while_it_is_read_is_read_again",
    ),
    Bug(
        "statement-figure-not-compared",
        "app/offline/stated.py",
        'if name != "cells" and said.get(name) != recorded.get(name)',
        'if name != "cells" and said is None',
        "tests/app/offline/test_statement.py::test_what_was_changed_does_not_pass",
    ),
    Bug(
        "statement-lacks-a-record-unnoticed",
        "app/offline/stated.py",
        'is missing" for value in folded - given]',
        'is missing" for value in given - given]',
        "tests/app/offline/test_statement.py::test_a_revision_that_was_taken_out_is_missed",
    ),
    Bug(
        "restore-that-outlives-its-rebalance",
        "app/runtime/ownership.py",
        "await cancel([self._mending[number] for number in stopped])",
        "await cancel([self._mending.pop(number) for number in stopped])",
        "tests/app/runtime/test_ownership.py"
        "::test_who_was_cancelled_in_ending_a_restore_leaves_it_to_the_next",
    ),
    Bug(
        "restored-partition-delivered-in-a-rebalance",
        "app/runtime/ownership.py",
        "if not delivering:",
        "if False:",
        "tests/app/runtime/test_ownership.py"
        "::test_who_is_mended_when_a_rebalance_has_begun_is_parked",
    ),
    Bug(
        "partition-without-a-leader-ends-the-worker",
        "app/runtime/ownership.py",
        "            except NOT_TAKEN as error:\n",
        "            except BeyondRetention as error:\n",
        "tests/app/runtime/test_ownership.py::test_a_partition_whose_log_has_no_leader_waits_alone",
    ),
    Bug(
        "rebalance-that-waits-for-a-flush",
        "app/runtime/ownership.py",
        "        # One that was owned may have failed meanwhile, and is brought already.\n",
        "        for owned in list(self._parked.values()):\n            await owned.flush()\n",
        "tests/app/runtime/test_ownership.py"
        "::test_a_partition_that_cannot_be_flushed_keeps_no_other_waiting",
    ),
    Bug(
        "question-without-an-answer-ends-it-for-all",
        "app/kafka/joined.py",
        "for key in wanted & told.keys()",
        "for key in wanted",
        "tests/app/kafka/test_joined.py::test_who_is_told_nothing_of_is_left_out",
    ),
    Bug(
        "new-partition-not-held",
        "app/kafka/batch_consumer.py",
        "self.held = frozenset(tp for number in self._owned for tp in self._of(number))",
        "self.held = frozenset()",
        "tests/app/kafka/test_coming.py::test_the_others_go_on_while_a_partition_is_restored",
    ),
    Bug(
        "table-that-leads-back-to-itself",
        "tables/changelogged/instants.py",
        "itself = weakref.proxy(self)",
        "itself = self",
        "tests/simulation/test_memory.py::test_a_partition_given_up_is_forgotten",
    ),
    Bug(
        "packed-found-by-its-hash-alone",
        "app/definitions/indexes/packed.py",
        "if self.key_of(number) == key:",
        "if number >= 0:",
        "tests/app/definitions/indexes/test_packed.py::test_names_of_one_hash_are_told_apart",
    ),
    Bug(
        "subscription-found-by-the-hash-of-its-name",
        "app/definitions/indexes/names.py",
        "if one is not None and self._name_of(one) == name:",
        "if first >= 0:",
        "tests/app/definitions/indexes/test_names.py::test_each_is_found_by_its_names[one hash]",
    ),
    Bug(
        "only-one-of-a-name-found-by-its-hash",
        "app/definitions/indexes/names.py",
        "if lived is not None and self._name_of(lived[1]) == name:",
        "if lived is not None:",
        "tests/app/definitions/indexes/test_names.py"
        "::test_the_only_one_of_a_name_is_told_with_its_life[one hash]",
    ),
    Bug(
        "first-of-several-taken-for-the-only-one",
        "app/definitions/indexes/names.py",
        "return None if first in self._more else lived",
        "return lived",
        "tests/app/definitions/indexes/test_names.py"
        "::test_the_only_one_of_a_name_is_told_with_its_life[several hashes]",
    ),
    Bug(
        "changed-definition-not-packed-anew",
        "app/definitions/indexes/index.py",
        "    versions_of[key] = versions\n    return old",
        "    return old",
        "tests/app/definitions/indexes/test_packed.py::test_what_is_packed_is_as_in_a_plain_dict",
    ),
    Bug(
        "held-versions-forgotten",
        "app/definitions/indexes/packed.py",
        "if held() is not None}",
        "if held() is None}",
        "tests/app/definitions/indexes/test_packed.py"
        "::test_who_holds_versions_sees_what_others_change",
    ),
    Bug(
        "grid-cuts-taken-again-though-no-figure-is-lost",
        "tables/partition/cuts.py",
        "self._checkpoint.billed_ms if definitions.pays_in_advance(*name) else done_ms",
        "self._checkpoint.cut_ms if definitions.pays_in_advance(*name) else done_ms",
        "tests/tables/partition/test_grid_cuts.py"
        "::test_what_was_decided_is_looked_at_again_if_figures_are_lost",
    ),
    Bug(
        "log-read-beyond-the-time-that-was-asked-for",
        "app/kafka/log_readers.py",
        "if before_ms is not None:",
        "if False:",
        "tests/app/kafka/test_whole_logs.py::test_nothing_is_read_that_came_later",
    ),
    Bug(
        "earlier-of-two-cuts-not-waited-for",
        "tables/partition/waiting.py",
        "self.by_name[name] = sorted((known, cut_ms))",
        "self.by_name[name] = max(known, cut_ms)",
        "tests/tables/partition/test_waiting.py::test_it_is_as_sets_of_cuts_by_name",
    ),
    Bug(
        "cut-of-others-gone-with-the-first-who-has-it",
        "tables/partition/waiting.py",
        "            if not names:\n",
        "            if True:\n",
        "tests/tables/partition/test_waiting.py::test_it_is_as_sets_of_cuts_by_name",
    ),
    Bug(
        "rows-of-one-window-told-by-each-worker",
        "app/api/usage/analytics.py",
        "groupby(merge(*of_all), key=lambda row: row[:3])",
        "groupby(merge(*of_all), key=lambda row: (*row[:3], object()))",
        "tests/app/api/usage/test_analytics.py::test_rows_of_all_workers_are_added_up",
    ),
    Bug(
        "days-added-in-one-step",
        "tables/reading/analytics.py",
        "if number % STEP_ITEMS == 0:",
        "if False:",
        "tests/tables/reading/test_analytics.py::test_no_step_takes_many_days",
    ),
    Bug(
        "full-disk-taken-for-a-difference",
        "app/cli/ending.py",
        "Exit(NO_VERDICT)",
        "Exit(1)",
        "tests/app/cli/test_ending.py::test_a_full_disk_is_one_line",
    ),
    Bug(
        "no-number-taken-for-seconds",
        "app/cli/words.py",
        "if isnan(seconds):",
        "if False:",
        "tests/app/cli/test_words.py::test_every_number_lies_within_bounds",
    ),
    Bug(
        "key-of-two-lines-sent",
        "app/cli/api_keys.py",
        "if not (key.isascii() and key.isprintable()):",
        "if False:",
        "tests/app/cli/test_remote.py::test_a_key_of_no_header_is_not_repeated",
    ),
    Bug(
        "no-time-asked-for",
        "app/cli/words.py",
        "if parse_iso8601_ms(text) is None:",
        "if False:",
        "tests/app/cli/test_words.py::test_no_time_is_wrong_usage",
    ),
    Bug(
        "export-begun-beyond-the-end",
        "app/offline/export.py",
        "if offset > end:",
        "if False:",
        "tests/app/cli/test_export.py::test_a_part_of_a_log_is_exported",
    ),
    Bug(
        "copy-after-a-file-of-another-log",
        "app/cli/export.py",
        'partition: int = msgspec.field(name="_partition")',
        'partition: int = msgspec.field(name="_partition", default=0)',
        "tests/app/cli/test_export.py::test_another_file_is_no_earlier_export",
    ),
    Bug(
        "interrupt-told-by-a-traceback",
        "app/cli/entry.py",
        "except KeyboardInterrupt:",
        "except EOFError:",
        "tests/app/cli/test_ending.py::test_ctrl_c_is_one_line_from_the_first_import_on",
    ),
    Bug(
        "empty-name-asked-for",
        "app/cli/words.py",
        "if not text:",
        "if False:",
        "tests/app/cli/test_words.py::test_nothing_is_no_name",
    ),
    Bug(
        "events-of-one-time-listed-twice",
        "app/cli/listed_events.py",
        "(event for event in events if _name_of(event) not in told)",
        "events",
        "tests/app/cli/test_listed_events.py"
        "::test_of_more_than_one_answer_shows_each_is_yielded_once",
    ),
    Bug(
        "whole-listing-shown-by-pages",
        "app/api/http/pagination.py",
        'if query.flag("whole")',
        "if False",
        "tests/app/api/events/test_events.py::test_listing",
    ),
    Bug(
        "children-of-a-deleted-plan-forgotten",
        "app/definitions/indexes/coded.py",
        "self.children[plan.id] = {}",
        "del self.children[plan.id]",
        "tests/app/api/definitions/test_listings.py::test_who_is_on_a_plan_of_a_code_is_listed",
    ),
    Bug(
        "first-on-another-plan-counted-for-its-customer",
        "app/definitions/indexes/subscriptions.py",
        "counted = several[np.isin(several, on_plan)]",
        "counted = several",
        "tests/app/definitions/test_serializers.py"
        "::test_a_customer_with_several_is_counted_once_on_each_plan",
    ),
    Bug(
        "who-ended-last-forgotten",
        "app/definitions/indexes/subscriptions.py",
        "kept, has_ended = list[str](), False",
        "kept, has_ended = list[str](), True",
        "tests/laws/test_many_of_one_id.py::test_who_ended_before_the_last_decides_nothing",
    ),
    Bug(
        "later-plan-of-many-unknown",
        "app/definitions/indexes/subscriptions.py",
        "        self.plans_of[name].add(changed.plan_id)\n",
        "",
        "tests/laws/test_many_of_one_id.py::test_who_ended_before_the_last_decides_nothing",
    ),
    Bug(
        "span-left-before-it-is-over",
        "tables/routing/route.py",
        "spans[bisect_right(over_ms, from_ms) :]",
        "spans[bisect_right(over_ms, from_ms) + 1 :]",
        "tests/laws/test_begun_anew.py::test_straight_is_one_by_one",
    ),
    Bug(
        "many-codes-in-one-step",
        "tables/partition/redirection.py",
        "            passed += 2 + 2 * len(was.spans)\n",
        "",
        "tests/bench/test_growth.py::test_a_look_at_many_codes_takes_small_steps",
    ),
    Bug(
        "look-ends-after-one-step",
        "tables/partition/redirection.py",
        "                    yield A_STEP\n",
        "                    yield A_STEP\n                    return refold\n",
        "tests/laws/test_looking_later.py::test_events_and_packing_among_definitions_not_looked_at",
    ),
    Bug(
        "over-before-its-grace",
        "app/definitions/terms.py",
        "    due_s = max(graces_s) + grids_s\n",
        "    due_s = 0\n",
        "tests/laws/test_many_of_one_id.py::test_who_ended_long_before_is_asked_no_more",
    ),
    Bug(
        "over-as-the-newest-is",
        "app/definitions/indexes/subscriptions.py",
        "np.maximum.accumulate(np.frombuffer(over_ms, np.int64))",
        "np.frombuffer(over_ms, np.int64)",
        "tests/laws/test_many_of_one_id.py::test_who_ended_before_the_last_decides_nothing",
    ),
    Bug(
        "many-that-end-later-not-asked",
        "tables/partition/timelines.py",
        "bisect_right(timelines, from_ms, key=_over_ms)",
        "bisect_right(timelines, until_ms, key=_over_ms)",
        "tests/laws/test_many_of_one_id.py::test_who_ended_long_before_is_asked_no_more",
    ),
    Bug(
        "promise-lost-in-packing",
        "app/definitions/indexes/subscriptions.py",
        "self.versions[new.id] = versions",
        "pass",
        "tests/app/definitions/test_at_once.py::test_what_is_left_half_way_never_was",
    ),
    Bug(
        "row-taken-out-counted",
        "tables/changelogged/keyed_rows.py",
        "        self._free.append(number)\n",
        "",
        "tests/tables/changelogged/test_keyed_rows.py::test_rows_are_as_a_dict_would_have_them",
    ),
    Bug(
        "place-taken-out-across-two-entries",
        "app/definitions/indexes/places.py",
        "        while place % _ENTRY_BYTES:\n            # It is across two entries.",
        "        while False:\n            # It is across two entries.",
        "tests/app/definitions/indexes/test_places.py::test_two_entries_are_not_taken_for_one_across_them",
    ),
    Bug(
        "event-ranges-rest-unwritten",
        "tables/changelogged/resting.py",
        "        if not codes.may_rest:\n",
        "        if False:\n",
        "tests/tables/changelogged/test_resting.py::test_what_is_not_written_rests_after_the_flush",
    ),
    Bug(
        "event-ranges-rest-under-a-route",
        "tables/changelogged/presence_table.py",
        "        self._to_rest.pop(name, None)\n        return entry",
        "        return entry",
        "tests/tables/changelogged/test_resting.py::test_an_entry_that_a_route_took_again_stays_through_the_flush",
    ),
    Bug(
        "event-ranges-that-a-route-holds-rest",
        "tables/changelogged/presence_table.py",
        "        if not was_awake:\n",
        "        if True:\n",
        "tests/tables/changelogged/test_resting.py::test_all_who_ask_get_the_same_entry_until_it_rests",
    ),
    Bug(
        "event-ranges-changed-at-rest-stay-awake",
        "tables/changelogged/presence_table.py",
        "        if not was_awake:\n            self._to_rest[name] = None\n",
        "",
        "tests/tables/changelogged/test_resting.py::test_who_is_changed_at_rest_rests_again_after_the_flush",
    ),
    Bug(
        "event-ranges-never-rest",
        "tables/partition/packing.py",
        "        self._event_ranges.rest_again(name)\n",
        "",
        "tests/laws/test_packed.py::test_cells_that_no_event_touches_are_packed",
    ),
    Bug(
        "sum-of-event-ranges-keeps-old-values",
        "tables/changelogged/presence_table.py",
        "changed.append((key, before, value))",
        "changed.append((key, None, value))",
        "tests/tables/changelogged/test_resting.py::test_the_entry_of_all_others_is_written_like_any",
    ),
    Bug(
        "name-once-missed-never-found",
        "tables/changelogged/resting.py",
        "                self._missed.discard(name)\n",
        "",
        "tests/tables/changelogged/test_resting.py::test_all_who_ask_get_the_same_entry_until_it_rests",
    ),
    Bug(
        "restored-usage-changed-forgotten",
        "tables/changelogged/presence_table.py",
        "            if touched := touched_in(value):",
        "            if touched := touched_in(value) and None:",
        "tests/laws/test_changed.py::test_a_cut_left_half_told_goes_on_with_the_others",
    ),
    Bug(
        "rows-of-another-organization",
        "app/queries/trace.py",
        "[row for row in rows if row.startswith(start)]",
        "[row for row in rows if start]",
        "tests/app/queries/test_steps.py"
        "::test_an_id_alone_is_looked_up_under_all_subscriptions_of_its_organization",
    ),
    Bug(
        "cells-all-of-the-first-charge",
        "tables/changelogged/packed_rows.py",
        "return key[:end], self._numbers[key[end:after]], key[after:]",
        "return key[:end], 0, key[after:]",
        "tests/tables/changelogged/test_packed_rows.py"
        "::test_cells_of_a_charge_are_taken_out_and_the_others_stay[2]",
    ),
    Bug(
        "cut-taken-stays-scheduled",
        "tables/closing/schedule.py",
        "            self._cuts[number] = _TAKEN\n            self._closed",
        "            self._closed",
        "tests/tables/closing/test_schedule.py::test_who_is_taken_has_no_cut_before_it_is_free",
    ),
    Bug(
        "cut-moved-away-still-due",
        "tables/closing/schedule.py",
        "                if self._cuts[due[-1]] == cut_ms:",
        "                if due:",
        "tests/tables/closing/test_schedule.py::test_it_is_as_a_dict_would_have_it",
    ),
    Bug(
        "row-left-in-a-chunk-that-is-emptied",
        "app/definitions/indexes/rows.py",
        "            self._places[number] = place\n            self._leave(before)",
        "            self._leave(before)",
        "tests/app/definitions/indexes/test_rows.py::test_what_was_changed_takes_no_room_for_long",
    ),
    Bug(
        "chunk-of-dead-rows-kept",
        "app/definitions/indexes/rows.py",
        "elif self._live[at] < CHUNK_BYTES // 2 and at not in self._thin:",
        "elif at not in self._thin and not self._live[at]:",
        "tests/app/definitions/indexes/test_rows.py::test_what_was_changed_takes_no_room_for_long",
    ),
    Bug(
        "chunk-emptied-at-once",
        "app/definitions/indexes/rows.py",
        "np.flatnonzero(places // CHUNK_BYTES == at)[:_MOVED]",
        "np.flatnonzero(places // CHUNK_BYTES == at)",
        "tests/app/definitions/indexes/test_rows.py::test_no_change_moves_many_rows",
    ),
    Bug(
        "length-of-a-row-cut-to-a-byte",
        "app/definitions/indexes/rows.py",
        "end = first + 4 + ((length - _SHORT) << 8 | found[1])",
        "end = first + 4 + found[1]",
        "tests/app/definitions/indexes/test_rows.py::test_rows_are_as_in_a_list",
    ),
    Bug(
        "start-of-a-subscription-taken-for-its-date",
        "app/definitions/indexes/forms.py",
        "if rest == [since_ms, at_ms, *_OF_MOST_SUBSCRIPTIONS]:",
        "if rest[1:] == [at_ms, *_OF_MOST_SUBSCRIPTIONS]:",
        "tests/app/definitions/indexes/test_packed.py"
        "::test_who_started_later_than_its_date_comes_back_as_it_was",
    ),
    Bug(
        "long-name-in-the-time-of-a-plain-row",
        "app/definitions/indexes/forms.py",
        "if not ((shape | length) >> 16 or at_ms >> _TIME_BITS):",
        "if not (shape >> 16 or at_ms >> _TIME_BITS):",
        "tests/app/definitions/indexes/test_packed.py"
        "::test_long_names_and_very_many_plans_are_told_apart",
    ),
    Bug(
        "record-refused-because-a-disk-cannot-be-read",
        "app/definitions/log.py",
        "except (MemoryError, OSError):",
        "except MemoryError:",
        "tests/app/definitions/test_total.py"
        "::test_want_of_memory_or_of_a_disk_is_no_fault_of_the_record",
    ),
    Bug(
        "chunk-overwritten-under-a-copy-of-the-process",
        "app/runtime/shelf.py",
        "again = bool(self._free) and not self._copies",
        "again = bool(self._free)",
        "tests/app/runtime/test_shelf.py"
        "::test_nothing_that_a_copy_of_the_process_may_read_is_overwritten",
    ),
    Bug(
        "chunk-that-the-disk-did-not-take-whole-read-from-it",
        "tables/spool.py",
        "if written < len(value):",
        "if written < 0:",
        "tests/app/runtime/test_shelf.py::test_what_the_disk_does_not_take_stays_in_memory",
    ),
    Bug(
        "lost-end-of-a-chunk-taken-for-a-row",
        "tables/spool.py",
        "if len(found) != length:",
        "if not found:",
        "tests/app/runtime/test_shelf.py::test_what_the_disk_lost_is_no_definition",
    ),
    Bug(
        "room-of-dead-chunks-never-given-anew",
        "app/runtime/shelf.py",
        "        self._free.append(self._first)\n\n    def __getitem__",
        "        pass\n\n    def __getitem__",
        "tests/app/runtime/test_shelf.py::test_rows_on_the_shelf_are_as_in_a_list",
    ),
    Bug(
        "bytes-of-definitions-not-checked",
        "app/definitions/indexes/rows.py",
        "if _hash(row)[:2] != told:",
        "if not told:",
        "tests/app/runtime/test_shelf.py::test_a_row_with_other_bytes_than_were_put_is_not_read",
    ),
    Bug(
        "event-set-aside-for-a-bad-disk",
        "app/runtime/apart.py",
        "    with suppress(OSError):\n        attempt()",
        "    attempt()",
        "tests/app/runtime/test_apart.py"
        "::test_a_disk_that_cannot_be_read_is_no_fault_of_what_is_tried",
    ),
    Bug(
        "kill-for-want-of-memory-taken-for-a-verdict",
        "app/runtime/apart.py",
        "_NO_VERDICTS: Final = (-signal.SIGKILL, -signal.SIGALRM)",
        "_NO_VERDICTS: Final = (-signal.SIGALRM,)",
        "tests/app/runtime/test_apart.py::test_what_is_killed_from_without_is_made_again",
    ),
    Bug(
        "committed-end-taken-for-the-end",
        "app/runtime/partition/care.py",
        "until = self._until[tp] = max(ends)",
        "until = self._until[tp] = min(ends)",
        "tests/app/runtime/partition/test_care.py"
        "::test_what_was_appended_after_the_take_over_is_not_tried",
    ),
    Bug(
        "end-of-a-log-that-moves-on",
        "app/runtime/partition/care.py",
        "until = self._until[tp] = max(ends)",
        "until = max(ends)",
        "tests/app/runtime/partition/test_care.py"
        "::test_what_was_appended_after_the_take_over_is_not_tried",
    ),
    Bug(
        "failure-told-of-another",
        "app/runtime/apart.py",
        "each.failed = Failed(failed.number - first, failed.reason)",
        "each.failed = Failed(failed.number, failed.reason)",
        "tests/app/runtime/test_apart.py::test_each_is_told_of_its_own_failure",
    ),
    Bug(
        "attempts-of-one-who-waits-no-longer",
        "app/runtime/apart.py",
        "asking = [each for each in self._waiting if not each.answered]",
        "asking = list(self._waiting)",
        "tests/app/runtime/test_apart.py::test_whoever_waits_no_longer_leaves_the_others_their_answers",
    ),
    Bug(
        "records-tried-in-the-turn-of-others",
        "agents/ingest.py",
        "            turn.end()\n            await examine(partition, batch)\n",
        "            await examine(partition, batch)\n",
        "tests/agents/test_ingest.py::test_others_fold_while_records_of_a_partition_are_tried",
    ),
    Bug(
        "range-at-rest-without-what-came-misplaced",
        "tables/changelogged/presence.py",
        " or plain != [True, _NOTES_EARLY, raw_first, -1, -1, -1]:",
        ":",
        "tests/tables/changelogged/test_resting.py"
        "::test_what_rests_of_an_entry_is_the_record_again",
    ),
    Bug(
        "range-at-rest-with-times-far-apart",
        "tables/changelogged/presence.py",
        " or ahead >> _AHEAD_BITS",
        "",
        "tests/tables/changelogged/test_resting.py"
        "::test_what_rests_of_an_entry_is_the_record_again",
    ),
    Bug(
        "sum-of-event-ranges-forgets-what-rested",
        "tables/changelogged/resting.py",
        "return None if before is None or before == _NOT_WRITTEN else written(before)",
        "return None",
        "tests/tables/changelogged/test_resting.py"
        "::test_what_is_loaded_in_any_order_is_what_was_written[1]",
    ),
    Bug(
        "moment-gone-by-uncounted",
        "app/definitions/active_counts.py",
        "            self._past += len(self._runs[0])\n",
        "",
        "tests/app/definitions/test_active_counts.py::test_from_now_on_moments_are_one_sorted_list",
    ),
    Bug(
        "subscription-that-began-long-ago-stays-active",
        "app/definitions/active_counts.py",
        "            self._past -= 1\n            return",
        "            return",
        "tests/app/definitions/test_laws.py::test_the_tally_counts_what_a_scan_finds",
    ),
    Bug(
        "end-passed-over-on-the-grid",
        "app/definitions/timeline.py",
        "return None if may_end(entry.subscription) else entry",
        "return None if entry.subscription.canceled_at_ms is not None else entry",
        "tests/laws/test_due_after.py::test_any_period_is_found_whichever_was_asked_for_before",
    ),
    Bug(
        "first-period-as-long-as-the-others",
        "app/definitions/timeline.py",
        "max(began_ms, grid.start_ms(grid.index_at(at_ms)))",
        "grid.start_ms(grid.index_at(at_ms))",
        "tests/laws/test_due_after.py::test_any_period_is_found_whichever_was_asked_for_before",
    ),
    Bug(
        "changed-terms-as-if-there-were-none",
        "app/definitions/timeline.py",
        "if len(terms) != 1:\n        return None\n    (entry,) = terms",
        "if not terms:\n        return None\n    entry = terms[0]",
        "tests/laws/test_due_after.py::test_any_period_is_found_whichever_was_asked_for_before",
    ),
    Bug(
        "terms-as-of-a-customer-with-nothing-of-its-own",
        "app/definitions/terms.py",
        "own = self._definitions.customer_index.own_terms(customer)",
        "own = NOTHING_OF_ITS_OWN",
        "tests/laws/test_common_terms.py::test_shared_terms_are_those_of_each_alone",
    ),
    Bug(
        "shared-terms-as-before-a-change",
        "app/definitions/terms.py",
        "if known is None or known.told != told:",
        "if known is None:",
        "tests/laws/test_common_terms.py::test_shared_terms_are_those_of_each_alone",
    ),
    Bug(
        "terms-of-who-ended-as-its-plan-changes-alone",
        "app/definitions/terms.py",
        "for at_ms in sorted({*since, *versions.changes}):",
        "for at_ms in sorted(since):",
        "tests/laws/test_common_terms.py::test_who_ended_shares_theirs_too",
    ),
    Bug(
        "spans-of-who-ended-found-by-its-periods",
        "tables/routing/plan.py",
        "timeline.lasting or timeline.steady",
        "timeline.lasting",
        "tests/tables/partition/test_first_touch.py"
        "::test_a_touch_takes_few_calls_for_each_time_that_it_began_anew",
    ),
    Bug(
        "spans-steady-in-spite-of-another-timezone",
        "app/definitions/timeline.py",
        "if grid.timezone != timezone:\n                    return None",
        "pass",
        "tests/laws/test_alike_periods.py::test_spans_are_so_where_subscriptions_share_their_folds",
    ),
    Bug(
        "terms-of-now-for-who-began-before",
        "app/definitions/terms.py",
        "begun = bisect_right(self.since_ms, created_ms)",
        "begun = len(self.since_ms)",
        "tests/laws/test_common_terms.py::test_shared_terms_are_those_of_each_alone",
    ),
    Bug(
        "next-cut-of-the-watched-as-before-the-settings",
        "tables/partition/redefinition.py",
        "yield from self._remember_late(name, impact.codes or ())\n"
        "                yield Renewed(name, set(), True)",
        "yield from self._remember_late(name, impact.codes or ())\n"
        "                yield Renewed(name, set(), False)",
        "tests/simulation/test_simulation.py::test_seeds_that_found_something[3000512]",
    ),
    Bug(
        "next-due-as-of-those-who-began-long-before",
        "app/definitions/terms.py",
        "return due.at_ms if tells else None",
        "return due.at_ms",
        "tests/laws/test_common_terms.py"
        "::test_what_is_due_next_is_told_as_by_a_timeline_of_its_own",
    ),
    Bug(
        "next-due-as-of-those-made-before-a-change",
        "app/definitions/terms.py",
        "            return begun, own\n",
        "            return (own,)\n",
        "tests/laws/test_common_terms.py"
        "::test_a_change_after_it_was_made_is_none_before_to_who_was_made_later",
    ),
    Bug(
        "periods-as-of-those-who-began-long-before",
        "tables/partition/timelines.py",
        "if shared is None or first is None or first.start_ms < shared.since_ms:",
        "if shared is None or first is None:",
        "tests/laws/test_common_terms.py"
        "::test_what_is_due_next_is_told_as_by_a_timeline_of_its_own",
    ),
    Bug(
        "next-due-as-of-another-anniversary",
        "app/definitions/terms.py",
        "return begun, own, *grids",
        "return begun, own, None",
        "tests/laws/test_common_terms.py::test_anniversaries_share_what_falls_on_the_same_days",
    ),
    Bug(
        "days-under-definitions-of-now",
        "tables/partition/cuts.py",
        "        if not later:\n            first_ms",
        "        if True:\n            first_ms",
        "tests/laws/test_common_terms.py::test_days_are_shown_as_by_a_timeline_of_its_own",
    ),
    Bug(
        "first-period-in-another-timezone-taken-for-one-of-all",
        "app/definitions/terms.py",
        "TIMEZONE_SHIFT_MS if is_moved else 0",
        "0",
        "tests/laws/test_common_terms.py"
        "::test_a_first_period_that_another_timezone_cuts_short_is_its_own",
    ),
    Bug(
        "first-period-from-where-others-begin",
        "app/definitions/terms.py",
        "return period._replace(start_ms=self.started_ms)",
        "return period",
        "tests/laws/test_common_terms.py"
        "::test_what_is_due_next_is_told_as_by_a_timeline_of_its_own",
    ),
    Bug(
        "no-period-before-the-second-one",
        "app/definitions/terms.py",
        "(period, opening)\n",
        "(period, None)\n",
        "tests/laws/test_common_terms.py"
        "::test_what_is_due_next_is_told_as_by_a_timeline_of_its_own",
    ),
    Bug(
        "due-as-before-whatever-is-done",
        "app/definitions/timeline.py",
        "before.done_ms <= done_ms < before.at_ms",
        "before.done_ms <= done_ms",
        "tests/laws/test_due_after.py"
        "::test_what_is_due_next_is_found_whatever_was_asked_for_before",
    ),
    Bug(
        "grid-that-did-not-last-taken-for-one-that-did",
        "app/definitions/periods.py",
        "range(newest, before, -1)",
        "range(newest, newest, -1)",
        "tests/laws/test_due_after.py::test_what_is_due_is_found_however_often_the_customer_moved",
    ),
    Bug(
        "first-period-over-before-it-was-made",
        "app/definitions/terms.py",
        "<= self.began_ms < period.end_ms",
        "< period.end_ms",
        "tests/laws/test_common_terms.py::test_what_was_over_before_it_was_made_is_due_after_that",
    ),
    Bug(
        "anniversaries-alike-in-other-months",
        "app/billing_periods/grid.py",
        "range((day.month - 1) % months, 12, months)",
        "range(0, 12, months)",
        "tests/app/billing_periods/test_grid.py::test_anniversaries_on_the_same_days_share_a_grid",
    ),
    Bug(
        "period-asked-for-last-tells-of-the-next-instant",
        "app/billing_periods/grid.py",
        "if not start_ms <= at_ms < end_ms:",
        "if not start_ms <= at_ms <= end_ms:",
        "tests/app/billing_periods/test_grid.py::test_the_period_asked_for_last_tells_of_no_other",
    ),
    Bug(
        "anniversary-told-in-the-timezone-of-now",
        "app/definitions/terms.py",
        "for plan, organization, _ in self.parts[begun - 1 :]:",
        "for plan, organization, _ in self.parts[-1:]:",
        "tests/laws/test_common_terms.py::test_anniversaries_share_what_falls_on_the_same_days",
    ),
    Bug(
        "customer-of-its-own-timezone-taken-for-one-like-most",
        "app/definitions/indexes/organizations.py",
        "if not is_new or (customer.timezone, customer.grace_days) != NOTHING_OF_ITS_OWN:",
        "if not is_new:",
        "tests/laws/test_common_terms.py"
        "::test_customers_with_a_timezone_of_their_own_are_told_apart",
    ),
    Bug(
        "customer-that-changed-taken-for-one-like-most",
        "app/definitions/indexes/organizations.py",
        "if not is_new or (customer.timezone,",
        "if is_new and (customer.timezone,",
        "tests/laws/test_common_terms.py"
        "::test_customers_with_a_timezone_of_their_own_are_told_apart",
    ),
    Bug(
        "row-as-it-was-read-before-it-changed",
        "app/definitions/indexes/rows.py",
        "before, self._read_number = self._places[number], -1",
        "before = self._places[number]",
        "tests/app/definitions/indexes/test_rows.py::test_a_row_that_was_read_is_another_once_it_changed",
    ),
    Bug(
        "row-taken-for-the-one-after-the-last",
        "tables/changelogged/keyed_rows.py",
        "if following < len(rows) and rows[following].startswith(key):",
        "if following < len(rows):",
        "tests/tables/changelogged/test_keyed_rows.py::test_rows_are_as_a_dict_would_have_them",
    ),
    Bug(
        "homes-of-subscriptions-under-the-wrong-number",
        "app/runtime/homes.py",
        "                homes.extend([_NOWHERE] * (number - len(homes)))\n",
        "",
        "tests/app/runtime/test_homes.py::test_each_partition_is_told_of_the_names_at_home_there",
    ),
    Bug(
        "periods-shared-as-before-the-settings",
        "app/definitions/terms.py",
        "if known is not None and known.offset == definitions.offset:",
        "if known is not None:",
        "tests/laws/test_common_terms.py::test_what_is_due_next_is_told_after_each_change",
    ),
    Bug(
        "next-due-of-one-that-ends",
        "app/definitions/indexes/forms.py",
        "if single is None or single[2].usage_end_ms is not None:",
        "if single is None:",
        "tests/laws/test_common_terms.py"
        "::test_what_is_due_next_is_told_as_by_a_timeline_of_its_own",
    ),
    Bug(
        "revisions-as-before-the-settings",
        "tables/partition/cuts.py",
        "if told == self._revisions_told:",
        "if self._revisions_told >= 0:",
        "tests/laws/test_grids.py"
        "::test_every_cut_of_a_period_shows_what_was_corrected_until_then[on time]",
    ),
    Bug(
        "unmet-names-counted-as-defined",
        "tables/partition/partition.py",
        "is_counted = bool(route.spans)",
        "is_counted = True",
        "tests/laws/test_undefined_names.py::test_what_is_defined_later_counts_whatever_is_kept",
    ),
    Bug(
        "lowered-limit-of-groups-not-looked-at",
        "tables/partition/new_settings.py",
        "return _has_groups(known, least) if known else self._packing.has_cells(name, least)",
        "return _has_groups(known, least) if known else False",
        "tests/tables/partition/test_new_settings.py"
        "::test_who_has_as_many_groups_as_a_limit_is_looked_at[True]",
    ),
    Bug(
        "limit-that-was-reached-not-looked-at",
        "tables/partition/new_settings.py",
        "            if most >= least:",
        "            if most > least:",
        "tests/laws/test_new_settings.py::test_who_is_left_alone_has_the_same",
    ),
    Bug(
        "settings-hide-another-definition-of-the-look",
        "tables/partition/redefinition.py",
        "                    known.add(name)",
        "                    seen.add(name)",
        "tests/tables/partition/test_new_settings.py"
        "::test_another_definition_of_the_same_look_is_looked_at",
    ),
    Bug(
        "settings-while-history-comes-into-force",
        "tables/partition/new_settings.py",
        "if self._standing.enters_history or self._standing.history_ms > before_ms:",
        "if self._standing.history_ms > before_ms:",
        "tests/tables/partition/test_new_settings.py"
        "::test_while_history_comes_into_force_all_are_looked_at",
    ),
    Bug(
        "event-under-settings-not-looked-at",
        "tables/partition/new_settings.py",
        "            self._of_periods and route is not None and",
        "            route is not None and",
        "tests/tables/partition/test_new_settings.py"
        "::test_what_came_after_settings_of_events_is_looked_at[{'input_limits': 1}]",
    ),
    Bug(
        "next-cut-under-another-grid-not-asked-for",
        "tables/partition/new_settings.py",
        "        settings.close_grid_s,\n",
        "",
        "tests/laws/test_new_settings.py::test_no_next_cut_moves_of_who_is_left_alone",
    ),
    Bug(
        "late-event-of-a-rewritten-period-by-the-charges-of-before",
        "tables/partition/history.py",
        "                self._routes.rest(route)",
        "                pass",
        "tests/tables/partition/test_rewritten.py"
        "::test_a_late_event_has_the_charges_of_the_record[False]",
    ),
    Bug(
        "cuts-of-a-history-record-announced-once-it-is-in-force",
        "tables/partition/history.py",
        "        yield from self._announcing(records)\n"
        "        for renewed in self._redirection.look_again():\n"
        "            refolds = refolds or bool(renewed.refold)\n"
        "            yield renewed\n"
        "        self._standing.end_history(refolds=refolds)\n",
        "        for renewed in self._redirection.look_again():\n"
        "            refolds = refolds or bool(renewed.refold)\n"
        "            yield renewed\n"
        "        self._standing.end_history(refolds=refolds)\n"
        "        yield from self._announcing(records)\n",
        "tests/tables/partition/test_rewritten.py"
        "::test_once_a_record_is_in_force_its_cut_is_waited_for_however_early_it_ended",
    ),
    Bug(
        "cut-that-was-found-when-something-ended-is-not-scheduled",
        "agents/close.py",
        "cuts.reschedule(owned.state.cuts.take_late_names())",
        "pass",
        "tests/agents/test_close.py"
        "::test_a_cut_that_is_announced_while_a_later_one_waits_comes_first",
    ),
    Bug(
        "charges-of-who-rests-not-rewritten",
        "tables/partition/history.py",
        "return not rewritten.changes_plan(life.plan_id)",
        "return True",
        "tests/tables/partition/test_rewritten.py::test_who_has_other_charges_is_looked_at[True]",
    ),
    Bug(
        "history-records-shown-of-who-has-events-alone",
        "tables/partition/history.py",
        "        yield from at_hand\n",
        "",
        "tests/tables/partition/test_history.py"
        "::test_who_is_at_hand_waits_for_the_cut_of_a_record_without_an_event",
    ),
    Bug(
        "cuts-of-a-history-record-as-of-the-first-who-rests",
        "tables/partition/history.py",
        "if shared is not None and shared in told:\n            return told[shared]",
        "if told:\n            return next(iter(told.values()))",
        "tests/tables/partition/test_rewritten.py"
        "::test_who_rests_waits_for_the_cut_that_shows_the_record_of_its_own_periods",
    ),
    Bug(
        "charges-that-were-others-for-a-while-not-rewritten",
        "tables/partition/rewritten.py",
        "changes = any(self._named(plan_id, each) != now for each in times_ms)",
        "changes = self._named(plan_id, times_ms[0]) != now",
        "tests/tables/partition/test_rewritten.py"
        "::test_charges_that_were_others_for_a_while_are_looked_at",
    ),
    Bug(
        "charges-of-their-own-not-rewritten",
        "tables/partition/rewritten.py",
        "len(plan_ids) > 1 or any(",
        "any(",
        "tests/tables/partition/test_rewritten.py::test_who_got_charges_of_their_own_is_looked_at",
    ),
    Bug(
        "first-period-of-a-subscription-taken-for-one-of-the-grid",
        "app/definitions/timeline.py",
        "if earlier is not None and regular_ms <= earlier.start_ms:",
        "if earlier is not None and regular_ms <= period.start_ms:",
        "tests/laws/test_due_after.py"
        "::test_what_is_due_next_is_found_whatever_was_asked_for_before",
    ),
    Bug(
        "next-cut-of-a-subscription-that-ends-as-if-it-went-on",
        "app/definitions/periods.py",
        "return subscription.usage_end_ms is not None or subscription.canceled_at_ms is not None",
        "return subscription.canceled_at_ms is not None",
        "tests/laws/test_due_after.py"
        "::test_what_is_due_next_is_found_whatever_was_asked_for_before",
    ),
    Bug(
        "next-cut-as-it-was-known-before-a-definition",
        "tables/closing/close.py",
        "known[:2] == (done_ms, partition.definitions.offset):",
        "known[0] == done_ms:",
        "tests/tables/closing/test_close.py"
        "::test_what_was_due_next_at_a_cut_spares_timelines_unless_it_is_of_another_moment",
    ),
    Bug(
        "full-batch-of-forwards-left-behind",
        "app/runtime/partition/forwarder.py",
        "                if forward is not None:\n"
        "                    await self._send(forwarder, forward)\n",
        "",
        "tests/app/runtime/partition/test_forwarder.py"
        "::test_a_batch_holds_no_more_than_there_is_room_for",
    ),
    Bug(
        "batch-of-forwards-without-end",
        "app/runtime/partition/forwarder.py",
        "self.room_bytes -= size",
        "pass",
        "tests/app/runtime/partition/test_forwarder.py"
        "::test_a_batch_holds_no_more_than_there_is_room_for",
    ),
    Bug(
        "refused-id-taken-for-a-copy",
        "tables/event_index/index.py",
        "places[place] = None if is_refused(row) else row",
        "places[place] = row",
        "tests/tables/event_index/test_index.py"
        "::test_what_segments_know_is_told_with_its_newest_entry",
    ),
    Bug(
        "known-by-the-oldest-entry",
        "tables/event_index/index.py",
        "            for segment in reversed(self._segments):\n"
        "                for place, row in segment.find(asked):\n"
        "                    if place not in places:\n",
        "            for segment in self._segments:\n"
        "                for place, row in segment.find(asked):\n"
        "                    if place not in places:\n",
        "tests/tables/event_index/test_index.py"
        "::test_what_segments_know_is_told_with_its_newest_entry",
    ),
    Bug(
        "records-of-a-flush-call-the-collector",
        "app/kafka/transactions.py",
        "class Record(msgspec.Struct, frozen=True, gc=False):",
        "class Record(msgspec.Struct, frozen=True):",
        "tests/app/runtime/partition/test_flush.py"
        "::test_what_a_flush_packs_does_not_call_the_collector[sum]",
    ),
    Bug(
        "sum-of-members-without-what-they-were",
        "tables/changelogged/members.py",
        "yield key, _published(before), now",
        "yield key, None, now",
        "tests/tables/changelogged/test_members.py::test_all_members_of_a_set_go_and_no_others",
    ),
    Bug(
        "deleted-cells-stay-in-the-changelog",
        "tables/partition/snapshot.py",
        "        cells.update(dict.fromkeys(deleted))\n",
        "",
        "tests/laws/test_partition.py"
        "::test_nothing_stays_of_cells_and_sets_whose_place_other_groups_take",
    ),
    Bug(
        "zero-packed-with-its-sign",
        "app/numbers.py",
        "    if not number:\n        # As most",
        "    if not number and not number.is_signed():\n        # As most",
        "tests/app/test_numbers.py::test_spelled[-0-0]",
    ),
    Bug(
        "tells-what-is-billed-at-once-with-what-is-carried-on",
        "tables/fold.py",
        "if not recurring or (bills_at_once and layer.period is not None):",
        "if not recurring:",
        "tests/tables/closing/test_carrying_prepaid.py"
        "::test_an_event_of_a_forgotten_week_is_told_with_what_the_week_began_with",
    ),
    Bug(
        "forgets-members-of-what-would-bill-at-once",
        "tables/cells/forgotten.py",
        "if span.fold.bills_at_once and span.fold.unique:",
        "if False:",
        "tests/tables/closing/test_carrying_prepaid.py"
        "::test_who_is_counted_in_a_week_that_is_over_would_bill_nothing_again",
    ),
    Bug(
        "keeps-what-is-paid-in-advance-of-who-ended",
        "tables/closing/told.py",
        "goes_without or ends_unpublished(subscription, charge, metric, period)",
        "goes_without",
        "tests/tables/closing/test_carrying.py"
        "::test_the_same_is_told_whether_it_is_carried_on[Ended-prepaid]",
    ),
    Bug(
        "estimates-what-would-be-refused",
        "tables/reading/in_advance.py",
        "if now_ms > counted.period.open_until_ms and",
        "if False and",
        "tests/tables/closing/test_forgetting.py"
        "::test_an_event_that_would_be_refused_bills_nothing",
    ),
    Bug(
        "reads-as-many-large-events-as-small-ones",
        "app/runtime/raw_lookup.py",
        "if most_bytes is not None and size > most_bytes:",
        "if False:",
        "tests/app/queries/test_read_events.py::test_large_events_are_read_few_at_a_time",
    ),
    Bug(
        "estimates-what-waits-for-a-refold",
        "tables/reading/in_advance.py",
        "if partition.refolding(*name) and not",
        "if False and not",
        "tests/laws/test_estimates_later.py::test_an_estimate_waits_for_the_first_refold",
    ),
    Bug(
        "forgets-so-that-an-earlier-program-goes-on",
        "tables/changelogged/checkpoint.py",
        "_FORGETTING = 1_911",
        "_FORGETTING = 1_910",
        "tests/tables/closing/test_forgetting.py"
        "::test_a_program_of_before_refuses_what_is_forgotten_since",
    ),
    Bug(
        "single-events-stay-for-ever",
        "tables/entries_fold.py",
        "return not self.metric.recurring",
        "return False",
        "tests/tables/closing/test_forgetting.py::test_single_events_go_with_their_cells",
    ),
    Bug(
        "history-lists-nothing-of-what-is-forgotten",
        "tables/partition/history.py",
        "recounted |= forgotten & rewritten.listed(versions)",
        "pass",
        "tests/laws/test_forgetting.py::test_the_same_is_published_and_told[listed-periods-0]",
    ),
    Bug(
        "forgets-what-a-row-is-read-of",
        "tables/closing/told.py",
        "if known is not None and not keeps_rows(charge, period, known):",
        "if False:",
        "tests/tables/closing/test_forgetting_rows.py"
        "::test_cells_of_rows_that_are_too_long_to_be_kept_stay",
    ),
    Bug(
        "rows-that-an-earlier-program-left-are-lost",
        "tables/closing/forgetting.py",
        "        yield from keeping_all_rows(partition, route, -1)\n",
        "        yield\n",
        "tests/tables/closing/test_forgetting_rows.py"
        "::test_rows_that_an_earlier_program_left_to_their_cells_are_kept",
    ),
    Bug(
        "kept-rows-told-by-cells",
        "tables/closing/presented.py",
        "        if isinstance(cell, PresentedCell):\n            return _rows_in(cell)\n",
        "",
        "tests/tables/closing/test_forgetting_rows.py"
        "::test_cells_go_and_the_rows_are_told_as_before",
    ),
    Bug(
        "kept-rows-lost-by-a-restart",
        "tables/changelogged/published_period.py",
        "(_decode_presented if has_rows(packed) else _decode_cell)",
        "_decode_cell",
        "tests/tables/closing/test_forgetting_rows.py"
        "::test_cells_go_and_the_rows_are_told_as_before",
    ),
    Bug(
        "kept-rows-are-no-longer-what-records-tell",
        "tables/changelogged/published_period.py",
        "return packed if packed is None or not has_rows(packed) else",
        "return packed if True else",
        "tests/tables/closing/test_forgetting_rows.py"
        "::test_what_is_published_is_read_of_the_records_again_with_its_rows",
    ),
    Bug(
        "start-reads-no-rows-that-were-kept-late",
        "tables/changelogged/published_key.py",
        "return NEVER_MS if has_rows(value) else",
        "return",
        "tests/tables/closing/test_forgetting_rows.py"
        "::test_a_start_reads_rows_though_their_cut_was_long_before",
    ),
    Bug(
        "records-read-again-without-rows",
        "app/runtime/topics/published_topic.py",
        "published = published.presented_by(bytes(record.presentation_breakdowns))",
        "pass",
        "tests/tables/closing/test_forgetting_rows.py"
        "::test_what_is_published_is_read_of_the_records_again_with_its_rows",
    ),
    Bug(
        "rows-of-full-usage-by-what-is-carried-on",
        "tables/reading/regrouped_rows.py",
        "    if span.key.start_ms > from_ms or has_forgotten_since(span, from_ms):\n",
        "    if span.key.start_ms > from_ms:\n",
        "tests/tables/closing/test_forgetting_rows.py"
        "::test_full_usage_has_rows_without_units_of_weeks_that_are_carried_on",
    ),
    Bug(
        "cells-of-rows-stay-for-ever",
        "tables/breakdown_fold.py",
        'of which the rows are kept."""\n        return True',
        'of which the rows are kept."""\n        return False',
        "tests/tables/closing/test_forgetting_rows.py"
        "::test_cells_go_and_the_rows_are_told_as_before",
    ),
    Bug(
        "what-deleted-alerts-came-to-stays",
        "tables/closing/alerts.py",
        "if is_deleted or (is_over and alert_id in later):",
        "if is_over and alert_id in later:",
        "tests/tables/closing/test_forgetting_alerts.py"
        "::test_that_of_a_deleted_alert_goes_with_the_cells",
    ),
    Bug(
        "what-an-alert-came-to-goes-before-its-end-is-decided",
        "tables/closing/alerts.py",
        "partition.cuts.grid_cut_of(changes.changes[-1]) <= done_ms",
        "True",
        "tests/tables/closing/test_forgetting_alerts.py"
        "::test_it_stays_until_the_cut_that_decides_the_end_of_the_alert",
    ),
    Bug(
        "what-alerts-of-an-ended-subscription-came-to-goes-though-it-is-shown",
        "tables/closing/alerts.py",
        "(is_over and alert_id in later)",
        "is_over",
        "tests/tables/closing/test_forgetting_alerts.py"
        "::test_that_of_an_ended_subscription_goes_once_another_has_one",
    ),
    Bug(
        "cut-that-was-taken-forgotten-with-its-alerts",
        "tables/changelogged/evaluations.py",
        "if known.cut_ms < self.newest_ms:",
        "if True:",
        "tests/tables/closing/test_forgetting_alerts.py"
        "::test_the_newest_stays_which_tells_what_cut_was_taken",
    ),
    Bug(
        "removals-without-an-active-value-keep-all",
        "tables/closing/told.py",
        "shows_nothing and not figures.counts",
        "False",
        "tests/tables/closing/test_forgetting.py"
        "::test_operations_that_leave_nothing_active_hold_nothing_back",
    ),
    Bug(
        "removals-explained-by-no-record",
        "tables/reading/explained.py",
        "            if not live.fold.metric.recurring and (entry is None or entry.shows_nothing):",
        "            if False:",
        "tests/tables/closing/test_forgetting.py"
        "::test_operations_that_leave_nothing_active_hold_nothing_back",
    ),
    Bug(
        "records-of-all-batches-tried-at-once",
        "app/runtime/partition/careful.py",
        "    async with owned.shared.trying:\n        await (",
        "    if owned.shared.trying:\n        await (",
        "tests/app/runtime/partition/test_careful.py"
        "::test_records_of_few_batches_are_at_hand_at_once",
    ),
    Bug(
        "first-event-of-an-id-among-the-last-subscriptions",
        "app/queries/trace.py",
        "entries.values() if first is None else [first, *entries.values()]",
        "entries.values()",
        "tests/app/queries/test_steps.py"
        "::test_an_id_alone_is_looked_up_under_all_subscriptions_of_its_organization",
    ),
    Bug(
        "list-of-events-reads-those-of-all-organizations",
        "app/queries/events.py",
        "return found, names if len(names) <= MOST_NAMES else []",
        "return found, []",
        "tests/simulation/test_listed.py"
        "::test_a_list_reads_the_same_beside_ever_more_events_of_others",
    ),
    Bug(
        "list-of-events-without-those-of-names-not-kept-one-by-one",
        "app/queries/events.py",
        "if external_id is None and _may_have(ranges.rest, query):",
        "if False:",
        "tests/simulation/test_listed.py::test_a_list_shows_what_one_of_all_organizations_shows",
    ),
    Bug(
        "list-of-events-without-subscriptions-whose-events-came-early",
        "app/queries/events.py",
        "if since_ms is None or entry.early_ms >= since_ms:",
        "if since_ms is None:",
        "tests/app/queries/test_steps.py"
        "::test_where_a_list_reads_is_found_among_the_subscriptions_of_its_organization",
    ),
    Bug(
        "looks-leave-periods-at-hand-until-a-flush",
        "tables/changelogged/published.py",
        "if len(self._looked_at) >= _AT_HAND:",
        "if False:",
        "tests/tables/changelogged/test_published.py::test_looks_leave_few_periods_at_hand",
    ),
    Bug(
        "look-lets-go-of-a-period-that-changed",
        "tables/changelogged/published.py",
        "if looked_at not in self._changed:",
        "if True:",
        "tests/tables/changelogged/test_published.py::test_looks_leave_few_periods_at_hand",
    ),
    Bug(
        "event-denied-while-its-partition-moves",
        "app/queries/events.py",
        "                self._routing.check_same(parts)\n                return None",
        "                self._routing.all_owned()\n                return None",
        "tests/app/queries/test_gateway.py"
        "::test_an_event_is_not_denied_when_its_partition_moved_meanwhile",
    ),
    Bug(
        "row-of-a-segment-where-only-a-part-of-another-is-the-id",
        "app/kernel/twin_filters.py",
        "    while at >= 0 and at % _ROW_BYTES:",
        "    while False:",
        "tests/app/kernel/test_filters.py::test_a_row_is_found_by_its_id",
    ),
    Bug(
        "found-by-the-oldest-entry",
        "tables/event_index/index.py",
        "rows.setdefault(place, row)",
        "rows[place] = row",
        "tests/tables/event_index/test_index.py::test_a_replaced_entry_wins_in_every_later_segment",
    ),
    Bug(
        "lasting-folds-kept-under-later-definitions",
        "tables/routing/plan.py",
        "if known is None or known[0] != offset:",
        "if known is None:",
        "tests/laws/test_alike_periods.py::test_spans_are_so_where_subscriptions_share_their_folds",
    ),
    Bug(
        "lasting-folds-from-any-first-period-on",
        "tables/routing/plan.py",
        "return folding if is_like else ()",
        "return folding",
        "tests/laws/test_alike_periods.py::test_spans_are_so_where_subscriptions_share_their_folds",
    ),
    Bug(
        "lasting-folds-whatever-changed-before-it-was-made",
        "tables/routing/plan.py",
        "if alike_from_ms <= made_ms and turned_ms",
        "if turned_ms",
        "tests/laws/test_alike_periods.py::test_spans_are_so_where_subscriptions_share_their_folds",
    ),
    Bug(
        "lasting-folds-whatever-turned-since",
        "tables/routing/plan.py",
        "if alike_from_ms <= made_ms and turned_ms <= terms.subscription.started_at_ms:",
        "if alike_from_ms <= made_ms:",
        "tests/laws/test_alike_periods.py::test_spans_are_so_where_subscriptions_share_their_folds",
    ),
    Bug(
        "period-that-was-over-before-taken-for-due-first",
        "app/definitions/timeline.py",
        "if lasting is not None and lasting.since_ms < period.end_ms:",
        "if lasting is not None:",
        "tests/laws/test_due_after.py::test_no_period_is_due_before_one_that_none_overtakes",
    ),
    Bug(
        "routes-of-the-common-entry-stay",
        "tables/partition/route_table.py",
        "if route.event_ranges is None or route.event_ranges is rest:",
        "if route.event_ranges is None:",
        "tests/tables/partition/test_route_table.py"
        "::test_routes_that_nothing_is_kept_of_are_dropped_once_defined",
    ),
    Bug(
        "first-event-taken-by-periods-of-before",
        "tables/partition/intake.py",
        "if route.timelines != tuple(map(_timeline_in, self._timelines.of(meter_key[:2]))):",
        "if False:",
        "tests/laws/test_first_events.py"
        "::test_first_events_ask_the_newest_periods_whether_they_are_taken",
    ),
    Bug(
        "cell-kept-of-a-first-event-that-is-not-folded",
        "tables/routing/route.py",
        "if cell is not None and cell.dirty and self.event_ranges is not None:",
        "if cell is not None:",
        "tests/laws/test_first_events.py::test_a_first_event_that_is_not_folded_leaves_no_cell",
    ),
    Bug(
        "first-event-into-members-that-are-not-at-hand",
        "tables/fold.py",
        "if set_key is not None and set_key not in members.complete:",
        "if False:",
        "tests/laws/test_first_events.py"
        "::test_a_first_event_after_a_start_has_its_member_learnt_before",
    ),
    Bug(
        "first-of-a-later-period-led-back-to-one-before",
        "tables/partition/intake.py",
        "if route.event_ranges is not None and (layer is None or newest_ms < layer.end_ms):",
        "if route.event_ranges is not None and layer is None:",
        "tests/laws/test_first_events.py::test_the_first_event_of_a_later_period_goes_straight",
    ),
    Bug(
        "first-event-of-a-time-that-no-calendar-has",
        "tables/partition/intake.py",
        "if check_range(newest_ms, earliest_ms) is None and aim_first(",
        "if aim_first(",
        "tests/laws/test_straight.py::test_a_time_that_no_calendar_has_is_refused",
    ),
    Bug(
        "read-since-a-time-though-events-of-it-came-early",
        "app/queries/replay.py",
        " or any(entry.early_ms >= dated_from_ms for entry in entries)",
        "",
        "tests/simulation/test_read_since.py::test_what_is_told_is_as_from_all_events",
    ),
    Bug(
        "read-since-a-time-that-a-correction-dates-events-in",
        "app/queries/replay.py",
        "FROM_THE_FIRST if corrected else dated_from_ms",
        "dated_from_ms",
        "tests/simulation/test_read_since.py::test_what_is_told_is_as_from_all_events",
    ),
    Bug(
        "series-of-a-balance-read-since-its-first-window",
        "tables/reading/series.py",
        "FROM_THE_FIRST if recurring else self._windows[0].start_ms",
        "self._windows[0].start_ms",
        "tests/simulation/test_read_since.py::test_what_is_told_is_as_from_all_events",
    ),
    Bug(
        "window-of-a-balance-that-is-carried-into-itself",
        "tables/reading/series.py",
        "while left and left[-1].start_ms < start_ms:",
        "while left and left[-1].start_ms <= start_ms:",
        "tests/tables/reading/test_series.py::test_a_window_shows_what_all_that_is_earlier_comes_to",
    ),
    Bug(
        "balance-explained-by-the-events-of-its-period",
        "app/queries/explain.py",
        "FROM_THE_FIRST if self.recurring or self.period is None else self.period.start_ms",
        "FROM_THE_FIRST if self.period is None else self.period.start_ms",
        "tests/simulation/test_read_since.py::test_what_is_told_is_as_from_all_events",
    ),
    Bug(
        "balance-regrouped-by-the-events-of-its-period",
        "tables/reading/regrouping.py",
        "FROM_THE_FIRST if carries else self._from_ms",
        "self._from_ms",
        "tests/simulation/test_read_since.py::test_what_is_told_is_as_from_all_events",
    ),
    Bug(
        "all-meter-keys-gone-through-for-each-that-is-corrected",
        "tables/partition/recorrection.py",
        "meter_keys_of(name) <= whole}",
        "meter_keys_of(name) <= self._meter_keys - dated_from.keys()}",
        "tests/tables/partition/test_recorrection.py::"
        "test_all_meter_keys_are_gone_through_once_for_however_many_are_corrected",
    ),
    Bug(
        "undefined-codes-routed-to-unpack-one-that-is",
        "tables/partition/packing.py",
        "in self._routes.by_key or not self._definitions.had_metric(name[0], code):",
        "in self._routes.by_key:",
        "tests/tables/partition/test_packing.py"
        "::test_codes_that_no_metric_ever_had_cost_no_route[unpacked]",
    ),
    Bug(
        "preview-reads-all-that-there-is",
        "app/queries/preview.py",
        "refold.start_offsets(await replay.since(refold.appended_from_ms))",
        "refold.start_offsets()",
        "tests/simulation/test_preview_since.py::test_the_same_is_read_after_ever_more_weeks",
    ),
    Bug(
        "preview-reads-all-codes",
        "app/queries/preview.py",
        ", codes=codes)",
        ")",
        "tests/simulation/test_preview_since.py::test_the_same_is_read_after_ever_more_weeks",
    ),
    Bug(
        "preview-seeks-one-code-though-corrections-give-others",
        "app/queries/preview.py",
        "_, codes = refold.sought()",
        "codes = refold.sought()[1] and {code for _, _, code in job.meter_keys}",
        "tests/simulation/test_preview_since.py::test_what_is_previewed_is_as_from_all_events",
    ),
    Bug(
        "preview-leaves-out-what-corrections-date",
        "tables/reading/preview.py",
        "if corrected or any(",
        "if any(",
        "tests/simulation/test_preview_since.py::test_what_is_previewed_is_as_from_all_events",
    ),
    Bug(
        "preview-leaves-out-what-recurs",
        "tables/reading/preview.py",
        "if corrected or any(span.fold.metric.recurring for span in route.spans):",
        "if corrected:",
        "tests/simulation/test_preview_since.py::test_what_is_previewed_is_as_from_all_events",
    ),
    Bug(
        "preview-leaves-out-what-is-published",
        "tables/reading/preview.py",
        "for period in published if period.start_ms < to_ms]",
        "for period in ()]",
        "tests/simulation/test_preview_since.py::test_what_is_previewed_is_as_from_all_events",
    ),
    Bug(
        "preview-leaves-out-what-is-not-published",
        "tables/reading/preview.py",
        "            starts_ms.append(first_due_ms(timeline, done_ms))\n",
        "",
        "tests/simulation/test_preview_since.py::test_what_is_previewed_is_as_from_all_events",
    ),
    Bug(
        "preview-looks-at-who-never-had-the-plan",
        "app/queries/preview.py",
        "        if branch.changes_any(plan_ids_of(each[0]), known):\n",
        "        if True:\n",
        "tests/app/queries/test_preview.py"
        "::test_who_never_had_the_plan_that_is_changed_is_not_looked_at",
    ),
    Bug(
        "preview-reads-what-another-plan-counted",
        "tables/reading/preview.py",
        "if changes_any({each.plan_id for each in versions.all()}, known)",
        "if True",
        "tests/tables/reading/test_preview.py"
        "::test_what_is_looked_at_begins_with_the_plan_that_is_changed",
    ),
    Bug(
        "preview-looks-at-all-plans",
        "app/definitions/what_if.py",
        "branch.history_records[-1], plan_ids)",
        "branch.history_records[-1])",
        "tests/app/definitions/test_what_if.py::test_of_a_changed_plan_no_other_is_looked_at",
    ),
    Bug(
        "preview-of-definitions-as-they-were",
        "app/queries/undisturbed.py",
        "if definitions.records_applied != known:",
        "if False:",
        "tests/app/queries/test_preview.py::test_what_is_defined_while_a_preview_branches_is_in_it",
    ),
    Bug(
        "preview-leaves-out-terms-of-a-changed-plan",
        "app/definitions/what_if.py",
        "plan.id in changed or plan.parent_id in changed",
        "plan.id in changed",
        "tests/tables/reading/test_preview.py"
        "::test_who_has_terms_of_its_own_is_looked_at_with_the_plan_that_they_are_of",
    ),
    Bug(
        "preview-looks-at-all-groups-in-a-step",
        "tables/closing/close.py",
        "        if shown is None or count % CELLS_A_STEP == 0:\n",
        "        if False:\n",
        "tests/tables/reading/test_preview.py::test_many_groups_of_a_period_are_compared_by_steps",
    ),
    Bug(
        "preview-tells-of-who-is-corrected-meanwhile",
        "tables/reading/preview.py",
        "if name not in self._corrected and self.partition.corrections.touches(name):",
        "if False:",
        "tests/tables/reading/test_preview.py"
        "::test_nothing_is_said_of_who_is_corrected_meanwhile_for_the_first_time",
    ),
    Bug(
        "early-copy-not-noted",
        "tables/partition/partition.py",
        "        event_ranges.note_early(copy.arrival for copy in duplicates)\n",
        "",
        "tests/tables/changelogged/test_presence.py"
        "::test_a_copy_that_came_long_before_its_time_is_noted",
    ),
    Bug(
        "event-dated-too-far-ahead-goes-straight",
        "tables/routing/route.py",
        "after_ms = max(layer.end_ms - MAX_EVENT_AHEAD_MS, before_ms + 1)",
        "after_ms = before_ms + 1",
        "tests/laws/test_first_events.py"
        "::test_what_follows_them_goes_nowhere_if_it_is_dated_too_far_ahead",
    ),
    Bug(
        "members-of-a-large-set-removed-without-a-flush-between",
        "agents/close.py",
        "    if members.leaving:\n",
        "    if not members:\n",
        "tests/agents/test_close.py"
        "::test_members_that_go_have_a_flush_only_if_more_of_them_are_left",
    ),
    Bug(
        "newest-row-of-an-id-by-chance",
        "tables/event_index/rows.py",
        "    found = np.sort(order[some])\n",
        "    found = np.sort(order[some])[::-1]\n",
        "tests/tables/event_index/test_segments.py::test_sorting_keeps_the_first_of_equal_ids",
    ),
    Bug(
        "set-taken-for-whole-whoever-begins-it",
        "tables/fold.py",
        "if members.capacity is None or all(cell is None or cell.empty for cell in cells):",
        "if cells:",
        "tests/laws/test_straight.py::test_straight_asks_for_members_that_are_not_at_hand",
    ),
    Bug(
        "cells-unpacked-into-the-layer-before",
        "tables/partition/filling.py",
        "if layer is None or layer.start_ms != name.layer_ms:",
        "if layer is None:",
        "tests/laws/test_packed.py::test_packed_cells_of_several_periods_come_back_to_their_own",
    ),
    Bug(
        "packed-cells-parted-by-subscription",
        "tables/partition/filling.py",
        "if of != last:",
        "if of[:1] != last[:1]:",
        "tests/laws/test_packed.py::test_a_cut_leaves_packed_cells_as_they_were",
    ),
    Bug(
        "whose-period-ends-without-events-stays-at-hand",
        "tables/closing/close.py",
        "if was_at_hand and not packed:",
        "if not packed:",
        "tests/agents/test_close.py::test_whose_period_ends_without_events_stays_at_hand_if_it_was",
    ),
    Bug(
        "read-since-a-time-that-is-deleted-from-the-log",
        "app/runtime/offsets.py",
        "firsts[tp] if firsts[tp] > starts[tp] else 0 for tp in (raw, rekeyed)",
        "firsts[tp] for tp in (raw, rekeyed)",
        "tests/app/runtime/test_offsets.py::test_it_is_the_first_record_since_then_or_the_end",
    ),
    Bug(
        "kernel-takes-half-a-character",
        "app/kernel/plain_json.h",
        "return low >= 0xDC00 && low <= 0xDFFF ? p + 12 : NULL;",
        "return p + 6 + 6 * (low >= 0);",
        "tests/app/kernel/test_arriving.py::test_each_odd_member_arrives_alike",
    ),
    Bug(
        "kernel-takes-any-escape",
        "app/kernel/plain_json.h",
        'return memchr("\\"\\\\/bfnrt", p[1], 8) ? p + 2 : NULL;',
        "return p + 2;",
        "tests/app/kernel/test_arriving.py::test_each_odd_member_arrives_alike",
    ),
    Bug(
        "kernel-takes-a-name-for-its-escape",
        "app/kernel/plain_json.h",
        "(odd && *value == '\"' && memchr(value, '\\\\', (size_t)(p - value)) != NULL)",
        "0",
        "tests/app/kernel/test_arriving.py::test_each_odd_member_arrives_alike",
    ),
    Bug(
        "kernel-passes-over-an-escaped-name",
        "app/kernel/plain_json.h",
        "(odd && memchr(name, '\\\\', (size_t)name_size) != NULL)",
        "0",
        "tests/app/kernel/test_arriving.py::test_each_odd_member_arrives_alike",
    ),
    Bug(
        "kernel-takes-control-characters",
        "app/kernel/plain_json.h",
        "for (p++; p != NULL && p < end && (unsigned char)*p >= 32;) {",
        "for (p++; p != NULL && p < end;) {",
        "tests/app/kernel/test_arriving.py::test_each_odd_member_arrives_alike",
    ),
    Bug(
        "kernel-takes-what-is-no-utf-8",
        "app/kernel/records.h",
        "return high < 128 || decoded != NULL;",
        "return 1;",
        "tests/app/kernel/test_arriving.py::test_what_arrives_is_what_is_decoded",
    ),
    Bug(
        "kernel-counts-members-without-quotes-shorter",
        "app/kernel/reading.h",
        "int quoted = field->found[0] == '\"';",
        "int quoted = field->found[0] == '\"' || field->found[0] == '-';",
        "tests/app/kernel/test_kernel.py::test_members_are_told_as_they_are_spelled",
    ),
    Bug(
        "kernel-folds-what-is-set-aside",
        "app/runtime/partition/portion.py",
        "aside is None or self.next_offset >= aside.end",
        "True",
        "tests/app/runtime/partition/test_portion.py::test_what_was_set_aside_or_mistrusted_before_slows_nothing",
    ),
    Bug(
        "queries-wait-for-silent-brokers",
        "app/kafka/asked.py",
        "async with asyncio.timeout(READ_WITHIN_S):",
        "async with asyncio.timeout(None):",
        "tests/app/kafka/test_asked.py::test_nobody_waits_long_for_a_broker",
    ),
    Bug(
        "scans-wait-for-silent-brokers",
        "app/kafka/asked.py",
        "if self.silent_s(fetched) > READ_WITHIN_S:",
        "if False:",
        "tests/app/kafka/test_asked.py::test_brokers_that_send_nothing_are_away",
    ),
    Bug(
        "end-of-a-partition-forgotten-while-nobody-leads-it",
        "agents/sample_lag.py",
        "known = {tp: self._known[tp] for tp in wanted if tp in self._known}",
        "known = {}",
        "tests/agents/test_sample_lag.py::test_one_without_a_leader_leaves_what_was_known_of_it",
    ),
    Bug(
        "refold-swapped-in-before-all-is-read",
        "app/runtime/scanning/scans.py",
        "if not scan.behind(checkpoint):",
        "if True:",
        "tests/app/queries/test_held_back.py"
        "::test_a_refold_waits_for_a_leader_beside_the_live_fold",
    ),
    Bug(
        "reader-kept-that-fetches-nothing-any-more",
        "app/kafka/log_readers.py",
        "if self._consumer is not None and not self._consumer.is_fetching:",
        "if False:",
        "tests/app/kafka/test_lenient_fetch.py"
        "::test_records_are_looked_up_again_once_fetching_ended",
    ),
    Bug(
        "definitions-taken-for-events",
        "app/cli/event_lines.py",
        "if whose.is_definition():",
        "if False:",
        "tests/app/cli/test_fold.py::test_definitions_are_no_events",
    ),
    Bug(
        "own-rows-in-the-order-of-codes",
        "tables/changelogged/presence_table.py",
        "sorted(set(chain(*by_code)))",
        "list(chain(*by_code))",
        "tests/app/queries/test_steps.py"
        "::test_an_id_alone_is_looked_up_under_few_subscriptions_and_no_others",
    ),
    Bug(
        "scan-takes-brokers-for-a-defect",
        "app/runtime/scanning/scans.py",
        "except KafkaError as error:",
        "except ZeroDivisionError as error:",
        "tests/app/kafka/test_asked.py::test_a_scan_that_brokers_fail_may_be_asked_for_again",
    ),
    Bug(
        "a-new-grid-changes-no-cut",
        "tables/cells/grids.py",
        "if at_ms < from_ms <= cut_ms)",
        "if cut_ms < from_ms <= cut_ms)",
        "tests/laws/test_watched.py::test_a_grid_that_begins_ends_what_has_the_same_cut",
    ),
    Bug(
        "deleted-alerts-are-looked-at",
        "app/definitions/indexes/alerts.py",
        "if first == len(times_ms):",
        "if (first := 0) == len(times_ms):",
        "tests/app/definitions/indexes/test_alerts.py::test_deleted_ones_are_not_looked_at_again",
    ),
    Bug(
        "alerts-deleted-since-a-moment-are-looked-at",
        "app/definitions/indexes/alerts.py",
        "ended[ended[:, _SINCE_MS] <= at_ms, _PLACE]",
        "ended[:, _PLACE]",
        "tests/app/definitions/indexes/test_alerts.py"
        "::test_those_deleted_since_the_last_cut_are_not_looked_at",
    ),
    Bug(
        "timelines-of-who-ended-are-made-anew",
        "tables/partition/route_table.py",
        "self.timelines.tell(name)",
        "self.timelines.forget(name)",
        "tests/bench/test_growth.py::test_of_who_begins_anew_those_that_ended_are_not_looked_at",
    ),
    Bug(
        "a-timeline-stays-though-its-subscription-changed",
        "tables/partition/timelines.py",
        "terms[-1].subscription is subscription.at()",
        "bool(terms)",
        "tests/laws/test_alike_periods.py"
        "::test_who_ended_and_began_anew_is_routed_as_if_all_were_looked_at_again",
    ),
    Bug(
        "runs-stay-though-the-plan-changed",
        "app/definitions/timeline.py",
        "if known is None or known[0] is not by:",
        "if known is None:",
        "tests/laws/test_alike_periods.py"
        "::test_who_ended_and_began_anew_is_routed_as_if_all_were_looked_at_again",
    ),
    Bug(
        "who-ended-is-not-compared-though-its-periods-are-not-fixed",
        "tables/partition/timelines.py",
        "first = index.over_by(name, at_ms - due_ms)",
        "first = index.over_by(name, NEVER_MS - 1)",
        "tests/laws/test_alike_periods.py"
        "::test_who_ended_and_began_anew_is_routed_as_if_all_were_looked_at_again",
    ),
    Bug(
        "periods-that-differ-are-passed-over",
        "tables/routing/course.py",
        "NEVER_MS if each is other else each.differs_ms(other)",
        "NEVER_MS",
        "tests/laws/test_alike_periods.py"
        "::test_who_ended_and_began_anew_is_routed_as_if_all_were_looked_at_again",
    ),
    Bug(
        "alerts-on-other-metrics-are-looked-at",
        "app/definitions/indexes/alerts.py",
        "return self._on_metric(name, metric_id)",
        "return self._places(name, NEVER_MS)",
        "tests/app/definitions/indexes/test_alerts.py"
        "::test_those_on_other_metrics_are_not_looked_at",
    ),
    Bug(
        "all-alerts-end-in-one-step",
        "app/definitions/log.py",
        "definitions.alerts.promise_deletion(alert, promised.ends)",
        "others.append(change)",
        "tests/app/definitions/test_at_once.py"
        "::test_its_last_step_is_no_longer_for_more_of_them[alerts]",
    ),
    Bug(
        "an-alert-turned-to-another-metric-asks-of-the-first-no-more",
        "app/definitions/indexes/alerts.py",
        "if before is not None and before.metric_id != alert.metric_id:",
        "if before is None:",
        "tests/app/definitions/indexes/test_alerts.py::test_they_are_what_all_that_ever_were_tell",
    ),
    Bug(
        "alerts-deleted-long-ago-are-looked-at",
        "tables/partition/route_table.py",
        "name, fold.metric.id, until_ms, told_ms, alike_until=alike_until",
        "name, fold.metric.id, until_ms, alike_until=alike_until",
        "tests/laws/test_watched.py::test_a_route_made_anew_knows_of_no_alert_of_which_all_is_told",
    ),
    Bug(
        "cuts-that-are-taken-tell-routes-apart",
        "tables/cells/watch.py",
        "if since_ms < appended_ms and until_ms > told_ms",
        "if since_ms < appended_ms",
        "tests/laws/test_watched.py::test_who_asked_until_a_cut_that_is_taken_decides_no_other",
    ),
    Bug(
        "who-deleted-an-alert-is-taken-for-without",
        "app/definitions/indexes/alerts.py",
        "return NEVER_MS if name in self.left else ended[-_COLUMNS + _GONE_MS]",
        "return ended[-_COLUMNS + _GONE_MS]",
        "tests/semantics/test_alerts.py"
        "::test_who_has_another_alert_is_told_of_corrections_as_before",
    ),
    Bug(
        "corrections-of-before-an-alert-was-deleted-wait-for-no-cut",
        "app/definitions/state.py",
        "self.alerts.asked_until_ms(name) >= at_ms",
        "self.alerts.asked_until_ms(name) >= NEVER_MS",
        "tests/laws/test_watched.py::test_who_deleted_the_last_alert_waits_for_no_grid_cut",
    ),
    Bug(
        "cells-of-a-deleted-alert-stay-watched",
        "tables/cells/watch.py",
        "until_ms = NEVER_MS if gone_ms == NEVER_MS else grid_cut(gone_ms, grids)",
        "until_ms = NEVER_MS",
        "tests/laws/test_watched.py::test_events_go_straight_again_once_the_alert_is_gone",
    ),
    Bug(
        "a-life-stays-folded-for-a-deleted-alert",
        "tables/routing/lifetime.py",
        "as_of_ms, as_of_ms, of_life=True",
        "as_of_ms, -1, of_life=True",
        "tests/laws/test_watched.py::test_events_go_straight_again_once_the_alert_is_gone",
    ),
    Bug(
        "what-a-deleted-alert-watches-goes-straight",
        "tables/routing/route.py",
        "before_ms = max(parts.counts_after_ms, layer.span.watched_ms)",
        "before_ms = parts.counts_after_ms",
        "tests/laws/test_watched.py::test_what_comes_late_of_a_deleted_alert_is_looked_at",
    ),
    Bug(
        "a-deleted-alert-is-told-to-nobody",
        "app/definitions/alerts.py",
        "return Decision(found, _impact(definitions, (found,)), (Deletion(found),))",
        "return Decision(found, None, (Deletion(found),))",
        "tests/laws/test_watched.py::test_events_go_straight_again_once_the_alert_is_gone",
    ),
    Bug(
        "watched-events-share-the-first-cut",
        "tables/fold.py",
        "until_ms = min(watch.same_until(earliest_ms), layer.due_at_ms)",
        "until_ms = layer.due_at_ms",
        "tests/laws/test_watched.py::test_events_of_two_cuts_count_from_their_own_on",
    ),
    Bug(
        "watched-events-go-straight-past-their-cut",
        "tables/routing/route.py",
        "min(aim.until_ms, period.open_until_ms)",
        "period.open_until_ms",
        "tests/laws/test_watched.py::test_the_second_event_of_a_watched_cell_goes_straight_until_its_cut",
    ),
    Bug(
        "watched-events-may-be-dated-anywhere",
        "tables/routing/route.py",
        "after_ms = max(after_ms, layer.end_ms - MAX_EVENT_AHEAD_MS)",
        "pass",
        "tests/laws/test_watched.py::test_how_far_ahead_the_next_event_is_dated_is_looked_at",
    ),
    Bug(
        "one-code-tells-for-all-of-a-moment",
        "tables/partition/changed.py",
        "return all(span.key.subscription_id in known for span in route.spans)",
        "return True",
        "tests/laws/test_changed.py::test_the_next_subscription_of_a_name_is_told_though_the_last_one_is",
    ),
    Bug(
        "changes-noted-for-good-once-anybody-asked",
        "tables/partition/changed.py",
        "asked_ms = self.moment_of(at_ms - 1)",
        "pass",
        "tests/laws/test_changed.py::test_nobody_notes_once_the_last_moment_is_told",
    ),
    Bug(
        "last-moment-of-changes-not-taken",
        "tables/partition/changed.py",
        "self._touched.setdefault(asked_ms, {})",
        "pass",
        "tests/laws/test_changed.py::test_nobody_notes_once_the_last_moment_is_told",
    ),
    Bug(
        "changes-before-the-last-settings-not-noted",
        "tables/partition/changed.py",
        "self._notes = self._asked_until_ms > self.done_ms",
        "self._notes = self._asked_until_ms == NEVER_MS",
        "tests/laws/test_changed.py::test_nobody_notes_once_the_last_moment_is_told",
    ),
    Bug(
        "earlier-copy-told-as-of-the-later-one",
        "tables/partition/earlier_copies.py",
        "self._changed.note_run(route, run, ranges)",
        "pass",
        "tests/laws/test_copies.py::test_an_earlier_copy_is_not_looked_at_of_the_same_moment",
    ),
    Bug(
        "who-began-anew-is-left-alone-before-the-first-is-fixed",
        "tables/partition/new_settings.py",
        "if any(each.next_due(before_ms).at_ms < NEVER_MS for each in others):",
        "if False:",
        "tests/tables/partition/test_new_settings.py"
        "::test_who_began_anew_is_left_alone_once_what_was_before_is_fixed",
    ),
    Bug(
        "only-the-newest-of-a-name-is-due",
        "tables/partition/timelines.py",
        "left = [each for each in left if stays(each[1], done_ms)]",
        "left = left[-1:]",
        "tests/laws/test_begun_anew.py::test_who_began_anew_is_due_as_long_as_what_was_before_is",
    ),
    Bug(
        "what-has-ended-is-revised-until-it-is-due",
        "tables/partition/timelines.py",
        " or any(timeline.open_at(done_ms + 1))",
        "",
        "tests/laws/test_begun_anew.py::test_what_has_ended_is_revised_as_long_as_it_is_not_final",
    ),
    Bug(
        "what-is-final-and-has-ended-is-revised-by-no-correction",
        "tables/closing/close.py",
        "table.of(name) if revising.reopens else table.open(name, cut_ms - 1)",
        "table.open(name, cut_ms - 1)",
        "tests/laws/test_begun_anew.py::test_what_has_ended_is_revised_as_long_as_it_is_not_final",
    ),
    Bug(
        "late-event-has-all-periods-looked-at",
        "tables/partition/cuts.py",
        "return found if found and all(each.code for each in found) else None",
        "return None",
        "tests/tables/closing/test_revising.py::test_a_late_event_has_its_own_cells_looked_at_alone",
    ),
    Bug(
        "late-balance-looked-at-in-its-own-period-alone",
        "tables/closing/close.py",
        "(each.recurs and each.start_ms < start_ms)",
        "False",
        "tests/tables/closing/test_revising.py::test_a_late_event_has_its_own_cells_looked_at_alone",
    ),
    Bug(
        "settled-cells-sought-among-all-codes",
        "tables/partition/cuts.py",
        "return None if not codes or",
        "return None if True or",
        "tests/tables/closing/test_revising.py"
        "::test_what_is_settled_has_the_cells_of_its_metric_looked_at_alone",
    ),
    Bug(
        "cells-of-many-codes-unpacked-in-one-step",
        "tables/partition/packing.py",
        "filled += len(of_span)",
        "pass",
        "tests/tables/partition/test_packing.py"
        "::test_many_codes_of_few_cells_each_are_unpacked_by_steps",
    ),
    Bug(
        "steps-of-rows-beside-cells-held-back",
        "tables/closing/period_at_cut.py",
        "if found is None or count % CELLS_A_STEP == 0:",
        "if count % CELLS_A_STEP == 0:",
        "tests/tables/closing/test_daily_noted.py"
        "::test_rows_beside_cells_are_put_together_by_steps",
    ),
    Bug(
        "settings-change-no-moment",
        "tables/partition/changed.py",
        "if self._stretched_at == (len(changes), done_ms):",
        "if self._stretched_at[1] == done_ms:",
        "tests/laws/test_changed.py::test_a_longer_grid_has_the_next_event_told_at_its_own_moment",
    ),
    Bug(
        "events-of-other-days-share-a-cut",
        "tables/cells/days.py",
        "return (self._end_ms, self._until_ms) if known and cut_ms == self._cut_ms else (0, -1)",
        "return (self._end_ms, 1 << 62)",
        "tests/laws/test_watched.py::test_events_of_two_days_in_one_batch_count_from_their_own_on",
    ),
    Bug(
        "a-span-beside-is-left-out",
        "tables/partition/partition.py",
        "beside += route.beside\n                    runs += [run] * len(route.beside)",
        "pass",
        "tests/laws/test_watched.py::test_the_second_event_of_a_day_goes_straight_into_both_spans",
    ),
    Bug(
        "groups-that-a-charge-beside-has-not-seen",
        "tables/routing/route.py",
        "if place is None or place not in self.cells:",
        "if place is None:",
        "tests/laws/test_watched.py::test_an_event_goes_straight_into_the_cells_of_all_charges",
    ),
    Bug(
        "members-of-a-span-beside-need-not-be-known",
        "tables/routing/route.py",
        "if each.set_key is not None and each is not self and each.set_key not in complete:",
        "if False:",
        "tests/laws/test_watched.py::test_no_event_goes_straight_into_a_set_of_members_that_is_not_whole",
    ),
    Bug(
        "spans-lead-as-far-as-the-farthest",
        "tables/routing/route.py",
        "first.bounds = _BOUNDS.pack(*within, max(after), min(until))",
        "first.bounds = _BOUNDS.pack(*within, max(after), max(until))",
        "tests/laws/test_watched.py::test_the_second_event_of_a_day_goes_straight_into_both_spans",
    ),
    Bug(
        "what-a-refold-took-in-stays-parked",
        "agents/refold.py",
        "queue.swapped(job.meter_keys)",
        "queue.swapped([])",
        "tests/simulation/test_lagging.py"
        "::test_a_copy_counts_once_the_event_that_was_taken_before_it_turns_out_to_be_refused",
    ),
    Bug(
        "a-sample-is-of-all-there-was",
        "agents/verify_samples.py",
        "recent=True, ",
        "",
        "tests/simulation/test_read_since.py::test_a_sample_reads_the_same_after_ever_more_weeks",
    ),
    Bug(
        "a-sample-does-not-see-a-late-event",
        "tables/reading/verification.py",
        "if not shown or first_kept_ms(live) < dated_ms:",
        "if not shown:",
        "tests/tables/reading/test_verification.py"
        "::test_a_sample_says_nothing_once_an_event_comes_of_a_week_that_had_none",
    ),
    Bug(
        "a-sample-does-not-see-a-correction",
        "tables/reading/verification.py",
        "if not shown or first_kept_ms(live) < dated_ms:",
        "if first_kept_ms(live) < dated_ms:",
        "tests/tables/reading/test_verification.py"
        "::test_a_sample_says_nothing_once_a_correction_may_concern_what_was_left_out",
    ),
    Bug(
        "a-sample-takes-forgotten-periods-for-empty",
        "tables/reading/verification.py",
        "partition.routes.lead_by(routes[meter_key])",
        "pass",
        "tests/tables/reading/test_verification.py"
        "::test_a_sample_of_one_metric_stands_beside_all_of_another",
    ),
    Bug(
        "verification-does-not-know-what-is-published",
        "tables/reading/published_before.py",
        "known = None if name in self.periods else self._published.find(name)",
        "known = None",
        "tests/tables/closing/test_forgetting.py::test_members_that_the_store_lacks_yet_go_too",
    ),
    Bug(
        "history-passes-over-who-had-no-event",
        "tables/closing/close.py",
        "if partition.history.reopens(name, cut_ms):",
        "if False:",
        "tests/rules/test_late_in_history.py::test_an_event_after_a_record_of_history_counts_at_its_cut_also_in_what_is_final",
    ),
    Bug(
        "a-definition-slows-all-that-comes",
        "tables/routing/route.py",
        "if not all(span.lies_apart(start_ms, before_ms) for span in others):",
        "if others:",
        "tests/laws/test_earlier_spans.py::test_events_of_the_period_that_runs_go_straight",
    ),
    Bug(
        "whoever-began-anew-is-slow-for-good",
        "tables/routing/route.py",
        "return self._timeline_in(start_ms, before_ms) is not None",
        "return len(self.timelines) == 1",
        "tests/laws/test_begun_anew.py::test_events_go_straight_again",
    ),
    Bug(
        "late-events-of-whoever-began-anew-are-slow-for-good",
        "tables/routing/route.py",
        "timelines = tuple(each for each in later if each.has_any(start_ms, before_ms))",
        "pass",
        "tests/laws/test_begun_anew.py::test_late_events_go_straight_again",
    ),
    Bug(
        "a-plan-that-waits-takes-nothing-in-from-now-on",
        "tables/cells/cell.py",
        "return first_ms >= before_ms and not fold.reaches_back",
        "return first_ms >= before_ms",
        "tests/laws/test_begun_anew.py::test_a_plan_that_waits_takes_in_what_recurs_from_now_on",
    ),
    Bug(
        "groups-take-no-place-in-what-has-ended",
        "tables/cells/cell.py",
        "if fold.grouped and fold.limits_history:\n            return False\n        if first_ms",
        "if first_ms",
        "tests/laws/test_begun_anew.py::test_groups_of_what_recurs_take_a_place_in_what_has_ended",
    ),
    Bug(
        "a-lifetime-alert-is-taken-for-a-charge",
        "tables/routing/route.py",
        "priced = any(span.fold.prices for span in reached)",
        "priced = True",
        "tests/laws/test_begun_anew.py::test_what_only_a_lifetime_alert_asks_for_has_no_charge",
    ),
    Bug(
        "one-span-leads-what-another-reaches-too",
        "tables/cells/cell.py",
        "return self.end_ms <= start_ms or not self.timeline.has_any(start_ms, before_ms)",
        "return True",
        "tests/laws/test_begun_anew.py::test_events_go_to_each_charge_that_there_is_now",
    ),
    Bug(
        "a-forward-that-is-repeated-counts-twice",
        "app/kernel/forwards.h",
        "at[2] == mark.offset && at[3] > mark.index",
        "at[2] == mark.offset && at[3] >= mark.index",
        "tests/app/kernel/test_forwards.py::test_the_kernel_takes_most_of_them_itself",
    ),
    Bug(
        "a-forward-is-taken-where-it-was-set-aside",
        "app/kernel/forwards.h",
        "if (at[2] < mark.aside_until)",
        "if (0)",
        "tests/app/kernel/test_forwards.py::test_the_kernel_takes_most_of_them_itself",
    ),
    Bug(
        "a-forward-is-taken-before-it-can-be-judged",
        "app/kernel/forwards.h",
        " || at[0] > until_ms",
        "",
        "tests/app/kernel/test_forwards.py::test_the_kernel_takes_most_of_them_itself",
    ),
    Bug(
        "marks-of-other-partitions-are-forgotten",
        "app/kernel/forwards.h",
        "if (end_mark(mark, marks) < 0)\n        return -1;",
        "",
        "tests/app/kernel/test_forwards.py::test_the_kernel_takes_most_of_them_itself",
    ),
    Bug(
        "a-header-beside-the-position-is-passed-over",
        "app/kernel/forwards.h",
        "r->header_count != 1",
        "r->header_count < 1",
        "tests/app/kernel/test_forwards.py::test_what_a_home_takes_is_what_python_takes",
    ),
    Bug(
        "what-was-forwarded-ahead-leaves-again",
        "app/kernel/forwards.h",
        "if (e->offset < from)",
        "if (e->offset < 0)",
        "tests/app/kernel/test_forwards.py::test_what_leaves_is_what_its_home_takes",
    ),
    Bug(
        "the-ledger-forgets-what-was-forwarded",
        "app/kernel/rows.h",
        "if (e->index != 0 || e->rekeyed >= 0 ||",
        "if (e->index != 0 ||",
        "tests/app/kernel/test_forwards.py::test_the_ledger_has_the_rows_of_what_lies_in_arrays_or_was_forwarded",
    ),
    Bug(
        "two-headers-of-organizations-are-believed",
        "app/kernel/events.h",
        "return named == 1 && same;",
        "return named && same;",
        "tests/app/kernel/test_headers.py::test_what_is_noted_beside_headers_is_what_they_leave_it",
    ),
    Bug(
        "who-may-not-is-believed-by-the-kernel",
        "app/kernel/events.h",
        "if (trust == OF_DEFAULT &&",
        "if (trust == OF_DEFAULT)\n        return 1;\n    if (trust == OF_DEFAULT &&",
        "tests/app/kernel/test_headers.py::test_what_is_noted_beside_headers_is_what_they_leave_it",
    ),
    Bug(
        "elements-are-believed-whoever-they-name",
        "app/kernel/arriving.h",
        "may_be_of(trust, element->key,",
        "may_be_of(OF_ANY, element->key,",
        "tests/app/kernel/test_headers.py::test_an_array_is_noted_as_its_elements_arrive",
    ),
    Bug(
        "elements-have-the-place-of-the-first",
        "app/kernel/arriving.h",
        "element->entry.index = (int32_t)*size;",
        "element->entry.index = 0;",
        "tests/app/kernel/test_headers.py::test_an_array_is_noted_as_its_elements_arrive",
    ),
    Bug(
        "an-array-has-elements-without-end",
        "app/kernel/arriving.h",
        "p == NULL || *size == MOST_ELEMENTS",
        "p == NULL",
        "tests/app/kernel/test_headers.py::test_an_array_of_more_elements_than_it_may_have_is_left_to_python",
    ),
    Bug(
        "elements-are-taken-for-records",
        "app/runtime/partition/portion.py",
        "self.plain = self.plain and is_whole",
        "pass",
        "tests/app/runtime/partition/test_portion.py::test_an_array_is_taken_as_its_record_would_be",
    ),
    Bug(
        "names-believed-before-they-are",
        "app/definitions/judging.py",
        "return newest.producer_trust if append_time_ms > newest.after_ms else None",
        "return newest.producer_trust",
        "tests/app/runtime/partition/test_portion.py::test_what_was_set_aside_or_mistrusted_before_slows_nothing",
    ),
    Bug(
        "an-attribute-ends-the-one-before",
        "app/kernel/binary_mode.h",
        " || memchr(h.text, 0, (size_t)h.text_size) != NULL",
        "",
        "tests/app/kernel/test_headers.py::test_what_headers_name_is_noted_as_it_is_decoded",
    ),
    Bug(
        "attributes-without-end",
        "app/kernel/binary_mode.h",
        "told > MOST_TOLD || ",
        "",
        "tests/app/kernel/test_headers.py::test_what_headers_name_is_noted_as_it_is_decoded",
    ),
    Bug(
        "what-headers-say-is-in-no-hash",
        "app/kernel/events.h",
        "size += 1 + v->entry->envelope_size;",
        ";",
        "tests/app/kernel/test_records.py::test_events_are_hashed_read_and_written_like_arrivals",
    ),
    Bug(
        "what-headers-say-stays-behind",
        "app/kernel/forwards.h",
        " || events->entries[i].envelope_size > 0",
        "",
        "tests/app/kernel/test_forwards.py::test_what_headers_name_leaves_with_them",
    ),
    Bug(
        "kernel-reads-a-zone-within-a-zone",
        "app/kernel/events.h",
        "if ((end[-6] != '+' && end[-6] != '-') || end[-3] != ':' || hours < 0",
        "if (memchr(\"+-Z\", end[-6], 3) == NULL || end[-3] != ':' || hours < 0",
        "tests/app/kernel/test_arriving.py::test_each_odd_member_arrives_alike",
    ),
    Bug(
        "kernel-takes-a-zone-for-its-opposite",
        "app/kernel/events.h",
        "(end[-6] == '-' ? -1 : 1);",
        "(end[-6] == '-' ? 1 : -1);",
        "tests/app/kernel/test_arriving.py::test_a_time_of_any_zone_arrives_alike",
    ),
    Bug(
        "a-time-is-kept-with-the-properties",
        "tables/values.py",
        "not (expression.timed or expression.writes_greatest)",
        "not expression.writes_greatest",
        "tests/laws/test_expressions.py::test_what_more_than_a_few_properties_decide_is_looked_at",
    ),
    Bug(
        "the-kernel-reads-past-an-expression",
        "app/kernel/reading.h",
        "r->is_computed || ",
        "",
        "tests/app/kernel/test_kept.py::test_numbers_are_kept_as_they_are_applied",
    ),
    Bug(
        "values-of-expressions-without-end",
        "tables/values.py",
        "each.values.clear()",
        "pass",
        "tests/laws/test_expressions.py::test_of_all_expressions_only_so_many_values_are_kept",
    ),
    Bug(
        "two-properties-change-places",
        "tables/values.py",
        "zip(self.names, _decode_list",
        "zip(reversed(self.names), _decode_list",
        "tests/laws/test_expressions.py::test_what_is_kept_is_what_each_event_brings",
    ),
    Bug(
        "flushes-of-many-partitions-hurry",
        "app/runtime/flush_pace.py",
        "self._changes += A_FLUSH + changes",
        "self._changes += changes",
        "tests/agents/test_flush.py::test_flushes_of_very_many_partitions_wait",
    ),
    Bug(
        "elements-stand-between-brackets-that-open",
        "app/kernel/arriving.h",
        "*p == before; before = ',')",
        "(*p == before || *p == '['); before = ',')",
        "tests/app/kernel/test_headers.py::test_an_array_is_noted_as_its_elements_arrive",
    ),
    Bug(
        "packed-cells-forgotten-that-no-record-tells",
        "tables/closing/packed_forgetting.py",
        "return known is not None and (digest, precise) == (",
        "return True or (digest, precise) == (",
        "tests/tables/closing/test_forgetting_packed.py"
        "::test_packed_cells_that_no_record_tells_stay",
    ),
    Bug(
        "packed-cells-forgotten-once-due",
        "tables/closing/packed_forgetting.py",
        "        if later_ms > settled_ms:",
        "        if period.due_at_ms > settled_ms:",
        "tests/tables/closing/test_forgetting.py::test_cells_of_who_rests_go_as_they_lie",
    ),
    Bug(
        "packed-cells-forgotten-without-a-note",
        "tables/closing/packed_forgetting.py",
        "final.codes[code] = max(",
        "period and max(",
        "tests/laws/test_forgetting.py::test_of_who_rests_the_same_is_forgotten_as_by_routes",
    ),
    Bug(
        "packed-cells-go-before-their-members",
        "tables/closing/packed_forgetting.py",
        " if place.fold.unique else None",
        " if not cell else None",
        "tests/tables/closing/test_forgetting.py::test_cells_of_who_rests_go_as_they_lie",
    ),
    Bug(
        "who-rests-is-not-looked-at-again",
        "tables/closing/forgetting.py",
        "self._look_later(name, final.later_ms)",
        "pass",
        "tests/tables/closing/test_forgetting.py::test_cells_of_who_rests_go_as_they_lie",
    ),
    Bug(
        "packed-cells-forgotten-beside-balances",
        "tables/closing/packed_forgetting.py",
        "return not partition.definitions.recurs(name[0], code)",
        "return True",
        "tests/laws/test_forgetting.py::test_of_who_rests_the_same_is_forgotten_as_by_routes",
    ),
    Bug(
        "all-packed-cells-of-one-forgotten",
        "tables/partition/packing.py",
        "                if key in gone:\n",
        "                if gone:\n",
        "tests/tables/closing/test_forgetting.py::test_cells_of_who_rests_go_as_they_lie",
    ),
    Bug(
        "packed-cells-of-periods-to-come",
        "tables/closing/packed_period.py",
        "if cell.layer_ms > start_ms or not one.fold.metric.recurring:",
        "if not one.fold.metric.recurring:",
        "tests/laws/test_packed_period.py"
        "::test_a_balance_leaves_out_what_is_dated_in_a_period_to_come",
    ),
    Bug(
        "packed-cells-named-by-the-start-of-another",
        "tables/closing/revision.py",
        'name = "cells", start_ms, at.schema_version',
        'name = "cells", 0, at.schema_version',
        "tests/laws/test_packed_period.py"
        "::test_cells_of_who_began_within_a_period_are_named_by_that",
    ),
    Bug(
        "packed-cells-of-any-period",
        "tables/closing/packed_period.py",
        "if cell.layer_ms != start_ms:",
        "if not cell.layer_ms:",
        "tests/laws/test_packed_period.py::test_a_period_closes_and_nothing_is_unpacked",
    ),
    Bug(
        "packed-cells-without-what-a-cut-adds",
        "tables/closing/packed_period.py",
        "if cut_ms <= period.due_at_ms:",
        "if not period:",
        "tests/laws/test_packed_period.py::test_what_comes_late_in_a_watched_period_is_in_it",
    ),
    Bug(
        "packed-cells-with-what-a-later-cut-adds",
        "tables/closing/packed_period.py",
        "if cut_ms <= period.due_at_ms:",
        "if period:",
        "tests/laws/test_packed_period.py::test_what_comes_after_a_period_is_due_is_not_in_it",
    ),
    Bug(
        "packed-cells-without-the-zeros",
        "tables/closing/packed_period.py",
        "in before.closed(charge, one.filters):",
        "in ():",
        "tests/laws/test_packed_period.py::test_a_zero_follows_a_balance_whose_cell_is_gone",
    ),
    Bug(
        "packed-cells-of-a-span-that-ended",
        "tables/closing/packed_period.py",
        "if begin_ms > cell.span_start_ms:",
        "if not begin_ms:",
        "tests/laws/test_packed_period.py"
        "::test_what_recurs_is_shown_by_the_span_that_holds_the_period",
    ),
    Bug(
        "packed-balances-of-no-span",
        "tables/closing/packed_period.py",
        "if begin_ms is None or begin_ms < cell.span_start_ms:",
        "if begin_ms is None:",
        "tests/laws/test_packed_period.py::test_a_cell_of_no_span_is_found",
    ),
    Bug(
        "packed-shares-below-zero",
        "tables/closing/packed_period.py",
        "figures = figures.billed(in_advance=fold.in_advance)",
        "pass",
        "tests/laws/test_packed_period.py::test_a_share_below_zero_bills_nothing",
    ),
    Bug(
        "span-of-all-begins-before-one-does",
        "app/definitions/terms.py",
        "return self.started_ms if start_ms <= self.started_ms else None",
        "return start_ms",
        "tests/laws/test_packed_period.py::test_a_balance_of_who_shares_periods_is_told_as_it_lies",
    ),
    Bug(
        "packed-cells-of-no-span",
        "tables/closing/packed_period.py",
        "if states is None or (place in into and into is now):",
        "if states is None:",
        "tests/laws/test_packed_period.py::test_a_cell_of_no_span_is_found",
    ),
    Bug(
        "packed-cells-under-the-keys-of-all",
        "tables/closing/packed_period.py",
        "keys = one.period_charge.charge.group_keys(charge_filter)",
        "pass",
        "tests/laws/test_packed_period.py::test_a_period_closes_and_nothing_is_unpacked",
    ),
    Bug(
        "packed-balances-of-one-period",
        "tables/closing/packed_period.py",
        "            into = carried\n",
        "            continue\n",
        "tests/laws/test_packed_period.py::test_a_balance_of_who_shares_periods_is_told_as_it_lies",
    ),
    Bug(
        "who-is-alike-as-asked-before",
        "app/definitions/terms.py",
        " or asked[1] != offset",
        "",
        "tests/laws/test_common_terms.py::test_what_changes_after_one_was_asked_for_is_told",
    ),
    Bug(
        "event-billed-by-settings-that-it-was-read-under",
        "tables/partition/redefinition.py",
        "                yield from self._cuts.expect_undecided()\n",
        "",
        "tests/laws/test_billed_at_once.py"
        "::test_settings_of_before_an_event_say_when_it_is_billed_though_they_come_in_after_it",
    ),
    Bug(
        "copies-of-what-is-refused-lost",
        "tables/partition/freed.py",
        "if counting == self._counting:",
        "if True:",
        "tests/rules/test_late_definitions.py"
        "::test_the_first_copy_that_is_not_refused_counts_in_place_of_one_that_is[m-False]",
    ),
    Bug(
        "any-copy-of-what-is-refused",
        "tables/partition/freed.py",
        "if met is None or copy.position < met.position:",
        "if True:",
        "tests/rules/test_late_definitions.py"
        "::test_the_first_copy_that_is_not_refused_counts_in_place_of_one_that_is[m-False]",
    ),
    Bug(
        "refused-copy-of-what-is-refused",
        "tables/partition/freed.py",
        "if is_refused(copy):",
        "if False:",
        "tests/rules/test_late_definitions.py"
        "::test_the_first_copy_that_is_not_refused_counts_in_place_of_one_that_is[m-False]",
    ),
    Bug(
        "copy-without-its-corrections",
        "tables/partition/freed.py",
        "if partition.corrections.touches(arrival.name):",
        "if False:",
        "tests/rules/test_late_definitions.py"
        "::test_the_first_copy_that_is_not_refused_counts_in_place_of_one_that_is[m-True]",
    ),
    Bug(
        "copies-of-one-code",
        "tables/partition/refold.py",
        "if self.seeks_copies or any(map(",
        "if any(map(",
        "tests/simulation/test_lagging.py::test_a_copy_counts_once_the_event_that_was_taken_before_it"
        "_turns_out_to_be_refused[sum]",
    ),
    Bug(
        "copies-sought-where-events-are-noted",
        "tables/partition/freed.py",
        "if not self.names:",
        "if True:",
        "tests/simulation/test_lagging.py::test_a_copy_counts_once_the_event_that_was_taken_before_it"
        "_turns_out_to_be_refused[forwarded]",
    ),
    Bug(
        "copy-that-the-index-forgets",
        "tables/partition/freed.py",
        "partition.index.add_many([identity], [Entry(*row)])",
        "pass",
        "tests/rules/test_late_definitions.py"
        "::test_the_first_copy_that_is_not_refused_counts_in_place_of_one_that_is[m-False]",
    ),
    Bug(
        "search-that-reads-where-the-rest-begins",
        "tables/partition/search.py",
        "self.reads_all &= self._partition.event_ranges.rest_covers(meter_key)",
        "pass",
        "tests/laws/test_undefined_names.py::test_what_is_defined_later_counts_whatever_is_kept",
    ),
    Bug(
        "cut-awaited-in-the-cells-of-all-filters",
        "tables/partition/refold.py",
        "                if is_first:\n",
        "                if True:\n",
        "tests/laws/test_partition.py"
        "::test_a_refold_awaits_no_cut_for_a_group_whose_first_event_another_filter_claims",
    ),
    Bug(
        "copies-sought-where-all-is-deleted",
        "agents/refold.py",
        "return _at_least(raw, starts[0]), _at_least(rekeyed, starts[1])",
        "return raw, rekeyed",
        "tests/simulation/test_lagging.py::test_a_copy_counts_once_the_event_that_was_taken_before_it"
        "_turns_out_to_be_refused[deleted]",
    ),
    Bug(
        "torn-evaluations-not-noted",
        "app/runtime/restoring/rebuild.py",
        "    checkpoint.evaluations_lost_ms = checkpoint.grid_done_ms\n",
        "",
        "tests/simulation/test_second.py"
        "::test_what_is_evaluated_for_alerts_is_torn_and_found_again",
    ),
    Bug(
        "ids-are-those-of-all-organizations",
        "app/wire/identity.py",
        'identity = f"{organization_id}\\0{external',
        'identity = f"\\0{external',
        "tests/simulation/test_second.py::test_the_other_has_what_it_would_have_alone",
    ),
    Bug(
        "swallowed-end-not-noticed",
        "app/bounds/cancellation.py",
        "    if asked_to_end():\n        raise asyncio.CancelledError",
        "    if False:\n        raise asyncio.CancelledError",
        "tests/live/test_ending.py::test_an_end_that_a_client_swallows_is_noticed",
    ),
    Bug(
        "faust-ended-half-started",
        "app/main.py",
        "            await asyncio.wait([starting], timeout=_STARTED_WITHIN_S)\n",
        "",
        "tests/live/test_ending.py"
        "::test_one_that_is_ended_while_faust_starts_has_all_of_it_to_stop",
    ),
    Bug(
        "taken-over-cells-not-refolded",
        "tables/partition/route_table.py",
        "                self._stale.displace([(*meter_key[:2], standing.fold.metric.code)])\n",
        "                pass\n",
        "tests/rules/test_renamed.py"
        "::test_events_of_the_new_code_that_come_before_it_is_looked_at_count_alone[sum-goes on]",
    ),
    Bug(
        "cells-taken-over-during-a-refold-stay",
        "agents/refold.py",
        "    queue.want_displaced()\n",
        "",
        "tests/simulation/test_between_refolds.py::test_a_renamed_metric_counts_no_event_of_its_"
        "code_before_though_nothing_comes_after_its_refold[goes on]",
    ),
    Bug(
        "event-told-that-a-correction-came-with",
        "tables/partition/changed.py",
        "        if stored.append_time_ms > at_ms:",
        "        if stored.append_time_ms >= at_ms:",
        "tests/laws/test_same_time.py"
        "::test_a_cut_shows_no_event_that_is_cancelled_in_its_millisecond[sum-event]",
    ),
    Bug(
        "correction-of-the-same-millisecond-repaired",
        "tables/partition/repair.py",
        " or any(s.append_time_ms <= arrival.append_time_ms for s in turning):",
        ":",
        "tests/laws/test_same_time.py::test_any_delivery_comes_to_what_the_offline_fold_does",
    ),
    Bug(
        "members-keep-each-period",
        "tables/fold.py",
        "        member = remembered(cell.layer.span, member)\n",
        "",
        "tests/laws/test_past_operations.py::test_a_member_is_no_larger_after_years[heads]",
    ),
    Bug(
        "last-operation-of-what-is-forgotten-lost",
        "tables/unique_count.py",
        "            return member[at:]",
        "            return member[at + 1 :]",
        "tests/laws/test_past_operations.py"
        "::test_the_last_operation_of_what_is_forgotten_is_enough[0-seats-goes on]",
    ),
    Bug(
        "days-carried-on",
        "tables/unique_count.py",
        "    def carry(self, state: UniqueCountState, other: UniqueCountState) -> None:",
        "    def carried(self, state: UniqueCountState, other: UniqueCountState) -> None:",
        "tests/laws/test_past_operations.py"
        "::test_the_last_operation_of_what_is_forgotten_is_enough[0-seats-goes on]",
    ),
    Bug(
        "operations-that-verify-misses",
        "tables/reading/member_sets.py",
        "            return remembered(self.span, settled)\n",
        "            return settled\n",
        "tests/laws/test_past_operations.py::test_a_member_is_no_larger_after_years[heads]",
    ),
    Bug(
        "last-operation-that-not-all-cuts-show",
        "tables/unique_count.py",
        "        if operation.cut_ms == 0 and is_forgotten(operation.period_ms):",
        "        if is_forgotten(operation.period_ms):",
        "tests/laws/test_past_operations.py::test_an_operation_that_a_later_cut_shows_is_not_the_last",
    ),
    Bug(
        "quotient-without-an-end-never-rounded",
        "tables/values.py",
        "rounds = append_time_ms > rounded_after_ms",
        "rounds = False",
        "tests/rules/test_input_limits.py"
        "::test_a_quotient_without_an_end_is_rounded_to_the_digits_of_a_value",
    ),
    Bug(
        "quotient-rounded-before-its-time",
        "tables/values.py",
        "rounds = append_time_ms > rounded_after_ms",
        "rounds = True",
        "tests/rules/test_input_limits.py"
        "::test_a_quotient_without_an_end_is_rounded_to_the_digits_of_a_value",
    ),
    Bug(
        "rounding-learnt-late-not-refolded",
        "tables/charge.py",
        "            min(rounded_after_ms, appended_ms) if computes else 0,",
        "            0,",
        "tests/laws/test_input_limits.py"
        "::test_results_are_rounded_from_their_record_on_whenever_it_is_learnt",
    ),
    Bug(
        "time-written-as-lago-does-before-its-time",
        "app/definitions/input_limits.py",
        "NUMBERS = (1, 2, 3, 5)",
        "NUMBERS = (1, 2, 3, 4)",
        "tests/rules/test_input_limits.py::test_the_time_of_an_event_is_written_as_lago_does",
    ),
    Bug(
        "way-of-writing-learnt-late-not-refolded",
        "tables/charge.py",
        "            min(as_lago_after_ms, appended_ms) if computes else 0,",
        "            0,",
        "tests/laws/test_input_limits.py"
        "::test_numbers_are_written_as_lago_does_from_their_record_on_whenever_it_is_learnt",
    ),
    Bug(
        "usage-changed-by-an-alert",
        "tables/closing/changed.py",
        "is_usage = of_alerts or not span.fold.over_life",
        "is_usage = True",
        "tests/semantics/test_changed.py::test_an_alert_changes_no_usage",
    ),
    Bug(
        "usage-not-changed-by-an-alert-before-its-time",
        "tables/closing/changed.py",
        "of_alerts = not partition.definitions.settings_at(cut_ms).changes_without_alerts",
        "of_alerts = False",
        "tests/semantics/test_changed.py::test_an_alert_changes_no_usage",
    ),
    Bug(
        "empty-text-never-billed-at-once",
        "tables/instants/deciding.py",
        "arrival.append_time_ms > blank_after_ms",
        "True",
        "tests/rules/test_input_limits.py::test_what_an_empty_text_billed_before_its_time_stays",
    ),
    Bug(
        "upgrade-where-a-period-ends-published",
        "tables/closing/billing.py",
        "period.end_rules >= EXACT_ENDS and _is_upgrade(subscription, period)",
        "False",
        "tests/rules/test_exact_ends.py"
        "::test_an_upgrade_where_a_period_ends_leaves_nothing_that_is_paid_in_advance",
    ),
    Bug(
        "upgrade-where-a-period-ended-taken-back",
        "tables/closing/billing.py",
        "period.end_rules >= EXACT_ENDS and _is_upgrade(subscription, period)",
        "_is_upgrade(subscription, period)",
        "tests/rules/test_exact_ends.py::test_a_period_that_is_fixed_keeps_how_an_upgrade_ended_it",
    ),
    Bug(
        "whole-period-before-an-upgrade-of-nobody",
        "tables/closing/billing.py",
        "leaves = period.upgraded or period.end_rules < WHOLE_ENDS",
        "leaves = True",
        "tests/rules/test_exact_ends.py"
        "::test_an_upgrade_where_a_period_ends_leaves_no_whole_period_to_the_next_plan",
    ),
    Bug(
        "whole-period-before-an-upgrade-taken-back",
        "tables/closing/billing.py",
        "leaves = period.upgraded or period.end_rules < WHOLE_ENDS",
        "leaves = period.upgraded",
        "tests/rules/test_exact_ends.py"
        "::test_an_upgrade_where_a_period_ends_leaves_no_whole_period_to_the_next_plan",
    ),
    Bug(
        "period-of-26-hours",
        "app/definitions/periods.py",
        "TIMEZONE_SHIFT_MS = 26 * 3600 * 1000 + 1",
        "TIMEZONE_SHIFT_MS = 26 * 3600 * 1000",
        "tests/rules/test_exact_ends.py::test_no_move_makes_a_period_of_26_hours",
    ),
    Bug(
        "period-of-26-hours-taken-back",
        "app/definitions/periods.py",
        "return TIMEZONE_SHIFT_MS if terms.end_rules >= WHOLE_ENDS else TIMEZONE_SHIFT_MS - 1",
        "return TIMEZONE_SHIFT_MS",
        "tests/rules/test_exact_ends.py::test_no_move_makes_a_period_of_26_hours",
    ),
    Bug(
        "first-period-cut-short-by-a-timezone",
        "app/definitions/periods.py",
        "opening = _opening(terms, i) if previous is None else None",
        "opening = None",
        "tests/rules/test_exact_ends.py::test_a_timezone_cuts_no_first_period_short",
    ),
    Bug(
        "first-period-cut-short-made-whole-later",
        "app/definitions/periods.py",
        "if entry.end_rules < EXACT_ENDS or began.timezone == grid.timezone:",
        "if began.timezone == grid.timezone:",
        "tests/rules/test_exact_ends.py"
        "::test_a_first_period_that_a_timezone_cut_short_stays_so_once_it_is_fixed",
    ),
    Bug(
        "first-period-runs-over-a-post-to-come",
        "app/definitions/periods.py",
        "passed = began.start_nearest_ms(post_ms) <= start_ms",
        "passed = True",
        "tests/rules/test_exact_ends.py::test_a_first_period_of_hours_that_no_move_made_stays",
    ),
    Bug(
        "downgrade-hours-after-its-post-parts-a-period",
        "app/definitions/periods.py",
        "if ended_ms is None and _waits_behind(natural_end_ms, terms):",
        "if False:",
        "tests/rules/test_exact_ends.py"
        "::test_a_downgrade_whose_post_has_passed_ends_the_period_that_runs",
    ),
    Bug(
        "period-of-hours-before-a-downgrade-taken-back",
        "app/definitions/periods.py",
        "if terms.end_rules < EXACT_ENDS or end_ms is None or",
        "if end_ms is None or",
        "tests/rules/test_exact_ends.py"
        "::test_a_downgrade_that_parted_a_period_of_hours_did_so_for_ever",
    ),
    Bug(
        "downgrade-hours-after-its-post-adds-a-day",
        "app/definitions/periods.py",
        "min(end_ms, natural_end_ms - 1)",
        "end_ms",
        "tests/rules/test_exact_ends.py"
        "::test_days_of_a_period_that_a_downgrade_ended_hours_later_are_its_own",
    ),
    Bug(
        "exact-ends-of-few-only",
        "tables/partition/new_settings.py",
        "input_limits=settings.end_rules",
        "input_limits=0",
        "tests/tables/partition/test_new_settings.py"
        "::test_settings_that_change_cells_are_looked_at[{'input_limits': 4}]",
    ),
    Bug(
        "conflict-not-told-offline",
        "app/offline/fold.py",
        "            if conflict is not None:\n                yield conflict",
        "            if conflict is not None:\n                yield from ()",
        "tests/app/offline/test_fold.py::test_a_repeated_id_with_another_body_is_refused[1000-1]",
    ),
    Bug(
        "code-that-a-correction-gave-not-told",
        "tables/partition/corrected.py",
        "        entry.first_ms = min(entry.first_ms, max(append_time_ms, corrected_ms))\n",
        "",
        "tests/simulation/test_changed.py"
        "::test_a_definition_tells_of_a_code_that_a_correction_gave",
    ),
    Bug(
        "filter-that-does-not-ask-left-out",
        "tables/claims.py",
        "met.get(text, 0) | indifferent",
        "met.get(text, 0)",
        "tests/tables/test_claims.py::test_the_first_filter_that_fits_has_the_event",
    ),
    Bug(
        "last-filter-claims",
        "tables/claims.py",
        "(left & -left).bit_length() - 1",
        "left.bit_length() - 1",
        "tests/tables/test_claims.py::test_the_first_filter_that_fits_has_the_event",
    ),
    Bug(
        "cluster-away-ends-the-worker",
        "app/redis/client.py",
        "return _Cluster(startup_nodes",
        "return RedisCluster(startup_nodes",
        "tests/app/redis/test_members.py::test_a_cluster_of_which_no_node_answers_is_away",
    ),
    Bug(
        "race-of-one-id-not-told",
        "app/queries/ingest.py",
        "verdicts[index] = repeats or Accepted(position)",
        "verdicts[index] = Accepted(position)",
        "tests/live/test_racing.py::test_of_many_bodies_under_one_id_one_is_taken",
    ),
    Bug(
        "events-of-a-batch-checked-twice",
        "app/api/events/event_batch.py",
        "if dry_run or remote or (batch.problems and not partial):",
        "if True:",
        "tests/live/test_racing.py::test_events_of_a_batch_are_looked_up_together",
    ),
    Bug(
        "wrong-events-of-a-batch-told-in-part",
        "app/api/events/event_batch.py",
        "if dry_run or remote or (batch.problems and not partial):",
        "if dry_run or remote:",
        "tests/live/test_racing.py::test_events_of_a_batch_are_looked_up_together",
    ),
    Bug(
        "event-that-counts-told-as-its-own-repetition",
        "app/queries/ingest.py",
        "place == (position.partition, position.offset, index):",
        "place == (position.partition, position.offset, 0):",
        "tests/live/test_racing.py::test_of_many_batches_with_one_id_one_is_taken_whole",
    ),
    Bug(
        "rows-looked-through-for-each-filter",
        "app/api/usage/usage_json.py",
        "        of_bucket = by_filter.get(bucket.id if bucket else None)\n",
        "        key = bucket.id if bucket else None\n"
        "        of_bucket = [row for row in rows.get(charge.id, []) if row.filter_id == key]\n",
        "tests/app/api/usage/test_usage_json.py::test_a_filter_costs_the_same_beside_many",
    ),
    Bug(
        "published-before-with-the-sums-of-now",
        "tables/changelogged/published_period.py",
        "sums = Sums(sums.digest, sums.cut_ms, sums.charge_ids.copy())",
        "sums = self.sums",
        "tests/tables/changelogged/test_published_period.py::test_a_copy_goes_its_own_way",
    ),
    Bug(
        "group-forgotten-by-where-it-came-first-once",
        "tables/routing/group_admission.py",
        "if turned == position:",
        "if turned:",
        "tests/tables/routing/test_group_admission.py::test_the_groups_that_came_first_find_room",
    ),
    Bug(
        "clients-wait-for-the-collector",
        "app/kafka/clients.py",
        "connections.cluster._listeners = set()",
        "pass",
        "tests/app/kafka/test_clients.py"
        "::test_a_client_that_was_stopped_goes_without_the_collector",
    ),
    Bug(
        "groups-of-another-process-find-more-room",
        "tables/routing/group_admission.py",
        "for groups, first in firsts:\n            self._claim(scope, groups, first)",
        "self._firsts.setdefault(scope, {}).update(firsts)",
        "tests/tables/routing/test_group_admission.py"
        "::test_what_another_process_noted_finds_no_more_room",
    ),
    Bug(
        "unique-count-as-light-as-a-sum",
        "tables/charge.py",
        "self.units += UNITS_A_MEMBER",
        "self.units += 0",
        "tests/tables/routing/test_route.py"
        "::test_events_of_a_unique_count_are_folded_closely_few_at_once",
    ),
    Bug(
        "names-that-settings-concern-freed-at-once",
        "tables/partition/redefinition.py",
        "        yield from freeing(seen)\n        yield from freeing(left)\n",
        "",
        "tests/tables/partition/test_history.py"
        "::test_the_names_that_were_looked_at_are_freed_by_steps[settings]",
    ),
    Bug(
        "names-that-a-record-concerns-freed-at-once",
        "tables/partition/history.py",
        "            yield from freeing(seen)\n",
        "",
        "tests/tables/partition/test_history.py"
        "::test_the_names_that_were_looked_at_are_freed_by_steps[history]",
    ),
    Bug(
        "what-no-grid-cut-has-shown-told-in-one-step",
        "tables/partition/cuts.py",
        "for some in batches(definitions.times_after_ms(decided_ms), STEP_ITEMS):",
        "for some in (definitions.times_after_ms(decided_ms),):",
        "tests/app/runtime/partition/test_cuts.py"
        "::test_a_restart_announces_what_alerts_wait_for_by_small_steps",
    ),
    Bug(
        "charges-of-a-plan-put-together-for-each-code",
        "tables/routing/plan.py",
        "known = keep(self._plans, name, PlanCharges(definitions, plan), MOST_PLANS)",
        "known = PlanCharges(definitions, plan)",
        "tests/rules/test_shared_charges.py::test_all_codes_of_a_plan_look_at_its_charges_once",
    ),
    Bug(
        "charges-of-a-plan-as-a-metric-was",
        "tables/routing/plan.py",
        "            self._plans.clear()\n            self._under = under\n",
        "            self._under = under\n",
        "tests/rules/test_shared_charges.py::test_who_begins_after_a_change_has_it[metric]",
    ),
    Bug(
        "plans-of-many-filters-trimmed-many-at-a-step",
        "app/definitions/metrics.py",
        "    return 1 if plan is None else plan.items\n",
        "    return 1\n",
        "tests/app/definitions/test_at_once.py::test_a_step_takes_few_plans_of_many_filters",
    ),
    Bug(
        "plans-of-many-charges-promised-many-at-a-step",
        "app/definitions/log.py",
        "in weighed(changes, _items_in):",
        "in weighed(changes, lambda _: 1):",
        "tests/app/definitions/test_at_once.py"
        "::test_plans_of_many_charges_are_promised_few_at_a_step",
    ),
    Bug(
        "records-gone-with-their-customer",
        "app/queries/records.py",
        "index.of_customer_name(name)",
        "index.of_customer(name)",
        "tests/app/queries/test_newest_records.py::test_records_of_a_customer_outlive_its_deletion",
    ),
    Bug(
        "former-command-changes-a-currency-in-use",
        "app/definitions/customers.py",
        'stays = command.payload.get("any_currency") is not True',
        "stays = False",
        "tests/app/definitions/test_customers.py"
        "::test_a_command_without_the_mark_keeps_a_currency_in_use",
    ),
    Bug(
        "former-command-carries-wallets-to-children",
        "app/definitions/plans.py",
        '_giving(body, "accepts_target_wallet") if wallets else frozenset(),',
        '_giving(body, "accepts_target_wallet"),',
        "tests/app/definitions/test_subscription_charges.py"
        "::test_a_command_without_the_mark_leaves_wallets_of_children",
    ),
    Bug(
        "late-group-paid-in-advance-looks-at-all",
        "tables/cells/cell.py",
        "return None if layer is None or whole else layer.noting()",
        "return None if layer is None or whole or self.fold.in_advance else layer.noting()",
        "tests/tables/closing/test_noted.py"
        "::test_a_late_event_of_what_recurs_or_is_billed_at_once_is_looked_at_alone[passes]",
    ),
    Bug(
        "late-group-of-a-balance-looks-at-all",
        "tables/closing/period_at_cut.py",
        "if metric.recurring and changed is None:",
        "if metric.recurring:",
        "tests/tables/closing/test_noted.py"
        "::test_a_late_event_of_what_recurs_or_is_billed_at_once_is_looked_at_alone[balance]",
    ),
    Bug(
        "balance-of-weeks-before-unseen",
        "tables/cells/noted.py",
        "if start_ms <= shown_ms:",
        "if start_ms == shown_ms:",
        "tests/tables/closing/test_noted.py"
        "::test_a_late_event_of_what_recurs_or_is_billed_at_once_is_looked_at_alone[balance]",
    ),
    Bug(
        "billed-beyond-an-end-is-not-looked-at",
        "tables/closing/looked.py",
        "names.update((name, None) for name, _ in moved)",
        "del moved",
        "tests/tables/closing/test_noted.py"
        "::test_what_a_period_cut_short_billed_beyond_its_end_is_looked_at_when_it_is_taken_out",
    ),
    Bug(
        "billed-later-than-a-cut-off-the-grid-unseen",
        "tables/closing/looked.py",
        "return decided_until(self._cut_ms, grids) < self._cut_ms",
        "return decided_until(self._cut_ms, grids) < 0",
        "tests/tables/closing/test_noted.py"
        "::test_all_are_looked_at_where_more_may_have_changed_than_cells",
    ),
    Bug(
        "balance-corrected-in-the-week-before-unseen",
        "tables/closing/looked.py",
        "if code in partition.corrected.revised_codes(self._name):",
        "if False:",
        "tests/tables/closing/test_noted.py"
        "::test_all_are_looked_at_where_more_may_have_changed_than_cells",
    ),
    Bug(
        "cells-of-a-refold-freed-at-once",
        "tables/routing/dropping.py",
        "        cells += _drop(route)",
        "        _drop(route)",
        "tests/tables/partition/test_refold.py"
        "::test_cells_are_freed_by_steps_and_without_the_collector",
    ),
    Bug(
        "cells-put-together-at-once",
        "tables/partition/packing.py",
        "            if len(cells) > STEP_ITEMS:",
        "            if False:",
        "tests/tables/partition/test_packing.py"
        "::test_what_is_packed_by_steps_is_put_together_by_steps",
    ),
)

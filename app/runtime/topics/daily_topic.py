"""Daily records of a partition, taken over from their changelog or, if it is torn, the topic."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import NamedTuple

import msgspec

from app.billing_periods.instants import parse_iso8601_ms
from app.bounds.turns import Steps, Work
from app.definitions.state import Definitions
from app.kafka.names import TopicPartition
from app.kafka.topics import USAGE_DAILY
from app.runtime.context import WorkerContext
from app.runtime.topics.published_topic import OutputRecord, put_all_again
from app.wire.daily_records import DAILY_TYPE
from tables.changelogged.checkpoint import Checkpoint
from tables.changelogged.daily import DailyCell, DailyTable
from tables.partition.partition import Partition


class _DailyRecord(OutputRecord, kw_only=True):
    """The fields of a daily record that the next ones follow from."""

    revision: int = 0
    day: str = ""
    units: str = ""
    total_aggregated_units: str = ""
    events_count: int = 0


_decode = msgspec.json.Decoder(_DailyRecord).decode


class Daily(NamedTuple):
    """What daily records of a partition said."""

    table: DailyTable
    gone: Iterable[bytes] = ()
    """Keys to delete from the changelog: all, if it is torn."""
    whole: bool = True
    """Whether it is known who is to be looked at when a day is over."""

    def looking_at_all(self, state: Partition, shared: WorkerContext) -> Steps[None]:
        """Have everybody looked at when the next day is over, unless it is known who must be."""
        if self.whole:
            return
        definitions, checkpoint = shared.definitions, state.checkpoint
        done_ms, told_from = checkpoint.grid_done_ms, checkpoint.definitions_offset
        yield from shared.homes.knowing()
        for name in shared.homes.names_at(state.number):
            state.cuts.schedule_grid(name, done_ms + 1)
            yield
        # Cells may show definitions since then that nobody tells of again. Only as of these are
        # there daily records, or a subscription, or days of another timezone.
        first = definitions.last_offset_at(done_ms) + 1
        for offset, at_ms, impact in shared.followed.impacts_since(first):
            if offset < told_from and definitions.settings_at(at_ms).daily_records:
                for name in state.redirection.concerned(impact):
                    state.cuts.schedule_grid(name, at_ms)
                    yield


async def daily_of(
    number: int, checkpoint: Checkpoint, changelog: Mapping[bytes, bytes], shared: WorkerContext
) -> Daily:
    """Return what was published, from the changelog unless it is torn or lost."""
    table = DailyTable()
    await shared.turns.run(Work("restore", "daily records"), table.load_all(changelog))
    definitions = shared.definitions
    whole = checkpoint.daily_sum in (None, table.sum) and (changelog or checkpoint.flush > 0)
    if whole or not definitions.settings.daily_ms():
        return Daily(table, table.give_up_rows())
    found = DailyTable()
    tp = TopicPartition(shared.settings.topic(USAGE_DAILY), number)
    await put_all_again(shared.settings, tp, partial(put_again, found, definitions))
    return Daily(found, list(changelog), whole=False)


def put_again(table: DailyTable, definitions: Definitions, value: bytes) -> None:
    """Put into the table what a record says; records in the order of the topic."""
    record = _decode(value)
    cut_ms = parse_iso8601_ms(record.closed_at)
    # A later timezone moves the start of a period that is not over.
    found = None if cut_ms is None else record.period_in(definitions, cut_ms)
    if record.type != DAILY_TYPE or cut_ms is None or found is None:
        return
    subscription, period = found
    cell = DailyCell(
        record.day,
        cut_ms,
        record.units,
        record.total_aggregated_units,
        record.events_count,
        record.lago_charge_id,
        record.lago_charge_filter_id,
        record.groups,
    )
    table.put((subscription.id, period.start_ms), record.cell_id, cell)

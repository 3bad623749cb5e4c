from collections.abc import Iterator
from contextlib import suppress

import msgspec
import pytest

from app.definitions import commands
from app.definitions.command import Command, UnreadableCommand
from app.definitions.files import InvalidDefinitionsFile, definition_line, read_definitions
from app.definitions.log import apply
from app.definitions.model import SettingsRecord
from app.definitions.state import Definitions
from tests.world.definitions_log import ORG, Log, metric_body

LINE = b'{"type":"delete_plan","id":"c","organization_id":"o","payload":{"code":"p"}'


def test_a_written_log_reads_back_to_the_same_state() -> None:
    log = Log()
    log.append(commands.set_settings(SettingsRecord(grace_s=5)))
    log.metric()
    log.append_bytes(b"no command")
    log.append_bytes(None)
    log.at("2024-02-01T00:00:00Z").plan()
    log.append(commands.create_billable_metric(ORG, metric_body()))
    log.subscribe()
    again = Definitions()
    for record in read_definitions(list(_lines(log))):
        apply(again, record.value, record.append_time_ms, record.offset)
    assert vars(again) == vars(log.definitions)
    assert again.last_offset_at(log.now_ms) == log.definitions.last_offset_at(log.now_ms) == 6


def _lines(log: Log) -> Iterator[bytes]:
    """The log as a file; values that are no commands, ticks too, are left out."""
    for value, append_time_ms, offset in log.records:
        with suppress(UnreadableCommand):
            if value is not None:
                yield definition_line(Command.decode(value), append_time_ms, offset)


def test_numbers_keep_their_spelling_through_the_file() -> None:
    line = b'{"type":"t","id":"c","organization_id":"o","payload":{"x":1.50e3},"_append_time":5}'
    (record,) = read_definitions([line])
    command = Command.decode(record.value or b"")
    named = msgspec.structs.replace(command, changed_by="ci")
    (again,) = read_definitions([definition_line(named, 5, 0)])
    assert Command.decode(again.value or b"").changed_by == "ci"
    assert definition_line(command, 5, 0) == line[:-1] + b',"_offset":0}\n'


def test_times_may_be_texts_and_offsets_absent() -> None:
    lines = [
        LINE + b',"_append_time":"2024-01-31T01:00:00.5Z","_offset":7}\n',
        b"\n",
        LINE + b',"_append_time":12}',
    ]
    found = [(record.append_time_ms, record.offset) for record in read_definitions(lines)]
    assert found == [(1_706_662_800_500, 7), (12, 8)]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([b"{"], "line 1: "),
        ([LINE + b"}"], "line 1: .*_append_time"),
        ([LINE + b',"_append_time":"yesterday"}'], "line 1: _append_time"),
        ([b'{"_append_time":1}'], "line 1: .*type"),
        (
            [LINE + b',"_append_time":1,"_offset":3}', LINE + b',"_append_time":1,"_offset":3}'],
            "line 2: _offset 3 goes back",
        ),
    ],
)
def test_a_line_that_is_no_record_is_named(lines: list[bytes], message: str) -> None:
    with pytest.raises(InvalidDefinitionsFile, match=message):
        list(read_definitions(lines))

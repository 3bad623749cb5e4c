"""A statement: one published figure with all that it follows from, in a file that anybody checks.

It holds the records, the events of the subscription and the definitions that the figure follows
from, as `meter fold` reads them. The same figure gives the same bytes: nothing in the file tells
when or where it was made.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Iterable, Iterator
from hashlib import sha256
from typing import Final

import msgspec

from app.billing_periods.timezones import tzdata_version
from app.definitions.command import Command
from app.definitions.files import DefinitionLine, definition_line
from app.definitions.indexes.set_asides import Aside, SetAsides
from app.definitions.judging import Judging
from app.definitions.log import apply
from app.definitions.set_asides import named_in
from app.definitions.state import Definitions
from app.kafka.log_readers import LogRecord
from app.offline.export import event_line
from app.offline.fold import EventLine, OfflineMeter
from app.offline.stated import NAMES, SUMS, StatedFigure, figure, last_cut_ms
from app.offline.stated_definitions import shown
from app.offline.stated_events import events_csv
from app.wire.arrivals import SubscriptionKey, arrivals_of

_BEGUN: Final = (1980, 1, 1, 0, 0, 0)

_README: Final = """\
A statement of one metered figure.

statement.json     the figure, cell by cell, with ids, digests, cut and versions
records.jsonl      every revision of it, as it was published
events.csv         each event: counted or not, why, and where it lies in the log
events.jsonl       all events of the subscription as they were appended
definitions.jsonl  the definitions that it follows from; all others stand as omitted
SHA256SUMS         sums of the files above

To check it, without any server:

  pip install 'meterstream[fold]'
  meter statement check FILE.zip

It folds events and definitions anew and compares records and digests byte by byte. It cannot prove
that the events in it are all there are: compare events.csv to your own list.
"""


def statement(
    wanted: StatedFigure,
    definitions: Iterable[DefinitionLine],
    events_until: Callable[[int], Iterable[EventLine]],
    records: Iterable[bytes],
) -> bytes:
    """Return the file of a figure. Raises NoStatement.

    `events_until`: gives those of the log until a cut at least, partition by partition, each by
    offset. `records`: the published ones.
    """
    chosen = wanted.chosen(records)
    cut_ms = last_cut_ms(chosen)
    definitions = list(definitions)
    defined = shown(definitions, wanted, cut_ms)
    # Also those after the cut: what is set aside was never there, and nothing else tells so.
    asides = SetAsides()
    asides.foresee(named_in(line.value for line in definitions))
    known = Definitions()
    for line in defined:
        apply(known, line.value, line.append_time_ms, line.offset)
    kept = list(_own(events_until(cut_ms), wanted.name, known, asides, cut_ms))
    meter = OfflineMeter()
    meter.run(defined, kept, cut_ms)
    listed = events_csv(meter, wanted, chosen, kept)
    contents = (
        _text(figure(wanted, chosen, tzdata_version())),
        b"".join(value + b"\n" for value in chosen),
        listed,
        b"".join(_event_line(line) + b"\n" for line in kept),
        b"".join(map(_definition_line, defined)),
        _README.encode(),
    )
    return _packed(dict(zip(NAMES, contents, strict=True)))


def _own(
    events: Iterable[EventLine],
    name: SubscriptionKey,
    known: Definitions,
    asides: SetAsides,
    cut_ms: int,
) -> Iterator[EventLine]:
    """Yield the records of a subscription, with those that moved append time on before them."""
    judging = Judging.by(known)
    reached: dict[int, EventLine] = {}
    """By partition, the record that was appended last, where that is not shown."""
    for line in events:
        before = reached.get(line.partition)
        at_ms = max(line.append_time_ms, -1 if before is None else before.append_time_ms)
        if at_ms > cut_ms:
            continue
        own = _own_value(line, name, judging, asides.of(line.partition))
        if own is None:
            if before is None or line.append_time_ms > before.append_time_ms:
                reached[line.partition] = line._replace(value=None, headers=())
            continue
        if before is not None and before.append_time_ms > line.append_time_ms:
            # Without it the event would have come earlier.
            yield before
        yield line._replace(value=own)


def _own_value(
    line: EventLine, name: SubscriptionKey, judging: Judging, aside: Aside | None
) -> bytes | None:
    """Return a record's value, in an array null for what is another's; None: all of it is."""
    place = (line.append_time_ms, line.partition, line.offset)
    arrived = arrivals_of(line.value, line.headers, *place, judging, aside)
    own = {getattr(one, "array_index", 0) for one in arrived if getattr(one, "name", None) == name}
    if not own or line.value is None:
        return None
    if not line.value.lstrip().startswith(b"["):
        return line.value
    items = msgspec.json.decode(line.value, type=list[msgspec.Raw])
    shown = [bytes(item) if index in own else b"null" for index, item in enumerate(items)]
    return b"[" + b",".join(shown) + b"]"


def _event_line(line: EventLine) -> bytes:
    record = LogRecord(None, line.value, line.headers, line.append_time_ms, line.offset)
    return event_line(line.partition, record)


def _definition_line(line: DefinitionLine) -> bytes:
    command = Command.decode(line.value or b"")
    return definition_line(command, line.append_time_ms, line.offset)


def _text(value: object) -> bytes:
    return json.dumps(value, indent=1, ensure_ascii=False).encode() + b"\n"


def _packed(contents: dict[str, bytes]) -> bytes:
    sums = "".join(f"{sha256(text).hexdigest()}  {name}\n" for name, text in contents.items())
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, text in {**contents, SUMS: sums.encode()}.items():
            entry = zipfile.ZipInfo(name, _BEGUN)
            # How much a library compresses is its own business.
            entry.compress_type, entry.external_attr = zipfile.ZIP_STORED, 0o644 << 16
            entry.create_system = 3
            archive.writestr(entry, text)
    return packed.getvalue()

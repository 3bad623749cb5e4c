"""What the ledger says it covers is what the partition took there, whatever became of its files."""

from __future__ import annotations

import os
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

import pytest

from app.bounds.turns import Turns, Work
from app.definitions.state import Definitions
from app.ledger import ledger as module
from app.ledger.ledger import LedgerRoom, Place
from app.ledger.rows import LedgerDamaged, Wanted, rows_of
from app.runtime.homes import HomePartitions
from app.runtime.scanning.scan import Scan
from app.runtime.scanning.scans import ScanTurn
from app.wire.arrivals import (
    Arrival,
    Arrived,
    CorrectionArrival,
    SubscriptionKey,
    plain_arrival,
    runs_of,
)
from app.wire.events import Correction, Event
from tests.app.runtime.alone import settings_of

NAMES = [("org", f"sub-{number}") for number in range(5)] + [("other", "sub-0")]
CODES = ["calls", "gb"]
GB = 1024**3
HERE, ELSEWHERE = 0, 1
"""The partition, and one that forwards to it."""


@dataclass
class Checkpoint:
    """Where the live fold stands."""

    raw_next: int = 0
    rekeyed_next: int = 0
    append_time_ms: int = -1
    index_epoch: int = 1


@dataclass
class World:
    """A partition that takes events, and its ledger."""

    directory: Path
    disk_bytes: int = GB
    choose: random.Random = field(default_factory=lambda: random.Random(7))
    checkpoint: Checkpoint = field(default_factory=Checkpoint)
    taken: list[Arrival | CorrectionArrival] = field(default_factory=list)
    """All of it, the logs in other words."""
    elsewhere: int = 0

    def __post_init__(self) -> None:
        self.room = LedgerRoom(self.directory, self.disk_bytes)
        self.restart()

    def restart(self) -> None:
        """Begin with what local disk has, as after a kill."""

        async def find(places: Sequence[Place]) -> Mapping[Place, Arrived]:
            taken = {
                (row.raw_partition, row.raw_offset, row.array_index): row for row in self.taken
            }
            return {place: taken[place] for place in places if place in taken}

        self.ledger = self.room.of(HERE, self.checkpoint, find)

    def plain(self, name: SubscriptionKey, code: str) -> Arrival:
        """Append a plain event at home and take it."""
        number, checkpoint = len(self.taken), self.checkpoint
        organization = f'"organization_id":"{name[0]}",' if number % 2 else ""
        body = (
            f'{{{organization}"transaction_id":"t{number}","external_subscription_id":"{name[1]}",'
            f'"code":"{code}","timestamp":"{number}.5","precise_total_amount_cents":"1.10",'
            f'"properties":{{"gb":1e{number % 3}}}}}'
        ).encode()
        checkpoint.append_time_ms = 10**12 + number
        found = plain_arrival(body, checkpoint.append_time_ms, HERE, checkpoint.raw_next, name[0])
        assert found is not None
        # Offsets have gaps: markers, and events of other homes.
        checkpoint.raw_next += self.choose.randrange(1, 4)
        self.taken.append(found)
        return found

    def forwarded(self, name: SubscriptionKey, code: str) -> Arrival:
        """Take an event that came by events-rekeyed."""
        number, checkpoint = len(self.taken), self.checkpoint
        event = Event(
            None, name[1], f"t{number}", code, None, Decimal("1E+3"), b'{"gb":1.10}', b"{}", b"env"
        )
        self.elsewhere += 1
        place = (10**12 + number, ELSEWHERE, self.elsewhere, number % 3, checkpoint.rekeyed_next)
        checkpoint.rekeyed_next += self.choose.randrange(1, 3)
        arrival = Arrival(event, name[0], *place, admitted=number % 2 == 0)
        self.taken.append(arrival)
        return arrival

    def corrected(self, name: SubscriptionKey) -> CorrectionArrival:
        """Take a correction at home."""
        number, checkpoint = len(self.taken), self.checkpoint
        told = Correction(None, name[1], "t0", "cancel", None, f"c{number}", b"{}")
        arrival = CorrectionArrival(told, name[0], 10**12, HERE, checkpoint.raw_next, 0)
        checkpoint.raw_next += 1
        self.taken.append(arrival)
        return arrival

    def corrected_elsewhere(self, name: SubscriptionKey) -> CorrectionArrival:
        """Take a correction that came by events-rekeyed."""
        self.elsewhere += 1
        arrival = self.corrected(name)
        self.checkpoint.raw_next -= 1
        self.checkpoint.rekeyed_next += 1
        arrival = arrival._replace(raw_partition=ELSEWHERE, raw_offset=self.elsewhere)
        self.taken[-1] = arrival
        return arrival

    def portion(self, events: int) -> None:
        """Take some events, as a portion of a batch."""
        draw = self.choose
        plain = [self.plain(draw.choice(NAMES), draw.choice(CODES)) for _ in range(events)]
        self.ledger.note(runs_of(plain), plain=True)
        odd = [self.forwarded(draw.choice(NAMES), draw.choice(CODES)) for _ in range(events // 4)]
        self.ledger.note(runs_of(odd), plain=False)
        if events % 3 == 0:
            self.ledger.note_corrections([self.corrected(draw.choice(NAMES))])

    async def flush(self) -> None:
        """Pack and commit what was taken, and wait until it is written."""
        self.ledger.pack()
        self.ledger.commit()
        await self.ledger.rest()

    async def check(
        self, names: Sequence[SubscriptionKey], codes: Sequence[str] | None = None
    ) -> int:
        """Compare what is covered with what was taken there; return how many rows that were."""
        found: list[Arrival | CorrectionArrival] = []
        spans = []
        for part in await self.ledger.locate(Wanted.of(names, codes)):
            chunks = await self.ledger.read(part)
            if chunks is None:
                continue
            spans += part.spans
            for chunk in chunks:
                found += rows_of(chunk, HERE)

        def covered(row: Arrival | CorrectionArrival) -> bool:
            if row.raw_partition == HERE:
                return any(span.raw_from <= row.raw_offset < span.raw_until for span in spans)
            assert isinstance(row, Arrival)
            at = row.rekeyed_offset
            return any(span.rekeyed_from <= at < span.rekeyed_until for span in spans)

        wanted = [
            row
            for row in self.taken
            if row.name in names
            and (codes is None or isinstance(row, CorrectionArrival) or row.event.code in codes)
            and covered(row)
        ]
        assert not any(a.overlaps(b) for n, a in enumerate(spans) for b in spans[:n])
        assert sorted(map(repr, found)) == sorted(map(repr, wanted))
        return len(found)

    def files(self) -> list[Path]:
        """Return what lies on local disk."""
        return sorted(path for path in self.directory.rglob("*") if path.is_file())


@pytest.fixture(params=[(3, 0, 1), (50, 0, 700), (50, 3, 10**6), (50, 256, 700), (10**6, 256, 700)])
def world(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> World:
    """Make one whose files are closed after so many chunks, and merged if they have more blocks.

    So many bytes of chunks, and one chunk at least, are compressed together.
    """
    chunks, blocks, slab_bytes = request.param
    monkeypatch.setattr(module, "MERGED_CHUNKS", chunks)
    monkeypatch.setattr(module, "FEW_BLOCKS", blocks)
    monkeypatch.setattr("app.ledger.blocks._SLAB_BYTES", slab_bytes)
    return World(tmp_path)


async def test_a_file_of_few_blocks_is_closed_as_it_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Its bytes are not written again; one of many is sorted by key."""
    monkeypatch.setattr(module, "MERGED_CHUNKS", 20)
    for blocks, stays in ((256, True), (1, False)):
        monkeypatch.setattr(module, "FEW_BLOCKS", blocks)
        world = World(tmp_path / str(blocks))
        world.portion(8)
        await world.flush()
        (appended,) = world.files()
        inode = appended.stat().st_ino
        for _ in range(4):
            world.portion(8)
            await world.flush()
        inodes = {path.stat().st_ino for path in world.files() if path.suffix == ".merged"}
        assert (inode in inodes) is stays
        assert await world.check(NAMES) == len(world.taken)


@pytest.mark.parametrize("blocks", [256, 0])
async def test_local_disk_has_events_compressed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, blocks: int
) -> None:
    monkeypatch.setattr(module, "MERGED_CHUNKS", 40)
    monkeypatch.setattr(module, "FEW_BLOCKS", blocks)
    world = World(tmp_path)
    for _ in range(6):
        world.portion(400)
        await world.flush()
    came = sum(len(row.event.body) for row in world.taken if isinstance(row, Arrival))
    assert sum(path.stat().st_size for path in world.files()) < came / 2
    assert await world.check(NAMES) == len(world.taken)


async def test_all_that_was_taken_is_found_as_it_came(world: World) -> None:
    """On disk, merged, in the flush under way, and since then."""
    for number in range(30):
        world.portion(world.choose.randrange(9))
        if number % 3 == 2:
            await world.flush()
        elif number % 5 == 0:
            world.ledger.pack()
            world.ledger.commit()
        if number % 7 == 6:
            for names in ([NAMES[number % 6]], NAMES[:3], NAMES):
                await world.check(names)
                await world.check(names, ["gb"])
    assert await world.check(NAMES) == len(world.taken)
    await world.flush()
    world.restart()
    assert await world.check(NAMES) == len(world.taken)
    world.portion(8)
    assert await world.check(NAMES) == len(world.taken)


def reading(world: World) -> Scan:
    """Return a scan of some subscriptions from the start of both logs on."""
    definitions = Definitions()
    homes = HomePartitions(definitions, 1)
    scan = Scan(settings_of(), HERE, homes, definitions, ledger=world.ledger)
    scan.seek_only(NAMES[:3])
    scan.start(Checkpoint(), 0, 0)
    return scan


async def test_a_scan_reads_on_in_the_ledger_while_more_comes(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each row once, in whichever file or flush it has come to lie, and no log is asked."""
    scan, found = reading(world), list[Arrival | CorrectionArrival]()
    scan.on_corrections = found.extend
    monkeypatch.setattr(scan, "_connected", None)
    turn = ScanTurn(Turns(), Work("scan"))
    for number in range(60):
        world.portion(world.choose.randrange(9))
        if number % 4 == 1:
            world.ledger.note_corrections([world.corrected_elsewhere(NAMES[number % 6])])
        if number % 5 == 2:
            await world.flush()
        elif number % 7 == 0:
            world.ledger.pack()
            world.ledger.commit()
        if number % 3 == 0:
            async for part in scan.read(world.checkpoint, turn):
                found += part
            assert not scan.behind(world.checkpoint)
            wanted = [row for row in world.taken if row.name in NAMES[:3]]
            assert sorted(map(repr, found)) == sorted(map(repr, wanted))


async def test_a_scan_leaves_a_hole_to_the_logs(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What lies behind it is read once, and not again in search of what is not there."""
    for number in range(9):
        world.portion(8)
        if number % 2:
            await world.flush()
    hole = [world.plain(NAMES[0], "gb") for _ in range(5)]
    world.restart()
    for _ in range(9):
        world.portion(8)
    scan, found = reading(world), list[Arrival | CorrectionArrival]()
    scan.on_corrections = found.extend

    class LogAsked(Exception):
        pass

    async def connected() -> None:
        raise LogAsked

    monkeypatch.setattr(scan, "_connected", connected)

    async def read_all() -> None:
        async for part in scan.read(world.checkpoint, ScanTurn(Turns(), Work("scan"))):
            found.extend(part)

    with pytest.raises(LogAsked):
        await read_all()
    missing = [row for row in world.taken if row.name in NAMES[:3] and row not in found]
    assert set(hole) < set(missing)
    assert len(found) == len(set(found))


async def test_only_rows_of_the_meter_key_are_read(world: World) -> None:
    for _ in range(10):
        world.portion(8)
        await world.flush()
    rows = [row for row in world.taken if row.name == NAMES[0]]
    gb = [row for row in rows if isinstance(row, CorrectionArrival) or row.event.code == "gb"]
    assert await world.check([NAMES[0]]) == len(rows)
    assert await world.check([NAMES[0]], ["gb"]) == len(gb) < len(rows)


async def test_what_no_flush_made_durable_is_forgotten(world: World) -> None:
    world.portion(8)
    await world.flush()
    durable = len(world.taken)
    before = (world.checkpoint.raw_next, world.checkpoint.rekeyed_next)
    world.portion(8)
    await world.flush()
    # As if the checkpoint of the second flush was never committed.
    world.checkpoint.raw_next, world.checkpoint.rekeyed_next = before
    del world.taken[durable:]
    world.restart()
    assert await world.check(NAMES) == durable
    world.portion(7)
    await world.flush()
    assert await world.check(NAMES) == len(world.taken)


async def test_a_hole_is_never_taken_for_nothing(world: World) -> None:
    """Another worker had the partition meanwhile."""
    world.portion(8)
    await world.flush()
    for _ in range(5):
        world.plain(NAMES[0], "gb")
    hole = len(world.taken) - 5
    world.restart()
    world.portion(8)
    await world.flush()
    assert await world.check(NAMES) == len(world.taken) - 5
    assert hole < len(world.taken)


async def test_a_kill_in_the_middle_of_a_write_costs_that_write_alone(world: World) -> None:
    world.portion(8)
    await world.flush()
    known = len(world.taken)
    sizes = {path: path.stat().st_size for path in world.files()}
    world.portion(8)
    await world.flush()
    for path in world.files():
        if path.suffix == ".appended" and path in sizes:
            os.truncate(path, sizes[path] + 17)
    world.restart()
    assert await world.check(NAMES) in (known, len(world.taken))


@pytest.mark.parametrize("how", ["truncated", "deleted", "flipped", "another's"])
async def test_damage_is_found(world: World, how: str) -> None:
    """Whatever is wrong on disk, rows that are told are right and none is left out of its span."""
    for _ in range(6):
        world.portion(8)
        await world.flush()
    whole = {path: path.read_bytes() for path in world.files()}
    for number in range(10):
        for path in world.files():
            path.unlink()
        for path, data in whole.items():
            path.write_bytes(data)
        if number % 2:
            world.restart()
        path = world.choose.choice(world.files())
        content = bytearray(whole[path])
        at = world.choose.randrange(len(content))
        match how:
            case "truncated":
                path.write_bytes(content[:at])
            case "deleted":
                path.unlink()
            case "flipped":
                content[at] ^= 1 << world.choose.randrange(8)
                path.write_bytes(content)
            case _:
                path.write_bytes(whole[world.choose.choice(list(whole))])
        await world.check(NAMES)
        world.restart()
        await world.check(NAMES)


async def test_the_ledger_of_another_log_is_not_believed(world: World) -> None:
    world.portion(8)
    await world.flush()
    # The topics were made anew, and have as many events again.
    world.taken.clear()
    reached = world.checkpoint.raw_next, world.checkpoint.rekeyed_next
    world.checkpoint.raw_next = world.checkpoint.rekeyed_next = 0
    while world.checkpoint.raw_next <= reached[0] or world.checkpoint.rekeyed_next <= reached[1]:
        world.plain(NAMES[1], "calls")
        world.forwarded(NAMES[1], "calls")
    world.restart()
    assert await world.check(NAMES) == 0


async def test_one_that_was_folded_anew_begins_anew(world: World) -> None:
    world.portion(8)
    await world.flush()
    before = world.files()
    world.checkpoint.index_epoch += 1
    world.restart()
    assert await world.check(NAMES) == 0
    assert not set(world.files()) & set(before)


async def test_what_has_no_room_in_memory_is_a_hole(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MEMORY_BYTES", 10_000)
    world.portion(8)
    await world.flush()
    known = len(world.taken)
    world.ledger.note(runs_of([world.plain(NAMES[0], "gb") for _ in range(100)]), plain=True)
    assert world.room.memory_bytes < 10_000
    assert await world.check(NAMES) == known
    lost = len(world.taken) - known
    await world.flush()
    world.portion(8)
    await world.flush()
    assert await world.check(NAMES) == len(world.taken) - lost
    assert world.room.memory_bytes == 0


def test_who_holds_most_of_the_memory_is_flushed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that was flushed a moment ago holds little of it, and is left alone."""
    monkeypatch.setattr(module, "MEMORY_BYTES", 100_000)
    monkeypatch.setattr(module, "LEAST_FLUSHED_BYTES", 100)
    world = World(tmp_path)
    beside = world.room.of(ELSEWHERE, world.checkpoint, world.ledger._find)
    beside.note(runs_of([world.plain(NAMES[0], "gb")] * 5), plain=True)
    for _ in range(20):
        world.portion(3)
    assert not world.ledger.is_full()
    while world.room.memory_bytes < 50_000:
        world.portion(8)
    assert world.ledger.is_full()
    assert not beside.is_full()
    world.ledger.give_up()
    beside.note(runs_of([world.plain(NAMES[0], "gb")] * 300), plain=True)
    assert world.room.memory_bytes >= 50_000
    assert beside.is_full()


async def test_the_oldest_files_go_when_there_are_too_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MERGED_CHUNKS", 1)
    world = World(tmp_path, disk_bytes=20_000)
    for _ in range(40):
        world.portion(20)
        await world.flush()
    assert sum(path.stat().st_size for path in world.files()) < 30_000
    found = await world.check(NAMES)
    assert 0 < found < len(world.taken)


async def test_without_disk_there_is_none(tmp_path: Path) -> None:
    world = World(tmp_path, disk_bytes=0)
    world.portion(8)
    await world.flush()
    assert (await world.check(NAMES), world.files(), world.room.memory_bytes) == (0, [], 0)


async def test_a_disk_that_takes_nothing_ends_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is told once, not with each flush, and once more when the disk takes something."""
    caplog.set_level("INFO", "app.ledger")
    world.portion(8)
    await world.flush()

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("app.ledger.blocks.os.write", full)
        for _ in range(3):
            world.portion(8)
            await world.flush()
    assert await world.check(NAMES) == 0
    for _ in range(2):
        world.portion(8)
        await world.flush()
    assert await world.check(NAMES) > 0
    assert world.room.memory_bytes == 0
    told = [record.levelname for record in caplog.records]
    assert told == ["WARNING", "INFO"]


def test_a_row_that_cannot_be_decoded_is_damage() -> None:
    for chunk in (
        b"\x00",
        b"\x01\x91\xc0",
        b"\x02\x00",
        b"\x00\x94\xa1o\x91\x00\x91\x00\x91\xc4\x01x",
    ):
        with pytest.raises(LedgerDamaged):
            rows_of(chunk, HERE)

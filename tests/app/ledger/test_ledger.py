"""What the ledger says it covers is what the partition took there, whatever became of its files."""

from __future__ import annotations

import gc
import os
import tracemalloc
from pathlib import Path

import pytest

from app.ledger import ledger as module
from app.ledger.blocks import LedgerFile, LedgerStretch
from app.ledger.rows import Chunks, KeyRanges, LedgerDamaged, rows_of
from app.wire.arrivals import Arrival, CorrectionArrival, runs_of
from tests.app.ledger.world import ELSEWHERE, HERE, NAMES, World


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


async def test_a_file_of_very_many_small_flushes_is_merged(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Its directory is in memory until then, however little each flush brought."""
    monkeypatch.setattr(module, "MERGED_BLOCKS", 20)
    monkeypatch.setattr(module, "FEW_BLOCKS", 10)
    world = World(tmp_path)
    for _ in range(70):
        world.portion(1)
        await world.flush()
        assert sum(file.blocks for file in world.ledger._files if not file.merged) < 20
    assert sum(file.merged for file in world.ledger._files) == 3
    assert await world.check(NAMES) == len(world.taken) == 70


def test_a_small_flush_keeps_few_bytes_in_memory(tmp_path: Path) -> None:
    """One of one event: where its chunk lies, and up to where it reaches."""
    world, flushes = World(tmp_path), 2_000
    chunks = Chunks()
    chunks.add(runs_of([world.plain(NAMES[0], "gb")]), plain=True)
    file = LedgerFile(tmp_path / "file", merged=False)

    def flush(number: int) -> None:
        at = 10**9 + number
        file.add(file.append([LedgerStretch(at, at + 1, at, at + 1, 10**12 + number)], chunks))

    flush(0)
    tracemalloc.start()
    try:
        for number in range(flushes):
            flush(number + 1)
        gc.collect()
        held = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert held / flushes < 120


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


async def test_only_rows_of_the_meter_key_are_read(world: World) -> None:
    for _ in range(10):
        world.portion(8)
        await world.flush()
    rows = [row for row in world.taken if row.name == NAMES[0]]
    gb = [row for row in rows if isinstance(row, CorrectionArrival) or row.event.code == "gb"]
    assert await world.check([NAMES[0]]) == len(rows)
    assert await world.check([NAMES[0]], ["gb"]) == len(gb) < len(rows)


async def test_what_lies_beyond_offsets_is_read_from_where_it_begins(world: World) -> None:
    """Either log may be the one that has more."""
    for number in range(12):
        rows = [world.plain(NAMES[0], "gb") if number % 3 else world.forwarded(NAMES[0], "gb")]
        world.ledger.note(runs_of(rows), plain=number % 3 > 0)
        await world.flush()
    taken = [row for row in world.taken if isinstance(row, Arrival)]
    for raw in range(world.checkpoint.raw_next + 1):
        for rekeyed in range(world.checkpoint.rekeyed_next + 1):
            found = set[str]()
            for part in await world.ledger.locate(KeyRanges.of(NAMES, None), raw, rekeyed):
                for chunk in await world.ledger.read(part) or ():
                    found |= {
                        row.event.transaction_id
                        for row in rows_of(chunk, HERE)
                        if isinstance(row, Arrival)
                    }
            beyond = {
                row.event.transaction_id
                for row in taken
                if (
                    row.rekeyed_offset >= rekeyed
                    if row.raw_partition == ELSEWHERE
                    else row.raw_offset >= raw
                )
            }
            assert beyond <= found


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
    world.restart()
    world.portion(8)
    await world.flush()
    assert await world.check(NAMES) == len(world.taken) - 5


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
    assert world.room.discards.counts == {("ledger", "another"): 1}


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
    while world.room.memory_bytes < 75_000:
        assert not world.ledger.is_full()
        world.portion(8)
    assert world.ledger.is_full()
    assert not beside.is_full()
    world.ledger.give_up()
    while world.room.memory_bytes < 75_000:
        beside.note(runs_of([world.plain(NAMES[0], "gb")] * 300), plain=True)
    assert beside.is_full()


async def test_what_is_held_is_packed_once_it_is_much(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is read, and written, as if it were not."""
    monkeypatch.setattr(module, "MEMORY_BYTES", 100_000)
    monkeypatch.setattr("app.ledger.blocks._SLAB_BYTES", 1_000)
    while world.ledger._chunks.slab_bytes == 0:
        world.portion(8)
    for _ in range(20):
        world.portion(8)
        assert await world.check(NAMES[:2]) == sum(row.name in NAMES[:2] for row in world.taken)
    chunks = world.ledger._chunks
    assert chunks.buffer
    assert world.room.memory_bytes == chunks.size < chunks.ends[-1]
    assert await world.check(NAMES) == len(world.taken)
    await world.flush()
    assert world.room.memory_bytes == 0
    world.portion(8)
    await world.flush()
    world.restart()
    assert await world.check(NAMES) == len(world.taken)


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
    """It is told once, not with each flush, and once more when the disk has taken all for long.

    What a ledger forgets makes room for a flush or two.
    """
    caplog.set_level("INFO", "app.ledger")
    world.portion(8)
    await world.flush()

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    for _ in range(4):
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
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    monkeypatch.setattr(module, "WELL_AFTER_S", 0)
    for _ in range(2):
        world.portion(8)
        await world.flush()
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


def test_a_row_that_cannot_be_decoded_is_damage() -> None:
    for chunk in (
        b"\x00",
        b"\x01\x91\xc0",
        b"\x02\x00",
        b"\x00\x94\xa1o\x91\x00\x91\x00\x91\xc4\x01x",
    ):
        with pytest.raises(LedgerDamaged):
            rows_of(chunk, HERE)

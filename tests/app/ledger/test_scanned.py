"""A scan reads each row of the ledger once while more comes; what that lacks the logs have."""

from __future__ import annotations

import pytest

from app.bounds.turns import Turns, Work
from app.bounds.work_done import WorkDone
from app.definitions.state import Definitions
from app.runtime.homes import HomePartitions
from app.runtime.scanning.scan import Scan
from app.runtime.scanning.scans import ScanTurn
from app.wire.arrivals import Arrival, CorrectionArrival, plain_arrival, runs_of
from tests.app.ledger.world import HERE, NAMES, Checkpoint, World
from tests.app.runtime.alone import settings_of


def reading(world: World, work: WorkDone | None = None, transaction_id: str = "") -> Scan:
    """Return a scan of some subscriptions from the start of both logs on."""
    definitions = Definitions()
    homes = HomePartitions(definitions, 1)
    scan = Scan(settings_of(), HERE, homes, definitions, work, ledger=world.ledger)
    scan.seek_only(NAMES[:3], transaction_id=transaction_id)
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


async def test_a_scan_for_one_id_reads_few_rows_and_misses_none(world: World) -> None:
    """Also where its event is spelled with an escape, or came by a header."""
    for _ in range(60):
        world.portion(8)
        await world.flush()
    checkpoint = world.checkpoint
    body = (
        rb'{"transaction_id":"t7\u0037","external_subscription_id":"sub-0","code":"gb",'
        rb'"timestamp":"5.5","properties":{}}'
    )
    escaped = plain_arrival(body, checkpoint.append_time_ms, HERE, checkpoint.raw_next, "org")
    assert escaped is not None
    assert escaped.event.transaction_id == "t77"
    checkpoint.raw_next += 1
    world.taken.append(escaped)
    world.ledger.note(runs_of([escaped]), plain=True)
    await world.flush()
    wanted = [
        row
        for row in world.taken
        if isinstance(row, Arrival)
        and (row.event.transaction_id, row.name in NAMES[:3]) == ("t77", True)
    ]
    work, found = WorkDone(), list[Arrival]()
    scan = reading(world, work, "t77")
    async for part in scan.read(checkpoint, ScanTurn(Turns(), Work("scan"))):
        found += part
    assert [row for row in found if row.event.transaction_id == "t77"] == wanted
    assert len(wanted) in (1, 2)
    assert work.counts["query", "ledger_rows"] <= 20


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

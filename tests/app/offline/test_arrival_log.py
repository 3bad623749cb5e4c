"""What the offline fold keeps on disk comes back as it was."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from app.offline import arrival_log
from app.offline.arrival_log import ArrivalLog
from app.wire.arrivals import Arrival
from tests.world.definitions import ORG, SUBSCRIPTION
from tests.world.events import event


def arrival(number: int, external_id: str = SUBSCRIPTION) -> Arrival:
    sent = event("sum", f"t{number}", 1_000 + number, external_id, v="1.50")
    sent = msgspec.structs.replace(
        sent, precise_total_amount_cents=Decimal("0.10"), envelope=b"\x00\xff"
    )
    return Arrival(sent, ORG, number, 3, number, 1, number - 1, number % 2 == 0)


def test_arrivals_come_back_in_order_from_disk_and_from_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(arrival_log, "IN_MEMORY", 3)
    names, log = (SUBSCRIPTION, "other"), ArrivalLog()
    taken = [arrival(number, names[number % 2]) for number in range(11)]
    for start in range(0, len(taken), 2):
        log.take(taken[start : start + 2])
    for name in names:
        pages = list(log.of((ORG, name)))
        assert len(pages) > 2
        wanted = [each for each in taken if each.name == (ORG, name)]
        assert [each for page in pages for each in page] == wanted


@pytest.mark.parametrize("in_memory", [0, 3, 100])
def test_an_arrival_is_found_by_its_position(
    in_memory: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrival_log, "IN_MEMORY", in_memory)
    names, log = (SUBSCRIPTION, "other"), ArrivalLog()
    taken = [arrival(number, names[number % 2]) for number in range(11)]
    for start in range(0, len(taken), 4):
        log.take(taken[start : start + 4])
    for each in taken:
        assert log.at(each.name, each.position) == each
        # Neither one of another name nor what lies between two.
        other = names[each.name[1] == names[0]]
        assert log.at((ORG, other), each.position) is None
        assert log.at(each.name, (*each.position[:3], 0)) is None
    assert log.at((ORG, "nobody"), taken[0].position) is None


def test_a_page_is_read_once_for_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = [arrival(number) for number in range(8)]
    read, reads = ArrivalLog._read, list[Any]()

    def counted(*told: Any) -> Sequence[Arrival]:
        reads.append(told)
        return read(*told)

    monkeypatch.setattr(ArrivalLog, "_read", counted)
    monkeypatch.setattr(arrival_log, "IN_MEMORY", 3)
    log = ArrivalLog()
    log.take(taken[:4])
    log.take(taken[4:])
    for each in taken:
        assert log.at(each.name, each.position) == each
    assert len(reads) == 2


def test_an_unknown_name_has_none() -> None:
    assert [list(page) for page in ArrivalLog().of((ORG, "nobody"))] == [[]]

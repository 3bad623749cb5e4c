"""The newest dead letters: what is not kept of them is known to be missing."""

from __future__ import annotations

from aiokafka.structs import ConsumerRecord

from agents.tail_output import note_left_out, show
from app.kafka.names import TopicPartition
from app.runtime.status import Status

REFUSED = TopicPartition("events-dead-letter", 0)


def refused(at_ms: int) -> ConsumerRecord:
    return ConsumerRecord(*REFUSED, at_ms, at_ms, 1, None, b"{}", None, 0, 2, ())


def test_letters_that_others_push_out_are_missing() -> None:
    status = Status()
    most = status.dead_letters.maxlen or 0
    show(status, "usage-records", [refused(at_ms) for at_ms in range(most)])
    assert status.letters_left_out_ms == -1
    show(status, "usage-records", [refused(most), refused(most + 1)])
    assert status.letters_left_out_ms == 1


def test_letters_that_are_passed_over_may_be_as_new_as_the_oldest_that_is_read() -> None:
    status = Status()
    note_left_out(status, [refused(70), refused(80)], [])
    assert status.letters_left_out_ms == -1
    note_left_out(status, [refused(70), refused(80)], [REFUSED])
    assert status.letters_left_out_ms == 70

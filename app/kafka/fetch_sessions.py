"""Fetch sessions: a broker keeps what it is asked for, and a fetch names only what has changed.

As aiokafka comes, every fetch names every partition, and brokers answer for each. So a worker with
many partitions and nothing to do would be busy with that alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from aiokafka.protocol.fetch import FetchRequest

_KNOWS_SESSIONS: Final = 7
"""First version of the request that has them."""
_BEGINS: Final = 0
"""Epoch of a request that names all partitions, and ends the session that is named."""
_MOST_EPOCHS: Final = (1 << 31) - 1
_NOT_FOUND: Final = 70
"""FETCH_SESSION_ID_NOT_FOUND: the broker was started anew, or has given the session up."""

Place = tuple[str, int]
"""(topic, partition)"""
Asked = dict[Place, tuple[int, int]]
"""Offset and most bytes that are asked for of each partition."""


class FetchSession:
    """What one broker keeps of what one consumer asks it for."""

    def __init__(self) -> None:
        self._id = 0
        self._epoch = _BEGINS
        self._kept: Asked = {}
        self._assignment: object = None

    def asking(self, request: FetchRequest, assignment: object) -> SessionFetch:
        """Return the request as this session sends it.

        Until its answer is there, the broker may know of it or not: another one begins anew. So
        does the first one of an assignment, which knows no ends of partitions yet.
        """
        if assignment is not self._assignment:
            self._assignment, self._epoch = assignment, _BEGINS
        kept = self._kept if self._epoch != _BEGINS else {}
        fetch = SessionFetch(request, self, self._id, self._epoch, kept)
        self._epoch = _BEGINS
        return fetch

    def answered(self, fetch: SessionFetch, response: Any) -> None:
        """Go on from an answer; where the broker keeps nothing, the next request begins anew."""
        if response.API_VERSION < _KNOWS_SESSIONS:
            return
        if response.error_code or (fetch.epoch != _BEGINS and response.session_id != self._id):
            self._id = 0 if response.error_code == _NOT_FOUND else self._id
            return
        self._id = response.session_id
        if self._id:
            self._kept, self._epoch = fetch.asked, fetch.epoch % _MOST_EPOCHS + 1


class SessionFetch(FetchRequest):  # type: ignore[misc]
    """A fetch as a part of a session."""

    def __init__(
        self, request: FetchRequest, session: FetchSession, number: int, epoch: int, kept: Asked
    ):
        self.__dict__.update(vars(request))
        self._session = session
        self._number = number
        self.epoch = epoch
        self._all = request.topics
        self.asked: Asked = {
            (topic, partition): (offset, most)
            for topic, partitions in self._all
            for partition, offset, most in partitions
        }
        changed = [each for each in self.asked.items() if kept.get(each[0]) != each[1]]
        self._changed = _by_topic((topic, (number, *what)) for (topic, number), what in changed)
        self._gone = _by_topic(place for place in kept if place not in self.asked)

    @property
    def topics(self) -> Any:
        """All that is asked for, by topic."""
        return self._all

    def build(self, request_struct_class: Any) -> Any:
        """Return what is sent: what has changed, where the broker knows sessions."""
        known = request_struct_class.API_VERSION >= _KNOWS_SESSIONS
        self._topics = self._changed if known else self._all
        built = super().build(request_struct_class)
        if known:
            built.session_id, built.session_epoch = self._number, self.epoch
            built.forgotten_topics_data = self._gone
        return built

    def answered(self, response: Any) -> None:
        """Tell the session what the broker answers."""
        self._session.answered(self, response)


def _by_topic(pairs: Iterable[tuple[str, Any]]) -> list[tuple[str, list[Any]]]:
    found: dict[str, list[Any]] = {}
    for topic, each in pairs:
        found.setdefault(topic, []).append(each)
    return list(found.items())

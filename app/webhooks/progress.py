"""How far something in order is done, while parts of it are done out of order."""

from __future__ import annotations


class Progress:
    """Places that were begun in ascending order, and the first that is not done."""

    def __init__(self, position: int):
        self.position = position
        """The next place to begin with."""
        self._open: dict[int, int] = {}
        """Parts that are not done by place, in the order in which they were begun."""

    def begin(self, place: int) -> None:
        """Begin a part of a place: the newest, or one after it."""
        self._open[place] = self._open.get(place, 0) + 1
        self.position = max(self.position, place + 1)

    def end(self, place: int) -> None:
        """Be done with a part of a place."""
        left = self._open[place] - 1
        if left:
            self._open[place] = left
        else:
            del self._open[place]

    @property
    def done_to(self) -> int:
        """The first place that is not done: after a crash all goes on from there."""
        return next(iter(self._open), self.position)

    @property
    def is_idle(self) -> bool:
        """Whether nothing is begun that is not done."""
        return not self._open

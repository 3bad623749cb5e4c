"""Pace: how often the partitions of one worker are flushed.

A flush packs each changed cell once, however many events changed it, and is a transaction of its
own. So while very many cells change, or very many partitions are flushed, it pays to wait for more
events; what is durable then lags by some seconds.
"""

from __future__ import annotations

LATER = 5
"""Flushes that wait do so for so many times as long as others."""

MANY = 10_000
"""Changes a second of all partitions of a worker beyond which flushes wait: to pack and send them
takes about a tenth of a core."""

FEW = 2_500
"""Changes a second below which they wait no longer."""

A_FLUSH = 250
"""A flush takes some 2.5 ms besides what it packs, as long as so many changes: 51 flushes a second
fewer took 13 % of a core off a worker of 64 partitions."""

_SOON_S, _WINDOW_S = 1.0, 5.0
"""For how long changes are counted to see that they are many, and that they are few again: flushes
that wait are seldom."""


class FlushPace:
    """How many changes the flushes of a worker have packed of late."""

    def __init__(self) -> None:
        self._since_s = 0.0
        self._changes = 0
        self.is_slow = False
        """Whether packing takes so much of the time that flushes had better wait."""

    def note(self, changes: int, now_s: float) -> None:
        """Note that a flush has packed so many changes."""
        self._changes += A_FLUSH + changes
        passed_s = now_s - self._since_s
        if passed_s >= (_WINDOW_S if self.is_slow else _SOON_S):
            each_s = self._changes / passed_s
            # Waiting makes them fewer, which is no reason to hurry again.
            self.is_slow = each_s >= (FEW if self.is_slow else MANY)
            self._since_s, self._changes = now_s, 0

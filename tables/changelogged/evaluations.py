"""Evaluations: what the metric of each alert came to when it was looked at last."""

from __future__ import annotations

import msgspec

from tables.changelogged.checksum import Changelogged

AlertOf = tuple[str, str]
"""(subscription id, alert id)"""


class Evaluation(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The newest evaluation of an alert for a subscription."""

    start_ms: int
    """Start of the period that the value is of."""
    units: str
    cut_ms: int


class EvaluationTable(Changelogged):
    """Newest evaluations of one partition."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: dict[AlertOf, Evaluation] = {}
        self.newest_ms = -1
        """Newest grid cut at which anything was evaluated; -1: none was."""

    def put(self, name: AlertOf, evaluation: Evaluation) -> None:
        """Remember an evaluation; it goes out with the next flush."""
        known = self.rows.get(name)
        before = None if known is None else _encode(known)
        self._put(_encode(name), before, _encode(evaluation))
        self._take(name, evaluation)

    def drop(self, name: AlertOf) -> None:
        """Drop an evaluation for good, unless it alone tells which grid cut was taken last."""
        known = self.rows[name]
        if known.cut_ms < self.newest_ms:
            del self.rows[name]
            self._put(_encode(name), _encode(known), None)

    def load(self, key: bytes, value: bytes) -> None:
        """Take over one changelog record."""
        self._take(_decode_name(key), _decode(value))
        self.sum = self.sum.replaced(key, None, value)

    def _take(self, name: AlertOf, evaluation: Evaluation) -> None:
        self.rows[name] = evaluation
        self.newest_ms = max(self.newest_ms, evaluation.cut_ms)


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Evaluation).decode
_decode_name = msgspec.msgpack.Decoder(AlertOf).decode

"""A record of the definitions log: one definition to be applied."""

from __future__ import annotations

from sys import intern
from typing import Any, Final

import msgspec
from msgspec.structs import force_setattr

from app.bounds.nesting import PARSED_LEVELS, deeper_than

MAX_COMMAND_BYTES: Final = 4_000_000
"""Encoded. A request is smaller, but every object in it is given an id."""


class UnreadableCommand(ValueError):
    """The bytes are not a command."""


def verbatim(number: str) -> msgspec.Raw:
    """Return a fraction of JSON as it is spelled."""
    return msgspec.Raw(number.encode())


class Command(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One definition to be applied. `id` is the command's own."""

    type: str
    id: str
    organization_id: str
    payload: dict[str, Any]
    changed_by: str | None = None
    """Name of the key that it came with. Nothing that is published says it."""

    def encode(self) -> bytes:
        """Return compact JSON; numbers keep their digits."""
        return _ENCODER.encode(self)

    @staticmethod
    def decode(value: bytes) -> Command:
        """Read a record; fractions become `msgspec.Raw`, which prints as it was spelled.

        Raises `UnreadableCommand`.
        """
        if deeper_than(value, PARSED_LEVELS):
            raise UnreadableCommand("it nests deeper than a parser may be asked to follow")
        try:
            command = _DECODER.decode(value)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise UnreadableCommand(str(error)) from error
        # Very many records, and what is made of them, have the same.
        force_setattr(command, "organization_id", intern(command.organization_id))
        return command


_ENCODER = msgspec.json.Encoder(decimal_format="number")
_DECODER = msgspec.json.Decoder(Command, float_hook=verbatim)

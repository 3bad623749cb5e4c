"""The log of a process: one line for what happens, as text or as JSON, with its facts as fields.

    log.info("Partition %s is restored", number, extra=facts("restore", partition=number))

Neither a message nor a fact holds a key, a password or what an event says. Source: bounded-work
§3.4.
"""

from __future__ import annotations

import json
import logging
import re
import traceback
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Literal

Event = Literal[
    "start",
    "ready",
    "rebalance",
    "assignment",
    "restore",
    "loss",
    "return",
    "set_aside",
    "lifted",
    "definition",
    "keys",
    "stop",
    "loop_held",
    "client",
    "note",
]
"""What a line is about. `client`: a library says it; `note`: one of ours, about anything else."""

Fact = str | int | float | Sequence[int] | Sequence[str] | Mapping[str, str]

STARTING_MS = 120_000
_COORDINATOR = "aiokafka.consumer.group_coordinator"
_START_NOISE = (
    (_COORDINATOR, "", "GroupCoordinatorNotAvailable"),
    (_COORDINATOR, "Marking the coordinator dead", ""),
    ("aiokafka.cluster", "No broker metadata found", ""),
    ("aiokafka", "Unable connect to node", "StaleMetadata"),
)
"""(logger, how its line begins, what the line holds)."""
_TOP = __name__.partition(".")[0]
_OURS = (_TOP, "agents", "tables", "tests", "__main__")
FAUST_SERVICES = tuple(f"{_TOP}.kafka.{name}" for name in ("batch_consumer", "faust_app", "quiet"))
"""Our modules with services of Faust, which tell its steps: loud as the clients are."""
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_BARE = re.compile(r"[^\s\"=]+")
_KINDS = 1_000
_QUOTING = ("builtins", "decimal", "json.decoder", "msgspec")

_ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


def facts(event: Event, **fields: Fact) -> dict[str, object]:
    """Return what a line is about and its fields, as `extra` of a call of the standard library."""
    return {"event": event, "facts": fields}


def told(error: BaseException) -> str:
    """Word an error without what it may quote of an event: those of the language quote values."""
    kind = type(error)
    if kind.__module__ not in _QUOTING or isinstance(error, OSError):
        return repr(error)
    frames = traceback.extract_tb(error.__traceback__)
    return f"{kind.__name__}{f' at {frames[-1].name}:{frames[-1].lineno}' if frames else ''}"


def configure(level_name: str, log_format: str, repeated_s: float) -> None:
    """Log to standard error; what a client says again only every `repeated_s`."""
    level = logging.getLevelNamesMapping()[level_name.upper()]
    handler = logging.StreamHandler()
    handler.setFormatter(Json() if log_format == "json" else Text())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    if level > logging.DEBUG:
        # Faust, its services among our modules, and the clients tell every step at `info`.
        for name in ("aiokafka", "aiohttp", "asyncio", "faust", "mode", "redis", *FAUST_SERVICES):
            logging.getLogger(name).setLevel(max(level, logging.WARNING))
        handler.addFilter(no_start_noise)
        handler.addFilter(Repeats(repeated_s))


class _Lines(logging.Formatter):
    """What both have in common."""

    def formatException(self, ei: _ExcInfo) -> str:  # noqa: N802  # its name there
        """Return the frames of an error and its causes, without the values they may quote."""
        parts, error = list[str](), ei[1]
        while error is not None:
            parts.append("".join(traceback.format_tb(error.__traceback__)) + told(error))
            error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        return "\nand then\n".join(reversed(parts))


class Text(_Lines):
    """A line for people; the fields as `name=value` at its end."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # its name there
        """Return the line without the traceback, which follows on lines of its own."""
        fields = "".join(f" {name}={_as_text(fact)}" for name, fact in _facts(record).items())
        text = _CONTROLS.sub(lambda found: f"\\x{ord(found[0]):02x}", record.message)
        return f"{_time(record)} {record.levelname} {record.name}: {text}{fields}"


class Json(_Lines):
    """An object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line as JSON; the traceback, if there is one, is in `traceback`."""
        line: dict[str, object] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "event": getattr(record, "event", "note" if _is_ours(record) else "client"),
            "message": record.getMessage(),
            "logger": record.name,
            **_facts(record),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


class Repeats(logging.Filter):
    """Lets pass a line of a library and level only now and then; one with a traceback by its place.

    With a broker away each of many clients tries ten times a second. Each part of a client tells of
    it in words of its own. What the loss means a line of ours says.
    """

    def __init__(self, repeated_s: float) -> None:
        super().__init__()
        self._repeated_s = repeated_s
        self._said: dict[tuple[str, int, str], tuple[float, int]] = {}
        """When a kind was last let pass, and how many lines were not since."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether to log it; say how many of its kind were left out."""
        if _is_ours(record):
            return True
        raised = record.exc_info[0] if record.exc_info else None
        kind = record.name.partition(".")[0], record.levelno, ""
        if raised is not None:
            # The place in its source that says it: texts differ in their values.
            kind = record.name, record.lineno, raised.__name__
        at_s, left_out = self._said.get(kind, (-self._repeated_s, 0))
        if record.created - at_s < self._repeated_s:
            self._said[kind] = at_s, left_out + 1
            return False
        if len(self._said) >= _KINDS:
            self._said.clear()
        self._said[kind] = record.created, 0
        if left_out:
            record.msg, record.args = f"{record.getMessage()} ({left_out} lines more)", ()
        return True


def no_start_noise(record: logging.LogRecord) -> bool:
    """Drop what clients say of a broker in the first seconds of its run, which they wait out.

    It answers before it names itself among the brokers, and has no coordinator until the topic of
    committed offsets, made when it is first asked for, is there.
    """
    if record.relativeCreated >= STARTING_MS:
        return True
    text = record.getMessage()
    return not any(
        record.name == logger and text.startswith(start) and part in text
        for logger, start, part in _START_NOISE
    )


def _is_ours(record: logging.LogRecord) -> bool:
    return record.name not in FAUST_SERVICES and record.name.partition(".")[0] in _OURS


def _facts(record: logging.LogRecord) -> dict[str, Any]:
    found: dict[str, Any] = getattr(record, "facts", {})
    return found


def _time(record: logging.LogRecord) -> str:
    at = datetime.fromtimestamp(record.created, UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _as_text(fact: Fact) -> str:
    """Return the fact bare where that is unmistakable, else as JSON."""
    if isinstance(fact, Mapping):
        fact = [f"{name}:{value}" for name, value in fact.items()]
    text = str(fact) if isinstance(fact, str | int | float) else ",".join(map(str, fact))
    return text if _BARE.fullmatch(text) and text.isprintable() else json.dumps(text)

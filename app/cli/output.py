"""What commands write: a terminal shows what others named, and is never told to do anything by it.

Everything goes out through here. Ids and names are whatever somebody sent; escape sequences in them
would move the cursor, set the title or answer in the name of who looks (bounded-work §2.6 L34).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterable, Sequence
from errno import EPIPE
from typing import IO, Any, Final

import click
import msgspec
from rich.console import Console, ConsoleOptions, RenderResult
from rich.markup import escape
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

# With C1, which some terminals take for escapes too, and what turns the direction of writing.
_CONTROLS: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
_BYTES_OF_C1: Final = re.compile(b"\x7f|\xc2[\x80-\x9f]")


def shown(text: str) -> str:
    """Return the text with its control characters spelled out; lines and tabs stay."""
    return _CONTROLS.sub(_spelled, text)


def shown_json(text: str) -> str:
    """Return JSON of the same value: what JSON itself lets stand is spelled out too."""
    return _CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def echo(message: object = "", *, err: bool = False, nl: bool = True) -> None:
    """Print a line."""
    click.echo(shown(str(message)), err=err, nl=nl)


def print_json(value: object) -> None:
    """Print indented JSON; exact decimals as text."""
    text = msgspec.json.format(msgspec.json.encode(value, enc_hook=str), indent=2)
    echo(shown_json(text.decode()))


class Drawn:
    """Something that rich draws, its own control sequences aside."""

    def __init__(self, drawn: Any):
        self._drawn = drawn

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for text, style, control in console.render(self._drawn, options):
            yield Segment(text if control else shown(text), style, control)


class Terminal(Console):
    """Where tables go."""

    def __init__(self, **options: Any):
        # An id `:heart:` is none: nothing in a cell is a name of a picture.
        super().__init__(emoji=False, **options)

    def print(self, *objects: Any, **more: Any) -> None:
        """Draw them, without what others would have a terminal do."""
        super().print(*map(Drawn, objects), **more)

    def on_broken_pipe(self) -> None:
        """Let the command end as any other that nobody reads."""
        raise BrokenPipeError(EPIPE, "Nobody reads it")


def table_of(
    names: Iterable[str],
    rows: Iterable[Sequence[str | Text]],
    *,
    title: str | None = None,
    right: Container[str] = (),
    header: bool = True,
) -> Table:
    """Return a table in which nothing is cut short, however narrow the terminal is.

    `right`: the columns whose cells stand at their right.
    """
    table = Table(title=title, title_justify="left", show_header=header)
    for name in names:
        table.add_column(name, overflow="fold", justify="right" if name in right else "left")
    for row in rows:
        # What producers and users named is shown as it is, never read as markup.
        table.add_row(*(escape(cell) if isinstance(cell, str) else cell for cell in row))
    return table


def lines_to(output: IO[bytes]) -> Callable[[bytes], object]:
    """Write JSON lines as they are, but to a terminal spelled out."""
    if not output.isatty():
        return output.write

    def write(line: bytes) -> object:
        text = _BYTES_OF_C1.sub(lambda found: b"\\u%04x" % ord(found[0].decode()), line)
        return output.write(text)

    return write


def _spelled(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"

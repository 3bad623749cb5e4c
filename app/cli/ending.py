"""How a command ends that was interrupted, or could not write or read a file: by one line."""

from __future__ import annotations

import errno
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO, Any, Final

import click

from app.cli.exits import NO_VERDICT

_INTERRUPTED: Final = 130
"""Exit code after Ctrl-C, as shells have it."""
_NOBODY_READS: Final = 141
"""Exit code where whoever read a pipe is gone, as shells have it after SIGPIPE."""
_STANDARD_OUTPUT: Final = "standard output"
_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


@contextmanager
def told_at_the_end() -> Iterator[None]:
    """Write all that was printed before the end is told; raise click's `Exit` if that fails.

    A failure without a cause by the system is a defect of ours, and keeps its traceback.
    """
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except KeyboardInterrupt:
        _tell_of_interrupt()
        raise click.exceptions.Exit(_INTERRUPTED) from None
    except OSError as error:
        if error.errno is None:
            raise
        place = error.filename or _unwritable_output(error)
        if error.errno == errno.EPIPE:
            raise click.exceptions.Exit(_NOBODY_READS) from error
        _tell(f"{place}: {error.strerror}" if place else str(error))
        raise click.exceptions.Exit(NO_VERDICT) from error


def _tell_of_interrupt() -> None:
    with suppress(ValueError):
        # Some send it twice at once. Later on it ends what does not end by itself.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    with suppress(OSError):
        sys.stderr.write("Interrupted.\n")
    with suppress(ValueError):
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def _tell(message: str) -> None:
    from app.cli.output import echo

    with suppress(OSError):
        echo(f"Error: {message}", err=True)


def _unwritable_output(error: OSError) -> str:
    """Return what takes no more; nothing if it is no file of ours."""
    try:
        sys.stdout.flush()
    except OSError:
        with suppress(OSError):
            # Or the interpreter tries once more, and has another exit code.
            sys.stdout.close()
        return _STANDARD_OUTPUT
    # It may have kept nothing to try again.
    return f"{_STANDARD_OUTPUT} or a temporary file" if error.errno in _FULL else ""


@contextmanager
def named_in_failures(file: IO[Any]) -> Iterator[None]:
    """Write all of a file within the block; what fails names it, which a write does not."""
    try:
        yield
        file.flush()
    except OSError as error:
        name = str(getattr(file, "name", ""))
        is_ours = not name.startswith("<")
        if error.filename is None and error.errno is not None:
            error.filename = name if is_ours else _STANDARD_OUTPUT
        if is_ours:
            with suppress(OSError):
                # Or whoever closes it writes what is left, and fails without a name.
                file.close()
        raise

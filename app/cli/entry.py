"""`meter` as a shell starts it: Ctrl-C ends it by one line from the first import to the last."""

from __future__ import annotations

import signal
import sys


def meter() -> None:
    """Run the command."""
    try:
        from app.cli.main import cli

        cli()
    except KeyboardInterrupt:
        # Another one ends it at once, without a traceback of how it ended.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        sys.stderr.write("Interrupted.\n")
        sys.exit(130)
    finally:
        signal.signal(signal.SIGINT, signal.SIG_DFL)

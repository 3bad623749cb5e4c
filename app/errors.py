"""What can keep a local server from running, said so that a person knows what to do."""

from __future__ import annotations


class StackError(Exception):
    """A server could not be started; the text is the whole message to the user."""

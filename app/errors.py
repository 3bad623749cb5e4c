"""What can keep a server or a worker from running, said so that a person knows what to do."""

from __future__ import annotations


class StackError(Exception):
    """A server could not be started; the text is the whole message to the user."""


class SettingRefused(StackError):
    """A setting is of no use, or lacks another, or names a file that cannot be used."""


class TopicRefused(Exception):
    """A topic that exists cannot be worked with; the text says what to change."""

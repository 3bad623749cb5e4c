"""TOML as it is written here, so that whoever reads it gets each text back."""

from __future__ import annotations


def toml_string(text: str) -> str:
    """Return a text as a basic string; what does not print is escaped."""
    return f'"{"".join(map(_escaped, text))}"'


def _escaped(character: str) -> str:
    if character.isprintable() and character not in '"\\':
        return character
    code = ord(character)
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"

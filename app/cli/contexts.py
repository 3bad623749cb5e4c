"""Contexts: workers by name, with the file of the key that asks them. No key is kept here."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Final, NamedTuple

import click

from app.cli.api_keys import key_of_file
from app.cli.exits import NotThere
from app.toml import toml_string

OPTION: Final = f"{__name__}.option"
"""Under this name a command keeps what `--context` or METER_CONTEXT says."""


class Context(NamedTuple):
    """A worker to ask, and how."""

    url: str
    key_file: str | None = None

    def key(self) -> str | None:
        """Return the key; None: it is asked without one."""
        if self.key_file is None:
            return None
        return key_of_file(Path(self.key_file).expanduser())


class Contexts(NamedTuple):
    """All that the file says."""

    chosen: str | None
    known: dict[str, Context]

    def named(self, name: str) -> Context:
        """Return the context of a name. Raises: there is none."""
        from difflib import get_close_matches

        if name in self.known:
            return self.known[name]
        near = get_close_matches(name, self.known, n=1)
        more = f" Did you mean {near[0]!r}?" if near else " `meter context add` makes one."
        raise NotThere(f"There is no context {name!r} in {config_file()}.{more}")


def config_file() -> Path:
    """Return where contexts are kept."""
    base = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    return Path(base).expanduser() / "meterstream" / "config.toml"


def read_contexts() -> Contexts:
    """Return what the file says; nothing if there is none."""
    path = config_file()
    try:
        found = tomllib.loads(path.read_text("utf-8"))
        known = {
            name: Context(str(one["url"]), one.get("key_file"))
            for name, one in found.get("contexts", {}).items()
        }
    except FileNotFoundError:
        return Contexts(None, {})
    except (
        OSError,
        tomllib.TOMLDecodeError,
        UnicodeDecodeError,
        KeyError,
        AttributeError,
    ) as error:
        raise click.ClickException(f"{path} cannot be read: {error!r}") from error
    return Contexts(found.get("context"), known)


def write_contexts(contexts: Contexts) -> None:
    """Write the file anew, for its owner alone."""
    lines = [] if contexts.chosen is None else [f"context = {toml_string(contexts.chosen)}", ""]
    for name, one in sorted(contexts.known.items()):
        lines += [f"[contexts.{toml_string(name)}]", f"url = {toml_string(one.url)}"]
        if one.key_file is not None:
            lines.append(f"key_file = {toml_string(one.key_file)}")
        lines.append("")
    path = config_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(".new")
    new.write_text("\n".join(lines), "utf-8")
    new.chmod(0o600)
    new.replace(path)


def current() -> Context | None:
    """Return the context that the command is run in: the named one, else the one in use."""
    running = click.get_current_context(silent=True)
    named = None if running is None else running.meta.get(OPTION)
    if named is None and not config_file().is_file():
        return None
    contexts = read_contexts()
    name = named or contexts.chosen
    return None if name is None else contexts.named(name)

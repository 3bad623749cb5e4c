"""Checks of settings: what the environment says, before anything is asked."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from app.api.http.hosts import require_guarded, require_peer_secret
from app.cli.doctor.finding import Finding
from app.definitions.state import Definitions
from app.errors import StackError
from app.runtime.agreement import differing_settings, settings_record
from app.settings import Settings, environment_names, unknown_variables

AREA = "settings"
CHECKS: Final = ((AREA, "names"), (AREA, "network"), (AREA, "peer secret"), (AREA, "log"))


def checked(settings: Settings, environment: Mapping[str, str]) -> Iterator[Finding]:
    """Yield what can be told without a server."""
    yield from _misspelt(environment)
    yield from _named_twice(environment)
    for check, require in (("network", require_guarded), ("peer secret", require_peer_secret)):
        yield _required(check, require, settings)
    if settings.profile == "production":
        yield _production(
            "keys", settings.api_keys or settings.api_keys_file, "METER_API_KEYS_FILE"
        )
        yield _production("address", settings.advertised_url, "METER_ADVERTISED_URL")


def _misspelt(environment: Mapping[str, str]) -> Iterator[Finding]:
    known = [name for field in Settings.model_fields for name in environment_names(field)]
    unknown = unknown_variables(environment)
    for name in unknown:
        near = difflib.get_close_matches(name, known, n=1)
        mend = f"Did you mean {near[0]}?" if near else "Unset it."
        yield Finding(AREA, "names", "fail", f"{name} sets nothing.", mend)
    if not unknown:
        yield Finding(AREA, "names", "ok", "Every METER_* variable sets something.")


def _named_twice(environment: Mapping[str, str]) -> Iterator[Finding]:
    for field in Settings.model_fields:
        given = [name for name in environment_names(field) if name in environment]
        if len({environment[name] for name in given}) > 1:
            told = " and ".join(given)
            mend = f"{given[0]} holds. Unset {', '.join(given[1:])}."
            yield Finding(AREA, "names", "warn", f"{told} name one setting differently.", mend)


def _required(check: str, require: Callable[[Settings], None], settings: Settings) -> Finding:
    try:
        require(settings)
    except StackError as error:
        found, _, mend = str(error).partition(". ")
        return Finding(AREA, check, "fail", f"{found}.", mend)
    return Finding(AREA, check, "ok", "A worker starts with it.")


def _production(check: str, value: object, variable: str) -> Finding:
    if value:
        return Finding(AREA, check, "ok", f"{variable} or its kin is set.")
    return Finding(
        AREA, check, "fail", f"A production worker needs {variable}.", f"Set {variable}."
    )


def agreed(settings: Settings, definitions: Definitions) -> Finding:
    """Return whether the environment agrees with the settings in the log."""
    if not definitions.settings:
        return Finding(AREA, "log", "ok", "The log has no settings yet; a worker writes them.")
    in_force, wanted = definitions.settings_at(), settings_record(settings)
    differing = differing_settings(settings, in_force)
    if not differing:
        found = (
            f"The log has the same, of fold version {in_force.fold_version} and tzdata "
            f"{in_force.tzdata_version}."
        )
        return Finding(AREA, "log", "ok", found)
    told = ", ".join(
        f"{name} {getattr(wanted, name)!r} here and {getattr(in_force, name)!r} in the log"
        for name in differing
    )
    mend = "Set METER_* as the log has them, or run `meter settings apply`."
    return Finding(AREA, "log", "fail", f"{told}.", mend)

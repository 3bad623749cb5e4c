"""The settings that shape bytes: what this worker has of them, against what the log says."""

from __future__ import annotations

import msgspec

from app.billing_periods.timezones import tzdata_version
from app.bounds.limits import INPUT_LIMITS
from app.definitions.model import FOLD_VERSION, SettingsRecord
from app.settings import SHAPES_BYTES, Settings

_MUST_AGREE = (*SHAPES_BYTES, "fold_version", "tzdata_version")


def settings_record(settings: Settings) -> SettingsRecord:
    """Return the first settings record as the environment would have it."""
    values = {name: getattr(settings, name) for name in SHAPES_BYTES}
    ours = {
        "fold_version": FOLD_VERSION,
        "tzdata_version": tzdata_version(),
        "input_limits": INPUT_LIMITS,
    }
    return msgspec.convert({**values, **ours}, SettingsRecord)


def differing_settings(settings: Settings, in_force: SettingsRecord) -> list[str]:
    """Return names of the settings that this worker has otherwise than the log.

    An older fold version of the log is none: a newer program keeps to it until a record raises it.
    """
    wanted = settings_record(settings)
    wanted = msgspec.structs.replace(
        wanted, fold_version=min(wanted.fold_version, in_force.fold_version)
    )
    return [name for name in _MUST_AGREE if getattr(wanted, name) != getattr(in_force, name)]

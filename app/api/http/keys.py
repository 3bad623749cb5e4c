"""The keys of the API: from the environment, or from a file that is read again while it runs.

A file holds digests only. An organization may have any number of keys, so that a new key replaces
an old one in steps: add the new key, move the clients, wait until the old key is unused, remove it.
Source: bounded-work §4.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import tomllib
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from app.bounds.limits import LEAST_SECRET_CHARACTERS
from app.errors import SettingRefused
from app.log import facts
from app.settings import ApiKey, Settings
from app.toml import toml_string

log = logging.getLogger(__name__)

EVERY_ORGANIZATION = "*"
READ_AGAIN_S = 5.0
_SECRET_BYTES = 32

KeyAccess = Literal["read", "write", "operator"]
"""`write` includes reading. `operator` stands for all organizations."""


class KeysRefused(SettingRefused):
    """The file of keys or a key of the environment is not valid."""


class Key(BaseModel):
    """One key: its digest, its organization and its rights."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: str = Field(min_length=1, max_length=255)
    """Name of the key; the log of definitions keeps it with each change."""
    organization_id: str = Field(min_length=1, max_length=1024)
    access: KeyAccess = "write"
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    expires_at: datetime | None = None
    requests_per_s: float | None = Field(None, gt=0)
    events_per_s: float | None = Field(None, gt=0)

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        if (self.organization_id == EVERY_ORGANIZATION) != (self.access == "operator"):
            raise ValueError('access is "operator" where organization_id is "*", and only there')
        if self.expires_at is not None and self.expires_at.tzinfo is None:
            raise ValueError("expires_at needs a zone, as 2027-01-31T00:00:00Z")
        return self

    @property
    def expires_at_s(self) -> float | None:
        """Seconds since the epoch; None: never."""
        return None if self.expires_at is None else self.expires_at.timestamp()


def digest_of(secret: str) -> str:
    """Return the digest of a key, as the file keeps it."""
    return sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


def new_key(name: str, organization_id: str, access: KeyAccess) -> tuple[str, str]:
    """Return (key, entry for the file of keys); the key itself is kept nowhere."""
    secret = secrets.token_urlsafe(_SECRET_BYTES)
    key = Key(name=name, organization_id=organization_id, access=access, sha256=digest_of(secret))
    fields = ("name", "organization_id", "access", "sha256")
    lines = (f"{field} = {toml_string(getattr(key, field))}\n" for field in fields)
    return secret, "".join(["[[keys]]\n", *lines])


def of_environment(keys: Sequence[ApiKey]) -> tuple[Key, ...]:
    """Return the keys of METER_API_KEYS, named by their place."""
    return tuple(
        Key(
            name=f"METER_API_KEYS[{number}]",
            organization_id=key.organization_id,
            access=key.access,
            sha256=digest_of(key.key.get_secret_value()),
            requests_per_s=key.requests_per_s,
            events_per_s=key.events_per_s,
        )
        for number, key in enumerate(keys)
    )


def read_keys(file: Path) -> tuple[Key, ...]:
    """Return the keys of a TOML file with `[[keys]]` tables. Raises `KeysRefused`."""
    try:
        found = tomllib.loads(file.read_text())
        unknown = found.keys() - {"keys"}
        if unknown:
            raise ValueError(f"{min(unknown)!r} is none of its tables, which are [[keys]]")
        entries = found.get("keys", [])
        if not isinstance(entries, list):
            raise ValueError("keys is no table, which is written [[keys]]")
        keys = tuple(_key_of(number, entry) for number, entry in enumerate(entries, 1))
        for field in ("name", "sha256"):
            counts = Counter(getattr(key, field) for key in keys)
            # They stand in the order in which each was there first.
            twice = next((value for value, count in counts.items() if count > 1), None)
            if twice is not None:
                raise ValueError(f"{field} {twice!r} stands there twice")
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise KeysRefused(
            f"METER_API_KEYS_FILE: the keys of {file} cannot be used: {why}. Correct the file, or "
            "name another"
        ) from error
    return keys


def _key_of(number: int, entry: object) -> Key:
    """Return a key as the file has it. Raises ValueError, which says in which table it is."""
    try:
        return Key.model_validate(entry)
    except ValidationError as error:
        detail = error.errors(include_url=False, include_input=False)[0]
        field = "".join(f"{each}: " for each in detail["loc"])
        named = entry.get("name") if isinstance(entry, dict) else None
        where = f"[[keys]] number {number}" + (f", named {named!r}" if named else "")
        raise ValueError(
            f"{where}: {field}{detail['msg'].removeprefix('Value error, ')}"
        ) from error


def keys_of(settings: Settings) -> tuple[Key, ...]:
    """Return all keys that a worker begins with. Raises `KeysRefused`."""
    of_file = () if settings.api_keys_file is None else read_keys(settings.api_keys_file)
    if settings.profile == "production":
        short = [
            number
            for number, key in enumerate(settings.api_keys)
            if len(key.key.get_secret_value()) < LEAST_SECRET_CHARACTERS
        ]
        if short:
            raise KeysRefused(
                f"Key {short[0]} of METER_API_KEYS is shorter than {LEAST_SECRET_CHARACTERS} "
                "characters, so it may be guessed. `meter keys new` makes one"
            )
        if not (of_file or settings.api_keys):
            raise KeysRefused(
                "There is no key, so nobody could ask this worker anything. `meter keys new` makes "
                "one; name the file that it is put in by METER_API_KEYS_FILE"
            )
    return (*of_environment(settings.api_keys), *of_file)


class KeysFile:
    """Follows the file: changed keys hold within seconds, broken ones change nothing."""

    def __init__(self, settings: Settings, prepare: Callable[[Sequence[Key]], Callable[[], None]]):
        """Follow the file of the settings.

        `prepare`, which is asked in another thread, returns what uses keys from then on.
        """
        self._settings = settings
        self._prepare = prepare
        self._seen = self._stamp()
        self._asked = asyncio.Event()
        self.valid = True
        """True: the file was valid when it was looked at last."""

    def look(self) -> None:
        """Read the file now, also if it seems unchanged."""
        self._asked.set()

    async def follow(self) -> None:
        """Look every few seconds, until cancelled."""
        while True:
            try:
                async with asyncio.timeout(READ_AGAIN_S):
                    await self._asked.wait()
            except TimeoutError:
                pass
            stamp = self._stamp()
            if stamp == self._seen and not self._asked.is_set():
                continue
            self._asked.clear()
            self._seen = stamp
            await self._read()

    async def _read(self) -> None:
        try:
            # Very many keys take long.
            count, use = await asyncio.to_thread(self._prepared)
        except KeysRefused as error:
            self.valid = False
            text = "keys refused, those before stay in force: %s"
            log.error(text, error, extra=facts("keys", read=False))
            return
        self.valid = True
        use()
        log.info("keys read again: %d", count, extra=facts("keys", read=True, keys=count))

    def _prepared(self) -> tuple[int, Callable[[], None]]:
        """Return how many keys there are, and what uses them from then on."""
        keys = keys_of(self._settings)
        return len(keys), self._prepare(keys)

    def _stamp(self) -> tuple[int, int, int] | None:
        file = self._settings.api_keys_file
        try:
            found = None if file is None else file.stat()
        except OSError:
            return None
        return None if found is None else (found.st_mtime_ns, found.st_size, found.st_ino)

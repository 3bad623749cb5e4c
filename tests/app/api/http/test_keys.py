"""Keys: read from a file of digests, again and again, and refused where they cannot be used."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from app.api.http import keys
from app.api.http.keys import Key, KeysFile, KeysRefused, digest_of, keys_of, new_key, read_keys
from app.cli.main import cli
from app.settings import ApiKey, Settings
from tests.world.live.servers import MakeSettings
from tests.world.waiting import until

ENTRY = {"name": "ours", "organization_id": "acme", "access": "read", "sha256": digest_of("s")}

MANY = 300


def toml(*entries: dict[str, Any]) -> str:
    tables = ("".join(f'{k} = "{v}"\n' for k, v in entry.items()) for entry in entries)
    return "".join(f"[[keys]]\n{table}" for table in tables)


def test_a_new_key_is_found_again_by_its_digest(tmp_path: Path) -> None:
    file = tmp_path / "keys.toml"
    name = 'tab\t"quoted" \\ ü \x7f \U000e0001'
    secret, entry = new_key(name, "acme", "write")
    other, second = new_key("op", "*", "operator")
    file.write_text(entry + second)
    first, operator = read_keys(file)
    assert (first.name, first.organization_id) == (name, "acme")
    assert (first.sha256, operator.sha256) == (digest_of(secret), digest_of(other))
    assert secret not in file.read_text()
    assert len(secret) >= 43


def test_the_command_prints_the_key_apart_from_its_entry(tmp_path: Path) -> None:
    asked = ["keys", "new", "--name", "ci", "--organization", "acme", "--access", "read"]
    ran = CliRunner().invoke(cli, asked)
    assert ran.exit_code == 0, ran.output
    file = tmp_path / "keys.toml"
    file.write_text(ran.stdout)
    (key,) = read_keys(file)
    secret = ran.stderr.split()[-1]
    assert (key.name, key.access, key.sha256) == ("ci", "read", digest_of(secret))
    wrong = CliRunner().invoke(cli, [*asked[:-1], "operator"])
    assert wrong.exit_code == 2
    assert 'organization_id is "*"' in wrong.output


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("keys = 1", "keys"),
        ("[[keys]", "cannot be used"),
        ("[[key]]\nname = 'x'", "'key' is none of its tables"),
        (toml(ENTRY | {"access": "admin"}), "access"),
        (toml(ENTRY | {"sha256": "abc"}), "sha256"),
        (toml(ENTRY) + "\nrequests_per_s = nan\n", "finite"),
        (toml(ENTRY | {"secret": "abc"}), "secret"),
        (toml(ENTRY | {"organization_id": "*"}), "operator"),
        (
            toml(ENTRY, {"name": "second", "organization_id": "acme"}),
            r"METER_API_KEYS_FILE: .* number 2, named 'second': sha256: Field required[.] Correct",
        ),
        (toml(ENTRY | {"access": "operator"}), "operator"),
        (toml(ENTRY | {"expires_at": "2027-01-31T00:00:00"}), "zone"),
        (toml(ENTRY, ENTRY | {"name": "again"}), "sha256"),
        (toml(ENTRY, ENTRY | {"sha256": digest_of("t")}), "name 'ours' stands there twice"),
        (
            toml(*(ENTRY | {"name": n, "sha256": digest_of(n * k)} for k, n in enumerate("baab"))),
            "name 'b' stands there twice",
        ),
    ],
)
def test_a_file_that_cannot_be_used_says_why(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "keys.toml"
    file.write_text(text)
    with pytest.raises(KeysRefused, match=said):
        read_keys(file)


def production(**values: Any) -> Settings:
    return Settings(profile="production", **values)


def test_production_wants_keys_that_nobody_guesses(tmp_path: Path) -> None:
    with pytest.raises(KeysRefused, match="There is no key"):
        keys_of(production())
    with pytest.raises(KeysRefused, match="shorter than 32"):
        keys_of(production(api_keys="acme:short"))
    (key,) = keys_of(production(api_keys="acme:0123456789abcdef0123456789abcdef:read"))
    assert (key.name, key.access) == ("METER_API_KEYS[0]", "read")
    file = tmp_path / "keys.toml"
    file.write_text(toml(ENTRY))
    assert [each.name for each in keys_of(production(api_keys_file=file))] == ["ours"]
    with pytest.raises(KeysRefused, match="nowhere"):
        keys_of(production(api_keys_file=tmp_path / "nowhere"))
    assert keys_of(Settings(profile="local"))


async def test_a_broken_file_leaves_the_keys_before_in_force(
    tmp_path: Path, make_settings: MakeSettings, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "keys.toml"
    file.write_text(toml(ENTRY))
    found: list[list[str]] = []
    following = KeysFile(
        make_settings(api_keys_file=file, api_keys=()),
        lambda keys: partial(found.append, [key.name for key in keys]),
    )
    task = asyncio.create_task(following.follow())

    async def looked_at(count: int, valid: bool) -> None:
        following.look()
        await until(lambda: len(found) >= count and following.valid is valid)

    try:
        file.write_text("[[keys]")
        await looked_at(0, valid=False)
        file.write_text(toml(ENTRY, ENTRY | {"name": "new", "sha256": digest_of("n")}))
        await looked_at(1, valid=True)
    finally:
        task.cancel()
    assert found == [["ours", "new"]]
    assert [r.getMessage() for r in caplog.records if "keys refused" in r.getMessage()]


class _Name(str):
    """A name that counts how often it is compared with another."""

    compared = 0

    def __eq__(self, other: object) -> bool:
        _Name.compared += 1
        return str.__eq__(self, other)

    __hash__ = str.__hash__


def test_doubles_are_found_without_comparing_all_with_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, key_of = tmp_path / "keys.toml", keys._key_of

    def named(number: int, entry: object) -> Key:
        key = key_of(number, entry)
        return key.model_copy(update={"name": _Name(key.name)})

    file.write_text("".join(new_key(f"key-{each}", "acme", "read")[1] for each in range(MANY)))
    monkeypatch.setattr(keys, "_key_of", named)
    assert len(read_keys(file)) == MANY
    assert _Name.compared < MANY


async def test_a_changed_file_is_read_and_prepared_apart_from_the_loop(
    tmp_path: Path, make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, found = tmp_path / "keys.toml", list[int]()
    readers: list[int] = []

    def noted(path: Path) -> tuple[Key, ...]:
        readers.append(threading.get_ident())
        return read_keys(path)

    monkeypatch.setattr(keys, "read_keys", noted)
    file.write_text(toml(ENTRY))

    def prepared(keys: Sequence[Key]) -> Callable[[], None]:
        readers.append(threading.get_ident())
        return lambda: found.append(threading.get_ident())

    following = KeysFile(make_settings(api_keys_file=file, api_keys=()), prepared)
    task = asyncio.create_task(following.follow())
    try:
        following.look()
        await until(lambda: bool(found))
    finally:
        task.cancel()
    assert found == [threading.get_ident()]
    assert len(readers) == 2
    assert threading.get_ident() not in readers


def test_an_api_key_of_the_environment_keeps_its_rates() -> None:
    key = ApiKey.model_validate({"organization_id": "o", "key": "k", "requests_per_s": 3})
    (found,) = keys_of(Settings(profile="test", api_keys=(key,)))
    assert (found.requests_per_s, found.events_per_s) == (3, None)

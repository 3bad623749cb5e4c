"""Contexts: whom to ask by name, and whose key goes where."""

from __future__ import annotations

import stat
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn
from urllib.request import Request

import pytest
from click import ClickException
from click.testing import CliRunner, Result

from app.cli.every_worker import EveryWorker
from app.cli.main import cli
from app.cli.remote import Remote
from app.local_servers.ports import free_ports


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    for name in ("METER_URL", "METER_API_KEY", "METER_API_KEY_FILE", "METER_CONTEXT"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def meter(*words: str) -> Result:
    return CliRunner().invoke(cli, [*words])


def test_a_context_says_whom_to_ask(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second, third = free_ports(3)
    key_file = home / "key"
    key_file.write_text("secret\n")
    for name, port in (("prod", first), ("stage", second)):
        url = f"http://127.0.0.1:{port}"
        made = meter("context", "add", name, "--url", url, "--key-file", str(key_file))
        assert made.exit_code == 0, made.output
    file = home / "meterstream" / "config.toml"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "secret" not in file.read_text()

    def asked(*words: str) -> str:
        answer = meter("usage", "x", *words)
        assert answer.exit_code == 3
        return answer.stderr

    assert f":{first} " in asked("--context", "prod")
    assert meter("context", "use", "stage").exit_code == 0
    assert f":{second} " in asked()
    assert f":{first} " in asked("--context", "prod")
    monkeypatch.setenv("METER_CONTEXT", "prod")
    assert f":{first} " in asked()
    monkeypatch.setenv("METER_URL", f"http://127.0.0.1:{third}")
    assert f":{third} " in asked()
    assert f":{second} " in asked("--context", "stage")
    assert f":{third} " in asked("--context", "stage", "--url", f"http://127.0.0.1:{third}")
    listed = meter("context", "list").stdout.splitlines()
    assert [line.split("\t")[:2] for line in listed[1:]] == [["", "prod"], ["*", "stage"]]


def test_a_context_is_found_by_whatever_name_it_has(home: Path) -> None:
    name = '"quoted" \\ ü \x7f \U000e0001'
    meter("context", "add", name, "--url", "http://127.0.0.1:1")
    used = meter("context", "use", name)
    assert used.exit_code == 0, used.output


def test_a_context_is_verified_with_its_own_key(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str | None] = []

    async def ask(_: EveryWorker, wanted: Sequence[Remote], *, of_all: bool) -> None:
        asked.extend(worker.key for worker in wanted)

    monkeypatch.setattr(EveryWorker, "ask", ask)
    monkeypatch.setenv("METER_API_KEYS", "acme:machine:write")
    (home / "key").write_text("own\n")
    url = "http://127.0.0.1:1"
    meter("context", "add", "prod", "--url", url, "--key-file", str(home / "key"))
    for words in (["--context", "prod"], ["--url", url], []):
        meter("verify", *words)
    assert asked == ["own", "machine", "machine"]


@pytest.mark.parametrize("variable", ["METER_API_KEY", "METER_API_KEY_FILE"])
def test_an_exported_key_is_not_for_the_context_of_a_command(
    home: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    sent: list[str | None] = []

    def noted(self: Remote, request: Request) -> NoReturn:
        sent.append(self.key)
        raise ClickException("noted")

    monkeypatch.setattr(Remote, "_opened", noted)
    for name in ("own", "exported"):
        (home / name).write_text(name)
    monkeypatch.setenv(variable, str(home / "exported") if "FILE" in variable else "exported")
    for name, more in (("prod", ["--key-file", str(home / "own")]), ("stage", [])):
        meter("context", "add", name, "--url", "http://127.0.0.1:1", *more)
    typed = ["--key-file", str(home / "exported")]
    for words in (["--context", "prod"], ["--context", "stage"], ["--context", "prod", *typed]):
        meter("usage", "x", *words)
    meter("context", "use", "prod")
    meter("usage", "x")
    assert sent == ["own", "exported", "exported", "exported"]


def test_an_unknown_context_is_named(home: Path) -> None:
    meter("context", "add", "prod", "--url", "http://127.0.0.1:1")
    for words in (["context", "use", "prd"], ["usage", "x", "--context", "prd"]):
        answer = meter(*words)
        assert answer.exit_code == 4
        assert "Did you mean 'prod'?" in answer.stderr
    (home / "meterstream" / "config.toml").write_text("no [ toml")
    broken = meter("usage", "x")
    assert (broken.exit_code, "cannot be read" in broken.stderr) == (1, True)


def test_a_key_on_the_command_line_is_warned_of(home: Path) -> None:
    (port,) = free_ports(1)
    words = ("usage", "x", "--url", f"http://127.0.0.1:{port}")
    assert "`ps`" in meter(*words, "--key", "k").stderr
    assert "`ps`" not in CliRunner(env={"METER_API_KEY": "k"}).invoke(cli, words).stderr

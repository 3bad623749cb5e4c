"""Words of a command line: nothing is taken for a name, and no mistake for an answer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from app.cli.main import cli
from app.cli.words import TIME

Found = tuple[tuple[str, ...], click.Parameter]


def parameters(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[Found]:
    """Yield every parameter of every command, with the words that name the command."""
    for parameter in command.params:
        yield path, parameter
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield from parameters(found, (*path, name))


def test_every_text_says_something_in_utf_8() -> None:
    texts = 0
    for path, parameter in parameters(cli):
        assert not isinstance(parameter.type, click.types.StringParamType), (path, parameter.name)
        if parameter.type.name not in ("text", "time"):
            continue
        texts += 1
        for wrong in ("", "\udcff\udcfe"):
            with pytest.raises(click.BadParameter):
                parameter.type.convert(wrong, parameter, None)
    assert texts > 100


def test_every_number_lies_within_bounds() -> None:
    numbers = 0
    for path, parameter in parameters(cli):
        kind = parameter.type
        if not isinstance(kind, click.types.IntParamType | click.types.FloatParamType):
            continue
        numbers += 1
        for wrong in ("-1", "99999999999999999999", "nan", "inf", "-inf"):
            with pytest.raises(click.BadParameter):
                kind.convert(wrong, parameter, None)
        assert getattr(kind, "max", None) is not None, (path, parameter.name)
    assert numbers > 10


@pytest.mark.parametrize(
    "words",
    [
        ["webhooks", "failed", "--most", "-1"],
        ["webhooks", "failed", "--most", "99999999999999999999"],
        ["dead-letters", "list", "--limit", "99999999999999999999"],
        ["watch", "--every", "nan"],
        ["send", "/dev/null", "--wait", "inf"],
    ],
)
def test_what_is_no_number_of_anything(words: list[str]) -> None:
    answer = CliRunner().invoke(cli, words)
    assert (answer.exit_code, answer.stdout) == (2, ""), answer.output
    assert "Invalid value for '--" in answer.stderr


@pytest.mark.parametrize(
    "words",
    [
        ["explain", "s", "m", "--at"],
        ["records", "--from"],
        ["records", "--to"],
        ["series", "s", "m", "--from"],
        ["series", "s", "m", "--to"],
        ["list", "events", "--since"],
        ["list", "events", "--until"],
        ["preview", "/dev/null", "--from"],
        ["preview", "/dev/null", "--to"],
        ["export", "events", "--from"],
        ["export", "records", "--to"],
        ["fold", "/dev/null", "/dev/null", "--at"],
    ],
)
@pytest.mark.parametrize(
    "time", ["foo", "", "2026-13-01", "\udcff", "2026", "20261001", "1790812800"]
)
def test_no_time_is_wrong_usage(words: list[str], time: str) -> None:
    answer = CliRunner().invoke(cli, [*words, time])
    assert (answer.exit_code, answer.stdout) == (2, ""), answer.output
    assert f"Invalid value for '{words[-1]}'" in answer.stderr


@pytest.mark.parametrize("text", ["2026-10-01", "2026-10-01T00:00:00+02:00", "2026-10-01 12:00"])
def test_times_are_handed_on_as_they_are(text: str) -> None:
    assert TIME.convert(text, None, None) == text


@pytest.mark.parametrize(
    "words",
    [
        ["usage", ""],
        ["explain", "", ""],
        ["series", "s", ""],
        ["get", "plan", ""],
        ["delete", "plan", "", "--yes"],
        ["records", ""],
        ["trace", "", "x"],
        ["list", "subscriptions", "--customer", ""],
        ["list", "events", "--subscription", ""],
        ["usage", "s", "--context", ""],
        ["context", "add", "", "--url", "http://127.0.0.1:1"],
        ["usage", "\udcff\udcfe"],
    ],
)
def test_nothing_is_no_name(words: list[str], tmp_path: Path) -> None:
    runner = CliRunner(env={"XDG_CONFIG_HOME": str(tmp_path)})
    answer = runner.invoke(cli, words)
    assert (answer.exit_code, answer.stdout) == (2, ""), answer.output
    said = "It is empty: name what is meant, or leave it out." if "" in words else "is no UTF-8."
    assert said in answer.stderr
    assert not [*tmp_path.iterdir()]

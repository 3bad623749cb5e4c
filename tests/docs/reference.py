"""The pages of `docs/reference`, made of settings, commands, metrics and codes.

`python -m tests.docs.reference` writes them anew.
"""

from __future__ import annotations

import inspect
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, get_args

import click
import yaml
from pydantic import BaseModel

from app.api.record_schemas import InstantRecord, PeriodCompleted, UsageRecord
from app.cli.main import cli
from app.page import causes
from app.settings import OF_CLIENTS, SHAPES_BYTES, Settings, environment_names, shown
from app.webhooks.reasons import Reason as GivenUp
from app.wire.refusals import RefusalCode
from tables.not_counted import Reason
from tests.deploy.metrics import OF_THE_SCRAPE, Told, series_of_a_worker
from tests.docs import codes, fields

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "reference"
RECORDS = ROOT / "docs" / "usage-records.md"
RULES = ROOT / "deploy" / "helm" / "meterstream" / "rules.yaml"
WRITTEN: Final = "This page is made from the source: `python -m tests.docs.reference` writes it.\n"
_PROFILES: Final = ("local", "production")
_EXIT_CODES: Final = """`meter COMMAND --help` prints the same. Exit codes:

| code | what it says |
|---|---|
| 0 | done, or equal |
| 1 | something differs, was refused or is missing |
| 2 | wrong usage |
| 3 | it could not be found out, read or written |
| 4 | nothing has that name |
| 130 | interrupted |
| 141 | nobody reads what it prints any more, as in `meter … \\| head` |
"""
_OF_THIS_MACHINE: Final = frozenset({"meter_build_info"})
"""Metrics whose labels say where they were read."""
_END: Final = "\n<!-- end -->"
_SUFFIXES: Final = ("_bucket", "_count", "_sum")


def pages() -> dict[str, str]:
    """Return every page by its name."""
    return {
        "settings.md": settings_page(),
        "cli.md": cli_page(),
        "metrics.md": metrics_page(),
        "codes.md": codes_page(),
    }


def settings_page() -> str:
    """Return the page of settings."""
    rows = []
    for name, field in Settings.model_fields.items():
        ours, *others = environment_names(name)
        variable = "<br>".join([f"`{ours}`", *(f"or `{other}`" for other in others)])
        note = " **In the log.**" if name in SHAPES_BYTES else ""
        rows.append((variable, _defaults(name), f"{field.description}{note}"))
    return f"""# Settings

{WRITTEN}
A setting is an environment variable. `meter settings` prints each with its value now. A name that
starts with `METER_` and is no setting is told at the start, for it is most likely misspelt.

*In the log* means: the setting shapes what is published, so it stands in `meter-definitions`. The
variable fills it at the very first start only; later `meter settings apply` changes it.

{_table(("variable", "default", "what it does"), rows)}
## Of commands

`meter` commands that ask a worker also read
{", ".join(f"`{name}`" for name in sorted(OF_CLIENTS))}.
`METER_KERNEL=python` leaves the compiled kernel unused; `meter --version` says which one is in use.
"""


def _defaults(name: str) -> str:
    field = Settings.model_fields[name]
    found = {}
    for profile in _PROFILES:
        data: dict[str, Any] = {"profile": profile}
        value = field.get_default(call_default_factory=True, validated_data=data)
        found[profile] = shown(value) if not isinstance(value, str) else value
    first, second = (found[profile] for profile in _PROFILES)
    if first == second:
        return f"`{first}`" if first else ""
    return "<br>".join(
        f"{profile}: {f'`{value}`' if value else 'none'}" for profile, value in found.items()
    )


def cli_page() -> str:
    """Return the page of commands."""
    context = click.Context(cli, info_name="meter")
    parts = [
        f"# Commands\n\n{WRITTEN}",
        _EXIT_CODES,
    ]
    for name in cli.list_commands(context):
        command = cli.get_command(context, name)
        assert command is not None
        parts += _of_command(command, f"meter {name}")
    return "\n".join(parts)


def _of_command(command: click.Command, name: str) -> Iterator[str]:
    # The name is put in as it is called: parents show no place of their own.
    context = click.Context(command, info_name=name)
    usage = " ".join([name, *command.collect_usage_pieces(context)])
    yield f"## `{name}`\n"
    yield f"{_paragraphs(command.help or '')}\n"
    yield f"```\n{usage}\n```\n"
    rows = [_of_option(each) for each in command.params if isinstance(each, click.Option)]
    if rows:
        yield _table(("option", "what it does"), rows)
    if isinstance(command, click.Group):
        for each in sorted(command.commands):
            yield from _of_command(command.commands[each], f"{name} {each}")


def _of_option(option: click.Option) -> tuple[str, str]:
    names = ", ".join(f"`{each}`" for each in (*option.opts, *option.secondary_opts))
    kind = ""
    if isinstance(option.type, click.Choice):
        kind = _cell(" " + "|".join(map(str, option.type.choices)))
    elif not option.is_flag:
        kind = f" {option.metavar or option.type.name.upper()}"
    notes = ["Needed."] if option.required else []
    default = option.default
    if isinstance(default, str | int | float) and not isinstance(default, bool):
        notes.append(f"Default: `{default}`.")
    if isinstance(option.envvar, str):
        notes.append(f"Or `{option.envvar}`.")
    return names + kind, " ".join([_cell(option.help or ""), *notes])


def _paragraphs(text: str) -> str:
    """Return a help as it is set: `\\b` keeps its lines."""
    parts = []
    for part in inspect.cleandoc(text).split("\n\n"):
        if part.startswith("\b\n"):
            parts.append("```\n" + part.removeprefix("\b\n") + "\n```")
        else:
            parts.append(part)
    return "\n\n".join(parts)


def metrics_page() -> str:
    """Return the page of metrics."""
    with tempfile.TemporaryDirectory() as folder:
        series = series_of_a_worker(Path(folder))
    alerts = _alerts()
    rows = []
    for name, told in sorted(_families(series).items()):
        labels = "<br>".join(
            f"`{label}`: {', '.join(sorted(told.values[label]))}"
            if label in told.values and name not in _OF_THIS_MACHINE
            else f"`{label}`"
            for label in sorted(told.labels - OF_THE_SCRAPE - {"le"})
        )
        asked = ", ".join(sorted(alerts.get(name, ())))
        rows.append((f"`{name}`", told.kind, _unit(name), labels, _cell(told.help), asked))
    head = ("name", "type", "unit", "labels", "what it tells", "alerts")
    return f"""# Metrics

{WRITTEN}
Workers answer them at `/metrics` as Prometheus text, the process of webhooks likewise. A histogram
has `_bucket`, `_count` and `_sum`. No label grows with customers. What to do when an alert comes:
[runbook](../runbook.md).

{_table(head, rows)}"""


def _families(series: Mapping[str, Told]) -> dict[str, Told]:
    found: dict[str, Told] = {}
    for name, told in series.items():
        if told.kind:
            found.setdefault(_family(name, told.kind), told)
    return found


def _family(name: str, kind: str) -> str:
    if kind == "histogram":
        for suffix in _SUFFIXES:
            name = name.removesuffix(suffix)
    return name


def _unit(name: str) -> str:
    plain = name.removesuffix("_total")
    units = ("seconds", "bytes", "ratio", "celsius")
    return next((unit for unit in units if plain.endswith(f"_{unit}")), "count")


def _alerts() -> dict[str, set[str]]:
    """Return which alerts ask for a metric."""
    found: dict[str, set[str]] = {}
    for group in yaml.safe_load(RULES.read_text())["groups"]:
        for rule in group["rules"]:
            for name in re.findall(r"\bmeter_\w+", rule["expr"]):
                known = _family(name, "histogram")
                found.setdefault(known, set()).add(rule.get("alert", rule.get("record", "")))
    return found


def codes_page() -> str:
    """Return the page of codes."""
    refused = [(f"`{each}`", *causes.DEAD_LETTERS[each]) for each in RefusalCode]
    ignored = [(f"`{each}`", *causes.NOT_COUNTED[each]) for each in get_args(Reason)]
    given_up = [(f"`{each}`", *codes.WEBHOOKS[each]) for each in GivenUp]
    return f"""# Codes

{WRITTEN}
## Dead letters

What cannot be counted goes to `events-dead-letter`: bytes and key as they came, and headers that
say why. `meter dead-letters list` prints them, `meter dead-letters replay` appends them anew.

| header | what it says |
|---|---|
| `meter-error-code`, `meter-error-message` | the code below, and what is wrong in words |
| `meter-source-topic`, `-partition`, `-offset`, `-index` | where the raw record is |
| `meter-failed-at` | when its record was appended |
| `meter-organization` | whose it is, if that is known |
| `meter-left-out` | which parts are too large for a letter; the raw record has them |
| `meter-refused` | in a letter for many: how many by code |
| `meter-replayed` | of one that was replayed: which letter it was made of, and the code of that |

{_table(("code", "cause", "cure"), refused)}
## Not counted

Events that are taken and that no charge counts. They are kept. `GET /api/v1/events/not_counted`
lists them with samples, `meter trace` says it of one, `meter_events_not_counted_total` counts them.

{_table(("reason", "cause", "cure"), ignored)}
## Webhooks that are given up

`meter webhooks failed` lists them; `reason` is one of these, of the last attempt.
Behind it stands the size of a signature that is over 8,000 bytes: a header may be too small for it
([signatures](../WEBHOOKS.md#signatures)).

{_table(("reason", "cause", "cure"), given_up)}
## REST answers

An error is JSON: `status`, `error`, mostly a `code`, and with some `error_details`. 400 and 401
have no code: the body cannot be read, or no key is valid. 429 and 503 say in `Retry-After` when to
ask again. At 429 nothing was written; at 503 see `temporarily_unavailable`.

{_table(("code", "cause", "cure"), _rows(codes.ANSWERS))}
### Fields

In `error_details` of `validation_errors`: each field with its codes. In a batch they stand under
the index of the event.

{_table(("code", "cause", "cure"), _rows(codes.FIELDS))}"""


def marked(text: str) -> str:
    """Return a page with what stands between its marks made anew."""
    for name, table in _parts().items():
        begin = f"<!-- made: {name} -->\n\n"
        before, _, rest = text.partition(begin)
        _, end, after = rest.partition(_END)
        text = f"{before}{begin}{table}{end}{after}"
    return text


def _parts() -> dict[str, str]:
    return {
        "usage-record": _fields(fields.USAGE_RECORD, UsageRecord),
        "period-completed": _fields(fields.PERIOD_COMPLETED, PeriodCompleted),
        "instant-record": _fields(fields.INSTANT_RECORD, InstantRecord),
        "closing-reasons": _table(("closing_reason", "when"), _named(fields.CLOSING_REASONS)),
        "revision-reasons": _table(("revision_reason", "when"), _named(fields.REVISION_REASONS)),
    }


def _named(words: Mapping[str, str]) -> list[tuple[str, str]]:
    return [(f"`{name}`", text) for name, text in words.items()]


def _fields(told: Mapping[str, fields.Told], model: type[BaseModel]) -> str:
    properties = model.model_json_schema()["properties"]
    rows = [
        (f"`{name}`", _type(schema), told[name].words, told[name].null)
        for name, schema in properties.items()
    ]
    return _table(("field", "type", "what it says", "null when"), rows)


def _type(schema: Mapping[str, Any]) -> str:
    """Return the type of a field in a word or two."""
    if "anyOf" in schema:
        return " or ".join(_type(each) for each in schema["anyOf"] if each.get("type") != "null")
    if "const" in schema or "enum" in schema:
        return ", ".join(f"`{each}`" for each in schema.get("enum", [schema.get("const")]))
    if schema.get("type") == "array":
        return f"list of {_type(schema['items'])}"
    if "$ref" in schema:
        return "object"
    if schema.get("format") == "date-time":
        return "instant"
    if "T" in schema.get("pattern", ""):
        return "instant"
    if schema.get("pattern"):
        return "decimal as text"
    return {"string": "text", "integer": "number"}.get(schema["type"], str(schema["type"]))


def _rows(told: Mapping[str, causes.Advice]) -> list[tuple[str, str, str]]:
    return [(_code(code), *each) for code, each in told.items()]


def _code(code: str) -> str:
    """Return a code as it is met: some begin or end with a name."""
    return f"`{'…' if code.startswith('_') else ''}{code}{'…' if code.endswith('_') else ''}`"


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = tuple(head)
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    lines += [f"| {' | '.join(_one_line(cell) for cell in row)} |" for row in rows]
    return "\n".join(lines) + "\n"


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for file_name, page in pages().items():
        (FOLDER / file_name).write_text(page)
    RECORDS.write_text(marked(RECORDS.read_text()))

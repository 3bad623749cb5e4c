"""`meter doctor`: ask everything that a worker stands on, and say what mends it."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import zipfile
from pathlib import Path

import click
import msgspec
from rich.text import Text

from app.cli.brokers import require_profile, settings_of_the_log
from app.cli.doctor import brokers, environment, host, redis, worker
from app.cli.doctor.finding import Finding, complete, exit_code
from app.cli.output import Terminal, echo, table_of
from app.cli.remote import remote, remote_options
from app.cli.rows import Output, Rows, output_options
from app.settings import HOST, Settings

CHECKS = (
    *environment.CHECKS,
    *brokers.CHECKS,
    *redis.CHECKS,
    *host.CHECKS,
    *worker.CHECKS,
)
_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red", "unknown": "magenta"}


@click.command()
@click.option(
    "--bundle",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Also write FILE.zip for whoever helps: findings, settings without secrets, metrics.",
)
@output_options
@remote_options
def doctor(output: Output, bundle: Path | None, url: str | None, key: str | None) -> None:
    """Check settings, Kafka, topics, group, producers, Redis, this machine and a running worker.

    Each check prints what was found and what mends it; one that nobody could make is unknown.
    Nothing is changed. Exit status: 1 when one fails, 3 when one is unknown, else 0.
    """
    require_profile()
    settings = settings_of_the_log()
    if settings.redis_url is None and os.environ.get("METER_PROFILE", "local") == "local":
        # As for Kafka: that of `meter up`.
        local = f"redis://{HOST}:{settings.redis_port}/0"
        settings = settings.model_copy(update={"redis_url": local})
    asked = remote(url, key)
    findings, metrics = asyncio.run(_findings(settings)), ""
    try:
        health, clock_ahead_s = asked.health()
        metrics = asked.content("/metrics").decode()
    except click.ClickException as error:
        found = error.message
        findings.append(
            Finding(worker.AREA, "worker", "unknown", found, "Start one, or name it by --url.")
        )
    else:
        found = f"{asked.url} is asked. Workers at other addresses have figures of their own."
        findings.append(Finding(worker.AREA, "worker", "ok", found))
        samples = worker.samples_of(metrics)
        findings += worker.checked(health, samples, clock_ahead_s)
    findings = complete(findings, CHECKS)
    if bundle is not None:
        _write(bundle, settings, findings, metrics)
    output.show(
        lambda: {"findings": [finding._asdict() for finding in findings]},
        lambda: Rows(Finding._fields, findings),
        lambda: _draw(findings),
    )
    if output.form not in ("table", "json"):
        echo(_summary(findings), err=True)
    if bundle is not None and output.form != "json":
        echo(f"Written to {bundle}.", err=True)
    sys.exit(exit_code(findings))


async def _findings(settings: Settings) -> list[Finding]:
    # What goes wrong is told here; the client would tell it once more.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    findings = [*environment.checked(settings, os.environ)]
    findings += [finding async for finding in brokers.checked(settings)]
    findings += await redis.checked(settings)
    findings += host.checked(settings)
    return findings


def _draw(findings: list[Finding]) -> None:
    rows = (
        (area, check, Text(outcome, style=_COLOURS[outcome]), found, mend)
        for area, check, outcome, found, mend in findings
    )
    Terminal().print(table_of(("Area", "Check", "", "Found", "What mends it"), rows))
    echo(_summary(findings))


def _summary(findings: list[Finding]) -> str:
    counts = {name: sum(f.outcome == name for f in findings) for name in _COLOURS}
    return ", ".join(f"{count} {name}" for name, count in counts.items() if count)


def _write(bundle: Path, settings: Settings, findings: list[Finding], metrics: str) -> None:
    parts = {
        "findings.json": msgspec.json.format(
            msgspec.json.encode([finding._asdict() for finding in findings]), indent=2
        ),
        "settings.txt": "\n".join(f"{k}={v}" for k, v in settings.changed().items()).encode(),
        "metrics.txt": metrics.encode(),
    }
    with zipfile.ZipFile(bundle, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in parts.items():
            file.writestr(name, content)

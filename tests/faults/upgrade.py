"""Rolling to this version from an earlier one, under load: no wrong number on the way, nor after.

    python -m tests.faults.upgrade --from COMMIT [--between 5]

Two workers of the earlier commit share a load. One after another a worker of this tree joins them
and one of theirs ends, so that partitions go from either to either. Afterwards usage equals a
recount, and the usage records, those of the earlier version among them, equal the offline fold of
this one, byte for byte. Exit 1 on a violation, of which the files are kept; exit 3 without a
verdict: the clone has no such commit.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import click

from app.local_servers.kafka import LocalKafka
from app.local_servers.ports import free_ports
from app.local_servers.redis import LocalRedis
from app.settings import Settings
from tests.world.live.load import load, prove, serving, world_on
from tests.world.live.worker import ROOT, WorkerProcess, environment_of
from tests.world.waiting import PATIENCE_S, until

NO_VERDICT = 3


class NoSuchVersion(Exception):
    """The clone has not that commit."""


def unpacked(commit: str, directory: Path) -> Path:
    """Write the tree of a commit to a directory; return where it is.

    Raises:
        NoSuchVersion: a clone without history, or no clone.
    """
    tree = directory / "earlier"
    tree.mkdir()
    packed = subprocess.run(
        ["git", "archive", "--format=tar", commit, "app", "agents", "tables"],
        cwd=ROOT,
        capture_output=True,
    )
    if packed.returncode:
        raise NoSuchVersion(packed.stderr.decode().strip())
    subprocess.run(["tar", "-x", "-C", str(tree)], input=packed.stdout, check=True)
    return tree


@asynccontextmanager
async def earlier_worker(tree: Path, settings: Settings, name: str) -> AsyncIterator[Earlier]:
    """A started worker of another tree; killed at the end if it still runs."""
    worker = Earlier(tree, settings, name)
    try:
        await until(worker.answers, PATIENCE_S)
        yield worker
    finally:
        worker.process.kill()
        worker.process.wait()


class Earlier:
    """A worker of another tree, as `meter worker` starts it there."""

    def __init__(self, tree: Path, settings: Settings, name: str) -> None:
        (port,) = free_ports(1)
        self.name, self.url = name, ""
        self._log_file = tree.parent / f"{name}.log"
        environment = {
            **{key: text for key, text in os.environ.items() if not key.startswith("METER_")},
            **environment_of(settings),
            "METER_HTTP_PORT": str(port),
            "METER_STATE_DIR": str(tree.parent / f"{name}-state"),
            "PYTHONPATH": str(tree),
        }
        with self._log_file.open("wb") as log:
            self.process = subprocess.Popen(
                # What `meter` does, and did before `python -m app` was there.
                [sys.executable, "-c", "from app.cli.main import cli; cli()", "worker"],
                cwd=tree,
                env=environment,
                stdout=log,
                stderr=log,
            )

    def answers(self) -> bool:
        """Whether it has said where it answers."""
        said = self._log_file.read_text(errors="replace")
        assert self.process.poll() is None, f"{self.name} ended:\n{said[-4_000:]}"
        found = re.search(r"^Worker +(http\S+)", said, re.MULTILINE)
        self.url = "" if found is None else found[1]
        return bool(self.url)

    async def stop(self) -> None:
        """SIGTERM, and wait for the orderly end."""
        self.process.terminate()
        await until(lambda: self.process.poll() is not None, PATIENCE_S)


async def run(commit: str, between_s: float, directory: Path) -> None:
    """Servers, two workers of the earlier version and a load; the roll; then the proof."""
    tree = unpacked(commit, directory)
    async with AsyncExitStack() as servers:
        kafka = await servers.enter_async_context(LocalKafka(directory / "kafka"))
        redis = await servers.enter_async_context(LocalRedis(directory / "redis"))
        settings = Settings(
            profile="test",
            kafka_bootstrap_servers=kafka.bootstrap_servers,
            kafka_dir=kafka.directory,
            redis_url=redis.url,
            state_dir=directory / "state",
            raw_partitions=4,
            flush_interval_s=0.3,
            revise_every_s=5,
        )
        old = [
            await servers.enter_async_context(earlier_worker(tree, settings, name))
            for name in ("earlier-first", "earlier-second")
        ]
        new = [WorkerProcess(settings, directory, name) for name in ("first", "second")]
        world = await servers.enter_async_context(world_on(settings, old[0].url))
        running = [worker.url for worker in old]
        try:
            async with load(world):
                for leaving, coming in zip(old, new, strict=True):
                    await asyncio.sleep(between_s)
                    await coming.start()
                    running.append(coming.url)
                    took_s = await serving(world, lambda: running)
                    _say(
                        f"{coming.name} came beside {leaving.name}: all served {took_s:.1f} s later"
                    )
                    await asyncio.sleep(between_s)
                    running.remove(leaving.url)
                    await leaving.stop()
                    took_s = await serving(world, lambda: running)
                    _say(f"{leaving.name} ended: all served {took_s:.1f} s later")
            world.api.url = new[0].url
            ledger = await prove(world, directory)
            _say(f"{world.acknowledged} events, {len(ledger.bodies)} records, byte for byte")
        finally:
            for worker in new:
                await worker.kill()


def _say(what: str) -> None:
    click.echo(f"{time.strftime('%H:%M:%S')} {what}")


@click.command()
@click.option("--from", "commit", required=True, help="Commit or tag of the earlier version.")
@click.option("--between", "between_s", default=5.0, show_default=True, help="Seconds of a step.")
def main(commit: str, between_s: float) -> None:
    """Roll two workers from an earlier version to this one, under load."""
    logging.basicConfig(level=logging.CRITICAL)
    directory, well = Path(tempfile.mkdtemp(prefix="upgrade-")), False
    try:
        asyncio.run(run(commit, between_s, directory))
        well = True
    except NoSuchVersion as error:
        click.echo(f"NOTHING WAS TESTED: the clone has no {commit} ({error})")
        shutil.rmtree(directory)
        sys.exit(NO_VERDICT)
    except AssertionError as error:
        click.echo(f"violation: {error}")
        click.echo("\n".join(getattr(error, "__notes__", ())))
    if well:
        shutil.rmtree(directory)
    else:
        click.echo(f"files: {directory}")
        sys.exit(1)


if __name__ == "__main__":
    main()

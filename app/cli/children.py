"""Children: several workers of one parent, which starts them again when they end.

The parent asks no Kafka. A worker is one process on one core; the children share the HTTP port, and
each has a port of its own, under which the others ask it.
"""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import os
import shutil
import signal
import socket
import sys
from collections.abc import Callable
from functools import partial
from multiprocessing.context import SpawnProcess
from pathlib import Path
from time import monotonic
from typing import Any, Final

import click
import uvloop

from app.api.http.siblings import Siblings
from app.cli.failures import told_plainly
from app.cli.interrupts import ended_by_signals
from app.cli.serving import configure_log, stopped_plainly
from app.log import facts
from app.main import Worker, run_worker
from app.settings import Settings

log = logging.getLogger(__name__)

AUTO: Final = "auto"
MOST: Final = 256
PAUSE_S: Final = 0.5
"""Before a child is started again; each time twice as long."""
MOST_PAUSE_S: Final = 30.0
STAYED_S: Final = 60.0
"""One that stayed for so long is started again at once."""

_LEAST_BYTES: Final = 1024 * 1024
_SPAWN: Final = multiprocessing.get_context("spawn")

Tell = Callable[[Settings, int, Worker], None]
"""Says in a child that it has started: a function of a module, for the child imports it."""


class _Count(click.ParamType):
    """A number of workers, or `auto`."""

    name = "N|auto"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the number; `auto` is that of the cores that this process may use."""
        if value == AUTO:
            return len(os.sched_getaffinity(0))
        try:
            count = int(value)
        except ValueError:
            count = 0
        if not 1 <= count <= MOST:
            self.fail(f"{value!r} is neither a number from 1 to {MOST} nor {AUTO}", param, ctx)
        return count


workers_option = click.option(
    "--workers",
    type=_Count(),
    default=1,
    show_default=True,
    help="How many processes fold, each on a core: auto for one a core. They share the HTTP port.",
)


async def run_children(settings: Settings, count: int, tell: Tell) -> None:
    """Keep so many workers running until cancelled; then end them and wait for it."""
    # Where those before have answered.
    shutil.rmtree(_directory(settings), ignore_errors=True)
    running: dict[int, SpawnProcess] = {}
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGHUP, _pass_on, running, signal.SIGHUP)
    async with asyncio.TaskGroup() as group:
        for number in range(1, count + 1):
            child = partial(_SPAWN.Process, target=be_worker, args=(settings, number, count, tell))
            group.create_task(_keep(number, child, running))


def _pass_on(running: dict[int, SpawnProcess], number: signal.Signals) -> None:
    for process in running.values():
        if process.pid is not None:
            os.kill(process.pid, number)


async def _keep(
    number: int, child: Callable[[], SpawnProcess], running: dict[int, SpawnProcess]
) -> None:
    """Start a child again whenever it ends; end it when cancelled."""
    pause_s = PAUSE_S
    while True:
        process, began_s = child(), monotonic()
        process.start()
        running[number] = process
        try:
            await _end_of(process)
        except asyncio.CancelledError:
            process.terminate()
            await _end_of(process)
            raise
        finally:
            del running[number]
            process.join()
        if monotonic() - began_s >= STAYED_S:
            pause_s = PAUSE_S
        log.error(
            "Worker %s ended with %s and is started again in %g s",
            number,
            process.exitcode,
            pause_s,
            extra=facts("note"),
        )
        await asyncio.sleep(pause_s)
        pause_s = min(2 * pause_s, MOST_PAUSE_S)


async def _end_of(process: SpawnProcess) -> None:
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(process.sentinel, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(process.sentinel)


def _directory(settings: Settings) -> Path:
    return settings.state_dir / "siblings"


def be_worker(settings: Settings, number: int, count: int, tell: Tell) -> None:
    """Be a child until it is told to end, or its parent ends."""
    configure_log(settings)
    siblings = Siblings(_directory(settings), number, count)
    try:
        with told_plainly():
            uvloop.run(_be_worker(of_child(settings, number, count), siblings, tell))
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)


async def _be_worker(settings: Settings, siblings: Siblings, tell: Tell) -> None:
    loop, parent = asyncio.get_running_loop(), multiprocessing.parent_process()
    if parent is not None:

        def end() -> None:
            loop.remove_reader(parent.sentinel)
            os.kill(os.getpid(), signal.SIGTERM)

        loop.add_reader(parent.sentinel, end)
    with ended_by_signals(), stopped_plainly(settings):
        await run_worker(settings, partial(tell, settings, siblings.number), siblings)


def of_child(settings: Settings, number: int, count: int) -> Settings:
    """Return the settings of one: a name and a directory of its own, a share of the memory."""
    budgets = {
        name: max(getattr(settings, name) // count, _LEAST_BYTES)
        for name in ("dedupe_memory_bytes", "warm_bytes")
    }
    return settings.model_copy(
        update={
            **budgets,
            "ledger_bytes": settings.ledger_bytes // count,
            "refold_share": settings.refold_share / count,
            "group_instance_id": f"{settings.group_instance_id or socket.gethostname()}-{number}",
            "state_dir": settings.state_dir / f"worker-{number}",
        }
    )

"""A worker as a process of its own, so that it can be killed; sessions are short.

Each is forked off a process that has imported the product: the imports take two seconds of CPU, and
the suite starts a hundred workers.
"""

from __future__ import annotations

import asyncio
import importlib
import multiprocessing
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any
from unittest.mock import patch

import psutil
import uvloop

from agents import check_output
from app import failpoints
from app.bounds.limits import LOG_REPEATED_S
from app.cli.interrupts import ended_by_signals
from app.clock import SystemClock
from app.local_servers.ports import free_ports
from app.log import configure
from app.main import Worker, run_to_the_end
from app.runtime.stall import Stall
from app.settings import Settings
from app.wire.arrivals import Arrival
from tables.changelogged import presence_table
from tests.world.cores import waited_s
from tests.world.folding import look_before_folding
from tests.world.waiting import PATIENCE_S, until

READY = "ready "
SESSION_S = 3.0
SESSIONS: Mapping[str, Any] = {
    "broker_session_timeout": SESSION_S,
    "broker_heartbeat_interval": 0.5,
}
GUARDED_EVERY_S = 3.0
STALLS_WITH_A_CORE = "TEST_STALLS_WITH_A_CORE"
"""A loop that has no core is not late: `meter_loop_stall_seconds` then says what holds it."""
UNDEFINED_NAMES = "TEST_UNDEFINED_NAMES"
"""Keep so many of them one by one."""
KILLER = "TEST_KILLER"
"""Names the transaction whose folding ends the process."""
ROOT = Path(__file__).parents[3]

FORKS = multiprocessing.get_context("forkserver")
"""Begins processes of tests that need not import the product."""
# pytest: what it is started by is imported by whatever it forks.
FORKS.set_forkserver_preload(["pytest", __name__])


class WorkerProcess:
    """`start` may be called again after it has ended."""

    def __init__(
        self,
        settings: Settings,
        directory: Path,
        name: str = "worker",
        state_dir: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ):
        self.settings = settings
        self._environment = environment or {}
        self.name = name
        self.log_file = directory / f"{name}.log"
        self.state_dir = state_dir or directory / f"{name}-state"
        self.url = ""
        self._process: ForkServerProcess | None = None

    async def start(self, failpoint: str | None = None, timeout_s: float = PATIENCE_S) -> None:
        """Start and wait until it answers; with a failpoint it may die or stop before."""
        self.launch(failpoint)
        await self.until_ready(timeout_s, may_die=failpoint is not None)

    async def until_ready(self, timeout_s: float = PATIENCE_S, *, may_die: bool = False) -> None:
        """Wait until it answers."""
        deadline_s = asyncio.get_running_loop().time() + timeout_s
        while not (self.url or (may_die and not self.is_running())):
            assert self.is_running(), f"the worker ended:\n{self.tail()}"
            assert asyncio.get_running_loop().time() < deadline_s, self.tail()
            await asyncio.sleep(0.05)
            self.look_for_url()

    def launch(self, failpoint: str | None = None) -> None:
        """Start and wait for nothing."""
        self.url = ""
        (port,) = free_ports(1)
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("METER_")},
            **environment_of(self.settings),
            "METER_HTTP_PORT": str(port),
            "METER_STATE_DIR": str(self.state_dir),
            **self._environment,
        }
        if failpoint:
            environment[failpoints.VARIABLE] = failpoint
        # The worker opens it only once it has been forked.
        self.log_file.touch()
        self._offset = self.log_file.stat().st_size
        self._process = FORKS.Process(target=_run, args=(environment, self.log_file), daemon=True)
        self._process.start()

    def look_for_url(self) -> None:
        """Note where it answers, if it has said so by now."""
        for line in self.said().splitlines():
            if line.startswith(READY):
                self.url = line.removeprefix(READY).strip()

    def said(self) -> str:
        """All that it has written since it was started last."""
        with self.log_file.open("rb") as log:
            log.seek(self._offset)
            return log.read().decode(errors="replace")

    def tail(self) -> str:
        """The last lines it wrote."""
        return "\n".join(self.said().splitlines()[-40:])

    @property
    def pid(self) -> int:
        """Of the process started last."""
        assert self._process is not None
        assert self._process.pid is not None
        return self._process.pid

    def is_running(self) -> bool:
        return self._process is not None and self._process.exitcode is None

    async def stopped(self, timeout_s: float = PATIENCE_S) -> None:
        """Wait until it stands at its failpoint."""
        process = psutil.Process(self.pid)
        await until(lambda: process.status() == psutil.STATUS_STOPPED, timeout_s)

    def signal(self, number: signal.Signals) -> None:
        """Send it, if it runs."""
        if self.is_running():
            os.kill(self.pid, number)

    async def wait(self, timeout_s: float = PATIENCE_S) -> int:
        """The exit code."""
        with suppress(TimeoutError):
            await until(lambda: not self.is_running(), timeout_s)
        assert not self.is_running(), f"the worker does not end:\n{await self.stuck_at()}"
        assert self._process is not None
        assert self._process.exitcode is not None
        return self._process.exitcode

    async def stuck_at(self) -> str:
        """The last lines it wrote; what its tasks wait for, if it runs."""
        if self.is_running():
            self.signal(signal.SIGUSR1)
            await asyncio.sleep(1)
        return self.tail()

    async def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self.signal(signal.SIGKILL)
        if self._process is not None:
            await self.wait()

    async def stop(self) -> int:
        """SIGTERM, and wait for the orderly end."""
        self.signal(signal.SIGTERM)
        return await self.wait()


@asynccontextmanager
async def worker_process(
    settings: Settings, directory: Path, name: str = "worker", state_dir: Path | None = None
) -> AsyncIterator[WorkerProcess]:
    """A started worker; killed at the end if it still runs."""
    worker = WorkerProcess(settings, directory, name, state_dir)
    try:
        await worker.start()
        yield worker
    except Exception as error:
        error.add_note(f"{name} wrote last:\n{worker.tail()}")
        raise
    finally:
        await worker.kill()


def environment_of(settings: Settings) -> dict[str, str]:
    """METER_* that make the same settings in another process."""
    values = {
        "PROFILE": settings.profile,
        "APPLICATION_ID": settings.application_id,
        "TOPIC_PREFIX": settings.topic_prefix,
        "KAFKA_BOOTSTRAP_SERVERS": ",".join(settings.kafka_bootstrap_servers),
        "KAFKA_DIR": settings.kafka_dir,
        "REDIS_URL": settings.redis_url,
        "RAW_PARTITIONS": settings.raw_partitions,
        "REPLICATION_FACTOR": settings.replication_factor,
        "FLUSH_INTERVAL_S": settings.flush_interval_s,
        "FLUSH_MAX_CHANGES": settings.flush_max_changes,
        "REVISE_EVERY_S": settings.revise_every_s,
        "LATE_WINDOW_S": settings.late_window_s,
    }
    return {f"METER_{name}": str(value) for name, value in values.items()}


def _tell_tasks(worker: Worker) -> None:
    """What a worker that hangs is at: each task with everything it awaits in turn."""
    thread = getattr(worker.app.consumer, "_thread", None)
    loops = [asyncio.get_running_loop(), *([] if thread is None else [thread.thread_loop])]
    for task in [task for loop in loops for task in asyncio.all_tasks(loop)]:
        lines = []
        waiting: Any = task.get_coro()
        while waiting is not None:
            frame = getattr(waiting, "cr_frame", None) or getattr(waiting, "ag_frame", None)
            if frame is not None:
                lines.append(f"{frame.f_code.co_qualname}:{frame.f_lineno}")
            waiting = getattr(waiting, "cr_await", None) or getattr(waiting, "ag_await", None)
        sys.stderr.write(f"TASK {' > '.join(lines)}\n")
    sys.stderr.flush()


def _tell_url(worker: Worker) -> None:
    sys.stdout.write(f"{READY}{worker.url}\n")
    sys.stdout.flush()


def _plant_killer(transaction_id: str) -> None:
    """Folding one event ends the process, as a crash in C code or a kill for memory does."""

    def look(arrival: Arrival) -> None:
        if arrival.event.transaction_id == transaction_id:
            os.kill(os.getpid(), signal.SIGKILL)

    look_before_folding(look)


class StallWithACore(Stall):
    """Measures how late the loop runs, but for the time for which no core was free."""

    _waited_s: float | None = None

    def _observe(self, loop: asyncio.AbstractEventLoop) -> None:
        before_s, self._waited_s = self._waited_s, waited_s(os.getpid())
        if before_s is not None:
            self._due_s += self._waited_s - before_s
        super()._observe(loop)


def _run(environment: Mapping[str, str], log_file: Path) -> None:
    """Be the worker, from the fork on."""
    with log_file.open("ab") as log:
        for number in (sys.stdout.fileno(), sys.stderr.fileno()):
            os.dup2(log.fileno(), number)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(ROOT)
    # It was armed, or not, when it was imported.
    importlib.reload(failpoints)
    uvloop.run(_main())


async def _main() -> None:
    configure(os.environ.get("TEST_LOG", "info"), "text", LOG_REPEATED_S)
    check_output.EVERY_S = GUARDED_EVERY_S
    if KILLER in os.environ:
        _plant_killer(os.environ[KILLER])
        # The copies that try it are killed as well, again and again.
        patch("app.runtime.apart.PAUSES_S", (0.1,)).start()
    if STALLS_WITH_A_CORE in os.environ:
        patch("app.main.Stall", StallWithACore).start()
    if UNDEFINED_NAMES in os.environ:
        patch.object(presence_table, "UNDEFINED_NAMES", int(os.environ[UNDEFINED_NAMES])).start()
    worker = Worker(Settings(), SystemClock(), **SESSIONS)
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, _tell_tasks, worker)
    with ended_by_signals():
        await run_to_the_end(worker, _tell_url)

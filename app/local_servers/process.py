"""One server process: started on a leash, logged to a file, remembered in a pid file."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NoReturn

import msgspec
import psutil

from app.directory import private_directory
from app.errors import StackError

LEASH = Path(__file__).with_name("die_with_parent.py")
POLL_S = 0.05
WATCH_S = 0.5
TAIL_LINES = 20
_STACK_FRAME = re.compile(r"\s+(at |\.\.\. \d+ more)")


class ServerProcess:
    """A server's process and its two files. `start` may be called again after `stop` or `kill`."""

    def __init__(self, name: str, pid_file: Path, log_file: Path) -> None:
        self.name = name
        self._pid_file = pid_file
        self._log_file = log_file
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Process id while it runs."""
        return self._process.pid if self.is_running() and self._process else None

    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self, command: list[str]) -> None:
        """Start the program in a session of its own, so that Ctrl-C reaches only us.

        The log of the start before this one is kept as `….1`.
        """
        for file in (self._pid_file, self._log_file):
            private_directory(file.parent)
        if self._log_file.exists():
            self._log_file.replace(self._log_file.with_name(f"{self._log_file.name}.1"))
        with self._log_file.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-I", str(LEASH), str(os.getpid()), *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._remember(self._process.pid)

    async def wait_ready(self, probe: Callable[[], Awaitable[bool]], timeout_s: float) -> None:
        """Wait until `probe` says yes.

        Raises:
            StackError: the process ended or `timeout_s` passed; holds the log's last lines.
        """
        deadline = asyncio.get_running_loop().time() + timeout_s
        while not await probe():
            self._require_running("at start")
            if asyncio.get_running_loop().time() > deadline:
                self.kill()
                raise StackError(f"{self.name} was not ready within {timeout_s:g} s.{self._tail()}")
            await asyncio.sleep(POLL_S)

    async def wait_ended(self) -> NoReturn:
        """Wait until it ends without having been told to.

        Raises:
            StackError: it did; holds the log's last lines.
        """
        while True:
            self._require_running("by itself")
            await asyncio.sleep(WATCH_S)

    async def stop(self, timeout_s: float) -> None:
        """End it in order; SIGKILL what has not ended after `timeout_s`."""
        if self._process is None:
            return
        # One that somebody has stopped would not end.
        self._signal(signal.SIGCONT)
        self._signal(signal.SIGTERM)
        try:
            await _until_ended(self._process, timeout_s)
        finally:
            self.kill()

    def kill(self) -> None:
        """Send SIGKILL: what a crash looks like. Nothing is flushed, nothing is cleaned up."""
        self._signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait()
        self._process = None
        self._forget()

    def stop_leftover(self, timeout_s: float) -> bool:
        """End the process an earlier run left behind; whether there was one."""
        leftover = self._leftover()
        if leftover is not None:
            with contextlib.suppress(psutil.NoSuchProcess):
                leftover.terminate()
                if psutil.wait_procs([leftover], timeout=timeout_s)[1]:
                    leftover.kill()
                    leftover.wait()
        self._forget()
        return leftover is not None

    def _require_running(self, how: str) -> None:
        if self._process is not None and (code := self._process.poll()) is not None:
            self._forget()
            raise StackError(f"{self.name} ended {how} (code {code}).{self._tail()}")

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)

    def _remember(self, pid: int) -> None:
        # A pid alone may by then belong to another program; with its start time it cannot.
        with contextlib.suppress(psutil.NoSuchProcess):
            started = psutil.Process(pid).create_time()
            self._pid_file.write_bytes(msgspec.json.encode({"pid": pid, "started": started}))

    def _forget(self) -> None:
        self._pid_file.unlink(missing_ok=True)

    def _leftover(self) -> psutil.Process | None:
        try:
            remembered = msgspec.json.decode(self._pid_file.read_bytes())
            process = psutil.Process(remembered["pid"])
            same = process.create_time() == remembered["started"]
        except (OSError, ValueError, KeyError, TypeError, psutil.Error):
            return None
        return process if same else None

    def _tail(self) -> str:
        try:
            lines = without_stack_frames(self._log_file.read_text(errors="replace"))[-TAIL_LINES:]
        except OSError:
            return ""
        return "\n".join([f" The last lines of {self._log_file}:", *lines])


async def _until_ended(process: subprocess.Popen[bytes], timeout_s: float) -> None:
    deadline = asyncio.get_running_loop().time() + timeout_s
    while process.poll() is None and asyncio.get_running_loop().time() < deadline:
        await asyncio.sleep(POLL_S)


def without_stack_frames(text: str) -> list[str]:
    """Return a Java program's lines without the `at …` ones, which hide the reason."""
    return [line for line in text.splitlines() if not _STACK_FRAME.match(line)]

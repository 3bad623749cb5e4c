"""A real Chromium, driven over its DevTools protocol."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from aiohttp import ClientSession, ClientWebSocketResponse, WSMsgType

from tests.world.waiting import PATIENCE_S

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-port=0",
    "--window-size=1280,1000",
)


def binary() -> str | None:
    """Chromium's path, None if there is none."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return next((found for name in names if (found := shutil.which(name))), None)


GONE = "Inspected target navigated or closed"


class Navigated(Exception):
    """The page that was asked went away before it answered."""


class Tab:
    """One tab."""

    def __init__(self, socket: ClientWebSocketResponse) -> None:
        self._socket = socket
        self._last_id = 0

    async def send(self, method: str, **parameters: Any) -> Any:
        """Call a method of the protocol; its result, Navigated if its page went away."""
        self._last_id += 1
        await self._socket.send_json({"id": self._last_id, "method": method, "params": parameters})
        while True:
            message = await self._socket.receive(30)
            assert message.type is WSMsgType.TEXT, message
            answer = message.json()
            if answer.get("id") == self._last_id:
                if answer.get("error", {}).get("message") == GONE:
                    raise Navigated(answer)
                assert "error" not in answer, answer
                return answer["result"]

    async def run(self, script: str) -> Any:
        """The value of a JavaScript expression, promises awaited."""
        answer = await self.send(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    async def open(self, url: str) -> None:
        await self.send("Page.navigate", url=url)

    async def wait_until(self, script: str, timeout_s: float = PATIENCE_S) -> None:
        """Wait until an expression is true; one that fails is not, as before the page is there.

        Nor is one whose page a link took away while it was asked: the next page is asked.
        """
        guarded = f"(() => {{ try {{ return Boolean({script}) }} catch {{ return false }} }})()"
        async with asyncio.timeout(timeout_s):
            while True:
                with suppress(Navigated):
                    if await self.run(guarded):
                        return
                await asyncio.sleep(0.05)

    async def click(self, selector: str) -> None:
        """Click the first element of a selector as soon as the page shows one."""
        await self.wait_until(
            f"(at => at && (at.click(), true))(document.querySelector({json.dumps(selector)}))"
        )

    async def text(self, selector: str) -> str:
        """What an element shows."""
        return str(await self.run(f"document.querySelector({selector!r}).innerText"))

    async def size(self, width: int, height: int = 900) -> None:
        """Make the window as wide as a desk's or a phone's."""
        await self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 640,
        )

    async def press(self, key: str, modifiers: int = 0) -> None:
        """Press a key and let it go."""
        named = {"Escape": 27, "Tab": 9, "Enter": 13}
        text = {} if key in named and key != "Enter" else {"text": "\r" if key == "Enter" else key}
        code = named.get(key, ord(key[0]))
        same = {"key": key, "windowsVirtualKeyCode": code, "modifiers": modifiers}
        await self.send("Input.dispatchKeyEvent", type="keyDown", **same, **text)
        await self.send("Input.dispatchKeyEvent", type="keyUp", **same)

    async def at_the_start_of_each_page(self, script: str) -> None:
        """Run a script before those of every page that is opened."""
        await self.send("Page.addScriptToEvaluateOnNewDocument", source=script)

    async def color_scheme(self, scheme: str) -> None:
        feature = {"name": "prefers-color-scheme", "value": scheme}
        await self.send("Emulation.setEmulatedMedia", features=[feature])


@asynccontextmanager
async def tab(session: ClientSession) -> AsyncIterator[Tab]:
    """A new browser with one empty tab."""
    path = binary()
    assert path is not None, "no chromium binary"
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = await asyncio.create_subprocess_exec(
            path,
            *FLAGS,
            f"--user-data-dir={profile}",
            "about:blank",
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            address = await asyncio.wait_for(_address(process), PATIENCE_S)
            async with session.get(f"http://{address}/json") as response:
                pages = [page for page in await response.json() if page["type"] == "page"]
            async with session.ws_connect(
                pages[0]["webSocketDebuggerUrl"], max_msg_size=0
            ) as socket:
                yield Tab(socket)
        finally:
            process.kill()
            await process.communicate()


async def _address(process: asyncio.subprocess.Process) -> str:
    assert process.stderr is not None
    async for line in process.stderr:
        found = re.search(rb"ws://([^/]+)/", line)
        if found:
            return found[1].decode()
    raise AssertionError("chromium ended before it listened")

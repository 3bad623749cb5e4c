"""Lago's API, read politely: page by page, no faster than it lets us, and to the end."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from email.message import Message
from http.client import HTTPException
from typing import Any, Final, TypeVar
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode, urlsplit
from urllib.request import Request, build_opener

import click
import msgspec

from app.cli.exits import NoVerdict
from app.cli.remote import Json, NoRedirects, Remote, RequestRefused, decode

PER_PAGE: Final = 100
TIMEOUT_S: Final = 60.0
LONGEST_WAIT_S: Final = 120.0
FIRST_WAIT_S = 0.5
"""Before something is asked again; each further wait is twice as long."""
_TRIES: Final = 5
_TRIES_WHEN_LIMITED: Final = 100
_READINGS: Final = 3
_MOST_PAGES: Final = 100_000

Command = TypeVar("Command", bound=Callable[..., Any])
T = TypeVar("T")
Query = Mapping[str, str | int | None]


class LagoRefused(NoVerdict):
    """Lago answered with an error; `status` is HTTP's."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class Lago:
    """One organization of a Lago, read only."""

    def __init__(self, url: str, key: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise click.BadParameter(f"{url!r} is no http or https URL", param_hint="the URL")
        self.url = url.rstrip("/").removesuffix("/api/v1")
        self._key = key
        self._opener = build_opener(NoRedirects)

    def get(self, path: str, query: Query | None = None) -> Json:
        """Return a JSON object; waits and asks again where Lago is busy.

        Raises:
            LagoRefused: Lago says no.
            NoVerdict: nobody answers, or no JSON.
        """
        given = [(name, value) for name, value in (query or {}).items() if value is not None]
        address = f"{self.url}/api/v1{path}" + (f"?{urlencode(given)}" if given else "")
        failures = limited = 0
        while True:
            try:
                return self._asked(address)
            except HTTPError as error:
                with error:
                    busy = error.code == 429
                    limited, failures = limited + busy, failures + (not busy)
                    may_pass = error.code >= 500 or busy
                    if not may_pass or failures >= _TRIES or limited >= _TRIES_WHEN_LIMITED:
                        raise self._refused(error, address) from error
                    wait_s = _wait_s(error.headers, failures + limited)
            except (URLError, HTTPException, OSError) as error:
                failures += 1
                if failures >= _TRIES:
                    reason = getattr(error, "reason", error)
                    raise NoVerdict(f"Lago does not answer at {address} ({reason}).") from error
                wait_s = _backoff_s(failures)
            time.sleep(wait_s)

    def listed(self, path: str, name: str, query: Query | None = None) -> list[Json]:
        """Return all objects of a list, each once, newest first as Lago has them.

        What is made or deleted meanwhile moves others from page to page. So the pages are read
        again until each says the same count, and they hold as many objects.

        Raises:
            NoVerdict: also if the list never holds still.
        """
        for _ in range(_READINGS):
            found, totals = self._pages(path, name, query or {})
            if totals in ({None}, {len(found)}):
                return list(found.values())
        raise NoVerdict(f"{path}: the list changes while it is read. Try again in a quiet hour.")

    def _pages(self, path: str, name: str, query: Query) -> tuple[dict[str, Json], set[int | None]]:
        """Return objects by id, and what the pages say is their count; None: one says nothing."""
        found: dict[str, Json] = {}
        totals: set[int | None] = set()
        page = 1
        while page < _MOST_PAGES:
            answer = self.get(path, {**query, "page": page, "per_page": PER_PAGE})
            items = answer.get(name)
            if not isinstance(items, list):
                raise NoVerdict(f"{self.url}/api/v1{path} answers without {name!r}.")
            found.update({_id(item): item for item in items})
            meta = answer.get("meta") or {}
            totals.add(meta.get("total_count"))
            following = meta.get("next_page") if meta else None
            if not meta and len(items) == PER_PAGE:
                following = page + 1
            if following is None:
                break
            if following <= page:
                raise NoVerdict(f"{path}: page {page} is followed by page {following}.")
            page = following
        return found, totals

    def _asked(self, address: str) -> Json:
        headers = {"Authorization": f"Bearer {self._key}", "Accept": "application/json"}
        request = Request(address, headers=headers)  # noqa: S310
        with self._opener.open(request, timeout=TIMEOUT_S) as answer:
            content = answer.read()
        try:
            found = decode(content)
        except ValueError as error:
            raise NoVerdict(f"{address} answers no JSON: is it Lago's API?") from error
        if not isinstance(found, dict):
            raise NoVerdict(f"{address} answers no JSON object: is it Lago's API?")
        return found

    def _refused(self, error: HTTPError, address: str) -> LagoRefused:
        if error.code in (401, 403):
            return LagoRefused(f"{address}: Lago refuses this key ({error.code}).", error.code)
        try:
            body = decode(error.read())
            reason = body.get("code") or body.get("error")
        except (ValueError, AttributeError):
            reason = error.reason
        return LagoRefused(f"{address} answered {error.code}: {reason}", error.code)


class Here:
    """Our own worker, asked again while it is busy."""

    def __init__(self, worker: Remote) -> None:
        self.worker = worker

    def get(self, path: str, **query: str | int | None) -> Json:
        """Return an answer. Raises as `Remote.get` does."""
        return self._patiently(lambda: self.worker.get(f"/api/v1{path}", **query))

    def found(self, path: str, root: str, **query: str | int | None) -> Json | None:
        """Return the object of a path; None where there is none."""
        found = self._patiently(lambda: self.worker.found(f"/api/v1{path}", **query))
        return None if found is None else found[root]

    def listed(self, path: str, name: str, query: Query) -> list[Json]:
        """Return all objects of a list. Raises as `Remote.get` does."""
        found: list[Json] = []
        page: int | None = 1
        while page is not None:
            answer = self.get(path, **query, page=page, per_page=PER_PAGE)
            found += answer[name]
            page = answer["meta"]["next_page"]
        return found

    def write(self, method: str, path: str, body: Json) -> Json:
        """Send a body by POST or PUT; its numbers stay numbers. Raises as `Remote.get` does."""
        text: Any = msgspec.Raw(encode(body))
        send = self.worker.post if method == "POST" else self.worker.put
        return self._patiently(lambda: send(f"/api/v1{path}", text))

    def delete(self, path: str) -> Json:
        """Delete an object. Raises as `Remote.get` does."""
        return self._patiently(lambda: self.worker.delete(f"/api/v1{path}"))

    def _patiently(self, ask: Callable[[], T]) -> T:
        for attempt in range(1, _TRIES_WHEN_LIMITED):
            try:
                return ask()
            except RequestRefused as refused:
                if refused.status not in (429, 503) or (refused.status == 503 and attempt > _TRIES):
                    raise
                headers = refused.answer[1] if refused.answer else Message()
                time.sleep(_wait_s(headers, attempt))
        raise NoVerdict(f"{self.worker.url} stays busy.")


def lago_key_option(command: Command) -> Command:
    """Add `--lago-key-file`, given to the command as `lago_key_file`."""
    return click.option(
        "--lago-key-file",
        envvar="METER_LAGO_KEY_FILE",
        required=True,
        type=click.Path(exists=True, dir_okay=False, allow_dash=True),
        help="File that holds Lago's API key; - is standard input.",
    )(command)


def _id(item: Json) -> str:
    return str(item.get("lago_id") or msgspec.json.encode(item, enc_hook=str))


def _wait_s(headers: Message, attempt: int) -> float:
    """Return how long an answer says to wait, else a little longer each time."""
    for name in ("x-ratelimit-reset", "Retry-After"):
        told = headers.get(name)
        if told is not None and told.strip().replace(".", "", 1).isdigit():
            # Told 0, whoever asks at once has used up its tries before the limit is lifted.
            return min(max(float(told), FIRST_WAIT_S), LONGEST_WAIT_S)
    return _backoff_s(attempt)


def _backoff_s(attempt: int) -> float:
    wait_s: float = FIRST_WAIT_S * 2.0 ** (attempt - 1)
    return min(wait_s, LONGEST_WAIT_S)


encode: Final = msgspec.json.Encoder(decimal_format="number").encode

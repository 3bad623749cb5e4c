"""Runs the API's conformance vectors against any server, each in an organization of its own.

A vector is `{id, setup, request, expect, then?}` as `vectors/README.md` describes. Nothing here
knows the implementation: requests go over HTTP, differences come back as sentences.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
from aiohttp import ClientSession
from yarl import URL

from tests.conformance.api_matching import differences
from tests.conformance.api_scenes import CannotArrange
from tests.conformance.api_states import arrangement_of

Json = dict[str, Any]
Arranger = Callable[["Conversation", str], Awaitable[bool]]
"""Brings about a state that only the caller can (a clock, another key); False if it cannot."""

_TEMPLATE = re.compile(r"\{\{([\w.]+)\}\}")
_REQUEST_KEYS = frozenset({"method", "path", "headers", "body"})
_EXPECT_KEYS = frozenset({"status", "body_contains"})
_STEP_KEYS = frozenset({"request", "expect_status", "state"})


_NO_LICENCE = "projected_usage_not_enabled"
"""How Lago refuses what needs a licence, which there is none of."""


@dataclass(frozen=True)
class Skipped:
    """The vector cannot be run here."""

    reason: str


@dataclass
class Conversation:
    """Requests to one server as one organization, and the values that templates stand for."""

    base_url: str
    api_key: str
    session: ClientSession
    values: dict[str, str] = field(default_factory=dict)

    async def send(self, request: Json) -> tuple[int, Any]:
        """Send a vector's request; status and JSON body (None when it is not JSON)."""
        _check_keys("request", request, _REQUEST_KEYS)
        filled = self.fill(_repeated(request))
        headers = {"Authorization": f"Bearer {self.api_key}"} | (filled.get("headers") or {})
        body = filled.get("body")
        if body is not None:
            headers["Content-Type"] = "application/json"
        async with self.session.request(
            filled["method"],
            URL(self.base_url.rstrip("/") + filled["path"], encoded=True),
            headers={name: value for name, value in headers.items() if value is not None},
            data=None if body is None else msgspec.json.encode(body),
        ) as response:
            content = await response.read()
            status = response.status
        answer = _decoded(content)
        self._remember(answer)
        return status, answer

    async def must(self, method: str, path: str, body: Json | None = None) -> Any:
        """Send a request that has to succeed."""
        status, answer = await self.send({"method": method, "path": path, "body": body})
        if status != 200:
            raise CannotArrange(f"{method} {path} answered {status}: {answer}")
        return answer

    def fill(self, value: Any) -> Any:
        """The value with its templates replaced; `{{uuid}}` is one uuid a vector."""
        if isinstance(value, str):
            return _TEMPLATE.sub(lambda match: self._template(match[1]), value)
        if isinstance(value, list):
            return [self.fill(item) for item in value]
        if isinstance(value, dict):
            return {key: self.fill(item) for key, item in value.items()}
        return value

    def _template(self, name: str) -> str:
        if name == "uuid":
            return self.values.setdefault("uuid", str(uuid.uuid4()))
        if name == "api_key":
            return self.api_key
        if name not in self.values:
            raise CannotArrange(f"nothing is known as {name}")
        return self.values[name]

    def _remember(self, answer: Any) -> None:
        """Texts of an object answered, as `metric.code`; of a plan its first charge's too."""
        for root, found in (answer if isinstance(answer, dict) else {}).items():
            if isinstance(found, dict):
                name = "metric" if root == "billable_metric" else root
                self._remember_object(name, found)
                charges = found.get("charges") if root == "plan" else None
                for charge in (charges or ())[:1]:
                    self._remember_object("charge", charge)

    def _remember_object(self, name: str, found: Mapping[str, Any]) -> None:
        for key, value in found.items():
            if isinstance(value, str):
                self.values[f"{name}.{key}"] = value
        if "lago_id" in found:
            self.values[f"{name}.id"] = found["lago_id"]


def _decoded(content: bytes) -> Any:
    try:
        return msgspec.json.decode(content)
    except msgspec.DecodeError:
        return None


def _repeated(value: Any, index: int | None = None) -> Any:
    """`{"$repeat": n, "item": x}` as n copies of x, `{{i}}` replaced by the copy's index."""
    if isinstance(value, dict):
        if "$repeat" in value:
            return [_repeated(value["item"], i) for i in range(value["$repeat"])]
        return {key: _repeated(item, index) for key, item in value.items()}
    if isinstance(value, list):
        return [_repeated(item, index) for item in value]
    if isinstance(value, str) and index is not None:
        return value.replace("{{i}}", str(index))
    return value


async def check_api_vector(
    vector: Json,
    base_url: str,
    api_key: str,
    session: ClientSession,
    arrange: Arranger | None = None,
) -> list[str] | Skipped:
    """The differences between what the server does and what the vector expects.

    The key's organization must be empty: vectors reuse codes and count what is listed.
    """
    if _NO_LICENCE in str(vector["expect"]):
        return Skipped("decided otherwise: projected usage needs no licence")
    conversation = Conversation(base_url, api_key, session)
    try:
        for step in vector.get("setup") or ():
            await _set_up(conversation, step, arrange)
        found = await _exchange(conversation, vector)
        for number, exchange in enumerate(vector.get("then") or ()):
            if "state" in exchange:
                await _set_up(conversation, exchange, arrange)
                continue
            found += [f"then[{number}] {line}" for line in await _exchange(conversation, exchange)]
    except CannotArrange as error:
        return Skipped(str(error))
    return found


async def _set_up(conversation: Conversation, step: Json, arrange: Arranger | None) -> None:
    _check_keys("setup", step, _STEP_KEYS)
    if "state" not in step:
        wanted = step.get("expect_status", 200)
        status, answer = await conversation.send(step["request"])
        if status != wanted:
            raise AssertionError(f"setup {step['request']['path']} answered {status}: {answer}")
        return
    state = step["state"]
    if arrange is not None and await arrange(conversation, state):
        return
    known = arrangement_of(state)
    if known is None:
        raise CannotArrange(f"no way to arrange: {state}")
    await known(conversation)


async def _exchange(conversation: Conversation, exchange: Json) -> list[str]:
    # Templates stand for what was known before this answer.
    expected = conversation.fill(exchange["expect"])
    status, answer = await conversation.send(exchange["request"])
    found = [
        f"expect.{key}: nothing that is looked at here" for key in expected.keys() - _EXPECT_KEYS
    ]
    if "status" in expected and status != expected["status"]:
        found.append(f"status: {status}, expected {expected['status']} ({answer})")
    if "body_contains" in expected:
        found += differences(expected["body_contains"], answer, "body")
    return found


def _check_keys(place: str, given: Json, known: frozenset[str]) -> None:
    """What nothing here reads must not be passed over in silence."""
    unknown = sorted(given.keys() - known)
    if unknown:
        raise CannotArrange(f"{place} has keys that nothing here reads: {', '.join(unknown)}")

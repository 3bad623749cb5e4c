"""Finding the endpoint of a path. Codes and ids may hold anything, `/` and `.` included."""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from urllib.parse import unquote

from pydantic import BaseModel

from app.api.answering.call import Call
from app.api.http.errors import not_found, wrong_method

Handler = Callable[[Call], Coroutine[Any, Any, Any]]

_NOT_A_METERS = re.compile(
    r"/api/v1/(?:"
    r"customers/[^/]+/(?:applied_coupons|checkout_url|credit_notes|invoices|payments"
    r"|payment_methods|payment_requests|wallets)"
    r"|plans/[^/]+/(?:entitlements|fixed_charges|metadata)"
    r"|subscriptions/[^/]+/(?:entitlements|fixed_charges)"
    r")(?:/.*)?",
    re.DOTALL,
)
"""What Lago has below a customer, a plan or a subscription and this product has not.

Else the path would name an object with a `/` in its code.
"""


@dataclass(frozen=True)
class Parameter:
    """A query parameter, as OpenAPI describes it."""

    name: str
    description: str
    schema: dict[str, Any] = field(default_factory=lambda: {"type": "string"})
    required: bool = False


@dataclass(frozen=True)
class Endpoint:
    """One operation: where it is, who may use it, what it takes and gives."""

    route: str
    """Method and path, such as `GET /api/v1/plans/{code}`."""
    handler: Handler
    resource: str
    summary: str
    request: type[BaseModel] | None = None
    response: type[BaseModel] | None = None
    query: tuple[Parameter, ...] = ()
    errors: tuple[int, ...] = ()
    public: bool = False
    """Answers without a key."""
    waits: bool = True
    """Begins in its turn; health and metrics begin at once."""
    by_lines: bool = False
    """Answers JSON lines, each of the shape of `response`."""
    reads: bool = False
    """A key that may only read suffices, whatever the method."""
    interruptible: bool = False
    """Writes nothing, whatever its method, or stops where it is: it ends when the client goes."""
    nested: bool = False
    """A code in the path ends at a bare `/`, and a path that matches belongs to no other."""
    without_body: bool = False
    """Answers 200 with nothing; without this and a `response` it is only ever refused."""

    @cached_property
    def method(self) -> str:
        """What the route begins with."""
        return self.route.partition(" ")[0]

    @cached_property
    def path(self) -> str:
        """What follows the method, with its parameters in braces."""
        return self.route.partition(" ")[2]

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        code = r"(?P<\1>[^/]+)" if self.nested else r"(?P<\1>.+)"
        return re.compile(re.sub(r"\\{(\w+)\\}", code, re.escape(self.path)), re.DOTALL)

    @property
    def ends_with_client(self) -> bool:
        """Whether it is cancelled when the client goes; anything else goes on to its end."""
        return self.interruptible or self.method == "GET"

    @property
    def path_parameters(self) -> list[str]:
        """Names in the path."""
        return re.findall(r"\{(\w+)\}", self.path)

    def match(self, raw_path: str) -> dict[str, str] | None:
        """Return the path's parameters, decoded; None when this is another path.

        Matching happens before decoding, so `%2F` is part of a code; a bare `/` in one is taken
        too, as Lago's Python client does not encode, but where paths are nested.
        """
        found = self._pattern.fullmatch(raw_path)
        if found is None:
            return None
        return {name: _decoded(text) for name, text in found.groupdict().items()}


def _decoded(text: str) -> str:
    return unquote(text.encode("utf-8", "surrogateescape").decode("utf-8", "replace"))


class Router:
    """Endpoints in the order they are tried: the first that matches answers."""

    def __init__(self, endpoints: Iterable[Endpoint]) -> None:
        self.endpoints = tuple(endpoints)
        self._found = {
            (each.method, each.path): self._tried(each.method, each.path)
            for each in self.endpoints
            if not each.path_parameters
        }
        """What is found for paths that hold no parameter: most requests are to one of these."""

    def find(self, method: str, raw_path: str) -> tuple[Endpoint, dict[str, str]]:
        """Return the endpoint and its path parameters.

        Raises 404, or 405 when only the method is wrong.
        """
        endpoint, parameters = self._found.get((method, raw_path)) or self._tried(method, raw_path)
        return endpoint, dict(parameters)

    def _tried(self, method: str, raw_path: str) -> tuple[Endpoint, dict[str, str]]:
        path = raw_path.rstrip("/") or "/"
        if _NOT_A_METERS.fullmatch(path):
            raise not_found("resource")
        method = "GET" if method == "HEAD" else method
        allowed: list[str] = []
        is_nested = False
        for endpoint in self.endpoints:
            if is_nested and not endpoint.nested:
                # Else a DELETE of `/plans/a/charges` would delete a plan of the code `a/charges`.
                continue
            parameters = endpoint.match(path)
            if parameters is None:
                continue
            if endpoint.method == method:
                return endpoint, parameters
            allowed.append(endpoint.method)
            is_nested = endpoint.nested
        if allowed:
            raise wrong_method(sorted(set(allowed)))
        raise not_found("resource")

"""What the endpoints of one kind of object have in common: where it is and what is answered."""

from __future__ import annotations

from typing import NamedTuple

from pydantic import BaseModel

from app.api.answering.router import Endpoint, Handler, Parameter
from app.api.endpoints.parameters import PAGE
from app.api.usage import usage


class Resource(NamedTuple):
    """Makes the endpoints that objects of a kind may have: create, list, change, show, delete."""

    name: str
    all: str
    """Path of the list."""
    by: str | None
    """Name in the path of what tells an object from others; None: there is only one."""
    answer: type[BaseModel]
    nested: bool = False
    query: tuple[Parameter, ...] = ()
    """What every endpoint takes."""

    @property
    def one(self) -> str:
        """Path of an object."""
        return self.all if self.by is None else f"{self.all}/{{{self.by}}}"

    def create(
        self,
        handler: Handler,
        summary: str,
        request: type[BaseModel],
        *,
        answer: type[BaseModel] | None = None,
        errors: tuple[int, ...] = (404, 422),
    ) -> Endpoint:
        """Return the endpoint that makes an object."""
        return Endpoint(
            f"POST {self.all}",
            handler,
            self.name,
            summary,
            request=request,
            response=answer or self.answer,
            query=self.query,
            errors=errors,
            nested=self.nested,
        )

    def list(
        self,
        handler: Handler,
        summary: str,
        answer: type[BaseModel],
        *,
        query: tuple[Parameter, ...] = (),
        errors: tuple[int, ...] = (),
    ) -> Endpoint:
        """Return the endpoint that shows objects by pages."""
        return Endpoint(
            f"GET {self.all}",
            handler,
            self.name,
            summary,
            response=answer,
            query=(*PAGE, *self.query, *query),
            # Of what it is nested in there may be none.
            errors=(404,) if self.nested else errors,
            nested=self.nested,
        )

    def change(
        self,
        handler: Handler,
        summary: str,
        request: type[BaseModel],
        *,
        query: tuple[Parameter, ...] = (),
        errors: tuple[int, ...] = (404, 422),
    ) -> tuple[Endpoint, ...]:
        """Return the endpoints that change an object: PUT and PATCH do the same."""
        return tuple(
            self._one(method, handler, summary, query, errors, request)
            for method in ("PUT", "PATCH")
        )

    def show(
        self, handler: Handler, summary: str, *, query: tuple[Parameter, ...] = ()
    ) -> Endpoint:
        """Return the endpoint that shows an object."""
        return self._one("GET", handler, summary, query, (404,))

    def delete(
        self,
        handler: Handler,
        summary: str,
        *,
        query: tuple[Parameter, ...] = (),
        errors: tuple[int, ...] = (404,),
    ) -> Endpoint:
        """Return the endpoint that deletes an object."""
        return self._one("DELETE", handler, summary, query, errors)

    def _one(
        self,
        method: str,
        handler: Handler,
        summary: str,
        query: tuple[Parameter, ...],
        errors: tuple[int, ...],
        request: type[BaseModel] | None = None,
    ) -> Endpoint:
        return Endpoint(
            f"{method} {self.one}",
            handler,
            self.name,
            summary,
            request=request,
            response=self.answer,
            query=(*self.query, *query),
            errors=errors,
            nested=self.nested,
        )


def unpriced(route: str, resource: str, summary: str) -> Endpoint:
    """Return an endpoint that Lago has for whoever prices usage; here it is refused."""
    return Endpoint(route, usage.unpriced, resource, summary, errors=(403,))

"""The HTTP server: every request in, exactly one JSON answer (or page) out, never a bare error."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from functools import cache, partial
from ssl import SSLContext
from time import perf_counter
from typing import Any

from aiohttp import ClientSession, ClientTimeout, TCPConnector, web
from aiohttp.typedefs import Handler
from prometheus_client import CollectorRegistry

from app.api.answering.call import Api, Call, Reply
from app.api.answering.peers import LOOP_GUARD, PEER_TIMEOUT_S
from app.api.answering.router import Endpoint, Router
from app.api.descriptions import openapi_document
from app.api.endpoints.table import ADMIN_ENDPOINTS, DESCRIBED, ENDPOINTS
from app.api.http.admission import NOBODY, Admission
from app.api.http.auth import Identity, KeyRing, PeerTokens
from app.api.http.bodies import Body, announced_bytes, require_plain, require_small_head
from app.api.http.certificate import Certificate
from app.api.http.connections import Connection, Connections, error_response
from app.api.http.errors import (
    REASONS,
    ApiError,
    bad_request,
    coded,
    forbidden,
    too_large,
    too_many_requests,
    unavailable,
    unexpected,
)
from app.api.http.headers import add_headers
from app.api.http.hosts import Network, client_address, require_own_name
from app.api.http.siblings import Siblings
from app.api.request_metrics import CLIENT_GONE, RequestMetrics
from app.bounds.cancellation import retrieve
from app.bounds.limits import ADMIN_CONNECTIONS, ANSWER_PIECE_BYTES, CONNECTIONS
from app.bounds.turns import Turns, Work
from app.meter.errors import (
    BeyondRetention,
    NotAllowed,
    TimeBudgetExceeded,
    TooManyScans,
    TooOften,
    Unavailable,
)
from app.meter.interface import Meter
from app.wire.encode import RecordTooLarge
from app.wire.events import MAX_BYTES

log = logging.getLogger(__name__)

_SHUTDOWN_TIMEOUT_S = 5.0
_SCAN_AGAIN_AFTER_S = 5
_API = web.AppKey("api", Api)
_METRICS = web.AppKey("metrics", RequestMetrics)
_ENDPOINT = web.RequestKey("endpoint", Endpoint)
"""Key of the endpoint that a request was directed to."""
_REFUSED_AT_THE_DOOR = (401, 403, 404, 405, 408, 411, 413, 415, 421, 429, 431)


@cache
def described() -> Mapping[str, Any]:
    """Return the content of `/openapi.json`."""
    return openapi_document(DESCRIBED)


def build_app(
    meter: Meter,
    keys: KeyRing,
    registry: CollectorRegistry,
    *,
    max_batch: int = 100,
    open_page: bool = False,
    turns: Turns | None = None,
    own_names: Collection[str] | None = None,
    proxies: Collection[Network] = (),
    peers: PeerTokens | None = None,
    peer_tls: SSLContext | None = None,
    webhook_public_key: str | None = None,
    siblings: Siblings | None = None,
) -> web.Application:
    """Return the web application over an engine.

    `own_names`: host names that clients may use beside this machine's own; None: any name.
    `proxies`: networks of proxies that may name the address of their client.
    `peer_tls`: whose certificates of other workers are trusted; None: those of the system.
    """
    app = web.Application(middlewares=[_measured, _always_json])
    app[_METRICS] = RequestMetrics(registry)
    tokens = peers or PeerTokens(secrets.token_hex())
    api = partial(
        Api,
        meter,
        keys,
        tokens,
        registry,
        openapi=described,
        max_batch=max_batch,
        open_page=open_page,
        turns=turns or Turns(),
        webhook_public_key=webhook_public_key,
        siblings=siblings,
    )
    app.cleanup_ctx.append(partial(_with_session, api, peer_tls))
    app.on_response_prepare.append(_with_headers)
    door = Door(keys, tokens, own_names, proxies)
    app.router.add_route("*", r"/{path:[\s\S]*}", door.dispatch, expect_handler=_expected_later)
    return app


async def _with_session(
    api: Callable[[ClientSession], Api], peer_tls: SSLContext | None, app: web.Application
) -> AsyncIterator[None]:
    """Give the application what its requests share while it runs, with a client for its peers."""
    async with ClientSession(
        timeout=ClientTimeout(total=PEER_TIMEOUT_S),
        auto_decompress=False,
        connector=TCPConnector(ssl=peer_tls or True),
    ) as session:
        app[_API] = api(session)
        yield


class Door:
    """Lets requests in: finds the endpoint of each, whose it is, and when it begins."""

    def __init__(
        self,
        keys: KeyRing,
        tokens: PeerTokens,
        own_names: Collection[str] | None,
        proxies: Collection[Network],
    ) -> None:
        self._keys, self._tokens, self._own_names, self._proxies = keys, tokens, own_names, proxies
        self._router, self._admin_router = Router(ENDPOINTS), Router(ADMIN_ENDPOINTS)
        self._from_clients, self._from_workers = Admission(), Admission()

    async def dispatch(self, request: web.Request) -> web.StreamResponse:
        """Refuse a bad request by its head; the body is read when the handler asks for it."""
        require_small_head(request)
        require_plain(request)
        if self._own_names is not None:
            require_own_name(request, self._own_names)
        here = self._admin_router if _is_admin(request) else self._router
        endpoint, parameters = here.find(request.method, request.rel_url.raw_path)
        request[_ENDPOINT] = endpoint
        if self._proxies:
            request = request.clone(remote=client_address(request, self._proxies))
        api, sender = request.app[_API], _sender(self._tokens, request)
        if not endpoint.waits:
            return await _answer(api, endpoint, parameters, request)
        admission = self._from_clients if sender is None else self._from_workers
        try:
            identity = sender or _identity(self._keys, endpoint, request)
            if sender is not None:
                _require(sender, endpoint)
        except ApiError:
            async with admission.admitted(NOBODY, 0):
                raise
        body_bytes = announced_bytes(request)
        if identity is not None and identity.requests is not None and sender is None:
            identity.requests.take(1)
        organization = NOBODY if identity is None else identity.organization_id
        if identity is not None and isinstance(request.protocol, Connection):
            request.protocol.organization = organization
        async with admission.admitted(organization, body_bytes):
            return await _answer(api, endpoint, parameters, request, identity, sender)


def _is_admin(request: web.Request) -> bool:
    return isinstance(request.protocol, Connection) and request.protocol.listener.admin


async def _expected_later(_: web.Request) -> None:
    """Send no "100 Continue" yet: a client gets it when a handler reads the body."""


async def _with_headers(request: web.Request, response: web.StreamResponse) -> None:
    add_headers(response.headers, tls=request.secure)


def _sender(tokens: PeerTokens, request: web.Request) -> Identity | None:
    """Return the identity in a forwarded request's token; None: no token, or no valid one."""
    token = request.headers.get(LOOP_GUARD)
    if token is None:
        return None
    return tokens.identity(token, request.method, request.rel_url.raw_path_qs)


def _identity(keys: KeyRing, endpoint: Endpoint, request: web.Request) -> Identity | None:
    """Return the identity of the key; None: a public endpoint, no known key. Raises 401, 403."""
    try:
        identity = keys.identify(request.headers.get("Authorization"), request.remote or "")
    except ApiError:
        if endpoint.public:
            return None
        raise
    _require(identity, endpoint)
    return identity


def _require(identity: Identity, endpoint: Endpoint) -> None:
    """Raise 403 unless the key may use the endpoint."""
    if not (endpoint.public or endpoint.reads):
        identity.require(endpoint.method, endpoint.resource)


async def _answer(
    api: Api,
    endpoint: Endpoint,
    parameters: dict[str, str],
    request: web.Request,
    identity: Identity | None = None,
    sender: Identity | None = None,
) -> web.StreamResponse:
    known = None if endpoint.public else identity
    call = Call(api, request, parameters, known, Body(request), sender)
    organization = "" if identity is None else identity.organization_id
    work = Work("request", f"{endpoint.method} {endpoint.path}", organization)
    handled = api.turns.watched(work, endpoint.handler(call))
    if endpoint.ends_with_client:
        answer = await handled
    else:
        # A client that goes takes back nothing of what it has asked for.
        writing: asyncio.Future[Any] = asyncio.ensure_future(handled)
        try:
            answer = await asyncio.shield(writing)
        except asyncio.CancelledError:
            # If it fails there is nobody left to tell.
            writing.add_done_callback(retrieve)
            await asyncio.wait([writing])
            raise
        finally:
            # The task keeps its error, whose traceback has this frame.
            del writing
    if isinstance(answer, web.StreamResponse):
        return answer
    return await _sent(request, answer if isinstance(answer, Reply) else Reply.json(answer))


async def _sent(request: web.Request, reply: Reply) -> web.StreamResponse:
    """Return the response; send a long one by pieces, so that untaken ones wait here only."""
    response = reply.response()
    if len(reply.body) <= ANSWER_PIECE_BYTES or request.method == "HEAD":
        return response
    stream = web.StreamResponse(status=response.status, headers=response.headers)
    stream.content_length = len(reply.body)
    await stream.prepare(request)
    body = memoryview(reply.body)
    for start in range(0, len(body), ANSWER_PIECE_BYTES):
        await stream.write(body[start : start + ANSWER_PIECE_BYTES])
    await stream.write_eof()
    return stream


@web.middleware
async def _measured(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Count the request with the status of its answer."""
    began_s, status = perf_counter(), CLIENT_GONE
    try:
        answer = await handler(request)
        status = answer.status
        return answer
    finally:
        endpoint = request.get(_ENDPOINT)
        if endpoint is not None:
            request.app[_METRICS].answered(endpoint, status, perf_counter() - began_s)


@web.middleware
async def _always_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn any error that is raised into its JSON answer."""
    try:
        return await handler(request)
    except ApiError as error:
        return _refused(request, error)
    except RecordTooLarge:
        return _refused(request, too_large(MAX_BYTES, "record"))
    except BeyondRetention:
        return error_response(coded(422, "beyond_retention"))
    except NotAllowed:
        return error_response(forbidden("organization_not_allowed"))
    except TooOften as error:
        return error_response(too_many_requests(error.retry_after_s))
    except TooManyScans:
        return error_response(too_many_requests(_SCAN_AGAIN_AFTER_S))
    except TimeBudgetExceeded:
        return error_response(unavailable("time_budget_exceeded", _SCAN_AGAIN_AFTER_S))
    except Unavailable:
        return error_response(unavailable("temporarily_unavailable"))
    except web.HTTPException as error:
        return error_response(_of_framework(error))
    except (asyncio.CancelledError, ConnectionResetError):
        raise
    except Exception:
        log.exception("Defect while answering %s %s", request.method, request.path)
        return error_response(unexpected())


def _refused(request: web.Request, error: ApiError) -> web.Response:
    if error.status in _REFUSED_AT_THE_DOOR:
        request.app[_METRICS].refused(error)
    return error_response(error)


def _of_framework(error: web.HTTPException) -> ApiError:
    code = (error.reason or "error").lower().replace(" ", "_")
    if error.status == 404:
        code = "resource_not_found"
    return coded(error.status, code) if error.status in REASONS else bad_request(code)


class ApiServer:
    """The web application on ports of this process, inside the running event loop."""

    def __init__(
        self,
        app: web.Application,
        *,
        certificate: Certificate | None = None,
        most_connections: int = CONNECTIONS,
    ) -> None:
        self._app = app
        self._runner = web.AppRunner(
            app, shutdown_timeout=_SHUTDOWN_TIMEOUT_S, handler_cancellation=True
        )
        self._certificate = certificate
        self._most = most_connections
        self._listening: list[Connections] = []

    async def start(
        self, host: str, port: int, admin_port: int | None = None, *, shared: bool = False
    ) -> int:
        """Listen and return the port; with port 0 the system chooses one.

        Only health and metrics answer on `admin_port`, without TLS, with connections of its own.
        `shared`: other workers listen on both as well; the port returned is this one's alone.
        """
        await self._runner.setup()
        server = self._runner.server
        if server is None:
            raise AssertionError("a runner that is set up has a server")
        metrics = self._app[_METRICS]
        clients = Connections(server, self._most, self._certificate, metrics.refused, shared=shared)
        metrics.watch(clients.count)
        self._listening.append(clients)
        if admin_port is not None:
            probes = Connections(
                server, ADMIN_CONNECTIONS, None, metrics.refused, admin=True, shared=shared
            )
            self._listening.append(probes)
            await probes.listen(host, admin_port)
        if not shared:
            return await clients.listen(host, port)
        own = Connections(server, self._most, self._certificate, metrics.refused)
        self._listening.append(own)
        own_port = await own.listen(host, 0)
        await clients.listen(host, port)
        return own_port

    async def stop(self) -> None:
        """Stop listening, let running requests end, close."""
        for listening in self._listening:
            await listening.close()
        self._listening.clear()
        await self._runner.cleanup()

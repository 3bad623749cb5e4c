"""The HTTP server: every request in, exactly one JSON answer (or page) out, never a bare error."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable

from aiohttp import ClientSession, ClientTimeout, web
from aiohttp.typedefs import Handler
from prometheus_client import CollectorRegistry

from app.api.auth import KeyRing
from app.api.call import MAX_BODY_BYTES, Api, Call, Reply
from app.api.descriptions import openapi_document
from app.api.endpoints import DESCRIBED, ENDPOINTS
from app.api.errors import REASONS, ApiError, bad_request, coded, unavailable, unexpected
from app.api.json_text import encode
from app.api.meter import BeyondRetention, Meter, Unavailable
from app.api.peers import PEER_TIMEOUT_S
from app.api.request_metrics import RequestMetrics
from app.api.router import Endpoint, Router
from app.api.turns import Turns
from app.settings import ApiKey

log = logging.getLogger(__name__)

_SHUTDOWN_TIMEOUT_S = 5.0
_API = web.AppKey("api", Api)


def build_app(
    meter: Meter,
    api_keys: Iterable[ApiKey],
    registry: CollectorRegistry,
    *,
    max_batch: int = 100,
    open_page: bool = False,
) -> web.Application:
    """The web application over an engine."""
    app = web.Application(client_max_size=MAX_BODY_BYTES, middlewares=[_always_json])
    keys = KeyRing(api_keys)
    router = Router(ENDPOINTS)
    openapi = openapi_document(DESCRIBED)
    requests = RequestMetrics(registry)
    turns = Turns()

    async def with_session(_: web.Application) -> AsyncIterator[None]:
        timeout = ClientTimeout(total=PEER_TIMEOUT_S)
        async with ClientSession(timeout=timeout, auto_decompress=False) as session:
            app[_API] = Api(meter, keys, registry, session, openapi, max_batch, open_page)
            yield

    async def dispatch(request: web.Request) -> web.StreamResponse:
        endpoint, parameters = router.find(request.method, request.rel_url.raw_path)
        with requests.measured(endpoint):
            if not endpoint.public:
                await turns.begin()
            return await _answer(app[_API], endpoint, parameters, request)

    app.cleanup_ctx.append(with_session)
    app.router.add_route("*", "/{path:.*}", dispatch)
    return app


async def _answer(
    api: Api, endpoint: Endpoint, parameters: dict[str, str], request: web.Request
) -> web.StreamResponse:
    identity = None
    if not endpoint.public:
        identity = api.keys.identify(request.headers.get("Authorization"))
        identity.require(endpoint.method, endpoint.resource)
    answer = await endpoint.handler(Call(api, request, parameters, identity))
    if isinstance(answer, web.StreamResponse):
        return answer
    reply = answer if isinstance(answer, Reply) else Reply.json(answer)
    return reply.response()


@web.middleware
async def _always_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn whatever is raised into the JSON answer for it."""
    try:
        return await handler(request)
    except ApiError as error:
        return error_response(error)
    except BeyondRetention:
        return error_response(coded(422, "beyond_retention"))
    except Unavailable as error:
        return error_response(unavailable("temporarily_unavailable", error.retry_after_s))
    except web.HTTPException as error:
        return error_response(_of_framework(error))
    except (asyncio.CancelledError, ConnectionResetError):
        raise
    except Exception:
        log.exception("Defect while answering %s %s", request.method, request.path)
        return error_response(unexpected())


def _of_framework(error: web.HTTPException) -> ApiError:
    code = (error.reason or "error").lower().replace(" ", "_")
    if error.status == 404:
        code = "resource_not_found"
    return coded(error.status, code) if error.status in REASONS else bad_request(code)


def error_response(error: ApiError) -> web.Response:
    """The response for an error."""
    return web.Response(
        body=encode(error.body),
        status=error.status,
        headers=error.headers,
        content_type="application/json",
    )


class _JsonProtocol(web.RequestHandler):
    """aiohttp's protocol, answering JSON even to what is not HTTP."""

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        log.debug("Unreadable request from %s: %s", request.remote, message, exc_info=exc)
        if request.writer.output_size > 0:
            raise ConnectionError("the connection broke within an answer")
        response = error_response(bad_request("not an HTTP request") if exc else unexpected())
        response.force_close()
        return response


class ApiServer:
    """The web application on a port of this process, inside the running event loop."""

    def __init__(self, app: web.Application) -> None:
        self._runner = web.AppRunner(app, shutdown_timeout=_SHUTDOWN_TIMEOUT_S)
        self._listener: asyncio.Server | None = None

    async def start(self, host: str, port: int) -> int:
        """Listen; returns the port, which port 0 leaves to the system."""
        await self._runner.setup()
        server = self._runner.server
        if server is None:
            raise AssertionError("a runner that is set up has a server")
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(
            lambda: _JsonProtocol(server, loop=loop, access_log=None),  # type: ignore[arg-type]
            host,
            port,
        )
        return int(self._listener.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Stop listening, let running requests end, close."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        await self._runner.cleanup()

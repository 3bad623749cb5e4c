"""Answer operators and tools: health, metrics, the page, the descriptions."""

from __future__ import annotations

from functools import partial
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST

from app.api.answering.call import Api, Call, Reply
from app.api.exposition import exposed
from app.api.http import json_text
from app.api.http.connections import Connection
from app.api.http.errors import invalid
from app.api.http.siblings import Siblings
from app.api.overview.overview_json import reason_json
from app.bounds.turns import Work
from app.meter.health import OF_KAFKA, OF_REDIS, UNREADY

_REQUIRED = {"kafka": OF_KAFKA, "redis": OF_REDIS}
"""Codes of health that are told with 503 as well, by the word of `require`."""


async def live(_: Call) -> Any:
    """Answer 200: the process runs and its event loop turns."""
    return {"status": "live"}


async def ready(call: Call) -> Any:
    """Answer 200 if this worker should get traffic, 503 while another one would do better.

    Trouble of all workers, such as absent brokers, gives 200 and `degraded`: with 503 a balancer
    would have no worker left. A monitor that wants 503 asks with `?require=kafka,redis`.
    On a port of several workers it is 503 while one of them is not ready, and has the reasons of
    all.
    """
    required = {word for text in call.query.texts("require") for word in text.split(",")}
    if not required <= _REQUIRED.keys():
        # A monitor that asks for what nobody looks at would never fire.
        raise invalid({"require": ["value_is_invalid"]})
    reasons = call.api.meter.health()
    wanted = UNREADY.union(*(_REQUIRED[name] for name in required))
    siblings = _siblings(call)
    waiting: list[int] = []
    wrong: list[dict[str, Any]] = [reason_json(reason) for reason in reasons]
    if siblings is not None:
        wrong = [{**reason, "worker": siblings.number} for reason in wrong]
        query = call.request.rel_url.raw_query_string
        waiting, theirs = await siblings.health(call.api.session, query)
        wrong += theirs
    unready = bool(waiting) or any(reason.code in wanted for reason in reasons)
    status = "not_ready" if unready else "degraded" if wrong else "ready"
    told: dict[str, Any] = {"status": status}
    if wrong:
        told["reasons"] = wrong
    if waiting:
        told["workers_not_ready"] = waiting
    return Reply(json_text.encode(told), status=503 if unready else 200)


async def metrics(call: Call) -> Any:
    """Answer the metrics as Prometheus text; on a port of several workers, those of all."""
    api, siblings = call.api, _siblings(call)
    own = partial(api.own_exposition.text, partial(_own_metrics, api))
    if siblings is None:
        text = await own()
    else:
        text = await api.exposition.text(partial(siblings.metrics, api.session, api.turns, own))
    return Reply(text, content_type=CONTENT_TYPE_LATEST)


async def _own_metrics(api: Api) -> bytes:
    return await api.turns.run(Work("request", "metrics"), exposed(api.registry))


def _siblings(call: Call) -> Siblings | None:
    """Return the workers that are asked as well; None: only this one is asked."""
    protocol = call.request.protocol
    shared = isinstance(protocol, Connection) and protocol.listener.shared
    return call.api.siblings if shared else None

"""Answer operators and tools: health, metrics, the page, the descriptions."""

from __future__ import annotations

from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from app.api import json_text
from app.api.call import Call, Reply
from app.api.overview_json import reason_json
from app.meter.health import OF_KAFKA, OF_REDIS, UNREADY


async def live(_: Call) -> Any:
    """Answer 200: the process runs and its event loop turns."""
    return {"status": "live"}


async def ready(call: Call) -> Any:
    """Answer 200 if this worker should get traffic, 503 while another one would do better.

    Trouble of all workers, such as absent brokers, gives 200 and `degraded`: with 503 a balancer
    would have no worker left. A monitor that wants 503 asks with `?require=kafka,redis`.
    """
    reasons = call.api.meter.health()
    required = {word for text in call.query.texts("require") for word in text.split(",")}
    wanted = UNREADY.union(
        *(codes for name, codes in (("kafka", OF_KAFKA), ("redis", OF_REDIS)) if name in required)
    )
    unready = any(reason.code in wanted for reason in reasons)
    status = "not_ready" if unready else "degraded" if reasons else "ready"
    told: dict[str, Any] = {"status": status}
    if reasons:
        told["reasons"] = [reason_json(reason) for reason in reasons]
    return Reply(json_text.encode(told), status=503 if unready else 200)


async def metrics(call: Call) -> Any:
    """Answer the metrics as Prometheus text."""
    return Reply(generate_latest(call.api.registry), content_type=CONTENT_TYPE_LATEST)

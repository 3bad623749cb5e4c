"""`POST /events/corrections`: what is appended, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from app.wire.decode import decode_record
from app.wire.events import Correction
from tests.app.api.conftest import Running
from tests.app.api.ledger import ORGANIZATION

CANCEL = {"external_subscription_id": "s", "transaction_id": "t", "operation": "cancel"}
AMEND = {**CANCEL, "operation": "amend", "event": {"code": "c", "properties": {"gb": 1.50}}}
PATH = "/api/v1/events/corrections"


@pytest.mark.parametrize("body", [CANCEL, AMEND], ids=["cancel", "amend"])
async def test_a_correction_is_appended(api: Running, body: dict[str, Any]) -> None:
    answer = await api.call("POST", PATH, {"correction": {**body, "correction_id": "c-1"}})
    assert answer.status == 200
    assert answer.body == {
        "correction": {
            "correction_id": "c-1",
            "external_subscription_id": "s",
            "transaction_id": "t",
            "operation": body["operation"],
        }
    }
    (value,) = api.meter.corrections
    ((_, decoded),) = decode_record(value)
    assert isinstance(decoded, Correction)
    assert (decoded.organization_id, decoded.correction_id) == (ORGANIZATION, "c-1")
    assert (decoded.event is None) == (body["operation"] == "cancel")


async def test_an_id_is_made_up_and_told(api: Running) -> None:
    answer = await api.must("POST", PATH, {"correction": CANCEL})
    ((_, decoded),) = decode_record(api.meter.corrections[0])
    assert isinstance(decoded, Correction)
    assert answer["correction"]["correction_id"] == decoded.correction_id


@pytest.mark.parametrize(
    ("change", "errors"),
    [
        ({"transaction_id": ""}, {"transaction_id": ["value_is_mandatory"]}),
        ({"external_subscription_id": 5}, {"external_subscription_id": ["value_is_invalid"]}),
        ({"operation": "undo"}, {"operation": ["value_is_invalid"]}),
        ({"operation": None}, {"operation": ["value_is_mandatory"]}),
        ({"correction_id": []}, {"correction_id": ["value_is_invalid"]}),
        ({"operation": "amend"}, {"event": ["value_is_mandatory"]}),
        ({"operation": "amend", "event": []}, {"event": ["value_is_invalid"]}),
        (
            {"operation": "amend", "event": {"code": "c", "timestamp": "soon"}},
            {"timestamp": ["invalid_format"]},
        ),
    ],
    ids=str,
)
async def test_what_is_wrong_is_named(
    api: Running, change: dict[str, Any], errors: dict[str, list[str]]
) -> None:
    answer = await api.call("POST", PATH, {"correction": {**CANCEL, **change}})
    assert answer.status == 422
    assert answer.body["error_details"] == errors
    assert api.meter.corrections == []

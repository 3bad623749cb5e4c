"""Endpoints of organizations, history, health and the page, and those only the CLI asks."""

from __future__ import annotations

from app.api import descriptions, operations
from app.api.answering.router import Endpoint, Parameter
from app.api.definitions import changes, history, organizations, preview
from app.api.endpoints.parameters import POSITIVE, V1
from app.api.endpoints.resource import Resource, unpriced
from app.api.events import dead_letters, replays, set_aside
from app.api.schemas import operations as schemas
from app.api.usage import verification

HISTORY = (
    Endpoint(
        f"POST {V1}/history",
        history.create,
        "history",
        "Fold published periods under the definitions as they are now: revisions follow.",
        request=schemas.HistoryBody,
        response=schemas.HistoryAnswer,
        errors=(404, 422),
    ),
)

CHANGES = (
    Endpoint(
        f"POST {V1}/preview",
        preview.preview,
        "preview",
        "Say what changes of metrics and plans would make of usage. The answer is JSON lines.",
        request=schemas.PreviewBody,
        response=schemas.PreviewLine,
        by_lines=True,
        errors=(422,),
        interruptible=True,
    ),
    Endpoint(
        f"GET {V1}/definitions/changes",
        changes.changes,
        "definition",
        "Who changed which definition, and when.",
        response=schemas.DefinitionChanges,
        query=(
            Parameter(
                "since",
                "Offset in the log of definitions to begin at; `next_since` of the answer before.",
                {"type": "integer", "minimum": 0},
            ),
        ),
        errors=(422,),
    ),
)

DEAD_LETTERS = (
    Endpoint(
        f"GET {V1}/dead_letters/{{partition}}/{{offset}}",
        dead_letters.show,
        "dead_letter",
        "Show a dead letter with all its bytes.",
        response=schemas.DeadLetterAnswer,
        errors=(404,),
    ),
    Endpoint(
        f"GET {V1}/dead_letters",
        dead_letters.index,
        "dead_letter",
        "List dead letters, newest first, as their topic has them.",
        response=schemas.DeadLetterList,
        query=(
            Parameter("code", "Only letters with this error code."),
            Parameter("before", "What `meta` of the page before says."),
            Parameter("per_page", "Size of a page; 50 by default, and at most.", POSITIVE),
            Parameter("organization", "For an operator's key: only of this organization."),
        ),
        errors=(422,),
    ),
    Endpoint(
        f"POST {V1}/dead_letters/replay",
        replays.create,
        "dead_letter",
        "Append dead letters anew: some, or all of a code. The answer is JSON lines.",
        request=schemas.ReplayBody,
        response=schemas.ReplayLine,
        by_lines=True,
        errors=(422,),
        interruptible=True,
    ),
)

_ORGANIZATIONS = f"{V1}/organizations"
_ENTITIES = f"{V1}/billing_entities"

_organization = Resource("organization", _ORGANIZATIONS, None, schemas.OrganizationAnswer)
_entity = Resource("billing_entity", _ENTITIES, "code", schemas.BillingEntityAnswer)

OPERATIONS = (
    Endpoint(
        f"GET {_ORGANIZATIONS}",
        organizations.show,
        "organization",
        "Tell a key its organization.",
        response=schemas.OrganizationAnswer,
    ),
    *_organization.change(
        organizations.update,
        "Change the organization, and so its billing entity; absent keys stay.",
        schemas.OrganizationBody,
        errors=(422,),
    ),
    Endpoint(
        f"GET {_ENTITIES}",
        organizations.billing_entities,
        "billing_entity",
        "List the one billing entity.",
        response=schemas.BillingEntityList,
    ),
    unpriced(f"POST {_ENTITIES}", "billing_entity", "Not available: there is one billing entity."),
    _entity.show(organizations.billing_entity, "Show the billing entity `default`."),
    *_entity.change(
        organizations.update_billing_entity,
        "Change the billing entity `default`, and so the organization; absent keys stay.",
        schemas.BillingEntityBody,
    ),
    Endpoint(
        "GET /health/live",
        operations.live,
        "health",
        "Whether the process runs.",
        response=schemas.Status,
        public=True,
        waits=False,
    ),
    Endpoint(
        "GET /health/ready",
        operations.ready,
        "health",
        "Whether this worker should get traffic.",
        query=(
            Parameter("require", "`kafka`, `redis` or both, with a comma: 503 while it is away."),
        ),
        response=schemas.Status,
        errors=(422, 503),
        public=True,
        waits=False,
    ),
)

UNDESCRIBED = (
    Endpoint(
        "GET /metrics", operations.metrics, "metrics", "Prometheus.", public=True, waits=False
    ),
    Endpoint(
        f"POST {V1}/verify",
        verification.verify,
        "verification",
        "Compare with raw.",
        reads=True,
        interruptible=True,
    ),
    Endpoint(f"GET {V1}/set_aside", set_aside.index, "set_aside", "What no fold looks at."),
    Endpoint(f"POST {V1}/set_aside", set_aside.create, "set_aside", "Set records aside."),
    Endpoint(
        f"DELETE {V1}/set_aside/{{lago_id}}",
        set_aside.lift,
        "set_aside",
        "Append what is set aside anew.",
    ),
    Endpoint("GET /openapi.json", descriptions.openapi, "page", "OpenAPI 3.1.", public=True),
    Endpoint("GET /asyncapi.json", descriptions.asyncapi, "page", "AsyncAPI 3.", public=True),
)

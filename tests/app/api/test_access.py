"""Who may ask what: keys that end and change, operators, guesses, and workers among themselves."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import ClientSession, web

from app.api.http.auth import Identity, KeyRing, PeerTokens
from app.api.http.errors import ApiError
from app.api.http.keys import Key, digest_of, of_environment
from app.api.schemas.operations import DefinitionChanges
from app.api.server import ApiServer, build_app
from app.bounds.limits import FAILED_LOGINS_PER_S, PEER_TOKEN_S
from app.local_servers.ports import free_ports
from tests.app.api.conftest import KEYS, NOW_MS, Answer, Running, registry
from tests.app.api.ledger import ORGANIZATION, OTHER_ORGANIZATION, Clock, LedgerMeter
from tests.world import bodies

METRIC = bodies.metric("calls", "count_agg")


def key(name: str, secret: str, organization_id: str = ORGANIZATION, **more: Any) -> Key:
    return Key(name=name, organization_id=organization_id, sha256=digest_of(secret), **more)


OPERATOR = key("operator", "boss", "*", access="operator")


@pytest.fixture
async def ring() -> KeyRing:
    return KeyRing([*of_environment(KEYS), OPERATOR])


@pytest.fixture
async def api(ring: KeyRing, session: ClientSession) -> AsyncIterator[Running]:
    meter = LedgerMeter(Clock(NOW_MS))
    server = ApiServer(build_app(meter, ring, registry(), peers=PeerTokens("shared")))
    port = await server.start("127.0.0.1", 0)
    yield Running(meter, session, f"http://127.0.0.1:{port}", server=server)
    await server.stop()


async def organization(api: Running, secret: str) -> Answer:
    return await api.call("GET", "/api/v1/organizations", key=secret)


async def test_keys_are_changed_one_after_another_while_it_runs(
    api: Running, ring: KeyRing
) -> None:
    old, new = key("old", "old-secret"), key("new", "new-secret")
    ring.replace([old])
    assert (await organization(api, "old-secret")).status == 200
    ring.replace([old, new])
    for secret in ("old-secret", "new-secret"):
        assert (await organization(api, secret)).status == 200
    ring.replace([new])
    assert (await organization(api, "old-secret")).status == 401
    assert (await organization(api, "new-secret")).status == 200
    assert ring.last_used_s.keys() == {"new"}


def test_a_key_ends_when_it_says() -> None:
    now_s = [1_000.0]
    ends = key("k", "s", expires_at="1970-01-01T00:20:00Z")
    ring = KeyRing([ends], clock=lambda: now_s[0])
    assert ring.identify("Bearer s").name == "k"
    now_s[0] = 1_200.0
    with pytest.raises(ApiError) as refused:
        ring.identify("Bearer s")
    assert refused.value.status == 401


def test_what_a_key_has_used_up_stays_used_when_the_file_is_read_again() -> None:
    limited = key("k", "s", requests_per_s=1)
    ring = KeyRing([limited])
    before = ring.identify("Bearer s").requests
    ring.replace([limited])
    assert ring.identify("Bearer s").requests is before
    use = ring.prepared([limited, key("other", "s2")])
    with pytest.raises(ApiError):
        ring.identify("Bearer s2")
    use()
    assert ring.identify("Bearer s2").name == "other"
    assert ring.identify("Bearer s").requests is before
    ring.replace([limited.model_copy(update={"requests_per_s": 2.0})])
    assert ring.identify("Bearer s").requests is not before


async def test_who_guesses_waits_and_who_knows_does_not(api: Running, ring: KeyRing) -> None:
    answers = [(await organization(api, f"guess-{n}")).status for n in range(200)]
    assert answers[:FAILED_LOGINS_PER_S] == [401] * FAILED_LOGINS_PER_S
    assert 429 in answers
    assert (await organization(api, "full")).status == 200
    assert ring.failures.count == len(answers)


async def test_an_operator_reads_all_and_writes_for_whom_it_names(api: Running) -> None:
    body = {"billable_metric": METRIC}
    path = "/api/v1/billable_metrics"
    refused = await api.call("POST", path, body, key="boss")
    assert refused.status == 422
    assert refused.body["error_details"] == {"organization_id": ["value_is_mandatory"]}
    named = {"Meter-Organization": OTHER_ORGANIZATION}
    assert (await api.call("POST", path, body, key="boss", headers=named)).status == 200
    assert (await api.call("GET", f"{path}/calls", key="other")).status == 200
    assert (await api.call("GET", f"{path}/calls", key="full")).status == 404
    # Others do not become somebody else by naming them.
    assert (await api.call("GET", f"{path}/calls", key="full", headers=named)).status == 404
    assert (await api.call("GET", "/api/page/overview", key="boss")).status == 200
    known = await api.call("GET", "/api/page/organizations", key="boss")
    assert known.body == {"organizations": [OTHER_ORGANIZATION]}


async def test_who_changed_a_definition_is_told_to_who_may_know(api: Running) -> None:
    for secret in ("full", "other"):
        await api.call("POST", "/api/v1/billable_metrics", {"billable_metric": METRIC}, key=secret)

    async def told(secret: str, query: str = "") -> list[tuple[str, str, str]]:
        answer = await api.call("GET", f"/api/v1/definitions/changes{query}", key=secret)
        assert answer.status == 200, answer.text
        DefinitionChanges.model_validate(answer.body, strict=True)
        changes = answer.body["changes"]
        return [(c["organization_id"], c["type"], c["changed_by"]) for c in changes]

    ours = (ORGANIZATION, "create_billable_metric", "METER_API_KEYS[0]")
    theirs = (OTHER_ORGANIZATION, "create_billable_metric", "METER_API_KEYS[2]")
    assert await told("reader") == [ours]
    assert await told("boss") == [ours, theirs]
    assert await told("boss", "?since=1") == [theirs]


@pytest.mark.parametrize("since", ["abc", "-1", "9" * 19])
async def test_a_cursor_of_changes_that_is_none_is_refused(api: Running, since: str) -> None:
    """Else a client that spells it wrong would read the log from its start, again and again."""
    answer = await api.call("GET", f"/api/v1/definitions/changes?since={since}", key="boss")
    assert answer.status == 422
    assert answer.body["error_details"] == {"since": ["value_is_invalid"]}


async def test_a_read_key_verifies_but_repairs_nothing(api: Running) -> None:
    assert (await api.call("POST", "/api/v1/verify", {}, key="reader")).status == 200
    refused = await api.call("POST", "/api/v1/verify", {"repair": True}, key="reader")
    assert refused.status == 403
    assert refused.body["code"] == "write_action_not_allowed_for_verification"


async def test_a_worker_named_by_a_forged_record_learns_no_key(api: Running) -> None:
    heard: list[dict[str, str]] = []

    async def listen(request: web.Request) -> web.Response:
        heard.append(dict(request.headers))
        return web.json_response({"customer_usage": {}})

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", listen)
    runner = web.AppRunner(app)
    await runner.setup()
    (port,) = free_ports(1)
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        api.meter.elsewhere["sub_far"] = f"http://127.0.0.1:{port}"
        path = "/api/v1/customers/c/past_usage?external_subscription_id=sub_far"
        await api.call("GET", path)
    finally:
        await runner.cleanup()
    (headers,) = heard
    assert "Authorization" not in headers
    assert not any("full" in value for value in headers.values())
    # What it learnt is good for this path, and for no other.
    token = {"Meter-Forwarded": headers["Meter-Forwarded"]}
    other = await api.call("GET", "/api/v1/organizations", key=None, headers=token)
    assert other.status == 401


async def test_only_a_token_makes_a_request_another_workers(api: Running) -> None:
    api.meter.elsewhere["sub_far"] = "http://127.0.0.1:1"
    path = "/api/v1/customers/c/past_usage?external_subscription_id=sub_far"
    for forged in ("1", "", "x.y", PeerTokens("guess").made(Identity("o", "write"), "GET", path)):
        headers = {"Meter-Forwarded": forged}
        assert (await api.call("GET", path, key=None, headers=headers)).status == 401
    token = PeerTokens("shared").made(Identity(ORGANIZATION, "read", "n"), "GET", path)
    answer = await api.call("GET", path, key=None, headers={"Meter-Forwarded": token})
    # Believed: it is not sent on a second time.
    assert (answer.status, "another worker believed" in answer.text) == (503, False)


def test_a_token_ends_within_seconds() -> None:
    now_s = [1_000.0]
    tokens = PeerTokens("shared", clock=lambda: now_s[0])
    token = tokens.made(Identity("o", "read", "n"), "GET", "/a")
    assert tokens.identity(token, "GET", "/a") == Identity("o", "read", "n")
    assert tokens.identity(token, "POST", "/a") is None
    assert tokens.identity(token, "GET", "/b") is None
    now_s[0] += PEER_TOKEN_S + 1
    assert tokens.identity(token, "GET", "/a") is None

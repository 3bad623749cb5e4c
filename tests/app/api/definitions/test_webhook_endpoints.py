"""`/webhook_endpoints` and the public key of webhooks."""

from __future__ import annotations

from base64 import b64decode

from aiohttp import ClientSession
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from app.webhooks.signatures import public_key_text
from tests.app.api.conftest import Running, start

PATH = "/api/v1/webhook_endpoints"


async def test_an_endpoint_is_made_shown_changed_and_deleted(api: Running) -> None:
    given = {"webhook_url": "https://a.example/x", "name": "a", "event_types": ["event.error"]}
    made = (await api.must("POST", PATH, {"webhook_endpoint": given}))["webhook_endpoint"]
    assert {**made, **given, "signature_algo": "jwt"} == made
    assert set(made) - set(given) == {
        "lago_id",
        "lago_organization_id",
        "signature_algo",
        "created_at",
    }
    one = f"{PATH}/{made['lago_id']}"
    assert (await api.must("GET", one))["webhook_endpoint"] == made
    change = {"webhook_endpoint": {"signature_algo": "hmac", "event_types": ["*"]}}
    changed = (await api.must("PUT", one, change))["webhook_endpoint"]
    assert changed == {**made, "signature_algo": "hmac", "event_types": None}
    assert (await api.must("DELETE", one))["webhook_endpoint"] == changed
    for method in ("GET", "DELETE"):
        answer = await api.call(method, one)
        assert (answer.status, answer.body["code"]) == (404, "webhook_endpoint_not_found")


async def test_they_are_listed_by_their_url_by_pages(api: Running) -> None:
    urls = [f"http://h{number}/" for number in range(3)]
    for url in (urls[2], urls[0], urls[1]):
        await api.must("POST", PATH, {"webhook_endpoint": {"webhook_url": url}})
    listed = await api.must("GET", f"{PATH}?per_page=2")
    assert [one["webhook_url"] for one in listed["webhook_endpoints"]] == urls[:2]
    assert listed["meta"]["total_count"] == 3


async def test_a_key_sees_those_of_its_organization_and_a_reader_writes_none(api: Running) -> None:
    body = {"webhook_endpoint": {"webhook_url": "http://a"}}
    made = (await api.must("POST", PATH, body))["webhook_endpoint"]
    assert (await api.call("GET", PATH, key="other")).body["webhook_endpoints"] == []
    one = f"{PATH}/{made['lago_id']}"
    assert (await api.call("GET", one, key="other")).status == 404
    assert (await api.call("DELETE", one, key="other")).status == 404
    assert (await api.call("GET", one, key="reader")).status == 200
    assert (await api.call("DELETE", one, key="reader")).status == 403


async def test_without_a_root_it_is_a_bad_request(api: Running) -> None:
    assert (await api.call("POST", PATH, {})).status == 400


async def test_the_public_key_is_shown_as_json_and_as_text(session: ClientSession) -> None:
    key = rsa.generate_private_key(65_537, 2_048)
    running = await start(session, webhook_public_key=public_key_text(key))
    shown = (await running.must("GET", "/api/v1/webhooks/json_public_key"))["webhook"]["public_key"]
    text = await running.call("GET", "/api/v1/webhooks/public_key", key="reader")
    assert text.text == shown
    assert load_pem_public_key(b64decode(shown)) == key.public_key()
    assert (await running.call("GET", "/api/v1/webhooks/public_key", key=None)).status == 401
    if running.server is not None:
        await running.server.stop()


async def test_without_a_key_there_is_none_to_show(api: Running) -> None:
    for name in ("json_public_key", "public_key"):
        answer = await api.call("GET", f"/api/v1/webhooks/{name}")
        assert (answer.status, answer.body["code"]) == (404, "public_key_not_found")

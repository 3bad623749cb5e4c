"""A broker with listeners of every kind of security, and an authority that it trusts."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import AsyncIterator
from typing import NamedTuple

import pytest
from aiohttp import encode_basic_auth, web

from app.local_servers.kafka import LocalKafka
from app.local_servers.ports import free_ports
from app.settings import HOST
from tests.secured.authority import Authority

USER, PASSWORD = "meter", "meters-own-secret"
PRINCIPALS = ("least_worker", "least_maker", "least_producer", "least_consumer", "least_teller")
CLIENT, SECRET = "meter-client", "meters-client-secret"
_JAAS = "org.apache.kafka.common.security"


class SecuredKafka(NamedTuple):
    """Addresses by what a listener demands."""

    broker: LocalKafka
    sasl_tls: str
    sasl_plaintext: str
    mutual_tls: str


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """What both sides trust."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="package")
async def secured_kafka(
    authority: Authority, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[SecuredKafka]:
    """One broker, four listeners; its own inner one stays plain."""
    plain, controller, sasl_tls, sasl_plaintext, mutual_tls = free_ports(5)
    store = authority.both("broker")
    names = {"SASLTLS": sasl_tls, "SASLPLAIN": sasl_plaintext, "MUTUAL": mutual_tls}
    advertised = ",".join(
        [
            f"PLAINTEXT://{HOST}:{plain}",
            *(f"{name}://{HOST}:{port}" for name, port in names.items()),
        ]
    )
    properties = {
        "listeners": f"{advertised},CONTROLLER://{HOST}:{controller}",
        "advertised.listeners": advertised,
        "controller.quorum.voters": f"1@{HOST}:{controller}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,"
        "SASLTLS:SASL_SSL,SASLPLAIN:SASL_PLAINTEXT,MUTUAL:SSL",
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(store),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(authority.ca_file),
        "listener.name.mutual.ssl.client.auth": "required",
        "listener.name.mutual.ssl.principal.mapping.rules": "RULE:^CN=([^,]+),.*$/$1/",
        # Whoever the other tests connect as may do everything, others only what they are given.
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": f"User:ANONYMOUS;User:{USER};User:worker",
        "log.cleaner.backoff.ms": "500",
    }
    for listener in ("sasltls", "saslplain"):
        prefix = f"listener.name.{listener}"
        properties |= {
            f"{prefix}.sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER",
            f"{prefix}.plain.sasl.jaas.config": f"{_JAAS}.plain.PlainLoginModule required "
            + " ".join(f'user_{name}="{PASSWORD}"' for name in (USER, *PRINCIPALS))
            + ";",
            f"{prefix}.scram-sha-256.sasl.jaas.config": f"{_JAAS}.scram.ScramLoginModule required;",
            f"{prefix}.scram-sha-512.sasl.jaas.config": f"{_JAAS}.scram.ScramLoginModule required;",
            # Tokens that nobody signed: what Kafka brings along for tests.
            f"{prefix}.oauthbearer.sasl.jaas.config": f"{_JAAS}.oauthbearer.OAuthBearerLoginModule "
            'required unsecuredLoginStringClaim_sub="broker";',
            f"{prefix}.oauthbearer.sasl.server.callback.handler.class": (
                f"{_JAAS}.oauthbearer.internals.unsecured.OAuthBearerUnsecuredValidatorCallbackHandler"
            ),
        }
    directory = tmp_path_factory.mktemp("secured-kafka")
    scram = [
        word
        for bits in (256, 512)
        for word in ("--add-scram", f"SCRAM-SHA-{bits}=[name={USER},password={PASSWORD}]")
    ]
    async with LocalKafka(
        directory, port=plain, properties=properties, format_options=scram
    ) as broker:
        yield SecuredKafka(
            broker, *(f"{HOST}:{port}" for port in (sasl_tls, sasl_plaintext, mutual_tls))
        )
        broker.kill()


@pytest.fixture
async def token_url() -> AsyncIterator[str]:
    """A server that gives tokens to who knows the client's secret; they hold for two minutes."""

    async def give(request: web.Request) -> web.Response:
        form = await request.post()
        known = request.headers.get("Authorization") == encode_basic_auth(CLIENT, SECRET)
        if not known or form["grant_type"] != "client_credentials":
            return web.json_response({"error": "invalid_client"}, status=401)
        token = unsigned_token(USER, 120)
        return web.json_response({"access_token": token, "expires_in": 120})

    app = web.Application()
    app.router.add_post("/token", give)
    runner = web.AppRunner(app)
    await runner.setup()
    (port,) = free_ports(1)
    await web.TCPSite(runner, HOST, port).start()
    yield f"http://{HOST}:{port}/token"
    await runner.cleanup()


def unsigned_token(subject: str, life_s: int) -> str:
    """A JWT without a signature."""
    now_s = int(time.time())
    claims = {"sub": subject, "iat": now_s, "exp": now_s + life_s}
    parts = (json.dumps(part).encode() for part in ({"alg": "none"}, claims))
    return ".".join([*(base64.urlsafe_b64encode(p).decode().rstrip("=") for p in parts), ""])


def meter_token() -> str:
    """What METER_KAFKA_TOKEN_PROVIDER names in a test."""
    return unsigned_token(USER, 120)

"""Every setting in one model: METER_* environment variables; Lago's own names work too.

The file is over 500 lines because it is a list: one field a setting, with what it means. Whoever
sets up a worker reads it in one place, and it has few lines besides.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    IPvAnyNetwork,
    SecretStr,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from app.bounds import limits
from app.bounds.quotas import Quotas
from app.credentials import found_callable, ssl_context
from app.definitions.model import (
    MAX_WAIT_S,
    LatePolicy,
    Partitioner,
    ProducerTrust,
    SettingsRecord,
)

PREFIX = "METER_"
LOCAL_ORGANIZATION_ID = "00000000-0000-4000-8000-000000000001"
LOCAL_KEY = "local-key"
DAY_S = 86_400

Profile = Literal["local", "production", "test"]
Access = Literal["read", "write"]
SaslMechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"]


class ApiKey(BaseModel):
    """A key and the one organization it speaks for; `write` includes reading."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    organization_id: str = Field(min_length=1)
    key: SecretStr = Field(min_length=1)
    access: Access = "write"
    requests_per_s: float | None = Field(None, gt=0)
    events_per_s: float | None = Field(None, gt=0)

    @classmethod
    def parse(cls, text: str) -> ApiKey:
        """Read `organization_id:key[:read|write]`. Raises ValueError."""
        parts = text.strip().split(":")
        if len(parts) not in (2, 3) or not all(parts):
            raise ValueError(
                "an API key is written organization_id:key or organization_id:key:read"
            )
        return cls.model_validate(
            dict(zip(("organization_id", "key", "access"), parts, strict=False))
        )

    def __str__(self) -> str:
        return f"{self.organization_id}:***:{self.access}"


class WebhookKey(BaseModel):
    """The key by which the webhooks of one organization are signed with hmac."""

    model_config = ConfigDict(frozen=True)

    organization_id: str = Field(min_length=1)
    key: SecretStr = Field(min_length=1)

    def __str__(self) -> str:
        return f"{self.organization_id}:***"


def _parse_webhook_keys(value: object) -> object:
    if not isinstance(value, str):
        return value
    pairs = (part.strip().partition(":") for part in value.split(",") if part.strip())
    keys = [(organization_id, key) for organization_id, _, key in pairs]
    if not all(organization_id and key for organization_id, key in keys):
        raise ValueError("a webhook key is written organization_id:key")
    return tuple({"organization_id": organization_id, "key": key} for organization_id, key in keys)


def _parse_api_keys(value: object) -> object:
    if isinstance(value, str):
        return tuple(ApiKey.parse(part) for part in value.split(",") if part.strip())
    return value


def _comma_list(value: object) -> object:
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


def _broker_addresses(value: tuple[str, ...]) -> tuple[str, ...]:
    """Refuse what no broker is reached at, before a client of Kafka reads it. Raises ValueError."""
    for place in value:
        try:
            parts = urlsplit(f"//{place}")
            # Without a port it is Kafka's own.
            is_address = bool(parts.hostname) and parts.netloc == place and parts.port != 0
        except ValueError:
            is_address = False
        if not is_address or re.search(r"[\s@]|:$", place):
            raise ValueError(f"{place!r} is no address of a broker: write host:port,host:port")
    return value


_REDIS_SCHEMES = (
    "unix",
    *(
        f"{scheme}{kind}"
        for scheme in ("redis", "rediss")
        for kind in ("", "+sentinel", "+cluster")
    ),
)


def _redis_address(value: str | None) -> str | None:
    """Put the scheme before `host:port`, which Lago writes where a URL is meant.

    Raises:
        ValueError: it is no URL of a Redis. What it says may be a secret, so it is not repeated.
    """
    if value is None:
        return None
    url = value if "://" in value else f"redis://{value}"
    scheme = url.partition("://")[0]
    if scheme not in _REDIS_SCHEMES:
        raise ValueError(
            "its scheme is none of Redis: write redis://host:port/db, rediss://host:port/db, "
            "redis+sentinel://host:port,…/service or redis+cluster://host:port,…"
        )
    try:
        parts = urlsplit(url)
        for place in parts.netloc.rpartition("@")[2].split(","):
            _ = urlsplit(f"//{place}").port
    except ValueError as error:
        raise ValueError(
            "its host or port is none: write redis://user:password@host:port/db, with %XX for "
            "what is neither a letter nor a digit in user and password"
        ) from error
    path = parts.path.strip("/")
    if scheme in ("redis", "rediss") and not f"0{path}".isdecimal():
        # Its client takes database 0 for what is no number.
        raise ValueError("its database is no number: write redis://host:port/0")
    service, _, db = path.partition("/")
    if scheme.endswith("+sentinel") and not (service and f"0{db}".isdecimal()):
        raise ValueError(
            "it names no service, or no database: write redis+sentinel://host:port,…/service or "
            "redis+sentinel://host:port,…/service/db"
        )
    return url


def http_url(value: str | None) -> str | None:
    """Refuse what no worker could be asked by. Raises ValueError."""
    if value is None:
        return None
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    has_place = parts.scheme in ("http", "https") and parts.hostname and port != 0
    if not has_place or " " in value or not value.isprintable():
        raise ValueError(f"{value!r} is no http or https URL: write https://host:port")
    return value


def _topic_name(value: str) -> str:
    """Refuse what Kafka takes in no name of a topic."""
    if not re.fullmatch(r"[a-zA-Z0-9._-]*", value):
        raise ValueError(f"{value!r} may have letters, digits, '.', '_' and '-' only")
    return value


def _with_callable(value: str | None) -> str | None:
    """Refuse a name of no callable at the start, not at the first connection."""
    if value is not None:
        found_callable(value)
    return value


def _meter_or_lago(meter: str, *lago: str) -> AliasChoices:
    return AliasChoices(PREFIX + meter, *(f"LAGO_{name}" for name in lago))


def _is_production(values: Mapping[str, Any]) -> bool:
    return bool(values.get("profile", "production") == "production")


def _local_api_keys(values: Mapping[str, Any]) -> tuple[ApiKey, ...]:
    if _is_production(values) or values.get("api_keys_file") is not None:
        # Whoever says who may write does not mean everybody who knows the ready key.
        return ()
    organization_id = values.get("default_organization_id") or LOCAL_ORGANIZATION_ID
    return (ApiKey(organization_id=organization_id, key=SecretStr(LOCAL_KEY)),)


TopicName = Annotated[str, AfterValidator(_topic_name)]
Count = Annotated[int, Field(ge=1)]
Quota = Annotated[int, Field(ge=0)]
Port = Annotated[int, Field(ge=1, le=65_535)]


class Settings(BaseSettings):
    """Settings of one process. Those under "shapes bytes" fill the first settings record only."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        extra="ignore",
        frozen=True,
        populate_by_name=True,
        env_ignore_empty=True,
        allow_inf_nan=False,
    )

    # The process.
    profile: Profile = Field(
        "production",
        description="local (everything on one machine), production, or test.",
    )
    state_dir: Path = Field(
        Path(".meter"), description="Directory of everything kept on local disk."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Least severe message that is logged."
    )

    log_format: Literal["text", "json"] = Field(
        "text", description="Lines for people, or an object a line; both with the facts as fields."
    )

    # Kafka.
    kafka_bootstrap_servers: Annotated[
        tuple[str, ...],
        NoDecode,
        BeforeValidator(_comma_list),
        AfterValidator(_broker_addresses),
    ] = Field(
        (),
        validation_alias=_meter_or_lago("KAFKA_BOOTSTRAP_SERVERS", "KAFKA_BOOTSTRAP_SERVERS"),
        description="Kafka brokers as host:port,host:port. Empty: `meter up` starts its own.",
    )
    kafka_username: str | None = Field(
        None,
        validation_alias=_meter_or_lago("KAFKA_USERNAME", "KAFKA_USERNAME"),
        description="SASL user name; empty means no SASL.",
    )
    kafka_password: SecretStr | None = Field(
        None,
        validation_alias=_meter_or_lago("KAFKA_PASSWORD", "KAFKA_PASSWORD"),
        description="SASL password.",
    )
    kafka_scram_algorithm: SaslMechanism = Field(
        "PLAIN",
        validation_alias=_meter_or_lago("KAFKA_SCRAM_ALGORITHM", "KAFKA_SCRAM_ALGORITHM"),
        description="SASL mechanism: SCRAM-SHA-256, SCRAM-SHA-512, PLAIN or OAUTHBEARER.",
    )
    kafka_tls: bool = Field(
        False,
        validation_alias=_meter_or_lago("KAFKA_TLS", "KAFKA_TLS"),
        description="Encrypt the connections to Kafka.",
    )
    kafka_ca_file: Path | None = Field(
        None, description="PEM file of the authority that signed the brokers' certificates."
    )
    kafka_cert_file: Path | None = Field(
        None, description="PEM file of our own certificate, where brokers ask for one (mTLS)."
    )
    kafka_key_file: Path | None = Field(
        None, description="PEM file of that certificate's key, if it is not in the same file."
    )
    kafka_rack: str = Field(
        "",
        description="Rack or zone of this worker, as brokers name theirs in broker.rack: restores "
        "and scans then read from a replica in it. Empty: from the leader.",
    )
    kafka_oauth_token_url: Annotated[str | None, AfterValidator(http_url)] = Field(
        None,
        description="OAUTHBEARER: where tokens are fetched, by the client credentials grant.",
    )
    kafka_oauth_client_id: str = Field("", description="OAUTHBEARER: who fetches them.")
    kafka_oauth_client_secret: SecretStr = Field(
        SecretStr(""), description="OAUTHBEARER: and the secret that goes with it."
    )
    kafka_oauth_scope: str = Field(
        "", description="OAUTHBEARER: the scope asked for; may be empty."
    )
    kafka_token_provider: Annotated[str | None, AfterValidator(_with_callable)] = Field(
        None,
        description="OAUTHBEARER: module:callable that gives tokens instead, as cloud IAM needs.",
    )
    application_id: str = Field(
        "meterstream",
        min_length=1,
        validation_alias=_meter_or_lago("APPLICATION_ID", "KAFKA_CONSUMER_GROUP"),
        description="Consumer group and first part of the transactional ids. All workers of a set "
        "of topics have the same: one of another name is refused while there are such.",
    )
    group_instance_id: str = Field(
        "",
        description="Name of this worker in the group, its own and the same after a restart: "
        "partitions then wait for it until the session ends. Empty: none.",
    )
    group_session_timeout_s: float = Field(
        20.0,
        ge=6,
        le=1_800,
        description="After so long without a sign of it a worker's partitions go to others, as "
        "Kafka's session.timeout.ms. Brokers may allow less.",
    )
    topic_prefix: TopicName = Field(
        "", description="Put before topic, changelog and consumer group names as it stands."
    )
    raw_topic: TopicName = Field(
        "events-raw",
        min_length=1,
        validation_alias=_meter_or_lago("RAW_TOPIC", "KAFKA_RAW_EVENTS_TOPIC"),
        description="Topic of the product's events.",
    )
    dead_letter_topic: TopicName = Field(
        "events-dead-letter",
        min_length=1,
        validation_alias=_meter_or_lago("DEAD_LETTER_TOPIC", "KAFKA_EVENTS_DEAD_LETTER_TOPIC"),
        description="Topic of refused events.",
    )
    usage_records_topic: TopicName = Field(
        "usage-records", min_length=1, description="Topic of the published usage records."
    )
    raw_partitions: int = Field(
        default_factory=lambda values: 64 if _is_production(values) else 4,
        ge=1,
        le=65_535,
        description="Partitions of the raw topic; fixed once events are in it. 4 locally, else 64.",
    )
    replication_factor: int = Field(
        default_factory=lambda values: 3 if _is_production(values) else 1,
        ge=1,
        le=32_767,
        description="Copies of each topic that is created. 1 locally, else 3.",
    )

    # Redis.
    redis_url: Annotated[str | None, AfterValidator(_redis_address)] = Field(
        None,
        validation_alias=_meter_or_lago("REDIS_URL", "REDIS_STORE_URL"),
        repr=False,
        description="Redis, as redis://user:password@host:port/db; rediss:// with TLS, "
        "redis+sentinel://host:port,…/service or redis+cluster://host:port,… "
        "Empty: `meter up` starts its own.",
    )
    redis_password: SecretStr | None = Field(
        None,
        validation_alias=_meter_or_lago("REDIS_PASSWORD", "REDIS_STORE_PASSWORD"),
        description="Password, where the URL has none.",
    )
    redis_tls: bool = Field(
        False,
        validation_alias=_meter_or_lago("REDIS_TLS", "REDIS_STORE_TLS"),
        description="Encrypt the connections to Redis, as rediss:// does.",
    )
    redis_db: int = Field(
        0,
        ge=0,
        validation_alias=_meter_or_lago("REDIS_DB", "REDIS_STORE_DB"),
        description="Database, where the URL has none.",
    )
    redis_ca_file: Path | None = Field(
        None, description="PEM file of the authority that signed Redis's certificate."
    )
    redis_cert_file: Path | None = Field(
        None, description="PEM file of our own certificate, where Redis asks for one."
    )
    redis_key_file: Path | None = Field(
        None, description="PEM file of that certificate's key, if it is not in the same file."
    )

    # The servers that `meter up` and `meter stack` start.
    kafka_port: Port = Field(9092, description="Port of the Kafka that `meter up` starts.")
    kafka_dir: Path = Field(
        default_factory=lambda values: Path(values.get("state_dir", ".meter")) / "kafka",
        description="Files of the Kafka that `meter up` starts.",
    )
    redis_port: Port = Field(16_379, description="Port of the Redis that `meter up` starts.")
    maven_url: Annotated[str | None, AfterValidator(http_url)] = Field(
        None, description="Mirror of Maven Central that `meter up` fetches Kafka from, once."
    )

    # HTTP.
    http_host: str = Field(
        default_factory=lambda values: "0.0.0.0" if _is_production(values) else "127.0.0.1",  # noqa: S104
        description="Address to listen on. 127.0.0.1 locally, else 0.0.0.0.",
    )
    http_port: Port = Field(8080, description="Port of API, page and metrics.")
    admin_port: Port | None = Field(
        None,
        description="Port of a plain listener for health and metrics alone, which clients of the "
        "API cannot fill. Empty: none; the other port answers them as well.",
    )
    http_tls_cert_file: Path | None = Field(
        None, description="PEM file of this worker's certificate and chain; read again on change."
    )
    http_tls_key_file: Path | None = Field(
        None, description="PEM file of the certificate's key; read again on change."
    )
    trusted_proxies: Annotated[
        tuple[IPvAnyNetwork, ...], NoDecode, BeforeValidator(_comma_list)
    ] = Field(
        (),
        description="Addresses or networks of the proxies in front, as 10.0.0.0/8,…: "
        "X-Forwarded-For counts from them alone.",
    )
    open_page: bool = Field(
        default_factory=lambda values: not _is_production(values),
        description="The page shows every organization without a key. On locally, else off.",
    )
    advertised_url: Annotated[str | None, AfterValidator(http_url)] = Field(
        None, description="URL under which the other workers reach this one."
    )
    default_organization_id: str | None = Field(
        default_factory=lambda values: None if _is_production(values) else LOCAL_ORGANIZATION_ID,
        description="Organization of an event that names none; without it such events are refused.",
    )
    api_keys_file: Path | None = Field(
        None,
        description="TOML file of hashed keys, as `meter keys new` prints them; read again when it "
        "changes and on SIGHUP.",
    )
    api_keys: Annotated[tuple[ApiKey, ...], NoDecode, BeforeValidator(_parse_api_keys)] = Field(
        default_factory=_local_api_keys,
        description="Keys as organization_id:key[:read|write],… Locally, without "
        "METER_API_KEYS_FILE, one ready key of the default organization; else none.",
    )
    peer_secret: SecretStr = Field(
        default_factory=lambda values: SecretStr("" if _is_production(values) else "local-peers"),
        description="What workers know each other by, the same for all of them, at least 32 "
        "characters in production, which needs one.",
    )
    peer_ca_file: Path | None = Field(
        None,
        description="PEM file of the authority that signed the workers' certificates; commands "
        "that ask a worker trust it, too.",
    )
    webhook_hmac_keys: Annotated[
        tuple[WebhookKey, ...], NoDecode, BeforeValidator(_parse_webhook_keys)
    ] = Field(
        (),
        description="Keys as organization_id:key,… that webhooks are signed with by hmac.",
    )
    webhook_private_key_file: Path | None = Field(
        None,
        description="PEM file of the RSA key that webhooks are signed with by jwt; workers show "
        "its public half.",
    )
    webhooks_port: Port = Field(
        8081, description="Port on which `meter webhooks` answers its health and metrics."
    )
    max_batch: Count = Field(
        100,
        validation_alias=_meter_or_lago("MAX_BATCH", "EVENTS_BATCH_MAX_LENGTH"),
        description="Most events in one POST /events/batch; as one record they have at most 1 MB.",
    )

    # Pace and memory.
    flush_interval_s: float = Field(
        1.0,
        gt=0,
        le=60,
        description="Longest time between two flushes of a partition; five times as long while "
        "very many cells or partitions change and nobody waits for them.",
    )
    flush_max_changes: Count = Field(
        50_000, description="Changed cells and members after which a partition is flushed early."
    )
    slice_events: int = Field(
        1_000, ge=1, le=1_000, description="Events folded between two turns of the event loop."
    )
    dedupe_memory_bytes: int = Field(
        256 * 1024 * 1024,
        ge=1024 * 1024,
        description="Most memory for the index of known events, but for 0.1 byte of each on disk.",
    )
    warm_bytes: int = Field(
        512 * 1024 * 1024,
        ge=1024 * 1024,
        description="Cells at hand are packed sooner while they take more memory than this.",
    )
    ledger_bytes: int = Field(
        50 * 1024 * 1024 * 1024,
        ge=0,
        description="Most local disk for events that are read again; the oldest go. 0: none.",
    )
    refold_share: float = Field(
        0.5,
        ge=0,
        le=1,
        description="Share of a core for the process that feeds a large refold, less while a "
        "partition lags. 0: none, all is fed on the worker's loop.",
    )
    verify_pairs_per_minute: int = Field(
        10,
        ge=0,
        description="Metrics of subscriptions verified a minute in the background; 0: none.",
    )
    test_clock: bool = Field(
        False,
        description="Topics take the producer's time; refused against any broker but our own.",
    )

    # Quotas of every organization.
    quota_metrics: Count = Field(limits.METRICS, description="Most metrics of an organization.")
    quota_plans: Count = Field(limits.PLANS, description="Most plans of an organization.")
    quota_customers: Count = Field(
        limits.CUSTOMERS, description="Most customers of an organization."
    )
    quota_subscriptions: Count = Field(
        limits.SUBSCRIPTIONS,
        description="Most subscriptions of an organization, ended ones too.",
    )
    quota_elapsed: Count = Field(
        limits.ELAPSED,
        description="Most elapsed periods times charges of a subscription that is made.",
    )
    quota_elapsed_a_day: Count = Field(
        limits.ELAPSED_A_DAY,
        description="Most elapsed periods times charges of an organization in a day.",
    )
    quota_plan_changes_a_minute: Quota = Field(
        default_factory=lambda values: (
            limits.PLAN_CHANGES_A_MINUTE if _is_production(values) else 0
        ),
        description="Most changes of metrics and plans a minute. 0: any; so locally. Else 600.",
    )
    quota_subscription_changes_a_minute: Quota = Field(
        default_factory=lambda values: (
            limits.SUBSCRIPTION_CHANGES_A_MINUTE if _is_production(values) else 0
        ),
        description="Most changes of customers and subscriptions a minute. 0: any; so locally. "
        "Else 60,000.",
    )
    quota_corrections_a_minute: Quota = Field(
        default_factory=lambda values: limits.CORRECTIONS_A_MINUTE if _is_production(values) else 0,
        description="Most corrections over REST a minute. 0: any; so locally. Else 6,000.",
    )

    # Shapes bytes.
    home_partitioner: Partitioner = Field(
        "crc32", description="Hash that finds a key's partition: crc32 (librdkafka) or murmur2."
    )
    close_grid_s: int = Field(
        default_factory=lambda values: 60 if _is_production(values) else 1,
        ge=1,
        le=MAX_WAIT_S,
        description="Grid of due times; divides revise_every_s. 1 locally, else 60.",
    )
    revise_every_s: int = Field(
        3_600, ge=1, le=MAX_WAIT_S, description="Time between two cuts of a closed period."
    )
    late_window_s: int = Field(
        40 * DAY_S,
        ge=0,
        le=MAX_WAIT_S,
        description="How long after due time events may still revise a period.",
    )
    late_policy: LatePolicy = Field(
        "revise", description="What becomes of an event after due time."
    )
    grace_s: int = Field(
        0,
        ge=0,
        le=MAX_WAIT_S,
        description="Wait after a period's end, unless the customer has a grace period.",
    )
    close_elapsed: bool = Field(
        True, description="Publish periods that had ended when the subscription was created."
    )
    implicit_plan: bool = Field(
        default_factory=lambda values: bool(values.get("profile") == "local"),
        description="Read unknown subscriptions as if on a plan with every metric. On locally.",
    )
    max_groups: Count = Field(
        10_000,
        le=limits.GROUPS,
        description="Most groups per subscription, charge and period; 50,000 at most.",
    )
    producer_trust: ProducerTrust = Field(
        "claimed",
        description="Whose a raw record is: `claimed`, as it says; `topic`, always "
        "default_organization_id's; `header`, as the header meter-organization says that a gateway "
        "sets.",
    )
    producers_may_correct: bool = Field(
        True, description="Off: by Kafka only what a worker was asked for corrects an event."
    )
    producers_may_admit: bool = Field(
        True, description="Off: by Kafka only what a worker replays is admitted late."
    )
    usage_changed: bool = Field(
        False, description="Tell on usage-changed which subscriptions' usage has changed."
    )
    daily_records: bool = Field(
        False, description="Publish on usage-daily what each day added to the usage of a period."
    )

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        if self.producer_trust == "topic" and self.default_organization_id is None:
            raise ValueError(
                "METER_PRODUCER_TRUST is topic, so METER_DEFAULT_ORGANIZATION_ID has to be set"
            )
        if self.revise_every_s % self.close_grid_s:
            raise ValueError(
                f"METER_CLOSE_GRID_S is {self.close_grid_s} and must divide METER_REVISE_EVERY_S, "
                f"which is {self.revise_every_s}: set either"
            )
        if self.test_clock and self.profile != "test":
            raise ValueError("METER_TEST_CLOCK is for METER_PROFILE=test only: unset it")
        self._check_kafka_login()
        for kind in ("KAFKA", "REDIS"):
            key, certificate = f"{kind}_KEY_FILE", f"{kind}_CERT_FILE"
            if getattr(self, key.lower()) and not getattr(self, certificate.lower()):
                raise ValueError(f"METER_{key} is set, METER_{certificate} is not: set both")
        if (self.http_tls_cert_file is None) != (self.http_tls_key_file is None):
            raise ValueError(
                "METER_HTTP_TLS_CERT_FILE and METER_HTTP_TLS_KEY_FILE are set together: set both "
                "or none"
            )
        if self.admin_port == self.http_port:
            raise ValueError(
                f"METER_ADMIN_PORT and METER_HTTP_PORT are both {self.http_port}: set "
                "METER_ADMIN_PORT to another port, or unset it"
            )
        keys = [key.key.get_secret_value() for key in self.api_keys]
        if len(set(keys)) != len(keys):
            raise ValueError("METER_API_KEYS holds one key twice: give each entry its own")
        return self

    def _check_kafka_login(self) -> None:
        """Raise ValueError if we say who we are without what proves it."""
        if self.kafka_scram_algorithm == "OAUTHBEARER":
            if not (self.kafka_oauth_token_url or self.kafka_token_provider):
                raise ValueError(
                    "METER_KAFKA_SCRAM_ALGORITHM is OAUTHBEARER, so METER_KAFKA_OAUTH_TOKEN_URL "
                    "or METER_KAFKA_TOKEN_PROVIDER has to be set"
                )
        elif self.kafka_username and self.kafka_password is None:
            raise ValueError("METER_KAFKA_USERNAME is set, METER_KAFKA_PASSWORD is not: set both")

    def changed(self) -> dict[str, str]:
        """Return what is set and differs from its default, by field, without secrets."""
        fields = type(self).model_fields
        return {
            name: shown(getattr(self, name))
            for name in fields
            if name in self.model_fields_set and getattr(self, name) != fields[name].default
        }

    @property
    def consumer_group(self) -> str:
        """The application id as Kafka and Redis see it, prefix included."""
        return self.topic_prefix + self.application_id

    @property
    def quotas(self) -> Quotas:
        """What every organization may have."""
        return Quotas._make(getattr(self, f"quota_{name}") or None for name in Quotas._fields)

    def topic(self, name: str) -> str:
        """Return the full name of a topic."""
        return self.topic_prefix + name

    def directory_of(self, kind: str) -> Path:
        """Return where partitions have files of a kind on local disk."""
        return self.state_dir / kind / (self.topic_prefix or "meter")

    def kafka_options(self) -> dict[str, Any]:
        """Return keyword arguments that any aiokafka client takes to reach the brokers."""
        if not self.kafka_bootstrap_servers:
            raise ValueError("METER_KAFKA_BOOTSTRAP_SERVERS is not set")
        oauth = self.kafka_scram_algorithm == "OAUTHBEARER"
        with_sasl = oauth or bool(self.kafka_username)
        options: dict[str, Any] = {
            "bootstrap_servers": list(self.kafka_bootstrap_servers),
            "security_protocol": ("SASL_" if with_sasl else "")
            + ("SSL" if self.kafka_tls else "PLAINTEXT"),
        }
        if self.kafka_tls:
            options["ssl_context"] = ssl_context(
                "METER_KAFKA", self.kafka_ca_file, self.kafka_cert_file, self.kafka_key_file
            )
        if with_sasl:
            options["sasl_mechanism"] = self.kafka_scram_algorithm
        if oauth:
            options["sasl_oauth_token_provider"] = self._token_provider()
        elif self.kafka_username and self.kafka_password is not None:
            options["sasl_plain_username"] = self.kafka_username
            options["sasl_plain_password"] = self.kafka_password.get_secret_value()
        return options

    def peer_tls(self) -> ssl.SSLContext | None:
        """Return whom workers trust when they ask each other; None: the system's authorities."""
        return None if self.peer_ca_file is None else ssl_context("METER_PEER", self.peer_ca_file)

    def reader_options(self) -> dict[str, Any]:
        """Return `kafka_options` of a consumer that reads what was there before it began.

        It reads from the near replica, if one is named. Who follows a log reads from its leader.
        """
        rack = {"client_rack": self.kafka_rack} if self.kafka_rack else {}
        return self.kafka_options() | rack

    def _token_provider(self) -> object:
        from app.tokens import CalledTokens, ClientCredentials  # who asks a worker has no aiokafka

        if self.kafka_token_provider is not None:
            return CalledTokens(self.kafka_token_provider)
        return ClientCredentials(
            self.kafka_oauth_token_url or "",
            self.kafka_oauth_client_id,
            self.kafka_oauth_client_secret.get_secret_value(),
            self.kafka_oauth_scope,
            self.kafka_ca_file,
        )


def shown(value: object) -> str:
    """Return the text of a setting's value without its secrets."""
    if value is None:
        return ""
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    if isinstance(value, bool):
        return str(value).lower()
    text = str(value)
    if "://" not in text:
        return text
    password = urlsplit(text).password
    text = text.replace(f":{password}@", ":***@") if password else text
    return re.sub(r"([?&]password=)[^&]*", r"\1***", text)


SHAPES_BYTES = tuple(
    name for name in SettingsRecord.__struct_fields__ if name in Settings.model_fields
)
"""Fields that live in the definitions log; METER_* only fills its first record."""


def environment_names(field: str) -> tuple[str, ...]:
    """Return the environment variables a field is read from, ours first."""
    alias = Settings.model_fields[field].validation_alias
    if isinstance(alias, AliasChoices):
        return tuple(str(choice) for choice in alias.choices)
    return (PREFIX + field.upper(),)


def unknown_variables(environment: Mapping[str, str]) -> list[str]:
    """Return METER_* variables, and Lago's for Kafka and Redis, that set nothing.

    They are most likely misspelt.
    """
    known = {name for field in Settings.model_fields for name in environment_names(field)}
    known.update(OF_CLIENTS | OF_THE_PROGRAM)
    return sorted(
        name for name in environment if name.startswith(_OURS) and name.upper() not in known
    )


OF_CLIENTS = frozenset(
    f"{PREFIX}{name}" for name in ("API_KEY", "API_KEY_FILE", "CONTEXT", "LAGO_KEY_FILE", "URL")
)
"""What the commands that ask a worker go by; no settings of a worker."""

OF_THE_PROGRAM = frozenset({f"{PREFIX}KERNEL"})
"""What is read before any setting: `app.kernel`."""

_OURS = (PREFIX, "LAGO_KAFKA_", "LAGO_REDIS_")


HOST = "127.0.0.1"

"""Every setting in one model: METER_* environment variables; Lago's own names work too."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from app.definitions.model import MAX_WAIT_S

PREFIX = "METER_"
LOCAL_ORGANIZATION_ID = "00000000-0000-4000-8000-000000000001"
DAY_S = 86_400

Profile = Literal["local", "production", "test"]
Access = Literal["read", "write"]
ScramAlgorithm = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]


class ApiKey(BaseModel):
    """A key and the one organization it speaks for; `write` includes reading."""

    model_config = ConfigDict(frozen=True)

    organization_id: str = Field(min_length=1)
    key: SecretStr = Field(min_length=1)
    access: Access = "write"

    @classmethod
    def parse(cls, text: str) -> ApiKey:
        """From `organization_id:key[:read|write]`."""
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


def _parse_api_keys(value: object) -> object:
    if isinstance(value, str):
        return tuple(ApiKey.parse(part) for part in value.split(",") if part.strip())
    return value


def _comma_list(value: object) -> object:
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


def _with_redis_scheme(value: str | None) -> str | None:
    """Lago writes `host:port` where a URL is meant."""
    return value if value is None or "://" in value else f"redis://{value}"


def _meter_or_lago(meter: str, *lago: str) -> AliasChoices:
    return AliasChoices(PREFIX + meter, *(f"LAGO_{name}" for name in lago))


def _is_production(values: Mapping[str, Any]) -> bool:
    return bool(values.get("profile", "production") == "production")


def _local_api_keys(values: Mapping[str, Any]) -> tuple[ApiKey, ...]:
    if _is_production(values):
        return ()
    return (ApiKey(organization_id=LOCAL_ORGANIZATION_ID, key=SecretStr("local-key")),)


Count = Annotated[int, Field(ge=1)]
Port = Annotated[int, Field(ge=1, le=65_535)]


class Settings(BaseSettings):
    """Settings of one process. Those under "shapes bytes" fill the first settings record only."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        extra="ignore",
        frozen=True,
        populate_by_name=True,
        env_ignore_empty=True,
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

    # Kafka.
    kafka_bootstrap_servers: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_comma_list)] = (
        Field(
            (),
            validation_alias=_meter_or_lago("KAFKA_BOOTSTRAP_SERVERS", "KAFKA_BOOTSTRAP_SERVERS"),
            description="Kafka brokers as host:port,host:port. Empty: `meter up` starts its own.",
        )
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
    kafka_scram_algorithm: ScramAlgorithm = Field(
        "PLAIN",
        validation_alias=_meter_or_lago("KAFKA_SCRAM_ALGORITHM", "KAFKA_SCRAM_ALGORITHM"),
        description="SASL mechanism: SCRAM-SHA-256, SCRAM-SHA-512 or PLAIN.",
    )
    kafka_tls: bool = Field(
        False,
        validation_alias=_meter_or_lago("KAFKA_TLS", "KAFKA_TLS"),
        description="Encrypt the connections to Kafka.",
    )
    kafka_ca_file: Path | None = Field(
        None, description="PEM file of the authority that signed the brokers' certificates."
    )
    application_id: str = Field(
        "meterstream",
        min_length=1,
        validation_alias=_meter_or_lago("APPLICATION_ID", "KAFKA_CONSUMER_GROUP"),
        description="Consumer group and first part of the transactional ids.",
    )
    group_instance_id: str = Field(
        "",
        description="Name of this worker in the group, its own and the same after a restart: "
        "partitions then wait for it until the session ends. Empty: none.",
    )
    topic_prefix: str = Field(
        "", description="Put before topic, changelog and consumer group names as it stands."
    )
    raw_topic: str = Field(
        "events-raw",
        min_length=1,
        validation_alias=_meter_or_lago("RAW_TOPIC", "KAFKA_RAW_EVENTS_TOPIC"),
        description="Topic of the product's events.",
    )
    dead_letter_topic: str = Field(
        "events-dead-letter",
        min_length=1,
        validation_alias=_meter_or_lago("DEAD_LETTER_TOPIC", "KAFKA_EVENTS_DEAD_LETTER_TOPIC"),
        description="Topic of refused events.",
    )
    usage_records_topic: str = Field(
        "usage-records", min_length=1, description="Topic of the published usage records."
    )
    raw_partitions: Count = Field(
        default_factory=lambda values: 12 if _is_production(values) else 4,
        description="Partitions of the raw topic; fixed once events are in it. 4 locally, else 12.",
    )
    replication_factor: Count = Field(
        default_factory=lambda values: 3 if _is_production(values) else 1,
        description="Copies of each topic that is created. 1 locally, else 3.",
    )

    # Redis.
    redis_url: Annotated[str | None, AfterValidator(_with_redis_scheme)] = Field(
        None,
        validation_alias=_meter_or_lago("REDIS_URL", "REDIS_STORE_URL"),
        description="Redis, as redis://host:port/db. Empty: `meter up` starts its own.",
    )

    # The servers that `meter up` and `meter stack` start.
    kafka_port: Port = Field(9092, description="Port of the Kafka that `meter up` starts.")
    kafka_dir: Path = Field(
        default_factory=lambda values: Path(values.get("state_dir", ".meter")) / "kafka",
        description="Files of the Kafka that `meter up` starts.",
    )
    redis_port: Port = Field(16_379, description="Port of the Redis that `meter up` starts.")

    # HTTP.
    http_host: str = Field(
        default_factory=lambda values: "0.0.0.0" if _is_production(values) else "127.0.0.1",  # noqa: S104
        description="Address to listen on. 127.0.0.1 locally, else 0.0.0.0.",
    )
    http_port: Port = Field(8080, description="Port of API, page and metrics.")
    advertised_url: str | None = Field(
        None, description="URL under which the other workers reach this one."
    )
    api_keys: Annotated[tuple[ApiKey, ...], NoDecode, BeforeValidator(_parse_api_keys)] = Field(
        default_factory=_local_api_keys,
        description="Keys as organization_id:key[:read|write],… One ready key locally, else none.",
    )
    max_batch: Count = Field(
        100,
        validation_alias=_meter_or_lago("MAX_BATCH", "EVENTS_BATCH_MAX_LENGTH"),
        description="Most events in one POST /events/batch; as one record they have at most 1 MB.",
    )

    # Pace and memory.
    flush_interval_s: float = Field(
        1.0, gt=0, description="Longest time between two flushes of a partition."
    )
    flush_max_changes: Count = Field(
        50_000, description="Changed cells and members after which a partition is flushed early."
    )
    slice_events: int = Field(
        1_000, ge=1, le=1_000, description="Events folded between two turns of the event loop."
    )
    dedupe_memory_bytes: int = Field(
        256 * 1024 * 1024, ge=1024 * 1024, description="Most memory for the index of known events."
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

    # Shapes bytes.
    home_partitioner: Literal["crc32", "murmur2"] = Field(
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
    late_policy: Literal["revise", "refuse"] = Field(
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
        10_000, description="Most groups per subscription, charge and period."
    )
    default_organization_id: str | None = Field(
        default_factory=lambda values: None if _is_production(values) else LOCAL_ORGANIZATION_ID,
        description="Organization of an event that names none; without it such events are refused.",
    )

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        if self.revise_every_s % self.close_grid_s:
            raise ValueError("close_grid_s must divide revise_every_s")
        if self.test_clock and self.profile != "test":
            raise ValueError("test_clock is for the test profile only")
        if self.kafka_username and self.kafka_password is None:
            raise ValueError("kafka_username is set, kafka_password is not")
        keys = [key.key.get_secret_value() for key in self.api_keys]
        if len(set(keys)) != len(keys):
            raise ValueError("api_keys holds one key twice")
        return self

    @property
    def consumer_group(self) -> str:
        """The application id as Kafka and Redis see it, prefix included."""
        return self.topic_prefix + self.application_id

    def topic(self, name: str) -> str:
        """The full name of a topic."""
        return self.topic_prefix + name

    def kafka_options(self) -> dict[str, Any]:
        """Keyword arguments that any aiokafka client takes to reach the brokers."""
        if not self.kafka_bootstrap_servers:
            raise ValueError("METER_KAFKA_BOOTSTRAP_SERVERS is not set")
        secured = {(False, False): "PLAINTEXT", (True, False): "SSL"}
        sasl = {(False, True): "SASL_PLAINTEXT", (True, True): "SASL_SSL"}
        options: dict[str, Any] = {
            "bootstrap_servers": list(self.kafka_bootstrap_servers),
            "security_protocol": (secured | sasl)[self.kafka_tls, bool(self.kafka_username)],
        }
        if self.kafka_tls:
            options["ssl_context"] = ssl.create_default_context(cafile=self.kafka_ca_file)
        if self.kafka_username and self.kafka_password is not None:
            options["sasl_mechanism"] = self.kafka_scram_algorithm
            options["sasl_plain_username"] = self.kafka_username
            options["sasl_plain_password"] = self.kafka_password.get_secret_value()
        return options


SHAPES_BYTES = (
    "home_partitioner",
    "close_grid_s",
    "revise_every_s",
    "late_window_s",
    "late_policy",
    "grace_s",
    "close_elapsed",
    "implicit_plan",
    "max_groups",
    "default_organization_id",
)
"""Fields that live in the definitions log; METER_* only fills its first record."""


def environment_names(field: str) -> tuple[str, ...]:
    """The environment variables a field is read from, ours first."""
    alias = Settings.model_fields[field].validation_alias
    if isinstance(alias, AliasChoices):
        return tuple(str(choice) for choice in alias.choices)
    return (PREFIX + field.upper(),)


def unknown_variables(environment: Mapping[str, str]) -> list[str]:
    """METER_* variables that set nothing: most likely misspelt."""
    known = {name for field in Settings.model_fields for name in environment_names(field)}
    return sorted(
        name for name in environment if name.startswith(PREFIX) and name.upper() not in known
    )

"""Settings from METER_*, from Lago's names, and by profile."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from app.definitions.model import SettingsRecord
from app.settings import (
    LOCAL_ORGANIZATION_ID,
    SHAPES_BYTES,
    Settings,
    environment_names,
    unknown_variables,
)


@pytest.mark.parametrize(
    ("environment", "field", "value"),
    [
        ({"METER_KAFKA_BOOTSTRAP_SERVERS": "a:1, b:2"}, "kafka_bootstrap_servers", ("a:1", "b:2")),
        ({"LAGO_KAFKA_BOOTSTRAP_SERVERS": "a:1,b:2"}, "kafka_bootstrap_servers", ("a:1", "b:2")),
        (
            {"LAGO_KAFKA_BOOTSTRAP_SERVERS": "lago:1", "METER_KAFKA_BOOTSTRAP_SERVERS": "ours:1"},
            "kafka_bootstrap_servers",
            ("ours:1",),
        ),
        (
            {"LAGO_KAFKA_BOOTSTRAP_SERVERS": "lago:1", "METER_KAFKA_BOOTSTRAP_SERVERS": ""},
            "kafka_bootstrap_servers",
            ("lago:1",),
        ),
        ({"LAGO_REDIS_STORE_URL": "redis:6379"}, "redis_url", "redis://redis:6379"),
        (
            {"METER_REDIS_URL": "rediss://u:p@redis:6379/3"},
            "redis_url",
            "rediss://u:p@redis:6379/3",
        ),
        ({"LAGO_KAFKA_RAW_EVENTS_TOPIC": "events_raw"}, "raw_topic", "events_raw"),
        ({"LAGO_KAFKA_EVENTS_DEAD_LETTER_TOPIC": "dead"}, "dead_letter_topic", "dead"),
        ({"LAGO_KAFKA_CONSUMER_GROUP": "group"}, "application_id", "group"),
        ({"LAGO_KAFKA_SCRAM_ALGORITHM": "SCRAM-SHA-512"}, "kafka_scram_algorithm", "SCRAM-SHA-512"),
        ({"LAGO_KAFKA_TLS": "true"}, "kafka_tls", True),
        ({"LAGO_EVENTS_BATCH_MAX_LENGTH": "250"}, "max_batch", 250),
        ({"METER_LATE_POLICY": "refuse"}, "late_policy", "refuse"),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else None,
)
def test_variables_fill_fields(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], field: str, value: object
) -> None:
    for name, text in environment.items():
        monkeypatch.setenv(name, text)
    assert getattr(Settings(), field) == value


@pytest.mark.parametrize(
    ("field", "production", "local", "test"),
    [
        ("close_grid_s", 60, 1, 1),
        ("implicit_plan", False, True, False),
        ("raw_partitions", 64, 4, 4),
        ("replication_factor", 3, 1, 1),
        ("default_organization_id", None, LOCAL_ORGANIZATION_ID, LOCAL_ORGANIZATION_ID),
        ("http_host", "0.0.0.0", "127.0.0.1", "127.0.0.1"),
        ("revise_every_s", 3600, 3600, 3600),
        ("late_window_s", 40 * 86_400, 40 * 86_400, 40 * 86_400),
    ],
)
def test_defaults_by_profile(field: str, production: object, local: object, test: object) -> None:
    values = [getattr(Settings(profile=p), field) for p in ("production", "local", "test")]
    assert values == [production, local, test]


def test_a_value_that_is_set_beats_the_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METER_CLOSE_GRID_S", "30")
    assert Settings(profile="local").close_grid_s == 30


def test_production_has_no_ready_made_key() -> None:
    assert Settings(profile="production").api_keys == ()
    (key,) = Settings(profile="local").api_keys
    assert key.organization_id == LOCAL_ORGANIZATION_ID


def test_the_ready_made_key_is_the_default_organizations() -> None:
    (key,) = Settings(profile="local", default_organization_id="acme").api_keys
    assert key.organization_id == "acme"


def test_beside_a_file_of_keys_there_is_no_ready_made_key(tmp_path: Path) -> None:
    """Who says whose keys may write does not mean one that everybody knows."""
    file = tmp_path / "keys.toml"
    assert Settings(profile="local", api_keys_file=file).api_keys == ()
    own = Settings(profile="local", api_keys_file=file, api_keys="acme:one")
    assert [each.organization_id for each in own.api_keys] == ["acme"]


def test_api_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METER_API_KEYS", "acme:one, acme:two:read,globex:three:write,")
    found = [(k.organization_id, k.key.get_secret_value(), k.access) for k in Settings().api_keys]
    assert found == [
        ("acme", "one", "write"),
        ("acme", "two", "read"),
        ("globex", "three", "write"),
    ]


def test_webhook_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METER_WEBHOOK_HMAC_KEYS", "acme:one:and more, globex:hidden,")
    keys = Settings().webhook_hmac_keys
    found = [(key.organization_id, key.key.get_secret_value()) for key in keys]
    assert found == [("acme", "one:and more"), ("globex", "hidden")]
    assert "hidden" not in f"{Settings()!r} {keys[1]}"


@pytest.mark.parametrize("text", ["acme", "acme:", ":key"])
def test_webhook_keys_that_are_none(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("METER_WEBHOOK_HMAC_KEYS", text)
    with pytest.raises(ValidationError, match="organization_id:key"):
        Settings()


@pytest.mark.parametrize("text", ["acme", "acme:", ":key", "acme:key:all", "a:b:read:c", "a::read"])
def test_api_keys_that_are_none(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("METER_API_KEYS", text)
    with pytest.raises(ValidationError):
        Settings()


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"close_grid_s": 7}, "METER_CLOSE_GRID_S is 7 and must divide METER_REVISE_EVERY_S"),
        ({"test_clock": True}, "METER_TEST_CLOCK is for METER_PROFILE=test"),
        ({"kafka_username": "user"}, "METER_KAFKA_PASSWORD is not"),
        ({"kafka_scram_algorithm": "OAUTHBEARER"}, "METER_KAFKA_OAUTH_TOKEN_URL"),
        ({"redis_key_file": "k"}, "METER_REDIS_KEY_FILE is set, METER_REDIS_CERT_FILE is not"),
        ({"http_tls_cert_file": "c"}, "METER_HTTP_TLS_KEY_FILE are set together"),
        ({"admin_port": 8080}, "METER_ADMIN_PORT and METER_HTTP_PORT are both 8080"),
        (
            {"producer_trust": "topic", "profile": "production"},
            "METER_DEFAULT_ORGANIZATION_ID has to be set",
        ),
        ({"api_keys": "a:same,b:same"}, "METER_API_KEYS holds one key twice"),
        ({"slice_events": 1001}, "1000"),
        ({"raw_partitions": 0}, "raw_partitions"),
        ({"late_policy": "drop"}, "late_policy"),
        ({"late_window_s": 10**12}, "less than or equal to 3153600000"),
        ({"grace_s": 10**12}, "less than or equal to 3153600000"),
        ({"revise_every_s": 36 * 10**10}, "less than or equal to 3153600000"),
        ({"close_grid_s": 10**12}, "less than or equal to 3153600000"),
        ({"max_groups": 50_001}, "less than or equal to 50000"),
        ({"flush_interval_s": "inf"}, "finite number"),
        ({"refold_share": "nan"}, "finite number"),
        ({"group_session_timeout_s": "nan"}, "finite number"),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else None,
)
def test_values_that_cannot_be(values: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Settings(**values)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://x", "its scheme is none of Redis"),
        ("redis+other://x", "its scheme is none of Redis"),
        ("redis://h:abc/0", "its host or port is none"),
        ("redis://user:se/cret@h:1/0", "its host or port is none"),
        ("redis+cluster://h:1,i:99999", "its host or port is none"),
        ("redis://[::1/0", "its host or port is none"),
        ("redis+sentinel://h:1,i:2", "it names no service"),
        ("redis+sentinel://h:1,i:2/service/x", "or no database"),
        ("h:6379/xyz", "its database is no number"),
        ("rediss://h/1.5", "its database is no number"),
    ],
)
def test_urls_of_no_redis(url: str, said: str) -> None:
    with pytest.raises(ValidationError, match=said) as refused:
        Settings(redis_url=url)
    assert all("cret" not in told["msg"] for told in refused.value.errors(include_input=False))


@pytest.mark.parametrize(
    "url",
    [
        "redis://h",
        "redis://:p%2Fw@h:1/3",
        "rediss://[::1]:6379/0?ssl_cert_reqs=none",
        "unix:///run/redis.sock",
        "redis+cluster://u:p@h:1,i",
        "rediss+sentinel://h:1,i/service/2?sentinel_password=x",
    ],
)
def test_urls_of_a_redis_stay_as_they_are(url: str) -> None:
    assert Settings(redis_url=url).redis_url == url


@pytest.mark.parametrize(
    "url",
    [
        "foo",
        "ftp://h",
        "http://",
        "https://:8080",
        "http://h:x",
        "http://h:0",
        "http://h\n",
        "http://h h",
    ],
)
def test_a_url_that_no_worker_has(url: str) -> None:
    with pytest.raises(ValidationError, match="advertised_url"):
        Settings(advertised_url=url)


@pytest.mark.parametrize("field", ["kafka_oauth_token_url", "maven_url"])
def test_other_urls_are_looked_at_as_well(field: str) -> None:
    bad: dict[str, Any] = {field: "abc"}
    with pytest.raises(ValidationError, match=field):
        Settings(**bad)


@pytest.mark.parametrize(
    "place", ["h:9092/", "h:abc", "h:99999", "h:0", "h:", ":9092", "u@h:1", "h 1", "kafka://h:1"]
)
def test_addresses_of_no_broker(place: str) -> None:
    with pytest.raises(ValidationError, match="no address of a broker: write host:port"):
        Settings(kafka_bootstrap_servers=("first:9092", place))


def test_addresses_of_brokers_stay_as_they_are() -> None:
    places = ("h:9092", "b-1.example.org:9094", "[::1]:9092", "127.0.0.1:19092", "kafka")
    assert Settings(kafka_bootstrap_servers=places).kafka_bootstrap_servers == places


@pytest.mark.parametrize(
    ("field", "value"),
    [("raw_partitions", 10**20), ("replication_factor", 32_768), ("flush_interval_s", 61)],
)
def test_more_than_anything_has(field: str, value: float) -> None:
    bad: dict[str, Any] = {field: value}
    with pytest.raises(ValidationError, match=field):
        Settings(**bad)


@pytest.mark.parametrize("field", ["topic_prefix", "raw_topic", "dead_letter_topic"])
def test_names_that_no_topic_has(field: str) -> None:
    bad: dict[str, Any] = {field: "bad prefix/"}
    with pytest.raises(ValidationError, match="may have letters"):
        Settings(**bad)
    good: dict[str, Any] = {field: "good_Prefix-1."}
    assert getattr(Settings(**good), field) == "good_Prefix-1."


def test_secrets_are_not_printed() -> None:
    settings = Settings(
        kafka_username="user",
        kafka_password="hidden-1",
        api_keys="acme:hidden-2",
    )
    assert "hidden" not in f"{settings!r} {settings.api_keys[0]}"


@pytest.mark.parametrize(
    ("values", "protocol"),
    [
        ({}, "PLAINTEXT"),
        ({"kafka_tls": True}, "SSL"),
        ({"kafka_username": "u", "kafka_password": "p"}, "SASL_PLAINTEXT"),
        ({"kafka_username": "u", "kafka_password": "p", "kafka_tls": True}, "SASL_SSL"),
    ],
    ids=["plain", "tls", "sasl", "sasl over tls"],
)
def test_kafka_options(values: dict[str, Any], protocol: str) -> None:
    options = Settings(
        kafka_bootstrap_servers="a:1", kafka_scram_algorithm="SCRAM-SHA-256", **values
    ).kafka_options()
    assert options["bootstrap_servers"] == ["a:1"]
    assert options["security_protocol"] == protocol
    assert ("ssl_context" in options) == ("SSL" in protocol.split("_"))
    sasl = {key: options[key] for key in options if key.startswith("sasl_")}
    if "SASL" in protocol:
        assert sasl == {
            "sasl_mechanism": "SCRAM-SHA-256",
            "sasl_plain_username": "u",
            "sasl_plain_password": "p",
        }
    else:
        assert sasl == {}


def test_no_brokers_is_told() -> None:
    with pytest.raises(ValueError, match="METER_KAFKA_BOOTSTRAP_SERVERS"):
        Settings().kafka_options()


def test_prefix_is_put_as_it_stands() -> None:
    settings = Settings(topic_prefix="acme.")
    assert settings.consumer_group == "acme.meterstream"
    assert settings.topic("events-raw") == "acme.events-raw"


def test_every_setting_is_documented() -> None:
    for name, field in Settings.model_fields.items():
        assert field.description, name
        assert field.description.endswith("."), name
        assert environment_names(name)[0] == f"METER_{name.upper()}"
    of_the_program = {"fold_version", "tzdata_version", "input_limits"}
    assert {*SettingsRecord.__struct_fields__} - {*SHAPES_BYTES} == of_the_program


def test_misspelt_variables_are_found() -> None:
    environment = {"METER_RAW_PARTITION": "4", "METER_RAW_PARTITIONS": "4", "HOME": "/"}
    assert unknown_variables(environment) == ["METER_RAW_PARTITION"]


def test_only_readers_of_what_was_there_before_read_in_the_rack_of_the_worker() -> None:
    settings = Settings(profile="test", kafka_bootstrap_servers=("a:1",), kafka_rack="zone-a")
    assert settings.reader_options() == settings.kafka_options() | {"client_rack": "zone-a"}
    assert "client_rack" not in settings.kafka_options()
    leaders = Settings(profile="test", kafka_bootstrap_servers=("a:1",))
    assert leaders.reader_options() == leaders.kafka_options()

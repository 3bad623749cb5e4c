"""What `meter up` greets with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from app.cli.up import _welcome
from app.settings import LOCAL_ORGANIZATION_ID, Settings

URL = "http://127.0.0.1:8080"


def _settings(**values: Any) -> Settings:
    return Settings(profile="local", kafka_bootstrap_servers=("127.0.0.1:9092",), **values)


def test_the_organization_is_the_one_that_is_set() -> None:
    told = _welcome(_settings(default_organization_id="acme"), URL, True)
    assert "(key local-key, organization acme)" in told
    assert "with key acme-me\n" in told
    assert LOCAL_ORGANIZATION_ID not in told


def test_of_a_file_of_keys_no_key_can_be_shown(tmp_path: Path) -> None:
    file = tmp_path / "keys.toml"
    settings = _settings(api_keys_file=file, default_organization_id="acme")
    told = _welcome(settings, URL, True)
    assert f"(KEY is one of {file}, organization acme)" in told
    assert "'Authorization: Bearer KEY'" in told
    assert "local-key" not in told

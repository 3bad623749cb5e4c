"""`meter set-aside`: what is lifted has a name."""

from __future__ import annotations

import pytest

from app.main import Worker
from tests.app.cli.conftest import Meter
from tests.app.cli.test_export import brokers_of


@pytest.mark.servers
async def test_what_nothing_is_set_aside_as_has_no_name(worker: Worker, meter: Meter) -> None:
    lifted = await meter("set-aside", "lift", "nope", **brokers_of(worker))
    assert (lifted.exit_code, lifted.stdout) == (4, ""), lifted.output
    assert "Nothing is set aside as nope" in lifted.stderr
    listed = await meter("set-aside", "list", **brokers_of(worker))
    header = "lago_id partition from to index code message set_aside_at"
    assert listed.stdout.split() == header.split(), "no row, and all columns"

"""What ends a worker is told in a line that names what to set."""

from __future__ import annotations

import pytest
from redis.exceptions import ResponseError

from app.cli.serving import stopped_plainly
from app.errors import StackError
from app.kafka.record_batch import OffsetsLost
from app.settings import Settings


@pytest.mark.parametrize(
    ("error", "named"),
    [
        (ResponseError("unknown command 'SENTINEL'"), "correct METER_REDIS_URL"),
        (OffsetsLost("events_raw partition 2 ends at offset 0."), "METER_RAW_TOPIC"),
    ],
)
def test_an_error_names_its_setting(error: Exception, named: str) -> None:
    settings = Settings(profile="local", redis_url="redis://user:secret@redis:6379/0")
    with pytest.raises(StackError, match=named) as told, stopped_plainly(settings):
        raise error
    assert str(error).rstrip(".") in str(told.value)
    assert "secret" not in str(told.value)

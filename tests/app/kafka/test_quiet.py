"""What of Faust does nothing here, by the names that Faust has for it."""

from __future__ import annotations

import pytest
from faust.sensors import Monitor
from faust.transport.drivers import aiokafka as driver
from mode import Service

from app.kafka.quiet import QuietConsumer, QuietMonitor, QuietThread


@pytest.mark.parametrize(
    ("quiet", "stock", "name"),
    [
        (QuietMonitor, Monitor, "_sampler"),
        (QuietThread, driver.AIOKafkaConsumerThread, "_thread_keepalive"),
        (QuietThread, driver.AIOKafkaConsumerThread, "_keepalive2"),
        (QuietConsumer, driver.Consumer, "_commit_livelock_detector"),
    ],
)
def test_each_takes_the_place_of_what_faust_has(
    quiet: type[Service], stock: type[Service], name: str
) -> None:
    """Under another name Faust would go on with its own."""
    assert name in vars(quiet)
    assert type(getattr(quiet, name)) is type(getattr(stock, name))

"""A Faust transport that delivers each fetched batch of a partition as one stream item.

Source: stream-engine.md §2 (what stock Faust does, and why each override is here), state.md §3-§4.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from faust.transport.drivers import TRANSPORTS
from faust.transport.drivers import aiokafka as driver

from app.kafka.batch_consumer import BatchConsumer, OwningApp
from app.kafka.clients import Producer

SCHEME: Final = "kafkabatch"


class _Producer(driver.Producer):
    """Faust's own producer: it sends nothing of ours, but it has to connect."""

    app: OwningApp

    def _settings_auth(self) -> Mapping[str, Any]:
        return self.app.settings.kafka_options()

    @property
    def _producer_type(self) -> type[Producer]:
        return Producer


class Transport(driver.Transport):
    """`kafkabatch://`."""

    Consumer = BatchConsumer
    Producer = _Producer


TRANSPORTS.aliases[SCHEME] = f"{__name__}:Transport"

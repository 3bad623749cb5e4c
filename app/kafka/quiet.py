"""Parts of Faust without those of their timers that serve nothing here.

Each of them wakes a loop about once a second, also in a worker where nothing comes.
"""

from __future__ import annotations

from faust.sensors import Monitor
from faust.transport.drivers import aiokafka as driver
from mode import Service


class QuietMonitor(Monitor):
    """A monitor without rates: our own metrics tell them."""

    @Service.task
    async def _sampler(self) -> None:
        """Sample nothing."""


class QuietThread(driver.AIOKafkaConsumerThread):
    """A consumer's thread that is woken by what is asked of it."""

    @Service.task
    async def _thread_keepalive(self) -> None:
        """Wake nobody: whoever calls the thread wakes its loop."""

    async def _keepalive2(self) -> None:
        """Wake nobody: that the group is not heard is told elsewhere."""


class QuietConsumer(driver.Consumer):
    """A consumer that does not look whether acknowledgements stand still.

    Stock looks at what it acknowledges itself, which moves no offset here.
    """

    @Service.task
    async def _commit_livelock_detector(self) -> None:
        """Look for nothing."""

"""What a broker loads, kept as the JVM maps it: each broker of the tests starts in half the time.

`python -m tests.world.live.broker_classes` makes the file, in the virtual environment. A Java that
cannot share classes, or another one than made it, does without.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from pathlib import Path

from app.local_servers.kafka import LocalKafka
from app.local_servers.ports import free_ports
from app.local_servers.redis import LocalRedis
from app.settings import Settings

CLASSES = Path(sys.prefix) / "broker-classes.jsa"

# Most brokers of the suite live for seconds: compiling them well costs more than it gives back.
_SHORT_LIVED = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"


def java_options() -> str:
    """Return what every Java of the tests is started with."""
    if not CLASSES.exists() or not CLASSES.stat().st_size:
        return _SHORT_LIVED
    return f"{_SHORT_LIVED} -XX:SharedArchiveFile={CLASSES} -Xlog:cds*=off"


class _KeepsClasses(LocalKafka):
    """A broker that writes down, at its end, what it has loaded."""

    def _prepare(self) -> list[str]:
        java, *rest = super()._prepare()
        return [java, f"-XX:ArchiveClassesAtExit={CLASSES}", *rest]


async def make() -> None:
    """Run a worker on a broker for a moment, so that it has loaded what serving one takes."""
    # Every session imports this module, and most need no worker.
    from app.main import running_worker

    # Empty, it says that this Java has been tried.
    CLASSES.unlink(missing_ok=True)
    CLASSES.touch()
    os.environ["JDK_JAVA_OPTIONS"] = _SHORT_LIVED
    with tempfile.TemporaryDirectory(prefix="broker-classes-") as name:
        directory = Path(name)
        (port,) = free_ports(1)
        async with (
            LocalRedis(directory / "redis") as redis,
            _KeepsClasses(directory / "kafka") as kafka,
        ):
            settings = Settings(
                profile="test",
                topic_prefix="classes-",
                state_dir=directory / "state",
                kafka_bootstrap_servers=(kafka.bootstrap_servers,),
                kafka_dir=kafka.directory,
                redis_url=redis.url,
                http_port=port,
                raw_partitions=1,
            )
            async with running_worker(settings):
                pass


if __name__ == "__main__":
    asyncio.run(make())

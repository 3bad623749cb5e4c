"""One worker as the web sees it: implements `app.meter.interface.Meter`."""

from __future__ import annotations

from app.definitions.state import Definitions
from app.meter.health import UNREADY, Reason
from app.queries.definer import Definer
from app.queries.events import Events
from app.queries.evidence import Evidence, ProveTopics
from app.queries.ingest import Ingest
from app.queries.overview import Overviews
from app.queries.records import Records
from app.queries.repairs import Repairs
from app.queries.routing import Routing
from app.queries.usage import Usage
from app.runtime.engine import Engine


class Gateway:
    """Answers for the partitions that this worker owns; everything else is `Unavailable`."""

    def __init__(self, engine: Engine, prove_topics: ProveTopics):
        self._engine = engine
        self.opened = False
        self.routing = Routing(engine)
        self.definer = Definer(engine)
        self.ingest = Ingest(engine, self.routing)
        self.events = Events(engine, self.routing)
        self.usage = Usage(engine, self.routing)
        self.published = Records(engine, self.routing)
        self.evidence = Evidence(engine, self.routing, self.published, prove_topics)
        self.repairs = Repairs(engine, self.definer)
        self.overviews = Overviews(engine)

    @property
    def definitions(self) -> Definitions:
        """Return the definitions log as applied here."""
        return self._engine.definitions

    def now_ms(self) -> int:
        """Return the clock, in ms since the epoch."""
        return self._engine.clock.now_ms()

    def not_ready(self) -> tuple[str, ...]:
        """Say why this worker should get no traffic yet, a sentence each; empty when it should."""
        return tuple(reason.message for reason in self.health() if reason.code in UNREADY)

    def health(self) -> list[Reason]:
        """Return everything that is not as it should be."""
        return self._engine.reasons()

"""Find who answers for a subscription: this worker, another one, or nobody now."""

from __future__ import annotations

from collections.abc import Sequence

from app.meter.errors import Unavailable
from app.runtime.engine import Engine
from app.runtime.partition.owned import OwnedPartition

CHANGED_HANDS = "partitions changed hands meanwhile: ask again, once no worker comes or goes"


class Routing:
    """Knows the partitions here, and by their reports the owners of the others."""

    def __init__(self, engine: Engine):
        self._engine = engine

    def owner(self, organization_id: str, external_subscription_id: str) -> str | None:
        """Return the base URL of the owner; None: this worker."""
        return self._owner_of(self._engine.homes.of(organization_id, external_subscription_id))

    def peers(self) -> Sequence[str]:
        """Return the base URLs of the other workers that own partitions."""
        owners = map(self._owner_of, range(self._engine.settings.raw_partitions))
        return sorted({url for url in owners if url is not None})

    def _owner_of(self, number: int) -> str | None:
        """Return the base URL of a partition's owner; None: this worker."""
        engine = self._engine
        if number in engine.owned and number not in engine.restoring:
            return None
        progress = engine.progress.of(number)
        if number in engine.restoring or progress is None or progress.url == engine.url:
            raise Unavailable(f"partition {number} is changing hands")
        return progress.url

    def at_home(self, organization_id: str, external_subscription_id: str) -> OwnedPartition:
        """Return the partition of a subscription. Raises Unavailable while it is not here."""
        engine = self._engine
        number = engine.homes.of(organization_id, external_subscription_id)
        owned = engine.owned.get(number)
        if owned is None or number in engine.restoring:
            raise Unavailable(f"partition {number} is changing hands")
        return owned

    def all_owned(self) -> list[OwnedPartition]:
        """Return every partition that is to be asked here.

        Raises Unavailable while one has no owner yet: others may believe that it is this worker.
        """
        self.peers()
        return list(self._engine.owned.values())

    def asked(
        self, organization_id: str, external_subscription_id: str | None
    ) -> list[OwnedPartition]:
        """Return the partition of a subscription; None: every one here. Raises Unavailable."""
        if external_subscription_id is None:
            return self.all_owned()
        return [self.at_home(organization_id, external_subscription_id)]

    def check_same(self, parts: list[OwnedPartition]) -> None:
        """Raise Unavailable if this worker's partitions changed since the query began.

        The other workers, which are asked now, would answer for some of them too, or for none.
        """
        if self.all_owned() != parts:
            raise Unavailable(CHANGED_HANDS)

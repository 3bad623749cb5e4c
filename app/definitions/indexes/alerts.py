"""Alerts: by id, and by the external subscription that they are about."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from dataclasses import dataclass, field

from app.definitions.indexes.index import CodeKey, Index
from app.definitions.model import Alert
from app.definitions.timeline import NEVER_MS
from app.definitions.versions import Versions


@dataclass
class AlertIndex(Index):
    """All alerts, deleted ones too."""

    versions: MutableMapping[str, Versions[Alert]] = field(default_factory=dict)
    by_name: MutableMapping[CodeKey, list[str]] = field(default_factory=dict)
    """Ids of all that ever were, by organization and external subscription id, in order."""
    organizations: MutableMapping[str, None] = field(default_factory=dict)
    """Organizations that have or had any."""
    metrics: MutableMapping[str, None] = field(default_factory=dict)
    """Ids of metrics that any is or was on."""
    first_ms: int = NEVER_MS
    """Append time of the first alert of any organization."""

    def of(self, name: CodeKey, at_ms: int | None = None) -> Iterator[Alert]:
        """Yield the alerts of an external subscription in force at a moment, the oldest first."""
        for identity in self.by_name.get(name, ()):
            alert = self.versions[identity].at(at_ms)
            if alert is not None:
                yield alert

    def since_ms(self, name: CodeKey, metric_id: str, until_ms: int | None) -> int:
        """Return when a subscription first had an alert on a metric; NEVER_MS: not until then.

        It counts after the alert is deleted, too, or its cells would have to be folded anew.
        """
        if name not in self.by_name:
            # As it is of most, whenever a route is made.
            return NEVER_MS
        return min(self._times_ms(name, metric_id, until_ms), default=NEVER_MS)

    def lifetime_since_ms(self, name: CodeKey, metric_id: str, until_ms: int | None) -> int:
        """Return the same for an alert on a whole life; it counts after its deletion as well."""
        times_ms = self._times_ms(name, metric_id, until_ms, of_life=True)
        return min(times_ms, default=NEVER_MS)

    def _times_ms(
        self, name: CodeKey, metric_id: str, until_ms: int | None, *, of_life: bool = False
    ) -> Iterator[int]:
        """Yield when versions of alerts on a metric came; `of_life`: on a whole life only."""
        for identity in self.by_name.get(name, ()):
            for at_ms, alert in self._made(identity):
                about = alert.metric_id == metric_id and (alert.is_of_life or not of_life)
                if about and (until_ms is None or at_ms <= until_ms):
                    yield at_ms

    def _made(self, identity: str) -> Iterator[tuple[int, Alert]]:
        versions = self.versions[identity]
        for at_ms in versions.changes:
            alert = versions.at(at_ms)
            if alert is not None:
                yield at_ms, alert

    def commit(self, alert: Alert, now_ms: int, offset: int) -> None:
        """Take a new version over."""
        versions = self.versions.get(alert.id)
        if versions is None:
            versions = self.versions[alert.id] = Versions()
            name = (alert.organization_id, alert.external_subscription_id)
            self.by_name.setdefault(name, []).append(alert.id)
            self.first_ms = min(self.first_ms, now_ms)
        versions.push(now_ms, offset, alert)
        self.organizations[alert.organization_id] = None
        self.metrics[alert.metric_id] = None

    def commit_deletion(self, alert: Alert, now_ms: int, offset: int) -> None:
        """End an alert."""
        self.versions[alert.id].push(now_ms, offset, None)

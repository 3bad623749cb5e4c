"""Alerts: by id, and by the external subscription that they are about."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping, Sequence
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
    deleted_ms: MutableMapping[CodeKey, int] = field(default_factory=dict)
    """By the same: when one was deleted last."""
    left: MutableMapping[CodeKey, list[str]] = field(default_factory=dict)
    """By the same, where any was deleted: ids of those in force, in order."""
    organizations: MutableMapping[str, None] = field(default_factory=dict)
    """Organizations that have or had any."""
    metrics: MutableMapping[str, None] = field(default_factory=dict)
    """Ids of metrics that any is or was on."""
    first_ms: int = NEVER_MS
    """Append time of the first alert of any organization."""

    def of(self, name: CodeKey, at_ms: int | None = None) -> Iterator[Alert]:
        """Yield the alerts of an external subscription in force at a moment, the oldest first."""
        # Most ask of now, and of what was deleted by then nobody wants to know.
        of_now = at_ms is None or at_ms >= self.deleted_ms.get(name, -1)
        for identity in self._in_force(name) if of_now else self.by_name[name]:
            alert = self.versions[identity].at(at_ms)
            if alert is not None:
                yield alert

    def asked_until_ms(self, name: CodeKey) -> int:
        """Return when the last one was deleted; NEVER_MS: there is one; -1: none ever was."""
        return NEVER_MS if self._in_force(name) else self.deleted_ms.get(name, -1)

    def asking(
        self, name: CodeKey, metric_id: str, until_ms: int | None, *, of_life: bool = False
    ) -> Iterator[tuple[int, int]]:
        """Yield since and until when alerts of a subscription are on a metric, one by one.

        NEVER_MS: it is on it yet, under definitions appended until `until_ms` (None: all).
        `of_life`: those on a whole life only.
        """
        for identity in self.by_name.get(name, ()):
            versions, since_ms = self.versions[identity], NEVER_MS
            for at_ms in versions.changes:
                if until_ms is not None and at_ms > until_ms:
                    break
                alert = versions.at(at_ms)
                if alert is not None and alert.metric_id == metric_id:
                    if alert.is_of_life or not of_life:
                        since_ms = min(since_ms, at_ms)
                elif since_ms < NEVER_MS:
                    yield since_ms, at_ms
                    since_ms = NEVER_MS
            if since_ms < NEVER_MS:
                yield since_ms, NEVER_MS

    def commit(self, alert: Alert, now_ms: int, offset: int) -> None:
        """Take a new version over."""
        versions = self.versions.get(alert.id)
        if versions is None:
            versions = self.versions[alert.id] = Versions()
            name = (alert.organization_id, alert.external_subscription_id)
            self.by_name.setdefault(name, []).append(alert.id)
            if name in self.deleted_ms:
                self.left.setdefault(name, []).append(alert.id)
            self.first_ms = min(self.first_ms, now_ms)
        versions.push(now_ms, offset, alert)
        self.organizations[alert.organization_id] = None
        self.metrics[alert.metric_id] = None

    def commit_deletion(self, alert: Alert, now_ms: int, offset: int) -> None:
        """End an alert."""
        self.versions[alert.id].push(now_ms, offset, None)
        name = (alert.organization_id, alert.external_subscription_id)
        if name not in self.deleted_ms:
            self.left[name] = list(self.by_name[name])
        self.left[name].remove(alert.id)
        if not self.left[name]:
            del self.left[name]
        self.deleted_ms[name] = now_ms

    def _in_force(self, name: CodeKey) -> Sequence[str]:
        """Return the ids of those that are not deleted."""
        return (self.left if name in self.deleted_ms else self.by_name).get(name, ())

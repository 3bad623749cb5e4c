"""Alerts: by id, and by the external subscription that they are about."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterator, MutableMapping
from dataclasses import dataclass
from operator import attrgetter

from app.definitions.indexes.forms import AlertForm
from app.definitions.indexes.index import CodeKey, Index
from app.definitions.indexes.names import Names
from app.definitions.indexes.packed import PackedVersions
from app.definitions.indexes.rows import Keep
from app.definitions.model import Alert
from app.definitions.timeline import NEVER_MS
from app.definitions.versions import Versions


@dataclass(init=False)
class AlertIndex(Index):
    """All alerts, deleted ones too. Those of a name have places, in the order in which they came.

    Every worker has all of them, so they are packed.
    """

    versions: MutableMapping[str, Versions[Alert]]
    by_name: Names[Alert]
    """All that ever were, by organization and external subscription id."""
    deleted: MutableMapping[CodeKey, array[int]]
    """By the same: when each was deleted and its place, the first one first."""
    left: MutableMapping[CodeKey, array[int]]
    """By the same, where any was deleted: places of those in force, in order."""
    organizations: MutableMapping[str, None]
    """Organizations that have or had any."""
    metrics: MutableMapping[str, None]
    """Ids of metrics that any is or was on."""
    first_ms: int
    """Append time of the first alert of any organization."""

    def __init__(self, keep: Keep = bytes) -> None:
        form = AlertForm()
        packed = PackedVersions(form, attrgetter("id"), keep)
        name_of = attrgetter("organization_id", "external_subscription_id")
        self.versions, self.by_name = packed, Names(packed, name_of, form.external_name)
        self.deleted, self.left = {}, {}
        self.organizations, self.metrics, self.first_ms = {}, {}, NEVER_MS

    def has_any(self, name: CodeKey) -> bool:
        """Return whether an external subscription has or had any."""
        return self.by_name.count(name) > 0

    def of(self, name: CodeKey, at_ms: int | None = None) -> Iterator[Alert]:
        """Yield the alerts of an external subscription in force at a moment, the oldest first."""
        # What was deleted by then nobody wants to know.
        for versions in self._since(name, NEVER_MS if at_ms is None else at_ms):
            alert = versions.at(at_ms)
            if alert is not None:
                yield alert

    def asked_until_ms(self, name: CodeKey) -> int:
        """Return when the last one was deleted; NEVER_MS: there is one; -1: none ever was."""
        deleted = self.deleted.get(name)
        if deleted is None:
            return NEVER_MS if self.has_any(name) else -1
        return NEVER_MS if name in self.left else deleted[-2]

    def asking(
        self,
        name: CodeKey,
        metric_id: str,
        until_ms: int | None,
        after_ms: int = -1,
        *,
        of_life: bool = False,
    ) -> Iterator[tuple[int, int]]:
        """Yield since and until when alerts of a subscription are on a metric, one by one.

        NEVER_MS: it is on it yet, under definitions appended until `until_ms` (None: all).
        `after_ms`: without those that were deleted by then. `of_life`: those on a whole life only.
        """
        last_ms = after_ms if until_ms is None else min(after_ms, until_ms)
        for versions in self._since(name, last_ms):
            since_ms = NEVER_MS
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
        identity, name = alert.id, (alert.organization_id, alert.external_subscription_id)
        versions = self.versions.get(identity)
        if versions is None:
            known, number = self.versions, None
            if isinstance(known, PackedVersions):
                known.begin(identity, now_ms, offset, alert)
                number = known.number_of(identity)
            else:
                known[identity] = Versions(now_ms, offset, alert)
            place = self.by_name.add(alert, number) - 1
            if name in self.deleted:
                self.left.setdefault(name, array("I")).append(place)
            self.first_ms = min(self.first_ms, now_ms)
        else:
            versions.push(now_ms, offset, alert)
            # What is kept packed is packed anew.
            self.versions[identity] = versions
        self.organizations[alert.organization_id] = None
        self.metrics[alert.metric_id] = None

    def commit_deletion(self, alert: Alert, now_ms: int, offset: int) -> None:
        """End an alert."""
        identity, name = alert.id, (alert.organization_id, alert.external_subscription_id)
        versions, place = self.versions[identity], self.by_name.place_of(name, identity)
        versions.push(now_ms, offset, None)
        self.versions[identity] = versions
        if name not in self.deleted:
            self.left[name] = array("I", range(self.by_name.count(name)))
        self.left[name].remove(place)
        if not self.left[name]:
            del self.left[name]
        self.deleted.setdefault(name, array("q")).extend((now_ms, place))

    def _since(self, name: CodeKey, at_ms: int) -> Iterator[Versions[Alert]]:
        """Yield those that are in force, and those that were deleted after a time, in order."""
        deleted, places = self.deleted.get(name), None
        if deleted is not None:
            times_ms = range(0, len(deleted), 2)
            gone = bisect_right(times_ms, at_ms, key=deleted.__getitem__)
            places = sorted([*self.left.get(name, ()), *deleted[2 * gone + 1 :: 2]])
        return self.by_name.at(name, self.versions, places)

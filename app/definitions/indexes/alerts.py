"""Alerts: by id, and by the external subscription that they are about."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterable, Iterator, MutableMapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Final

import numpy as np
from numpy.typing import NDArray

from app.definitions.indexes.forms import AlertForm
from app.definitions.indexes.index import CodeKey, Index
from app.definitions.indexes.names import Names
from app.definitions.indexes.packed import PackedVersions
from app.definitions.indexes.rows import Keep
from app.definitions.model import Alert
from app.definitions.periods import NEVER_MS
from app.definitions.versions import Coming, Versions

_PLACE, _SINCE_MS, _SUBJECT, _GONE_MS = range(4)
"""Columns of what has ended: which alert asked, since when, of what, and until when."""
_COLUMNS: Final = 4
_NONE: Final = np.empty((0, _COLUMNS), np.int64)
_FEW: Final = 8
"""How many of one name are all looked at, whatever metric is asked for."""


class PromisedEnds:
    """The end of all alerts of a name by one record: promised in small steps, in force at once."""

    def __init__(self, coming: Coming):
        self.coming = coming
        self.rows: dict[CodeKey, array[int]] = {}
        """By organization and external subscription id, what `AlertIndex.ended` will have more."""


@dataclass(init=False)
class AlertIndex(Index):
    """All alerts, deleted ones too. Those of a name have places, in the order in which they came.

    Every worker has all of them, so they are packed.
    """

    versions: MutableMapping[str, Versions[Alert]]
    by_name: Names[Alert]
    """All that ever were, by organization and external subscription id."""
    ended: MutableMapping[CodeKey, array[int]]
    """By the same: rows of all that was deleted, or turned to another metric, the first one first.

    They tell who asked at a time, and of what, without a look at alerts that are deleted.
    """
    left: MutableMapping[CodeKey, array[int]]
    """By the same, where any has such a row: places of those in force, in order."""
    many: MutableMapping[CodeKey, int] = field(compare=False)
    """Names that have or had more than a few, each with a place before which all are deleted."""
    on_metric: MutableMapping[tuple[CodeKey, int], array[int]] = field(compare=False)
    """By these and the number of a metric: places of those in force on it from there, in order."""
    with_code: MutableMapping[tuple[CodeKey, str], int] = field(compare=False)
    """By these and a code: the place of the one that has it, or had it when all were deleted."""
    organizations: MutableMapping[str, None]
    """Organizations that have or had any."""
    metrics: MutableMapping[str, int]
    """Ids of metrics that any is or was on, numbered."""
    first_ms: int
    """Append time of the first alert of any organization."""

    def __init__(self, keep: Keep = bytes) -> None:
        form = AlertForm()
        packed = PackedVersions(form, attrgetter("id"), keep)
        name_of = attrgetter("organization_id", "external_subscription_id")
        self.versions, self.by_name = packed, Names(packed, name_of, form.external_name)
        self.ended, self.left = {}, {}
        self.many, self.on_metric, self.with_code = {}, {}, {}
        self.organizations, self.metrics, self.first_ms = {}, {}, NEVER_MS

    def has_any(self, name: CodeKey) -> bool:
        """Return whether an external subscription has or had any."""
        # Of very many of organizations without any this is asked at each change of settings.
        return name[0] in self.organizations and self.by_name.count(name) > 0

    def of(self, name: CodeKey, at_ms: int | None = None) -> Iterator[Alert]:
        """Yield the alerts of an external subscription in force at a moment, the oldest first."""
        places = self._places(name, NEVER_MS if at_ms is None else at_ms)
        for versions in self.by_name.at(name, self.versions, places):
            alert = versions.at(at_ms)
            if alert is not None:
                yield alert

    def holder(self, name: CodeKey, code: str) -> Alert | None:
        """Return the alert of an external subscription that has a code: no two share one."""
        if name not in self.many:
            return next((each for each in self.of(name) if each.code == code), None)
        place = self.with_code.get((name, code))
        if place is None:
            return None
        (versions,) = self.by_name.at(name, self.versions, (place,))
        return versions.at()

    def alike(self, alert: Alert) -> Iterator[Alert]:
        """Yield alerts of its subscription that are of its type, on its metric: itself as well."""
        name = alert.organization_id, alert.external_subscription_id
        places = self._places_on(name, alert.metric_id)
        for versions in self.by_name.at(name, self.versions, places):
            one = versions.at()
            if one is not None and kind_of(one) == kind_of(alert):
                yield one

    def asked_until_ms(self, name: CodeKey) -> int:
        """Return when the last one was deleted; NEVER_MS: there is one; -1: none ever was."""
        ended = self.ended.get(name)
        if ended is None:
            return NEVER_MS if self.has_any(name) else -1
        return NEVER_MS if name in self.left else ended[-_COLUMNS + _GONE_MS]

    def asking(
        self,
        name: CodeKey,
        metric_id: str,
        until_ms: int | None,
        after_ms: int = -1,
        *,
        of_life: bool = False,
        alike_until: Callable[[int], int] = int,
    ) -> Iterator[tuple[int, int]]:
        """Yield since and until when alerts of a subscription are on a metric.

        NEVER_MS: one is on it yet, under definitions appended until `until_ms` (None: all).
        `after_ms`: without those that asked no more by then. `of_life`: those on a whole life only.
        `alike_until`: until when all who ask no more from a time on count as one: the first of
        them stands for all.
        """
        for versions in self.by_name.at(name, self.versions, self._places_on(name, metric_id)):
            alert = versions.at()
            if alert is None or alert.metric_id != metric_id or of_life > alert.is_of_life:
                continue
            since_ms = _on_it_since(versions, alert)
            if until_ms is None or since_ms <= until_ms:
                yield since_ms, NEVER_MS
        ended = self._ended_after(name, after_ms if until_ms is None else min(after_ms, until_ms))
        if len(ended) == 0:
            return
        number = self.metrics.get(metric_id, -1)
        wanted = [_subject(number, of_life=True), _subject(number, of_life=of_life)]
        ended = ended[np.isin(ended[:, _SUBJECT], wanted)]
        # Nobody saw who was gone in its own millisecond.
        ended = ended[ended[:, _SINCE_MS] < ended[:, _GONE_MS]]
        if until_ms is not None:
            ended = ended[ended[:, _SINCE_MS] <= until_ms]
        gone_ms = ended[:, _GONE_MS]
        first = 0
        while first < len(ended):
            at_ms = int(gone_ms[first])
            is_there = until_ms is not None and at_ms > until_ms
            last_ms = NEVER_MS if is_there else alike_until(at_ms)
            if until_ms is not None and not is_there:
                last_ms = min(last_ms, until_ms)
            end = int(np.searchsorted(gone_ms, last_ms, "right"))
            yield int(ended[first:end, _SINCE_MS].min()), NEVER_MS if is_there else at_ms
            first = end

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
            if name in self.ended:
                self.left.setdefault(name, array("I")).append(place)
            self.first_ms = min(self.first_ms, now_ms)
            if name in self.many:
                self._put(name, place, alert)
            elif place >= _FEW:
                self._note_many(name)
        else:
            before = versions.at()
            if before is not None and before.metric_id != alert.metric_id:
                self._end(name, versions, before, now_ms)
            if before is not None and name in self.many:
                del self.with_code[name, before.code]
                self._put(name, self.by_name.place_of(name, identity), alert)
            versions.push(now_ms, offset, alert)
            # What is kept packed is packed anew.
            self.versions[identity] = versions
        self.organizations[alert.organization_id] = None
        self._number_of(alert.metric_id)

    def commit_deletion(self, alert: Alert, now_ms: int, offset: int) -> None:
        """End an alert."""
        identity, name = alert.id, (alert.organization_id, alert.external_subscription_id)
        versions = self.versions[identity]
        place = self._end(name, versions, alert, now_ms)
        versions.push(now_ms, offset, None)
        self.versions[identity] = versions
        if name in self.many:
            del self.with_code[name, alert.code]
        left = self.left[name]
        del left[bisect_left(left, place)]
        if not left:
            del self.left[name]

    def promise_deletion(self, alert: Alert, promised: PromisedEnds) -> None:
        """Promise the end of one of those that end together, which are all of a name."""
        identity, name = alert.id, (alert.organization_id, alert.external_subscription_id)
        versions = self.versions[identity]
        row = self._row(name, versions, alert, promised.coming.append_time_ms)
        promised.rows.setdefault(name, array("q")).extend(row)
        versions.promise(promised.coming, None)
        self.versions[identity] = versions

    def commit_promised(self, promised: PromisedEnds) -> None:
        """Note that a name has none any more, once all that was promised is in force."""
        for name, rows in promised.rows.items():
            self._note_ended(name, rows)
            del self.left[name]
            if name in self.many:
                self.many[name] = self.by_name.count(name)

    def _end(self, name: CodeKey, versions: Versions[Alert], alert: Alert, now_ms: int) -> int:
        """Note that an alert asks no more of its metric; return its place."""
        place, *_ = row = self._row(name, versions, alert, now_ms)
        self._note_ended(name, row)
        if name in self.many:
            on_metric = self.on_metric[name, self._number_of(alert.metric_id)]
            del on_metric[bisect_left(on_metric, place)]
        return place

    def _row(
        self, name: CodeKey, versions: Versions[Alert], alert: Alert, now_ms: int
    ) -> tuple[int, int, int, int]:
        """Return what is known of an alert that asks no more of its metric from now on."""
        subject = _subject(self._number_of(alert.metric_id), of_life=alert.is_of_life)
        place = self.by_name.place_of(name, alert.id)
        return place, _on_it_since(versions, alert), subject, now_ms

    def _note_ended(self, name: CodeKey, rows: Iterable[int]) -> None:
        if name not in self.ended:
            self.left[name] = array("I", range(self.by_name.count(name)))
        self.ended.setdefault(name, array("q")).extend(rows)

    def _note_many(self, name: CodeKey) -> None:
        """Find those of a name by their metrics and codes from here on."""
        self.many[name] = 0
        places = self._places(name, NEVER_MS) or range(self.by_name.count(name))
        found = zip(places, self.by_name.at(name, self.versions, places), strict=True)
        for place, versions in found:
            if (alert := versions.at()) is not None:
                self._put(name, place, alert)

    def _put(self, name: CodeKey, place: int, alert: Alert) -> None:
        """Find one of a name with many by its code and its metric."""
        self.with_code[name, alert.code] = place
        there = array("I", self._on_metric(name, alert.metric_id))
        if place not in there:
            insort(there, place)
        self.on_metric[name, self._number_of(alert.metric_id)] = there

    def _on_metric(self, name: CodeKey, metric_id: str) -> Sequence[int]:
        """Return the places of those of a name with many that are on a metric."""
        places = self.on_metric.get((name, self.metrics.get(metric_id, -1)), array("I"))
        return places[bisect_left(places, self.many[name]) :]

    def _number_of(self, metric_id: str) -> int:
        if metric_id not in self.metrics:
            self.metrics[metric_id] = len(self.metrics)
        return self.metrics[metric_id]

    def _places_on(self, name: CodeKey, metric_id: str) -> Sequence[int] | None:
        """Return places, with those of all in force on a metric; None: all places."""
        if name in self.many:
            return self._on_metric(name, metric_id)
        return self._places(name, NEVER_MS)

    def _places(self, name: CodeKey, at_ms: int) -> Sequence[int] | None:
        """Return the places of all that are in force, or were at a time; None: all places."""
        if name not in self.ended:
            return None
        left, ended = self.left.get(name, array("I")), self._ended_after(name, at_ms)
        if len(ended) == 0:
            return left
        there = ended[ended[:, _SINCE_MS] <= at_ms, _PLACE]
        return sorted({*left, *there.tolist()})

    def _ended_after(self, name: CodeKey, at_ms: int) -> NDArray[np.int64]:
        """Return rows of what ended after a time."""
        ended = self.ended.get(name)
        if ended is None:
            return _NONE
        times_ms = range(_GONE_MS, len(ended), _COLUMNS)
        first = bisect_right(times_ms, at_ms, key=ended.__getitem__)
        if first == len(times_ms):
            return _NONE
        return np.array(ended[_COLUMNS * first :], np.int64).reshape(-1, _COLUMNS)


def kind_of(alert: Alert) -> tuple[str, str]:
    """Return what no two alerts of a name share, beside their codes."""
    return alert.alert_type, alert.metric_id


def _on_it_since(versions: Versions[Alert], alert: Alert) -> int:
    """Return since when an alert, as it is now, is on its metric."""
    since_ms = versions.changes[-1]
    for at_ms in reversed(versions.changes):
        before = versions.at(at_ms)
        if before is None or before.metric_id != alert.metric_id:
            break
        since_ms = at_ms
    return since_ms


def _subject(metric_number: int, *, of_life: bool) -> int:
    """Return the number of what an alert asks of."""
    return 2 * metric_number + of_life

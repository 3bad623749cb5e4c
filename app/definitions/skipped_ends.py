"""Ends that publish nothing of their last period, and what a later subscription takes of it."""

from __future__ import annotations

from typing import Final

import msgspec

from app.definitions.fields import Fields, is_blank
from app.definitions.model import OnTermination, Subscription
from app.definitions.periods import NEVER_MS, Period
from app.definitions.state import Definitions
from app.definitions.terms import subscription_terms
from app.definitions.timeline import Timeline
from app.definitions.versions import Versions

_CHOICES: Final[tuple[OnTermination, ...]] = ("generate", "skip")
_INVALID_VALUE = "invalid_value"


def termination_invoice(fields: Fields) -> OnTermination:
    """Read `on_termination_invoice`; null and "" mean what is usual."""
    value = fields.get("on_termination_invoice")
    for choice in _CHOICES:
        if value == choice:
            return choice
    if not is_blank(value):
        fields.fail("on_termination_invoice", _INVALID_VALUE)
    return "generate"


def invoiced_until_ms(definitions: Definitions, versions: Versions[Subscription]) -> int:
    """Return until when a subscription that has an end is published; -1: it is not at all."""
    one = versions.at()
    if one is None or one.canceled_at_ms is not None or one.end_ms is None:
        return -1
    skipped = _skipped_period(definitions, versions)
    if skipped is not None:
        return skipped.start_ms
    # Nothing is left of a skipped period that a later subscription has all of.
    return one.end_ms if one.superseded_at_ms is None else one.superseded_at_ms


def superseded_by(definitions: Definitions, later: Subscription) -> tuple[Subscription, ...]:
    """Return earlier subscriptions of the external id that end in a period the later one begins in.

    From its start on all usage is the later one's: theirs is never published.
    """
    changed = []
    index, name = definitions.subscription_index, (later.organization_id, later.external_id)
    # Those that ended before one of who lasts end where that one begins, or before.
    known = index.lasting_of if later.canceled_at_ms is None else index.of_external_id
    for versions in known(name):
        one = versions.at()
        if one is not None and one.id == later.id:
            break
        if one is None or one.canceled_at_ms is not None:
            continue
        end_ms = one.usage_end_ms
        if end_ms is not None and later.started_at_ms < end_ms:
            superseded = msgspec.structs.replace(one, superseded_at_ms=later.started_at_ms)
            changed.append(superseded)
    return tuple(changed)


def _skipped_period(definitions: Definitions, versions: Versions[Subscription]) -> Period | None:
    """Return the last period of a subscription if its end publishes nothing of it."""
    one = versions.at()
    if one is None or one.end_ms is None or one.on_termination_invoice != "skip":
        return None
    timeline = Timeline(subscription_terms(definitions, versions))
    last = timeline.holding(timeline.over_ms - 1)
    if last is None or last.closing_reason != "termination" or last.due_at_ms < NEVER_MS:
        return None
    return last

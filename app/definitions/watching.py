"""Watching: which definitions may shape figures that somebody asks for at grid cuts."""

from __future__ import annotations

from app.definitions.outcome import Impact
from app.definitions.state import Definitions


def shapes_watched(definitions: Definitions, impact: Impact, at_ms: int) -> bool:
    """Return False if a definition of a time surely shapes no figure asked for at grid cuts."""
    organization_id, external_id = impact.organization_id, impact.external_subscription_id
    if organization_id is None or definitions.settings.daily_ms():
        return True
    if external_id is not None:
        return definitions.is_watched_each_cut((organization_id, external_id), at_ms)
    if impact.codes is None:
        in_advance = organization_id in definitions.plan_index.pay_in_advance
        return in_advance or organization_id in definitions.alerts.organizations
    watched = (definitions.alerts.metrics, definitions.plan_index.metrics_in_advance)
    return any(
        metric.id in metric_ids
        for code in impact.codes
        for versions in definitions.metric_history(organization_id, code)
        for metric in versions.all()
        for metric_ids in watched
    )

"""What the workers of a group read: all the same topics, for partitions go from one to another."""

from __future__ import annotations

from aiokafka.errors import KafkaError

from app.errors import TopicRefused
from app.kafka.broker_facts import Group, group_of
from app.kafka.clients import Admin
from app.kafka.topics import EVENTS_REKEYED
from app.settings import Settings


async def require_same_topics(settings: Settings, admin: Admin) -> None:
    """Refuse to join a group that reads other topics: every member would stop.

    Raises:
        TopicRefused: says which setting differs.
    """
    try:
        group = await group_of(admin, settings.consumer_group)
    except KafkaError:
        # No broker coordinates it yet: there is nobody in it.
        return
    if group is not None and (complaint := other_topics(settings, group)):
        raise TopicRefused(complaint)


def other_topics(settings: Settings, group: Group) -> str | None:
    """Return what to do about members that read other topics; None: there are none."""
    ours = frozenset(map(settings.topic, (settings.raw_topic, EVENTS_REKEYED)))
    others = sorted(sorted(topics) for topics in group.subscriptions - {ours})
    if not others:
        return None
    return (
        f"Workers of group {settings.consumer_group} read {' and '.join(others[0])}; with "
        f"METER_RAW_TOPIC={settings.raw_topic} one would read {' and '.join(sorted(ours))}. Set "
        "METER_RAW_TOPIC as it is set there, or begin a new set of topics with METER_TOPIC_PREFIX."
    )

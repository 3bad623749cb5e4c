"""Checks of what Kafka lets this user do, against what docs/THREATS.md names for a worker."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from app.cli.doctor.finding import Finding
from app.kafka.broker_facts import Group, May, topic_rights
from app.kafka.clients import NOT_TAKEN, Admin
from app.kafka.names import TransactionalIdAuthorizationFailed
from app.kafka.topics import FIGURES_CHANGELOG, INDEX_CHANGELOG, topic_specs
from app.kafka.transactions import TransactionTooLong, try_transaction
from app.settings import Settings

AREA = "kafka"
_USED: Final[Collection[May]] = (May.READ, May.WRITE, May.DESCRIBE, May.DESCRIBE_CONFIGS)


async def rights(settings: Settings, admin: Admin, group: Group | None) -> Finding:
    """Return whether this user may do what docs/THREATS.md names for a worker."""
    names = {spec.name for spec in topic_specs(settings)}
    granted: dict[str, Collection[May]] = dict(await topic_rights(admin, sorted(names)))
    needed: dict[str, Collection[May]] = dict.fromkeys(granted, _USED)
    for emptied in map(settings.topic, (INDEX_CHANGELOG, FIGURES_CHANGELOG)):
        if emptied in needed:
            needed[emptied] = (*_USED, May.DELETE)
    name = f"group {settings.consumer_group}"
    needed[name] = (May.READ, May.DESCRIBE)
    granted[name] = () if group is None else group.rights
    lacking = [
        f"{name}: {', '.join(may.name for may in needed[name] if may not in granted[name])}"
        for name in sorted(needed)
        if not {*needed[name]} <= {*granted[name]}
    ]
    if lacking:
        mend = "Grant a worker's user what docs/THREATS.md lists."
        return Finding(AREA, "rights", "fail", f"Not allowed on {'; '.join(lacking)}.", mend)
    found = f"This user may do all that a worker does with {len(needed) - 1} topics and its group."
    return Finding(AREA, "rights", "ok", found)


async def transactions(settings: Settings) -> Finding:
    """Return whether the brokers let this user make transactions of our length."""
    try:
        await try_transaction(settings)
    except TransactionTooLong as error:
        found, _, mend = str(error).partition(". ")
        return Finding(AREA, "transactions", "fail", f"{found}.", mend)
    except TransactionalIdAuthorizationFailed as error:
        mend = f"Grant WRITE and DESCRIBE on transactional ids from {settings.consumer_group}- on."
        return Finding(AREA, "transactions", "fail", f"{error.description}.", mend)
    except NOT_TAKEN as error:
        found, mend = f"Nobody said ({error!r}).", "See what the brokers log."
        return Finding(AREA, "transactions", "unknown", found, mend)
    return Finding(AREA, "transactions", "ok", "They may last as long as a flush needs.")

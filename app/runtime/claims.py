"""Which application writes a set of topics: under another name, workers would write it as well.

A consumer group gives a partition to one of its workers, and knows nothing of other groups. So an
application claims the topics in `meter-progress`, which all workers follow: the newest claim holds.
Source: state.md §4.
"""

from __future__ import annotations

import asyncio
import logging
from uuid import uuid4

import msgspec

from app.kafka.broker_facts import group_once_coordinated
from app.kafka.claim import CLAIM_KEY, Claim, TopicsTaken, claim_in
from app.kafka.log_readers import ASKED_WITHIN_S, LogRecord
from app.kafka.names import TransactionalIdAuthorizationFailed
from app.kafka.topics import METER_PROGRESS, admin_client
from app.kafka.transactions import fence
from app.log import facts
from app.runtime.progress import Seal
from app.runtime.reports import Append
from app.settings import Settings

log = logging.getLogger(__name__)


class Claims:
    """The newest claim, and how it is ours."""

    def __init__(self, settings: Settings, seal: Seal, append: Append):
        self._settings = settings
        self._seal = seal
        self._append = append
        self._newest: Claim | None = None
        self._displaced = ""
        """Application of another claim that stood right before ours."""
        self._told = ""
        """Nonce of the claim that was appended here last."""
        self._read_back = asyncio.Event()
        self._held = False

    def note(self, record: LogRecord) -> None:
        """Take a claim over as the log has it.

        Raises:
            TopicsTaken: another application has claimed what was ours.
        """
        found = claim_in(record.value)
        if found is None:
            return
        claim, seal = found
        ours, before = self._settings.application_id, self._newest
        if self._held and claim.application != ours:
            if self._seal.is_of(seal, claim):
                raise TopicsTaken(
                    f"Application {claim.application} has claimed the topics of this worker, "
                    f"whose METER_APPLICATION_ID is {ours}. One application may write them: give "
                    "all workers the same METER_APPLICATION_ID."
                )
            # Whoever does not know the secret of the workers ends none of them.
            log.warning(
                "Application %s claims our topics without our METER_PEER_SECRET",
                claim.application,
                extra=facts("note"),
            )
            return
        self._newest = claim
        if claim.nonce == self._told:
            self._displaced = (
                before.application if before is not None and before.application != ours else ""
            )
            self._held = True
            self._read_back.set()

    async def hold(self) -> None:
        """Make the topics ours, once the log is read to its end and before the group is joined.

        Workers of another application must have stopped. Those that stand still and would go on are
        fenced: from then on they commit nothing.

        Raises:
            TopicsTaken: another application has workers, or may have.
            Unavailable, KafkaError, TimeoutError: brokers do not answer; the next start goes on.
        """
        ours, before = self._settings.application_id, self._newest
        if before is None:
            await self._tell("")
        elif before.application != ours:
            await self._require_nobody(before.application)
            await self._tell(before.application)
        self._held = True
        newest = self._newest
        if former := self._displaced or (newest.former if newest else ""):
            await self._fence(former)
            await self._tell("")

    async def _tell(self, former: str) -> None:
        claim = Claim(self._settings.application_id, former, uuid4().hex)
        self._told = claim.nonce
        self._read_back.clear()
        value = msgspec.json.encode({**claim._asdict(), "seal": self._seal.of(claim)})
        await self._append(self._settings.topic(METER_PROGRESS), CLAIM_KEY, value, 0)
        async with asyncio.timeout(ASKED_WITHIN_S):
            await self._read_back.wait()

    async def _require_nobody(self, other: str) -> None:
        """Refuse to go on beside workers of another application."""
        settings = self._settings
        async with admin_client(settings) as admin:
            group = await group_once_coordinated(admin, settings.topic_prefix + other)
        if group is None:
            raise TopicsTaken(_unseen(settings, other))
        if group.members:
            raise TopicsTaken(
                f"Workers of application {other} write these topics: {'; '.join(group.members)}. "
                f"Set METER_APPLICATION_ID={other} to share their work, or stop all of them to go "
                f"on as {settings.application_id}."
            )

    async def _fence(self, former: str) -> None:
        settings = self._settings
        try:
            await fence(settings, settings.topic_prefix + former)
        except TransactionalIdAuthorizationFailed as error:
            raise TopicsTaken(_unseen(settings, former)) from error
        log.info(
            "These topics were those of application %s, and are those of %s",
            former,
            settings.application_id,
            extra=facts("note"),
        )


def _unseen(settings: Settings, other: str) -> str:
    group = settings.topic_prefix + other
    return (
        f"These topics are those of application {other}, and this user may not see whether it has "
        f"workers, or not stop what they do. Set METER_APPLICATION_ID={other}, or grant DESCRIBE "
        f"on group {group}, and WRITE and DESCRIBE on transactional ids from {group}- on, until "
        "this worker has started."
    )

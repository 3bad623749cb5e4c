"""Who asks: which organization a request speaks for, and what it may do."""

from __future__ import annotations

import base64
import binascii
import hmac
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from hashlib import sha256

import msgspec

from app.api.errors import forbidden, too_many_requests, unauthorized
from app.api.keys import EVERY_ORGANIZATION, Key, KeyAccess, digest_of
from app.api.rates import Bucket
from app.bounds.limits import FAILED_LOGINS_PER_S, FAILING_ADDRESSES, PEER_TOKEN_S
from app.clock import SystemClock
from app.log import facts

log = logging.getLogger(__name__)

_TOLD_EVERY_S = 1.0


def _now_s() -> float:
    return SystemClock().now_ms() / 1000


@dataclass(frozen=True)
class Identity:
    """Who asks."""

    organization_id: str
    access: KeyAccess
    name: str = ""
    """Of the key."""
    requests: Bucket | None = None
    """What the key may ask for in a second; None: as much as there is."""
    events: Bucket | None = None
    """What it may send in a second."""

    @property
    def operates(self) -> bool:
        """Whether it speaks for all organizations."""
        return self.organization_id == EVERY_ORGANIZATION

    def require(self, method: str, resource: str) -> None:
        """403 unless this key may do it: GET reads, everything else writes."""
        if method not in ("GET", "HEAD") and self.access == "read":
            raise forbidden(f"write_action_not_allowed_for_{resource}")


class Failures:
    """Failed attempts by address: who guesses keys is made to wait, and told of in the log."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._of: OrderedDict[str, tuple[int, int]] = OrderedDict()
        """Second and how many failed in it."""
        self._told_s = -_TOLD_EVERY_S
        self.count = 0

    def note(self, address: str) -> None:
        """One more. Raises 429 when there were many in this second."""
        now_s = self._clock()
        second, count = self._of.get(address, (-1, 0))
        count = count + 1 if second == int(now_s) else 1
        self._of[address] = (int(now_s), count)
        self._of.move_to_end(address)
        if len(self._of) > FAILING_ADDRESSES:
            self._of.popitem(last=False)
        self.count += 1
        if now_s - self._told_s >= _TOLD_EVERY_S:
            self._told_s = now_s
            extra = facts("note", address=address, in_this_second=count)
            log.warning("no key or a wrong one", extra=extra)
        if count > FAILED_LOGINS_PER_S:
            raise too_many_requests(1)


@dataclass(frozen=True)
class _Held:
    """A key as it is looked up."""

    identity: Identity
    expires_at_s: float | None


class KeyRing:
    """All keys of this worker, found by their digests."""

    def __init__(self, keys: Iterable[Key], clock: Callable[[], float] = _now_s) -> None:
        self._clock = clock
        self._held: dict[bytes, _Held] = {}
        self.failures = Failures()
        self.last_used_s: dict[str, float] = {}
        """Seconds since the epoch, by the name of the key."""
        self.replace(keys)

    def replace(self, keys: Iterable[Key]) -> None:
        """These hold from now on; what a key that stays may still ask for is kept."""
        before = {held.identity.name: held.identity for held in self._held.values()}
        found = {}
        for key in keys:
            identity = Identity(
                key.organization_id,
                key.access,
                key.name,
                _bucket(key.requests_per_s),
                _bucket(key.events_per_s),
            )
            known = before.get(key.name)
            if known is not None and _rates(known) == _rates(identity):
                identity = replace(identity, requests=known.requests, events=known.events)
            found[bytes.fromhex(key.sha256)] = _Held(identity, key.expires_at_s)
        self._held = found
        names = {held.identity.name for held in found.values()}
        self.last_used_s = {name: at for name, at in self.last_used_s.items() if name in names}

    def identify(self, authorization: str | None, address: str = "") -> Identity:
        """The identity behind an Authorization header, else 401, or 429 for whoever guesses.

        Only the header's second word is looked at, so any scheme will do. What is compared is a
        digest: how long that takes tells nothing of the key.
        """
        words = (authorization or "").split()
        held = None
        if len(words) >= 2:
            held = self._held.get(bytes.fromhex(digest_of(words[1])))
        now_s = self._clock()
        if held is None or (held.expires_at_s is not None and now_s >= held.expires_at_s):
            if words:
                self.failures.note(address)
            raise unauthorized()
        self.last_used_s[held.identity.name] = now_s
        return held.identity


def _bucket(rate_per_s: float | None) -> Bucket | None:
    return None if rate_per_s is None else Bucket(rate_per_s)


def _rates(identity: Identity) -> tuple[float | None, float | None]:
    requests, events = (
        None if bucket is None else bucket.rate_per_s
        for bucket in (identity.requests, identity.events)
    )
    return requests, events


class _Told(msgspec.Struct, array_like=True):
    """What a worker says to another of who asks."""

    organization_id: str
    access: KeyAccess
    name: str
    until_s: float


class PeerTokens:
    """What goes with a request from one worker to another in place of the caller's key.

    Where the other worker is, the topic of progress says, which others may be able to write to: a
    token is good for one path and for seconds.
    """

    def __init__(self, secret: str, clock: Callable[[], float] = _now_s) -> None:
        self._secret = secret.encode()
        self._clock = clock

    def made(self, identity: Identity, method: str, target: str) -> str:
        """The token for one request; `target` is its path and query, as sent."""
        told = _Told(
            identity.organization_id, identity.access, identity.name, self._clock() + PEER_TOKEN_S
        )
        packed = base64.urlsafe_b64encode(msgspec.json.encode(told)).decode()
        return f"{packed}.{self._sign(packed, method, target)}"

    def identity(self, token: str, method: str, target: str) -> Identity | None:
        """Who asks, by the worker that sends this on; None: no worker of ours says so now."""
        packed, _, signature = token.partition(".")
        signed = self._sign(packed, method, target)
        if not hmac.compare_digest(signed.encode(), signature.encode("utf-8", "surrogateescape")):
            return None
        try:
            told = msgspec.json.decode(base64.urlsafe_b64decode(packed), type=_Told)
        except (binascii.Error, msgspec.MsgspecError, ValueError):
            return None
        if self._clock() > told.until_s:
            return None
        return Identity(told.organization_id, told.access, told.name)

    def _sign(self, packed: str, method: str, target: str) -> str:
        said = f"{method} {target} {packed}".encode("utf-8", "surrogateescape")
        return hmac.new(self._secret, said, sha256).hexdigest()

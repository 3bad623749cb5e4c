"""Identify the sender of a request: its organization, and what the sender may do."""

from __future__ import annotations

import base64
import binascii
import hmac
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from hashlib import sha256

import msgspec

from app.api.http.errors import forbidden, too_many_requests, unauthorized
from app.api.http.keys import EVERY_ORGANIZATION, Key, KeyAccess, digest_of
from app.api.http.rates import RateLeft
from app.bounds.limits import FAILED_LOGINS_PER_S, FAILING_ADDRESSES, PEER_TOKEN_S
from app.clock import SystemClock
from app.log import facts

log = logging.getLogger(__name__)

_TOLD_EVERY_S = 1.0


def _now_s() -> float:
    return SystemClock().now_ms() / 1000


@dataclass(frozen=True)
class Identity:
    """The sender of a request, as its key says."""

    organization_id: str
    access: KeyAccess
    name: str = ""
    """Name of the key; empty: the key has none."""
    requests: RateLeft | None = None
    """Requests that the key may send in a second; None: no limit."""
    events: RateLeft | None = None
    """Events that the key may send in a second; None: no limit."""

    @property
    def operates(self) -> bool:
        """True: the key speaks for all organizations."""
        return self.organization_id == EVERY_ORGANIZATION

    def require(self, method: str, resource: str) -> None:
        """Raise 403 unless this key may use the method: GET and HEAD read, all others write."""
        if method not in ("GET", "HEAD") and self.access == "read":
            raise forbidden(f"write_action_not_allowed_for_{resource}")


class Failures:
    """Failed attempts by address. An address that guesses keys must wait, and the log tells it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._of: OrderedDict[str, tuple[int, int]] = OrderedDict()
        """(second, failed attempts in it) of each address, the latest address last."""
        self._told_s = -_TOLD_EVERY_S
        self.count = 0

    def note(self, address: str) -> None:
        """Count one more failed attempt. Raises 429 if the address had too many in this second."""
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
    """A key's identity and the time when the key ends."""

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
        """Use these keys from now on; a key that stays keeps the rest of its rates."""
        self.prepared(keys)()

    def prepared(self, keys: Iterable[Key]) -> Callable[[], None]:
        """Return what uses these keys from then on.

        Very many take long to prepare, so another thread may do it: nothing here is changed yet.
        """
        before = {held.identity.name: held.identity for held in self._held.values()}
        found, names = dict[bytes, _Held](), set[str]()
        for key in keys:
            known, rates = before.get(key.name), (key.requests_per_s, key.events_per_s)
            if known is not None and _rates(known) == rates:
                buckets = known.requests, known.events
            else:
                buckets = _bucket(key.requests_per_s), _bucket(key.events_per_s)
            identity = Identity(key.organization_id, key.access, key.name, *buckets)
            found[bytes.fromhex(key.sha256)] = _Held(identity, key.expires_at_s)
            names.add(key.name)
        return partial(self._use, found, names)

    def _use(self, held: dict[bytes, _Held], names: set[str]) -> None:
        self._held = held
        for gone in self.last_used_s.keys() - names:
            del self.last_used_s[gone]

    def identify(self, authorization: str | None, address: str = "") -> Identity:
        """Return the identity of an Authorization header.

        Only the header's second word counts, so any scheme will do. The key is found by its digest:
        the time that this takes tells nothing of the key.

        Raises:
            ApiError: 401 without a valid key; 429 for an address with too many failed attempts.
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


def _bucket(rate_per_s: float | None) -> RateLeft | None:
    return None if rate_per_s is None else RateLeft(rate_per_s)


def _rates(identity: Identity) -> tuple[float | None, float | None]:
    requests, events = identity.requests, identity.events
    return (
        None if requests is None else requests.rate_per_s,
        None if events is None else events.rate_per_s,
    )


class _Claims(msgspec.Struct, array_like=True):
    """The claims of a token: the identity of the sender and the end of the token."""

    organization_id: str
    access: KeyAccess
    name: str
    until_s: float


class PeerTokens:
    """Signed tokens that workers send each other in place of the caller's key.

    The topic of progress tells a worker where the others are, and strangers may be able to write
    to that topic. A token is therefore valid for one method and path, and for seconds.
    """

    def __init__(self, secret: str, clock: Callable[[], float] = _now_s) -> None:
        self._secret = secret.encode()
        self._clock = clock

    def made(self, identity: Identity, method: str, target: str) -> str:
        """Return the token for one request; `target` is its path and query, as sent."""
        told = _Claims(
            identity.organization_id, identity.access, identity.name, self._clock() + PEER_TOKEN_S
        )
        packed = base64.urlsafe_b64encode(msgspec.json.encode(told)).decode()
        return f"{packed}.{self._sign(packed, method, target)}"

    def identity(self, token: str, method: str, target: str) -> Identity | None:
        """Return the identity that a token names; None: the token is forged, damaged or too old."""
        packed, _, signature = token.partition(".")
        signed = self._sign(packed, method, target)
        if not hmac.compare_digest(signed.encode(), signature.encode("utf-8", "surrogateescape")):
            return None
        try:
            told = msgspec.json.decode(base64.urlsafe_b64decode(packed), type=_Claims)
        except (binascii.Error, msgspec.MsgspecError, ValueError):
            return None
        if self._clock() > told.until_s:
            return None
        return Identity(told.organization_id, told.access, told.name)

    def _sign(self, packed: str, method: str, target: str) -> str:
        said = f"{method} {target} {packed}".encode("utf-8", "surrogateescape")
        return hmac.new(self._secret, said, sha256).hexdigest()

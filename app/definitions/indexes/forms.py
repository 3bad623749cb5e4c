"""Forms: subscriptions, customers and alerts as bytes, and back."""

from __future__ import annotations

import re
import struct
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from struct import Struct
from typing import Any, Final, Generic, NamedTuple, TypeAlias, TypeVar

import msgspec
from msgspec.structs import astuple

from app.billing_periods.grid import BillingTime
from app.definitions.command import verbatim
from app.definitions.indexes.numbered import Numbers
from app.definitions.model import Alert, AlertThreshold, Customer, Subscription
from app.definitions.versions import Versions

# Plain __new__: the generated one costs three times as much, for each subscription that is closed.
_new = tuple.__new__

D = TypeVar("D", bound=Subscription | Customer | Alert)

Row: TypeAlias = bytes | bytearray

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Any]).decode
_encode_json = msgspec.json.Encoder(decimal_format="number").encode
_decode_json = msgspec.json.Decoder(float_hook=verbatim).decode
_is_uuid = re.compile("-".join(f"[0-9a-f]{{{digits}}}" for digits in (8, 4, 4, 4, 12))).fullmatch
_PLAIN: Final = 1 << 7
"""A plain row begins with a lesser byte, and msgpack begins a list with a greater one."""
_TIME_BITS: Final = 47
"""A time in ms of a plain row has no more; a number of 16 bits stands behind it."""
_SUBSCRIPTION: Final = Struct(">QQI16s")
"""Append time and shape, date and length of the external id, offset, id; names follow."""
_CUSTOMER: Final = Struct(">QI16s")
"""Append time and organization, offset, id; the external id follows."""
_of_subscription: Callable[..., bytes] = _SUBSCRIPTION.pack
_of_customer: Callable[..., bytes] = _CUSTOMER.pack
_in_subscription, _in_customer = _SUBSCRIPTION.unpack_from, _CUSTOMER.unpack_from
_NAMES_AT: Final = _SUBSCRIPTION.size
_NAME_AT: Final = _CUSTOMER.size


class Form(ABC, Generic[D]):
    """How objects of one type are packed: what is as it is without a word is left out.

    Texts that very many have are kept once. An object that is as nearly all are is a plain row:
    the numbers that it has, and its names behind them. Others are values that msgpack knows.
    """

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._numbers = Numbers(self._texts)

    @abstractmethod
    def told(self, one: D) -> Sequence[Any]:
        """Return an object as values that msgpack knows."""

    @abstractmethod
    def made(self, told: list[Any]) -> D:
        """Return the object that was told; the list is used up."""

    def packed(self, at_ms: int, offset: int, one: D) -> bytes:
        """Return one version as bytes: its append time in ms, its offset and the object."""
        return self.packed_all(((at_ms, offset, one),))

    def from_plain(self, row: Row) -> tuple[int, int, D]:
        """Return append time in ms, offset and object of a plain row."""
        raise TypeError(f"{type(self).__name__} makes no plain rows")

    def packed_all(self, entries: Iterable[tuple[int, int, D | None]]) -> bytes:
        """Do `packed` for any number of versions, however they are."""
        told: list[Any] = []
        for at_ms, offset, one in entries:
            told += (at_ms, offset, None if one is None else self.told(one))
        return _encode(told)

    def newest(self, row: Row) -> D | None:
        """Return the newest version that was packed; None: it is a deletion."""
        if row[0] < _PLAIN:
            return self.from_plain(row)[2]
        one = _decode(row)[-1]
        return None if one is None else self.made(one)

    def single(self, row: Row) -> tuple[int, int, D] | None:
        """Return append time in ms, offset and object of a single version; None: it has several."""
        if row[0] < _PLAIN:
            return self.from_plain(row)
        at_ms, offset, one, *others = _decode(row)
        return None if others else (at_ms, offset, self.made(one))

    def unpacked(self, row: Row) -> Versions[D]:
        """Return the versions that were packed."""
        if row[0] < _PLAIN:
            return Versions(*self.from_plain(row))
        at_ms, offset, one, *others = _decode(row)
        versions = Versions(at_ms, offset, self.made(one))
        if others:
            each = iter(others)
            for at_ms, offset, one in zip(each, each, each, strict=True):
                versions.push(at_ms, offset, None if one is None else self.made(one))
        return versions


class PlainLife(NamedTuple):
    """What of a subscription that never changed, and has no end, its periods hang on."""

    organization_id: str
    plan_id: str
    billing_time: BillingTime
    customer_id: str
    created_ms: int
    """Append time of its definition."""
    started_ms: int
    anchor_ms: int
    """Its `subscription_at`."""


class SubscriptionForm(Form[Subscription]):
    """The first nine fields of a subscription, or all."""

    def __init__(self) -> None:
        super().__init__()
        self._shapes: list[tuple[str, str, BillingTime]] = []
        """Organization, plan and billing time of plain rows: many subscriptions have the same."""
        self._shape_numbers = Numbers(self._shapes)

    def told(self, one: Subscription) -> Sequence[Any]:
        """Return a subscription as values that msgpack knows."""
        identity, organization_id, external_id, customer_id, plan_id, *rest = astuple(one)
        if rest[4:] == _OF_MOST_SUBSCRIPTIONS:
            del rest[4:]
        numbers = self._numbers
        plan, organization = numbers[plan_id], numbers[organization_id]
        return _packed_id(identity), organization, external_id, customer_id, plan, *rest

    def packed(self, at_ms: int, offset: int, one: Subscription) -> bytes:
        """Return one version as bytes: a plain row if nothing was done to it since it was made."""
        (
            identity,
            organization_id,
            external_id,
            customer_id,
            plan_id,
            billing_time,
            since_ms,
            *rest,
        ) = astuple(one)
        if rest == [since_ms, at_ms, *_OF_MOST_SUBSCRIPTIONS]:
            shape = self._shape_numbers[organization_id, plan_id, billing_time]
            length = len(external_id)
            if not ((shape | length) >> 16 or at_ms >> _TIME_BITS):
                began, told = at_ms << 16 | shape, since_ms << 16 | length
                try:
                    numbers = _of_subscription(began, told, offset, _packed_id(identity))
                    return numbers + bytes(external_id + customer_id, "utf-8")
                except struct.error:
                    # Its id is none of ours, the log is very long, or a time is before 1970.
                    pass
        return super().packed(at_ms, offset, one)

    def from_plain(self, row: Row) -> tuple[int, int, Subscription]:
        """Return append time in ms, offset and the subscription of a plain row."""
        at_ms, since_ms, offset, identity = _in_subscription(row)
        organization_id, plan_id, billing_time = self._shapes[at_ms & 0xFFFF]
        names, cut = str(row[_NAMES_AT:], "utf-8"), since_ms & 0xFFFF
        at_ms >>= 16
        since_ms >>= 16
        return (
            at_ms,
            offset,
            Subscription(
                id=_uuid_of(identity),
                organization_id=organization_id,
                external_id=names[:cut],
                external_customer_id=names[cut:],
                plan_id=plan_id,
                billing_time=billing_time,
                subscription_at_ms=since_ms,
                started_at_ms=since_ms,
                created_at_ms=at_ms,
            ),
        )

    def life(self, row: Row) -> PlainLife | None:
        """Return what the periods of a packed subscription hang on; None: it changed, or ends."""
        if row[0] < _PLAIN:
            at_ms, since_ms, _, _ = _in_subscription(row)
            customer_id = str(row[_NAMES_AT:], "utf-8")[since_ms & 0xFFFF :]
            since_ms >>= 16
            shape: tuple[str, str, BillingTime] = self._shapes[at_ms & 0xFFFF]
            return _new(PlainLife, (*shape, customer_id, at_ms >> 16, since_ms, since_ms))
        lived = self.lived(row)
        return None if lived is None else lived[0]

    def lived(self, row: Row) -> tuple[PlainLife, Subscription] | None:
        """Return what `life` does, and the subscription itself."""
        if row[0] < _PLAIN:
            # Nothing has ended it.
            created_ms, _, one = self.from_plain(row)
        else:
            single = self.single(row)
            if single is None or single[2].usage_end_ms is not None:
                return None
            created_ms, _, one = single
        about = one.organization_id, one.plan_id, one.billing_time, one.external_customer_id
        times_ms = created_ms, one.started_at_ms, one.subscription_at_ms
        return _new(PlainLife, (*about, *times_ms)), one

    def external_name(self, row: Row) -> tuple[str, str]:
        """Return organization and external id of a packed subscription: they never change."""
        if row[0] < _PLAIN:
            organization_id, external_id, _ = self._names(row)
            return organization_id, external_id
        told = _decode(row)[2]
        return self._texts[told[1]], told[2]

    def customer_name(self, row: Row) -> tuple[str, str]:
        """Return its organization and the external id of its customer."""
        if row[0] < _PLAIN:
            organization_id, _, customer_id = self._names(row)
            return organization_id, customer_id
        told = _decode(row)[2]
        return self._texts[told[1]], told[3]

    def _names(self, row: Row) -> tuple[str, str, str]:
        """Return organization, external id and that of the customer, of a plain row."""
        at_ms, since_ms, _, _ = _in_subscription(row)
        names, cut = str(row[_NAMES_AT:], "utf-8"), since_ms & 0xFFFF
        return self._shapes[at_ms & 0xFFFF][0], names[:cut], names[cut:]

    def made(self, told: list[Any]) -> Subscription:
        """Return the subscription that was told."""
        texts = self._texts
        told[0], told[1], told[4] = _spelled_id(told[0]), texts[told[1]], texts[told[4]]
        return Subscription(**dict(zip(_OF_SUBSCRIPTIONS, told, strict=False)))


class CustomerForm(Form[Customer]):
    """The first five fields of a customer, or all."""

    def told(self, one: Customer) -> Sequence[Any]:
        """Return a customer as values that msgpack knows."""
        identity, organization_id, *rest = astuple(one)
        if rest[3:] == _OF_MOST_CUSTOMERS:
            del rest[3:]
        else:
            # They are whatever JSON knows, fractions as they were spelled.
            rest[-1] = _encode_json(rest[-1])
        return _packed_id(identity), self._numbers[organization_id], *rest

    def packed(self, at_ms: int, offset: int, one: Customer) -> bytes:
        """Return one version as bytes: a plain row if only its name was said."""
        identity, organization_id, external_id, *rest = astuple(one)
        if rest == [at_ms, at_ms, *_OF_MOST_CUSTOMERS]:
            organization = self._numbers[organization_id]
            if not (organization >> 16 or at_ms >> _TIME_BITS):
                began = at_ms << 16 | organization
                try:
                    numbers = _of_customer(began, offset, _packed_id(identity))
                    return numbers + bytes(external_id, "utf-8")
                except struct.error:
                    pass
        return super().packed(at_ms, offset, one)

    def from_plain(self, row: Row) -> tuple[int, int, Customer]:
        """Return append time in ms, offset and the customer of a plain row."""
        at_ms, offset, identity = _in_customer(row)
        organization_id = self._texts[at_ms & 0xFFFF]
        at_ms >>= 16
        return (
            at_ms,
            offset,
            Customer(
                id=_uuid_of(identity),
                organization_id=organization_id,
                external_id=str(row[_NAME_AT:], "utf-8"),
                created_at_ms=at_ms,
                updated_at_ms=at_ms,
            ),
        )

    def made(self, told: list[Any]) -> Customer:
        """Return the customer that was told."""
        told[0], told[1] = _spelled_id(told[0]), self._texts[told[1]]
        if len(told) > 5:
            told[7] = _decode_json(told[7])
        return Customer(**dict(zip(_OF_CUSTOMERS, told, strict=False)))


class AlertForm(Form[Alert]):
    """All fields of an alert; it has no plain row."""

    def told(self, one: Alert) -> Sequence[Any]:
        """Return an alert as values that msgpack knows."""
        identity, organization_id, external_id, alert_type, *rest, created_ms = astuple(one)
        code, name, metric_id, thresholds = rest
        organization, kind, metric = (
            self._numbers[text] for text in (organization_id, alert_type, metric_id)
        )
        crossed = [each for t in thresholds for each in (t.code, str(t.value), t.recurring)]
        names = external_id, kind, code, name, metric
        return _packed_id(identity), organization, *names, crossed, created_ms

    def external_name(self, row: Row) -> tuple[str, str]:
        """Return organization and external subscription id of a packed alert: they never change."""
        told = _decode(row)[2]
        return self._texts[told[1]], told[2]

    def made(self, told: list[Any]) -> Alert:
        """Return the alert that was told."""
        told[0] = _spelled_id(told[0])
        for at in (1, 3, 6):
            told[at] = self._texts[told[at]]
        crossed = iter(told[7])
        told[7] = tuple(
            AlertThreshold(code, Decimal(value), recurring)
            for code, value, recurring in zip(crossed, crossed, crossed, strict=True)
        )
        return Alert(**dict(zip(_OF_ALERTS, told, strict=True)))


def _packed_id(identity: str) -> bytes | str:
    """Return an id as bytes if it is spelled as those that we make."""
    return bytes.fromhex(identity.replace("-", "")) if _is_uuid(identity) else identity


def _uuid_of(packed: bytes) -> str:
    """Return an id as it is spelled; for each subscription that is looked at."""
    pairs = packed.hex("-", 2)
    return f"{pairs[:4]}{pairs[5:29]}{pairs[30:34]}{pairs[35:]}"


def _spelled_id(packed: bytes | str) -> str:
    """Return the id that `_packed_id` packed."""
    return _uuid_of(packed) if isinstance(packed, bytes) else packed


_OF_SUBSCRIPTIONS = Subscription.__struct_fields__
_OF_CUSTOMERS = Customer.__struct_fields__
_OF_ALERTS = Alert.__struct_fields__
_OF_MOST_SUBSCRIPTIONS: list[Any] = [*(None,) * 6, False, None, None, "generate", None]
_OF_MOST_CUSTOMERS: list[Any] = [None, None, {}]

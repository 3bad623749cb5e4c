"""Forms: subscriptions and customers as bytes, and back."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from struct import Struct
from typing import Any, Final, Generic, TypeVar

import msgspec
from msgspec.structs import astuple

from app.definitions.command import verbatim
from app.definitions.model import Customer, Subscription
from app.definitions.versions import Versions

D = TypeVar("D", bound=Subscription | Customer)

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Any]).decode
_encode_json = msgspec.json.Encoder(decimal_format="number").encode
_decode_json = msgspec.json.Decoder(float_hook=verbatim).decode
_is_uuid = re.compile("-".join(f"[0-9a-f]{{{digits}}}" for digits in (8, 4, 4, 4, 12))).fullmatch
_unpack_uuid = Struct(">IHHHHI").unpack
_UUID: Final = "%08x-%04x-%04x-%04x-%04x%08x"


class Form(ABC, Generic[D]):
    """How objects of one type are packed: what is as it is without a word is left out.

    Texts that very many have are kept once.
    """

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._numbers = _Numbers(self._texts)

    @abstractmethod
    def told(self, one: D) -> Sequence[Any]:
        """Return an object as values that msgpack knows."""

    @abstractmethod
    def made(self, told: list[Any]) -> D:
        """Return the object that was told; the list is used up."""

    def packed(self, at_ms: int, offset: int, one: D) -> bytes:
        """Return one version as bytes: its append time in ms, its offset and the object."""
        return _encode((at_ms, offset, self.told(one)))

    def packed_all(self, entries: Iterable[tuple[int, int, D | None]]) -> bytes:
        """Do `packed` for any number of versions."""
        told: list[Any] = []
        for at_ms, offset, one in entries:
            told += (at_ms, offset, None if one is None else self.told(one))
        return _encode(told)

    def newest(self, row: bytes) -> D | None:
        """Return the newest version that was packed; None: it is a deletion."""
        one = _decode(row)[-1]
        return None if one is None else self.made(one)

    def unpacked(self, row: bytes) -> Versions[D]:
        """Return the versions that were packed."""
        at_ms, offset, one, *others = _decode(row)
        versions = Versions(at_ms, offset, self.made(one))
        if others:
            each = iter(others)
            for at_ms, offset, one in zip(each, each, each, strict=True):
                versions.push(at_ms, offset, None if one is None else self.made(one))
        return versions


class SubscriptionForm(Form[Subscription]):
    """The first nine fields of a subscription, or all."""

    def told(self, one: Subscription) -> Sequence[Any]:
        """Return a subscription as values that msgpack knows."""
        identity, organization_id, external_id, customer_id, plan_id, *rest = astuple(one)
        if rest[4:] == _OF_MOST_SUBSCRIPTIONS:
            del rest[4:]
        numbers = self._numbers
        plan, organization = numbers[plan_id], numbers[organization_id]
        return _packed_id(identity), organization, external_id, customer_id, plan, *rest

    def external_name(self, row: bytes) -> tuple[str, str]:
        """Return organization and external id of a packed subscription: they never change."""
        told = _decode(row)[2]
        return self._texts[told[1]], told[2]

    def customer_name(self, row: bytes) -> tuple[str, str]:
        """Return its organization and the external id of its customer."""
        told = _decode(row)[2]
        return self._texts[told[1]], told[3]

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

    def made(self, told: list[Any]) -> Customer:
        """Return the customer that was told."""
        told[0], told[1] = _spelled_id(told[0]), self._texts[told[1]]
        if len(told) > 5:
            told[7] = _decode_json(told[7])
        return Customer(**dict(zip(_OF_CUSTOMERS, told, strict=False)))


class _Numbers(dict[str, int]):
    """Numbers of texts; whoever asks for one more is given the next."""

    def __init__(self, texts: list[str]):
        super().__init__()
        self._texts = texts

    def __missing__(self, text: str) -> int:
        number = self[text] = len(self._texts)
        self._texts.append(text)
        return number


def _packed_id(identity: str) -> bytes | str:
    """Return an id as bytes if it is spelled as those that we make."""
    return bytes.fromhex(identity.replace("-", "")) if _is_uuid(identity) else identity


def _spelled_id(packed: bytes | str) -> str:
    """Return the id that `_packed_id` packed."""
    return _UUID % _unpack_uuid(packed) if isinstance(packed, bytes) else packed


_OF_SUBSCRIPTIONS = Subscription.__struct_fields__
_OF_CUSTOMERS = Customer.__struct_fields__
_OF_MOST_SUBSCRIPTIONS: list[Any] = [*(None,) * 6, False, None, None, "generate", None]
_OF_MOST_CUSTOMERS: list[Any] = [None, None, {}]

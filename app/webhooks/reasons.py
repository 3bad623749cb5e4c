"""Why a delivery was not taken, in the words that an operator is told.

The list is closed: none of them repeats what the other side said, or a name of this program.
"""

from __future__ import annotations

from enum import StrEnum
from errno import (
    EADDRNOTAVAIL,
    ECONNABORTED,
    ECONNREFUSED,
    ECONNRESET,
    EMFILE,
    ENFILE,
    ENOBUFS,
    EPIPE,
    ETIMEDOUT,
)
from ssl import CertificateError, SSLError
from typing import Final

from aiohttp import (
    ClientConnectorDNSError,
    ClientConnectorError,
    ClientResponseError,
    InvalidURL,
    NonHttpUrlClientError,
)


class Reason(StrEnum):
    """What became of the last attempt."""

    STATUS = "status"
    """With the number behind it."""
    NO_ANSWER = "no answer in time"
    NAME_NOT_FOUND = "name not found"
    REFUSED = "connection refused"
    UNREACHABLE = "host not reachable"
    NO_SOCKET = "no socket is left on this machine"
    CERTIFICATE = "certificate not trusted"
    TLS = "TLS failed"
    BROKEN_OFF = "connection broken off"
    NO_HTTP = "the answer is no HTTP"
    NO_URL = "the URL leads nowhere"
    FULL = "too many deliveries wait for this endpoint"
    NO_HMAC_KEY = "METER_WEBHOOK_HMAC_KEYS has no key of the organization"
    NO_PRIVATE_KEY = "METER_WEBHOOK_PRIVATE_KEY_FILE is not set"


_CONNECTING: Final[dict[int | None, Reason]] = {
    ECONNREFUSED: Reason.REFUSED,
    ETIMEDOUT: Reason.NO_ANSWER,
    # A handshake that ends has no number.
    **dict.fromkeys((None, ECONNRESET, ECONNABORTED, EPIPE), Reason.BROKEN_OFF),
    **dict.fromkeys((EMFILE, ENFILE, ENOBUFS, EADDRNOTAVAIL), Reason.NO_SOCKET),
}
"""What an error of the system says while a connection is opened; all others: nobody is there."""


def reason_of(error: Exception) -> Reason:
    """Return the words for what ended a request."""
    match error:
        case TimeoutError():
            return Reason.NO_ANSWER
        case ClientConnectorDNSError():
            return Reason.NAME_NOT_FOUND
        case CertificateError():
            return Reason.CERTIFICATE
        case SSLError():
            return Reason.TLS
        case ClientConnectorError():
            return _CONNECTING.get(error.os_error.errno, Reason.UNREACHABLE)
        case ClientResponseError():
            return Reason.NO_HTTP
        case InvalidURL() | NonHttpUrlClientError() | ValueError():
            return Reason.NO_URL
    return Reason.BROKEN_OFF

"""Lago's error bodies (metering-semantics §0.3), as one exception and a constructor for each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

FieldErrors = dict[str, list[str]]

REASONS = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    411: "Length Required",
    413: "Payload Too Large",
    415: "Unsupported Media Type",
    421: "Misdirected Request",
    422: "Unprocessable Entity",
    429: "Too Many Requests",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    503: "Service Unavailable",
}


class ApiError(Exception):
    """An answer that is not a success; `body` is what the client gets."""

    def __init__(self, status: int, body: Mapping[str, Any]) -> None:
        super().__init__(status, body)
        self.status = status
        self.body = body
        self.headers: dict[str, str] = {}


def _error(status: int, **more: Any) -> ApiError:
    return ApiError(status, {"status": status, "error": REASONS[status], **more})


def coded(status: int, code: str, details: Any = None) -> ApiError:
    """Return status and code, with `error_details` if any: so definitions are rejected."""
    return (
        _error(status, code=code)
        if details is None
        else _error(status, code=code, error_details=details)
    )


def bad_request(message: str) -> ApiError:
    """Return a 400: the body cannot be read."""
    return ApiError(400, {"status": 400, "error": f"BadRequest: {message}"})


def root_missing(root: str) -> ApiError:
    """Return a 400: the required root key is missing or empty."""
    return bad_request(f"param is missing or the value is empty or invalid: {root}")


def unauthorized() -> ApiError:
    """Return a 401: no valid key; the only error without a code."""
    return _error(401)


def forbidden(code: str) -> ApiError:
    """Return a 403: not permitted, or a feature this product does not have."""
    return _error(403, code=code)


def not_found(resource: str) -> ApiError:
    """Return a 404 `<resource>_not_found`."""
    return _error(404, code=f"{resource}_not_found")


def not_allowed(code: str) -> ApiError:
    """Return a 405: a business refusal."""
    return _error(405, code=code)


def wrong_method(allowed: list[str]) -> ApiError:
    """Return a 405: the path exists, with other methods."""
    error = not_allowed("method_not_allowed")
    error.headers["Allow"] = ", ".join(allowed)
    return error


def too_large(limit_bytes: int, what: str = "body") -> ApiError:
    """Return a 413: the body, or the record made of it, is over the limit."""
    return _error(413, code="too_large", error_details={what: [f"limit_is_{limit_bytes}_bytes"]})


def too_many_values(limit: int) -> ApiError:
    """Return a 413: the body has too many values, though few bytes."""
    return _error(413, code="too_large", error_details={"body": [f"limit_is_{limit}_values"]})


def length_required() -> ApiError:
    """Return a 411: neither a length nor chunks say where the body ends."""
    return _error(411, code="length_required")


def encoded_body() -> ApiError:
    """Return a 415: the body is compressed; only inflating it would show its real size."""
    return _error(415, code="content_encoding_not_supported")


def request_timeout() -> ApiError:
    """Return a 408: the request did not come whole in time."""
    return _error(408, code="request_timeout")


def head_too_large(limit_bytes: int) -> ApiError:
    """Return a 431: request line and headers are over the limit."""
    return _error(
        431, code="head_too_large", error_details={"head": [f"limit_is_{limit_bytes}_bytes"]}
    )


def misdirected(host: str) -> ApiError:
    """Return a 421: only a web site that misuses this worker would reach it under that name."""
    return _error(421, code="misdirected_request", error_details={"host": [host]})


def invalid(details: Any) -> ApiError:
    """Return a 422: field name -> codes; for a batch, index -> that map."""
    return _error(422, code="validation_errors", error_details=details)


def unavailable(code: str, retry_after_s: int = 1) -> ApiError:
    """Return a 503: try the same again later; what a write holds may have been taken."""
    error = _error(503, code=code)
    error.headers["Retry-After"] = str(retry_after_s)
    return error


def too_many_requests(retry_after_s: int) -> ApiError:
    """Return a 429: more wait than can be answered soon; nothing was written."""
    error = _error(429, code="too_many_requests")
    error.headers["Retry-After"] = str(retry_after_s)
    return error


def unexpected() -> ApiError:
    """Return a 500: a defect; it is in the log of the worker."""
    return _error(500, code="internal_error")

"""Errors of Redis that callers of this package need: nobody else imports redis."""

from __future__ import annotations

from redis.exceptions import NoPermissionError, RedisError, ResponseError

__all__ = ["NoPermissionError", "RedisError", "ResponseError"]

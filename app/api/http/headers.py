"""Headers of every answer, whatever it is: what a browser may do with it."""

from __future__ import annotations

from collections.abc import MutableMapping

_EVERYWHERE = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "",
}
_ONLY_TLS = {"Strict-Transport-Security": "max-age=31536000"}


def add_headers(headers: MutableMapping[str, str], *, tls: bool) -> None:
    """Add them; no cache keeps an answer unless its own headers say that it may."""
    headers.update(_EVERYWHERE)
    headers.setdefault("Cache-Control", "no-store")
    if tls:
        headers.update(_ONLY_TLS)

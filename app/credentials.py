"""Whom this process trusts and what it loads by name, of the standard library alone.

Which certificates are used is a matter of `app.settings`; tokens for Kafka are in `app.tokens`.
"""

from __future__ import annotations

import importlib
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any


def ssl_context(
    ca_file: Path | None, cert_file: Path | None, key_file: Path | None
) -> ssl.SSLContext:
    """Return a context of TLS 1.2 or newer that trusts the authority of `ca_file` or the system's.

    With a certificate of our own the other side learns who we are.
    """
    context = ssl.create_default_context(cafile=ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if cert_file is not None:
        context.load_cert_chain(cert_file, key_file)
    return context


def found_callable(name: str) -> Callable[[], Any]:
    """Return what `module:callable` names. Raises ValueError."""
    module, _, attribute = name.partition(":")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"{name!r} names no callable as module:callable ({error})") from error
    if not callable(found):
        raise ValueError(f"{name!r} is not callable")
    checked: Callable[[], Any] = found
    return checked

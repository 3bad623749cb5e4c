"""Whom this process trusts and what it loads by name, without any library of others.

Which certificates are used is a matter of `app.settings`; tokens for Kafka are in `app.tokens`.
"""

from __future__ import annotations

import importlib
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from app.errors import SettingRefused


class FileRefused(SettingRefused, OSError):
    """A file of certificates cannot be used. While it is replaced that passes, as any OSError."""


def ssl_context(
    whose: str, ca_file: Path | None, cert_file: Path | None = None, key_file: Path | None = None
) -> ssl.SSLContext:
    """Return a context of TLS 1.2 or newer that trusts the authority of `ca_file` or the system's.

    With a certificate of our own the other side learns who we are. `whose` is how the names of the
    settings begin, as METER_KAFKA.

    Raises:
        FileRefused: names the setting and its file.
    """
    named = {f"{whose}_CA_FILE": ca_file, f"{whose}_CERT_FILE": cert_file}
    if cert_file is not None:
        named[f"{whose}_KEY_FILE"] = key_file
    given = {name: file for name, file in named.items() if file is not None}
    for name, file in given.items():
        # An error of ssl does not say which of them is not there.
        with _told({name: file}):
            file.open("rb").close()
    authority = given.pop(f"{whose}_CA_FILE", None)
    with _told({f"{whose}_CA_FILE": authority}):
        context = ssl.create_default_context(cafile=authority)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if cert_file is not None:
        with _told(given):
            context.load_cert_chain(cert_file, key_file)
    return context


def trusting_too(whose: str, ca_file: Path) -> ssl.SSLContext:
    """Return what `ssl_context` does, but trust the system's authorities besides that of the file.

    Raises:
        FileRefused: names the setting and its file.
    """
    context = ssl_context(whose, None)
    with _told({f"{whose}_CA_FILE": ca_file}):
        context.load_verify_locations(ca_file)
    return context


@contextmanager
def _told(files: Mapping[str, Path | None]) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        names = " and ".join(f"{name} {file}" for name, file in files.items())
        raise FileRefused(
            f"{names} cannot be used ({error.strerror or error}): correct {' or '.join(files)}, "
            "or put there what this process can read as PEM."
        ) from error


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

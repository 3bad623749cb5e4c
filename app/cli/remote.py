"""A running worker as the command line asks it: over HTTP, with an organization's key."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from email.message import Message
from email.utils import parsedate_to_datetime
from functools import cached_property
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from ssl import SSLCertVerificationError, SSLContext
from time import time
from typing import IO, Any, Final, TypeVar
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlencode
from urllib.request import (
    HTTPRedirectHandler,
    HTTPSHandler,
    OpenerDirector,
    Request,
    build_opener,
)

import click
import msgspec
from click.core import ParameterSource

from app.cli import contexts
from app.cli.api_keys import KEY, checked_key, key_of_file
from app.cli.exits import NO_VERDICT, NOT_THERE, NoVerdict, WrongUsage
from app.cli.failures import load_settings
from app.cli.output import echo
from app.cli.words import TEXT
from app.credentials import FileRefused, trusting_too
from app.settings import HOST, ApiKey, Settings, http_url

Json = dict[str, Any]
Asked = str | int | Sequence[str] | None
Answer = tuple[bytes, Message]
"""Body and headers."""
Command = TypeVar("Command", bound=Callable[..., Any])

TIMEOUT_S = 30.0
_EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104


class RequestRefused(click.ClickException):
    """The worker answered with an error; `status` is HTTP's."""

    def __init__(self, message: str, status: int, answer: Answer | None = None) -> None:
        super().__init__(message)
        self.status = status
        if status == 404:
            self.exit_code = NOT_THERE
        elif status == 429 or status >= 500:
            # It says nothing of what was asked.
            self.exit_code = NO_VERDICT
        self.answer = answer
        """Body and headers; None where they are not kept."""

    def details(self) -> Json:
        """Return what the worker says of each field; nothing if it says nothing."""
        try:
            found = decode(self.answer[0])["error_details"] if self.answer else {}
        except (ValueError, KeyError, TypeError):
            return {}
        return found if isinstance(found, dict) else {}


class NoRedirects(HTTPRedirectHandler):
    """A redirect is an error: the key must not follow it to another host."""

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> None:
        """Follow nothing."""
        return


class Remote:
    """One worker's HTTP interface; any worker answers for all."""

    def __init__(self, url: str, key: str | None) -> None:
        require_http_url(url)
        self.url = url.rstrip("/")
        self.key = key
        self.tls = trusted() if url.startswith("https://") else None

    def get(self, path: str, **query: Asked) -> Json:
        """Return the JSON answer; a parameter of several values is sent once for each.

        Raises `RequestRefused`, or `ClickException` when nobody answers.
        """
        return self._decoded(self.content(path, **query))

    def found(self, path: str, **query: Asked) -> Json | None:
        """Do as `get`, but return None where there is nothing of that name."""
        try:
            return self.get(path, **query)
        except RequestRefused as refused:
            if refused.status != 404:
                raise
            return None

    def content(self, path: str, **query: Asked) -> bytes:
        """Return the bytes of an answer. Raises as `get` does."""
        given = {name: value for name, value in query.items() if value is not None}
        return self._read(self._request("GET", f"{path}?{urlencode(given, doseq=True)}"))[0]

    def health(self) -> tuple[Json, float]:
        """Return what /health/ready says, also of one that is not, and how far its clock is ahead.

        Raises as `get` does.
        """
        try:
            content, headers = self._read(self._request("GET", "/health/ready"))
        except RequestRefused as refused:
            if refused.answer is None:
                raise
            content, headers = refused.answer
        found: Json = decode(content)
        told = headers.get("Date")
        ahead_s = 0.0 if told is None else parsedate_to_datetime(told).timestamp() - time()
        return found, ahead_s

    def post(self, path: str, body: Json) -> Json:
        """Return the JSON answer. Raises as `get` does; `msgspec.Raw` is sent as it is."""
        return self.post_placed(path, body)[0]

    def post_placed(self, path: str, body: Json) -> tuple[Json, str | None]:
        """Do as `post`, and return also where the record went, as partition:offset."""
        content, headers = self._read(self._request("POST", path, body))
        return self._decoded(content), headers.get("Meter-Position")

    def put(self, path: str, body: Json) -> Json:
        """Return the JSON answer. Raises as `get` does."""
        return self._decoded(self._read(self._request("PUT", path, body))[0])

    def delete(self, path: str) -> Json:
        """Return the JSON answer. Raises as `get` does."""
        return self._decoded(self._read(self._request("DELETE", path))[0])

    def lines(self, path: str, body: Json) -> Iterator[Json]:
        """Yield the JSON lines of an answer as they come, without the first. Raises as `get` does.

        An answer that breaks off, or says why it ends, raises `NoVerdict`.
        """
        request = self._request("POST", path, body)
        # The page's own paths want it of whoever writes.
        request.add_header("Meter-Page", "1")
        with self._opened(request) as answer:
            done = False
            try:
                for number, text in enumerate(answer):
                    line: Json = decode(text)
                    if "error" in line:
                        raise NoVerdict(f"{self.url} stopped: {line['error']}")
                    done = done or line.get("done") is True
                    if number:
                        yield line
            except (HTTPException, OSError, ValueError) as error:
                raise NoVerdict(f"{self.url} stopped answering ({error})") from error
            if not done:
                raise NoVerdict(f"{self.url} stopped before it was done")

    def _request(self, method: str, path: str, body: Json | None = None) -> Request:
        request = Request(f"{self.url}{path}", method=method)  # noqa: S310
        if body is not None:
            request.data = msgspec.json.encode(body)
            request.add_header("Content-Type", "application/json")
        return request

    def _decoded(self, content: bytes) -> Json:
        try:
            # As decimals, so that a figure is printed as the worker spelled it.
            found: Json = decode(content)
        except ValueError as error:
            raise NoVerdict(nobody_answers(self.url, error)) from error
        return found

    def _read(self, request: Request) -> Answer:
        with self._opened(request) as answer:
            try:
                return answer.read(), answer.headers
            except (HTTPException, OSError) as error:
                raise NoVerdict(nobody_answers(self.url, error)) from error

    def _opened(self, request: Request) -> HTTPResponse:
        if self.key is not None:
            request.add_header("Authorization", f"Bearer {self.key}")
        try:
            answer: HTTPResponse = self._opener.open(request, timeout=TIMEOUT_S)
            return answer
        except HTTPError as error:
            with error:
                raise self._refused(error) from error
        except (URLError, HTTPException, OSError, ValueError) as error:
            reason = getattr(error, "reason", error)
            raise NoVerdict(nobody_answers(self.url, reason)) from error

    @cached_property
    def _opener(self) -> OpenerDirector:
        return build_opener(NoRedirects, HTTPSHandler(context=self.tls))

    def _refused(self, error: HTTPError) -> RequestRefused:
        if error.code == 401:
            wrong = "does not know this key" if self.key else "wants a key and none is set"
            message = f"{self.url} {wrong}. Set METER_API_KEY, --key-file or a context's key."
            return RequestRefused(message, error.code)
        if error.code < 400 and (place := error.headers.get("Location")):
            message = f"{self.url} leads on to {place}. Name that URL instead."
            return RequestRefused(message, error.code)
        content = error.read()
        message = f"{self.url} answered {error.code}: {told_of(content) or error.reason}"
        return RequestRefused(message, error.code, (content, error.headers))


def told_of(content: bytes) -> str:
    """Return what an error says, and of which fields; nothing if it is none of a worker."""
    try:
        body = msgspec.json.decode(content)
        return told_error(str(body.get("code") or body.get("error")), body.get("error_details"))
    except (ValueError, AttributeError):
        return ""


def told_error(code: str, details: object) -> str:
    """Return a code and, in brackets, what is wrong with which field, if that is said."""
    fields = told_fields(details)
    return f"{code} ({fields})" if fields else code


def told_fields(details: object) -> str:
    """Return what is wrong with each field; nothing if nothing is said of any."""
    if not isinstance(details, Mapping):
        return ""
    return "; ".join(
        f"{name}: {', '.join(map(str, found)) if isinstance(found, list) else found}"
        for name, found in details.items()
    )


def nobody_answers(url: str, reason: object) -> str:
    """Return what is said when a worker cannot be reached."""
    if isinstance(reason, SSLCertVerificationError):
        return (
            f"The certificate of {url} is not one that we trust ({reason.verify_message}). Name "
            f"its authority in {_AUTHORITY}, or a host that it is made for by --url or METER_URL."
        )
    return (
        f"No worker answers at {url} ({reason}). Is `meter up` running? "
        "Another address: --url, METER_URL or METER_HTTP_PORT."
    )


def remote_options(command: Command) -> Command:
    """Add `--url` and `--key` or `--key-file`, given to the command as `url` and `key`."""
    for option in (
        click.option(
            "--key-file",
            envvar="METER_API_KEY_FILE",
            expose_value=False,
            is_eager=True,
            callback=_key_of_file,
            type=click.Path(exists=True, dir_okay=False, allow_dash=True),
            help="File that holds the API key, or METER_API_KEY_FILE; - is standard input.",
        ),
        click.option(
            "--context",
            type=TEXT,
            envvar="METER_CONTEXT",
            expose_value=False,
            is_eager=True,
            callback=_note_context,
            help="A worker by its name, from `meter context list`.",
        ),
        click.option(
            "--key",
            type=KEY,
            envvar="METER_API_KEY",
            callback=_key,
            help="API key; every user of this machine sees it here. Better: METER_API_KEY or "
            "--key-file. Default: the first of METER_API_KEYS.",
        ),
        click.option(
            "--url",
            type=TEXT,
            envvar="METER_URL",
            callback=_url,
            help="Any worker. Default: that of --context, else METER_URL, else the context's in "
            "use, else this machine's at METER_HTTP_PORT.",
        ),
    ):
        command = option(command)
    return command


def _key_of_file(context: click.Context, _: click.Parameter, path: str | None) -> None:
    if path is not None and not _gives_way(context, "key_file"):
        context.default_map = {**(context.default_map or {}), "key": key_of_file(path)}


def _note_context(context: click.Context, _: click.Parameter, name: str | None) -> None:
    context.meta[contexts.OPTION] = name


def _url(context: click.Context, _: click.Parameter, url: str | None) -> str | None:
    return None if _gives_way(context, "url") else url


def _key(context: click.Context, _: click.Parameter, key: str | None) -> str | None:
    if _is_typed(context, "key"):
        echo(
            "Everybody on this machine can read --key with `ps`: use METER_API_KEY or --key-file.",
            err=True,
        )
    elif _is_typed(context, "key_file"):
        # Click takes the environment first.
        return context.lookup_default("key")
    return None if _gives_way(context, "key") else key


def _is_typed(context: click.Context, option: str) -> bool:
    return context.get_parameter_source(option) is ParameterSource.COMMANDLINE


def _gives_way(context: click.Context, option: str) -> bool:
    """Return whether an option of the environment gives way to `--context` of the command line.

    What is typed holds: else the exported address of one worker takes what was meant for another.
    """
    if _is_typed(context, option) or not _is_typed(context, "context"):
        return False
    named = contexts.current()
    return named is not None and (option == "url" or named.key_file is not None)


def remote(url: str | None, key: str | None) -> Remote:
    """Return what the options or the environment name, else the context, else the local worker.

    A key of the context is for its own worker only, and so is one of this machine's settings.
    """
    named = None if url else contexts.current()
    if named is not None:
        return Remote(named.url, key or named.key())
    settings = local_settings()
    first = key_of_settings(settings.api_keys[0]) if settings.api_keys else None
    return Remote(url or _worker_url(settings), key or first)


def operated(url: str | None, key: str | None) -> Remote:
    """Return what `remote` does, but where the page is open to all, ask as a visitor.

    So operators also see what belongs to no organization, like a record that cannot be read.
    """
    if key is None and contexts.current() is None and local_settings().open_page:
        return Remote(remote(url, key).url, None)
    return remote(url, key)


def local_settings() -> Settings:
    """Return the environment's settings, of the local profile unless it names another."""
    profile = {} if os.environ.get("METER_PROFILE") else {"profile": "local"}
    return load_settings(**profile)


def key_of_settings(known: ApiKey) -> str:
    """Return the key of an entry of METER_API_KEYS. Raises `BadParameter`."""
    return checked_key(known.key.get_secret_value(), "METER_API_KEYS")


def segment(text: str) -> str:
    """Return the text as one segment of a path."""
    return quote(text, safe="")


_AUTHORITY = "METER_PEER_CA_FILE"


def require_http_url(url: str) -> None:
    """Refuse what no worker could be asked by."""
    try:
        http_url(url)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--url") from error


def trusted() -> SSLContext | None:
    """Return whom we trust; None: the system's authorities alone.

    The variable counts for a worker of a context, too, which asks for no other setting.
    """
    file = os.environ.get(_AUTHORITY)
    if not file:
        return None
    try:
        # A proxy in front of the workers may have a certificate of the world's.
        return trusting_too(_AUTHORITY.removesuffix("_CA_FILE"), Path(file))
    except FileRefused as error:
        raise WrongUsage(str(error)) from error


def _worker_url(settings: Settings) -> str:
    host = HOST if settings.http_host in _EVERYWHERE else settings.http_host
    scheme = "https" if settings.http_tls_cert_file else "http"
    return settings.advertised_url or f"{scheme}://{host}:{settings.http_port}"


decode: Final = msgspec.json.Decoder(float_hook=Decimal).decode
"""Reads JSON; a number keeps its digits."""

"""HTTP to other people's servers: deadlines, limits, secrecy and one reading of errors.

The client asks once and tells what happened, in the error tree. It never sleeps and never tries
again: when to ask again is the pipeline's decision (``Unavailable.retry_after_seconds`` helps it).
Numbers never pass through float: fractions are ``Decimal``, whole numbers ``int``.
"""

import asyncio
import logging
import re
import ssl
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple, TypeVar

import httpx
import msgspec

from cdc.runtime.breaker import Breaker
from cdc.runtime.errors import (
    BadAnswer,
    LedgerError,
    Rejected,
    SettingsError,
    Unavailable,
    Unfit,
)
from cdc.runtime.http_connections import transport

T = TypeVar("T")
Json = Any

RETRY_AFTER_SECONDS_MAX = 24 * 3600.0
ERROR_BYTES_MAX = 64 * 1024
"""An error's body is read so far, for its words."""
MESSAGE_CHARS_MAX = 400
HIDDEN = "***"
_HEADERS = {"Accept": "application/json", "Accept-Encoding": "gzip"}
_NUL = rb"\u0000"
_ESCAPES = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"  # a whole character
    rb"|(\\u[dD][89a-fA-F][0-9a-fA-F]{2})|\\.",
    re.DOTALL,
)
_TOKEN_FORMS = re.compile(r"access-[a-z]+-[0-9a-fA-F-]{8,}|(?<=[Bb]earer )\S+")

UNTYPED: msgspec.json.Decoder[Json] = msgspec.json.Decoder(float_hook=Decimal)
"""Any JSON value, exactly."""
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ArithmeticError)
"""What decoding may raise: not JSON or of another shape, not UTF-8, nested too deep, a number that
no decimal can hold. What is kept undecoded (``msgspec.Raw``) may hold all but the first still."""


def exact_decoder(kind: type[T]) -> msgspec.json.Decoder[T]:
    """A decoder into ``kind`` that keeps untyped fractions exact."""
    return msgspec.json.Decoder(kind, float_hook=Decimal)


@dataclass(frozen=True, slots=True)
class Limits:
    """What one request may take. ``total_seconds`` bounds all phases together."""

    connect_seconds: float = 10.0
    read_seconds: float = 65.0
    """Between two pieces of the answer: slow APIs give up after 30 to 60 s themselves."""
    write_seconds: float = 10.0
    pool_seconds: float = 10.0
    total_seconds: float = 120.0
    body_bytes_max: int = 256 * 1024 * 1024
    """As received and as unpacked, each."""


class Answer(NamedTuple):
    """An answer's head, and its body where it was an error."""

    status: int
    headers: Mapping[str, str]
    error: Json
    """The decoded body of an error that was JSON; else None."""
    retry_after_seconds: float | None


Explain = Callable[[Answer], LedgerError | None]
"""What an API means by an answer that is not a success; None: as everybody means it."""


class HttpClient:
    """Requests to one host.

    ``headers`` go with every request; ``secrets`` are blotted out of every error. ``explain`` reads
    the API's own errors. ``transport`` is for tests; ``now`` gives seconds since 1970.
    """

    def __init__(
        self,
        base_url: str,
        *,
        now: Callable[[], float],
        headers: Mapping[str, str] | None = None,
        secrets: Iterable[str] = (),
        explain: Explain = lambda answer: None,
        limits: Limits = Limits(),
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        url = httpx.URL(base_url.rstrip("/"))
        _check_url(url)
        for name in ("httpx", "httpcore"):  # they would log every address that is asked
            logging.getLogger(name).setLevel(logging.WARNING)
        self.host = url.netloc.decode("ascii")
        self.breaker = Breaker(now)
        self.requests_total = 0
        self._base = str(url)
        self._now = now
        self._explain = explain
        self._limits = limits
        self._redact = Redactor(tuple(secrets))
        self._headers = _HEADERS | dict(headers or {})
        self._transport = transport
        self._client: httpx.AsyncClient | None = None

    def _connected(self) -> httpx.AsyncClient:
        if self._client is None:
            limits = self._limits
            self._client = httpx.AsyncClient(
                headers=self._headers,
                timeout=httpx.Timeout(
                    connect=limits.connect_seconds,
                    read=limits.read_seconds,
                    write=limits.write_seconds,
                    pool=limits.pool_seconds,
                ),
                follow_redirects=False,
                trust_env=False,  # no proxy and no .netrc that settings do not name
                transport=self._transport or transport(_tls()),
            )
        return self._client

    async def get(
        self,
        path: str,
        decoder: "msgspec.json.Decoder[T]",
        *,
        params: Mapping[str, str] | None = None,
        credential: str = "",
    ) -> T:
        """The decoded body of ``path``; raises from the error tree."""
        request = self._connected().build_request("GET", self._base + path, params=params)
        return await self._ask(request, path, decoder, credential)

    async def post(
        self,
        path: str,
        decoder: "msgspec.json.Decoder[T]",
        *,
        body: Mapping[str, Json],
        credential: str = "",
    ) -> T:
        """The decoded answer to ``body`` as JSON; raises from the error tree."""
        request = self._connected().build_request(
            "POST",
            self._base + path,
            content=msgspec.json.encode(body),
            headers={"Content-Type": "application/json"},
        )
        return await self._ask(request, path, decoder, credential)

    async def close(self) -> None:
        """Ends the connections; the next request makes new ones. What the breaker knows stays."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def _ask(
        self, request: httpx.Request, path: str, decoder: "msgspec.json.Decoder[T]", credential: str
    ) -> T:
        self.breaker.check(credential)
        operation = f"{request.method} {path}"
        try:
            result = await self._exchange(request, operation, decoder)
        except LedgerError as error:
            self._hide(error, operation)
            if isinstance(error, Unavailable | Unfit):
                self.breaker.failed(credential, error)
            raise
        self.breaker.succeeded(credential)
        return result

    def _hide(self, error: LedgerError, operation: str) -> None:
        error.message = self._redact(error.message)[:MESSAGE_CHARS_MAX]  # a cut token is not known
        error.args = (error.message,)
        error.operation = self._redact(error.operation or operation)
        for name in ("code", "reason"):  # a server's own words, too
            if hasattr(error, name):
                setattr(error, name, self._redact(getattr(error, name)))
        error.subject = error.subject or self.host

    async def _exchange(
        self, request: httpx.Request, operation: str, decoder: "msgspec.json.Decoder[T]"
    ) -> T:
        self.requests_total += 1
        try:
            async with asyncio.timeout(self._limits.total_seconds):
                response = await self._connected().send(request, stream=True)
                try:
                    if not response.is_success:
                        raise await self._failure(response)
                    body = await self._body(response)
                finally:
                    await response.aclose()
        except TimeoutError as error:
            limit = self._limits.total_seconds
            raise Unavailable(f"no whole answer within {limit:g} s") from error
        except httpx.DecodingError as error:
            raise BadAnswer("the body cannot be unpacked", category="encoding") from error
        except httpx.TimeoutException as error:
            raise Unavailable(f"timed out ({type(error).__name__})") from error
        except httpx.HTTPError as error:
            raise Unavailable(f"{type(error).__name__}: {error}") from error
        except (httpx.InvalidURL, UnicodeError) as error:  # a redirect is read, followed or not
            raise BadAnswer("a redirect to no address", category="redirect") from error
        return _decoded(body, response.headers.get("content-type", ""), decoder)

    async def _body(self, response: httpx.Response) -> bytearray:
        limit = self._limits.body_bytes_max
        body = bytearray()
        async for piece in response.aiter_bytes():
            body += piece
            if len(body) > limit or response.num_bytes_downloaded > limit:
                raise BadAnswer(f"the body is larger than {limit} bytes", category="too_large")
        return body

    async def _failure(self, response: httpx.Response) -> LedgerError:
        body = bytearray()
        async for piece in response.aiter_bytes():
            body += piece
            if len(body) > ERROR_BYTES_MAX:
                break
        try:
            error = UNTYPED.decode(body)
        except UNREADABLE:
            error = None
        wait = retry_after_seconds(response.headers.get("retry-after"), self._now())
        answer = Answer(response.status_code, response.headers, error, wait)
        return self._explain(answer) or explain_status(answer)


def _decoded(body: bytearray, content_type: str, decoder: "msgspec.json.Decoder[T]") -> T:
    """The body as JSON of the expected shape; else a ``BadAnswer`` that says in which way not."""
    if not body.strip():
        raise BadAnswer("the body is empty", category="empty")
    if "json" not in content_type.lower():
        kind = content_type.partition(";")[0].strip()[:40] or "no content type"
        raise BadAnswer(f"the answer is {kind}, not JSON", category="not_json")
    try:
        try:
            return decoder.decode(body)
        except msgspec.ValidationError:
            raise
        except msgspec.DecodeError:
            if not _blot_half_characters(body):
                raise
            return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise BadAnswer(f"unexpected shape: {error}", category="shape") from error
    except UnicodeDecodeError as error:
        raise BadAnswer("the body is not UTF-8", category="encoding") from error
    except msgspec.DecodeError as error:
        cut = "truncated" in str(error)
        message = "the JSON is cut off" if cut else f"the body is not JSON: {error}"
        raise BadAnswer(message, category="truncated" if cut else "not_json") from error
    except RecursionError as error:
        raise BadAnswer("the JSON is nested too deep", category="not_json") from error
    except ArithmeticError as error:
        raise BadAnswer("a number that no decimal can hold", category="shape") from error


def _blot_half_characters(body: bytearray) -> bool:
    """Replaces escaped halves of characters by NUL, in place; whether there were any.

    Servers cut texts in the middle of an emoji and send what is left (``"\\ud83d"``). Decoders
    refuse all of such a body for it, and no database holds it: it is treated as NUL is.
    """
    lone = [found.start() for found in _ESCAPES.finditer(body) if found[1] is not None]
    for start in lone:
        body[start : start + len(_NUL)] = _NUL
    return bool(lone)


def explain_status(answer: Answer) -> LedgerError:
    """What an HTTP status means where the API says nothing of its own."""
    status = answer.status
    if status == 429 or status == 408 or status == 425:
        return Unavailable(f"HTTP {status}", retry_after_seconds=answer.retry_after_seconds)
    if status >= 500:
        return Unavailable(f"HTTP {status}", retry_after_seconds=answer.retry_after_seconds)
    if 300 <= status < 400:
        return BadAnswer(f"HTTP {status}: a redirect, which is not followed", category="redirect")
    if status in (401, 403):
        return Unfit(f"HTTP {status}: the credential is refused")
    return Rejected(f"HTTP {status}", status=status)


def retry_after_seconds(value: str | None, now: float) -> float | None:
    """``Retry-After`` in both forms, within [0, a day]; None where absent or unreadable."""
    if value is None:
        return None
    value = value.strip()
    if value.isascii() and value.isdigit():
        return min(float(value[:10]), RETRY_AFTER_SECONDS_MAX)
    try:
        at = parsedate_to_datetime(value)
    except (TypeError, ValueError, OverflowError):  # the last: a zone beyond any day
        return None
    if at.tzinfo is None:
        return None
    return min(max(0.0, at.timestamp() - now), RETRY_AFTER_SECONDS_MAX)


@dataclass(frozen=True, slots=True)
class Redactor:
    """Blots secrets out of text, and whatever has the form of a token."""

    secrets: tuple[str, ...] = field(repr=False)

    def __call__(self, text: str) -> str:
        for secret in self.secrets:
            if secret:
                text = text.replace(secret, HIDDEN)
        return _TOKEN_FORMS.sub(HIDDEN, text)


def detail(text: Json) -> str:
    """An error's words as a server gave them, in one line. Its end is cut behind the redaction."""
    return " ".join(str(text).replace("\0", "\ufffd").split()) if text else ""


def _tls() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _check_url(url: httpx.URL) -> None:
    """Credentials travel in the clear only where nobody else can listen."""
    if url.scheme == "https" and url.host:
        return
    nearby = url.host in ("localhost", "127.0.0.1", "::1") or (url.host and "." not in url.host)
    if url.scheme != "http" or not nearby:
        raise SettingsError(
            f"base_url must be https (or http to this machine or its own network): {url.host!r}",
            operation="read settings",
        )

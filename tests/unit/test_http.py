"""The one HTTP client: whatever a server answers, it ends in an error of the tree, or exactly."""

import asyncio
import gzip
import logging
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from cdc.runtime.breaker import FAILURES_MAX, OPEN_SECONDS, UNFIT_SECONDS
from cdc.runtime.errors import BadAnswer, LedgerError, Rejected, SettingsError, Unavailable, Unfit
from cdc.runtime.http import (
    MESSAGE_CHARS_MAX,
    UNTYPED,
    Answer,
    HttpClient,
    Limits,
    detail,
    exact_decoder,
    retry_after_seconds,
)

TOKEN = "s3cret-token-of-the-bank"
NOW = 1_800_000_000.0
# The machine may be slow: only a test about a deadline has a short one, and that alone.
PATIENT = Limits(connect_seconds=30, read_seconds=30, write_seconds=30, body_bytes_max=10_000)


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def server(
    script: Callable[[asyncio.StreamWriter], Any], clock: Clock | None = None, **options: Any
) -> AsyncIterator[HttpClient]:
    """A server on the loopback that reads a request's head and then follows ``script``."""

    served: set[asyncio.Task[Any] | None] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        served.add(asyncio.current_task())
        try:
            await reader.readuntil(b"\r\n\r\n")
            await script(writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the test is over
        finally:
            writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    client = HttpClient(
        f"http://127.0.0.1:{port}",
        now=clock or Clock(),
        headers={"Authorization": f"Bearer {TOKEN}"},
        secrets=[TOKEN],
        **({"limits": PATIENT} | options),
    )
    try:
        yield client
    finally:
        await client.close()
        listener.close()
        tasks = [task for task in served if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def reply(
    body: bytes,
    *,
    status: str = "200 OK",
    kind: str = "application/json",
    length: int | None = None,
    extra: str = "",
) -> Callable[[asyncio.StreamWriter], Any]:
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\n{extra}"
        f"Content-Length: {len(body) if length is None else length}\r\n"
        "Connection: close\r\n\r\n"
    )

    async def write(writer: asyncio.StreamWriter) -> None:
        writer.write(head.encode() + body)
        await writer.drain()

    return write


async def failure(client: HttpClient, **options: Any) -> LedgerError:
    with pytest.raises(LedgerError) as caught:
        await client.get("/thing", UNTYPED, **options)
    return caught.value


async def test_numbers_are_exact() -> None:
    body = b'{"a": 72.1, "b": 0.10, "c": 1e2, "d": 123456789012345678901234567890, "e": -0.0}'
    async with server(reply(body)) as client:
        value = await client.get("/thing", UNTYPED)
    assert str(value["a"]) == "72.1"
    assert str(value["b"]) == "0.10"
    assert value["c"] == Decimal(100)
    assert value["d"] == 123456789012345678901234567890
    assert not any(isinstance(number, float) for number in value.values())


@pytest.mark.parametrize(
    ("script", "category"),
    [
        (reply(b"<html>maintenance</html>", kind="text/html"), "not_json"),
        (reply(b"<html>maintenance</html>"), "not_json"),
        (reply(b""), "empty"),
        (reply(b"   \n"), "empty"),
        (reply(b'{"data": [1, 2'), "truncated"),
        (reply(b'{"data": "\xff\xfe"}'), "encoding"),
        (reply(b'{"data": NaN}'), "not_json"),
        (reply(b'{"data": 1e99999999999999999999}'), "shape"),
        (reply(b'{"data": "\\x"}'), "not_json"),
        (reply(b"[" * 9000), "not_json"),
        (reply(b'{"data": "' + b"x" * 20_000 + b'"}'), "too_large"),
        (reply(gzip.compress(b"x" * 500_000), extra="Content-Encoding: gzip\r\n"), "too_large"),
        (reply(b"not gzip at all", extra="Content-Encoding: gzip\r\n"), "encoding"),
        (reply(b"{}", status="302 Found", extra="Location: http://127.0.0.1:1/\r\n"), "redirect"),
    ],
)
async def test_answers_that_cannot_be_used(script: Any, category: str) -> None:
    async with server(script) as client:
        error = await failure(client)
    assert isinstance(error, BadAnswer)
    assert error.category == category


async def test_a_body_of_another_shape_names_the_path() -> None:
    class Shape(msgspec.Struct):
        data: list[int]

    async with server(reply(b'{"data": [1, "two"]}')) as client:
        with pytest.raises(BadAnswer, match=r"\$\.data\[1\]") as caught:
            await client.get("/thing", exact_decoder(Shape))
    assert caught.value.category == "shape"


async def test_a_body_cut_by_the_connection_is_unavailable() -> None:
    async with server(reply(b'{"a": 1}', length=500)) as client:
        assert type(await failure(client)) is Unavailable


async def test_a_silent_server_ends_at_the_read_deadline() -> None:
    async def silence(writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    limits = replace(PATIENT, read_seconds=0.2)
    async with server(silence, limits=limits) as client, asyncio.timeout(30):
        error = await failure(client)
    assert type(error) is Unavailable
    assert "ReadTimeout" in str(error)


async def test_a_dripping_server_ends_at_the_total_deadline() -> None:
    async def drip(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")
        while True:
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.05)

    limits = replace(PATIENT, total_seconds=0.6)
    async with server(drip, limits=limits) as client, asyncio.timeout(30):
        error = await failure(client)
    assert type(error) is Unavailable
    assert "0.6 s" in str(error)


async def test_nobody_listening_is_unavailable() -> None:
    client = HttpClient("http://127.0.0.1:1", now=Clock())
    assert type(await failure(client)) is Unavailable
    await client.close()


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        ("429 Too Many Requests", Unavailable),
        ("500 Oops", Unavailable),
        ("503 Away", Unavailable),
        ("401 No", Unfit),
        ("403 No", Unfit),
        ("404 Nothing", Rejected),
        ("400 What", Rejected),
    ],
)
async def test_statuses(status: str, kind: type[LedgerError]) -> None:
    async with server(reply(b"{}", status=status)) as client:
        assert type(await failure(client)) is kind


def test_retry_after_in_both_forms() -> None:
    assert retry_after_seconds("120", NOW) == 120.0
    assert retry_after_seconds("Fri, 15 Jan 2027 08:02:00 GMT", NOW) == 120.0
    assert retry_after_seconds("Fri, 15 Jan 2027 07:00:00 GMT", NOW) == 0.0
    assert retry_after_seconds("99999999999", NOW) == 24 * 3600.0
    for nothing in (None, "", "soon", "-5", "1.5"):
        assert retry_after_seconds(nothing, NOW) is None


async def test_retry_after_is_obeyed_without_asking() -> None:
    clock = Clock()
    script = reply(b"{}", status="429 Slow", extra="Retry-After: 90\r\n")
    async with server(script, clock) as client:
        first = await failure(client)
        assert isinstance(first, Unavailable)
        assert first.retry_after_seconds == 90.0
        clock.now += 80
        second = await failure(client)
        assert isinstance(second, Unavailable)
        assert second.retry_after_seconds == pytest.approx(10)
        assert client.requests_total == 1
        clock.now += 11
        await failure(client)
        assert client.requests_total == 2


async def test_the_circuit_opens_per_credential_and_closes_by_time() -> None:
    clock = Clock()
    async with server(reply(b"{}", status="500 Oops"), clock) as client:
        for _ in range(FAILURES_MAX + 3):
            await failure(client, credential="one")
        assert client.requests_total == FAILURES_MAX
        await failure(client, credential="two")
        assert client.requests_total == FAILURES_MAX + 1
        clock.now += OPEN_SECONDS + 1
        await failure(client, credential="one")
        assert client.requests_total == FAILURES_MAX + 2
        await failure(client, credential="one")  # it failed again: open at once
        assert client.requests_total == FAILURES_MAX + 2


async def test_a_refused_credential_is_told_again_but_not_tried_again() -> None:
    clock = Clock()
    async with server(reply(b"{}", status="401 No"), clock) as client:
        for _ in range(10):
            assert type(await failure(client)) is Unfit
        assert client.requests_total == 1
        clock.now += UNFIT_SECONDS + 1
        await failure(client)
        assert client.requests_total == 2


async def test_what_a_person_mended_is_tried_again_at_once() -> None:
    clock = Clock()
    async with server(reply(b"{}", status="401 No"), clock) as client:
        await failure(client)
        client.breaker.reset()
        await failure(client)
        assert client.requests_total == 2
    asked = reply(b"{}", status="429 No", extra="Retry-After: 60\r\n")
    async with server(asked, clock) as client:
        await failure(client)
        client.breaker.reset()  # nobody mends that: the server is left alone
        await failure(client)
        assert client.requests_total == 1


async def test_a_clock_set_back_does_not_keep_the_circuit_open() -> None:
    clock = Clock()
    async with server(reply(b"{}", status="401 No"), clock) as client:
        await failure(client)
        clock.now -= 3600
        await failure(client)
        assert client.requests_total == 2


async def test_secrets_are_in_no_error_and_no_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    def explain(answer: Answer) -> LedgerError:
        return Unfit(f"said: {answer.error['detail']}")

    words = f'{{"detail": "bad {TOKEN}, access-sandbox-de3ce8ef-33f8 and Bearer abc"}}'.encode()
    async with server(reply(words, status="400 No"), explain=explain) as client:
        error = await failure(client)
    texts = [str(error), repr(error), caplog.text, repr(client.__dict__)]
    texts += [str(error.args)]
    for text in texts[:3] + texts[4:]:
        for secret in (TOKEN, "de3ce8ef", "abc"):
            assert secret not in text
    assert "bad ***, *** and Bearer ***" in str(error)


@pytest.mark.parametrize("room", range(len(TOKEN) + 1))
async def test_no_part_of_a_secret_is_left_where_an_error_is_cut(room: int) -> None:
    def explain(answer: Answer) -> LedgerError:
        return Unfit(f"said: {detail(answer.error['detail'])}")

    words = "x" * (MESSAGE_CHARS_MAX - len("said: ") - 1 - room) + f" {TOKEN} and more"
    body = msgspec.json.encode({"detail": words})
    async with server(reply(body, status="400 No"), explain=explain) as client:
        error = await failure(client)
    assert TOKEN[:5] not in str(error)
    assert len(error.message) <= MESSAGE_CHARS_MAX


async def test_words_of_an_error_can_be_stored() -> None:
    def explain(answer: Answer) -> LedgerError:
        return Unfit(detail(answer.error["detail"]))

    body = rb'{"detail": "no\u0000thing"}'
    async with server(reply(body, status="400 No"), explain=explain) as client:
        assert (await failure(client)).message == "no\ufffdthing"


@pytest.mark.parametrize("body", [b'{"a": 1e99999999999999999999}', b"[" * 9000 + b"]" * 9000])
async def test_an_error_whose_body_is_strange_is_read_by_its_status(body: bytes) -> None:
    async with server(reply(body, status="503 Away")) as client:
        assert type(await failure(client)) is Unavailable


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (r"\ud83d", "\0"),
        (r"\ude00", "\0"),
        (r"\uD83D\uDE00", "\U0001f600"),
        (r"\ud83d\ud83d\ude00", "\0\U0001f600"),
        (r"\ude00\ud83d", "\0\0"),
        (r"\\ud83d \ud83d", "\\ud83d \0"),
        (r"\\\ud83d", "\\\0"),
    ],
)
async def test_half_a_character_is_blotted_and_the_rest_is_kept(written: str, read: str) -> None:
    async with server(reply(f'{{"a": "{written}", "b": [1]}} '.encode())) as client:
        assert await client.get("/thing", UNTYPED) == {"a": read, "b": [1]}


@pytest.mark.parametrize(
    "url", ["http://api.ynab.com", "http://10.0.0.8:80", "ftp://x", "api.ynab.com"]
)
def test_tokens_never_travel_in_the_clear(url: str) -> None:
    with pytest.raises(SettingsError):
        HttpClient(url, now=Clock())


def self_signed(folder: Path) -> ssl.SSLContext:
    """A server's context with a certificate for 127.0.0.1 that nobody vouches for."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    start = datetime.now(UTC) - timedelta(days=1)
    address = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, start, start + timedelta(days=2))
        .add_extension(address, critical=False)
        .sign(key, hashes.SHA256())
    )
    path = folder / "server.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    path.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context


async def test_an_untrusted_certificate_is_refused_before_the_token_is_sent(tmp_path: Path) -> None:
    heard = bytearray()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.extend(await reader.read())
        writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=self_signed(tmp_path))
    port = listener.sockets[0].getsockname()[1]
    client = HttpClient(f"https://127.0.0.1:{port}", now=Clock(), headers={"X": TOKEN})
    error = await failure(client)
    assert type(error) is Unavailable
    assert "CERTIFICATE_VERIFY_FAILED" in str(error)
    assert not heard
    await client.close()
    listener.close()

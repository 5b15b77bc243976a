"""One Kafka cluster: how it is reached, and what every client of it shares.

The clients (producer, consumers, admin) are aiokafka's; each caller makes its own from
``KafkaConnection.client_options()`` and starts it with ``started``, which bounds the start in time
and says why a broker could not be used (aiokafka itself only logs that).
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

from aiokafka.client import AIOKafkaClient
from aiokafka.conn import collect_hosts
from aiokafka.errors import KafkaConnectionError, KafkaError, NoBrokersAvailable
from aiokafka.helpers import create_ssl_context

from cdc.runtime.errors import LedgerError, SettingsError, Unavailable, Unfit
from cdc.runtime.kafka_abandon import abandon
from cdc.runtime.kafka_connections import close_what_is_cancelled, connected
from cdc.runtime.kafka_errors import code_kind, code_name, mapped
from cdc.runtime.kafka_fetch import read_fetches_at_once
from cdc.runtime.kafka_foreign import read_foreign_records
from cdc.runtime.kafka_metadata import TopicsRequest

REQUEST_TIMEOUT_MS = 5_000
RETRY_BACKOFF_MS = 50
START_SECONDS_MAX = 10.0
CLOSE_SECONDS_MAX = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class KafkaConnection:
    """Where the brokers are and who we are to them. Passwords do not appear in its repr."""

    bootstrap_servers: str
    security_protocol: str = "PLAINTEXT"
    sasl_mechanism: str | None = None
    sasl_username: str | None = None
    sasl_password: str | None = field(default=None, repr=False)
    ssl_cafile: str | None = None
    ssl_certfile: str | None = None
    ssl_keyfile: str | None = None
    request_timeout_ms: int = REQUEST_TIMEOUT_MS
    client_id: str = "ledger-cdc"

    @property
    def encrypted(self) -> bool:
        return self.security_protocol in ("SSL", "SASL_SSL")

    @property
    def authenticated(self) -> bool:
        return self.security_protocol.startswith("SASL_")

    def client_options(self) -> dict[str, Any]:
        """Keyword arguments of every aiokafka client; raises ``SettingsError`` for bad ones."""
        self.hosts()
        return self._network_options() | {
            "bootstrap_servers": self.bootstrap_servers,
            "retry_backoff_ms": RETRY_BACKOFF_MS,
        }

    def hosts(self) -> list[tuple[str, int]]:
        """The bootstrap addresses; raises ``SettingsError`` where they cannot be read."""
        try:
            return [(host, port) for host, port, _ in collect_hosts(self.bootstrap_servers)]
        except ValueError as error:
            raise SettingsError(
                f"bootstrap_servers is not host:port[,host:port]: {self.bootstrap_servers!r}"
            ) from error

    async def connect(self, host: str, port: int) -> Any:
        """One authenticated connection (aiokafka's, unmapped errors), for a single question."""
        return await connected(host, port, **self._network_options())

    def _network_options(self) -> dict[str, Any]:
        options: dict[str, Any] = {
            "client_id": self.client_id,
            "request_timeout_ms": self.request_timeout_ms,
            "security_protocol": self.security_protocol,
        }
        if self.encrypted:
            options["ssl_context"] = self._ssl_context()
        if self.authenticated:
            options["sasl_mechanism"] = self.sasl_mechanism or "PLAIN"
            options["sasl_plain_username"] = self.sasl_username
            options["sasl_plain_password"] = self.sasl_password
        return options

    def _ssl_context(self) -> ssl.SSLContext:
        """Verifies the chain and the host name, always."""
        try:
            return create_ssl_context(
                cafile=self.ssl_cafile, certfile=self.ssl_certfile, keyfile=self.ssl_keyfile
            )
        except (OSError, ssl.SSLError) as error:
            files = ", ".join(
                f"{name}={value}"
                for name, value in (
                    ("ssl_cafile", self.ssl_cafile),
                    ("ssl_certfile", self.ssl_certfile),
                    ("ssl_keyfile", self.ssl_keyfile),
                )
                if value
            )
            raise SettingsError(f"cannot use {files}: {error.strerror or error}") from error


class Client(Protocol):
    """What aiokafka's producer and consumer have in common."""

    async def start(self) -> None: ...
    async def stop(self) -> None: ...


async def started(
    client: Client,
    connection: KafkaConnection,
    operation: str,
    *,
    seconds_max: float = START_SECONDS_MAX,
) -> None:
    """Starts a producer or consumer; on failure it is closed and the true reason raised."""
    close_what_is_cancelled()
    read_foreign_records()
    read_fetches_at_once()
    try:
        async with asyncio.timeout(seconds_max):
            await client.start()
        await asyncio.sleep(0)  # a stop() right after it would cancel us (kafka.md, surprise 3)
    except (KafkaError, OSError, TimeoutError) as error:
        await ended(client)
        raise await explained(error, connection, operation) from error
    except BaseException:
        await ended(client)
        raise


async def ended(client: Client) -> None:
    """Stops a producer or consumer; one that does not stop in time is abandoned."""
    if not await bounded(client.stop()):
        await abandon(client)


async def bounded(closing: Awaitable[Any], *, seconds_max: float = CLOSE_SECONDS_MAX) -> bool:
    """Waits for a client's closing, but not for ever and without its errors; True if it ended."""
    task = asyncio.ensure_future(closing)
    await asyncio.wait({task}, timeout=seconds_max)
    if not task.done():
        task.cancel()
        return False
    return task.cancelled() or task.exception() is None


async def explained(
    error: BaseException, connection: KafkaConnection, operation: str
) -> LedgerError:
    """The reason behind "unable to bootstrap": asked from the brokers by a connection of ours."""
    if not isinstance(error, KafkaConnectionError | TimeoutError):
        return mapped(error, operation)
    for host, port in connection.hosts():
        try:
            conn = await connection.connect(host, port)
        except (KafkaError, OSError, TimeoutError) as reason:
            found = mapped(reason, operation, subject=f"{host}:{port}")
            if isinstance(found, Unfit):
                return found
        else:
            conn.close()
    return Unavailable(
        "no answer from Kafka", operation=operation, subject=connection.bootstrap_servers
    )


async def bootstrapped(client: AIOKafkaClient) -> None:
    """Finds the cluster's brokers; aiokafka's errors.

    A broker that is cut off from its controllers names none, itself included. The library takes
    that for success, and asserts later (``coordinator_lookup``).
    """
    close_what_is_cancelled()
    await client.bootstrap()
    if not client.cluster.brokers():
        raise NoBrokersAvailable("the broker that answers names none as alive")


@asynccontextmanager
async def kafka_client(
    connection: KafkaConnection, operation: str
) -> AsyncIterator[AIOKafkaClient]:
    """A bare client for questions to the cluster; errors of the body are mapped as well."""
    client = AIOKafkaClient(**connection.client_options())
    try:
        try:
            async with asyncio.timeout(START_SECONDS_MAX):
                await bootstrapped(client)
        except (KafkaError, OSError, TimeoutError) as error:
            raise await explained(error, connection, operation) from error
        try:
            yield client
        except (KafkaError, OSError, TimeoutError, NotImplementedError) as error:
            raise mapped(error, operation) from error
    finally:
        await bounded(client.close())


async def topic_ids(connection: KafkaConnection, names: Iterable[str]) -> dict[str, str]:
    """Topic name to topic id (32 hex digits); topics that do not exist are left out.

    A topic that was deleted and made anew has another id.
    """
    wanted = sorted(set(names))
    if not wanted:
        return {}
    operation = "ask topic ids"
    async with kafka_client(connection, operation) as client:
        answer = await client.send(client.get_random_node(), TopicsRequest(wanted))
    found: dict[str, str] = {}
    for topic in answer.to_object()["topics"]:
        code = topic["error_code"]
        if code == 0:
            found[topic["topic"]] = topic["topic_id"]
        elif code_name(code) != "UnknownTopicOrPartition":
            raise code_kind(code)(code_name(code), operation=operation, subject=topic["topic"])
    return found

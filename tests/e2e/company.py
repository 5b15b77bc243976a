"""Servers, a configuration, and `cdc` run on them as a person or a script runs it."""

import asyncio
import json
import os
import re
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import httpx
from pymongo import AsyncMongoClient

from cdc.kafka.topics import bring_up, declared_topics
from cdc.runtime.kafka import KafkaConnection
from compose.stack.names import REPOSITORY
from compose.stack.ports import LOOPBACK, free_port
from compose.stack.process import until
from consumers.migrate import migrate
from schemas.entities import ENTITIES
from tests.conftest import Addresses

CDC = REPOSITORY / ".venv" / "bin" / "cdc"
SECONDS_MAX = 60.0
BOOK = "acme"
PARTITIONS = {name: 2 if entity.domain == "accounting" else 1 for name, entity in ENTITIES.items()}
"""As few as will do: a broker makes them one after another."""
_INHERITED = ("PATH", "HOME", "LANG", "PYTHONPATH", "PYTHONPYCACHEPREFIX")


@dataclass
class Ended:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return json.loads(self.out)


class Running:
    """`cdc run` or `cdc consume`; its log is `log`, its pages are at `url`."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path, url: str) -> None:
        self.process = process
        self.log = log
        self.url = url

    @property
    def lines(self) -> list[dict[str, Any]]:
        whole = self.log.read_text().rpartition("\n")[0]  # the last may be half written
        return [json.loads(line) for line in whole.splitlines() if line[:1] == "{"]

    async def get(self, path: str) -> httpx.Response:
        async with httpx.AsyncClient(trust_env=False) as client:
            return await client.get(self.url + path)

    async def until(self, condition: Callable[[], Awaitable[bool]], what: str) -> None:
        """Fails with the log's last words where the process ends or nothing comes of it."""

        async def met() -> bool:
            assert self.process.returncode is None, self.log.read_text()[-2000:]
            return await condition()

        await until(met, SECONDS_MAX, what)

    async def ready(self) -> None:
        async def answers() -> bool:
            try:
                return (await self.get("/readyz")).status_code == httpx.codes.OK
            except httpx.HTTPError:
                return False

        await self.until(answers, "being ready")

    async def logged(self, event: str) -> dict[str, Any]:
        """Waits for the line."""

        async def found() -> bool:
            return any(line["event"] == event for line in self.lines)

        await self.until(found, event)
        return next(line for line in self.lines if line["event"] == event)

    async def read_whole(self) -> None:
        """Waits for the end of a source's first read: what is written from now on is a change."""
        await self.logged("whole read is done")

    async def counts(self, series: str, value: float) -> None:
        """Waits for that value of a metric: others may see a row before it is counted."""

        async def counted() -> bool:
            return (await self.series()).get(series) == value

        await self.until(counted, f"{series} of {value:g}")

    async def series(self) -> dict[str, float]:
        """Its metrics as `name{labels}` → value."""
        text = (await self.get("/metrics")).text
        found = re.findall(r"^([a-z_]+(?:\{.*\})?) (\S+)", text, re.MULTILINE)
        return {name: float(value) for name, value in found}

    async def ended(self) -> int:
        """Waits for the end; the exit code."""
        async with asyncio.timeout(SECONDS_MAX):
            return await self.process.wait()

    async def stop(self) -> int:
        """SIGTERM, and the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return await self.ended()

    async def kill(self) -> None:
        if self.process.returncode is None:
            self.process.kill()
            await self.process.wait()


class Company:
    """One test's own database, documents and topics on shared servers."""

    def __init__(
        self, servers: Addresses, mongo_uri: str, database: str, prefix: str, folder: Path
    ) -> None:
        self.folder = folder
        self.database = database
        self.prefix = prefix
        self.kafka = KafkaConnection(bootstrap_servers=servers.kafka_bootstrap_servers)
        self.environment = {
            "MONGODB_URI": mongo_uri,
            "DATABASE_URL": database,
            "KAFKA_BOOTSTRAP_SERVERS": servers.kafka_bootstrap_servers,
            "CDC_KAFKA__TOPIC_PREFIX": prefix,
            "CDC_KAFKA__PARTITIONS": json.dumps(PARTITIONS),
            "CDC_BOOK": BOOK,
            "CDC_HTTP__LISTEN": f"{LOOPBACK}:0",  # others may run beside us
            "CDC_HTTP__CONSUMER_LISTEN": f"{LOOPBACK}:0",
        }
        self.client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(mongo_uri)
        self.documents = self.client.get_default_database()
        self.running: list[Running] = []

    async def start(
        self, *words: str, stderr: Any = asyncio.subprocess.PIPE, **environment: str
    ) -> asyncio.subprocess.Process:
        """Begins a command; nothing of the tests' own environment reaches it."""
        inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        return await asyncio.create_subprocess_exec(
            CDC,
            *words,
            cwd=self.folder,
            env={**inherited, **self.environment, **environment},
            stdout=asyncio.subprocess.PIPE,
            stderr=stderr,
        )

    async def cdc(self, *words: str, **environment: str) -> Ended:
        """A command, to its end."""
        process = await self.start(*words, **environment)
        async with asyncio.timeout(SECONDS_MAX):
            out, err = await process.communicate()
        return Ended(process.returncode or 0, out.decode(), err.decode())

    async def prepared(self) -> None:
        """Migrated, and with topics: `cdc migrate` and `cdc topics`, without their starts."""
        connection = await asyncpg.connect(self.database)
        try:
            _, (_, different) = await asyncio.gather(
                migrate(connection),
                bring_up(self.kafka, declared_topics(self.prefix, ENTITIES, PARTITIONS)),
            )
        finally:
            await connection.close()
        assert different == []

    async def daemon(self, verb: str, **environment: str) -> Running:
        """`cdc run` or `cdc consume`, ready."""
        log = self.folder / f"{verb}-{len(self.running)}.log"
        address = f"{LOOPBACK}:{free_port()}"
        listen = "CDC_HTTP__LISTEN" if verb == "run" else "CDC_HTTP__CONSUMER_LISTEN"
        with log.open("wb") as file:
            process = await self.start(verb, stderr=file, **{listen: address}, **environment)
        found = Running(process, log, f"http://{address}")
        self.running.append(found)
        await found.ready()
        return found

    async def status(self) -> Any:
        return (await self.cdc("status", "--json")).document

    async def row(self, query: str, *values: object) -> Any:
        connection = await asyncpg.connect(self.database)
        try:
            return await connection.fetchrow(query, *values)
        finally:
            await connection.close()

    async def has(self, query: str, *values: object) -> None:
        """Waits until the query finds a row."""

        async def found() -> bool:
            return await self.row(query, *values) is not None

        await until(found, SECONDS_MAX, query)

    async def close(self) -> None:
        await asyncio.gather(*(each.kill() for each in self.running))
        await self.client.close()

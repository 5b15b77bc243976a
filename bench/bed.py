"""The servers of the benchmark, and for each workload a field of its own on them.

A field is a MongoDB database, topics and a PostgreSQL database that nobody used before, with our
two processes, which are started as a person starts them.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import asyncpg
from aiokafka.admin import AIOKafkaAdminClient
from pymongo import AsyncMongoClient

from bench.accounting import Cpu, cpu_seconds, family_cpu_seconds, peak_rss_bytes
from bench.documents import Document, Writer
from bench.installed import installed
from compose.demo.daemons import Daemon, run_to_end, stop_all
from compose.stack.names import REPOSITORY
from compose.stack.process import until
from compose.stack.servers import Options, Stack

BOOK, SOURCE = "bench", "property"
OPLOG_MIB = 4096
POSTGRES_SETTINGS = {
    "track_commit_timestamp": "on",  # tells when a row was committed, exactly
    "shared_buffers": "512MB",
    "max_wal_size": "4GB",
}
READ_SECONDS_MAX = 900.0
POLL_SECONDS = 0.05
STAGES = ("source", "consumer", "broker", "mongod", "postgres")

Report = Callable[[str], None]
Words = tuple[str | Path, ...]


class Bed:
    """The three servers, durable, alone on the machine as far as we can tell."""

    def __init__(self, folder: Path, python: Path, report: Report, profile: bool) -> None:
        options = Options(durable=True, postgres_settings=POSTGRES_SETTINGS, oplog_mib=OPLOG_MIB)
        self.stack = Stack(folder, options, report)
        self.report = report
        self._words: Words = ()
        self._python = python
        self._profile = profile
        self._fields = 0

    async def start(self) -> None:
        self._words = await installed(self._python)
        await self.stack.delete()  # what a killed run may have left
        await self.stack.start()

    @contextlib.asynccontextmanager
    async def field(self, accounts: int, config: str = "") -> "AsyncIterator[Field]":
        """A field with that many properties in MongoDB; gone after the block.

        `config`: a configuration file's text, whose sources take MongoDB's place.
        """
        self._fields += 1
        name = f"bench{self._fields}"
        field = Field(self.stack, name, self._words, self._profile, config)
        await field.prepare(accounts)
        try:
            yield field
        finally:
            await field.clear()


class Field:
    """One workload's place. `prepare` first, `clear` last."""

    def __init__(self, stack: Stack, name: str, words: Words, profile: bool, config: str) -> None:
        self._stack = stack
        self._name = name
        dsn = stack.postgres.database_uri(name)
        uri = stack.mongo.database_uri(name)
        self.environment = {
            "KAFKA_BOOTSTRAP_SERVERS": stack.kafka.uri,
            "DATABASE_URL": dsn,
            "CDC_BOOK": BOOK,
            "CDC_KAFKA__TOPIC_PREFIX": name,
        }
        if config:
            path = stack.folder / f"{name}.toml"
            path.write_text(config)
            self.environment["CDC_CONFIG"] = str(path)
        else:
            self.environment["MONGODB_URI"] = uri
        self._dsn = dsn
        self.source = self._daemon("run", words, profile)
        self.consumer = self._daemon("consume", words, profile)
        self._client: AsyncMongoClient[Document] = AsyncMongoClient(uri)
        self.database = self._client.get_default_database()
        self.writer = Writer(self.database, seed=1)

    def _daemon(self, verb: str, words: Words, profile: bool) -> Daemon:
        log = self._stack.folder / f"{self._name}-{verb}.log"
        if not profile:
            return Daemon(verb, self.environment, log, words)
        profiled = REPOSITORY / "bench/profiled.py"
        folder = self._stack.folder
        target = folder.with_name(f"profile-{folder.name}-{self._name}-{verb}")
        return Daemon(verb, self.environment, log, (words[0], profiled, target))

    async def prepare(self, accounts: int) -> None:
        admin = await asyncpg.connect(self._stack.postgres.uri)
        await admin.execute(f'CREATE DATABASE "{self._name}"')
        await admin.close()
        log = self._stack.folder / f"{self._name}.log"
        await run_to_end(["migrate"], self.environment, log)
        await run_to_end(["topics"], self.environment, log)
        # No parallel workers: their CPU could not be told from that of the consumer's backends.
        # No scans where there is an index: tables are empty when the first plan is made.
        looking = {"max_parallel_workers_per_gather": "0", "enable_seqscan": "off"}
        self.postgres = await asyncpg.connect(self._dsn, server_settings=looking)
        self._own_backend = self.postgres.get_server_pid()
        if accounts:
            await self.writer.write_properties(accounts)

    async def clear(self) -> None:
        """End our processes and remove everything of the field."""
        await stop_all([self.source, self.consumer])
        await self.postgres.close()
        await self._client.drop_database(self._name)
        await self._client.close()
        admin = await asyncpg.connect(self._stack.postgres.uri)
        await admin.execute(f'DROP DATABASE "{self._name}" WITH (FORCE)')
        await admin.close()
        kafka = AIOKafkaAdminClient(bootstrap_servers=self._stack.kafka.uri)
        await kafka.start()
        ours = [each for each in await kafka.list_topics() if each.startswith(self._name + ".")]
        await kafka.delete_topics(ours)
        await kafka.close()

    def start(self) -> float:
        """Start both of our processes cold; Unix seconds just before."""
        self.source.start()
        self.consumer.start()
        return self.source.started_at

    async def stop(self) -> None:
        """End both cleanly; their cursor and offsets stay."""
        await stop_all([self.source, self.consumer])

    async def read_whole(self, payments: int) -> None:
        """Both processes run until all properties and so many payments are rows."""
        self.start()
        await self.until_rows("properties", len(self.writer.properties))
        await self.until_rows("transactions", payments)

    async def until_rows(self, table: str, count: int) -> None:
        """Wait until the table has so many rows."""

        async def there() -> bool:
            self.check()
            await asyncio.sleep(POLL_SECONDS)
            return int(
                await self.postgres.fetchval(f"SELECT count(*) FROM accounting.{table}")
            ) >= (count)

        await until(there, READ_SECONDS_MAX, f"{count} rows in {table}")

    async def settle(self) -> None:
        """Write out what earlier work left dirty, so that it is not paid for in the next."""
        await self.postgres.execute("CHECKPOINT")
        await self._client.admin.command("fsync")

    def check(self) -> None:
        """StackError when one of our processes ended by itself."""
        self.source.check()
        self.consumer.check()

    def cpu(self) -> Cpu:
        """CPU seconds of each stage that runs; of PostgreSQL without our own looking."""
        found = {
            "broker": cpu_seconds(self._stack.kafka.pid),
            "mongod": cpu_seconds(self._stack.mongo.pid),
            "postgres": family_cpu_seconds(self._stack.postgres.pid, self._own_backend),
        }
        for stage, daemon in (("source", self.source), ("consumer", self.consumer)):
            if daemon.pid is not None:
                found[stage] = cpu_seconds(daemon.pid)
        return found

    def peak_rss_bytes(self) -> dict[str, int]:
        """Peak memory by stage; of PostgreSQL of its largest process (shared memory included)."""
        pids: dict[str, list[int | None]] = {
            "source": [self.source.pid],
            "consumer": [self.consumer.pid],
            "broker": [self._stack.kafka.pid],
            "mongod": [self._stack.mongo.pid],
            "postgres": [*self._stack.postgres.pids],
        }
        found = {}
        for stage, members in pids.items():
            peaks = [0]
            for pid in members:
                if pid is None or pid == self._own_backend:
                    continue
                with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                    peaks.append(peak_rss_bytes(pid))
            found[stage] = max(peaks)
        return found

"""The whole way on real servers: topics, database and documents of one's own, our two processes.

async with System(addresses, database, mongo_uri, prefix, folder) as way:
    way.source.start(); way.consumer.start()
    …
    await way.require_right()     # waits until all is quiet, then checks every invariant
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
from pymongo import AsyncMongoClient

from cdc.kafka.topics import bring_up, declared_topics
from cdc.runtime.kafka import KafkaConnection
from compose.demo.compare import ACCOUNT_TABLE, TOTALS_TABLE, compare
from schemas.entities import ENTITIES
from tests.crash.nursery import Life, Nursery
from tests.faults import readback
from tests.faults.daemon import Daemon, run_to_end
from tests.faults.readback import History, Topics
from tests.invariants import Place, Record, Seen, require, violations
from tests.writers import CANARY, PAUSE_SECONDS, Writer

BOOK = "acme"
QUIET_SECONDS_MAX = 60.0
SETTLED_SECONDS_MAX = 8.0
"""Below the time-out of a transaction (12 s): nobody has to wait for that."""
POLL_SECONDS = 0.03
PARTITIONS = 3

CONFIG = """
book = "{book}"
[kafka]
topic_prefix = "{prefix}"
[kafka.partitions]
{partitions}
[sources.{source}]
type = "mongodb"
uri = "{uri}"
{mappings}
"""


class System:
    """`source` and `consumer` are the processes; `topics` and `history` what is read back."""

    def __init__(
        self,
        servers: Mapping[str, str],
        database: str,
        mongo_uri: str,
        prefix: str,
        folder: Path,
        *,
        name: str = "property",
        mappings: str = "",
    ) -> None:
        """`servers`: the environment of a stack. `mappings`: TOML below the source."""
        self.name = name
        self.prefix = prefix
        self.folder = folder
        self.database = database
        self.mongo_uri = mongo_uri
        self.mongo_name = mongo_uri.rpartition("/")[2].partition("?")[0]
        self.servers = {
            "KAFKA_BOOTSTRAP_SERVERS": servers["KAFKA_BOOTSTRAP_SERVERS"],
            "DATABASE_URL": database,
        }
        self.kafka = KafkaConnection(bootstrap_servers=servers["KAFKA_BOOTSTRAP_SERVERS"])
        self.config = folder / "ledger.toml"
        self.client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(mongo_uri)
        self.mongo = self.client[self.mongo_name]
        self.entity_topics = [f"{prefix}.accounting.{table}" for table in readback.TABLES]
        self.cursors_topic = f"{prefix}.cursors"
        self.letters_topic = f"{prefix}.dead_letters"
        names = [*self.entity_topics, self.cursors_topic, self.letters_topic]
        self.topics = Topics(servers["KAFKA_BOOTSTRAP_SERVERS"], names)
        self.history = History(self.client, self.mongo_name)
        self.source = Daemon("run", self.environment, folder / "run.log")
        self.consumer = Daemon("consume", self.environment, folder / "consume.log")
        self.patience_seconds = QUIET_SECONDS_MAX
        self.idle = False
        """Nobody else writes anything: then the cluster's time moves every 10 s only."""
        self.configure(mappings)

    @property
    def _partitions(self) -> dict[str, int]:
        """As few as will do: a test waits for each to be made."""
        return {name: 1 if name.startswith("budget.") else PARTITIONS for name in ENTITIES}

    def configure(self, mappings: str = "", **more: str) -> None:
        """Writes the configuration; processes read it when they start."""
        text = CONFIG.format(
            book=BOOK,
            prefix=self.prefix,
            partitions="\n".join(f'"{name}" = {count}' for name, count in self._partitions.items()),
            source=self.name,
            uri=more.get("uri", self.mongo_uri),
            mappings=mappings,
        )
        self.config.write_text(text)

    @property
    def environment(self) -> dict[str, str]:
        return {**self.servers, "CDC_CONFIG": str(self.config)}

    async def command(self, *words: str) -> None:
        """Runs `cdc words` to its end; StackError when it fails."""
        await run_to_end(words, self.environment, self.folder / "commands.log")

    async def __aenter__(self) -> "System":
        await self._bring_up_topics()
        self.postgres = await asyncpg.connect(self.database)
        await self.history.open()
        return self

    async def _bring_up_topics(self) -> None:
        topics = declared_topics(self.prefix, ENTITIES, self._partitions)
        _, different = await bring_up(self.kafka, topics)
        assert different == []

    async def remake_topics(self) -> None:
        """Topics that were deleted are there again, and read from their start."""
        await self._bring_up_topics()
        await self.topics.start_over()

    async def __aexit__(self, *_exception: object) -> None:
        await asyncio.gather(self.source.kill(), self.consumer.kill())
        await self.history.close()
        await self.topics.close()
        await self.client.close()
        await self.postgres.close(timeout=5)

    def writer(self, seed: int, **options: Any) -> Writer:
        return Writer(self.client, self.mongo_name, seed, **options)

    @asynccontextmanager
    async def writing(
        self, writer: Writer, pause_seconds: float = PAUSE_SECONDS
    ) -> AsyncIterator[Writer]:
        """The writer writes beside the body; its last step is ended with it."""
        stop = asyncio.Event()
        task = asyncio.create_task(writer.run(stop, pause_seconds), name="write")
        try:
            yield writer
        finally:
            stop.set()
            await task

    async def cursor(self) -> dict[str, Any] | None:
        """As it was committed last."""
        await self.topics.catch_up()
        return self.topics.cursor(self.cursors_topic, self.name)

    async def published(self) -> bool:
        """Whether the cursor covers everything that was written so far."""
        cursor = await self.cursor()
        if cursor is None:
            return False
        reads = cursor["reads"].values()
        done = all(read.get("done") or read.get("held_deletes") for read in reads)
        covered = cursor["position"] >= self.history.newest
        return bool(done and covered and self.topics.settled)

    async def applied_once(self) -> bool:
        """Whether every partition has an offset row."""
        rows = await readback.offsets(self.postgres, f"{self.prefix}.target.main")
        return all(place in rows for place in self._applied(self.topics.stable_ends))

    async def applied(self) -> bool:
        """Whether the offset rows stand at the ends."""
        await self.topics.catch_up()
        rows = await readback.offsets(self.postgres, f"{self.prefix}.target.main")
        ours = self._applied(self.topics.stable_ends)
        at_the_ends = all(rows.get(place) == end for place, end in ours.items())
        return at_the_ends and self.topics.settled

    def _applied(self, ends: Mapping[Place, int]) -> dict[Place, int]:
        """Of the topics that a consumer applies."""
        return {place: end for place, end in ends.items() if place[0] != self.cursors_topic}

    async def settled(self) -> bool:
        """Whether no transaction is open."""
        await self.topics.catch_up()
        return self.topics.settled

    async def all_published(self) -> None:
        await self.history.catch_up()
        await self.until(self.published, "everything is published")

    async def quiet(self) -> None:
        """Everything written so far is published and applied."""
        await self.all_published()
        await self.until(self.applied, "everything is applied")

    async def until(
        self,
        condition: Callable[[], Awaitable[bool]],
        what: str,
        seconds_max: float | None = None,
    ) -> None:
        """Fails with the logs' last words when it does not come true in time."""
        seconds_max = self.patience_seconds if seconds_max is None else seconds_max
        deadline = time.monotonic() + seconds_max
        while not await condition():
            if not self.idle:
                await self.history.nudge()
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {seconds_max:g} s: {what}\n{self.last_words()}")
            self.source.check()
            self.consumer.check()
            await asyncio.sleep(POLL_SECONDS)

    def told(self, text: str, log: Path | None = None) -> int:
        """How many lines of the source's log hold the text."""
        found = log or self.source.log
        return sum(text in line for line in lines(found))

    async def heard(self, text: str, times: int = 1, log: Path | None = None) -> None:
        """Waits until the source has said it so many times."""

        async def enough() -> bool:
            return self.told(text, log) >= times

        await self.until(enough, f"{text!r} in the log")

    async def running(self) -> None:
        """Both processes run, and what is there is published and applied."""
        self.source.start()
        self.consumer.start()
        await self.quiet()

    def last_words(self, lines: int = 12) -> str:
        logs = [self.source.log, self.consumer.log]
        return "\n".join(
            f"--- {log.name}\n" + "\n".join(log.read_text().splitlines()[-lines:])
            for log in logs
            if log.exists()
        )

    async def seen(self) -> Seen:
        """All that there is to be seen now."""
        await self.history.catch_up()
        await self.until(self.settled, "nothing is open", SETTLED_SECONDS_MAX)
        cursor = self.topics.cursor(self.cursors_topic, self.name) or {"position": -1, "reads": {}}
        offsets = await readback.offsets(self.postgres, f"{self.prefix}.target.main")
        logs = [log.read_text() for log in (self.source.log, self.consumer.log) if log.exists()]
        letter_rows = await self.postgres.fetch("SELECT * FROM sync.dead_letters")
        rows = await readback.tables(self.postgres, BOOK, self.name)
        letters = [record.value or b"" for record in self.topics.of(self.letters_topic)]
        return Seen(
            BOOK,
            self.name,
            self._own(self.topics.of(*self.entity_topics)),
            self.history.changes,
            cursor["position"],
            {name: read.get("last_at", -1) for name, read in cursor["reads"].items()},
            rows,
            await readback.totals(self.postgres, BOOK, self.name),
            await readback.letters(self.postgres, BOOK, self.name),
            offsets,
            self._applied(self.topics.ends),
            self._applied(self.topics.stable_ends),
            [CANARY],
            [*logs, *map(str, rows.values()), *map(str, letter_rows), *map(repr, letters)],
        )

    def _own(self, records: Sequence[Record]) -> list[Record]:
        """Those of our source: strangers may have written, too."""
        mine = f'"source":"{self.name}"'.encode()
        return [record for record in records if record.key is not None and mine in record.key]

    async def ask(self, kind: str, **parameters: object) -> None:
        """A row of `sync.requests`, as `cdc resync` and `cdc dead-letters retry` write it."""
        query = (
            "INSERT INTO sync.requests (source, kind, parameters) VALUES ($1, $2, $3::text::jsonb)"
        )
        await self.postgres.execute(query, self.name, kind, json.dumps(parameters))

    async def answered(self) -> bool:
        """Whether every request has ended."""
        query = "SELECT count(*) FROM sync.requests WHERE state IN ('waiting', 'running')"
        return not await self.postgres.fetchval(query)

    async def require_right(self) -> None:
        """Waits for quiet; then every invariant holds, and the tables equal the documents."""
        await self.quiet()
        seen = await self.seen()
        require(violations(seen), f"of {self.name}")
        compared = await compare(self.mongo, self.postgres, BOOK, self.name)
        # A document that no longer maps keeps its row, and the row its part in the sums.
        derived = (ACCOUNT_TABLE, TOTALS_TABLE) if compared.unmappable else ()
        different = [str(each) for each in compared.differences if each.table not in derived]
        require(different, "against the documents")


async def quick(
    way: System, nursery: Nursery, verb: str = "run", *, instance: str = "quick", **crash: str
) -> Life:
    """`cdc run` or `cdc consume` with everything quick and small (`tests/crash/launch.py`).

    `crash`: what it dies of; nothing, if nothing is said. No `instance`: no static membership.
    """
    said = {"SEEN": str(way.folder / f"quick-{verb}.points"), "ONLY": "nothing", **crash}
    environment = {
        **way.environment,
        "CDC_HTTP__LISTEN": "",
        "CDC_HTTP__CONSUMER_LISTEN": "",
        **({"CDC_INSTANCE": f"{way.prefix}-{instance}-{verb}"} if instance else {}),
        **{f"CRASH_{name}": value for name, value in said.items()},
    }
    log = way.source.log if verb == "run" else way.consumer.log
    return await nursery.born([verb], environment, log)


def lines(log: Path) -> Sequence[str]:
    """Of a log that may not be there yet."""
    return log.read_text().splitlines() if log.exists() else []

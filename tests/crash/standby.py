"""A PostgreSQL primary with a hot standby by streaming replication, to fail over between them."""

import asyncio
import shutil
from pathlib import Path

import asyncpg

from compose.stack.ports import LOOPBACK, free_port
from compose.stack.postgres import SUPERUSER, PostgresServer
from compose.stack.process import Child, until

BACKUP_SECONDS_MAX = 60.0
WAIT_SECONDS_MAX = 30.0
REPLICATED = {"wal_level": "replica", "max_wal_senders": "5", "hot_standby": "on"}


class Pair:
    """`async with Pair(folder) as pair`: the standby follows until it is promoted."""

    def __init__(self, folder: Path) -> None:
        self.primary = PostgresServer(
            folder / "primary",
            durable=True,
            settings=REPLICATED,
            access=(f"host replication all {LOOPBACK}/32 trust",),
        )
        self.port = free_port()
        self._standby: Child | None = None
        self._data = folder

    def dsn(self, database: str) -> str:
        """Both hosts: whoever takes writes is taken."""
        hosts = f"{LOOPBACK}:{self.primary.port},{LOOPBACK}:{self.port}"
        return f"postgresql://{SUPERUSER}@{hosts}/{database}"

    def standby_dsn(self, database: str) -> str:
        return f"postgresql://{SUPERUSER}@{LOOPBACK}:{self.port}/{database}"

    async def __aenter__(self) -> "Pair":
        await self.primary.start()
        owner = self.primary.owner()
        # Beside the primary's data, where its owner may write.
        self._data = self.primary.data.parent / "standby"
        log = self.primary.folder / "standby.log"
        programs = self.primary.programs
        backup = Child(
            [
                programs / "pg_basebackup",
                *("-D", self._data, "-R", "-X", "stream", "-c", "fast"),
                *("-h", LOOPBACK, "-p", str(self.primary.port), "-U", SUPERUSER),
            ],
            log,
            owner=owner,
        )
        await backup.finish(BACKUP_SECONDS_MAX, "pg_basebackup")
        self._data.chmod(0o700)
        settings = {**self.primary.settings, "port": str(self.port), "listen_addresses": LOOPBACK}
        words = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        self._standby = Child([programs / "postgres", "-D", self._data, *words], log, owner=owner)
        await until(self._follows, WAIT_SECONDS_MAX, "the standby following")
        return self

    async def __aexit__(self, *_exception: object) -> None:
        if self._standby is not None:
            await self._standby.kill()
        await self.primary.kill()
        await asyncio.to_thread(shutil.rmtree, self._data, True)
        await self.primary.delete()

    async def _follows(self) -> bool:
        query = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'"
        return await self._ask(self.primary.database_uri("postgres"), query) == 1

    async def _ask(self, dsn: str, query: str) -> object:
        try:
            connection = await asyncpg.connect(dsn, timeout=5)
        except (OSError, asyncpg.PostgresError, TimeoutError):
            return None
        try:
            return await connection.fetchval(query)
        finally:
            await connection.close()

    async def caught_up(self) -> None:
        """Returns when the standby has everything that is committed now."""
        here = self.primary.database_uri("postgres")
        target = await self._ask(here, "SELECT pg_current_wal_lsn()::text")

        async def replayed() -> bool:
            query = f"SELECT pg_last_wal_replay_lsn() >= '{target}'::pg_lsn"
            return bool(await self._ask(self.standby_dsn("postgres"), query))

        await until(replayed, WAIT_SECONDS_MAX, "the standby catching up")

    async def cut_off(self) -> None:
        """What is committed from now on does not reach the standby."""
        here = self.standby_dsn("postgres")
        await self._ask(here, "ALTER SYSTEM SET primary_conninfo = ''")
        await self._ask(here, "SELECT pg_reload_conf()")

        async def alone() -> bool:
            return await self._ask(here, "SELECT count(*) FROM pg_stat_wal_receiver") == 0

        await until(alone, WAIT_SECONDS_MAX, "the standby cut off")

    async def promote(self) -> None:
        """The primary is gone for good; the standby takes writes."""
        await self.primary.kill()
        here = self.standby_dsn("postgres")
        await self._ask(here, "SELECT pg_promote(false)")

        async def writable() -> bool:
            return await self._ask(here, "SELECT NOT pg_is_in_recovery()") is True

        await until(writable, WAIT_SECONDS_MAX, "the promotion of the standby")

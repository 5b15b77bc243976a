"""TLS and authentication to PostgreSQL: what works, and what is said when it does not."""

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import asyncpg
import pytest

from compose.stack.ports import LOOPBACK, free_port
from compose.stack.postgres import DATABASE, PostgresServer
from tests.certificates import Authority
from tests.e2e.company import Company
from tests.tls_front import BY_TLS, CLEAR, WITH_CERTIFICATE, TlsFront

PASSWORD = "p@ss/w:rd %41?&#[ü'"
GUESSED = "guessed-4711"


class SecurePostgres:
    """alice comes by TLS with a password, client by TLS with a certificate; neither otherwise."""

    def __init__(self, folder: Path) -> None:
        self.authority = Authority(folder / "certificates")
        self.stranger = Authority(folder / "certificates", "stranger")
        self.client = self.authority.certificate("client")
        self.foreign = self.stranger.certificate("foreign")
        self.server = PostgresServer(
            folder / "postgres",
            access=(
                f"host all alice {CLEAR}/32 reject",
                f"host all alice {BY_TLS}/32 scram-sha-256",
                f"host all client {WITH_CERTIFICATE}/32 trust",
                f"host all client {LOOPBACK}/8 reject",
            ),
        )
        self.port = 0

    async def start(self) -> None:
        await self.server.start()
        connection = await asyncpg.connect(self.server.uri)
        quoted = PASSWORD.replace("'", "''")
        await connection.execute(
            f"SET password_encryption = 'scram-sha-256';"
            f"CREATE ROLE alice LOGIN PASSWORD '{quoted}'; CREATE ROLE client LOGIN;"
            f"GRANT CREATE ON DATABASE {DATABASE} TO alice; GRANT alice TO client"
        )
        await connection.close()

    def dsn(
        self,
        *,
        user: str = "alice",
        password: str | None = PASSWORD,
        host: str = LOOPBACK,
        port: int = 0,
        database: str = DATABASE,
        **other: str | Path | None,
    ) -> str:
        """The right one, but for what is said; None leaves an option out."""
        who = quote(user, safe="") + ("" if password is None else f":{quote(password, safe='')}")
        options = {"sslmode": "verify-full", "sslrootcert": self.authority.cafile, **other}
        said = "&".join(
            f"{name}={quote(str(value))}" for name, value in options.items() if value is not None
        )
        return f"postgresql://{who}@{host}:{port or self.port}/{database}?{said}"

    def by_certificate(self) -> str:
        return self.dsn(
            user="client",
            password=None,
            sslcert=self.client.certfile,
            sslkey=self.client.keyfile,
        )


@pytest.fixture(scope="module")
def server() -> Iterator[SecurePostgres]:
    with tempfile.TemporaryDirectory(prefix=f"postgres-{os.getpid()}-") as folder:
        mine = SecurePostgres(Path(folder))
        try:
            asyncio.run(mine.start())
            yield mine
        finally:
            asyncio.run(mine.server.delete())


@pytest.fixture
async def postgres(server: SecurePostgres) -> AsyncIterator[SecurePostgres]:
    async with TlsFront(server.server.port, server.authority) as front:
        server.port = front.port
        yield server


Wrong = Callable[[SecurePostgres], str]
WRONG: dict[str, tuple[Wrong, str, str]] = {
    "CA": (
        lambda it: it.dsn(sslrootcert=it.stranger.cafile),
        "the certificate's CA is not trusted",
        "sslrootcert",
    ),
    "no CA": (lambda it: it.dsn(sslrootcert=None), "root.crt", ""),
    "CA file": (
        lambda it: it.dsn(sslrootcert="/nowhere/ca.pem"),
        "key file cannot be used",
        "sslrootcert",
    ),
    "CA file's content": (
        lambda it: it.dsn(sslrootcert=it.client.keyfile),
        "key file cannot be used",
        "sslrootcert",
    ),
    "host name": (
        lambda it: it.dsn(host="localhost"),
        "the certificate is for another host",
        "in the server's certificate",
    ),
    "foreign client certificate": (
        lambda it: it.dsn(sslcert=it.foreign.certfile, sslkey=it.foreign.keyfile),
        "",  # an alert, or an end: whichever the handshake comes to first
        "sslcert",
    ),
    "no client certificate": (
        lambda it: it.dsn(user="client", password=None),
        "the login is refused",
        "pg_hba.conf",
    ),
    "password": (
        lambda it: it.dsn(password=GUESSED),
        "wrong user or password",
        "correct user, password",
    ),
    "no password": (lambda it: it.dsn(password=None), "password", "correct user, password"),
    "clear to TLS": (
        lambda it: it.dsn(sslmode="disable", sslrootcert=None),
        "the login is refused",
        "sslmode",
    ),
    "TLS to clear": (
        lambda it: it.dsn(port=it.server.port),
        "the server does not speak TLS",
        "sslmode",
    ),
    "port": (lambda it: it.dsn(port=free_port()), "Connect call failed", "start PostgreSQL"),
    "database": (lambda it: it.dsn(database="nowhere"), "does not exist", ""),
}


async def test_the_right_options_migrate_and_pass_the_check(
    company: Company, postgres: SecurePostgres
) -> None:
    await company.prepared()
    for dsn in (postgres.dsn(), postgres.dsn(host="localhost", sslmode="verify-ca")):
        migrated = await company.cdc("migrate", DATABASE_URL=dsn)
        assert migrated.code == 0, migrated.err
        checked = await company.cdc("check", DATABASE_URL=dsn)
        assert checked.code == 0, checked.out
    checked = await company.cdc("check", DATABASE_URL=postgres.by_certificate())
    assert checked.code == 0, checked.out


async def test_what_is_wrong_is_told_by_the_check_in_one_line_with_the_fix(
    company: Company, postgres: SecurePostgres
) -> None:
    await company.prepared()
    company.environment["HOME"] = str(company.folder)  # whoever runs us may keep passwords at home
    checks = [
        company.cdc("check", "--json", DATABASE_URL=wrong(postgres))
        for wrong, _words, _fix in WRONG.values()
    ]
    for (what, (_, words, fix)), ended in zip(
        WRONG.items(), await asyncio.gather(*checks), strict=True
    ):
        assert ended.code == 3, (what, ended.out, ended.err)
        failed = [each for each in ended.document["checks"] if each["outcome"] == "fail"]
        assert [each["name"] for each in failed] == ["postgres"], (what, failed)
        assert words in failed[0]["detail"], (what, failed)
        assert fix in failed[0]["fix"], (what, failed)
        assert failed[0]["fix"], (what, failed)
        assert len(failed[0]["detail"].splitlines()) == 1, (what, failed)
        for secret in (PASSWORD, quote(PASSWORD, safe=""), GUESSED):
            assert secret not in ended.out + ended.err, what
        assert "Traceback" not in ended.err, (what, ended.err)


@pytest.mark.parametrize("what", ["CA", "host name", "password"])
async def test_a_start_ends_with_3_and_says_the_same(
    company: Company, postgres: SecurePostgres, what: str
) -> None:
    await company.prepared()
    wrong, words, fix = WRONG[what]
    ended = await company.cdc("consume", DATABASE_URL=wrong(postgres), CDC_HTTP__CONSUMER_LISTEN="")
    assert ended.code == 3, ended.err
    (line,) = [line for line in ended.err.splitlines() if line.startswith("error: ")]
    assert words in line
    assert fix in line
    assert GUESSED not in ended.err


@pytest.mark.parametrize("secret", ["p@ss/w0rd", "pa?ss", "pa#ss", "pa/ss", "pa[ss"])
async def test_a_password_that_is_not_encoded_is_told_without_it(
    company: Company, secret: str
) -> None:
    ended = await company.cdc(
        "check", DATABASE_URL=f"postgresql://alice:{secret}@127.0.0.1:1/ledger"
    )
    assert ended.code == 2, ended.err
    assert "DATABASE_URL" in ended.out
    for part in (secret, "ss@", "w0rd", "ss/"):
        assert part not in ended.out + ended.err

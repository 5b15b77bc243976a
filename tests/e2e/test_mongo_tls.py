"""TLS and authentication to a real mongod: what works, and what is said when it does not."""

import asyncio
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from pymongo import AsyncMongoClient

from compose.stack.mongo import DATABASE, REPLICA_SET, MongoServer
from compose.stack.ports import LOOPBACK, free_port
from tests.certificates import Authority
from tests.e2e.company import Company, Ended

PASSWORD = "p@ss/w:rd %41?&#[ü"
GUESSED = "guessed-4711"
RIGHTS = [
    {"role": "read", "db": DATABASE},
    {"role": "clusterMonitor", "db": "admin"},
    {"role": "read", "db": "local"},
]


class SecureMongod:
    """TLS only; alice by password and CN=client by certificate may what a source needs."""

    def __init__(self, folder: Path) -> None:
        self.authority = Authority(folder / "certificates")
        self.stranger = Authority(folder / "certificates", "stranger")
        self.client = self.authority.certificate("client")
        self.foreign = self.stranger.certificate("foreign")
        keyfile = folder / "keyfile"
        keyfile.write_text("throwaway")
        keyfile.chmod(0o600)
        self.server = MongoServer(
            folder / "mongod",
            arguments=(
                *("--tlsMode", "allowTLS"),  # the start asks in the clear
                *("--tlsCertificateKeyFile", str(self.authority.certificate("mongod").combined)),
                *("--tlsCAFile", str(self.authority.cafile)),
                "--tlsAllowConnectionsWithoutCertificates",
                *("--keyFile", str(keyfile)),
            ),
        )

    async def start(self) -> None:
        """As the first visitor: a server without users lets one from loopback make them."""
        await self.server.start()
        async with self._clear() as client:
            await client.admin.command({"createUser": "root", "pwd": "root", "roles": ["root"]})
        async with self._clear(username="root", password="root") as client:
            await client.admin.command({"createUser": "alice", "pwd": PASSWORD, "roles": RIGHTS})
            await client["$external"].command({"createUser": "CN=client", "roles": RIGHTS})
            await client.admin.command({"createUser": "bob", "pwd": "bob", "roles": []})
            for mode in ("preferTLS", "requireTLS"):
                await client.admin.command({"setParameter": 1, "tlsMode": mode})

    def _clear(self, **who: str) -> AsyncMongoClient[dict[str, Any]]:
        return AsyncMongoClient(LOOPBACK, self.server.port, directConnection=True, **who)

    def uri(
        self,
        *,
        user: str = "alice",
        password: str | None = PASSWORD,
        host: str = LOOPBACK,
        port: int = 0,
        **other: str | Path | None,
    ) -> str:
        """The right one, but for what is said; None leaves an option out."""
        who = quote(user, safe="") + ("" if password is None else f":{quote(password, safe='')}")
        options = {
            "replicaSet": REPLICA_SET,
            "authSource": "admin",
            "tls": "true",
            "tlsCAFile": self.authority.cafile,
            **other,
        }
        said = "&".join(
            f"{name}={quote(str(value))}" for name, value in options.items() if value is not None
        )
        return f"mongodb://{who}@{host}:{port or self.server.port}/{DATABASE}?{said}"

    def by_certificate(self, **other: Path | None) -> str:
        return self.uri(
            user="CN=client",
            password=None,
            authSource="$external",
            authMechanism="MONGODB-X509",
            **{"tlsCertificateKeyFile": self.client.combined, **other},
        )


@pytest.fixture(scope="module")
def mongod() -> Iterator[SecureMongod]:
    with tempfile.TemporaryDirectory(prefix=f"mongod-{os.getpid()}-") as folder:
        mine = SecureMongod(Path(folder))
        try:
            asyncio.run(mine.start())
            yield mine
        finally:
            asyncio.run(mine.server.delete())


Wrong = Callable[[SecureMongod], str]
WRONG: dict[str, tuple[Wrong, str, str, str]] = {
    "CA": (
        lambda it: it.uri(tlsCAFile=it.stranger.cafile),
        "mongodb server",
        "the certificate's CA is not trusted",
        "tlsCAFile",
    ),
    "CA file": (
        lambda it: it.uri(tlsCAFile="/nowhere/ca.pem"),
        "mongodb",
        "key file cannot be used",
        "tlsCAFile",
    ),
    "CA file's content": (
        lambda it: it.uri(tlsCAFile=it.client.keyfile),
        "mongodb",
        "key file cannot be used",
        "tlsCAFile",
    ),
    "host name": (
        lambda it: it.uri(host="localhost"),
        "mongodb server",
        "the certificate is for another host",
        "in the server's certificate",
    ),
    "foreign client certificate": (
        lambda it: it.uri(tlsCertificateKeyFile=it.foreign.combined),
        "mongodb server",
        "connection closed",
        "tlsCertificateKeyFile",
    ),
    "no client certificate": (
        lambda it: it.by_certificate(tlsCertificateKeyFile=None),
        "mongodb server",
        "wrong user or password: No verified subject name",
        "authMechanism",
    ),
    "password": (
        lambda it: it.uri(password=GUESSED),
        "mongodb server",
        "wrong user or password",
        "authSource",
    ),
    "rights": (
        lambda it: it.uri(user="bob", password="bob"),
        "mongodb rights",
        "not authorized on property-management",
        "changeStream",
    ),
    "clear to TLS": (
        lambda it: it.uri(tls=None, tlsCAFile=None),
        "mongodb server",
        "connection closed",
        "tls=true",
    ),
    "port": (lambda it: it.uri(port=free_port()), "mongodb server", "refused", "start mongod"),
    "set": (lambda it: it.uri(replicaSet="other"), "mongodb server", '"other"', "replicaSet"),
}


async def test_the_right_options_pass_the_check(company: Company, mongod: SecureMongod) -> None:
    await company.prepared()
    for uri in (mongod.uri(), mongod.by_certificate()):
        checked = await company.cdc("check", MONGODB_URI=uri)
        assert checked.code == 0, checked.out


async def test_what_is_wrong_is_told_by_the_check_in_one_line_with_the_fix(
    company: Company, mongod: SecureMongod
) -> None:
    await company.prepared()
    checks = [
        company.cdc("check", "--json", MONGODB_URI=wrong(mongod))
        for wrong, _name, _words, _fix in WRONG.values()
    ]
    for (what, (_, name, words, fix)), ended in zip(
        WRONG.items(), await asyncio.gather(*checks), strict=True
    ):
        _one_line(what, ended, name, words, fix)


async def test_tls_to_a_server_without_it_is_told(company: Company) -> None:
    await company.prepared()
    uri = f"{company.environment['MONGODB_URI']}&tls=true"
    ended = await company.cdc("check", "--json", MONGODB_URI=uri)
    _one_line("TLS to clear", ended, "mongodb server", "does not speak TLS", "tls=true")


def _one_line(what: str, ended: Ended, name: str, words: str, fix: str) -> None:
    assert ended.code == 3, (what, ended.out, ended.err)
    failed = [each for each in ended.document["checks"] if each["outcome"] == "fail"]
    assert [each["name"] for each in failed] == [name], (what, failed)
    assert words in failed[0]["detail"], (what, failed)
    assert fix in failed[0]["fix"], (what, failed)
    assert len(failed[0]["detail"].splitlines()) == 1, (what, failed)
    for secret in (PASSWORD, quote(PASSWORD, safe=""), GUESSED):
        assert secret not in ended.out + ended.err, what
    assert "Traceback" not in ended.err, (what, ended.err)


@pytest.mark.parametrize("what", ["CA", "password"])
async def test_a_start_ends_with_3_and_says_the_same(
    company: Company, mongod: SecureMongod, what: str
) -> None:
    await company.prepared()
    wrong, _name, words, fix = WRONG[what]
    ended = await company.cdc("run", MONGODB_URI=wrong(mongod), CDC_HTTP__LISTEN="")
    assert ended.code == 3, ended.err
    (line,) = [line for line in ended.err.splitlines() if line.startswith("error: ")]
    assert words in line
    assert fix in line
    assert GUESSED not in ended.err


@pytest.mark.parametrize("secret", ["p@ss/w0rd", "pa?ss", "pa/ss", "p:ass%zz"])
async def test_a_password_that_is_not_encoded_is_told_without_it(
    company: Company, secret: str
) -> None:
    ended = await company.cdc("check", MONGODB_URI=f"mongodb://alice:{secret}@127.0.0.1:1/d")
    assert ended.code in (2, 3), ended.err
    assert "URI" in ended.out + ended.err
    for part in (secret, "ss@", "w0rd", "ss/"):
        assert part not in ended.out + ended.err

"""TLS and SASL/SCRAM to a real broker: what works, and what is said when it does not."""

import asyncio
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cdc.kafka.cursor_reader import read_cursors
from cdc.publisher import Publisher
from cdc.runtime.errors import LedgerError, SettingsError, Unavailable, Unfit
from cdc.runtime.kafka import KafkaConnection, topic_ids
from cdc.runtime.kafka_metadata import MetadataRequest12
from cdc.runtime.kafka_probe import Finding, probe
from compose.stack.kafka import KafkaServer
from compose.stack.ports import LOOPBACK, free_port
from schemas.envelope import Event
from tests.certificates import Authority
from tests.kafka_topics import event, make_topic, numbers

PROTOCOLS = {
    "PLAINTEXT": "PLAINTEXT",
    "TLS": "SSL",
    "MTLS": "SSL",
    "SCRAM": "SASL_SSL",
    "CLEAR": "SASL_PLAINTEXT",
}
JAAS = "org.apache.kafka.common.security.scram.ScramLoginModule required;"


class SecureBroker:
    """One broker with a listener of each kind; alice may everything, bob nothing."""

    def __init__(self, folder: Path) -> None:
        self.authority = Authority(folder / "certificates")
        self.stranger = Authority(folder / "certificates", "stranger")
        self.client = self.authority.certificate("client")
        self.ports = {name: free_port() for name in PROTOCOLS}
        self.server = KafkaServer(
            folder / "kafka",
            self.ports["PLAINTEXT"],
            controller_port=(controller_port := free_port()),
            properties=self._properties(controller_port),
            format_arguments=(
                *("--add-scram", "SCRAM-SHA-512=[name=alice,password=alice-secret]"),
                *("--add-scram", "SCRAM-SHA-512=[name=bob,password=bob-secret]"),
            ),
        )

    def _properties(self, controller_port: int) -> dict[str, str]:
        addresses = {name: f"{name}://{LOOPBACK}:{port}" for name, port in self.ports.items()}
        protocols = {**PROTOCOLS, "CONTROLLER": "PLAINTEXT"}
        return {
            "listeners": ",".join(
                [*addresses.values(), f"CONTROLLER://{LOOPBACK}:{controller_port}"]
            ),
            "advertised.listeners": ",".join(addresses.values()),
            "listener.security.protocol.map": ",".join(map(":".join, protocols.items())),
            "inter.broker.listener.name": "PLAINTEXT",
            "sasl.enabled.mechanisms": "SCRAM-SHA-512",
            "listener.name.scram.scram-sha-512.sasl.jaas.config": JAAS,
            "listener.name.clear.scram-sha-512.sasl.jaas.config": JAAS,
            "listener.name.mtls.ssl.client.auth": "required",
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(self.authority.certificate("broker").combined),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(self.authority.cafile),
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS;User:alice;User:CN=client",
        }

    def connection(self, listener: str, *, host: str = LOOPBACK, **other: Any) -> KafkaConnection:
        """The right options for a listener, but for `other`."""
        protocol = PROTOCOLS[listener]
        options: dict[str, Any] = {}
        if protocol in ("SSL", "SASL_SSL"):
            options["ssl_cafile"] = str(self.authority.cafile)
        if listener == "MTLS":
            options["ssl_certfile"] = str(self.client.certfile)
            options["ssl_keyfile"] = str(self.client.keyfile)
        if protocol.startswith("SASL_"):
            options["sasl_mechanism"] = "SCRAM-SHA-512"
            options["sasl_username"] = "alice"
            options["sasl_password"] = "alice-secret"
        options |= {"security_protocol": protocol, **other}
        return KafkaConnection(bootstrap_servers=f"{host}:{self.ports[listener]}", **options)


@pytest.fixture(scope="module")
def broker() -> Iterator[SecureBroker]:
    with tempfile.TemporaryDirectory(prefix=f"kafka-{os.getpid()}-") as folder:
        mine = SecureBroker(Path(folder))
        try:
            asyncio.run(mine.server.start())
            yield mine
        finally:
            asyncio.run(mine.server.delete())


@pytest.fixture
async def topic(broker: SecureBroker, topic_prefix: str) -> str:
    return await make_topic(broker.connection("PLAINTEXT"), f"{topic_prefix}.events")


@pytest.mark.parametrize("listener", ["TLS", "MTLS", "SCRAM", "CLEAR"])
async def test_the_right_options_publish_read_and_pass_the_check(
    broker: SecureBroker, topic: str, topic_prefix: str, listener: str
) -> None:
    connection = broker.connection(listener)
    publisher = Publisher(connection, transactional_id=topic_prefix)
    await publisher.start()
    await publisher.publish([event(topic, 1)], [Event(topic, 0, b"cursor", b"2:", [])])
    await publisher.close()
    assert await numbers(connection, topic) == [1, 2]
    assert (await read_cursors(connection, topic, 0))[b"cursor"] == b"2:"
    findings = await probe(
        connection,
        topics={topic: ["read", "write", "describe"]},
        transactional_ids=[topic_prefix],
        groups=[topic_prefix],
    )
    assert all(finding.ok for finding in findings), findings
    assert {"topics", "transactions", "groups"} <= {finding.step for finding in findings}


def wrong(broker: SecureBroker, what: str) -> KafkaConnection:
    ports = broker.ports
    return {
        "CA": lambda: broker.connection("TLS", ssl_cafile=str(broker.stranger.cafile)),
        "no CA": lambda: broker.connection("TLS", ssl_cafile=None),
        "host name": lambda: broker.connection("TLS", host="localhost"),
        "no client certificate": lambda: broker.connection(
            "MTLS", ssl_certfile=None, ssl_keyfile=None
        ),
        "foreign client certificate": lambda: _with_foreign_certificate(broker),
        "password": lambda: broker.connection("SCRAM", sasl_password="guessed"),
        "user": lambda: broker.connection("CLEAR", sasl_username="mallory"),
        "mechanism": lambda: broker.connection("SCRAM", sasl_mechanism="PLAIN"),
        "CA with login": lambda: broker.connection("SCRAM", ssl_cafile=str(broker.stranger.cafile)),
        "plaintext to TLS": lambda: KafkaConnection(
            bootstrap_servers=f"{LOOPBACK}:{ports['TLS']}", request_timeout_ms=1000
        ),
        "plaintext to login": lambda: KafkaConnection(
            bootstrap_servers=f"{LOOPBACK}:{ports['CLEAR']}", request_timeout_ms=1000
        ),
        "port": lambda: KafkaConnection(bootstrap_servers=f"{LOOPBACK}:{free_port()}"),
        "name": lambda: KafkaConnection(bootstrap_servers="no-such-host.invalid:9092"),
    }[what]()


def _with_foreign_certificate(broker: SecureBroker) -> KafkaConnection:
    foreign = broker.stranger.certificate("foreign")
    return broker.connection(
        "MTLS", ssl_certfile=str(foreign.certfile), ssl_keyfile=str(foreign.keyfile)
    )


@pytest.mark.parametrize(
    ("what", "step", "words", "start_error"),
    [
        ("CA", "tls", "CA is not trusted", Unfit),
        ("no CA", "tls", "CA is not trusted", Unfit),
        ("CA with login", "tls", "CA is not trusted", Unfit),
        ("host name", "tls", "for another host", Unfit),
        ("no client certificate", "tls", "our certificate", Unfit),
        ("foreign client certificate", "tls", "our certificate", Unfit),
        ("password", "login", "wrong user or password (alice)", Unfit),
        ("user", "login", "wrong user or password (mallory)", Unfit),
        ("mechanism", "login", "does not take PLAIN", Unfit),
        ("plaintext to TLS", "login", "does not speak PLAINTEXT", Unavailable),
        ("plaintext to login", "login", "does not speak PLAINTEXT", Unavailable),
        ("port", "reach", "nobody answers", Unavailable),
        ("name", "reach", "nobody answers", Unavailable),
    ],
)
async def test_what_is_wrong_is_told_by_the_check_and_by_the_start(
    broker: SecureBroker,
    topic_prefix: str,
    what: str,
    step: str,
    words: str,
    start_error: type[LedgerError],
) -> None:
    connection = wrong(broker, what)
    (finding,) = await probe(connection)
    assert not finding.ok
    assert (finding.step, words in finding.detail) == (step, True), finding
    assert finding.fix
    assert "guessed" not in str(finding)
    publisher = Publisher(connection, transactional_id=topic_prefix)
    with pytest.raises(start_error):
        await publisher.start()
    with pytest.raises(start_error):
        await topic_ids(connection, ["any"])


async def test_tls_to_a_plaintext_listener_is_told(broker: SecureBroker) -> None:
    connection = KafkaConnection(
        bootstrap_servers=f"{LOOPBACK}:{broker.ports['PLAINTEXT']}",
        security_protocol="SSL",
        ssl_cafile=str(broker.authority.cafile),
        request_timeout_ms=1000,
    )
    (finding,) = await probe(connection)
    assert (finding.step, finding.ok) == ("tls", False)
    assert "does not speak" in finding.detail


async def test_a_broker_too_old_for_us_is_told(
    broker: SecureBroker, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if it did not know the version of the request that we need."""
    monkeypatch.setattr(MetadataRequest12, "API_VERSION", 99)
    connection = broker.connection("PLAINTEXT")
    (finding,) = await probe(connection)
    assert (finding.step, finding.ok) == ("version", False)
    with pytest.raises(Unfit):
        await topic_ids(connection, [topic])


async def test_missing_rights_are_told_one_by_one(
    broker: SecureBroker, topic: str, topic_prefix: str
) -> None:
    connection = broker.connection("SCRAM", sasl_username="bob", sasl_password="bob-secret")
    findings = await probe(
        connection,
        topics={topic: ["read", "write"]},
        transactional_ids=[topic_prefix],
        groups=[topic_prefix],
    )
    denied = {finding.step: finding for finding in findings if not finding.ok}
    assert set(denied) == {"topics", "transactions", "groups"}
    assert denied["topics"].detail == "may not read, write"
    assert "kafka-acls" in denied["transactions"].fix
    publisher = Publisher(connection, transactional_id=topic_prefix)
    with pytest.raises(Unfit, match="TransactionalIdAuthorizationFailed"):
        await publisher.start()


async def test_an_address_that_brokers_advertise_wrongly_is_told(
    broker: SecureBroker, tmp_path: Path
) -> None:
    port, controller_port = free_port(), free_port()
    nobody = free_port()
    server = KafkaServer(tmp_path, port, controller_port=controller_port, advertised_port=nobody)
    try:
        await server.start()
        findings = await probe(
            KafkaConnection(bootstrap_servers=f"{LOOPBACK}:{port}", request_timeout_ms=1000)
        )
    finally:
        await server.delete()
    told = Finding(
        "reach",
        f"{LOOPBACK}:{nobody}",
        False,
        findings[-1].detail,
        "correct its advertised.listeners",
    )
    assert findings[-1] == told


async def test_a_missing_file_is_a_setting_to_correct(tmp_path: Path) -> None:
    connection = KafkaConnection(
        bootstrap_servers="127.0.0.1:9092",
        security_protocol="SSL",
        ssl_cafile=str(tmp_path / "none.pem"),
    )
    with pytest.raises(SettingsError, match=r"ssl_cafile=.*none\.pem"):
        connection.client_options()

"""Why Kafka cannot be used, found out step by step: reach, TLS, login, version, rights.

Nothing is written and nobody is fenced.
"""

import asyncio
import ssl
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aiokafka.client import AIOKafkaClient, CoordinationType
from aiokafka.errors import (
    CoordinatorNotAvailableError,
    IllegalSaslStateError,
    KafkaConnectionError,
    KafkaError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)

from cdc.runtime.errors import LedgerError
from cdc.runtime.kafka import KafkaConnection, kafka_client
from cdc.runtime.kafka_errors import code_name, mapped
from cdc.runtime.kafka_metadata import METADATA_API_KEY, METADATA_API_VERSION, TopicsRequest

OLDEST_KAFKA = "3.1"
COORDINATOR_TRIES = 20
COORDINATOR_WAIT_SECONDS = 0.25

# Bits of "authorized operations" (Kafka's AclOperation).
OPERATIONS = {"read": 3, "write": 4, "create": 5, "describe": 8, "describe configs": 10}

_X509_HOST_MISMATCH = 62
_X509_UNKNOWN_CA = (18, 19, 20, 21)
_X509_EXPIRED = 10


@dataclass(frozen=True, slots=True)
class Finding:
    """What one step told. ``step``: reach, tls, login, version, topics, transactions, groups."""

    step: str
    subject: str
    ok: bool
    detail: str
    fix: str = ""


async def probe(
    connection: KafkaConnection,
    *,
    topics: Mapping[str, Sequence[str]] | None = None,
    transactional_ids: Iterable[str] = (),
    groups: Iterable[str] = (),
) -> list[Finding]:
    """The steps in order, up to the first that fails so that later ones make no sense.

    ``topics``: the operations (names of ``OPERATIONS``) that are needed on each; topics that do
    not exist are not a matter of rights and are left out.
    """
    found = [await _handshake(connection, host, port) for host, port in connection.hosts()]
    if not any(finding.ok for finding in found):
        return found
    try:
        async with kafka_client(connection, "check Kafka") as client:
            found += await _brokers(client, connection)
            if all(finding.ok for finding in found[len(connection.hosts()) :]):
                found += await _rights(client, topics or {})
                for name in transactional_ids:
                    found.append(await _coordinated(client, "transactions", name))
                for name in groups:
                    found.append(await _coordinated(client, "groups", name))
    except LedgerError as error:
        found.append(Finding("reach", connection.bootstrap_servers, False, str(error)))
    return found


async def _handshake(connection: KafkaConnection, host: str, port: int) -> Finding:
    """TCP, TLS and login with one bootstrap address, and the version behind it."""
    subject = f"{host}:{port}"
    seconds = connection.request_timeout_ms / 1000
    try:
        async with asyncio.timeout(seconds):
            _, writer = await asyncio.open_connection(host, port)
            writer.close()
    except (OSError, TimeoutError) as error:
        detail = f"nobody answers: {error or f'no answer within {seconds:g} s'}"
        fix = "start Kafka, or correct [kafka] bootstrap_servers"
        return Finding("reach", subject, False, detail, fix)
    try:
        conn = await connection.connect(host, port)
        try:
            await conn.send(TopicsRequest([]))
        finally:
            conn.close()
    except NotImplementedError:  # aiokafka: no version of the request that both sides speak
        return _too_old(subject)
    except (KafkaError, OSError, TimeoutError) as error:
        return _refused(connection, subject, error)
    oldest, newest = conn._versions[METADATA_API_KEY]
    if not oldest <= METADATA_API_VERSION <= newest:
        return _too_old(subject)
    how = connection.security_protocol
    return Finding("login" if connection.authenticated else "reach", subject, True, how)


def _too_old(subject: str) -> Finding:
    detail = "the broker is too old"
    return Finding("version", subject, False, detail, f"Kafka {OLDEST_KAFKA} or newer is needed")


def _refused(connection: KafkaConnection, subject: str, error: BaseException) -> Finding:
    """The step at which a broker that is there would not have us."""
    if isinstance(error, ssl.SSLError):
        return Finding("tls", subject, False, *_tls_fault(error))
    if isinstance(error, SaslAuthenticationFailed):
        detail = f"wrong user or password ({connection.sasl_username})"
        return Finding("login", subject, False, detail, "correct sasl_username, sasl_password")
    if isinstance(error, UnsupportedSaslMechanismError | IllegalSaslStateError):
        detail = f"the listener does not take {connection.sasl_mechanism}: {error}"
        return Finding("login", subject, False, detail, "correct sasl_mechanism")
    if isinstance(error, KafkaConnectionError | OSError | EOFError | TimeoutError):
        cause = error.__cause__
        if isinstance(cause, ssl.SSLError):
            return Finding("tls", subject, False, *_tls_fault(cause))
        step, protocol = "tls" if connection.encrypted else "login", connection.security_protocol
        if not str(error):  # a time-out
            detail = f"the listener gives no answer: it hangs, or does not speak {protocol}"
            fix = "look at the broker's log, or correct security_protocol, or the port"
            return Finding(step, subject, False, detail, fix)
        detail = f"the listener does not speak {protocol} ({error})"
        return Finding(step, subject, False, detail, "correct security_protocol, or the port")
    return Finding("login", subject, False, mapped(error, "").message)


def _tls_fault(error: ssl.SSLError) -> tuple[str, str]:
    """(what is wrong, what helps)."""
    if isinstance(error, ssl.SSLCertVerificationError):
        if error.verify_code == _X509_HOST_MISMATCH:
            fix = "use a name that is in the broker's certificate, or add this one to it"
            return f"the certificate is for another host: {error.verify_message}", fix
        if error.verify_code in _X509_UNKNOWN_CA:
            fix = "point ssl_cafile to the CA that signed the broker's certificate"
            return f"the certificate's CA is not trusted: {error.verify_message}", fix
        if error.verify_code == _X509_EXPIRED:
            return "the certificate has expired", "renew the broker's certificate"
        return error.verify_message, "correct the broker's certificate"
    if error.reason == "WRONG_VERSION_NUMBER":
        return "the listener does not speak TLS", "correct security_protocol, or the port"
    if error.reason and "CERTIFICATE" in error.reason:
        return "the broker does not accept our certificate", "correct ssl_certfile, ssl_keyfile"
    return f"the TLS handshake failed: {error.reason or error}", "look at the broker's log"


async def _brokers(client: AIOKafkaClient, connection: KafkaConnection) -> list[Finding]:
    """Every broker under the address that it tells its clients."""
    found = []
    for broker in client.cluster.brokers():
        finding = await _handshake(connection, broker.host, broker.port)
        if not finding.ok:
            detail = f"broker {broker.nodeId} tells its clients this address; {finding.detail}"
            fix = finding.fix if finding.step != "reach" else "correct its advertised.listeners"
            finding = Finding(finding.step, finding.subject, False, detail, fix)
        found.append(finding)
    return found


async def _rights(client: AIOKafkaClient, topics: Mapping[str, Sequence[str]]) -> list[Finding]:
    if not topics:
        return []
    request = TopicsRequest(sorted(topics), with_operations=True)
    answer: Any = await client.send(client.get_random_node(), request)
    found = []
    for topic in answer.to_object()["topics"]:
        name, code = topic["topic"], code_name(topic["error_code"])
        if code == "UnknownTopicOrPartition":
            continue
        allowed = topic["authorized_operations"]
        lacking = [each for each in topics[name] if not allowed >> OPERATIONS[each] & 1]
        if topic["error_code"]:
            lacking = list(topics[name])
        fix = f"allow it: kafka-acls.sh --add --topic {name} …" if lacking else ""
        detail = f"may not {', '.join(lacking)}" if lacking else "rights are there"
        found.append(Finding("topics", name, not lacking, detail, fix))
    return found


async def _coordinated(client: AIOKafkaClient, step: str, name: str) -> Finding:
    """Whether there is a coordinator for a transactional id or group, and it would have us."""
    kind = CoordinationType.TRANSACTION if step == "transactions" else CoordinationType.GROUP
    detail = ""
    for _ in range(COORDINATOR_TRIES):  # the first one ever asks for makes an internal topic
        try:
            await client.coordinator_lookup(kind, name)
        except CoordinatorNotAvailableError:
            detail = "no coordinator: can the broker make its internal topics?"
            await asyncio.sleep(COORDINATOR_WAIT_SECONDS)
        except KafkaError as error:
            option = "--transactional-id" if step == "transactions" else "--group"
            fix = f"allow it: kafka-acls.sh --add {option} {name} …"
            return Finding(step, name, False, mapped(error, "").message, fix)
        else:
            return Finding(step, name, True, "a coordinator is there")
    fix = "look at transaction.state.log.replication.factor, offsets.topic.replication.factor"
    return Finding(step, name, False, detail, fix)

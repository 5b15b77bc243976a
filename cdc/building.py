"""From settings to what both sides are built from: connections, topics, names. No sides here."""

import os
import random
import socket
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

from cdc.runtime.errors import SettingsError
from cdc.runtime.retry import Backoff, delay_seconds
from cdc.runtime.settings_reader import Fault, FaultySettings, did_you_mean
from cdc.settings import Settings
from schemas.entities import ENTITIES
from schemas.topics import ENTITY_PARTITIONS, Topic

if TYPE_CHECKING:
    from cdc.runtime.kafka import KafkaConnection
    from cdc.runtime.postgres import Connect, PostgresTarget

T = TypeVar("T")

LOOP_BACKOFF = Backoff()
CONTROL_BACKOFF = Backoff(first_seconds=1.0, seconds_max=30.0)


def require(settings: Settings, *needed: str) -> None:
    """Raises ``FaultySettings`` for what of kafka, sources, targets is not configured at all."""
    if faults := lacking(settings, *needed):
        raise FaultySettings(faults)


def lacking(settings: Settings, *needed: str) -> list[Fault]:
    """What of kafka, sources, targets is not configured at all."""
    said = {
        "kafka": bool(settings.kafka.bootstrap_servers),
        "sources": bool(settings.sources),
        "targets": bool(settings.targets),
    }
    return [Fault(*_MISSING[name]) for name in needed if not said[name]]


_MISSING = {
    "kafka": (
        "kafka.bootstrap_servers",
        "",
        "is missing",
        "set it in the configuration, or KAFKA_BOOTSTRAP_SERVERS",
    ),
    "sources": ("sources", "", "none is configured", "configure [sources.NAME], or MONGODB_URI"),
    "targets": ("targets", "", "none is configured", "configure [targets.NAME], or DATABASE_URL"),
}


def kafka_connection(settings: Settings) -> "KafkaConnection":
    """Raises ``SettingsError`` where no brokers are named."""
    from cdc.runtime.kafka import KafkaConnection

    require(settings, "kafka")
    kafka = settings.kafka
    password = kafka.sasl_password
    return KafkaConnection(
        bootstrap_servers=kafka.bootstrap_servers,
        security_protocol=kafka.security_protocol,
        sasl_mechanism=kafka.sasl_mechanism,
        sasl_username=kafka.sasl_username,
        sasl_password=None if password is None else password.get_secret_value(),
        ssl_cafile=kafka.ssl_cafile,
        ssl_certfile=kafka.ssl_certfile,
        ssl_keyfile=kafka.ssl_keyfile,
        client_id=settings.instance or "ledger-cdc",
    )


def partitions(settings: Settings) -> dict[str, int]:
    """Entity to the partitions of its topic."""
    return {entity: settings.kafka.partitions.get(entity, ENTITY_PARTITIONS) for entity in ENTITIES}


def declared_topics(settings: Settings) -> list[Topic]:
    """Every topic, as it must be."""
    from cdc.kafka.topics import declared_topics as declared

    return declared(settings.kafka.topic_prefix, ENTITIES, settings.kafka.partitions)


def postgres_target(dsn: str) -> "PostgresTarget":
    """A database, with this product's limits."""
    from cdc.runtime.postgres import PostgresTarget

    return PostgresTarget(dsn=dsn)


def control_connect(settings: Settings) -> "Connect":
    """Connections to the control database; raises ``FaultySettings`` where there is none."""
    if settings.control_dsn is None:
        raise FaultySettings([Fault(*_MISSING["targets"])])
    return postgres_target(settings.control_dsn).connect


def instance_name(settings: Settings) -> str:
    """This process among its like."""
    return settings.instance or f"{socket.gethostname()}:{os.getpid()}"


def chosen(known: Mapping[str, T], names: Sequence[str], what: str) -> dict[str, T]:
    """Those of these names, or all; raises ``SettingsError`` for a name that is not configured."""
    for name in names:
        if name not in known:
            hint = did_you_mean(name, known) or f"configure [{what}s.{name}]"
            raise SettingsError(f"no {what} {name} is configured", hint=hint)
    return {name: each for name, each in known.items() if not names or name in names}


def backoff_seconds(attempt: int, backoff: Backoff = LOOP_BACKOFF) -> float:
    """The wait after so many failures in a row."""
    return delay_seconds(attempt, backoff, random.random)

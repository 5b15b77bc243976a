"""``cdc consume``: Kafka to Postgres, each target a consumer of its own."""

import asyncio
from collections.abc import Sequence

from cdc.app.process import Process
from cdc.building import chosen, control_connect, partitions, postgres_target, require
from cdc.runtime.errors import Unfit
from cdc.runtime.health import Condition
from cdc.runtime.kafka import KafkaConnection
from cdc.runtime.log import Log
from cdc.runtime.postgres import session
from cdc.runtime.retry import wait
from cdc.runtime.services import Service
from cdc.settings import Settings, TargetSettings
from consumers.app import ConsumerService
from consumers.migrate import missing
from consumers.settings import ConsumerSettings
from schemas.entities import ENTITIES

BEAT_SECONDS = 5.0


async def consume(settings: Settings, names: Sequence[str], log: Log) -> int:
    """``cdc consume``: Kafka to Postgres until a signal; the exit code."""
    require(settings, "kafka", "targets")
    process = Process(settings, log)
    consumers = {
        name: _consumer(process, name, target)
        for name, target in chosen(settings.targets, names, "target").items()
    }
    for name, consumer in consumers.items():
        process.services.add(f"consumer {name}", _checked(process, name, consumer))
        process.services.add(f"beat {name}", _beat(process, name, consumer))

    def conditions() -> dict[str, Condition]:
        return {f"target {name}": _seen(consumer) for name, consumer in consumers.items()}

    return await process.serve(settings.http.consumer_listen, "http.consumer_listen", conditions)


def consumer_settings(
    settings: Settings, name: str, target: TargetSettings, connection: KafkaConnection
) -> ConsumerSettings:
    """What the other side is told: its own frozen object."""
    counts = partitions(settings)
    return ConsumerSettings(
        target=name,
        database=postgres_target(target.dsn.get_secret_value()),
        kafka=connection,
        topic_prefix=settings.kafka.topic_prefix,
        entities={
            entity: count
            for entity, count in counts.items()
            if ENTITIES[entity].domain in target.domains
        },
        instance=settings.instance,
    )


def _consumer(process: Process, name: str, target: TargetSettings) -> ConsumerService:
    settings = consumer_settings(process.settings, name, target, process.connection)
    return ConsumerService(
        settings,
        log=process.log.bind(target=name),
        metrics=process.metrics.consumer(settings.entities),
        control=control_connect(process.settings),
    )


def _checked(process: Process, name: str, consumer: ConsumerService) -> Service:
    """The consumer, once nothing is left that only a person can mend."""

    async def consume_checked(stop: asyncio.Event) -> None:
        checks = (_migrated(process.settings, name), process.topics_fit())
        found = await asyncio.gather(*checks, return_exceptions=True)
        errors = [each for each in found if isinstance(each, Exception)]
        if errors:
            raise errors[0] if len(errors) == 1 else ExceptionGroup("cannot start", errors)
        await consumer.run(stop)

    return consume_checked


def _beat(process: Process, name: str, consumer: ConsumerService) -> Service:
    """Tells ``/livez`` that the consumer's loop has turned."""

    async def beat(stop: asyncio.Event) -> None:
        seen = -1
        while True:
            if consumer.progress.turns != seen:
                seen = consumer.progress.turns
                process.pulse.beat(f"consumer {name}")
            if await wait(stop, BEAT_SECONDS):
                return

    return beat


async def _migrated(settings: Settings, name: str) -> None:
    target = postgres_target(settings.targets[name].dsn.get_secret_value())
    async with session(target.connect) as connection:
        found = await missing(connection)
    if found.pending:
        raise Unfit(
            found.describe(),
            operation="check migrations",
            subject=f"target {name}",
            hint="run `cdc migrate`",
        )


def _seen(consumer: ConsumerService) -> Condition:
    """A consumer's state, for ``/readyz``."""
    progress = consumer.progress
    if progress.state.value in ("consuming", "idle"):
        return Condition("ok", progress.state.value)
    return Condition("down", progress.reason or progress.state.value)

"""Commands that do one thing and return: each gives a plain document, the same for every door."""

import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from cdc.app.targets import consumer_settings
from cdc.building import (
    chosen,
    control_connect,
    declared_topics,
    kafka_connection,
    postgres_target,
)
from cdc.kafka import topics
from cdc.operation import requests
from cdc.operation.asked import RESYNC
from cdc.operation.status import SILENT_SECONDS_MAX, observed
from cdc.runtime.errors import SettingsError
from cdc.runtime.postgres import Connect, session
from cdc.runtime.settings_reader import did_you_mean
from cdc.settings import Settings, TargetSettings
from consumers import dead_letters
from consumers import migrate as migrations
from consumers import trace as tracing
from consumers.dead_letters import Selection
from consumers.projections import PROJECTIONS
from consumers.replay import Bound, Replay, Replayed
from schemas.entities import ENTITIES
from schemas.topics import entity_topic_name


async def migrate(settings: Settings, *, check: bool) -> list[dict[str, Any]]:
    """Brings every database to the declared schema, or only tells what stands between."""
    found = []
    for name, dsn in _databases(settings).items():
        target = postgres_target(dsn)
        async with session(target.connect) as connection:
            applied = () if check else await migrations.migrate(connection)
            left = await migrations.missing(connection)
        found.append(
            {
                "database": name,
                "address": target.subject,
                "applied": list(applied),
                "missing": left.describe() or None,
            }
        )
    return found


def _databases(settings: Settings) -> dict[str, str]:
    """Every database once; raises ``SettingsError`` where there is none."""
    found: dict[str, str] = {}
    for name, target in settings.targets.items():
        dsn = target.dsn.get_secret_value()
        if dsn not in found.values():
            found[f"target {name}"] = dsn
    control = settings.control_dsn
    if control is None:
        control_connect(settings)  # raises, and says what to configure
    elif control not in found.values():
        found["control"] = control
    return found


async def bring_up_topics(settings: Settings, *, check: bool) -> dict[str, Any]:
    """Creates the topics that are missing (not with ``check``), and tells every difference."""
    connection, declared = kafka_connection(settings), declared_topics(settings)
    replication = settings.kafka.replication_factor
    created: list[str] = []
    if check:
        left = await topics.differences(connection, declared, replication=replication)
    else:
        created, left = await topics.bring_up(connection, declared, replication=replication)
    return {
        "topics": [topic.name for topic in declared],
        "created": created,
        "differences": [
            {
                "topic": each.topic,
                "what": each.what,
                "declared": each.declared,
                "found": each.found,
                "fix": each.fix,
                "text": str(each),
            }
            for each in left
        ],
    }


def asker() -> str:
    """Who asks, for the record."""
    return f"cdc at {socket.gethostname()}"


async def ask_resync(
    settings: Settings,
    source: str,
    *,
    collection: str | None,
    accept: bool,
    allow_deletes: bool,
) -> tuple[int, bool]:
    """The request's id, and whether anybody runs the source now."""
    chosen(settings.sources, [source], "source")
    connect = control_connect(settings)
    said = {"collection": collection, "accept": accept, "allow_deletes": allow_deletes}
    async with session(connect) as connection:
        request_id = await requests.enqueue(connection, source, RESYNC, said, asker())
    return request_id, await is_run(connect, source)


async def is_run(connect: Connect, source: str) -> bool:
    """Whether a process says that it runs the source."""
    return any(
        each["kind"] == "source"
        and each["name"] == source
        and each["silent_seconds"] <= SILENT_SECONDS_MAX
        for each in await observed(connect)
    )


async def look_at_request(settings: Settings, request_id: int) -> requests.Request | None:
    """How far a request is."""
    async with session(control_connect(settings)) as connection:
        return await requests.read(connection, request_id)


async def replay(
    settings: Settings,
    topic: str,
    partition: int | None,
    *,
    start: Bound,
    stop: Bound,
    target: str | None,
    dry_run: bool,
) -> Replayed:
    """Into every target that takes the topic, or into the one that is named."""
    connection = kafka_connection(settings)
    total = Replayed()
    for name, each in _takers(settings, _entity_of(settings, topic), target).items():
        one = Replay(consumer_settings(settings, name, each, connection), topic, dry_run=dry_run)
        result = await one.run(partition, start, stop)
        for field, value in result.document().items():
            setattr(total, field, getattr(total, field) + value)
    return total


def _entity_of(settings: Settings, topic: str) -> str:
    prefix = settings.kafka.topic_prefix
    names = {entity_topic_name(prefix, entity): entity for entity in ENTITIES}
    if topic not in names:
        raise SettingsError(f"no entity topic {topic}", hint=did_you_mean(topic, names))
    return names[topic]


def _takers(settings: Settings, entity: str, target: str | None) -> dict[str, TargetSettings]:
    named = chosen(settings.targets, [target] if target else [], "target")
    domain = ENTITIES[entity].domain
    found = {name: each for name, each in named.items() if domain in each.domains}
    if not found:
        raise SettingsError(f"no target takes {entity}", hint="see [targets.NAME] domains")
    return found


async def trace(
    settings: Settings, entity: str, row_id: str, *, source: str | None, target: str | None
) -> list[dict[str, Any]]:
    """The rows of that id in every target, or in the one that is named, each with its event.

    Raises ``SettingsError`` where there is none.
    """
    if entity not in PROJECTIONS:
        raise SettingsError(f"no table {entity} of events", hint=did_you_mean(entity, PROJECTIONS))
    connection = kafka_connection(settings)
    found = [
        traced.document()
        for name, each in _takers(settings, entity, target).items()
        for traced in await tracing.trace(
            consumer_settings(settings, name, each, connection), entity, row_id, source
        )
    ]
    if not found:
        of = f" of source {source}" if source else ""
        raise SettingsError(
            f"no row {row_id}{of} in {entity}", hint="ids are text, as in its table"
        )
    return found


async def list_letters(
    settings: Settings,
    ids: Sequence[int] = (),
    entity: str | None = None,
    *,
    target: str | None,
    closed: bool = False,
) -> AsyncIterator[list[dict[str, Any]]]:
    """Dead letters of every target, or of one, in pages; those named by id come whole."""
    selection, whole = Selection(tuple(ids), entity), bool(ids)
    for name, each in _letter_boxes(settings, target).items():
        async with session(_connect(each)) as connection:
            async for page in dead_letters.find(connection, selection, closed=closed, whole=whole):
                yield [{"target": name, **letter.document(whole=whole)} for letter in page]


async def retry_letters(
    settings: Settings, ids: Sequence[int], entity: str | None, *, target: str | None
) -> dict[str, list[int]]:
    """Applies again, or asks the source's owner; ids by what came of it."""
    selection = Selection(tuple(ids), entity)
    total: dict[str, list[int]] = {"applied": [], "refused": [], "asked": [], "requests": []}
    for each in _one_box(settings, selection, target).values():
        async with (
            session(_connect(each)) as connection,
            session(control_connect(settings)) as control,
        ):
            done = await dead_letters.retry(connection, control, selection, by=asker())
        for outcome, found in done._asdict().items():
            total[outcome] += found
    return total


async def drop_letters(
    settings: Settings, ids: Sequence[int], entity: str | None, *, target: str | None
) -> list[int]:
    """Closes them for good."""
    selection = Selection(tuple(ids), entity)
    dropped: list[int] = []
    for each in _one_box(settings, selection, target).values():
        async with session(_connect(each)) as connection:
            dropped += await dead_letters.drop(connection, selection)
    return dropped


def _connect(target: TargetSettings) -> Connect:
    return postgres_target(target.dsn.get_secret_value()).connect


def _letter_boxes(settings: Settings, target: str | None) -> Mapping[str, TargetSettings]:
    named: Sequence[str] = [target] if target else []
    found = chosen(settings.targets, named, "target")
    if not found:
        control_connect(settings)  # raises, and says what to configure
    return found


def _one_box(
    settings: Settings, selection: Selection, target: str | None
) -> Mapping[str, TargetSettings]:
    """Ids mean something only within one database."""
    found = _letter_boxes(settings, target)
    if selection.ids and len(found) > 1:
        raise SettingsError(
            "ids are of one target, and there are several",
            hint=f"add --target, one of {', '.join(sorted(found))}",
        )
    return found

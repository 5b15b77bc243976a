"""Where everything stands: sources, consumers, dead letters. Answers with any server missing.

What sources say of themselves is read from the control database, offsets from each target, the
topics' ends from Kafka; nobody who moves data is asked.
"""

import asyncio
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import orjson

from cdc.building import control_connect, declared_topics, kafka_connection, postgres_target
from cdc.operation.integration import open_errors, unknown_tombstones
from cdc.runtime.errors import LedgerError
from cdc.runtime.kafka_admin import describe_topics
from cdc.runtime.kafka_records import spans
from cdc.runtime.postgres import Connect, Connection, session, translated
from cdc.settings import Settings, TargetSettings
from schemas.entities import ENTITIES
from schemas.sql import query
from schemas.topics import entity_topic_name, target_group

T = TypeVar("T")

SERVER_SECONDS_MAX = 8.0
WORD_SECONDS = 6.0
"""So old a process's word may be while all is well; what is above that is lag, too."""
SILENT_SECONDS_MAX = 30.0
"""A process that has said nothing for so long is not there."""

Offsets = dict[tuple[str, int], int]
Ends = dict[tuple[str, int], tuple[int, int]]


@dataclass(frozen=True, slots=True)
class TargetState:
    """What one target's database tells."""

    offsets: Offsets
    dead_letters: int
    unassigned: int
    other_currency: int
    tombstones: list[dict[str, Any]]


@dataclass(slots=True)
class Status:
    """``document`` is the contract's JSON; ``problems`` says what each missing server answered."""

    document: dict[str, Any] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)


async def status(settings: Settings) -> Status:
    """Asks everybody at once, each for a bounded time."""
    found = Status()
    targets = list(settings.targets.items())
    seen, errors, ends, *states = await asyncio.gather(
        _asked(found, "control database", _observed(settings)),
        _asked(found, "control database", _integration_errors(settings)),
        _asked(found, "kafka", _ends(settings)),
        *(_asked(found, f"target {name}", _target(settings, name, each)) for name, each in targets),
    )
    told: list[TargetState] = [each for each in states if each is not None]
    found.document = {
        "sources": _sources(settings, seen),
        "consumers": [
            row
            for (name, target), state in zip(targets, states, strict=True)
            for row in _consumer(settings, name, target, state, ends)
        ],
        "dead_letters": {"open": sum(each.dead_letters for each in told) if told else None},
        "integration_errors": None
        if errors is None
        else [*errors, *(row for each in told for row in each.tombstones)],
        "unassigned_transactions": sum(each.unassigned for each in told) if told else None,
        "other_currency_transactions": sum(each.other_currency for each in told) if told else None,
        "missing": sorted(found.problems),
    }
    return found


async def _asked(found: Status, name: str, asking: Awaitable[T]) -> T | None:
    try:
        async with asyncio.timeout(SERVER_SECONDS_MAX):
            return await asking
    except TimeoutError:
        found.problems[name] = f"no answer within {SERVER_SECONDS_MAX:.0f} s"
    except LedgerError as error:
        found.problems[name] = str(error)
    return None


async def observed(connect: Connect) -> list[dict[str, Any]]:
    """What processes last said, the newest word of each name first."""
    async with session(connect) as connection:
        with translated("read observed"):
            rows = await connection.fetch(query("read_observed"))
    return [
        {
            "kind": row["kind"],
            "name": row["name"],
            "instance": row["instance"],
            "silent_seconds": row["silent_seconds"],
            **orjson.loads(row["state"]),
        }
        for row in rows
    ]


async def _observed(settings: Settings) -> list[dict[str, Any]]:
    return await observed(control_connect(settings))


async def _integration_errors(settings: Settings) -> list[dict[str, Any]]:
    async with session(control_connect(settings)) as connection:
        return await open_errors(connection)


async def _ends(settings: Settings) -> Ends:
    connection = kafka_connection(settings)
    prefix = settings.kafka.topic_prefix
    names = [entity_topic_name(prefix, entity) for entity in ENTITIES]
    # Asked for by name, a missing topic might come to be by the asking.
    topics = sorted(await describe_topics(connection, names))
    found = await asyncio.gather(*(spans(connection, topic) for topic in topics))
    return {
        (topic, partition): span
        for topic, each in zip(topics, found, strict=True)
        for partition, span in each.items()
    }


async def _target(settings: Settings, name: str, target: TargetSettings) -> TargetState:
    connect = postgres_target(target.dsn.get_secret_value()).connect
    group = target_group(settings.kafka.topic_prefix, name)
    async with session(connect) as connection:
        with translated("read target", name):
            offsets = await connection.fetch(query("read_offsets"), group)
            letters = await connection.fetch(query("count_open_dead_letters"))
            takes = "accounting" in target.domains
            return TargetState(
                {(row["topic"], row["partition"]): row["next_offset"] for row in offsets},
                sum(row["count"] for row in letters),
                await _count(connection, "count_unassigned") if takes else 0,
                await _count(connection, "count_other_currency") if takes else 0,
                await unknown_tombstones(connection) if "budget" in target.domains else [],
            )


async def _count(connection: Connection, name: str) -> int:
    return int(await connection.fetchval(query(name)))


def _sources(settings: Settings, seen: list[dict[str, Any]] | None) -> list[dict[str, Any]]:
    """Configured sources, and those that others run: each with its newest word."""
    newest: dict[str, Mapping[str, Any]] = {}
    for each in seen or ():
        if each["kind"] == "source":
            newest.setdefault(each["name"], each)
    names = [*settings.sources, *sorted(newest.keys() - settings.sources.keys())]
    return [_source(name, newest.get(name), known=seen is not None) for name in names]


def _source(name: str, said: Mapping[str, Any] | None, *, known: bool) -> dict[str, Any]:
    if said is None:
        return {
            "name": name,
            "state": None,
            "reason": "no process runs it" if known else None,
            "lag_seconds": None,
            "last_event_at": None,
            "events_total": None,
        }
    silent: float = said["silent_seconds"]
    alive = silent <= SILENT_SECONDS_MAX
    lag = said.get("lag_seconds")
    return {
        "name": name,
        "state": said.get("state") if alive else None,
        "reason": said.get("reason") or None
        if alive
        else f"no process runs it: the last word is {silent:.0f} s old",
        "lag_seconds": None if lag is None else round(lag + max(0.0, silent - WORD_SECONDS), 3),
        "last_event_at": said.get("last_event_at"),
        "events_total": said.get("events_total"),
        "reading": said.get("reading") or {},
    }


def _consumer(
    settings: Settings,
    name: str,
    target: TargetSettings,
    state: TargetState | None,
    ends: Ends | None,
) -> list[dict[str, Any]]:
    """A row for each partition of the topics that the target takes."""
    declared = {topic.name: topic.partitions for topic in declared_topics(settings)}
    rows = []
    for entity in ENTITIES:
        if ENTITIES[entity].domain not in target.domains:
            continue
        topic = entity_topic_name(settings.kafka.topic_prefix, entity)
        for partition in range(declared[topic]):
            place = (topic, partition)
            following = None if state is None else state.offsets.get(place)
            start, end = (None, None) if ends is None else ends.get(place, (None, None))
            lag = None
            if state is not None and end is not None and start is not None:
                lag = max(0, end - (start if following is None else following))
            rows.append(
                {
                    "target": name,
                    "topic": topic,
                    "partition": partition,
                    "next_offset": following,
                    "end_offset": end,
                    "lag_records": lag,
                }
            )
    return rows

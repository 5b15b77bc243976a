"""Our topics on the broker, held against their declaration in ``schemas.topics``.

What is missing is created. What differs is told, with the line that mends it, and never changed
from here: a person decides about a topic that holds data.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from cdc.runtime.errors import Unfit
from cdc.runtime.kafka import KafkaConnection
from cdc.runtime.kafka_admin import (
    BROKER_DEFAULT_REPLICATION,
    TopicState,
    TopicWish,
    create_topics,
    describe_topics,
    usable,
)
from schemas.topics import (
    ENTITY_PARTITIONS,
    Topic,
    cursors_topic,
    dead_letters_topic,
    entity_topic,
)

CURSORS, DEAD_LETTERS = "cursors", "dead_letters"
NAMES_MAX = 3
"""So many missing topics are named in one line."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing about a topic that is not as declared. ``found`` None: the topic is missing.

    ``fix``: what a person can do about it, a command where there is one.
    """

    topic: str
    what: str
    declared: str
    found: str | None
    fix: str

    def __str__(self) -> str:
        if self.found is None:
            return f"{self.topic} does not exist; {self.fix}"
        return f"{self.topic}: {self.what} is {self.found}, not {self.declared}; {self.fix}"


def declared_topics(
    prefix: str, entities: Iterable[str], partitions: Mapping[str, int] | None = None
) -> list[Topic]:
    """Every topic of a prefix; ``partitions`` overrides the count of the entities it names."""
    counts = partitions or {}
    return [
        *(
            entity_topic(prefix, entity, counts.get(entity, ENTITY_PARTITIONS))
            for entity in sorted(entities)
        ),
        cursors_topic(prefix),
        dead_letters_topic(prefix),
    ]


async def differences(
    connection: KafkaConnection, topics: Sequence[Topic], *, replication: int | None = None
) -> list[Difference]:
    """What is not as declared; nothing is changed. ``replication`` None: any will do."""
    found = await describe_topics(connection, [topic.name for topic in topics])
    return [
        difference
        for topic in topics
        for difference in _compared(topic, found.get(topic.name), replication, connection)
    ]


async def bring_up(
    connection: KafkaConnection, topics: Sequence[Topic], *, replication: int | None = None
) -> tuple[list[str], list[Difference]]:
    """Creates what is missing; returns the names created, and what still differs. Idempotent."""
    existing = await describe_topics(connection, [topic.name for topic in topics])
    missing = [topic for topic in topics if topic.name not in existing]
    created: list[str] = []
    if missing:
        factor = BROKER_DEFAULT_REPLICATION if replication is None else replication
        created = await create_topics(
            connection,
            [TopicWish(topic.name, topic.partitions, factor, topic.config) for topic in missing],
        )
        await usable(connection, [topic.name for topic in missing])
    return created, await differences(connection, topics, replication=replication)


async def require(connection: KafkaConnection, topics: Sequence[Topic]) -> None:
    """Raises ``Unfit`` (several as a group) for what is missing or differs; what a start needs."""
    found = await differences(connection, topics)
    missing = [each.topic for each in found if each.found is None]
    errors = [
        Unfit(
            f"{each.what} is {each.found}, not {each.declared}", subject=each.topic, hint=each.fix
        )
        for each in found
        if each.found is not None
    ]
    if missing:
        names = ", ".join(missing[:NAMES_MAX]) + (", …" if len(missing) > NAMES_MAX else "")
        reason = f"{len(missing)} of {len(topics)} topics do not exist: {names}"
        errors.append(Unfit(reason, operation="check topics", hint="run `cdc topics`"))
    if errors:
        raise errors[0] if len(errors) == 1 else ExceptionGroup("topics are unfit", errors)


def _compared(
    topic: Topic, state: TopicState | None, replication: int | None, connection: KafkaConnection
) -> list[Difference]:
    if state is None:
        return [Difference(topic.name, "topic", "present", None, "run `cdc topics`")]
    server = f"--bootstrap-server {connection.bootstrap_servers}"
    found = []
    if state.partitions != topic.partitions:
        found.append(
            Difference(
                topic.name,
                "partitions",
                str(topic.partitions),
                str(state.partitions),
                _partitions_fix(topic.name, state.partitions),
            )
        )
    if replication is not None and state.replication != replication:
        found.append(
            Difference(
                topic.name,
                "replication factor",
                str(replication),
                str(state.replication),
                f"kafka-reassign-partitions.sh {server} …, or change [kafka] replication_factor",
            )
        )
    for name, wanted in topic.config.items():
        value = state.config.get(name, "")
        if value != wanted:
            fix = (
                f"kafka-configs.sh {server} --alter --entity-type topics"
                f" --entity-name {topic.name} --add-config {name}={wanted}"
            )
            found.append(Difference(topic.name, name, wanted, value, fix))
    return found


def _partitions_fix(topic: str, found: int) -> str:
    anew = "make the topic anew: counts are fixed for a topic's life"
    *_, domain, entity = topic.split(".")
    if entity in (CURSORS, DEAD_LETTERS):
        return anew
    return (
        f'say so in the configuration ([kafka.partitions] "{domain}.{entity}" = {found}), or {anew}'
    )

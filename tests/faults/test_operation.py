"""Our processes as an operator meets them: signals, deaths of their parts, wrong configuration."""

import asyncio
import signal

import pytest

from tests.crash.nursery import Nursery
from tests.faults.system import SETTLED_SECONDS_MAX, System, quick

DRAIN_SECONDS_MAX = 20.0
"""Above the 15 s after which what has not drained by itself is cut short, and that is no exit 0."""
DEATH_SECONDS_MAX = 60.0
ROUNDS = 5


async def test_o1_a_soft_stop_at_any_moment_drains_and_leaves_nothing_open(
    way: System, nursery: Nursery
) -> None:
    """Exit 0 in time, no transaction left open, and nothing lost over many such stops."""
    writer = way.writer(11)
    await writer.found(60)
    async with way.writing(writer):
        for number in range(ROUNDS):
            source = await quick(way, nursery)
            consumer = await quick(way, nursery, "consume")
            for log in (way.source.log, way.consumer.log):
                await way.heard('"started"', number + 1, log)
            wanted = writer.written + 3 * number * number
            await way.until(lambda n=wanted: _reached(writer.written, n), "the writer goes on")
            for life in (source, consumer):
                life.signal(signal.SIGTERM)
            async with asyncio.timeout(DRAIN_SECONDS_MAX):
                assert await source.ended == 0, way.last_words()
                assert await consumer.ended == 0, way.last_words()
            await way.until(way.settled, "nothing is open", SETTLED_SECONDS_MAX)
    way.source.start()
    way.consumer.start()
    await way.require_right()


async def _reached(there: int, wanted: int) -> bool:
    return there >= wanted


PARTS = {
    "the source's loop": ("run", "MongoSource._send_ahead > mongo getMore before"),
    "the publisher": ("run", "Batches._submitted > kafka producer.send_batch before"),
    "the whole read": ("run", "Pages._command > mongo find before"),
    "ownership": ("run", "Ownership._be_member > kafka consumer.getmany before"),
    "the control tie": ("run", "ControlTie._observe > postgres execute INSERT"),
    "the consumer's loop": ("consume", "Feed.poll > kafka consumer.getmany before"),
    "applying": ("consume", "move_offsets > postgres execute"),
    "the keeper": ("consume", "Keeper._observe > postgres execute INSERT"),
    "missed deletes": ("consume", "MissedDeletes.look > postgres fetch"),
}


@pytest.mark.parametrize("part", PARTS)
async def test_o4_the_death_of_any_part_ends_the_process_and_says_why(
    way: System, nursery: Nursery, part: str
) -> None:
    """No part dies in silence while the rest looks healthy; what is committed stays right."""
    verb, point = PARTS[part]
    writer = way.writer(12)
    await writer.found(20)
    if verb == "consume":
        way.source.start()
        await way.all_published()
    life = await quick(way, nursery, verb, ONLY=point, RAISES="yes")
    async with asyncio.timeout(DEATH_SECONDS_MAX):
        assert await life.ended == 1, way.last_words()
    log = way.source.log if verb == "run" else way.consumer.log
    assert way.told("task died", log) == 1
    assert way.told("ZeroDivisionError", log) >= 1
    await quick(way, nursery, verb)
    if verb == "run":
        way.consumer.start()
    await way.require_right()


WRONG = """
book = "acme"
instnce = "one"
[kafka]
bootstrap_servers = "127.0.0.1:1"
topic_prefix = "no blanks"
[targets.main]
dsn = "mysql://user:hunter2@127.0.0.1/ledger"
[sources.property]
type = "mongodb"
uri = "mongodb://user:hunter2@127.0.0.1:1/property?replicaSet=rs0"
[[sources.property.mappings]]
collection = "payments"
entity = "accounting.transaction"
fields = { id = "_id", amount = { path = "amount", type = "decimal" } }
"""


async def test_o5_everything_wrong_with_the_configuration_is_told_at_once(way: System) -> None:
    """Exit 2, each fault with its place, no secret, no traceback, and nothing was started."""
    way.config.write_text(WRONG)
    way.source.start()
    assert await way.source.ended() == 2
    said = way.source.log.read_text()
    for place in ("instnce", "topic_prefix", "targets.main.dsn", "accounting.transaction"):
        assert place in said
    assert "hunter2" not in said
    assert "Traceback" not in said

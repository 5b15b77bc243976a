"""What a person asks of a source's owner: whole reads, and another cluster's cursor accepted."""

import msgspec

from cdc.cursors import decode_cursor, encode_cursor
from cdc.kafka.live_broker import KafkaBroker
from compose.stack.process import until
from schemas.envelope import Event
from schemas.topics import cursor_partition, cursors_topic
from tests.e2e.company import BOOK, SECONDS_MAX, Company


async def test_a_resync_is_taken_by_the_owner_or_by_the_next_one(company: Company) -> None:
    await company.prepared()
    await company.documents["users"].insert_one({"_id": "u1", "name": "Ann"})
    before = await company.daemon("run")
    await before.read_whole()
    assert await before.stop() == 0
    asked = await company.cdc("resync", "property", "--json")
    assert asked.code == 0
    assert asked.document["is_run"] is False
    assert "nobody runs property now" in asked.err
    source = await company.daemon("run")
    # A whole read waits for the cluster's time to move on: on an idle server up to 10 s.
    await company.documents["other"].insert_one({})
    await company.has("SELECT FROM sync.requests WHERE state = 'done'")

    async def seen() -> bool:
        return (await company.status())["sources"][0]["state"] is not None

    await until(seen, SECONDS_MAX, "the source says that it runs")
    await company.documents["other"].insert_one({})
    waited = await company.cdc("resync", "property", "--collection", "users", "--wait", "--json")
    assert (waited.code, waited.document["state"]) == (0, "done"), waited
    wrong = await company.cdc("resync", "property", "--collection", "none", "--wait", "--json")
    assert wrong.code == 1
    assert "mapped are payments, properties, users" in wrong.document["error"]
    series = await source.series()
    read = 'cdc_source_events_total{entity="accounting.owners",op="r",source="property"}'
    assert series[read] == 2  # the one that was waiting, and the other


async def test_a_cursor_of_another_cluster_is_refused_until_a_person_accepts_it(
    company: Company,
) -> None:
    await company.prepared()
    await company.documents["users"].insert_one({"_id": "u1", "name": "Ann"})
    source = await company.daemon("run")
    assert await source.stop() == 0
    await _make_foreign(company)

    refused = await company.cdc("run")
    assert refused.code == 3
    assert "replica_set_id was another" in refused.err
    assert "cdc resync property --accept" in refused.err
    assert (await company.cdc("resync", "property", "--accept")).code == 0
    await company.daemon("run")
    await company.has("SELECT FROM sync.requests WHERE state = 'done'")


async def _make_foreign(company: Company) -> None:
    """The cursor, as if it had been written of another replica set."""
    broker = KafkaBroker(
        company.kafka, prefix=company.prefix, book=BOOK, source="property", topics=()
    )
    publisher = broker.publisher()
    await publisher.start()
    try:
        ((key, value),) = (await broker.cursors()).items()
        cursor = decode_cursor(value or b"")
        identity = {**cursor.identity, "replica_set_id": "another"}
        foreign = msgspec.structs.replace(cursor, identity=identity)
        topic, partition = cursors_topic(company.prefix).name, cursor_partition(BOOK, "property")
        await publisher.publish([], [Event(topic, partition, key, encode_cursor(foreign), [])])
    finally:
        await publisher.close()

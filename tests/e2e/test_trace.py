"""`cdc trace`: from a number in a table to the event that made it."""

from dataclasses import replace

from bson import Decimal128

from compose.stack.ports import LOOPBACK
from consumers.trace import trace
from tests.conftest import Addresses
from tests.consumer_world import applied, make_world, payment
from tests.e2e.company import Company

PAYMENT = {"propertyId": "p1", "type": "income", "amount": Decimal128("120.50"), "status": "paid"}
TABLE = "accounting.transactions"


async def test_a_row_is_traced_to_its_event_and_a_damaged_one_is_found_out(
    company: Company,
) -> None:
    await company.prepared()
    payments = company.documents["payments"]
    row_id = str((await payments.insert_one(dict(PAYMENT))).inserted_id)
    source = await company.daemon("run")
    await source.read_whole()
    consumer = await company.daemon("consume")
    await payments.update_one({}, {"$set": {"amount": Decimal128("99.95")}})
    await company.has("SELECT FROM accounting.transactions WHERE amount = 99.95")

    traced = await company.cdc("trace", TABLE, row_id, "--json")
    assert (traced.code, traced.document["ok"]) == (0, True), traced
    (found,) = traced.document["traced"]
    row, event = found["row"], found["event"]
    assert found["agrees"] is True
    assert (row["amount"], row["source"], row["book"]) == ("99.95", "property", "acme")
    assert event["key"] == {"book": "acme", "id": row_id, "source": "property"}
    assert (event["value"]["op"], event["value"]["after"]["amount"]) == ("u", "99.95")
    assert event["value"]["source"]["collection"] == "payments"
    assert event["value"]["source"]["change_version"] == row["version"]
    assert event["headers"]["transaction_hash"] == row["transaction_hash"]
    assert [event[name] for name in ("topic", "partition", "offset")] == [
        row[name] for name in ("topic", "partition", "offset")
    ]
    shown = await company.cdc("trace", TABLE, row_id, "--source", "property")
    assert shown.code == 0
    assert shown.out.endswith("the row is what the event says\n")
    place = f"from {row['topic']}:{row['partition']} at offset {row['offset']}"
    assert {place, "  amount: 99.95", "  collection: payments"} <= set(shown.out.splitlines())

    assert await consumer.stop() == 0
    await company.row("UPDATE accounting.transactions SET amount = 1")
    damaged = await company.cdc("trace", TABLE, row_id)
    assert damaged.code == 1
    heal = damaged.out.rpartition("`cdc ")[2].partition(" --dry-run`")[0]
    assert (await company.cdc(*heal.split())).code == 0
    assert (await company.cdc("trace", TABLE, row_id)).code == 0

    await payments.delete_one({})
    await company.daemon("consume")
    await company.has("SELECT FROM accounting.transactions WHERE deleted")
    (deleted,) = (await company.cdc("trace", TABLE, row_id, "--json")).document["traced"]
    assert (deleted["event"]["value"]["op"], deleted["agrees"]) == ("d", True)


GONE = "not on the topic any more"
ALTERED = {
    "behind the topic's end": ('"offset" = "offset" + 1000', GONE),
    "another row's": (
        '(partition, "offset") ='
        ' (SELECT partition, "offset" FROM accounting.transactions WHERE id <> $1)',
        GONE,
    ),
    "of a topic that is gone": ("topic = topic || '.gone'", GONE),
    "of a partition that is gone": ("partition = 99", GONE),
    "of a row that was deleted": ("deleted = true, topic = 'gone'", "compacted away"),
    "of another version": ("version = set_byte(version, 13, 9)", "another version of this row"),
    "none": ("topic = NULL", "it names no event"),
}
"""What becomes of a row's lineage, as after a compaction, or by hand; and what is told."""
LINEAGE = '(topic, partition, "offset", version, deleted)'


async def test_an_event_that_is_gone_and_a_row_that_never_was_are_told(company: Company) -> None:
    await company.prepared()
    payments = company.documents["payments"]
    row_id = str((await payments.insert_one(dict(PAYMENT))).inserted_id)
    await payments.insert_one(dict(PAYMENT))
    await company.daemon("run")
    consumer = await company.daemon("consume")
    await company.has("SELECT FROM accounting.transactions HAVING count(*) = 2")
    assert await consumer.stop() == 0
    before = await company.row(
        f"SELECT {LINEAGE[1:-1]} FROM accounting.transactions WHERE id = $1", row_id
    )
    for what, (change, said) in ALTERED.items():
        await company.row(f"UPDATE accounting.transactions SET {change} WHERE id = $1", row_id)
        gone = await company.cdc("trace", TABLE, row_id, "--json")
        (traced,) = gone.document["traced"]
        assert (gone.code, traced["event"], traced["agrees"]) == (0, None, None), what
        assert said in traced["reason"], what
        await company.row(
            f"UPDATE accounting.transactions SET {LINEAGE} = ($2, $3, $4, $5, $6) WHERE id = $1",
            *(row_id, *before),
        )
    shown = await company.cdc("trace", TABLE, row_id)
    assert shown.out.endswith("the row is what the event says\n")

    for words, said in (
        ((TABLE, "none"), f"no row none in {TABLE}"),
        ((TABLE, row_id, "--source", "ynab"), f"no row {row_id} of source ynab in {TABLE}"),
        (("accounting.transaction", row_id), "did you mean accounting.transactions?"),
    ):
        refused = await company.cdc("trace", *words)
        assert refused.code == 2
        assert said in refused.err
        assert refused.out == ""
    away = await company.cdc("trace", TABLE, row_id, KAFKA_BOOTSTRAP_SERVERS=f"{LOOPBACK}:1")
    assert away.code == 3  # a broker that does not answer says nothing about the row
    assert (away.out, "Traceback" in away.err) == ("", False)


async def test_an_event_that_cannot_be_read_any_more_says_nothing_about_its_row(
    stack: Addresses, database: str, topic_prefix: str
) -> None:
    """As after another version of the schema: the row may well be what it said."""
    world = await make_world(stack.kafka_bootstrap_servers, database, topic_prefix)
    first = payment("t1", 1)
    await world.publish(first, replace(first, headers=(("schema", b"accounting.transactions/99"),)))
    await applied(world)
    await world.database.execute('UPDATE accounting.transactions SET "offset" = "offset" + 1')
    (found,) = await trace(world.settings, TABLE, "t1", None)
    assert found.agrees is None
    assert "cannot be read any more" in (found.reason or "")
    assert found.event is not None
    assert found.event["headers"] == {"schema": "accounting.transactions/99"}
    await world.database.close()

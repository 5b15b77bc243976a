"""The commands on real servers, as a person and a script meet them."""

import asyncio
import json
import signal
import socket

import asyncpg
import pytest
from bson import Decimal128

from compose.stack.ports import LOOPBACK
from compose.stack.process import until
from tests.e2e.company import BOOK, PARTITIONS, SECONDS_MAX, Company

PAYMENT = {"propertyId": "h1", "amount": Decimal128("12.50"), "type": "rent", "status": "paid"}


async def test_from_an_empty_machine_to_a_fit_one(company: Company) -> None:
    before = await company.cdc("check", "--json")
    assert before.code == 3
    failed = {each["name"] for each in before.document["checks"] if each["outcome"] == "fail"}
    assert failed == {"topics", "migrations"}
    assert all(each["fix"] for each in before.document["checks"] if each["outcome"] == "fail")
    assert (await company.cdc("migrate", "--check")).code == 3
    assert (await company.cdc("topics", "--check")).code == 3

    migrated = await company.cdc("migrate", "--json")
    assert migrated.code == 0
    assert migrated.document["databases"][0]["applied"]
    created = await company.cdc("topics", "--json")
    assert created.code == 0
    assert f"{company.prefix}.accounting.transactions" in created.document["created"]
    assert "already_current" in (await company.cdc("migrate")).out
    assert "already_current" in (await company.cdc("topics")).out
    assert (await company.cdc("migrate", "--check")).code == 0

    await company.documents["payments"].insert_many([dict(PAYMENT), dict(PAYMENT)])
    bad = await company.documents["payments"].insert_one({"amount": "12,50"})
    after = await company.cdc("check", "--json")
    assert after.code == 0, after.out
    (payments,) = [
        each
        for each in after.document["mappings"]
        if each["mapping"] == "payments:accounting.transactions"
    ]
    assert set(payments) == {"source", "mapping", "sampled", "mapped", "unmapped"}
    assert (payments["source"], payments["sampled"], payments["mapped"]) == ("property", 3, 2)
    (rule,) = payments["unmapped"]
    assert (rule["path"], rule["count"]) == ("amount", 1)
    assert rule["example_ids"] == [str(bad.inserted_id)]
    assert "12,50" not in after.out


async def test_a_source_and_a_consumer_run_and_tell_what_they_do(company: Company) -> None:
    await company.prepared()
    idle = await company.status()
    assert [(each["name"], each["state"]) for each in idle["sources"]] == [("property", None)]
    source = await company.daemon("run")
    consumer = await company.daemon("consume")
    await source.read_whole()
    await company.documents["properties"].insert_one({"_id": "h1", "name": "House"})
    await company.documents["payments"].insert_one(dict(PAYMENT))
    await company.documents["payments"].insert_one({**PAYMENT, "propertyId": None})
    await company.documents["payments"].insert_one({**PAYMENT, "currency": "EUR"})
    await company.documents["payments"].insert_one({"amount": "12,50"})
    await company.has("SELECT FROM accounting.properties WHERE book = $1 AND id = 'h1'", BOOK)
    await company.has("SELECT FROM sync.dead_letters")

    async def counted() -> bool:
        return (await company.status())["sources"][0]["events_total"] == 4

    await until(counted, SECONDS_MAX, "the events are counted")
    status = await company.status()
    assert set(status) == {
        "sources",
        "consumers",
        "dead_letters",
        "integration_errors",
        "unassigned_transactions",
        "other_currency_transactions",
        "missing",
    }
    assert status["sources"][0]["state"] in ("streaming", "idle")
    assert status["sources"][0]["lag_seconds"] < SECONDS_MAX
    assert set(status["consumers"][0]) == {
        "target",
        "topic",
        "partition",
        "next_offset",
        "end_offset",
        "lag_records",
    }
    assert status["dead_letters"] == {"open": 1}
    assert status["unassigned_transactions"] == 1
    assert status["other_currency_transactions"] == 1
    assert status["missing"] == []

    series = await source.series()
    for name in (
        "cdc_source_lag_seconds",
        "cdc_source_events_total",
        "cdc_source_last_progress_timestamp_seconds",
        "cdc_publish_transactions_total",
        "cdc_build_info",
    ):
        assert any(each.startswith(name) for each in series), name
    loops = (await consumer.get("/livez")).json()["loops"]
    assert list(loops) == ["consumer main"]
    created = 'cdc_source_events_total{entity="accounting.properties",op="c",source="property"}'
    assert series[created] == 1
    assert [await daemon.stop() for daemon in company.running] == [0, 0]
    gone = await company.status()
    assert gone["sources"][0]["state"] is None
    assert "no process" in gone["sources"][0]["reason"]


async def test_a_dead_letter_is_listed_shown_and_closes_when_its_document_is_mended(
    company: Company,
) -> None:
    await company.prepared()
    source = await company.daemon("run")
    consumer = await company.daemon("consume")
    await source.read_whole()
    bad = await company.documents["payments"].insert_one({"amount": "12,50"})
    await company.has("SELECT FROM sync.dead_letters")
    counted = 'cdc_source_dead_letters_total{entity="accounting.transactions",source="property"}'
    await source.counts(counted, 1)
    said = await source.logged("document does not map")
    assert (said["document_id"], said["path"]) == (str(bad.inserted_id), "amount")
    assert (await consumer.logged("dead letter"))["document_id"] == str(bad.inserted_id)
    listed = await company.cdc("dead-letters", "list", "--json")
    (letter,) = listed.document["dead_letters"]
    assert (letter["document_id"], letter["path"]) == (str(bad.inserted_id), "amount")
    shown = await company.cdc("dead-letters", "show", str(letter["id"]))
    assert "amount" in shown.out
    for verb in ("show", "retry", "drop"):
        unknown = await company.cdc("dead-letters", verb, "99999")
        assert (unknown.code, "no dead letter 99999" in unknown.err) == (2, True)

    await company.documents["payments"].update_one(
        {"_id": bad.inserted_id}, {"$set": {"amount": Decimal128("12.50")}}
    )
    await company.has("SELECT FROM accounting.transactions WHERE id = $1", str(bad.inserted_id))
    assert (await company.cdc("dead-letters", "list", "--json")).document["dead_letters"] == []


async def test_replay_mends_what_was_damaged(company: Company) -> None:
    await company.prepared()
    source = await company.daemon("run")
    consumer = await company.daemon("consume")
    await source.read_whole()
    await company.documents["payments"].insert_many([dict(PAYMENT) for _ in range(10)])
    topic = f"{company.prefix}.accounting.transactions"

    async def arrived() -> bool:
        row = await company.row("SELECT count(*) FROM accounting.transactions")
        return bool(row[0] == 10)

    await until(arrived, SECONDS_MAX, "the rows")
    await consumer.stop()
    await company.row("UPDATE accounting.transactions SET reference = 'damaged' RETURNING 1")
    dry = await company.cdc("replay", topic, "--from", "0", "--dry-run", "--json")
    assert dry.code == 0
    assert dry.document == {
        "read": 10,
        "keys": 10,
        "inserted": 0,
        "updated": 0,
        "healed": 10,
        "unchanged": 0,
        "parked": 0,
    }
    later = await company.cdc("replay", topic, "--from", "2999-01-01T00:00:00Z", "--json")
    assert later.document["keys"] == 0
    done = await company.cdc("replay", topic, "--from", "2026-01-01", "--json")
    assert done.document["healed"] == 10
    assert await company.row(
        "SELECT 1 WHERE NOT EXISTS (SELECT FROM accounting.transactions"
        " WHERE reference = 'damaged')"
    )
    wrong = await company.cdc("replay", f"{topic}s", "--from", "0")
    assert wrong.code == 2
    assert f"did you mean {topic}?" in wrong.err


NOBODY = f"{LOOPBACK}:1"
BAD_STARTS: tuple[tuple[str, dict[str, str], str, str], ...] = (
    ("run", {"KAFKA_BOOTSTRAP_SERVERS": NOBODY}, "no answer from Kafka", "cdc check"),
    ("consume", {"KAFKA_BOOTSTRAP_SERVERS": NOBODY}, "no answer from Kafka", "cdc check"),
    ("run", {"MONGODB_URI": f"mongodb://{NOBODY}/x"}, NOBODY, "start mongod"),
    ("consume", {"DATABASE_URL": f"postgresql://{NOBODY}/x"}, NOBODY, "start PostgreSQL"),
    ("run", {"CDC_KAFKA__TOPIC_PREFIX": "none"}, "topics do not exist", "run `cdc topics`"),
    ("consume", {"CDC_KAFKA__TOPIC_PREFIX": "none"}, "topics do not exist", "run `cdc topics`"),
    (
        "run",
        {"CDC_KAFKA__PARTITIONS": json.dumps({**PARTITIONS, "accounting.owners": 3})},
        "partitions is 2, not 3",
        "[kafka.partitions]",
    ),
)


async def test_what_is_missing_at_the_start_ends_it_with_3_and_one_line(company: Company) -> None:
    await company.prepared()
    nowhere = {"CDC_HTTP__LISTEN": "", "CDC_HTTP__CONSUMER_LISTEN": ""}
    starts = [company.cdc(verb, **nowhere, **changed) for verb, changed, _, _ in BAD_STARTS]
    for (verb, changed, told, fix), ended in zip(
        BAD_STARTS, await asyncio.gather(*starts), strict=True
    ):
        assert ended.code == 3, (verb, changed, ended.err)
        lines = [line for line in ended.err.splitlines() if line.startswith("error: ")]
        assert len(lines) == 1, lines
        assert told in lines[0]
        assert fix in lines[0]
        assert "Traceback" not in ended.err


async def test_a_database_that_is_not_migrated_stops_the_consumer_only(company: Company) -> None:
    assert (await company.cdc("topics")).code == 0
    ended = await company.cdc("consume")
    assert ended.code == 3
    assert "run `cdc migrate`" in ended.err
    source = await company.daemon("run")
    assert await source.stop() == 0


async def test_sources_go_on_without_the_control_database(company: Company) -> None:
    await company.prepared()
    source = await company.daemon("run", DATABASE_URL=f"postgresql://{NOBODY}/x")
    await source.read_whole()
    await company.documents["owners"].insert_one({"name": "not mapped"})
    await company.documents["users"].insert_one({"name": "Ann"})
    created = 'cdc_source_events_total{entity="accounting.owners",op="c",source="property"}'
    await source.counts(created, 1)
    assert await source.stop() == 0


async def test_status_answers_with_servers_missing(company: Company) -> None:
    await company.prepared()
    ended = await company.cdc("status", "--json", KAFKA_BOOTSTRAP_SERVERS=NOBODY)
    assert ended.code == 3
    assert ended.document["missing"] == ["kafka"]
    assert ended.document["dead_letters"] == {"open": 0}
    assert {each["end_offset"] for each in ended.document["consumers"]} == {None}
    ended = await company.cdc("status", "--json", DATABASE_URL=f"postgresql://{NOBODY}/x")
    assert ended.code == 3
    assert ended.document["missing"] == ["control database", "target main"]
    assert ended.document["dead_letters"] == {"open": None}
    assert ended.document["unassigned_transactions"] is None
    assert {each["end_offset"] for each in ended.document["consumers"]} == {0}
    assert ended.document["sources"][0]["state"] is None


async def test_a_taken_port_is_told_with_the_way_out(company: Company) -> None:
    await company.prepared()
    with socket.create_server((LOOPBACK, 0)) as taken:
        address = f"{LOOPBACK}:{taken.getsockname()[1]}"
        ended = await company.cdc("run", CDC_HTTP__LISTEN=address)
    assert ended.code == 3
    assert f"listen {address}: the port is taken" in ended.err
    assert "http.listen" in ended.err


async def test_a_second_signal_ends_a_drain_at_once(company: Company) -> None:
    await company.prepared()
    await company.daemon("run")
    consumer = await company.daemon("consume")
    blocker = await asyncpg.connect(company.database)
    await blocker.execute("BEGIN; LOCK TABLE accounting.transactions IN ACCESS EXCLUSIVE MODE")
    await company.documents["payments"].insert_one(dict(PAYMENT))

    async def waits() -> bool:
        query = (
            "SELECT FROM pg_locks JOIN pg_database AS d ON d.oid = database"  # others' wait too
            " WHERE NOT granted AND datname = current_database()"
        )
        return await blocker.fetchrow(query) is not None

    await until(waits, SECONDS_MAX, "the consumer waiting for the lock")
    consumer.process.send_signal(signal.SIGTERM)
    await consumer.logged("stop was asked for")
    consumer.process.send_signal(signal.SIGTERM)
    assert await consumer.ended() == 143
    await blocker.close()
    cut = [line for line in consumer.lines if line["event"] == "task is cut short"]
    assert "consumer main" in {line["task"] for line in cut}
    assert any("consumers/apply.py" in frame for line in cut for frame in line["stack"]), cut


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
async def test_a_signal_ends_a_command_that_waits(
    company: Company, number: signal.Signals, code: int
) -> None:
    await company.prepared()
    process = await company.start("resync", "property", "--wait")
    assert process.stderr is not None
    async with asyncio.timeout(SECONDS_MAX):
        while b"goes on if you leave" not in await process.stderr.readline():
            pass
        process.send_signal(number)
        assert await process.wait() == code


async def test_logs_hold_neither_secrets_nor_payloads(company: Company) -> None:
    await company.prepared()
    host = company.database.rpartition("@")[2]
    source = await company.daemon("run", DATABASE_URL=f"postgresql://postgres:hunter2@{host}")
    consumer = await company.daemon("consume", CDC_LOG__LEVEL="debug")
    payment = {**PAYMENT, "amount": Decimal128("98765.43")}  # no time of day, and no port
    await company.documents["payments"].insert_one({**payment, "description": "canary-4711"})
    await company.documents["payments"].insert_one({**payment, "amount": "canary-4711"})
    await company.has("SELECT FROM accounting.transactions")
    await company.has("SELECT FROM sync.dead_letters")
    assert [await daemon.stop() for daemon in (source, consumer)] == [0, 0]
    logs = source.log.read_text() + consumer.log.read_text()
    assert "document does not map" in logs
    assert "canary-4711" not in logs
    assert "hunter2" not in logs
    assert "98765.4" not in logs


async def test_health_pages_answer_while_servers_are_away(company: Company) -> None:
    await company.prepared()
    source = await company.daemon("run", DATABASE_URL=f"postgresql://{NOBODY}/x")

    async def told() -> bool:
        reply = await source.get("/readyz")
        seen = reply.json()["dependencies"]["control database"]
        return bool(reply.status_code == 200 and seen["state"] == "degraded")

    await source.until(told, "the missing database shown, and the source ready")
    live = await source.get("/livez")
    assert live.status_code == 200
    assert "source property" in live.json()["loops"]

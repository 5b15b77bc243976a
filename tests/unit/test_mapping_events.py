"""Events as other programs meet them: envelope, key, headers, partition, deletes, versions."""

from collections import Counter
from typing import Any

import orjson
import pytest
from bson import Decimal128, ObjectId

from cdc.mapping.builtin import TABLES
from cdc.mapping.declared import MappingDeclaration
from schemas.envelope import encode_key, event_id
from schemas.hashing import transaction_hash
from schemas.topics import EVENT_BYTES_MAX, partition_of
from schemas.version import ORDINAL_MAX, Version
from tests.mapping_world import (
    NOW_MS,
    POSITION,
    TIME_MS,
    TRANSACTIONS,
    change,
    letter,
    made,
    normaliser,
    row,
    told,
    transactions,
    value,
)

ID = ObjectId("64b000000000000000000001")
OLD = {"_id": ID, "amount": Decimal128("10.00"), "propertyId": "P-1", "description": "né"}
NEW = OLD | {"amount": Decimal128("11.00")}


@pytest.mark.parametrize(
    ("op", "snapshot", "before"),
    [("c", "false", None), ("u", "false", OLD), ("u", "false", None), ("r", "last", None)],
)
def test_the_whole_record(op: str, snapshot: str, before: Any) -> None:
    world = normaliser(partitions={TRANSACTIONS: 5})
    item = change(op, NEW, before)
    result = world.normalise([item], epoch=3, snapshot=snapshot)
    (event,) = result.events
    version = Version(3, POSITION, item.ordinal).encode()
    after = row(world, NEW)
    assert event.topic == "ledger.accounting.transactions"
    assert event.key == encode_key("acme", "property", str(ID))
    assert event.partition == partition_of(event.key, 5)
    assert value(event) == {
        "before": None if before is None else row(world, before),
        "after": after,
        "op": op,
        "source": {
            "version": "1",
            "connector": "mongodb",
            "name": "property",
            "ts_ms": TIME_MS,
            "snapshot": snapshot,
            "db": "property-management",
            "collection": "payments",
            "mapping": "payments:accounting.transactions",
            "change_version": version.hex(),
        },
        "ts_ms": NOW_MS,
    }
    own_id = event_id("acme", "property", version, TRANSACTIONS, str(ID))
    digest = transaction_hash("acme", "property", "P-1", str(ID), "11.00", "USD", None, "né")
    assert event.headers == [
        ("event_id", own_id.encode()),
        ("transaction_hash", digest.hex().encode()),
        ("schema", b"accounting.transactions/1"),
    ]
    assert result.counts == Counter({(TRANSACTIONS, op): 1})


def test_only_transactions_are_hashed() -> None:
    (event,) = made(normaliser(), change("c", {"_id": 1}, collection="users")).events
    assert [name for name, _ in event.headers] == ["event_id", "schema"]


def test_a_delete_is_followed_by_a_tombstone() -> None:
    result = made(normaliser(), change("d", None, OLD, raw_id=ID))
    deleted, tombstone = result.events
    assert value(deleted)["after"] is None
    assert value(deleted)["before"] == row(normaliser(), OLD)
    assert value(deleted)["op"] == "d"
    assert (tombstone.topic, tombstone.partition) == (deleted.topic, deleted.partition)
    assert (tombstone.key, tombstone.value, tombstone.headers) == (deleted.key, None, [])
    assert result.counts == Counter({(TRANSACTIONS, "d"): 1})


def test_a_delete_needs_nothing_but_the_id() -> None:
    deleted, tombstone = made(normaliser(), change("d", raw_id=ID)).events
    assert value(deleted)["before"] is None
    assert deleted.key == encode_key("acme", "property", str(ID)) == tombstone.key


def test_an_old_state_that_does_not_map_is_unknown() -> None:
    broken = OLD | {"amount": "ten", "description": "\udcff"}
    for before in (broken, OLD | {"description": "\udcff"}):
        (event,) = made(normaliser(), change("u", NEW, before)).events
        assert value(event)["before"] is None
    assert made(normaliser(), change("u", NEW, broken)).faults == []


def test_an_update_of_what_is_gone_waits_for_the_delete() -> None:
    result = made(normaliser(), change("u", None, raw_id=ID))
    assert (result.events, result.faults) == ([], [])


def test_the_same_change_read_again_makes_the_same_records() -> None:
    changes = [change("c", NEW), change("c", NEW | {"amount": "x"}, ordinal=1)]
    one, other = (made(normaliser(), *changes) for _ in range(2))
    assert one == other
    assert len({dict(event.headers)["event_id"] for event in one.events}) == 2


def test_batches_do_not_change_what_is_made() -> None:
    changes = [change("c", {"_id": number, "amount": "x"}, ordinal=number) for number in range(4)]
    changes += [change("c", {"_id": 9, "amount": 1}, ordinal=4)]
    together = made(normaliser(), *changes).events
    alone = [made(normaliser(), each).events[0] for each in changes]
    assert together == alone


def test_every_event_has_the_time_of_its_change() -> None:
    changes = [change("c", NEW)._replace(time_ms=TIME_MS + late) for late in (0, 0, 5, 3)]
    times = [value(event)["source"]["ts_ms"] for event in made(normaliser(), *changes).events]
    assert times == [TIME_MS, TIME_MS, TIME_MS + 5, TIME_MS + 3]


def test_changes_keep_their_order_and_their_versions() -> None:
    changes = [change("c", NEW, ordinal=0), change("u", NEW, ordinal=1), change("d", raw_id=ID)]
    result = made(normaliser(), *changes)
    assert told(result) == [("c", str(ID)), ("u", str(ID)), ("d", str(ID)), ("-", str(ID))]
    versions = [value(event)["source"]["change_version"] for event in result.events[:2]]
    assert versions == sorted(versions)


def test_several_mappings_of_one_collection_each_make_an_event() -> None:
    world = normaliser(
        {"collection": "users", "entity": "accounting.owners", "fields": {"id": "_id"}},
        {
            "collection": "users",
            "entity": "accounting.properties",
            "id_prefix": "home:",
            "fields": {"id": "_id", "owner_id": {"path": "_id", "type": "ref"}},
        },
    )
    result = made(world, change("c", {"_id": 5}, collection="users"))
    assert told(result) == [("c", "int:5"), ("c", "home:int:5")]
    assert [value(event)["source"]["mapping"] for event in result.events] == [
        "users:accounting.owners",
        "users:accounting.properties:home:",
    ]
    assert world.collections == ("users",)
    assert world.entities == ("accounting.owners", "accounting.properties")
    assert world.topics == ("ledger.accounting.owners", "ledger.accounting.properties")
    assert world.names_by_collection == {"users": tuple(world.mappings)}


def test_collections_that_are_not_mapped_make_nothing() -> None:
    result = made(normaliser(), change("c", {"_id": 1}, collection="audit"))
    assert (result.events, result.faults) == ([], [])


def test_only_mapped_values_leave() -> None:
    secret = {"ssn": "123-45-6789", "nested": {"ssn": "123-45-6789"}, "list": ["123-45-6789"]}
    document = OLD | secret
    changes = [
        change("c", document),
        change("u", document, document),
        change("d", None, document),
        change("u", document | {"amount": "123-45-6789"}, document),
        change("u", document | {"date": "123-45-6789", "type": ["123-45-6789"]}, document),
    ]
    result = made(normaliser(), *changes)
    assert len(result.faults) == 2
    assert b"123-45-6789" not in b"".join(event.value or b"" for event in result.events)
    assert "123-45-6789" not in repr(result.faults)


def test_an_event_that_is_too_large_is_a_dead_letter() -> None:
    document = OLD | {"description": "x" * EVENT_BYTES_MAX}
    result = made(normaliser(), change("c", document))
    (fault,) = result.faults
    assert (fault.document_id, fault.path) == (str(ID), "")
    assert "larger" in fault.reason
    assert letter(result.events[0]).reason == fault.reason
    assert len(result.events[0].value or b"") < 1000


def test_an_event_too_large_only_with_its_old_state_goes_without_it() -> None:
    size = EVENT_BYTES_MAX * 2 // 3
    old, new = OLD | {"description": "x" * size}, OLD | {"description": "y" * size}
    (event,) = made(normaliser(), change("u", new, old)).events
    assert value(event)["before"] is None
    assert value(event)["after"]["description"][0] == "y"
    deleted, _ = made(normaliser(), change("d", None, old | {"reference": "z" * size})).events
    assert value(deleted)["before"] is None


def test_the_delete_of_a_row_that_is_no_more() -> None:
    world = normaliser()
    version = Version(0, POSITION, ORDINAL_MAX).encode()
    deleted, tombstone = world.deletion(
        "old:accounting.owners", "accounting.owners", "x/1", version, TIME_MS
    )
    assert deleted.topic == "ledger.accounting.owners"
    assert deleted.key == encode_key("acme", "property", "x/1") == tombstone.key
    content = value(deleted)
    assert (content["op"], content["before"], content["after"]) == ("d", None, None)
    assert content["source"]["mapping"] == "old:accounting.owners"
    assert content["source"]["collection"] == "old"
    assert content["source"]["change_version"] == version.hex()
    assert tombstone.value is None


def test_the_dead_letter_of_an_event_that_the_broker_refused() -> None:
    world = normaliser(transactions({}, id_prefix="p:"))
    (event,) = made(world, change("c", OLD)).events
    (dead,) = world.refused(event, "too large")
    found = letter(dead)
    assert (found.document_id, found.row_id) == (str(ID), f"p:{ID}")
    assert (found.collection, found.entity) == ("payments", TRANSACTIONS)
    assert found.version == value(event)["source"]["change_version"]
    assert "too large" in found.reason
    assert world.refused(dead, "too large") == []
    _, tombstone = made(world, change("d", raw_id=ID)).events
    assert world.refused(tombstone, "x") == []


def prints(**settings: Any) -> dict[str, str]:
    return normaliser(**settings).mappings


def test_a_fingerprint_changes_with_whatever_changes_its_events() -> None:
    usual = prints()
    assert usual == prints(clock_ms=lambda: 5, partitions={TRANSACTIONS: 3})
    assert usual == prints(settled_statuses=["posted", "PAID", "settled", "completed", "succeeded"])
    other = prints(settled_statuses=["paid"])
    assert other[f"payments:{TRANSACTIONS}"] != usual[f"payments:{TRANSACTIONS}"]
    assert other["users:accounting.owners"] == usual["users:accounting.owners"]
    other = prints(default_currency="EUR")
    assert {name for name in usual if usual[name] != other[name]} == {
        f"payments:{TRANSACTIONS}",
        "properties:accounting.properties",
    }


@pytest.mark.parametrize(
    "edit",
    [
        {"where": {"kind": "rent"}},
        {"deleted_when": {"gone": True}},
        {"rows": "lines[]"},
    ],
)
def test_an_edited_mapping_has_another_fingerprint(edit: dict[str, Any]) -> None:
    usual = normaliser(transactions({})).mappings
    edited = normaliser(transactions({}, **edit)).mappings
    assert usual.keys() == edited.keys()
    assert usual != edited


def test_a_release_that_changes_nothing_reads_nothing_whole() -> None:
    """Another value here means that every source is read whole: then it must be meant."""
    assert prints()[f"payments:{TRANSACTIONS}"] == "cfddca1498f11466fe2f0ef18c10e647"


def test_other_words_for_the_same_are_no_edit() -> None:
    table = TABLES[1]
    turned = table | {"fields": dict(reversed(table["fields"].items()))}
    longer = table | {"where": {}, "fields": table["fields"] | {"status": {"path": ["status"]}}}
    wordy = table | {
        "fields": table["fields"] | {"amount": {"path": "amount", "minor_units": False}}
    }
    usual = normaliser(table).mappings
    assert all(normaliser(each).mappings == usual for each in (turned, longer, wordy))


def test_an_undecodable_document_is_a_dead_letter() -> None:
    changes = [
        change("u", raw_id=ID, fault="the document cannot be decoded"),
        change("u", raw_id=None, fault="the document cannot be decoded", ordinal=1),
    ]
    result = made(normaliser(), *changes)
    assert [(each.document_id, each.row_id, each.path) for each in result.faults] == [
        (str(ID), str(ID), ""),
        (None, None, ""),
    ]
    found = letter(result.events[0])
    assert orjson.loads(result.events[0].key) == {
        "book": "acme",
        "document_id": str(ID),
        "entity": TRANSACTIONS,
        "mapping": f"payments:{TRANSACTIONS}",
        "source": "property",
    }
    assert (found.stage, found.reason) == ("map", "the document cannot be decoded")
    assert (found.version, found.ts_ms) == (
        Version(0, POSITION, 0).encode().hex(),
        NOW_MS,
    )


def test_the_delete_of_an_undecodable_document_still_deletes() -> None:
    result = made(normaliser(), change("d", raw_id=ID, fault="the document cannot be decoded"))
    assert told(result) == [("d", str(ID)), ("-", str(ID))]


def test_declarations_of_every_table_are_frozen() -> None:
    declared = MappingDeclaration.model_validate(TABLES[0])
    with pytest.raises(ValueError, match="frozen"):
        declared.collection = "x"  # type: ignore[misc]

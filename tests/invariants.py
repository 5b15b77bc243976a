"""The invariants of the design, checked from outside: pure functions over what was read back.

They know the contract (names on topics and in tables) and nothing of how it is kept: no part of
source, publisher or consumer is imported. Each returns the violations in words; none is good.

What is compared with the source's documents row by row is `compose.demo.compare`'s affair.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Any, NamedTuple

ORDINAL_MAX = 0xFFFF_FFFF
"""The ordinal of what a whole read publishes."""
COLLECTIONS = {"properties": "properties", "users": "owners", "payments": "transactions"}
"""The built-in shape: collection to table."""
SHOWN_MAX = 25
Place = tuple[str, int]


class Record(NamedTuple):
    """A committed record of an entity topic."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: dict[str, bytes]

    @property
    def place(self) -> str:
        return f"{self.topic}:{self.partition}@{self.offset}"


class Happened(NamedTuple):
    """A change in the source's own history; `row_id`: the contract's text of its `_id`."""

    collection: str
    op: str
    row_id: str
    position: int


class Version(NamedTuple):
    """The parts of a `change_version`."""

    epoch: int
    position: int
    ordinal: int

    @classmethod
    def of(cls, data: bytes) -> "Version":
        parts = (data[:2], data[2:10], data[10:])
        return cls(*(int.from_bytes(part, "big") for part in parts))


@dataclass
class Seen:
    """Everything that was read back, of one source and one target.

    `position` and `read_at`: of the cursor, and of the last whole read of each collection.
    `rows`: by table and id. `letters`: (table, row id) of open dead letters. `ends` and
    `stable_ends`: where each partition ends, with and without transactions that are open.
    `canaries`: texts that no mapping maps; `said`: everything else that was written (logs, rows).
    """

    book: str
    source: str
    records: Sequence[Record]
    history: Sequence[Happened] = ()
    position: int = -1
    read_at: Mapping[str, int] = field(default_factory=dict)
    rows: Mapping[str, Mapping[str, Mapping[str, Any]]] = field(default_factory=dict)
    totals: Sequence[Mapping[str, Any]] = ()
    letters: frozenset[tuple[str, str]] = frozenset()
    offsets: Mapping[Place, int] = field(default_factory=dict)
    ends: Mapping[Place, int] = field(default_factory=dict)
    stable_ends: Mapping[Place, int] = field(default_factory=dict)
    canaries: Sequence[str] = ()
    said: Sequence[str] = ()


def violations(seen: Seen) -> list[str]:
    """Everything that does not hold once all is quiet."""
    return [
        *ids_stand_once(seen.records),
        *versions_grow(seen.records),
        *cursor_is_true(seen),
        *tables_are_folds(seen),
        *totals_are_sums(seen.rows.get("transactions", {}).values(), seen.totals),
        *offsets_are_ends(seen.offsets, seen.stable_ends),
        *nothing_is_open(seen.ends, seen.stable_ends),
        *nothing_leaks(seen),
    ]


def require(found: Sequence[str], where: str = "") -> None:
    """Raises AssertionError with the violations."""
    if found:
        shown = "\n  ".join(found[:SHOWN_MAX])
        raise AssertionError(f"{len(found)} violations {where}:\n  {shown}")


def ids_stand_once(records: Iterable[Record]) -> list[str]:
    """No event id twice (a tombstone has no headers)."""
    first: dict[bytes, Record] = {}
    found = []
    for record in records:
        if record.value is None:
            continue
        event_id = record.headers.get("event_id", b"")
        if not event_id:
            found.append(f"{record.place} has no event id")
        elif (other := first.setdefault(event_id, record)) is not record:
            found.append(f"event {event_id.decode()} stands at {other.place} and {record.place}")
    return found


def versions_grow(records: Iterable[Record]) -> list[str]:
    """Versions of a key strictly grow along its partition; a tombstone follows its delete."""
    newest: dict[tuple[str, bytes], tuple[str, str]] = {}
    found = []
    for record in records:
        assert record.key is not None
        where = (record.topic, record.key)
        version, op = newest.get(where, ("", ""))
        if record.value is None:
            if op != "d":
                found.append(f"{record.place}: a tombstone after {op or 'nothing'}")
            continue
        value = json.loads(record.value)
        mine = value["source"]["change_version"]
        if mine <= version:
            found.append(f"{record.place}: {record.key!r} goes from {version} back to {mine}")
        newest[where] = (mine, value["op"])
    return found


def cursor_is_true(seen: Seen) -> list[str]:
    """Every acknowledged change up to the cursor is on the topics.

    Below the last whole read of a collection a later state of a key stands for its changes: the
    read held them. An update whose document was deleted before it could be looked up is left out,
    as its delete follows.
    """
    published: defaultdict[tuple[str, str], list[Version]] = defaultdict(list)
    for table, row_id, value, _ in _events(seen):
        published[table, row_id].append(_version(value))
    happened: defaultdict[tuple[str, str], list[Happened]] = defaultdict(list)
    for each in seen.history:
        if each.collection in COLLECTIONS and each.position <= seen.position:
            happened[COLLECTIONS[each.collection], each.row_id].append(each)
    found = []
    for key, changes in happened.items():
        if key not in seen.letters:
            found += _missing(key, changes, published[key], seen)
    return found


def _missing(
    key: tuple[str, str], changes: Sequence[Happened], versions: Sequence[Version], seen: Seen
) -> list[str]:
    last, floor = changes[-1], seen.read_at.get(changes[-1].collection, -1)
    if last.op == "delete" and last.position <= floor:
        return []
    newest = max((each.position for each in versions), default=-1)
    needed: Counter[int] = Counter()
    for number, each in enumerate(changes):
        read_since = each.position <= min(floor, newest)
        later_delete = any(after.op == "delete" for after in changes[number + 1 :])
        if not read_since and not (each.op == "update" and later_delete):
            needed[each.position] += 1
    there = Counter(each.position for each in versions)
    return [
        f"{count - there[position]} changes of {'/'.join(key)} at {position:x} are on no topic"
        for position, count in needed.items()
        if there[position] < count
    ]


def tables_are_folds(seen: Seen) -> list[str]:
    """Each row is the record of its key with the highest version, and nothing else is there.

    So a deleted row stays deleted, and an older event never comes after a newer one.
    """
    newest: dict[tuple[str, str], tuple[Version, dict[str, Any], Record]] = {}
    for table, row_id, value, record in _events(seen):
        version = _version(value)
        known = newest.get((table, row_id))
        if known is None or version > known[0]:
            newest[table, row_id] = (version, value, record)
    found = [
        f"{table}/{row_id} stands in the table and on no topic"
        for table, rows in seen.rows.items()
        for row_id in rows
        if (table, row_id) not in newest
    ]
    for key, (version, value, record) in newest.items():
        if key in seen.letters:
            continue
        row = seen.rows.get(key[0], {}).get(key[1])
        if row is None:
            found.append(f"{'/'.join(key)} of {record.place} is in no table")
            continue
        found += [f"{'/'.join(key)}: {text}" for text in _differs(row, version, value, record)]
    return found


def _differs(
    row: Mapping[str, Any], version: Version, value: Mapping[str, Any], record: Record
) -> list[str]:
    expected: dict[str, Any] = {
        "deleted": value["op"] == "d",
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
    }
    if value["op"] != "d":
        expected |= {name: each for name, each in value["after"].items() if name in row}
        if "transaction_hash" in row:
            expected["transaction_hash"] = bytes.fromhex(
                record.headers["transaction_hash"].decode()
            )
    differences = [
        f"{name} should be {each!r}, is {row[name]!r}"
        for name, each in expected.items()
        if not _equal(each, row[name])
    ]
    if Version.of(row["version"]) != version:
        differences.append(f"version should be {version}, is {Version.of(row['version'])}")
    return differences


def _equal(wire: Any, stored: Any) -> bool:
    """Whether a value of a topic and one of a table say the same."""
    if isinstance(stored, Decimal):
        return isinstance(wire, str) and Decimal(wire) == stored
    if isinstance(stored, datetime):
        return isinstance(wire, str) and datetime.fromisoformat(wire) == stored
    if isinstance(stored, date):
        return wire == stored.isoformat()
    if isinstance(wire, str):
        return bool(wire.replace("\0", "\ufffd") == stored)
    return bool(wire == stored)


def totals_are_sums(
    rows: Iterable[Mapping[str, Any]], totals: Iterable[Mapping[str, Any]]
) -> list[str]:
    """Kept totals are the sums over the live, settled rows; one that came to nothing may stay."""
    sums: defaultdict[tuple[str, str], list[Decimal]] = defaultdict(lambda: [Decimal(), Decimal()])
    for row in rows:
        if not row["deleted"] and row["settled"] and row["property_id"] is not None:
            side = 0 if row["type"] == "income" else 1
            sums[row["property_id"], row["currency"].upper()][side] += row["amount"]
    kept = {(each["property_id"], each["currency"]): each for each in totals}
    found = []
    for key in sums.keys() | kept.keys():
        income, expenses = sums[key]
        row = kept.get(key, {})
        expected = {"income": income, "expenses": expenses, "balance": income - expenses}
        found += [
            f"total {'/'.join(key)}: {name} should be {each}, is {row.get(name, 0)}"
            for name, each in expected.items()
            if row.get(name, 0) != each
        ]
    return found


def offsets_are_ends(offsets: Mapping[Place, int], stable_ends: Mapping[Place, int]) -> list[str]:
    """Once quiet, every offset row stands at the end of its partition."""
    return [
        f"offset of {topic}:{partition} should be {end}, is {offsets.get((topic, partition))}"
        for (topic, partition), end in stable_ends.items()
        if offsets and offsets.get((topic, partition)) != end
    ]


def nothing_is_open(ends: Mapping[Place, int], stable_ends: Mapping[Place, int]) -> list[str]:
    """No transaction that somebody left open keeps readers from the end."""
    return [
        f"{topic}:{partition} is held at {stable_ends[topic, partition]} of {end}"
        for (topic, partition), end in ends.items()
        if stable_ends[topic, partition] != end
    ]


def nothing_leaks(seen: Seen) -> list[str]:
    """What no mapping maps is on no topic, in no table, in no log."""
    found = []
    for canary in seen.canaries:
        raw = canary.encode()
        for record in seen.records:
            parts = (record.key or b"", record.value or b"", *record.headers.values())
            if any(raw in part for part in parts):
                found.append(f"{record.place} holds {canary}")
        found += [f"{canary} was said: {text[:80]}" for text in seen.said if canary in text]
    return found


def _events(seen: Seen) -> Iterable[tuple[str, str, dict[str, Any], Record]]:
    """(table, row id, value, record) of this source's records, tombstones left out."""
    for record in seen.records:
        key = json.loads(record.key or b"{}")
        if record.value is None or (key["book"], key["source"]) != (seen.book, seen.source):
            continue
        yield record.topic.rpartition(".")[2], key["id"], json.loads(record.value), record


def _version(value: Mapping[str, Any]) -> Version:
    return Version.of(bytes.fromhex(value["source"]["change_version"]))

"""What tests of the mapping share: a normaliser with defaults, changes, events as plain data."""

from typing import Any

import orjson

from cdc.mapping.builtin import DECLARATIONS
from cdc.mapping.declared import MappingDeclaration
from cdc.mapping.normaliser import Normalised, Normaliser
from cdc.sources.protocol import Change, Document
from schemas.dead_letter import DeadLetter, decode_dead_letter
from schemas.envelope import Event, decode_key
from schemas.version import ORDINAL_MAX

STATUSES = ("completed", "paid", "succeeded", "settled", "posted")
TRANSACTIONS = "accounting.transactions"
NOW_MS = 1_772_366_400_000
TIME_MS = 1_772_366_399_000
POSITION = 1_772_366_399 << 32 | 7
MISSING: Any = object()


def normaliser(*tables: dict[str, Any], **settings: Any) -> Normaliser:
    """With the built-in shape, or these tables."""
    declared = tuple(MappingDeclaration.model_validate(table) for table in tables)
    values = {
        "prefix": "ledger",
        "book": "acme",
        "source": "property",
        "connector": "mongodb",
        "database": "property-management",
        "declarations": declared or DECLARATIONS,
        "settled_statuses": STATUSES,
        "default_currency": "USD",
        "partitions": {},
        "clock_ms": lambda: NOW_MS,
    }
    return Normaliser(**(values | settings))


def transactions(fields: dict[str, Any], **table: Any) -> dict[str, Any]:
    """A mapping of payments into transactions with these fields beside the needed ones."""
    needed = {"id": "_id", "type": {"const": "income"}, "amount": {"const": "1"}}
    kept = {name: value for name, value in (needed | fields).items() if value is not None}
    return {"collection": "payments", "entity": TRANSACTIONS, "fields": kept} | table


def change(
    op: str,
    after: Document | None = None,
    before: Document | None = None,
    *,
    raw_id: Any = MISSING,
    collection: str = "payments",
    position: int = POSITION,
    ordinal: int | None = None,
    fault: str | None = None,
) -> Change:
    """One change; its id is the document's."""
    if raw_id is MISSING:
        raw_id = (after or before or {}).get("_id")
    if ordinal is None:
        ordinal = ORDINAL_MAX if op == "r" else 0
    return Change(collection, op, raw_id, before, after, position, ordinal, TIME_MS, fault)


def made(world: Normaliser, *changes: Change, snapshot: str = "false") -> Normalised:
    """What comes of the changes."""
    return world.normalise(changes, epoch=0, snapshot=snapshot)


def row(world: Normaliser, document: Document, collection: str = "payments") -> dict[str, Any]:
    """``after`` of the one event that an insert of the document makes."""
    result = made(world, change("c", document, collection=collection))
    assert result.faults == []
    (event,) = result.events
    after: dict[str, Any] = value(event)["after"]
    return after


def refused(world: Normaliser, document: Document, collection: str = "payments") -> tuple[str, str]:
    """(path, reason) of the one dead letter that an insert of the document makes."""
    result = made(world, change("c", document, collection=collection))
    (fault,) = result.faults
    (event,) = result.events
    assert letter(event).reason == fault.reason
    return fault.path, fault.reason


def mapped(field: Any, value: Any, column: str = "description") -> Any:
    """What a column becomes of a value at ``x``."""
    return row(normaliser(transactions({column: field})), {"_id": 1, "x": value})[column]


def reason(field: Any, value: Any, column: str = "description") -> str:
    """Why a value at ``x`` is refused; the path is told as declared."""
    path, why = refused(normaliser(transactions({column: field})), {"_id": 1, "x": value})
    assert path == "x"
    return why


def value(event: Event) -> dict[str, Any]:
    """An event's value as plain data."""
    assert event.value is not None
    decoded: dict[str, Any] = orjson.loads(event.value)
    return decoded


def letter(event: Event) -> DeadLetter:
    """A dead letter's content."""
    assert event.topic == "ledger.dead_letters"
    assert event.value is not None
    return decode_dead_letter(event.value)


def told(result: Normalised) -> list[tuple[str, str]]:
    """(op, row id) of events in order; tombstones are ``-``, dead letters ``!``."""
    found = []
    for event in result.events:
        if event.topic == "ledger.dead_letters":
            found.append(("!", letter(event).row_id or ""))
        elif event.value is None:
            found.append(("-", decode_key(event.key)[2]))
        else:
            found.append((value(event)["op"], decode_key(event.key)[2]))
    return found

"""The apply path without servers: decoding, folding, and the SQL that it comes to."""

from collections.abc import Callable
from itertools import permutations
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers import statements
from consumers.apply import arrays, copy_text
from consumers.decode import Decoder, read_key, read_op, read_version
from consumers.letters import common_id
from consumers.parked import SUBJECT_CHARACTERS_MAX, Parked, subject
from consumers.projections import PROJECTIONS, Projection
from consumers.rows import REST_PARTS, Fold, Place, Row
from schemas.entities import entity
from schemas.hashing import transaction_hash
from schemas.version import pack

GOLDEN = Path(__file__).parents[1] / "golden" / "apply"
PLACE = Place("ledger.accounting.transactions", 3)
TRANSACTIONS = "accounting.transactions"
AFTER = {
    "property_id": "p1",
    "type": "income",
    "amount": "10.50",
    "currency": "EUR",
    "settled": True,
    "date": None,
    "description": "rent",
}
STAGED = [name for name, _ in statements.stage_columns(PROJECTIONS[TRANSACTIONS])]


class Read(NamedTuple):
    """A record as a poll gives it."""

    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...] = ()
    offset: int = 7
    timestamp: int = 0


def record(
    position: int, after: Any = AFTER, *, op: str = "c", row_id: str = "t1", **more: Any
) -> Read:
    value = {
        "op": op,
        "after": after,
        "source": {"change_version": pack(0, position, 0).hex(), "ts_ms": 5, "more": [1]},
        "unknown": {"x": 1},
    } | more
    key = orjson.dumps({"book": "b", "id": row_id, "source": "s"})
    return Read(key, orjson.dumps(value))


def row(position: int, after: Any = AFTER, **options: Any) -> Row:
    found = Decoder(entity(TRANSACTIONS)).row(record(position, after, **options), PLACE, keep=True)
    assert isinstance(found, Row), found
    return found


def delete(position: int, **options: Any) -> Row:
    return row(position, None, op="d", **options)


def content(found: Row) -> list[str | None]:
    return found.texts()[len(found.key) : -REST_PARTS]


def test_a_row_has_the_texts_of_its_columns() -> None:
    found = dict(zip(STAGED, row(9).texts(), strict=True))
    hashed = transaction_hash("b", "s", "p1", "t1", "10.50", "EUR", None, "rent").hex()
    assert found == {
        "book": "b",
        "source": "s",
        "id": "t1",
        "property_id": "p1",
        "type": "income",
        "amount": "10.50",
        "currency": "EUR",
        "date": None,
        "description": "rent",
        "status": None,
        "settled": "t",
        "payment_method": None,
        "reference": None,
        "transaction_hash": hashed,
        "deleted": "f",
        "version": pack(0, 9, 0).hex(),
        "source_ms": "5",
        "partition": "3",
        "offset": "7",
    }


def test_a_line_of_copy_escapes_what_must_be() -> None:
    plain = row(1)
    awkward = row(1, AFTER | {"description": "a\\b\tc\nd\re\\N"})
    assert plain.line.count("\t") == awkward.line.count("\t") == len(plain.texts()) - 1
    assert "a\\\\b\\tc\\nd\\re\\\\N" in awkward.line
    assert copy_text([plain, awkward]).decode() == f"{plain.line}\n{awkward.line}\n"


@given(st.text(), st.text(), st.one_of(st.none(), st.text()))
def test_any_text_comes_back_from_a_line_of_copy(book: str, row_id: str, text: str | None) -> None:
    """Parsed as PostgreSQL's documentation of the format says."""
    key = orjson.dumps({"book": book, "id": row_id, "source": "s"})
    after = AFTER | {"description": text}
    found = Decoder(entity(TRANSACTIONS)).row(record(1, after)._replace(key=key), PLACE, keep=True)
    assert isinstance(found, Row)
    fields = found.line.split("\t")
    back = [None if field == "\\N" else unescaped(field) for field in fields]
    assert back == list(found.texts())
    wanted = [book, "s", row_id, text]
    held = [part if part is None else part.replace("\0", "\ufffd") for part in wanted]
    assert [back[0], back[1], back[2], back[8]] == held


def unescaped(field: str) -> str:
    assert "\n" not in field
    assert "\r" not in field
    escapes = {"t": "\t", "n": "\n", "r": "\r", "\\": "\\"}
    characters = iter(field)
    return "".join(escapes[next(characters)] if each == "\\" else each for each in characters)


def test_columns_are_the_rows_turned() -> None:
    rows = [row(1), delete(2)]
    assert [list(each) for each in zip(*arrays(rows), strict=True)] == [
        each.texts() for each in rows
    ]


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (Read(b"{}", b"{}"), "key"),
        (Read(None, b"{}"), "key"),
        (Read(b'{"book":"b","id":1,"source":"s"}', b"{}"), "key"),
        (record(1)._replace(value=b"nonsense"), "not an event"),
        (record(1)._replace(value=b"[" * 5000), "not an event"),
        (record(1, AFTER | {"amount": 10}), "not an event"),
        (record(1, AFTER | {"settled": "yes"}), "not an event"),
        (record(1, {"amount": "1"}), "not an event"),
        (record(1, op="x"), "not an event"),
        (record(1, op="d"), "not an event"),
        (record(1, None), "not an event"),
        (record(1, source={"change_version": "00", "ts_ms": 1}), "not an event"),
        (record(1, source={"change_version": " " + "0" * 27, "ts_ms": 1}), "not an event"),
        (record(1, source={"change_version": "0 " * 14, "ts_ms": 1}), "not an event"),
        (record(1)._replace(headers=(("schema", b"accounting.transactions/2"),)), "schema"),
        (record(1)._replace(headers=(("transaction_hash", b"\xff"),)), "hash"),
        (record(1, AFTER | {"description": "x" * 1_100_000}), "too large"),
    ],
)
def test_what_is_not_an_event_is_told(broken: Read, reason: str) -> None:
    found = Decoder(entity(TRANSACTIONS)).row(broken, PLACE, keep=True)
    assert isinstance(found, Parked)
    assert (found.reason, found.stage, found.topic, found.partition, found.offset) == (
        reason,
        "apply",
        *PLACE,
        7,
    )
    assert found.value == broken.value
    assert found.document_id == (None if reason == "key" else "t1")


@pytest.mark.parametrize("name", ["schema", "transaction_hash"])
def test_a_header_without_a_value_is_nobodys_end(name: str) -> None:
    read = record(1)
    found = Decoder(entity(TRANSACTIONS)).row(
        read._replace(headers=((name, None),)), PLACE, keep=True
    )
    if name == "schema":
        assert isinstance(found, Parked)
        assert found.headers == '{"schema":null}'
    else:
        assert isinstance(found, Row)
        assert found.line == row(1).line


@given(st.text(), st.text())
def test_texts_come_back_from_a_line_as_they_were(description: str, row_id: str) -> None:
    found = row(1, AFTER | {"description": description}, row_id=row_id or "t1")
    told = dict(zip(STAGED, found.texts(), strict=True))
    assert told["description"] == description.replace("\0", "\ufffd")
    assert found.line.count("\n") == 0
    assert found.line.count("\t") == len(STAGED) - 1


@given(st.binary(max_size=60), st.binary(max_size=120), st.binary(max_size=80))
def test_no_bytes_raise(key: bytes, value: bytes, header: bytes) -> None:
    headers = (("transaction_hash", header), ("schema", b"accounting.transactions/1"))
    found = Decoder(entity(TRANSACTIONS)).row(Read(key, value, headers), PLACE, keep=True)
    assert isinstance(found, Row | Parked)
    read_op(value)
    read_version(value)


def test_a_delete_takes_the_last_content_it_is_told() -> None:
    assert content(delete(3, before=AFTER)) == content(row(3))
    assert not delete(3).known
    assert not delete(3, before={"damaged": True}).known
    assert set(content(delete(3))) == {None}


def fold(*rows: Row) -> Fold:
    found = Fold()
    for each in rows:
        found.add(each)
    return found


def test_the_highest_version_of_a_key_wins_in_any_order() -> None:
    for order in permutations([1, 2, 3, 3]):
        found = fold(*(row(n, AFTER | {"amount": str(n)}) for n in order))
        (winner,) = found.rows.values()
        assert winner.version == pack(0, 3, 0)
        assert (found.replaced + found.stale + found.duplicates) == 3
        assert found.duplicates == 1


def test_a_delete_keeps_the_content_before_it() -> None:
    for first in (row, delete):
        (winner,) = fold(first(1), delete(2), delete(3)).rows.values()
        assert winner.texts()[-REST_PARTS] == "t"
        assert winner.known == first(1).known
        assert content(winner) == content(first(1))


def test_rows_are_written_in_the_order_of_their_keys() -> None:
    names = ["b", "a", "ä", "Z", "\U0001f600", "\uffff", ""]
    found = fold(*(row(1, row_id=name) for name in names))
    ids = [each.key[2] for each in found.sorted()]
    assert ids == sorted(names) == sorted(names, key=lambda name: name.encode())


def test_a_key_is_read_strictly() -> None:
    assert read_key(b'{"book":"b","id":"i","source":"s"}') == ("b", "s", "i")


@pytest.mark.parametrize(
    ("prefix", "document_id", "row_id", "common"),
    [
        ("", "d1", None, "d1"),
        ("", "d1", "d1", "d1"),
        ("", "d1", "d1/a/#3", "d1"),
        ("fees:", "d1", "fees:d1", "fees:d1"),
        ("fees:", "d1", "fees:d1/#0", "fees:d1"),
        ("fees:", "e", "fees:e/#0", "fees:e"),  # its text is a part of the prefix's
        ("a:b:", "b", "a:b:b/e", "a:b:b"),
        ("fees:", "#1", "fees:str:#1/#0", "fees:str:#1"),
        ("fees:", "a/b", 'fees:json:"a\\u002fb"/#0', 'fees:json:"a\\u002fb"'),
        ("", "d1", "invoice 7", "invoice 7"),
        ("", "d1", "invoice/7", "invoice/7"),  # or a newer invoice/8 would close its letter
        ("", None, None, None),
    ],
)
def test_what_the_rows_of_a_document_begin_with(
    prefix: str, document_id: str | None, row_id: str | None, common: str | None
) -> None:
    mapping = "payments:accounting.transactions" + (f":{prefix}" if prefix else "")
    assert common_id(mapping, document_id, row_id) == common


def test_a_long_subject_stays_one_of_its_own() -> None:
    long = "x" * 3000
    assert subject("short") == "short"
    assert len({subject(long), subject(long + "y"), subject(long + "z")}) == 3
    assert len(subject(long)) < SUBJECT_CHARACTERS_MAX + 70


STATEMENTS: dict[str, Callable[[Projection], str]] = {
    "create_stage": statements.create_stage,
    "upsert_staged": lambda p: statements.upsert(p, staged=True),
    "upsert_arrays": statements.upsert,
    "upsert_replay": lambda p: statements.upsert(p, mode=statements.REPLAY),
    "mark_deleted": lambda p: statements.upsert(p, known=False),
    "mark_deleted_replay": lambda p: statements.upsert(p, known=False, mode=statements.REPLAY),
    "compare": lambda p: statements.compare(p, known=True),
    "compare_deleted": lambda p: statements.compare(p, known=False),
    "rows_of": statements.rows_of,
    "mark_missing": statements.mark_missing,
    "count_newer": statements.count_newer,
}


@pytest.mark.parametrize("name", STATEMENTS)
@pytest.mark.parametrize("table", ["accounting.owners", TRANSACTIONS])
def test_statements_are_as_reviewed(name: str, table: str) -> None:
    """Delete the file and run again to take the new statement; review the difference."""
    path = GOLDEN / f"{table}.{name}.sql"
    built = STATEMENTS[name](PROJECTIONS[table]) + "\n"
    if not path.exists():
        path.write_text(built)
        pytest.fail(f"{path.name} is written: review it")
    assert path.read_text() == built

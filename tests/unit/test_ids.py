"""Ids as text: documented forms, one text an id, one id a text, and back."""

from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import bson
import pytest
from bson import DBRef, Decimal128, Int64, MaxKey, MinKey, ObjectId, Timestamp
from bson.binary import Binary, UuidRepresentation
from bson.codec_options import CodecOptions, DatetimeConversion
from bson.datetime_ms import DatetimeMS
from hypothesis import example, given
from hypothesis import strategies as st

from cdc.mapping import ids

HEX = "64b000000000000000000001"
KEY = UUID("12345678-1234-5678-1234-567812345678")
WIRE: CodecOptions[dict[str, Any]] = CodecOptions(
    uuid_representation=UuidRepresentation.STANDARD,
    datetime_conversion=DatetimeConversion.DATETIME_AUTO,
    unicode_decode_error_handler="surrogateescape",
)


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (ObjectId(HEX), HEX),
        ("P-1", "P-1"),
        ("", ""),
        ("a/b#c", "a/b#c"),
        ("Ünï", "Ünï"),
        (HEX, f"str:{HEX}"),
        (HEX.upper(), f"str:{HEX.upper()}"),
        ("int:5", "str:int:5"),
        ("str:x", "str:str:x"),
        ("json:", "str:json:"),
        ("date:soon", "str:date:soon"),
        ("a\0b", 'json:"a\\u0000b"'),
        ("a\udcffb", 'json:"a\\udcffb"'),
        (5, "int:5"),
        (Int64(5), "int:5"),
        (5.0, "int:5"),
        (Decimal128("5.00"), "int:5"),
        (Decimal128("5E+1"), "int:50"),
        (-0.0, "int:0"),
        (Decimal128("-0E+5"), "int:0"),
        (2**63 - 1, "int:9223372036854775807"),
        (2.0**63, "dec:9223372036854775808"),
        (0.5, "dec:0.5"),
        (Decimal128("0.50"), "dec:0.5"),
        (Decimal128("0.1"), "dec:0.1"),
        (0.1, "dec:0.1000000000000000055511151231257827021181583404541015625"),
        (float("nan"), "dec:NaN"),
        (Decimal128("NaN"), "dec:NaN"),
        (float("-inf"), "dec:-Infinity"),
        (True, "json:true"),
        (None, "json:null"),
        (KEY, f"uuid:{KEY}"),
        (datetime(2026, 3, 1, 12, 0, 0, 123000), "date:2026-03-01T12:00:00.123Z"),  # noqa: DTZ001
        (DatetimeMS(253_402_300_800_000), "date:253402300800000ms"),
        (b"\x00\xff", "bin:0:00ff"),
        (Binary(b"\x00\xff", 5), "bin:5:00ff"),
        ({"b": 1, "a": "ü"}, 'json:{"b":{"$numberInt":"1"},"a":"\\u00fc"}'),
        ({"a": 1, "b": 1}, 'json:{"a":{"$numberInt":"1"},"b":{"$numberInt":"1"}}'),
        (Timestamp(1, 2), 'json:{"$timestamp":{"t":1,"i":2}}'),
        (MinKey(), 'json:{"$minKey":1}'),
    ],
)
def test_every_kind_of_id_has_its_form(raw: Any, text: str) -> None:
    assert ids.text(raw) == text
    assert ids.text(ids.parse(text)) == text


def same_to_mongodb(one: Any, other: Any) -> bool:
    """Whether MongoDB takes these for one ``_id``, as was tried on a server."""
    if _is_number(one) and _is_number(other):
        first, second = _exact(one), _exact(other)
        return first == second or (first.is_nan() and second.is_nan())
    return bson.encode({"": one}, codec_options=WIRE) == bson.encode(
        {"": other}, codec_options=WIRE
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | Decimal128) and not isinstance(value, bool)


def _exact(value: Any) -> Decimal:
    return value.to_decimal() if isinstance(value, Decimal128) else Decimal(value)


_decimals = st.builds(
    lambda digits, exponent: Decimal128(Decimal(digits).scaleb(exponent)),
    st.integers(-(10**20), 10**20),
    st.integers(-40, 40),
)
_numbers = st.one_of(st.integers(-(2**63), 2**63 - 1), st.integers(-10, 10), st.floats(), _decimals)
_TRICKY = "int:5 str:int:5 dec:0.5 json:5 json:null bin:0:00 date:0ms a/b #1 str:#1"
_tricky = st.sampled_from(
    [*_TRICKY.split(), HEX, f"str:{HEX}", f"uuid:{KEY}", 'json:"a"', 'json:"a\\u002fb"']
)
_texts = st.one_of(st.text(max_size=8), _tricky)
_dates = st.one_of(
    st.datetimes().map(lambda at: at.replace(microsecond=at.microsecond // 1000 * 1000)),
    st.integers(253_402_300_800_000, 2**62).map(DatetimeMS),
)
_scalars = st.one_of(
    _numbers,
    _texts,
    _dates,
    st.booleans(),
    st.none(),
    st.binary(min_size=12, max_size=12).map(ObjectId),
    st.uuids(),
    st.binary(max_size=4),
    st.builds(Binary, st.binary(max_size=4), st.integers(5, 9)),
    st.sampled_from([MinKey(), MaxKey(), Timestamp(0, 0), Timestamp(1, 0)]),
)
_raw_ids = st.one_of(
    _scalars, st.dictionaries(st.text("ab$.", min_size=1, max_size=2), _scalars, max_size=3)
)


def _stored(value: Any) -> Any:
    """As the decoder gives what MongoDB stored; None where BSON cannot hold it."""
    try:
        return bson.decode(bson.encode({"": value}, codec_options=WIRE), codec_options=WIRE)[""]
    except (bson.errors.BSONError, UnicodeEncodeError, OverflowError):
        return None


@given(_raw_ids.map(_stored), _raw_ids.map(_stored))
@example(5, 5.0)
@example(0.1, Decimal128("0.1"))
@example("5", 5)
@example("json:null", None)
@example(2**53 + 1, float(2**53))
def test_two_ids_share_a_text_only_where_they_are_one_id(one: Any, other: Any) -> None:
    if ids.text(one) == ids.text(other):
        assert same_to_mongodb(one, other)


@given(_numbers, _numbers)
@example(1e22, Decimal128("1E22"))
@example(0.5, Decimal128("0.50"))
def test_equal_numbers_are_one_id_whatever_their_type(one: Any, other: Any) -> None:
    assert (ids.text(one) == ids.text(other)) == same_to_mongodb(one, other)


@given(_raw_ids.map(_stored))
def test_the_text_leads_back_to_the_id(raw: Any) -> None:
    assert same_to_mongodb(ids.parse(ids.text(raw)), raw)


@given(_raw_ids.map(_stored))
def test_texts_are_utf8_without_nul(raw: Any) -> None:
    assert "\0" not in ids.text(raw)
    ids.text(raw).encode()


@given(st.lists(_raw_ids.map(_stored), min_size=2, max_size=3), st.integers(1, 2))
def test_the_parts_of_a_row_id_cannot_be_mistaken(raw: list[Any], cut: int) -> None:
    parts = [ids.part(ids.text(each)) for each in raw]
    assert all("/" not in part and not part.startswith("#") for part in parts)
    assert all(
        ids.text(ids.parse(part)) == ids.text(each) for part, each in zip(parts, raw, strict=True)
    )


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (ObjectId(HEX), HEX),
        (HEX, HEX),
        (HEX.upper(), HEX),
        ({"_id": ObjectId(HEX), "name": "populated"}, HEX),
        ({"_id": HEX}, HEX),
        (DBRef("properties", ObjectId(HEX)), HEX),
        (DBRef("properties", HEX), HEX),
        ("P-1", "P-1"),
        ("int:5", "str:int:5"),
        (5.0, "int:5"),
        (KEY, f"uuid:{KEY}"),
    ],
)
def test_a_reference_is_the_id_of_what_it_refers_to(raw: Any, text: str) -> None:
    assert ids.ref(raw) == text


@pytest.mark.parametrize("raw", [[ObjectId(HEX)], {"name": "x"}, {}, {"_id": None}, True])
def test_what_is_no_reference_is_refused(raw: Any) -> None:
    with pytest.raises(ids.Untellable):
        ids.ref(raw)


def test_an_id_nested_beyond_reason_is_refused_and_not_a_crash() -> None:
    bomb: dict[str, Any] = {}
    for _ in range(100_000):
        bomb = {"a": bomb}
    with pytest.raises(ids.Untellable):
        ids.text(bomb)

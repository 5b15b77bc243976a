"""Ids as text: injective, so that no two documents ever share a row.

| ``_id``                              | text                                                   |
|--------------------------------------|--------------------------------------------------------|
| ObjectId                             | its 24 hex digits                                      |
| text                                 | itself; ``str:…`` if it could be taken for another row |
|                                      | of this table; ``json:"…"`` if it holds a NUL or bytes |
|                                      | that are no UTF-8                                      |
| whole number of 64 bits              | ``int:5``, also for 5.0 and Decimal128 5.00, which are |
|                                      | one ``_id`` to MongoDB                                 |
| any other number                     | ``dec:`` and its exact value without needless zeros    |
| UUID (binary subtype 4)              | ``uuid:…``                                             |
| date                                 | ``date:2026-03-01T12:00:00.123Z``; ``date:…ms`` beyond |
|                                      | the year 9999                                          |
| binary                               | ``bin:<subtype>:<hex>``                                |
| anything else                        | ``json:`` and canonical extended JSON, fields in the   |
|                                      | document's own order                                   |
"""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Context, Decimal
from typing import Any
from uuid import UUID

import orjson
from bson import json_util
from bson.binary import Binary, UuidRepresentation
from bson.codec_options import DatetimeConversion
from bson.datetime_ms import DatetimeMS
from bson.dbref import DBRef
from bson.decimal128 import Decimal128
from bson.int64 import Int64
from bson.json_util import JSONMode, JSONOptions
from bson.objectid import ObjectId

_CANONICAL = JSONOptions(
    json_mode=JSONMode.CANONICAL,
    uuid_representation=UuidRepresentation.STANDARD,
    datetime_conversion=DatetimeConversion.DATETIME_AUTO,
    tz_aware=False,
)
_HEX_DIGITS = re.compile(r"[0-9a-fA-F]{24}")
_OTHER_FORM = re.compile(r"(?:str|int|dec|uuid|date|bin|json):|[0-9a-fA-F]{24}\Z")
_EXACT = Context(prec=1100, Emin=-999_999, Emax=999_999)  # holds every double and Decimal128
_DECIMAL128_DIGITS = 34
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_INT64 = range(-(2**63), 2**63)
_SEPARATOR = "/"


class Untellable(ValueError):
    """A value that cannot serve as an id."""


def text(value: Any) -> str:
    """The id's text; raises ``Untellable`` for what is nested too deeply."""
    return _TEXTS.get(type(value), _json)(value)


def ref(value: Any) -> str:
    """The id that a reference means: an ObjectId, its hex text, a populated document, a DBRef.

    Raises ``Untellable`` for arrays, and documents without an ``_id``.
    """
    if type(value) is DBRef:
        value = value.id
    elif isinstance(value, Mapping):
        if value.get("_id") is None:
            raise Untellable("is a document without an _id")
        value = value["_id"]
    if type(value) is str and _HEX_DIGITS.fullmatch(value):
        return value.lower()
    if isinstance(value, list):
        raise Untellable("is an array")
    if isinstance(value, bool) or value is None:
        raise Untellable("is no reference")
    return text(value)


def part(id_text: str) -> str:
    """An id as a part of a row's id, where ``/`` separates the parts and ``#`` begins a place."""
    if _SEPARATOR in id_text:
        if not id_text.startswith("json:"):
            id_text = "json:" + orjson.dumps(id_text.removeprefix("str:")).decode()
        return id_text.replace(_SEPARATOR, "\\u002f")
    return f"str:{id_text}" if id_text.startswith("#") else id_text


def parse(id_text: str) -> Any:
    """The ``_id`` (as MongoDB compares it) of this text; the inverse of ``text``."""
    form, colon, rest = id_text.partition(":")
    if colon and form in _PARSERS:
        return _PARSERS[form](rest)
    return ObjectId(id_text) if _HEX_DIGITS.fullmatch(id_text) else id_text


def _of_text(value: str) -> str:
    if "\0" in value or not _is_utf8(value):
        return _json(value)
    return f"str:{value}" if _OTHER_FORM.match(value) else value


def _is_utf8(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _of_int(value: int) -> str:
    return f"int:{value}"


def _of_decimal(value: Decimal) -> str:
    if value.is_nan():
        return "dec:NaN"
    if value.is_infinite():
        return f"dec:{value}"
    if not value:
        return "int:0"
    exponent = value.adjusted()
    if exponent < 19 and value == value.to_integral_value() and int(value) in _INT64:
        return f"int:{int(value)}"
    return f"dec:{value.normalize(_EXACT)}"


def _of_double(value: float) -> str:
    return _of_decimal(Decimal(value))


def _of_decimal128(value: Decimal128) -> str:
    return _of_decimal(value.to_decimal())


def _of_date(value: datetime) -> str:
    whole_ms = value.replace(microsecond=value.microsecond // 1000 * 1000, tzinfo=None)
    return f"date:{whole_ms.isoformat(timespec='milliseconds')}Z"


def _of_date_ms(value: DatetimeMS) -> str:
    try:
        return _of_date(_EPOCH + timedelta(milliseconds=int(value)))
    except OverflowError:
        return f"date:{int(value)}ms"


def _of_binary(value: bytes) -> str:
    return f"bin:{getattr(value, 'subtype', 0)}:{value.hex()}"


def _json(value: Any) -> str:
    try:
        return "json:" + json_util.dumps(
            value, json_options=_CANONICAL, separators=(",", ":"), ensure_ascii=True
        )
    except (TypeError, ValueError, RecursionError) as error:
        raise Untellable("cannot serve as an id") from error


_TEXTS: dict[type, Callable[[Any], str]] = {
    ObjectId: str,
    str: _of_text,
    int: _of_int,
    Int64: _of_int,
    float: _of_double,
    Decimal128: _of_decimal128,
    datetime: _of_date,
    DatetimeMS: _of_date_ms,
    UUID: "uuid:{}".format,
    bytes: _of_binary,
    Binary: _of_binary,
}


def _parse_decimal(digits: str) -> Decimal128 | float:
    exact = Decimal(digits)
    if exact.is_finite() and len(exact.as_tuple().digits) > _DECIMAL128_DIGITS:
        return float(exact)
    return Decimal128(exact)


def _parse_date(rest: str) -> datetime | DatetimeMS:
    if rest.endswith("ms"):
        return DatetimeMS(int(rest[:-2]))
    return datetime.fromisoformat(rest).replace(tzinfo=None)


def _parse_binary(rest: str) -> Binary:
    subtype, _, digits = rest.partition(":")
    return Binary(bytes.fromhex(digits), int(subtype))


def _parse_json(rest: str) -> Any:
    return json_util.loads(rest, json_options=_CANONICAL)


_PARSERS: dict[str, Callable[[str], Any]] = {
    "str": str,
    "int": int,
    "dec": _parse_decimal,
    "uuid": UUID,
    "date": _parse_date,
    "bin": _parse_binary,
    "json": _parse_json,
}

"""From one value of a document to one value of an event: exact, or refused with the reason."""

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from bson.decimal128 import Decimal128
from bson.objectid import ObjectId

from cdc.mapping import dates, ids
from cdc.mapping.declared import FieldDeclaration, FieldType
from cdc.mapping.numbers import decimal128_text, double_text, number_text, shifted, whole, written
from cdc.mapping.refusal import Refusal
from schemas.entities import Kind
from schemas.money import currency_exponent, has_minor_units

Convert = Callable[[Any], Any]

MISSING = "is missing"
_INT64 = range(-(2**63), 2**63)
_CURRENCY = re.compile(r"[A-Za-z]{3}", re.ASCII)
_TYPES: dict[Kind, FieldType] = {
    Kind.TEXT: "text",
    Kind.DECIMAL: "decimal",
    Kind.DATE: "date",
    Kind.TIMESTAMP: "timestamp",
    Kind.BOOL: "bool",
    Kind.INT: "int",
}


@dataclass(slots=True)
class Totals:
    """What is counted while values are mapped, for metrics."""

    doubles: int = 0
    """Amounts that came as doubles (money should be Decimal128)."""
    nul_replaced: int = 0
    """Texts in which a NUL became U+FFFD."""
    extra_decimals: int = 0
    """Amounts with more decimals than their currency has."""

    def add_extra(self) -> None:
        self.extra_decimals += 1


def type_of(kind: Kind, field: FieldDeclaration) -> FieldType | None:
    """The field's type: as declared, else the column's own; None where nothing can fill it."""
    return field.type or _TYPES.get(kind)


def converter(kind: Kind, field: FieldDeclaration, totals: Totals) -> Convert:
    """For values that are not null. ``field`` has passed the checks."""
    if field.map is not None:
        otherwise = field.otherwise if field.otherwise is not None else field.default
        return mapped(wired(kind, field.map), wire(kind, otherwise))
    convert = _converter(type_of(kind, field), field, totals)
    if kind is Kind.TEXT and type_of(kind, field) in ("bool", "int"):
        return lambda value: str(convert(value)).lower()
    return convert


def _converter(name: FieldType | None, field: FieldDeclaration, totals: Totals) -> Convert:
    if name in ("date", "timestamp"):
        zone = dates.zone_named(field.zone)
        read = dates.reader(zone, field.format, field.epoch)
        return dates.day(zone, read) if name == "date" else dates.instant(zone, read)
    if name == "decimal":
        return decimal(None if field.decimal is None else written(field.decimal), totals)
    plain: dict[FieldType | None, Convert] = {"ref": ref, "bool": boolean, "int": integer}
    return plain.get(name, text)


def wire(kind: Kind, value: Any) -> Any:
    """A declared constant as it stands in events."""
    return str(value) if kind is Kind.DECIMAL and value is not None else value


def wired(kind: Kind, words: Mapping[str, Any]) -> dict[str, Any]:
    """A declared map as its values stand in events."""
    return {word: wire(kind, value) for word, value in words.items()}


def text(value: Any) -> str:
    """Text, and what has one undoubted text: ObjectId, UUID, number."""
    if isinstance(value, str) and type(value) is str:
        return value
    if isinstance(value, ObjectId | UUID):
        return str(value)
    number = double_text(value) if isinstance(value, float) else number_text(value)
    if number is None:
        raise Refusal(f"is {_kind(value)}, not text")
    return number


def ref(value: Any) -> str:
    """The id that is meant."""
    try:
        return ids.ref(value)
    except ids.Untellable as error:
        raise Refusal(str(error)) from None


def boolean(value: Any) -> bool:
    """Nothing but a bool."""
    if not isinstance(value, bool):
        raise Refusal(f"is {_kind(value)}, not a bool")
    return value


def integer(value: Any) -> int:
    """A whole number of 64 bits, in whatever numeric type."""
    number = double_text(value) if isinstance(value, float) else number_text(value)
    if number is None:
        raise Refusal(f"is {_kind(value)}, not a number")
    found = whole(number)
    if found is None or found not in _INT64:
        raise Refusal("is no whole number of 64 bits")
    return found


def decimal(read_text: Callable[[str], str] | None, totals: Totals) -> Convert:
    """To plain decimal text."""

    def convert(value: Any) -> str:
        if type(value) is Decimal128:
            return decimal128_text(value)
        if isinstance(value, float):
            totals.doubles += 1
            return double_text(value)
        number = number_text(value)
        if number is not None:
            return number
        if type(value) is str:
            if read_text is None:
                raise Refusal("is text, and no sample is declared (decimal = …)")
            return read_text(value)
        raise Refusal(f"is {_kind(value)}, not a number")

    return convert


def minor_units(amount: str, currency: str | None) -> str:
    """An amount in minor units as one in units; refused for currencies without known ones."""
    if currency is None or not has_minor_units(currency):
        raise Refusal("is in minor units of a currency that has none in ISO 4217")
    return shifted(amount, currency_exponent(currency))


def has_extra_decimals(amount: str, currency: str | None) -> bool:
    """Whether the amount has more decimals, other than zeros, than the currency."""
    decimals = amount.partition(".")[2].rstrip("0")
    return len(decimals) > currency_exponent(currency or "")


def mapped(words: Mapping[str, Any], otherwise: Any) -> Convert:
    """By the declared words: of a text itself, of a bool true/false, of a whole number its digits.

    ``otherwise``: for what is not among them; None: refused.
    """

    def convert(value: Any) -> Any:
        word = _word(value)
        if word is None:
            raise Refusal(f"is {_kind(value)}: map is for text, bool and whole numbers")
        found = words.get(word, otherwise)
        if found is None:
            raise Refusal("is not in the map, and there is no default")
        return found

    return convert


def _word(value: Any) -> str | None:
    """What stands for the value among the words; None for what cannot."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if type(value) is str:
        return value
    number = double_text(value) if isinstance(value, float) else number_text(value)
    return None if number is None or whole(number) is None else str(whole(number))


def currency(convert: Convert) -> Convert:
    """Upper-cased, in the form of ISO 4217."""

    def converted(value: Any) -> str:
        code: str = convert(value)
        if not _CURRENCY.fullmatch(code):
            raise Refusal("is no currency code of ISO 4217")
        return code.upper()

    return converted


def one_of(words: Collection[str], convert: Convert) -> Convert:
    """Nothing but these."""

    def converted(value: Any) -> Any:
        found = convert(value)
        if found not in words:
            raise Refusal(f"is none of {', '.join(words)}")
        return found

    return converted


def with_null(convert: Convert, default: Any, *, required: bool) -> Convert:
    """What stands for null: the default, else null itself, else a refusal."""

    def converted(value: Any) -> Any:
        if value is not None:
            return convert(value)
        if default is None and required:
            raise Refusal(MISSING)
        return default

    return converted


def _kind(value: Any) -> str:
    """What a value is, in a word, without telling it."""
    kinds: tuple[tuple[type, str], ...] = (
        (dict, "a document"),
        (list, "an array"),
        (bool, "a bool"),
        (str, "text"),
        (int, "a number"),
        (float, "a number"),
        (bytes, "binary"),
    )
    found = (word for kind, word in kinds if isinstance(value, kind))
    return next(found, f"of type {type(value).__name__}")

"""Numbers of documents to plain decimal text: exact, or refused with the reason.

``str(Decimal128)`` costs 5 us; from its two 64-bit halves the same text takes a tenth of that.
"""

import re
from collections.abc import Callable
from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal, Inexact, InvalidOperation
from math import isfinite
from typing import Any

from bson.decimal128 import Decimal128

from cdc.mapping.refusal import Refusal
from schemas.money import plain

_LONG = 7_000  # digits: more than any Decimal128 has in plain notation
_EXACT = Context(prec=_LONG, Emax=MAX_EMAX, Emin=MIN_EMIN, traps=[Inexact, InvalidOperation])
_BIAS = 6176
_SIGN = 1 << 63
_SPECIAL = 3 << 61
_EXPONENT_SHIFT = 49
_EXPONENT_MASK = 0x3FFF
_HIGH_DIGITS_MASK = (1 << 49) - 1
_USUAL = {(_BIAS + exponent) << _EXPONENT_SHIFT: exponent for exponent in range(-12, 0)}
"""The high halves of positive numbers of up to 64 bits with some decimals: nearly all amounts."""
NOT_FINITE = "is not a finite number"
_SAMPLE = re.compile(r"-?\d+(?:[^\w-]\d+)*", re.ASCII)
_INT64_DIGITS = 19


def decimal128_text(value: Decimal128) -> str:
    """Plain notation with as many decimals as given; raises ``Refusal`` for NaN and infinity."""
    low: int = value._Decimal128__low  # type: ignore[attr-defined]
    high: int = value._Decimal128__high  # type: ignore[attr-defined]
    if (usual := _USUAL.get(high)) is not None:
        text = str(low)
        if len(text) + usual > 0:
            return f"{text[:usual]}.{text[usual:]}"
    if high & _SPECIAL == _SPECIAL:
        return _rare_decimal128(value)
    digits = low | (high & _HIGH_DIGITS_MASK) << 64
    exponent = (high >> _EXPONENT_SHIFT & _EXPONENT_MASK) - _BIAS
    text = str(digits)
    if exponent < 0:
        if len(text) <= -exponent:
            text = text.zfill(1 - exponent)
        text = f"{text[:exponent]}.{text[exponent:]}"
    elif exponent and digits:
        text += "0" * exponent
    return f"-{text}" if high & _SIGN and digits else text


def _rare_decimal128(value: Decimal128) -> str:
    """NaN, infinity, and forms that the standard calls not canonical."""
    exact = value.to_decimal()
    if not exact.is_finite():
        raise Refusal(NOT_FINITE)
    return plain(exact)


def double_text(value: float) -> str:
    """The shortest plain decimal that reads back to this double."""
    if not isfinite(value):
        raise Refusal(NOT_FINITE)
    text = repr(value)
    if "e" in text:
        text = plain(Decimal(text))
    text = text.removesuffix(".0")
    return "0" if text == "-0" else text


def shifted(text: str, places: int) -> str:
    """A plain decimal with its point moved ``places`` to the left."""
    if not places:
        return text
    return plain(Decimal(text).scaleb(-places, _EXACT))


def whole(text: str) -> int | None:
    """The integer that a plain decimal is; None with a fraction, or far beyond 64 bits."""
    before, _, after = text.partition(".")
    if after.strip("0") or len(before.lstrip("-")) > _INT64_DIGITS:
        return None
    return int(before)


def signs(sample: str) -> tuple[str, str]:
    """(group, decimal) signs that a sample tells, empty where it shows none; ``ValueError``."""
    if not _SAMPLE.fullmatch(sample):
        raise ValueError("is no sample of an amount")
    first, *chunks = re.split(r"\D", sample.lstrip("-"))
    found = re.findall(r"\D", sample.lstrip("-"))
    thousands = len(first) <= 3 and first[0] != "0"
    if not found:
        return "", ""
    if len(set(found)) == 1:
        if len(found) > 1 and thousands and all(len(chunk) == 3 for chunk in chunks):
            return found[0], ""
        if len(found) == 1 and not (thousands and len(chunks[0]) == 3):
            return "", found[0]
        raise ValueError("does not tell which sign begins the decimals")
    *groups, point = found
    if len(set(groups)) > 1 or not thousands or any(len(chunk) != 3 for chunk in chunks[:-1]):
        raise ValueError("is no sample of an amount")
    return groups[0], point


def written(sample: str) -> Callable[[str], str]:
    """Reads texts that are written like the sample: any other sign is refused."""
    group, point = signs(sample)
    grouped = rf"\d{{1,3}}(?:{re.escape(group)}\d{{3}})+|" if group else ""
    decimals = rf"(?:{re.escape(point)}(\d+))?" if point else "()"
    form = re.compile(rf"(-?)({grouped}\d+){decimals}", re.ASCII)

    def read(text: str) -> str:
        found = form.fullmatch(text)
        if found is None:
            raise Refusal(f"is not written like the sample {sample}")
        minus, before, after = found.groups()
        before = before.replace(group, "") if group else before
        before = before.lstrip("0") or "0"
        number = f"{before}.{after}" if after else before
        return f"-{number}" if minus and number.strip("0.") else number

    return read


def number_text(value: Any) -> str | None:
    """The plain decimal of a number that is no double and no bool; None for what is no number."""
    if isinstance(value, Decimal128):
        return decimal128_text(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(int(value))
    return None

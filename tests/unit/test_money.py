"""Amounts as text: plain, exact, one text a value."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.money import (
    CURRENCIES,
    UNUSUAL_CURRENCIES,
    currency_exponent,
    has_minor_units,
    normalised,
    plain,
)


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        ("1234.50", "1234.50"),
        ("1E+3", "1000"),
        ("1E-3", "0.001"),
        ("-0.00", "0.00"),
        ("-0", "0"),
        ("-12", "-12"),
        ("0E+5", "0"),
    ],
)
def test_amounts_are_written_plainly(amount: str, text: str) -> None:
    assert plain(Decimal(amount)) == text


@pytest.mark.parametrize("amount", ["NaN", "sNaN", "Infinity", "-Infinity"])
def test_what_is_not_finite_has_no_plain_text(amount: str) -> None:
    with pytest.raises(ValueError, match="finite"):
        plain(Decimal(amount))


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        ("1234.50", "1234.5"),
        ("1234.00", "1234"),
        ("1000", "1000"),
        ("0.00", "0"),
        ("-0.00", "0"),
        ("-0", "0"),
        ("-10.10", "-10.1"),
        ("0.01", "0.01"),
    ],
)
def test_needless_zeros_go(amount: str, text: str) -> None:
    assert normalised(amount) == text


@given(st.decimals(allow_nan=False, allow_infinity=False))
def test_one_text_a_value(amount: Decimal) -> None:
    text = normalised(plain(amount))
    assert Decimal(text) == amount
    assert normalised(text) == text == normalised(f"{text}.0" if "." not in text else f"{text}0")
    assert "e" not in text.lower()
    assert not (text.startswith("-") and Decimal(text) == 0)


@pytest.mark.parametrize(
    ("currency", "exponent"),
    [("EUR", 2), ("JPY", 0), ("KWD", 3), ("CLF", 4), ("XYZ", 2)],
)
def test_exponents_of_iso_4217(currency: str, exponent: int) -> None:
    assert currency_exponent(currency) == exponent
    assert (currency in UNUSUAL_CURRENCIES) == (exponent != 2)


def test_only_currencies_of_iso_4217_have_minor_units() -> None:
    assert has_minor_units("EUR") and has_minor_units("JPY")
    assert not has_minor_units("XYZ") and not has_minor_units("XAU")
    assert all(len(currency) == 3 and currency.isupper() for currency in CURRENCIES)

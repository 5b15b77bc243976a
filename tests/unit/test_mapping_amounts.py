"""Amounts of every kind: exact and plain, or refused."""

from decimal import Decimal
from typing import Any

import pytest
from bson import Decimal128
from hypothesis import example, given
from hypothesis import strategies as st

from cdc.mapping.numbers import decimal128_text, double_text, signs, written
from cdc.mapping.refusal import Refusal
from schemas.money import plain
from tests.mapping_world import mapped, normaliser, reason, refused, row, transactions


@given(st.integers(0, 10**34 - 1), st.integers(-6176, 6111), st.booleans())
@example(0, 5, False)
@example(0, -2, True)
@example(5, -2, False)
@example(50, -2, False)
@example(5, -12, True)
@example(2**64, -2, False)
@example(10**34 - 1, 6111, True)
def test_the_text_of_a_decimal128_is_its_exact_value(
    digits: int, exponent: int, minus: bool
) -> None:
    exact = Decimal((int(minus), tuple(map(int, str(digits))), exponent))
    assert decimal128_text(Decimal128(exact)) == plain(Decimal128(exact).to_decimal())


@pytest.mark.parametrize("high", [0x6C00000000000000, 0xEC00000000000001, 0x6000000000000000])
def test_decimal128_forms_that_are_not_canonical_are_zero(high: int) -> None:
    value = Decimal128.from_bid((5).to_bytes(8, "little") + high.to_bytes(8, "little"))
    assert Decimal(decimal128_text(value)) == value.to_decimal()


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_the_text_of_a_double_is_the_shortest_that_reads_back(value: float) -> None:
    text = double_text(value)
    assert float(text) == value
    assert set(text) <= set("-0123456789.")
    assert len(text.strip("-0.").replace(".", "")) <= 17 or "e+" in repr(value)
    assert not text.startswith("-0") or value != 0


@pytest.mark.parametrize(
    ("sample", "text", "amount"),
    [
        ("1,234.50", "1,234.50", "1234.50"),
        ("1,234.50", "1234.5", "1234.5"),
        ("1,234.50", "-12,345,678.9", "-12345678.9"),
        ("1,234.50", "12", "12"),
        ("1.234,50", "1.234,50", "1234.50"),
        ("1.234,50", "-0,50", "-0.50"),
        ("1 234,50", "1 234 567,5", "1234567.5"),
        ("1'234.50", "1'234", "1234"),
        ("1234.50", "0012.50", "12.50"),
        ("1234", "99", "99"),
        ("1,234,567", "1,234", "1234"),
        ("0,5", "-0,00", "0.00"),
    ],
)
def test_amounts_that_are_written_like_the_sample(sample: str, text: str, amount: str) -> None:
    assert mapped({"path": "x", "decimal": sample}, text, "amount") == amount
    assert mapped({"path": "x", "decimal": sample}, Decimal128("1.5"), "amount") == "1.5"


@pytest.mark.parametrize(
    ("sample", "text"),
    [
        ("1,234.50", "1.234,50"),
        ("1,234.50", "12,34.50"),
        ("1,234.50", "1,2345"),
        ("1,234.50", "1 234.50"),
        ("1,234.50", "$5.00"),
        ("1,234.50", "5.00 USD"),
        ("1,234.50", "(5.00)"),
        ("1,234.50", "5.00-"),
        ("1,234.50", "+5.00"),
        ("1,234.50", " 5.00"),
        ("1,234.50", "5."),
        ("1,234.50", ".5"),
        ("1,234.50", "1e3"),
        ("1,234.50", ""),
        ("1,234.50", "٣"),
        ("1234.50", "1,234.50"),
        ("1 234,50", "1\u00a0234,50"),
    ],
)
def test_any_other_sign_in_an_amount_is_refused(sample: str, text: str) -> None:
    assert reason({"path": "x", "decimal": sample}, text, "amount") == (
        f"is not written like the sample {sample}"
    )


@pytest.mark.parametrize(
    "sample", ["1,234", "1.234", "", "x", "1,23,4.5", "1,234.5.6", "1234,567.5", "12 €", "1--2"]
)
def test_a_sample_must_tell_its_signs(sample: str) -> None:
    with pytest.raises(ValueError, match=r"sample|sign"):
        signs(sample)


def test_a_reader_of_amounts_refuses_without_telling_the_value() -> None:
    with pytest.raises(Refusal) as caught:
        written("1,234.50")("secret")
    assert "secret" not in caught.value.reason


@pytest.mark.parametrize(
    ("value", "currency", "amount"),
    [
        (123456, "EUR", "1234.56"),
        (5, "usd", "0.05"),
        (-5, "EUR", "-0.05"),
        (123456, "JPY", "123456"),
        (123456, "KWD", "123.456"),
        (Decimal128("1250.5"), "EUR", "12.505"),
        (0, "EUR", "0.00"),
        (10**18, "EUR", "1" + "0" * 16 + ".00"),
    ],
)
def test_minor_units_follow_the_currency_of_the_row(value: Any, currency: str, amount: str) -> None:
    world = normaliser(
        transactions({"amount": {"path": "x", "minor_units": True}, "currency": "currency"})
    )
    assert row(world, {"_id": 1, "x": value, "currency": currency})["amount"] == amount


def test_minor_units_of_an_unknown_currency_are_refused() -> None:
    world = normaliser(
        transactions({"amount": {"path": "x", "minor_units": True}, "currency": "currency"})
    )
    path, why = refused(world, {"_id": 1, "x": 5, "currency": "XYZ"})
    assert (path, why) == ("x", "is in minor units of a currency that has none in ISO 4217")
    assert row(world, {"_id": 1, "x": 5})["amount"] == "0.05"

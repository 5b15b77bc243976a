"""Decimals that come from BSON the short way are those that the library makes."""

import bson
import pytest
from bson.decimal128 import Decimal128
from hypothesis import given
from hypothesis import strategies as st

from cdc.sources.mongo_decimals import read_decimals_directly

_THEIRS = Decimal128.__dict__["from_bid"]


@pytest.fixture(autouse=True)
def _directly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Decimal128, "from_bid", _THEIRS)  # put back after the test
    read_decimals_directly()


@given(st.binary(min_size=16, max_size=16))
def test_every_sixteen_bytes_make_the_librarys_decimal(bits: bytes) -> None:
    theirs = _THEIRS.__get__(None, Decimal128)(bits)
    ours = Decimal128.from_bid(bits)
    assert type(ours) is Decimal128
    assert ours == theirs
    assert ours.bid == theirs.bid == bits
    assert str(ours) == str(theirs)


@pytest.mark.parametrize("text", ["4542.99", "-0.00", "0E-6176", "NaN", "-Infinity", "9.9E+6144"])
def test_the_decoder_takes_the_short_way(text: str) -> None:
    calls: list[bytes] = []
    mine = Decimal128.from_bid

    def counted(value: bytes) -> Decimal128:
        calls.append(value)
        return mine(value)

    Decimal128.from_bid = staticmethod(counted)  # type: ignore[method-assign,assignment]
    decoded = bson.decode(bson.encode({"amount": Decimal128(text)}))
    assert str(decoded["amount"]) == str(Decimal128(text))
    assert len(calls) == 1

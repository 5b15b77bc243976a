"""Amounts as text: plain decimals, exact, never float."""

from decimal import Decimal

DIGITS_MAX = 131_072
"""What Postgres' ``numeric`` holds before the point (its documentation, section 8.1.2)."""
SCALE_MAX = 16_383

# ISO 4217:2015 with amendments: the currencies whose exponent is not 2.
_CURRENCIES_BY_EXPONENT = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
    3: "BHD IQD JOD KWD LYD OMR TND",
    4: "CLF UYW",
}
_EXPONENTS = {
    currency: exponent
    for exponent, currencies in _CURRENCIES_BY_EXPONENT.items()
    for currency in currencies.split()
}


def currency_exponent(currency: str) -> int:
    """The number of decimals of an ISO 4217 currency; 2 for what the table does not name."""
    return _EXPONENTS.get(currency, 2)


def plain(amount: Decimal) -> str:
    """Plain notation, as many decimals as given; minus zero is zero. Finite values only."""
    if not amount.is_finite():
        raise ValueError("amount is not a finite number")
    if not amount:
        amount = abs(amount)
    return format(amount, "f")


def normalised(amount: str) -> str:
    """The one text of this value: no needless zeros, no minus zero. ``amount`` is plain."""
    if "." in amount:
        amount = amount.rstrip("0").rstrip(".")
    return "0" if amount in ("-0", "") else amount

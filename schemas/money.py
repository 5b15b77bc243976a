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
_TWO_DECIMALS = """
    AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BOV BRL BSD BTN BWP BYN BZD
    CAD CDF CHE CHF CHW CNY COP COU CRC CUC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL
    GHS GIP GMD GTQ GYD HKD HNL HRK HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR
    LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD PAB
    PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SLL SOS SRD SSP STN SVC SYP
    SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD USN UYU UZS VED VES WST XCD XCG YER ZAR ZMW ZWG ZWL
"""
_EXPONENTS = {
    currency: exponent
    for exponent, currencies in _CURRENCIES_BY_EXPONENT.items()
    for currency in currencies.split()
}
CURRENCIES = frozenset(_TWO_DECIMALS.split()) | _EXPONENTS.keys()
"""The currencies of ISO 4217 that have minor units (or are known to have none)."""
UNUSUAL_CURRENCIES = frozenset(_EXPONENTS)
"""Those whose exponent is not 2."""


def currency_exponent(currency: str) -> int:
    """The number of decimals of an ISO 4217 currency; 2 for what the table does not name."""
    return _EXPONENTS.get(currency, 2)


def has_minor_units(currency: str) -> bool:
    """Whether ISO 4217 tells the exponent of this currency."""
    return currency in CURRENCIES


def plain(amount: Decimal) -> str:
    """Plain notation, as many decimals as given; minus zero is zero. Finite values only."""
    if not amount.is_finite():
        raise ValueError("amount is not a finite number")
    if not amount:
        amount = abs(amount)
    return format(amount, "f")


def normalised(amount: str) -> str:
    """The one text of this value: no needless zeros, no minus zero. ``amount`` is plain."""
    if amount[-1] != "0":
        return amount
    if "." in amount:
        amount = amount.rstrip("0").rstrip(".")
    return "0" if amount == "-0" else amount

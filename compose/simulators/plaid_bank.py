"""Makes believable bank connections of any size, the same for the same seed."""

import random
from datetime import date, timedelta
from decimal import Decimal
from functools import cache

import msgspec
from msgspec.structs import replace

from compose.simulators.clock import Clock
from compose.simulators.merchants import EMPLOYER, Merchant, pick_merchants
from compose.simulators.plaid_edits import ItemEdits
from compose.simulators.plaid_item import Item
from compose.simulators.plaid_rows import (
    Account,
    Counterparty,
    FinanceCategory,
    Location,
    Transaction,
)

INCOME_PART, REFUND_PART, CARD_PART = 0.04, 0.02, 0.45
PENDING_DAYS_MAX = 4
SECONDS_OF_A_DAY = 86_400
BERLIN = Location(
    address="1 Main Street",
    city="Berlin",
    postal_code="10115",
    country="DE",
    lat=Decimal("52.532"),
    lon=Decimal("13.385"),
)
WHOLE_UNITS_ONLY = frozenset({"JPY", "KRW"})


class PlaidSize(msgspec.Struct, frozen=True, kw_only=True):
    """How large a connection is, and how long its history takes to arrive."""

    name: str = "First Bank"
    transactions: int = 500
    days: int = 730
    """How far back the bank's own history goes."""
    pending: int = 4
    currency: str | None = "USD"
    unofficial_currency: str | None = None
    persistent_ids: bool = False
    initial_seconds: float = 0.0
    historical_seconds: float = 0.0


def bank(size: PlaidSize, clock: Clock, chance: random.Random) -> ItemEdits:
    """A connection whose history waits for the first call that wants transactions."""
    item = Item(size.name, clock, chance)
    item.initial_seconds, item.historical_seconds = size.initial_seconds, size.historical_seconds
    edits = ItemEdits(item, today_purchase)
    own: dict[str, str | None] = {
        "iso_currency_code": size.currency,
        "unofficial_currency_code": size.unofficial_currency,
    }
    for name, kind, subtype, current, limit in (
        ("Everyday Checking", "depository", "checking", "5200.00", None),
        ("Rewards Card", "credit", "credit card", "310.50", "6000.00"),
        ("Rainy Day Savings", "depository", "savings", "12000.00", None),
    ):
        extra = {"persistent_account_id": item.new_id()} if size.persistent_ids else {}
        edits.add_account(
            name, type=kind, subtype=subtype, current=current, limit=limit, **own, **extra
        )
    if size.transactions:
        _fill(item, size)
    return edits


def today_purchase(item: Item, pending: bool) -> Transaction:
    """One purchase of today by the connection's first or second account."""
    merchant = pick_merchants(item.chance, 1)[0]
    accounts = list(item.accounts.values())[:2]
    return _row(item, merchant, item.chance.choice(accounts), item.clock.today(), pending)


def _fill(item: Item, size: PlaidSize) -> None:
    chance, today = item.chance, item.clock.today()
    checking, card, *_ = item.accounts.values()
    offsets = sorted((chance.randrange(size.days) for _ in range(size.transactions)), reverse=True)
    days = {each: today - timedelta(days=each) for each in set(offsets)}
    for index, merchant in enumerate(pick_merchants(chance, size.transactions)):
        left = size.transactions - index
        pending = left <= size.pending
        day = today - timedelta(days=min(left - 1, PENDING_DAYS_MAX - 1)) if pending else None
        kind = chance.random()
        if kind < INCOME_PART and not pending:
            row = _row(item, EMPLOYER, checking, days[offsets[index]], pending)
            row = replace(row, amount=-row.amount, transaction_code=None)
        else:
            account = card if kind > 1 - CARD_PART else checking
            row = _row(item, merchant, account, day or days[offsets[index]], pending)
            if kind < INCOME_PART + REFUND_PART and not pending:
                row = replace(row, amount=-row.amount, name=f"REFUND {row.name}")
        item.vault.append(row)


def _row(item: Item, merchant: Merchant, account: Account, day: date, pending: bool) -> Transaction:
    chance = item.chance
    hundredths = chance.randint(merchant.low, merchant.high)
    whole = account.balances.iso_currency_code in WHOLE_UNITS_ONLY
    text = merchant.bank_text.format(n=chance.randrange(1000, 9999))
    authorized = day - timedelta(days=0 if pending else chance.randrange(3))
    in_store = merchant.channel == "in store"
    return Transaction(
        transaction_id=item.new_id(),
        account_id=account.account_id,
        amount=Decimal(hundredths) if whole else Decimal(hundredths).scaleb(-2),
        iso_currency_code=account.balances.iso_currency_code,
        unofficial_currency_code=account.balances.unofficial_currency_code,
        date=day.isoformat(),
        authorized_date=authorized.isoformat(),
        authorized_datetime=f"{authorized.isoformat()}T00:00:00Z" if pending else None,
        name=text if pending else merchant.name,
        merchant_name=merchant.name,
        original_description=text,
        pending=pending,
        payment_channel=merchant.channel,
        transaction_type="place" if in_store else "digital",
        location=BERLIN if in_store and chance.random() < 0.3 else Location(),
        personal_finance_category=_category(merchant),
        counterparties=_counterparties(merchant),
    )


@cache
def _category(merchant: Merchant) -> FinanceCategory:
    return FinanceCategory(
        primary=merchant.primary, detailed=f"{merchant.primary}_{merchant.detailed}"
    )


@cache
def _counterparties(merchant: Merchant) -> tuple[Counterparty, ...]:
    return (Counterparty(name=merchant.name),)

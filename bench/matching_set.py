"""A labelled household: purchases, and how a plan and a bank each tell of them.

Made of its own words and its own rules of writing; it shares nothing with what matches. What it
has of the awkward: payees as tills and banks write them, cut, with towns and numbers; names that a
person made up; decomposed accents; days apart; two equal purchases on a day; refunds; round amounts
at many merchants; what only one of the two feeds has; what the bank tells as pending first, and
posts later as another row, in other words, on another day, now and then with a tip.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, timedelta
from decimal import Decimal
from unicodedata import normalize

ACCOUNTS, MERCHANTS = 5, 140
FIRST_DAY, DAYS = date(2024, 1, 1), 730
ONLY_ONE_FEED, RENAMED, REPEATED, REFUNDED = 0.08, 0.02, 0.06, 0.03
PENDING, TIPPED = 0.25, 0.1
_STARTS = "Mar Bel Tor Quin Vas Lor Pell Dun Hal Kes Ros Win Gar Fjord Niño Café Mül Åsa".split()
_ENDS = "ton ville berg mann etti ova field ley ado elle ino sson wick ara mouth brook".split()
_TRADES = "Bakery Books Cycles Deli Diner Garage Garden Grill Pharmacy Records Shoes Tea".split()
_TOWNS = "LISBOA MALMO GENT PORTO GRAZ BRNO LYON BERGEN".split()
_ROUND = ("5.00", "10.00", "15.00", "20.00", "50.00")
_OWN_WORDS = ("Gift", "Weekend", "Kids", "Office party", "Birthday", "Misc")


@dataclass(frozen=True, slots=True)
class Told:
    """One feed's row. ``purchase``: the label; ``bought``: what it was when it was bought.

    ``pending_id``: the bank's row that this one took the place of.
    """

    id: str
    purchase: int
    account: int
    merchant: str
    amount: str
    days: tuple[date, ...]
    text: str
    bought: str
    pending_id: str | None = None


def household(purchases: int, seed: int) -> tuple[list[Told], list[Told], list[Told]]:
    """(the plan's rows, the bank's rows, those that were pending before and are no more)."""
    dice = random.Random(seed)
    merchants = [_merchant(dice) for _ in range(MERCHANTS)]
    usual = {name: _amount(dice) for name in merchants}
    plan: list[Told] = []
    bank: list[Told] = []
    pending: list[Told] = []
    number = 0
    while number < purchases:
        for account, merchant, amount, day in _buy(dice, merchants, usual):
            number += 1
            feeds = dice.choice(("plan", "bank")) if dice.random() < ONLY_ONE_FEED else "both"
            if feeds != "bank":
                plan.append(_planned(dice, number, account, merchant, amount, day))
            if feeds != "plan":
                row = _booked(dice, number, account, merchant, amount, day)
                if dice.random() < PENDING:
                    pending.append(_before(dice, row, day))
                    row = _posted(dice, row, pending[-1].id)
                bank.append(row)
    return plan, bank, pending


def _buy(
    dice: random.Random, merchants: list[str], usual: dict[str, str]
) -> Iterator[tuple[int, str, str, date]]:
    account, merchant = dice.randrange(ACCOUNTS), dice.choice(merchants)
    day = FIRST_DAY + timedelta(days=dice.randrange(DAYS))
    how = dice.random()
    amount = usual[merchant] if how < 0.15 else dice.choice(_ROUND) if how < 0.3 else _amount(dice)
    yield account, merchant, f"-{amount}", day
    if dice.random() < REPEATED:
        yield account, merchant, f"-{amount}", day
    if dice.random() < REFUNDED:
        yield account, merchant, amount, day + timedelta(days=dice.randrange(1, 5))


def _merchant(dice: random.Random) -> str:
    name = dice.choice(_STARTS) + dice.choice(_ENDS)
    return f"{name} {dice.choice(_TRADES)}" if dice.random() < 0.6 else name


def _amount(dice: random.Random) -> str:
    return f"{dice.randrange(1, 180)}.{dice.randrange(100):02}"


def _planned(
    dice: random.Random, number: int, account: int, merchant: str, amount: str, day: date
) -> Told:
    text = dice.choice(_OWN_WORDS) if dice.random() < RENAMED else merchant
    if dice.random() < 0.2:
        text = normalize("NFD", text)
    entered = day + timedelta(days=dice.choices((0, 1, -1), (90, 7, 3))[0])
    return Told(f"p{number}", number, account, merchant, amount, (entered,), text, amount)


def _booked(
    dice: random.Random, number: int, account: int, merchant: str, amount: str, day: date
) -> Told:
    booked = day + timedelta(days=dice.choices((0, 1, 2, 3, 4), (30, 35, 20, 12, 3))[0])
    days = (booked, day) if dice.random() < 0.6 else (booked,)
    text = _till(dice, merchant)
    return Told(f"b{number}", number, account, merchant, amount, days, text, amount)


def _before(dice: random.Random, row: Told, day: date) -> Told:
    """What the bank told on the day itself, in the words of its terminal."""
    return replace(row, id=f"{row.id} pending", days=(day,), text=_till(dice, row.merchant))


def _posted(dice: random.Random, row: Told, pending_id: str) -> Told:
    amount = row.amount
    if dice.random() < TIPPED and amount.startswith("-"):
        amount = str(Decimal(amount) - dice.randrange(1, 5))
    return replace(row, amount=amount, pending_id=pending_id)


def _till(dice: random.Random, merchant: str) -> str:
    how = dice.random()
    if how < 0.3:
        return merchant
    text = merchant.upper()
    if how < 0.45:
        return f"SQ *{text} {dice.randrange(10_000):04}"
    if how < 0.55:
        return f"PAYPAL *{text.replace(' ', '')} {dice.randrange(10**10)}"
    if how < 0.7:
        return f"{text} #{dice.randrange(999)} {dice.choice(_TOWNS)}"
    if how < 0.85:
        return f"POS DEBIT {text} {dice.choice(_TOWNS)} {dice.randrange(10**6)}"[:40]
    return f"{text}{dice.choice((' LTD', '.COM', ' GMBH', ''))}"[:16]

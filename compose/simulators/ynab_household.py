"""Makes a believable household's plan of any size, the same for the same seed."""

import random
from collections import Counter
from datetime import date, timedelta

import msgspec

from compose.simulators.clock import Clock, instant, years_before
from compose.simulators.merchants import EMPLOYER, MERCHANTS, Merchant, pick_merchants
from compose.simulators.ynab_edits import PlanEdits
from compose.simulators.ynab_plan import Amounts, Plan, month_after, month_of
from compose.simulators.ynab_rows import CURRENCIES, SubTransaction, Transaction

GROUPS = {
    "Monthly Bills": ("Rent", "Electricity", "Water", "Internet", "Phone", "Insurance"),
    "Everyday": ("Groceries", "Eating Out", "Transport", "Household", "Medical"),
    "Family": ("Children", "Pets", "Hobbies", "Subscriptions"),
    "Savings": ("Holidays", "Rainy Day 🌧", "New Roof"),
}
GOALS = {
    "Groceries": {"goal_type": "NEED", "goal_target": 600_000, "goal_cadence": 1},
    "New Roof": {"goal_type": "TBD", "goal_target": 9_000_000, "goal_cadence": 13},
    "Holidays": {"goal_type": "TB", "goal_target": 2_500_000},
    "Subscriptions": {"goal_type": "MF", "goal_target": 45_000},
}
ACCOUNTS = {
    "Checking": ("checking", 2_500_000),
    "Savings": ("savings", 8_000_000),
    "Wallet": ("cash", 120_000),
    "Visa": ("creditCard", -430_000),
    "House": ("otherAsset", 310_000_000),
    "Mortgage": ("mortgage", -240_000_000),
}
SPENT_FROM = {"Checking": 55, "Visa": 35, "Wallet": 10}
TRANSFERS = (("Checking", "Visa"), ("Checking", "Savings"), ("Checking", "Wallet"))
FLAGS = ("red", "orange", "yellow", "green", "blue", "purple")
MEMOS = (
    "for the garden",
    "birthday 🎂",
    "shared with Ana – half",
    'the "good" one',
    "zurück\tmorgen",
)
TRANSFER_PART, SPLIT_PART, INCOME_PART = 0.05, 0.05, 0.03
INFLOW = "Inflow: Ready to Assign"


class YnabSize(msgspec.Struct, frozen=True, kw_only=True):
    """How large a plan is; ``transactions`` counts both sides of a transfer."""

    name: str = "Household"
    transactions: int = 1000
    years: int = 3
    currency: str = "USD"


def household(size: YnabSize, clock: Clock, chance: random.Random) -> Plan:
    """A plan with a history up to the clock's today."""
    plan = Plan(size.name, CURRENCIES[size.currency], clock, chance)
    today = clock.today()
    first = years_before(today, size.years)
    _furnish(plan, first)
    History(plan, chance).write(size.transactions, first, today)
    _plan_ahead(plan)
    plan.modified_at = instant(clock.now())
    return plan


def _furnish(plan: Plan, first: date) -> None:
    """Accounts, groups, categories and the months to now, all still empty."""
    edits = PlanEdits(plan)
    internal = edits.add_category_group("Internal Master Category", internal=True)
    plan.inflow_id = edits.add_category(internal, INFLOW, internal=True)
    edits.add_category(internal, "Uncategorized", internal=True)
    cards = edits.add_category_group("Credit Card Payments")
    edits.add_category(cards, "Visa")
    for group, names in GROUPS.items():
        group_id = edits.add_category_group(group)
        for name in names:
            edits.add_category(group_id, name, **GOALS.get(name, {}))
    edits.edit_category("Hobbies", note="music, books 🎸", hidden=False)
    edits.edit_category("Pets", hidden=True)
    for name, (kind, _) in ACCOUNTS.items():
        edits.add_account(name, kind)
    edits.add_account("Old Bank", closed=True, note="closed when we moved")
    start = month_of(first.isoformat())
    edits.edit_account(
        "Mortgage",
        debt_interest_rates={start: 3_500},
        debt_minimum_payments={start: 1_150_000},
        debt_escrow_amounts={start: 0},
    )
    edits.edit_account("Checking", direct_import_linked=True)
    plan.ensure_months(start, month_after(plan.current_month()), plan.step())


def _plan_ahead(plan: Plan) -> None:
    """Schedules, places and this month's moved money."""
    edits = PlanEdits(plan)
    ahead = month_after(plan.current_month())
    unit = 10 * _per_hundredth(plan)
    edits.add_scheduled("Checking", -120 * unit, ahead, payee="Landlord", category="Rent")
    edits.add_scheduled("Checking", -50 * unit, ahead, transfer_to="Savings", frequency="weekly")
    edits.add_scheduled(
        "Visa",
        -30 * unit,
        ahead,
        payee="Everything Online",
        frequency="every3Months",
        flag_color="blue",
        lines=[
            {"amount": -20 * unit, "category": "Household"},
            {"amount": -10 * unit, "category": "Children", "memo": "crayons"},
        ],
    )
    edits.add_payee_location("Café Zoë", "52.5200066", "13.404954")
    edits.add_payee_location("Mercado Central", "-34.6037", "-58.3816")
    edits.move_money("Holidays", "Groceries", 20 * unit, note="guests")
    edits.move_money("New Roof", "Medical", 15 * unit)


def _per_hundredth(plan: Plan) -> int:
    """Milliunits for a hundredth of a dollar's worth: a whole one where there are no parts."""
    return 1000 if plan.currency.decimal_digits == 0 else 10


class History:
    """Writes a past of any length straight into the tables, and its amounts once at the end."""

    def __init__(self, plan: Plan, chance: random.Random) -> None:
        self.plan = plan
        self.chance = chance
        self.edits = PlanEdits(plan)
        self.amounts = Amounts(plan)
        self.accounts = {row.name: row for row in plan.accounts.live()}
        self.categories = {row.name: row.id for row in plan.categories.live()}
        self.payees = {each.name: self.edits.add_payee(each.name) for each in MERCHANTS}
        self.imports: Counter[tuple[str, int, str]] = Counter()

    def write(self, count: int, first: date, today: date) -> None:
        """``count`` transactions from ``first`` to ``today``."""
        days = (today - first).days
        offsets = sorted(self.chance.randrange(days + 1) for _ in range(count))
        texts = [(first + timedelta(days=each)).isoformat() for each in range(days + 1)]
        merchants = iter(pick_merchants(self.chance, count))
        self._open(texts[0])
        while len(self.plan.transactions) < count:
            day = texts[offsets[len(self.plan.transactions)]]
            kind = self.chance.random()
            if kind < TRANSFER_PART and len(self.plan.transactions) + 2 <= count:
                self._transfer(day)
            elif kind < TRANSFER_PART + INCOME_PART:
                self._purchase(day, EMPLOYER, "Checking", sign=1)
            else:
                split = kind > 1 - SPLIT_PART
                self._purchase(day, next(merchants), self._account(), split=split)
        self._budget()
        self.amounts.write(self.plan.step())

    def _open(self, day: str) -> None:
        for name, (_, balance) in ACCOUNTS.items():
            account = self.accounts[name]
            self._put(
                Transaction(
                    id=self.plan.new_id(),
                    date=day,
                    amount=balance * _per_hundredth(self.plan) // 10,
                    cleared="reconciled",
                    account_id=account.id,
                    payee_id=self._payee("Starting Balance"),
                    category_id=self.plan.inflow_id if account.on_budget else None,
                )
            )

    def _account(self) -> str:
        return self.chance.choices(list(SPENT_FROM), list(SPENT_FROM.values()))[0]

    def _amount(self, merchant: Merchant) -> int:
        amount = self.chance.randint(merchant.low, merchant.high) * _per_hundredth(self.plan)
        if self.plan.currency.decimal_digits == 3:
            amount += self.chance.randrange(10)
        return amount

    def _purchase(
        self, day: str, merchant: Merchant, account: str, *, sign: int = -1, split: bool = False
    ) -> None:
        chance = self.chance
        amount = sign * self._amount(merchant)
        account_id = self.accounts[account].id
        extra = chance.random()
        key = (account_id, amount, day)
        self.imports[key] += 1
        from_bank = account != "Wallet" and extra < 0.8
        bank_text = merchant.bank_text.format(n=chance.randrange(1000, 9999))
        scheduled = extra > 0.985
        identity = self.plan.new_id()
        row = Transaction(
            id=f"{identity}_{day}" if scheduled else identity,
            date=day,
            amount=amount,
            memo=chance.choice(MEMOS) if extra > 0.9 else None,
            cleared="uncleared" if extra > 0.97 else "cleared",
            approved=extra < 0.98,
            flag_color=chance.choice(FLAGS) if 0.88 < extra < 0.9 else None,
            account_id=account_id,
            payee_id=self._payee(merchant.name),
            category_id=None if split else self.categories[merchant.category],
            import_id=f"YNAB:{amount}:{day}:{self.imports[key]}" if from_bank else None,
            import_payee_name=merchant.name if from_bank else None,
            import_payee_name_original=bank_text if from_bank else None,
        )
        self._put(row, self._split(row, merchant) if split else ())

    def _split(self, row: Transaction, merchant: Merchant) -> tuple[SubTransaction, ...]:
        smallest = 10 ** (3 - self.plan.currency.decimal_digits)
        part = row.amount // 3 // smallest * smallest
        shares = {merchant.category: row.amount - part, "Household": part}
        if len(shares) < 2:
            shares = {"Household": row.amount - part, "Groceries": part}
        return tuple(
            SubTransaction(
                id=self.plan.new_id(),
                transaction_id=row.id,
                amount=amount,
                memo="the rest" if amount == part else None,
                category_id=self.categories[name],
            )
            for name, amount in shares.items()
        )

    def _transfer(self, day: str) -> None:
        from_name, to_name = self.chance.choice(TRANSFERS)
        source, target = self.accounts[from_name], self.accounts[to_name]
        amount = self.chance.randint(20, 900) * 100 * _per_hundredth(self.plan)
        ids = self.plan.new_id(), self.plan.new_id()
        for sign, here, there, own, other in (
            (-1, source, target, ids[0], ids[1]),
            (1, target, source, ids[1], ids[0]),
        ):
            self._put(
                Transaction(
                    id=own,
                    date=day,
                    amount=sign * amount,
                    account_id=here.id,
                    payee_id=there.transfer_payee_id,
                    transfer_account_id=there.id,
                    transfer_transaction_id=other,
                )
            )

    def _payee(self, name: str) -> str:
        if name not in self.payees:
            self.payees[name] = self.edits.add_payee(name)
        return self.payees[name]

    def _put(self, row: Transaction, lines: tuple[SubTransaction, ...] = ()) -> None:
        plan = self.plan
        plan.knowledge += 1
        plan.transactions.put(row.id, row, plan.knowledge)
        for line in lines:
            plan.subtransactions.put(line.id, line, plan.knowledge)
        if lines:
            plan.lines[row.id] = lines
        self.amounts.count(row, lines, 1)

    def _budget(self) -> None:
        unit = 1000 * _per_hundredth(self.plan)
        current = self.plan.current_month()
        for month in self.plan.months.rows:
            for group in GROUPS.values():
                for name in group if month <= current else ():
                    amount = self.chance.randrange(2, 60) * unit
                    self.amounts.budget(month, self.categories[name], amount)

"""A plan: its rows, the one counter that marks every change, and the amounts that follow.

Every step of a person takes the next number of the counter and stamps with it each row it changes,
the derived ones too: account balances, category months, months, the other side of a transfer.
A delta is the rows stamped later than a number, deleted ones included; a full answer the live rows.
"""

import random
import uuid
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any, Generic, TypeVar

from msgspec.structs import replace

from compose.simulators.clock import Clock, instant
from compose.simulators.ynab_rows import (
    Account,
    Category,
    CategoryGroup,
    CurrencyFormat,
    MoneyMovement,
    MoneyMovementGroup,
    Month,
    MonthCategory,
    Payee,
    PayeeLocation,
    Scheduled,
    ScheduledSub,
    SubTransaction,
    Transaction,
)

R = TypeVar("R")
CLEARED = ("cleared", "reconciled")


class Table(Generic[R]):
    """Rows of one kind and, in order of change, the number that last stamped each."""

    def __init__(self) -> None:
        self.rows: dict[str, R] = {}
        self.stamps: dict[str, int] = {}

    def put(self, key: str, row: R, stamp: int) -> None:
        """The row stands under ``key`` from now on and is the last one changed."""
        self.rows[key] = row
        self.stamps.pop(key, None)
        self.stamps[key] = stamp

    def amend(self, key: str, row: R) -> None:
        """Another row without a new stamp: a change that deltas do not tell."""
        self.rows[key] = row

    def since(self, knowledge: int) -> list[R]:
        """Rows stamped later, deleted ones too, the earliest change first."""
        found = []
        for key, stamp in reversed(self.stamps.items()):
            if stamp <= knowledge:
                break
            found.append(self.rows[key])
        found.reverse()
        return found

    def live(self) -> list[R]:
        """Rows that are not deleted."""
        return [row for row in self.rows.values() if _is_live(row)]

    def __getitem__(self, key: str) -> R:
        return self.rows[key]

    def __contains__(self, key: object) -> bool:
        return key in self.rows

    def __len__(self) -> int:
        return len(self.rows)


class Plan:
    """State and stamps; what people do to it is in ``ynab_edits``."""

    def __init__(
        self, name: str, currency: CurrencyFormat, clock: Clock, chance: random.Random
    ) -> None:
        self.clock = clock
        self.chance = chance
        self.id = self.new_id()
        self.user_id = self.new_id()
        self.name = name
        self.currency = currency
        self.knowledge = 0
        self.modified_at = instant(clock.now())
        self.derived_stamps = True
        """False: amounts that follow from others change without a stamp (not publicly known)."""
        self.names_epoch = 0
        """Grows when a name changed that other rows show."""
        self.inflow_id = ""
        """The category `Inflow: Ready to Assign`, whose activity is the months' income."""
        self.accounts: Table[Account] = Table()
        self.payees: Table[Payee] = Table()
        self.payee_locations: Table[PayeeLocation] = Table()
        self.category_groups: Table[CategoryGroup] = Table()
        self.categories: Table[Category] = Table()
        self.months: Table[Month] = Table()
        self.month_categories: Table[MonthCategory] = Table()
        self.transactions: Table[Transaction] = Table()
        self.subtransactions: Table[SubTransaction] = Table()
        self.scheduled: Table[Scheduled] = Table()
        self.scheduled_subs: Table[ScheduledSub] = Table()
        self.money_movements: Table[MoneyMovement] = Table()
        self.money_movement_groups: Table[MoneyMovementGroup] = Table()
        self.lines: dict[str, tuple[SubTransaction, ...]] = {}
        """Live lines by transaction; the same objects as in the table."""
        self.scheduled_lines: dict[str, tuple[ScheduledSub, ...]] = {}

    def new_id(self) -> str:
        return str(uuid.UUID(int=self.chance.getrandbits(128), version=4))

    def step(self) -> int:
        """The next number of the counter, for everything one edit changes."""
        self.knowledge += 1
        self.modified_at = instant(self.clock.now())
        return self.knowledge

    def tables(self) -> Iterator[Table[Any]]:
        return (each for each in vars(self).values() if isinstance(each, Table))

    def renumber(self, knowledge: int = 1) -> None:
        """The server lost its counter: every row as if changed at ``knowledge``; deleted ones go.

        Afterwards an older, higher number of a client is one this server never gave out.
        """
        for table in self.tables():
            table.rows = {key: row for key, row in table.rows.items() if _is_live(row)}
            table.stamps = dict.fromkeys(table.rows, knowledge)
        self.knowledge = knowledge

    def current_month(self) -> str:
        return month_of(self.clock.today().isoformat())

    def month_category(self, month: str, category_id: str) -> MonthCategory:
        """The amounts; zeros for a month without a row."""
        found = self.month_categories.rows.get(f"{month}:{category_id}")
        return found or MonthCategory(month=month, category_id=category_id)

    def ensure_months(self, first: str, last: str, stamp: int) -> None:
        """Rows for every month from ``first`` to ``last`` and for what lies between old ones.

        A month row that comes later than others starts with what they left behind.
        """
        known = sorted(self.months.rows)
        month = min([first, *known[:1]])
        last = max([last, *known[-1:]])
        before: str | None = None
        while month <= last:
            if month not in self.months:
                self._new_month(month, before, stamp)
            before, month = month, month_after(month)

    def _new_month(self, month: str, before: str | None, stamp: int) -> None:
        left = self.months[before].to_be_budgeted if before else 0
        self.months.put(month, Month(month=month, to_be_budgeted=left), stamp)
        for category_id in self.categories.rows:
            balance = self.month_category(before, category_id).balance if before else 0
            row = MonthCategory(month=month, category_id=category_id, balance=balance)
            self.month_categories.put(f"{month}:{category_id}", row, stamp)

    def roll_over(self) -> None:
        """The month after the current one stands, as people who plan ahead make it.

        So when a month begins its rows are there already, and nothing is stamped that day.
        """
        ahead = month_after(self.current_month())
        if ahead not in self.months:
            self.ensure_months(ahead, ahead, self.step())


class Amounts:
    """Changes of amounts, gathered and then written down once: for one edit or a whole history."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._accounts: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0])
        self._activity: defaultdict[tuple[str, str], int] = defaultdict(int)
        self._budgeted: defaultdict[tuple[str, str], int] = defaultdict(int)

    def count(self, row: Transaction, lines: Iterable[SubTransaction], sign: int) -> None:
        """What a transaction adds (``sign`` 1) or added before (-1); a deleted one counts not."""
        if row.deleted:
            return
        account = self._accounts[row.account_id]
        account[row.cleared not in CLEARED] += sign * row.amount
        if not self._plan.accounts[row.account_id].on_budget:
            return
        month = month_of(row.date)
        if row.category_id is not None:
            self._activity[month, row.category_id] += sign * row.amount
        for line in lines:
            if line.category_id is not None:
                self._activity[month, line.category_id] += sign * line.amount

    def budget(self, month: str, category_id: str, amount: int) -> None:
        """So much more (or less) is assigned."""
        self._budgeted[month, category_id] += amount

    def write(self, stamp: int) -> None:
        """Balances, category months and months become what was gathered."""
        plan = self._plan
        for account_id, (cleared, uncleared) in self._accounts.items():
            account = plan.accounts[account_id]
            if cleared or uncleared:
                changed = replace(
                    account,
                    balance=account.balance + cleared + uncleared,
                    cleared_balance=account.cleared_balance + cleared,
                    uncleared_balance=account.uncleared_balance + uncleared,
                )
                self._put(plan.accounts, account_id, changed, stamp)
        touched = {*self._activity, *self._budgeted}
        if touched:
            first, last = (edge(month for month, _ in touched) for edge in (min, max))
            plan.ensure_months(first, last, stamp)
            self._write_months(first, {category for _, category in touched}, stamp)

    def _write_months(self, first: str, categories: set[str], stamp: int) -> None:
        plan = self._plan
        carried = dict.fromkeys(sorted(categories), 0)
        to_assign = 0
        for month in sorted(month for month in plan.months.rows if month >= first):
            spent = earned = assigned = 0
            for category_id, before in carried.items():
                activity = self._activity.get((month, category_id), 0)
                budgeted = self._budgeted.get((month, category_id), 0)
                carried[category_id] = balance = before + activity + budgeted
                if category_id == plan.inflow_id:
                    earned += activity
                else:
                    spent += activity
                assigned += budgeted
                if activity or budgeted or balance:
                    old = plan.month_category(month, category_id)
                    row = replace(
                        old,
                        budgeted=old.budgeted + budgeted,
                        activity=old.activity + activity,
                        balance=old.balance + balance,
                    )
                    self._put(plan.month_categories, f"{month}:{category_id}", row, stamp)
            to_assign += earned - assigned
            if spent or earned or assigned or to_assign:
                total = plan.months[month]
                changed = replace(
                    total,
                    income=total.income + earned,
                    budgeted=total.budgeted + assigned,
                    activity=total.activity + spent,
                    to_be_budgeted=total.to_be_budgeted + to_assign,
                )
                self._put(plan.months, month, changed, stamp)

    def _put(self, table: Table[R], key: str, row: R, stamp: int) -> None:
        if self._plan.derived_stamps:
            table.put(key, row, stamp)
        else:
            table.amend(key, row)


def month_of(day: str) -> str:
    """The first day of the month an ISO date lies in."""
    return f"{day[:8]}01"


def month_after(month: str) -> str:
    year, number = int(month[:4]), int(month[5:7])
    return f"{year + number // 12:04}-{number % 12 + 1:02}-01"


def _is_live(row: object) -> bool:
    return not getattr(row, "deleted", False)

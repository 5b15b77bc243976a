"""A plan's rows as YNAB writes them: base shapes inside the plan's detail, full ones in the lists.

The list shapes add names, and `_formatted` and `_currency` to every amount. A transaction's text
is kept while its row (another one with every change of its lines) and the names stay the
same: a list of 100,000 is a join.
"""

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import msgspec
from msgspec.structs import asdict

from compose.simulators.ynab_plan import Plan
from compose.simulators.ynab_rows import (
    Account,
    Category,
    CategoryGroup,
    CurrencyFormat,
    MoneyMovement,
    Month,
    MonthCategory,
    Scheduled,
    ScheduledSub,
    SubTransaction,
    Transaction,
)

ENCODER = msgspec.json.Encoder(decimal_format="number")
MILLI = Decimal(1000)
SPLIT = "Split"
Shape = dict[str, Any]


def array(texts: Iterable[bytes]) -> bytes:
    """A JSON array of values that are JSON already."""
    return b"[" + b",".join(texts) + b"]"


def formatted(milliunits: int, currency: CurrencyFormat) -> str:
    """As YNAB shows it to a person."""
    digits = currency.decimal_digits
    smallest = abs(milliunits) // 10 ** (3 - digits)
    whole, part = divmod(smallest, 10**digits)
    text = f"{whole:,}".replace(",", currency.group_separator)
    if digits:
        text += f"{currency.decimal_separator}{part:0{digits}}"
    if currency.display_symbol:
        symbol = currency.currency_symbol
        text = f"{symbol}{text}" if currency.symbol_first else f"{text}{symbol}"
    return f"-{text}" if milliunits < 0 else text


class Shapes:
    """Makes and keeps the texts of one plan."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._epoch = plan.names_epoch
        self._kept: dict[str, tuple[Transaction, bytes]] = {}

    def with_money(self, row: Any, *, into: Shape | None = None) -> Shape:
        """The row's fields, and its amounts in the two further forms."""
        shape = asdict(row) if into is None else into
        currency = self._plan.currency
        for name in row.money:
            amount = shape[name]
            missing = amount is None
            shape[f"{name}_formatted"] = None if missing else formatted(amount, currency)
            shape[f"{name}_currency"] = None if missing else amount / MILLI
        return shape

    def account(self, row: Account) -> Shape:
        return self.with_money(row)

    def movement(self, row: MoneyMovement) -> Shape:
        return self.with_money(row)

    def month(self, row: Month) -> Shape:
        return self.with_money(row)

    def category_base(self, row: Category, amounts: MonthCategory) -> Shape:
        """A category with what it holds in one month."""
        group = self._plan.category_groups[row.category_group_id]
        return {
            **asdict(row),
            "category_group_name": group.name,
            "budgeted": amounts.budgeted,
            "activity": amounts.activity,
            "balance": amounts.balance,
        }

    def category(self, row: Category, amounts: MonthCategory) -> Shape:
        return self.with_money(row, into=self.category_base(row, amounts))

    def category_in(self, month: str, category_id: str) -> Shape:
        row = self._plan.categories[category_id]
        return self.category(row, self._plan.month_category(month, category_id))

    def group(self, row: CategoryGroup, categories: Iterable[Shape]) -> Shape:
        return {**asdict(row), "categories": list(categories)}

    def names(self, row: Transaction | SubTransaction | Scheduled | ScheduledSub) -> Shape:
        """The names behind a row's payee and category."""
        plan = self._plan
        payee = plan.payees.rows.get(row.payee_id or "")
        category = plan.categories.rows.get(row.category_id or "")
        return {
            "payee_name": payee and payee.name,
            "category_name": category and category.name,
        }

    def line(self, row: SubTransaction | ScheduledSub) -> Shape:
        return {**self.with_money(row), **self.names(row)}

    def transaction(
        self, row: Transaction, lines: Iterable[SubTransaction], *, split: bool
    ) -> Shape:
        """A transaction with the lines given, which may be deleted ones too."""
        shape = self.with_money(row)
        shape.update(self.names(row))
        shape["account_name"] = self._plan.accounts[row.account_id].name
        if split:
            shape["category_name"] = SPLIT
        shape["subtransactions"] = [self.line(line) for line in lines]
        return shape

    def transaction_text(self, row: Transaction, removed: Iterable[SubTransaction] = ()) -> bytes:
        """The same as JSON: the live lines, then the ``removed`` ones."""
        if self._epoch != self._plan.names_epoch:
            self._kept.clear()
            self._epoch = self._plan.names_epoch
        removed = tuple(removed)
        kept = self._kept.get(row.id)
        if kept is not None and not removed and kept[0] is row:
            return kept[1]
        lines = self._plan.lines.get(row.id, ())
        split = bool(lines) or (row.deleted and bool(removed))
        text = ENCODER.encode(self.transaction(row, (*lines, *removed), split=split))
        if not removed:
            self._kept[row.id] = (row, text)
        return text

    def hybrid(self, row: Transaction, line: SubTransaction | None) -> Shape:
        """A transaction, or one line of it in its stead."""
        shape = self.with_money(row)
        shape.update(self.names(row))
        shape["account_name"] = self._plan.accounts[row.account_id].name
        shape["type"] = "subtransaction" if line else "transaction"
        shape["parent_transaction_id"] = line and row.id
        if line is not None:
            shape.update(self.line(line))
            del shape["transaction_id"]
            shape["deleted"] = row.deleted or line.deleted
        shape["category_name"] = shape["category_name"] or "Uncategorized"
        return shape

    def scheduled(self, row: Scheduled, removed: Iterable[ScheduledSub] = ()) -> Shape:
        lines = self._plan.scheduled_lines.get(row.id, ())
        shape = self.with_money(row)
        shape.update(self.names(row))
        if lines:
            shape["category_name"] = SPLIT
        shape["account_name"] = self._plan.accounts[row.account_id].name
        shape["subtransactions"] = [self.line(line) for line in (*lines, *removed)]
        return shape

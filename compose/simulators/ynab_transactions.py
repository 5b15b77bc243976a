"""What people do to a plan's transactions: each order is one step of the plan's counter.

A transfer is two transactions (or a line and a transaction) that name each other and change
together. A split is a transaction with lines whose amounts sum to its own.
Accounts, payees and categories are given by id or name; a payee that is not there is made.
"""

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from msgspec.structs import replace

from compose.simulators.ynab_plan import Amounts, Plan, Table
from compose.simulators.ynab_rows import Account, Category, Payee, SubTransaction, Transaction

R = TypeVar("R", Account, Payee, Category)
LINE_FIELDS = frozenset({"id", "amount", "memo", "payee", "category", "transfer_to"})
PLAIN_FIELDS = frozenset(
    {"date", "memo", "cleared", "approved", "flag_color", "flag_name", "import_id"}
    | {"debt_transaction_type", "import_payee_name", "import_payee_name_original"}
)
EDIT_FIELDS = PLAIN_FIELDS | {"account", "amount", "payee", "category", "lines", "unbalanced"}


def found(table: Table[R], reference: str) -> R:
    """The row by id, or else the live one of that name; ``LookupError`` when there is none."""
    if reference in table:
        return table[reference]
    for row in table.live():
        if row.name == reference:
            return row
    raise LookupError(f"nothing here is {reference!r}")


class TransactionEdits:
    """Orders about transactions; amounts in milliunits, out is negative."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan

    def add_transaction(
        self,
        account: str,
        amount: int,
        *,
        date: str | None = None,
        payee: str | None = None,
        category: str | None = None,
        transfer_to: str | None = None,
        lines: Iterable[Mapping[str, Any]] = (),
        unbalanced: bool = False,
        id: str | None = None,  # noqa: A002 - the API's own word
        **fields: Any,
    ) -> str:
        """A new transaction; its id. ``unbalanced`` lines need not sum to the amount."""
        _check(fields, PLAIN_FIELDS)
        plan = self.plan
        stamp = plan.step()
        amounts = Amounts(plan)
        row = Transaction(
            id=id or plan.new_id(),
            date=date or plan.clock.today().isoformat(),
            amount=amount,
            account_id=found(plan.accounts, account).id,
            payee_id=self._payee(payee, stamp),
            category_id=category and found(plan.categories, category).id,
            **fields,
        )
        if transfer_to is not None:
            row = self._with_other_side(row, transfer_to, stamp, amounts)
        self._write(row, self._lines(row, lines, stamp, amounts, unbalanced), stamp, amounts)
        amounts.write(stamp)
        return row.id

    def edit_transaction(self, id: str, **changes: Any) -> str:  # noqa: A002 - the API's own word
        """Change fields; ``lines`` replaces the whole set (``[]``: no split any more)."""
        _check(changes, EDIT_FIELDS)
        plan = self.plan
        old = self._live(id)
        stamp = plan.step()
        amounts = Amounts(plan)
        row = replace(old, **{key: changes[key] for key in PLAIN_FIELDS & changes.keys()})
        if "amount" in changes:
            row = replace(row, amount=changes["amount"])
        if "account" in changes:
            row = replace(row, account_id=found(plan.accounts, changes["account"]).id)
        if "payee" in changes:
            row = replace(row, payee_id=self._payee(changes["payee"], stamp))
        if "category" in changes:
            name = changes["category"]
            row = replace(row, category_id=name and found(plan.categories, name).id)
        lines = plan.lines.get(id, ())
        if "lines" in changes:
            unbalanced = changes.get("unbalanced", False)
            lines = self._lines(row, changes["lines"], stamp, amounts, unbalanced)
            row = replace(row, category_id=None) if lines else row
        elif lines and row.amount != old.amount:
            raise ValueError("amount must equal the sum of subtransaction amounts")
        self._write(row, lines, stamp, amounts)
        self._follow(row, stamp, amounts)
        amounts.write(stamp)
        return row.id

    def delete_transaction(self, id: str) -> str:  # noqa: A002 - the API's own word
        """The transaction, its lines and the other sides of its transfers are deleted."""
        stamp = self.plan.step()
        amounts = Amounts(self.plan)
        self._delete(self._live(id), stamp, amounts)
        amounts.write(stamp)
        return id

    def match_transactions(self, first: str, second: str) -> None:
        """An import and an entry by hand name each other, as before the person approves."""
        stamp = self.plan.step()
        for row, other in ((self._live(first), second), (self._live(second), first)):
            matched = replace(row, matched_transaction_id=other)
            self.plan.transactions.put(row.id, matched, stamp)

    def approve_match(self, kept: str) -> str:
        """The person approves: the other one of the match is deleted; its id."""
        row = self._live(kept)
        other = row.matched_transaction_id
        if other is None:
            raise ValueError(f"{kept} has no match")
        self.delete_transaction(other)
        stamp = self.plan.step()
        self.plan.transactions.put(kept, replace(row, approved=True), stamp)
        return other

    def _live(self, transaction_id: str) -> Transaction:
        row = self.plan.transactions.rows.get(transaction_id)
        if row is None or row.deleted:
            raise LookupError(f"no transaction {transaction_id!r}")
        return row

    def _payee(self, reference: str | None, stamp: int) -> str | None:
        if reference is None:
            return None
        try:
            return found(self.plan.payees, reference).id
        except LookupError:
            payee = Payee(id=self.plan.new_id(), name=reference)
            self.plan.payees.put(payee.id, payee, stamp)
            return payee.id

    def _lines(
        self,
        row: Transaction,
        wanted: Iterable[Mapping[str, Any]],
        stamp: int,
        amounts: Amounts,
        unbalanced: bool,
    ) -> tuple[SubTransaction, ...]:
        """The new set of lines; one that names its old id keeps it."""
        wanted = list(wanted)
        if wanted and not unbalanced and sum(line["amount"] for line in wanted) != row.amount:
            raise ValueError("amount must equal the sum of subtransaction amounts")
        lines = []
        for line in wanted:
            _check(line, LINE_FIELDS)
            category = line.get("category")
            made = SubTransaction(
                id=line.get("id") or self.plan.new_id(),
                transaction_id=row.id,
                amount=line["amount"],
                memo=line.get("memo"),
                payee_id=self._payee(line.get("payee"), stamp),
                category_id=category and found(self.plan.categories, category).id,
            )
            if line.get("transfer_to") is not None:
                made = self._line_to(row, made, line["transfer_to"], stamp, amounts)
            lines.append(made)
        return tuple(lines)

    def _with_other_side(
        self, row: Transaction, transfer_to: str, stamp: int, amounts: Amounts
    ) -> Transaction:
        plan = self.plan
        here, there = plan.accounts[row.account_id], found(plan.accounts, transfer_to)
        other = self._other_side(row, row.id, -row.amount, here, there)
        self._write(other, (), stamp, amounts)
        return replace(
            row,
            payee_id=there.transfer_payee_id,
            transfer_account_id=there.id,
            transfer_transaction_id=other.id,
        )

    def _line_to(
        self,
        row: Transaction,
        line: SubTransaction,
        transfer_to: str,
        stamp: int,
        amounts: Amounts,
    ) -> SubTransaction:
        """The line as one side of a transfer, whose other side is a transaction of its own."""
        plan = self.plan
        here, there = plan.accounts[row.account_id], found(plan.accounts, transfer_to)
        other = self._other_side(row, line.id, -line.amount, here, there)
        self._write(other, (), stamp, amounts)
        return replace(
            line,
            payee_id=there.transfer_payee_id,
            transfer_account_id=there.id,
            transfer_transaction_id=other.id,
        )

    def _other_side(
        self, row: Transaction, names: str, amount: int, here: Account, there: Account
    ) -> Transaction:
        return Transaction(
            id=self.plan.new_id(),
            date=row.date,
            amount=amount,
            cleared=row.cleared,
            account_id=there.id,
            payee_id=here.transfer_payee_id,
            transfer_account_id=here.id,
            transfer_transaction_id=names,
        )

    def _follow(self, row: Transaction, stamp: int, amounts: Amounts) -> None:
        """The other side of a transfer takes its date, account and amount from this one."""
        other = self.plan.transactions.rows.get(row.transfer_transaction_id or "")
        if other is None or other.deleted:
            return
        here = self.plan.accounts[row.account_id]
        followed = replace(
            other,
            date=row.date,
            amount=-row.amount,
            payee_id=here.transfer_payee_id,
            transfer_account_id=here.id,
        )
        self._write(followed, (), stamp, amounts)

    def _delete(self, row: Transaction, stamp: int, amounts: Amounts) -> None:
        self._write(replace(row, deleted=True), (), stamp, amounts)
        other = self.plan.transactions.rows.get(row.transfer_transaction_id or "")
        if other is not None and not other.deleted:
            self._write(replace(other, deleted=True), (), stamp, amounts)

    def _write(
        self,
        row: Transaction,
        lines: tuple[SubTransaction, ...],
        stamp: int,
        amounts: Amounts,
    ) -> None:
        """Put a transaction and its lines in place of what stood there."""
        plan = self.plan
        old_lines = plan.lines.pop(row.id, ())
        if row.id in plan.transactions:
            amounts.count(plan.transactions[row.id], old_lines, -1)
        amounts.count(row, lines, 1)
        plan.transactions.put(row.id, row, stamp)
        kept = {line.id for line in lines}
        for line in old_lines:
            if line.id not in kept:
                plan.subtransactions.put(line.id, replace(line, deleted=True), stamp)
                self._drop_side_of(line, stamp, amounts)
        for line in lines:
            if plan.subtransactions.rows.get(line.id) is not line:
                plan.subtransactions.put(line.id, line, stamp)
        if lines:
            plan.lines[row.id] = lines

    def _drop_side_of(self, line: SubTransaction, stamp: int, amounts: Amounts) -> None:
        other = self.plan.transactions.rows.get(line.transfer_transaction_id or "")
        if other is not None and not other.deleted:
            self._write(replace(other, deleted=True), (), stamp, amounts)


def _check(given: Iterable[str], allowed: frozenset[str]) -> None:
    unknown = set(given) - allowed
    if unknown:
        raise ValueError(f"unknown: {', '.join(sorted(unknown))}")

"""What people do to everything else in a plan: accounts, payees, categories, months, schedules."""

from collections.abc import Iterable, Mapping
from typing import Any

from msgspec.structs import replace

from compose.simulators.clock import instant
from compose.simulators.ynab_plan import Amounts
from compose.simulators.ynab_rows import (
    Account,
    Category,
    CategoryGroup,
    MoneyMovement,
    MoneyMovementGroup,
    Payee,
    PayeeLocation,
    Scheduled,
    ScheduledSub,
)
from compose.simulators.ynab_transactions import TransactionEdits, found

DEBT_TYPES = frozenset(
    {"mortgage", "autoLoan", "studentLoan", "personalLoan", "medicalDebt", "otherDebt"}
)
OFF_BUDGET_TYPES = DEBT_TYPES | {"otherAsset", "otherLiability"}


class PlanEdits(TransactionEdits):
    """Every order about a plan. References are ids or names."""

    # -- accounts and payees -----------------------------------------------------------------

    def add_account(self, name: str, type: str = "checking", **fields: Any) -> str:  # noqa: A002
        """An account with the payee that transfers to it carry; its id."""
        plan = self.plan
        stamp = plan.step()
        account_id = plan.new_id()
        payee = Payee(id=plan.new_id(), name=f"Transfer : {name}", transfer_account_id=account_id)
        plan.payees.put(payee.id, payee, stamp)
        fields = {"on_budget": type not in OFF_BUDGET_TYPES, **fields}
        account = Account(id=account_id, name=name, type=type, transfer_payee_id=payee.id, **fields)
        plan.accounts.put(account_id, account, stamp)
        return account_id

    def edit_account(self, account: str, **changes: Any) -> None:
        """Rename, close, mark deleted: any field of an account but its balances."""
        if any(key.endswith("balance") for key in changes):
            raise ValueError("balances follow from transactions")
        row = found(self.plan.accounts, account)
        stamp = self._renaming()
        self.plan.accounts.put(row.id, replace(row, **changes), stamp)

    def add_payee(self, name: str) -> str:
        payee = Payee(id=self.plan.new_id(), name=name)
        self.plan.payees.put(payee.id, payee, self.plan.step())
        return payee.id

    def rename_payee(self, payee: str, name: str) -> None:
        """The payee; its transactions, as their rows do not change, are not stamped."""
        row = found(self.plan.payees, payee)
        self.plan.payees.put(row.id, replace(row, name=name), self._renaming())

    def merge_payees(self, payee: str, into: str) -> int:
        """All transactions of one payee become another's; how many changed at one step."""
        gone, kept = found(self.plan.payees, payee), found(self.plan.payees, into)
        stamp = self.plan.step()
        moved = [row for row in self.plan.transactions.live() if row.payee_id == gone.id]
        for row in moved:
            self.plan.transactions.put(row.id, replace(row, payee_id=kept.id), stamp)
        self.plan.payees.put(gone.id, replace(gone, deleted=True), stamp)
        return len(moved)

    def delete_payee(self, payee: str) -> None:
        """The payee alone: transactions go on naming it."""
        row = found(self.plan.payees, payee)
        self.plan.payees.put(row.id, replace(row, deleted=True), self.plan.step())

    def add_payee_location(self, payee: str, latitude: str, longitude: str) -> str:
        row = PayeeLocation(
            id=self.plan.new_id(),
            payee_id=found(self.plan.payees, payee).id,
            latitude=latitude,
            longitude=longitude,
        )
        self.plan.payee_locations.put(row.id, row, self.plan.step())
        return row.id

    def delete_payee_location(self, location: str) -> None:
        row = self.plan.payee_locations[location]
        self.plan.payee_locations.put(location, replace(row, deleted=True), self.plan.step())

    # -- categories and months ---------------------------------------------------------------

    def add_category_group(self, name: str, **fields: Any) -> str:
        group = CategoryGroup(id=self.plan.new_id(), name=name, **fields)
        self.plan.category_groups.put(group.id, group, self.plan.step())
        return group.id

    def edit_category_group(self, group: str, **changes: Any) -> None:
        row = self._group(group)
        stamp = self._renaming()
        self.plan.category_groups.put(row.id, replace(row, **changes), stamp)

    def add_category(self, group: str, name: str, **fields: Any) -> str:
        plan = self.plan
        stamp = plan.step()
        row = Category(
            id=plan.new_id(), category_group_id=self._group(group).id, name=name, **fields
        )
        plan.categories.put(row.id, row, stamp)
        for month in plan.months.rows:
            amounts = plan.month_category(month, row.id)
            plan.month_categories.put(f"{month}:{row.id}", amounts, stamp)
        return row.id

    def edit_category(self, category: str, **changes: Any) -> None:
        """Rename, hide, move, note, goal, mark deleted. Its months change with it."""
        plan = self.plan
        row = found(plan.categories, category)
        stamp = self._renaming()
        plan.categories.put(row.id, replace(row, **changes), stamp)
        if plan.derived_stamps:
            for month in plan.months.rows:
                amounts = plan.month_category(month, row.id)
                plan.month_categories.put(f"{month}:{row.id}", amounts, stamp)

    def delete_category(self, category: str) -> None:
        """The category alone: transactions go on naming it."""
        self.edit_category(category, deleted=True)

    def set_budgeted(self, month: str, category: str, amount: int) -> None:
        """What is assigned to a category in a month becomes ``amount``."""
        row = found(self.plan.categories, category)
        amounts = Amounts(self.plan)
        before = self.plan.month_category(month, row.id).budgeted
        amounts.budget(month, row.id, amount - before)
        amounts.write(self.plan.step())

    def edit_month(self, month: str, **changes: Any) -> None:
        row = self.plan.months[month]
        self.plan.months.put(month, replace(row, **changes), self.plan.step())

    def move_money(
        self, from_category: str, to_category: str, amount: int, *, note: str | None = None
    ) -> str:
        """Money goes from one category to another in this month; the movement's id."""
        plan = self.plan
        source, target = (found(plan.categories, each) for each in (from_category, to_category))
        stamp = plan.step()
        month, now = plan.current_month(), instant(plan.clock.now())
        group = MoneyMovementGroup(
            id=plan.new_id(),
            group_created_at=now,
            month=month,
            note=note,
            performed_by_user_id=plan.user_id,
        )
        movement = MoneyMovement(
            id=plan.new_id(),
            month=month,
            moved_at=now,
            note=note,
            money_movement_group_id=group.id,
            performed_by_user_id=plan.user_id,
            from_category_id=source.id,
            to_category_id=target.id,
            amount=amount,
        )
        plan.money_movement_groups.put(group.id, group, stamp)
        plan.money_movements.put(movement.id, movement, stamp)
        amounts = Amounts(plan)
        amounts.budget(month, source.id, -amount)
        amounts.budget(month, target.id, amount)
        amounts.write(stamp)
        return movement.id

    # -- schedules -----------------------------------------------------------------------------

    def add_scheduled(
        self,
        account: str,
        amount: int,
        date_first: str,
        *,
        frequency: str = "monthly",
        payee: str | None = None,
        category: str | None = None,
        transfer_to: str | None = None,
        lines: Iterable[Mapping[str, Any]] = (),
        **fields: Any,
    ) -> str:
        """A scheduled transaction, with lines for a split; its id."""
        plan = self.plan
        stamp = plan.step()
        there = transfer_to and found(plan.accounts, transfer_to)
        row = Scheduled(
            id=plan.new_id(),
            date_first=date_first,
            date_next=fields.pop("date_next", date_first),
            frequency=frequency,
            amount=amount,
            account_id=found(plan.accounts, account).id,
            payee_id=there.transfer_payee_id if there else self._payee(payee, stamp),
            category_id=category and found(plan.categories, category).id,
            transfer_account_id=there.id if there else None,
            **fields,
        )
        plan.scheduled.put(row.id, row, stamp)
        self._set_scheduled_lines(row, lines, stamp)
        return row.id

    def edit_scheduled(
        self,
        id: str,  # noqa: A002 - the API's own word
        *,
        lines: Iterable[Mapping[str, Any]] | None = None,
        **changes: Any,
    ) -> None:
        """Change fields, or replace the set of lines."""
        row = replace(self.plan.scheduled[id], **changes)
        stamp = self.plan.step()
        self.plan.scheduled.put(id, row, stamp)
        if lines is not None:
            self._set_scheduled_lines(row, lines, stamp)

    def delete_scheduled(self, id: str) -> None:  # noqa: A002 - the API's own word
        self.edit_scheduled(id, lines=(), deleted=True)

    def enter_scheduled(self, id: str) -> str:  # noqa: A002 - the API's own word
        """The scheduled one's day has come: a transaction with id `<uuid>_<date>`; that id."""
        row = self.plan.scheduled[id]
        lines = [
            {"amount": line.amount, "payee": line.payee_id, "category": line.category_id}
            for line in self.plan.scheduled_lines.get(id, ())
        ]
        return self.add_transaction(
            row.account_id,
            row.amount,
            date=row.date_next,
            payee=row.payee_id,
            category=row.category_id,
            lines=lines,
            id=f"{row.id}_{row.date_next}",
            approved=False,
            cleared="uncleared",
        )

    def lose_knowledge(self, knowledge: int = 1) -> None:
        """The server's counter starts again (see ``Plan.renumber``)."""
        self.plan.renumber(knowledge)

    def summary(self) -> dict[str, Any]:
        """What stands in the plan: for people who watch a demo."""
        plan = self.plan
        return {
            "id": plan.id,
            "name": plan.name,
            "server_knowledge": plan.knowledge,
            "transactions": len(plan.transactions.live()),
            "accounts": {row.name: row.balance for row in plan.accounts.live()},
        }

    def _renaming(self) -> int:
        self.plan.names_epoch += 1
        return self.plan.step()

    def _group(self, reference: str) -> CategoryGroup:
        for row in self.plan.category_groups.live():
            if reference in (row.id, row.name):
                return row
        raise LookupError(f"no category group {reference!r}")

    def _set_scheduled_lines(
        self, row: Scheduled, wanted: Iterable[Mapping[str, Any]], stamp: int
    ) -> None:
        plan = self.plan
        for old in plan.scheduled_lines.pop(row.id, ()):
            plan.scheduled_subs.put(old.id, replace(old, deleted=True), stamp)
        lines = tuple(
            ScheduledSub(
                id=plan.new_id(),
                scheduled_transaction_id=row.id,
                amount=line["amount"],
                memo=line.get("memo"),
                payee_id=self._payee(line.get("payee"), stamp),
                category_id=line.get("category") and found(plan.categories, line["category"]).id,
            )
            for line in wanted
        )
        for line in lines:
            plan.scheduled_subs.put(line.id, line, stamp)
        if lines:
            plan.scheduled_lines[row.id] = lines

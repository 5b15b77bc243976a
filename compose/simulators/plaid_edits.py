"""What happens at a bank: each order changes a connection's log as the real Plaid would.

Amounts are decimals or their texts, positive when money leaves the account.
"""

from collections.abc import Callable
from datetime import date as day_of
from datetime import timedelta
from decimal import Decimal
from typing import Any

from msgspec.structs import replace

from compose.simulators.clock import instant
from compose.simulators.plaid_errors import plaid_error
from compose.simulators.plaid_item import Item
from compose.simulators.plaid_rows import Account, Balances, Transaction

REFRESH_RAISES_BY = Decimal("1.00")
REFRESH_NEW_PENDINGS = 2


class ItemEdits:
    """Every order about one connection. Accounts are given by id, name or mask."""

    def __init__(self, item: Item, purchase: Callable[[Item, bool], Transaction]) -> None:
        self.item = item
        self._purchase = purchase

    # -- transactions ------------------------------------------------------------------------

    def add_transaction(
        self,
        amount: Decimal | str,
        name: str,
        *,
        account: str | None = None,
        date: str | None = None,
        pending: bool = False,
        **fields: Any,
    ) -> str:
        """A new transaction of the first account, or of the one given; its id."""
        item = self.item
        row = Transaction(
            transaction_id=item.new_id(),
            account_id=(owner := self._account(account)).account_id,
            amount=Decimal(amount),
            iso_currency_code=fields.pop("iso_currency_code", owner.balances.iso_currency_code),
            unofficial_currency_code=fields.pop(
                "unofficial_currency_code", owner.balances.unofficial_currency_code
            ),
            date=date or item.clock.today().isoformat(),
            name=name,
            pending=pending,
            **fields,
        )
        return self._add(row)

    def add_purchases(self, count: int, *, pending: bool = False) -> list[str]:
        """So many purchases of today, made up; their ids."""
        return [self._add(self._purchase(self.item, pending)) for _ in range(count)]

    def modify_transaction(self, id: str, **changes: Any) -> None:  # noqa: A002 - the API's word
        """Change fields of a transaction, of any age."""
        old = self.item.found(id)
        if "amount" in changes:
            changes["amount"] = Decimal(changes["amount"])
        row = replace(old, **changes)
        self.item.count(old, -1)
        self.item.count(row, 1)
        self.item.note("modified", row)

    def remove_transaction(self, id: str) -> None:  # noqa: A002 - the API's word
        """The bank takes it back, or a pending one never posts."""
        row = self.item.found(id)
        self.item.count(row, -1)
        self.item.note("removed", row)

    def post_pending(
        self,
        id: str,  # noqa: A002 - the API's word
        *,
        link: bool = True,
        added_first: bool = False,
        between: int = 0,
        **changes: Any,
    ) -> str:
        """A pending one posts: removed, and added under a new id, which is returned.

        ``link`` False: without the old id in it. ``between``: so many other transactions change
        between the two halves, so that a page can end there. ``changes``: what differs (tips).
        """
        old = self.item.found(id)
        if not old.pending:
            raise ValueError(f"{id} is not pending")
        if "amount" in changes:
            changes["amount"] = Decimal(changes["amount"])
        posted = replace(
            old,
            **{
                "date": self.item.clock.today().isoformat(),
                "authorized_date": old.date,
                **changes,
                "transaction_id": self.item.new_id(),
                "pending": False,
                "pending_transaction_id": id if link else None,
            },
        )
        if added_first:
            self._add(posted)
        else:
            self.remove_transaction(id)
        self._touch_others(between, {id, posted.transaction_id})
        if added_first:
            self.remove_transaction(id)
        else:
            self._add(posted)
        return posted.transaction_id

    def churn(self, count: int) -> dict[str, str]:
        """The bank tells the newest ones anew: removed and added, unlinked; old id → new id."""
        rows = sorted(self.item.rows.values(), key=lambda row: row.date)[-count:]
        renamed = {}
        for row in rows:
            self.remove_transaction(row.transaction_id)
            renamed[row.transaction_id] = self._add(replace(row, transaction_id=self.item.new_id()))
        return renamed

    def refresh(self) -> None:
        """As the sandbox's dynamic user: pendings post, new ones come, an older amount grows."""
        pendings = [row.transaction_id for row in self.item.rows.values() if row.pending]
        for pending in pendings:
            self.post_pending(pending)
        self.add_purchases(REFRESH_NEW_PENDINGS, pending=True)
        oldest = next((row for row in self.item.rows.values() if not row.pending), None)
        if oldest is not None:
            amount = oldest.amount + REFRESH_RAISES_BY
            self.modify_transaction(oldest.transaction_id, amount=amount)

    # -- accounts ----------------------------------------------------------------------------

    def add_account(
        self,
        name: str,
        *,
        type: str = "depository",  # noqa: A002 - the API's word
        subtype: str = "checking",
        current: Decimal | str = "0",
        limit: Decimal | str | None = None,
        iso_currency_code: str | None = "USD",
        unofficial_currency_code: str | None = None,
        **fields: Any,
    ) -> str:
        """A further account; its id."""
        item = self.item
        credit = type == "credit" and limit is not None
        balance = Decimal(current)
        balances = Balances(
            available=Decimal(limit or 0) - balance if credit else balance,
            current=balance,
            limit=None if limit is None else Decimal(limit),
            iso_currency_code=iso_currency_code,
            unofficial_currency_code=unofficial_currency_code,
        )
        account = Account(
            account_id=item.new_id(),
            balances=balances,
            mask=fields.pop("mask", f"{item.chance.randrange(10_000):04}"),
            name=name,
            official_name=fields.pop("official_name", f"{name} Account"),
            type=type,
            subtype=subtype,
            **fields,
        )
        item.accounts[account.account_id] = account
        item.cached[account.account_id] = account
        return account.account_id

    def edit_account(self, account: str, **changes: Any) -> None:
        row = self._account(account)
        self.item.accounts[row.account_id] = replace(row, **changes)
        self.item.updated()

    def set_balance(self, account: str | None = None, *, told: bool = True, **values: Any) -> None:
        """Balances become ``values``; not ``told``: until the bank is asked the old ones stand."""
        row = self._account(account)
        for key in {"current", "available", "limit"} & values.keys():
            values[key] = None if values[key] is None else Decimal(values[key])
        changed = replace(row, balances=replace(row.balances, **values))
        self.item.accounts[row.account_id] = changed
        if told:
            self.item.cached[row.account_id] = changed

    def drop_account(self, account: str) -> int:
        """The account goes, and all its transactions with it; how many those were."""
        gone = self._account(account).account_id
        ids = [row.transaction_id for row in self.item.rows.values() if row.account_id == gone]
        for each in ids:
            self.remove_transaction(each)
        del self.item.accounts[gone]
        self.item.updated()
        return len(ids)

    # -- the connection ------------------------------------------------------------------------

    def make_ready(self, status: str = "HISTORICAL_UPDATE_COMPLETE") -> None:
        """The history arrives now: `INITIAL_UPDATE_COMPLETE`, or all of it."""
        self.item.load(status)

    def stage(self, initial_seconds: float, historical_seconds: float) -> None:
        """The two parts of the history come so long after the first call."""
        self.item.initial_seconds = initial_seconds
        self.item.historical_seconds = historical_seconds

    def fail_item(self, code: str = "ITEM_LOGIN_REQUIRED", reason: str | None = None) -> None:
        """Every call but `/item/get` gets this error from now on."""
        self.item.error = plaid_error(code, reason=reason)
        self.fail_update()

    def repair_item(self) -> None:
        """The user signed in again."""
        self.item.error = None
        self.item.updated()

    def fail_update(self) -> None:
        """Plaid asked the bank in vain."""
        self.item.failed_at = instant(self.item.clock.now())

    def refuse_cursors(self) -> None:
        """Every cursor given out so far is answered with the mutation error, for ever."""
        self.item.refused_issues = self.item.issues

    def item_summary(self) -> dict[str, Any]:
        """What stands in the connection: for people who watch a demo."""
        item = self.item
        return {
            "name": item.name,
            "item_id": item.item_id,
            "access_token": item.access_token,
            "status": item.status,
            "error": item.error.error_code if item.error else None,
            "transactions": len(item.rows),
            "in_vault": len(item.vault),
            "log": len(item.log),
            "accounts": {row.name: row.balances.current for row in item.accounts.values()},
        }

    def transactions(self, *, pending: bool | None = None, limit: int = 100) -> list[Transaction]:
        """The newest ones, as they stand: for those who want to change one."""
        rows = [row for row in self.item.rows.values() if pending in (None, row.pending)]
        return sorted(rows, key=lambda row: row.date, reverse=True)[:limit]

    def _add(self, row: Transaction) -> str:
        day_of.fromisoformat(row.date)
        self.item.count(row, 1)
        self.item.note("added", row)
        return row.transaction_id

    def _touch_others(self, count: int, but: set[str]) -> None:
        others = [row for key, row in self.item.rows.items() if key not in but]
        if len(others) < count:
            raise ValueError(f"there are only {len(others)} others")
        for row in others[:count]:
            authorized = day_of.fromisoformat(row.date) - timedelta(days=1)
            self.item.note("modified", replace(row, authorized_date=authorized.isoformat()))

    def _account(self, reference: str | None) -> Account:
        for row in self.item.accounts.values():
            if reference in (None, row.account_id, row.name, row.mask):
                return row
        raise LookupError(f"no account {reference!r}")

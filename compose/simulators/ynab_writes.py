"""YNAB's write endpoints, as far as people and importers use them: a plan is edited from outside.

They do what the orders of `ynab_edits` do, in the API's words and with the API's refusals.
"""

import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import msgspec

from compose.simulators.clock import years_before
from compose.simulators.wire import Answer, Request
from compose.simulators.ynab_edits import PlanEdits
from compose.simulators.ynab_errors import refuse
from compose.simulators.ynab_lists import data_answer
from compose.simulators.ynab_reads import PlanReads

YEARS_BACK_MAX = 5
IMPORT_ID_CHARS_MAX = 36
SAME_WORDS = ("date", "amount", "memo", "cleared", "approved", "flag_color")


class PlanWrites:
    """The answers to requests that change one plan."""

    def __init__(self, edits: PlanEdits, reads: PlanReads) -> None:
        self.edits = edits
        self.plan = edits.plan
        self.reads = reads

    def route(self, rest: list[str], request: Request) -> Answer:
        """The answer for the method and the path behind `/plans/{plan_id}`."""
        body = _json(request) if request.method != "DELETE" else {}
        match request.method, rest:
            case "POST", ["transactions"]:
                return self.create(body)
            case "PATCH", ["transactions"]:
                return self.change_many(_part(body, "transactions", list))
            case "PUT", ["transactions", key]:
                with _refusing(0):
                    self._change(key, _part(body, "transaction", dict), 0)
                return self._transaction(key)
            case "DELETE", ["transactions", key]:
                with _refusing():
                    self.edits.delete_transaction(key)
                return self._transaction(key)
            case "POST", ["payees"]:
                name = _part(_part(body, "payee", dict), "name", str)
                return self._saved(201, payee=self.plan.payees[self.edits.add_payee(name)])
            case "PATCH", ["payees", key]:
                with _refusing():
                    self.edits.rename_payee(key, _part(body, "payee", dict)["name"])
                return self._saved(200, payee=self.plan.payees[key])
            case "POST", ["accounts"]:
                return self.open_account(_part(body, "account", dict))
            case "PATCH", ["categories", key]:
                with _refusing():
                    self.edits.edit_category(key, **_part(body, "category", dict))
                month = self.plan.current_month()
                return self._saved(200, category=self.reads.shapes.category_in(month, key))
            case "PATCH", ["months", month, "categories", key]:
                month = self.plan.current_month() if month == "current" else month
                with _refusing():
                    amount = _part(_part(body, "category", dict), "budgeted", int)
                    self.edits.set_budgeted(month, key, amount)
                return self._saved(200, category=self.reads.shapes.category_in(month, key))
        raise refuse("not_found")

    def create(self, body: Mapping[str, Any]) -> Answer:
        """One transaction or many; an import id known to the account makes no second one."""
        many = "transactions" in body
        wanted = _part(body, "transactions", list) if many else [_part(body, "transaction", dict)]
        made, doubles = [], []
        for index, each in enumerate(wanted):
            self._check_date(each, index)
            import_id = each.get("import_id")
            if import_id and len(import_id) > IMPORT_ID_CHARS_MAX:
                raise refuse("bad_request", f"import_id is too long (index: {index})")
            if import_id and self._imported(each.get("account_id"), import_id):
                doubles.append(import_id)
            else:
                made.append(self._add(each, index))
        if doubles and not many:
            raise refuse("conflict", "transaction already exists with the same import_id")
        text = self.reads.shapes.transaction_text
        rows = [msgspec.Raw(text(self.plan.transactions[each])) for each in made]
        parts: dict[str, Any] = (
            {"transactions": rows, "duplicate_import_ids": doubles}
            if many
            else {"transaction": rows[0]}
        )
        return self._saved(201, transaction_ids=made, **parts)

    def change_many(self, wanted: list[dict[str, Any]]) -> Answer:
        """Each is found by its id, or else by its import id."""
        keys = []
        for index, each in enumerate(wanted):
            key = each.get("id") or next(
                (
                    row.id
                    for row in self.plan.transactions.live()
                    if row.import_id is not None and row.import_id == each.get("import_id")
                ),
                None,
            )
            if key not in self.plan.transactions:
                text = f"transaction does not exist in this budget (index: {index})"
                raise refuse("bad_request", text)
            keys.append(str(key))
        for index, (key, each) in enumerate(zip(keys, wanted, strict=True)):
            with _refusing(index):
                self._change(key, each, index)
        text_of = self.reads.shapes.transaction_text
        rows = [msgspec.Raw(text_of(self.plan.transactions[key])) for key in keys]
        return self._saved(200, transaction_ids=keys, transactions=rows)

    def open_account(self, wanted: Mapping[str, Any]) -> Answer:
        """An account, and its starting balance as a transaction."""
        with _refusing():
            key = self.edits.add_account(wanted["name"], wanted["type"])
            if wanted["balance"]:
                self.edits.add_transaction(key, wanted["balance"], payee="Starting Balance")
        return data_answer(201, account=self.reads.shapes.account(self.plan.accounts[key]))

    def _add(self, each: Mapping[str, Any], index: int) -> str:
        with _refusing(index):
            fields = self._in_our_words(each, index)
            account = self._account(each, index)
            amount = fields.pop("amount")
            payee = self.plan.payees.rows.get(fields.get("payee") or "")
            if payee is not None and payee.transfer_account_id:
                fields["transfer_to"] = payee.transfer_account_id
                del fields["payee"]
            fields.setdefault("cleared", "uncleared")
            fields.setdefault("approved", False)
            if each.get("import_id"):
                fields["import_id"] = each["import_id"]
            return self.edits.add_transaction(account, amount, **fields)

    def _change(self, key: str, each: Mapping[str, Any], index: int) -> None:
        self._check_date(each, index)
        changes = self._in_our_words(each, index)
        if "account_id" in each:
            changes["account"] = self._account(each, index)
        if self.plan.lines.get(key):
            changes.pop("lines", None)  # the API cannot change the lines of a split
        self.edits.edit_transaction(key, **changes)

    def _in_our_words(self, each: Mapping[str, Any], index: int) -> dict[str, Any]:
        fields = {word: each[word] for word in SAME_WORDS if word in each}
        for theirs, ours in (
            ("payee_name", "payee"),
            ("payee_id", "payee"),
            ("category_id", "category"),
        ):
            if theirs in each and (each[theirs] is not None or ours not in fields):
                fields[ours] = each[theirs]
        if each.get("subtransactions"):
            fields["lines"] = [
                {
                    "amount": line["amount"],
                    "memo": line.get("memo"),
                    "payee": line.get("payee_id") or line.get("payee_name"),
                    "category": line.get("category_id"),
                }
                for line in each["subtransactions"]
            ]
        return fields

    def _account(self, each: Mapping[str, Any], index: int) -> str:
        try:
            account = str(uuid.UUID(each.get("account_id")))
        except (ValueError, TypeError, AttributeError):
            text = "account must be formatted as a uuid (universally unique identifier)"
            raise refuse("bad_request", text) from None
        if account not in self.plan.accounts:
            text = f"account does not exist in this budget (index: {index})"
            raise refuse("bad_request", text)
        return account

    def _check_date(self, each: Mapping[str, Any], index: int) -> None:
        today = self.plan.clock.today()
        earliest = years_before(today, YEARS_BACK_MAX).isoformat()
        if "date" in each and not earliest <= str(each["date"]) <= today.isoformat():
            text = f"date must not be in the future or over 5 years ago (index: {index})"
            raise refuse("bad_request", text)

    def _imported(self, account_id: str | None, import_id: str) -> bool:
        return any(
            row.import_id == import_id and row.account_id == account_id
            for row in self.plan.transactions.live()
        )

    def _transaction(self, key: str) -> Answer:
        text = self.reads.shapes.transaction_text(self.plan.transactions[key])
        return self._saved(200, transaction=text)

    def _saved(self, status: int, **parts: Any) -> Answer:
        return data_answer(status, **parts, server_knowledge=self.plan.knowledge)


def _json(request: Request) -> dict[str, Any]:
    try:
        return msgspec.json.decode(request.body, type=dict[str, Any])
    except msgspec.MsgspecError:
        raise refuse("bad_request", "the body is not a JSON object") from None


def _part(body: Mapping[str, Any], name: str, kind: type) -> Any:
    part = body.get(name)
    if not isinstance(part, kind):
        raise refuse("bad_request", f"{name} is missing")
    return part


@contextmanager
def _refusing(index: int | None = None) -> Iterator[None]:
    """Orders that make no sense become the API's refusals."""
    place = "" if index is None else f" (index: {index})"
    try:
        yield
    except LookupError:
        raise refuse("resource_not_found") from None
    except (ValueError, TypeError) as error:
        raise refuse("bad_request", f"{error}{place}") from None

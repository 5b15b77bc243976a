"""YNAB's transaction lists, and what every read has: the number it starts from, the window.

The window is a year unless the client asks for more, in deltas too, while the number they end with
moves on: an older transaction's change is then never told. That is how the real one behaves.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from datetime import date
from typing import Any

from compose.simulators.clock import years_before
from compose.simulators.wire import Answer
from compose.simulators.ynab_errors import refuse
from compose.simulators.ynab_plan import Plan, Table, month_of
from compose.simulators.ynab_rows import SubTransaction, Transaction
from compose.simulators.ynab_shapes import ENCODER, Shapes, array
from compose.simulators.ynab_switches import COUNTER_STRIDE, COUNTERS, Switches


def data_answer(status: int = 200, /, **parts: Any) -> Answer:
    """`{"data": {…}}`; parts that are bytes are JSON already."""
    texts = (
        b'"%s":%s' % (key.encode(), part if isinstance(part, bytes) else ENCODER.encode(part))
        for key, part in parts.items()
    )
    return Answer(status, b'{"data":{%s}}' % b",".join(texts))


class TransactionReads:
    """The answers about a plan's transactions."""

    def __init__(self, plan: Plan, switches: Switches) -> None:
        self.plan = plan
        self.shapes = Shapes(plan)
        self.switches = switches

    def transactions(
        self, query: Mapping[str, str], only: Callable[[Transaction], bool] | None = None
    ) -> Answer:
        """The list, or of a delta the changed ones: in both only those in the window."""
        after = self._after(query, "transactions")
        rows = self._in_window(query, after, only)
        removed: defaultdict[str, list[SubTransaction]] = defaultdict(list)
        for line in self.plan.subtransactions.since(after) if after is not None else ():
            if line.deleted:
                removed[line.transaction_id].append(line)
        text = self.shapes.transaction_text
        return data_answer(
            transactions=array(text(row, removed.get(row.id, ())) for row in rows),
            server_knowledge=self._knowledge("transactions"),
        )

    def transactions_of(self, of: str, key: str, query: Mapping[str, str]) -> Answer:
        """Of one account or one month. The month's list has no default window."""
        if of == "accounts":
            self._row(self.plan.accounts, key)
            return self.transactions(query, lambda row: row.account_id == key)
        month = self._month(key)
        query = {"since_date": month, **query}
        return self.transactions(query, lambda row: month_of(row.date) == month)

    def hybrids_of(self, of: str, key: str, query: Mapping[str, str]) -> Answer:
        """Of one category or payee: lines stand in for the split they belong to."""
        column = "category_id" if of == "categories" else "payee_id"
        self._row(self.plan.categories if of == "categories" else self.plan.payees, key)
        found = []
        for row in self._in_window(query, self._after(query, "transactions"), None):
            lines = self.plan.lines.get(row.id, ())
            if getattr(row, column) == key and (of == "payees" or not lines):
                found.append(self.shapes.hybrid(row, None))
            found += [
                self.shapes.hybrid(row, line) for line in lines if getattr(line, column) == key
            ]
        return data_answer(transactions=found, server_knowledge=self._knowledge("transactions"))

    def _in_window(
        self,
        query: Mapping[str, str],
        after: int | None,
        only: Callable[[Transaction], bool] | None,
    ) -> list[Transaction]:
        a_year_ago = years_before(self.plan.clock.today(), 1).isoformat()
        since = _day(query, "since_date") or a_year_ago
        until = _day(query, "until_date") or date.max.isoformat()
        kind = query.get("type")
        if kind not in (None, "", "uncategorized", "unapproved"):
            raise refuse("bad_request", "type does not have a valid value")
        table = self.plan.transactions
        whole = after is None and self.switches.deleted_in_full
        rows: Iterable[Transaction] = table.rows.values() if whole else changed_rows(table, after)
        found = [
            row
            for row in rows
            if since <= row.date <= until
            and (only is None or only(row))
            and (kind != "unapproved" or not row.approved)
            and (kind != "uncategorized" or self._is_uncategorized(row))
        ]
        most = self.switches.list_rows_max
        if most is not None and len(found) > most:
            raise refuse("service_unavailable")
        return sorted(found, key=lambda row: row.date) if after is None else found

    def _is_uncategorized(self, row: Transaction) -> bool:
        counts = self.plan.accounts[row.account_id].on_budget
        named = row.category_id or row.transfer_account_id or row.id in self.plan.lines
        return counts and not named

    # -- numbers and references --------------------------------------------------------------

    def _row(self, table: Table[Any], key: str) -> Any:
        row = table.rows.get(key)
        if row is None or row.deleted:
            raise refuse("resource_not_found")
        return row

    def _month(self, text: str) -> str:
        month = self.plan.current_month() if text == "current" else text
        if month not in self.plan.months:
            raise refuse("resource_not_found")
        return month

    def _knowledge(self, counter: str) -> int:
        return self.plan.knowledge + self._offset(counter)

    def _offset(self, counter: str) -> int:
        if not self.switches.per_endpoint_counters:
            return 0
        return COUNTERS.index(counter) * COUNTER_STRIDE

    def _after(self, query: Mapping[str, str], counter: str) -> int | None:
        """The number a delta starts from; None for a full answer."""
        text = query.get("last_knowledge_of_server")
        if text is None:
            return None
        if not text.isdecimal():
            raise refuse("bad_request", "last_knowledge_of_server is not a valid number")
        if int(text) == 0:
            return 0 if self.switches.zero_knowledge == "delta" else None
        after = int(text) - self._offset(counter)
        if after > self.plan.knowledge:
            if self.switches.high_knowledge == "bad_request":
                raise refuse("bad_request", "last_knowledge_of_server is too high")
            return None if self.switches.high_knowledge == "full" else self.plan.knowledge
        return None if after < self.switches.knowledge_floor else after


def changed_rows(table: Table[Any], after: int | None) -> list[Any]:
    """Live rows of a full answer; in a delta every row stamped later."""
    return table.live() if after is None else table.since(after)


def _day(query: Mapping[str, str], name: str) -> str | None:
    text = query.get(name)
    if not text:
        return None
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        raise refuse("bad_request", f"{name} is not a valid date") from None

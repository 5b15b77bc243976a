"""YNAB's read endpoints: what a plan looks like from outside, whole or since a number."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from msgspec.structs import asdict

from compose.simulators.wire import Answer, Request
from compose.simulators.ynab_errors import refuse
from compose.simulators.ynab_lists import TransactionReads, changed_rows, data_answer
from compose.simulators.ynab_plan import Table
from compose.simulators.ynab_rows import CategoryGroup
from compose.simulators.ynab_shapes import ENCODER, Shape


class PlanReads(TransactionReads):
    """The answers about one plan."""

    def route(self, rest: list[str], request: Request) -> Answer:
        """The answer for the path behind `/plans/{plan_id}`."""
        plain: Mapping[str, Callable[[Mapping[str, str]], Answer]] = {
            "settings": self.settings,
            "accounts": self.accounts,
            "categories": self.categories,
            "payees": self.payees,
            "payee_locations": self.payee_locations,
            "months": self.months,
            "scheduled_transactions": self.scheduled,
        }
        query = request.query
        match rest:
            case []:
                return self.detail(query)
            case [name] if name in plain:
                return plain[name](query)
            case ["transactions"]:
                return self.transactions(query)
            case ["accounts" | "months" as of, key, "transactions"]:
                return self.transactions_of(of, key, query)
            case ["categories" | "payees" as of, key, "transactions"]:
                return self.hybrids_of(of, key, query)
            case ["payees", key, "payee_locations"]:
                return self.payee_locations(query, of=key)
            case ["money_movements" | "money_movement_groups" as name]:
                return self.movements(name, query)
            case ["months", key, "money_movements" | "money_movement_groups" as name]:
                return self.movements(name, query, month=self._month(key))
            case ["months", key, "categories", category]:
                month = self._month(key)
                self._row(self.plan.categories, category)
                return data_answer(category=self.shapes.category_in(month, category))
            case [name, key]:
                return self.one(name, key)
        raise refuse("not_found")

    # -- the plan ----------------------------------------------------------------------------

    def summary(self, *, with_accounts: bool = False) -> Shape:
        plan = self.plan
        months = sorted(plan.months.rows)
        shape: Shape = {
            "id": plan.id,
            "name": plan.name,
            "last_modified_on": plan.modified_at,
            "first_month": months[0],
            "last_month": months[-1],
            "date_format": {"format": "DD/MM/YYYY"},
            "currency_format": plan.currency,
        }
        if with_accounts:
            shape["accounts"] = [self.shapes.account(row) for row in plan.accounts.live()]
        return shape

    def settings(self, query: Mapping[str, str]) -> Answer:
        shape = {key: self.summary()[key] for key in ("date_format", "currency_format")}
        return data_answer(settings=shape)

    def detail(self, query: Mapping[str, str], key: str = "plan") -> Answer:
        """Every entity in flat arrays of base shapes."""
        plan, after = self.plan, self._after(query, "plan")
        tables: dict[str, Table[Any]] = {
            "accounts": plan.accounts,
            "payees": plan.payees,
            "payee_locations": plan.payee_locations,
            "category_groups": plan.category_groups,
            "transactions": plan.transactions,
            "subtransactions": plan.subtransactions,
            "scheduled_transactions": plan.scheduled,
            "scheduled_subtransactions": plan.scheduled_subs,
        }
        rows: dict[str, list[Any]] = {
            name: changed_rows(table, after) for name, table in tables.items()
        }
        rows["categories"] = self._categories(plan.current_month(), after)
        rows["months"] = self._months_with_categories(after)
        most = self.switches.plan_detail_rows_max
        if most is not None and sum(map(len, rows.values())) > most:
            raise refuse("service_unavailable")
        texts = {name: ENCODER.encode(each) for name, each in rows.items()}
        body = b",".join(b'"%s":%s' % (name.encode(), text) for name, text in texts.items())
        head = ENCODER.encode(self.summary())[:-1]
        return data_answer(
            **{key: b"%s,%s}" % (head, body)}, server_knowledge=self._knowledge("plan")
        )

    def _months_with_categories(self, after: int | None) -> list[Shape]:
        plan = self.plan
        stamps = plan.month_categories.stamps
        changed: defaultdict[str, list[str]] = defaultdict(list)
        for amounts in changed_rows(plan.month_categories, after):
            changed[amounts.month].append(amounts.category_id)
        months = {row.month for row in changed_rows(plan.months, after)} | changed.keys()
        found = []
        for month in sorted(months):
            whole = after is not None and self.switches.month_delta == "all"
            inside = (
                [each for each in plan.categories.rows if f"{month}:{each}" in stamps]
                if whole
                else changed[month]
            )
            rows = (plan.categories[each] for each in inside)
            found.append(
                {
                    **asdict(plan.months[month]),
                    "categories": [
                        self.shapes.category_base(row, plan.month_category(month, row.id))
                        for row in rows
                        if after is not None or not row.deleted
                    ],
                }
            )
        return found

    def _categories(self, month: str, after: int | None) -> list[Shape]:
        return [
            self.shapes.category_base(row, self.plan.month_category(month, row.id))
            for row in self._category_rows(month, after)
        ]

    def _category_rows(self, month: str, after: int | None) -> list[Any]:
        """Categories changed themselves, or in their amounts of that month."""
        plan = self.plan
        if after is None:
            return plan.categories.live()
        amounts = plan.month_categories.stamps
        return [
            row
            for key, row in plan.categories.rows.items()
            if max(plan.categories.stamps[key], amounts.get(f"{month}:{key}", 0)) > after
        ]

    # -- lists -------------------------------------------------------------------------------

    def accounts(self, query: Mapping[str, str]) -> Answer:
        rows = changed_rows(self.plan.accounts, self._after(query, "accounts"))
        return data_answer(
            accounts=[self.shapes.account(row) for row in rows],
            server_knowledge=self._knowledge("accounts"),
        )

    def payees(self, query: Mapping[str, str]) -> Answer:
        rows = changed_rows(self.plan.payees, self._after(query, "payees"))
        return data_answer(payees=rows, server_knowledge=self._knowledge("payees"))

    def payee_locations(self, query: Mapping[str, str], of: str | None = None) -> Answer:
        rows = self.plan.payee_locations.live()
        return data_answer(payee_locations=[row for row in rows if of in (None, row.payee_id)])

    def categories(self, query: Mapping[str, str]) -> Answer:
        plan, after = self.plan, self._after(query, "categories")
        month = plan.current_month()
        inside: defaultdict[str, list[Shape]] = defaultdict(list)
        for row in self._category_rows(month, after):
            shape = self.shapes.category(row, plan.month_category(month, row.id))
            inside[row.category_group_id].append(shape)
        changed = {row.id for row in changed_rows(plan.category_groups, after)} | inside.keys()
        groups: Iterable[CategoryGroup] = plan.category_groups.rows.values()
        return data_answer(
            category_groups=[
                self.shapes.group(group, inside[group.id])
                for group in groups
                if group.id in changed
            ],
            server_knowledge=self._knowledge("categories"),
        )

    def months(self, query: Mapping[str, str]) -> Answer:
        rows = changed_rows(self.plan.months, self._after(query, "months"))
        return data_answer(
            months=[self.shapes.month(row) for row in sorted(rows, key=lambda row: row.month)],
            server_knowledge=self._knowledge("months"),
        )

    def scheduled(self, query: Mapping[str, str]) -> Answer:
        plan, after = self.plan, self._after(query, "scheduled_transactions")
        removed: defaultdict[str, list[Any]] = defaultdict(list)
        for line in plan.scheduled_subs.since(after) if after is not None else ():
            if line.deleted:
                removed[line.scheduled_transaction_id].append(line)
        return data_answer(
            scheduled_transactions=[
                self.shapes.scheduled(row, removed[row.id])
                for row in changed_rows(plan.scheduled, after)
            ],
            server_knowledge=self._knowledge("scheduled_transactions"),
        )

    def movements(self, name: str, query: Mapping[str, str], month: str | None = None) -> Answer:
        """Money movements or their groups, which have no tombstones."""
        plan = self.plan
        after = (
            self._after(query, "money_movements")
            if self.switches.money_movement_delta and month is None
            else None
        )
        if name == "money_movements":
            rows = [self.shapes.movement(row) for row in changed_rows(plan.money_movements, after)]
        else:
            rows = [asdict(row) for row in changed_rows(plan.money_movement_groups, after)]
        if month is not None:
            rows = [row for row in rows if row["month"] == month]
        return data_answer(**{name: rows}, server_knowledge=self._knowledge("money_movements"))

    # -- single objects ----------------------------------------------------------------------

    def one(self, name: str, key: str) -> Answer:
        plan, shapes = self.plan, self.shapes
        match name:
            case "accounts":
                return data_answer(account=shapes.account(self._row(plan.accounts, key)))
            case "categories":
                self._row(plan.categories, key)
                return data_answer(category=shapes.category_in(plan.current_month(), key))
            case "payees":
                return data_answer(payee=self._row(plan.payees, key))
            case "payee_locations":
                return data_answer(payee_location=self._row(plan.payee_locations, key))
            case "months":
                month = self._month(key)
                rows = [shapes.category_in(month, row.id) for row in plan.categories.live()]
                return data_answer(month={**shapes.month(plan.months[month]), "categories": rows})
            case "transactions":
                row = self._row(plan.transactions, key)
                return data_answer(
                    transaction=shapes.transaction_text(row),
                    server_knowledge=self._knowledge("transactions"),
                )
            case "scheduled_transactions":
                row = self._row(plan.scheduled, key)
                return data_answer(scheduled_transaction=shapes.scheduled(row))
        raise refuse("not_found")

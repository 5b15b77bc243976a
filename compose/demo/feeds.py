"""A household's plan at YNAB and its bank at Plaid, both simulated: they live, and are watched.

The simulators run in the demo's own process; `cdc run` meets them as it would meet the real ones,
over HTTP, by its configuration.
"""

import asyncio
import json
import random
from collections import deque
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import asyncpg

from compose.demo.screen import FeedLine, PurchaseLine
from compose.simulators.clock import Clock
from compose.simulators.plaid import CLIENT_ID, SECRET, PlaidSimulator
from compose.simulators.plaid_bank import PlaidSize
from compose.simulators.server import Seen
from compose.simulators.ynab import TOKEN, YnabSimulator
from compose.simulators.ynab_household import YnabSize

PLAN_SOURCE, BANK_SOURCE = "household", "bank"
PLAN_TRANSACTIONS, BANK_TRANSACTIONS, YEARS = 600, 300, 1
POLL_SECONDS, BANK_POLL_SECONDS = 2, 6
"""Plaid answers `/accounts/get`, which every news of a bank brings, 15 times a minute."""
CHANGES_SECONDS = 1.5
PAYEE, BANK_TEXT, CENTS = "Blue Bottle Coffee", "SQ *BLUE BOTTLE COFFEE 0423", 1837
PAYEES = ("Mercado Central", "City Transit", "Willow Pharmacy", "Rolling Bikes")
ACCOUNTS_SHOWN = 3
_CONFIG = """\
[sources.{plan}]
type = "ynab"
token = "{token}"
base_url = "{plan_url}"
poll_seconds = {seconds}

[sources.{bank}]
type = "plaid"
client_id = "{client}"
secret = "{secret}"
base_url = "{bank_url}"
poll_seconds = {bank_seconds}
items = [{{ name = "checking", access_token = "{item}" }}]
"""
_LOOK = """
SELECT source, count(*) AS rows,
    (SELECT state->>'state' FROM sync.observed AS o WHERE o.kind = 'source' AND o.name = t.source)
        AS state
FROM budget.transactions AS t WHERE book = $1 AND NOT deleted GROUP BY source
"""
_BALANCES = """
SELECT source, name, balance, currency FROM budget.accounts
WHERE book = $1 AND NOT deleted AND balance <> 0 ORDER BY source, abs(balance), id
"""
_BOTH = """
SELECT t.source, t.id, t.amount, coalesce(t.name, p.name) AS told,
    t.id IN (SELECT id FROM budget.transactions_once AS o WHERE o.book = $1 AND o.source = t.source)
        AS counted
FROM budget.transactions AS t
LEFT JOIN budget.payees AS p ON p.book = t.book AND p.source = t.source AND p.id = t.payee_id
WHERE t.book = $1 AND NOT t.deleted AND t.id = ANY($2::text[]) ORDER BY t.source DESC
"""
_MATCH = """
SELECT score, state, reason FROM budget.matches
WHERE book = $1 AND transaction_id = ANY($2::text[]) AND other_id = ANY($2::text[])
"""
_ALIKE = {"account": "account", "date": "day", "payee": "payee"}
"""Part of a match's score → what a person calls it."""


class Feeds:
    """`async with` runs both simulators; `live` lets people spend money, `purchase` once in both;
    `look` and `seen_purchase` read the tables.
    """

    def __init__(self, seed: int, book: str) -> None:
        self._book = book
        self._chance = random.Random(seed)
        clock = Clock(datetime.now(UTC), running=True)
        size = YnabSize(transactions=PLAN_TRANSACTIONS, years=YEARS)
        self.ynab = YnabSimulator([size], seed=seed, clock=clock)
        bank = PlaidSize(transactions=BANK_TRANSACTIONS, days=365 * YEARS)
        self.plaid = PlaidSimulator([bank], seed=seed, clock=clock)
        self.plan, self.item = self.ynab.plan(), self.plaid.item()
        self._checking = next(iter(self.item.item.accounts.values()))
        self.plan.edit_account("Checking", name=f"Checking {self._checking.mask}")
        self._account = f"Checking {self._checking.mask}"
        self._last = {PLAN_SOURCE: "nothing yet", BANK_SOURCE: "nothing yet"}
        self._changed_at_request = {PLAN_SOURCE: 0, BANK_SOURCE: 0}
        self.purchase_ids: tuple[str, str] | None = None
        self.changes = 0

    async def __aenter__(self) -> Self:
        await self.ynab.__aenter__()
        await self.plaid.__aenter__()
        return self

    async def __aexit__(self, *exception: Any) -> None:
        await self.plaid.__aexit__(*exception)
        await self.ynab.__aexit__(*exception)

    def configure(self, path: Path) -> None:
        """Write what `cdc run` needs to know of both, as a person would."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(
            _CONFIG.format(
                plan=PLAN_SOURCE,
                token=TOKEN,
                plan_url=self.ynab.base_url,
                bank=BANK_SOURCE,
                client=CLIENT_ID,
                secret=SECRET,
                bank_url=self.plaid.base_url,
                item=self.item.item.access_token,
                seconds=POLL_SECONDS,
                bank_seconds=BANK_POLL_SECONDS,
            )
        )

    # -- what people do ------------------------------------------------------------------------

    def purchase(self) -> None:
        """One cup of coffee: told by the bank, and entered by hand into the plan."""
        entered = self.plan.add_transaction(self._account, -10 * CENTS, payee=PAYEE)
        amount = f"{CENTS / 100:.2f}"
        told = self.item.add_transaction(amount, BANK_TEXT, account=self._checking.account_id)
        self.purchase_ids = (entered, told)
        self._noted(PLAN_SOURCE, f"{PAYEE}, -{amount}")
        self._noted(BANK_SOURCE, f"{BANK_TEXT}, -{amount}")

    async def live(self, over: asyncio.Event) -> None:
        """Something happens at one of the two, every now and then."""
        steps = (self._spend, self._bank_purchase, self._correct, self._bank_posts)
        while not over.is_set():
            self._chance.choice(steps)()
            await asyncio.sleep(self._chance.uniform(0.5, 1.5) * CHANGES_SECONDS)

    def _spend(self) -> None:
        payee, cents = self._chance.choice(PAYEES), self._chance.randrange(2_000, 9_000)
        self.plan.add_transaction("Visa", -10 * cents, payee=payee, category="Groceries")
        self._noted(PLAN_SOURCE, f"{payee}, -{cents / 100:.2f}")

    def _correct(self) -> None:
        row = self._chance.choice(self.plan.plan.transactions.live())
        self.plan.edit_transaction(row.id, memo=f"corrected, {self._chance.randrange(1_000)}")
        self._noted(PLAN_SOURCE, "a memo is corrected")

    def _bank_purchase(self) -> None:
        (id_,) = self.item.add_purchases(1, pending=True)
        row = self.item.item.rows[id_]
        self._noted(BANK_SOURCE, f"{row.name}, {-row.amount}, pending")

    def _bank_posts(self) -> None:
        pending = self.item.transactions(pending=True)
        if not pending:
            self._bank_purchase()
            return
        self.item.post_pending(pending[-1].transaction_id)
        self._noted(BANK_SOURCE, f"{pending[-1].name} is posted")

    def _noted(self, source: str, what: str) -> None:
        self.changes += 1
        self._last[source] = what
        self._changed_at_request[source] = self._last_request(source)

    # -- what is seen --------------------------------------------------------------------------

    def _last_request(self, source: str) -> int:
        """Its number; 0: none yet."""
        seen = self._seen(source)
        return seen[-1].number if seen else 0

    def _seen(self, source: str) -> deque[Seen]:
        return (self.ynab if source == PLAN_SOURCE else self.plaid).seen

    @property
    def asked_since(self) -> bool:
        """Whether both were asked for news since anything changed there."""
        return all(
            any(each.number > at and _asks_for_news(each) for each in reversed(self._seen(source)))
            for source, at in self._changed_at_request.items()
        )

    @property
    def transactions(self) -> int:
        """Of both, as they stand there."""
        return len(self.plan.plan.transactions.live()) + len(self.item.item.rows)

    async def look(self, postgres: "asyncpg.Connection[asyncpg.Record]") -> list[FeedLine]:
        """Both feeds, as the tables have them."""
        found = {row["source"]: row for row in await postgres.fetch(_LOOK, self._book)}
        balances = await postgres.fetch(_BALANCES, self._book)
        lines = []
        for source, name in ((PLAN_SOURCE, "YNAB"), (BANK_SOURCE, "Plaid")):
            row = found.get(source)
            told = [each for each in balances if each["source"] == source][:ACCOUNTS_SHOWN]
            accounts = " · ".join(f"{each['name']}: {each['balance']:,.2f}" for each in told)
            lines.append(
                FeedLine(
                    name,
                    (row and row["state"]) or "starting",
                    row["rows"] if row else 0,
                    self._last[source],
                    accounts,
                )
            )
        return lines

    async def seen_purchase(
        self, postgres: "asyncpg.Connection[asyncpg.Record]"
    ) -> list[PurchaseLine]:
        """The rows of the purchase, at most two; with what the match says once there is one."""
        if self.purchase_ids is None:
            return []
        rows = await postgres.fetch(_BOTH, self._book, list(self.purchase_ids))
        match = await postgres.fetchrow(_MATCH, self._book, list(self.purchase_ids))
        why = "" if match is None else f"{match['state']}, score {match['score']}: {_why(match)}"
        return [
            PurchaseLine(
                "YNAB" if row["source"] == PLAN_SOURCE else "Plaid",
                row["told"] or "",
                row["amount"],
                row["counted"],
                why,
            )
            for row in rows
        ]


def _asks_for_news(seen: Seen) -> bool:
    return "last_knowledge_of_server" in seen.query or seen.path == "/transactions/sync"


def _why(match: asyncpg.Record) -> str:
    """What of the two rows is the same, and what only alike."""
    parts = json.loads(match["reason"])
    same = [word for part, word in _ALIKE.items() if parts[part] == 1]
    alike = [f"{word} {parts[part]:.2f} alike" for part, word in _ALIKE.items() if parts[part] < 1]
    words = [*([f"same {', '.join(same)}"] if same else []), *alike]
    return ", ".join([*words, "no rival" if parts["alone"] == 1 else "rivals"])

"""A bank connection ("Item"): accounts, and the log of everything that happened to transactions.

The bank's history lies in the `vault` until Transactions is first asked for: that call fixes how
many days there ever will be. Then the last 30 days come into the log, and later the rest.
"""

import random
import string
from collections.abc import Iterable
from datetime import datetime, timedelta
from decimal import Decimal

from msgspec.structs import replace

from compose.simulators.clock import Clock, instant
from compose.simulators.plaid_errors import PlaidError
from compose.simulators.plaid_rows import Account, Entry, Transaction

ALPHABET = string.ascii_letters + string.digits
ID_CHARS = 37
DAYS_DEFAULT = 90
INITIAL_DAYS = 30
NOT_READY = "NOT_READY"
INITIAL = "INITIAL_UPDATE_COMPLETE"
HISTORICAL = "HISTORICAL_UPDATE_COMPLETE"
OWED = ("credit", "loan")


class Item:
    """State only; what happens to it is in ``plaid_edits``."""

    def __init__(self, name: str, clock: Clock, chance: random.Random) -> None:
        self.clock = clock
        self.chance = chance
        self.name = name
        self.item_id = self.new_id()
        self.access_token = f"access-sandbox-{_token_part(chance)}"
        self.institution_id = f"ins_{chance.randrange(1, 999)}"
        self.opened_at = instant(clock.now())
        self.error: PlaidError | None = None
        self.gone = False
        """Removed, or left for a new connection: its token finds nothing."""
        self.accounts: dict[str, Account] = {}
        self.cached: dict[str, Account] = {}
        """Accounts as of the last update: what is told when the bank is not asked."""
        self.vault: list[Transaction] = []
        self.rows: dict[str, Transaction] = {}
        """What is in the log and not removed."""
        self.log: list[Entry] = []
        self.status = NOT_READY
        self.days_requested: int | None = None
        self.initialised_at: datetime | None = None
        self.initial_seconds = self.historical_seconds = 0.0
        """How long after the first call the two parts of the history are there."""
        self.updated_at: str | None = None
        self.failed_at: str | None = None
        self.refused_issues = -1
        """Cursors issued up to here are refused for ever, as has been seen once."""
        self.issues = 0
        self._newest: tuple[int, list[Transaction]] = (0, [])

    def new_id(self) -> str:
        return "".join(self.chance.choices(ALPHABET, k=ID_CHARS))

    def initialise(self, days_requested: int | None) -> None:
        """The first call that wants transactions; later ones change nothing."""
        if self.days_requested is None:
            self.days_requested = days_requested or DAYS_DEFAULT
            self.initialised_at = self.clock.now()
            first = self.clock.today() - timedelta(days=self.days_requested)
            self.vault = [row for row in self.vault if row.date >= first.isoformat()]

    def settle(self) -> None:
        """What the clock says should have arrived, has."""
        if self.initialised_at is None or self.status == HISTORICAL:
            return
        waited = (self.clock.now() - self.initialised_at).total_seconds()
        if waited >= self.historical_seconds:
            self.load(HISTORICAL)
        elif waited >= self.initial_seconds:
            self.load(INITIAL)

    def load(self, status: str) -> None:
        """The history arrives: the last 30 days, or all there is."""
        self.initialise(None)
        since = (self.clock.today() - timedelta(days=INITIAL_DAYS)).isoformat()
        if self.status == NOT_READY:
            self._enter(row for row in self.vault if row.date >= since)
            self.status = INITIAL
            self.vault = [row for row in self.vault if row.date < since]
        if status == HISTORICAL:
            self._enter(self.vault)
            self.status = HISTORICAL
            self.vault = []
        self.updated()

    def note(self, kind: str, row: Transaction) -> None:
        """Something happened to a transaction; before the first call it is only history."""
        if self.status == NOT_READY:
            self.vault = [old for old in self.vault if old.transaction_id != row.transaction_id]
            if kind != "removed":
                self.vault.append(row)
            return
        self.log.append(Entry(kind, row))
        if kind == "removed":
            del self.rows[row.transaction_id]
        else:
            self.rows[row.transaction_id] = row
        self.updated()

    def updated(self) -> None:
        """The bank was asked and answered."""
        self.updated_at = instant(self.clock.now())
        self.cached = dict(self.accounts)

    def found(self, transaction_id: str) -> Transaction:
        """Wherever it lies; ``LookupError`` when nowhere."""
        if transaction_id in self.rows:
            return self.rows[transaction_id]
        for row in self.vault:
            if row.transaction_id == transaction_id:
                return row
        raise LookupError(f"no transaction {transaction_id!r}")

    def newest_first(self) -> list[Transaction]:
        """What is in the log and not removed, sorted once for each state of the log."""
        if self._newest[0] != len(self.log):
            rows = sorted(self.rows.values(), key=lambda row: row.date, reverse=True)
            self._newest = (len(self.log), rows)
        return self._newest[1]

    def count(self, row: Transaction, sign: int) -> None:
        """A transaction counts in its account's balances (1), or no longer (-1)."""
        account = self.accounts[row.account_id]
        balances = account.balances
        effect = row.amount * sign
        current = balances.current or Decimal(0)
        if not row.pending:
            current += effect if account.type in OWED else -effect
        available = balances.available
        self.accounts[row.account_id] = replace(
            account,
            balances=replace(
                balances,
                current=current,
                available=None if available is None else available - effect,
            ),
        )

    def _enter(self, rows: Iterable[Transaction]) -> None:
        for row in sorted(rows, key=lambda row: row.date):
            self.log.append(Entry("added", row))
            self.rows[row.transaction_id] = row


def _token_part(chance: random.Random) -> str:
    digits = f"{chance.getrandbits(128):032x}"
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))

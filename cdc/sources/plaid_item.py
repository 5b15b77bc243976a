"""One Plaid item (one login at one bank), asked: what is different, and what there is.

An update is taken whole or not at all: its pages are folded in their order, and only the cursor
behind the last page is one to go on from. If the data changes in between, the loop begins again.

The cursor's token: ``cursor`` (absent: nothing was ready yet), ``item`` (its row as published),
``accounts`` and ``balances`` (digests of what was published last, by account).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any, NamedTuple

import msgspec
import orjson
from msgspec import Raw, Struct

from cdc.runtime.errors import BadAnswer, Gap, LedgerError, Unavailable
from cdc.runtime.http import UNTYPED
from cdc.sources.plaid_api import Mutated, NeedsAction, PlaidApi, SyncPage
from cdc.sources.plaid_window import read_window
from cdc.sources.polled import CONTEXT, HeldRow, exact
from cdc.sources.protocol import Document, Told, Window

RESOURCES = ("items", "accounts", "transactions")
"""What a whole read goes through; ``balances`` are a history, which nothing can tell again."""
MUTATIONS_MAX = 5
"""So often a loop begins again at once."""
MUTATED_POLLS_MAX = 3
"""So many polls may end that way; then the cursor is given up (seen live: monetr#3126)."""
PAGES_MAX = 10_000
HISTORY_TO_COME = ("NOT_READY", "INITIAL_UPDATE_COMPLETE")
"""States in which Plaid tells no day, or only the last 30, and says nothing of the others."""
HISTORY_SECONDS = 60.0

Token = dict[str, Any]


class ItemContext(NamedTuple):
    """What every object of an item needs to be understood."""

    id: str


class _Head(Struct):
    transaction_id: str


class _AccountHead(Struct):
    account_id: str


class Changed(NamedTuple):
    """``raw``: undecoded or a document; None with op ``d``. An empty id: none that can be used."""

    resource: str
    op: str
    id: str
    raw: Any


@dataclass(slots=True)
class Update:
    """The fold of an update's pages. ``ready``: there was a cursor to go on from."""

    cursor: str | None
    status: str | None = None
    transactions: dict[str, Changed] = field(default_factory=dict)
    unusable: list[Changed] = field(default_factory=list)

    def take(self, page: SyncPage) -> None:
        self.status = page.transactions_update_status
        for op, raws in (("c", page.added), ("u", page.modified)):
            for raw in raws:
                try:
                    key = _HEAD.decode(raw).transaction_id
                except msgspec.ValidationError:
                    self.unusable.append(Changed("transactions", op, "", raw))
                    continue
                self._put(Changed("transactions", op, key, raw))
        for gone in page.removed:
            self._put(Changed("transactions", "d", gone.transaction_id, None))

    def _put(self, change: Changed) -> None:
        self.transactions.pop(change.id, None)  # the newest comes last
        self.transactions[change.id] = change


@dataclass(slots=True)
class ItemDelta:
    """One poll's answer."""

    changes: list[Changed]
    token: Token


_HEAD = msgspec.json.Decoder(_Head)
_ACCOUNT = msgspec.json.Decoder(_AccountHead)


class PlaidItem:
    """Asks about one item. Keeps no position: the token that is passed in is the truth."""

    def __init__(
        self,
        api: PlaidApi,
        name: str,
        access_token: str,
        *,
        now: Callable[[], float],
        accounts_seconds: float,
    ) -> None:
        """``accounts_seconds``: how often accounts are read where no transaction has changed."""
        self.name = name
        self.context = ItemContext(name)
        self._api = api
        self._access_token = access_token
        self._now = now
        self._accounts_seconds = accounts_seconds
        self._accounts_due_at = 0.0
        self._mutated_polls = 0
        self._balances: dict[str, str] = {}
        self._history_status: str | None = None

    def stand(self, token: Token) -> None:
        """The stream stands at this token."""
        self._balances = dict(token.get("balances", {}))
        self._take_context(token.get("item", {}))

    async def delta(self, token: Token) -> ItemDelta:
        """What is different since the token. A login that is needed is told once, then raised."""
        try:
            update = await self._update(token.get("cursor"))
            changes = [*update.transactions.values(), *update.unusable]
            after = token | ({"cursor": update.cursor} if update.cursor else {})
            item = token.get("item", {})
            if changes or self._now() >= self._accounts_due_at or item.get("status") != "good":
                found, after = await self._state(after)
                changes += found
        except NeedsAction as error:
            return await self._in_need(token, error)
        return ItemDelta(changes, after)

    async def _update(self, cursor: str | None) -> Update:
        """All pages behind ``cursor``; begins again where the data changes in between."""
        for _ in range(MUTATIONS_MAX):
            try:
                update = await self._pages(cursor)
            except Mutated:
                continue
            self._mutated_polls = 0
            self._history_status = update.status
            return update
        self._mutated_polls += 1
        if cursor and self._mutated_polls >= MUTATED_POLLS_MAX:
            self._mutated_polls = 0
            raise Gap("the data changes during every pagination", subject=self.name)
        raise Unavailable(f"the data changed {MUTATIONS_MAX} times during pagination")

    async def _pages(self, cursor: str | None) -> Update:
        update = Update(cursor)
        for _ in range(PAGES_MAX):
            page = await self._api.sync(self._access_token, update.cursor)
            update.take(page)
            if page.has_more and page.next_cursor in (None, "", update.cursor):
                raise BadAnswer("more is promised, with no cursor to it", category="contradiction")
            update.cursor = page.next_cursor or update.cursor
            if not page.has_more:
                return update
        raise BadAnswer(f"more than {PAGES_MAX} pages", category="too_large")

    async def _state(self, token: Token) -> tuple[list[Changed], Token]:
        """Item, accounts and balances where they differ from what the token says."""
        document = await self._item_document()
        accounts, unusable = await self._accounts()
        changes = [] if document == token.get("item") else [_item_change(document)]
        known = token.get("accounts", {})
        digests = {key: _digest(account) for key, account in accounts.items()}
        changes += [
            Changed("accounts", "u", key, account)
            for key, account in accounts.items()
            if digests[key] != known.get(key)
        ]
        changes += [Changed("accounts", "d", key, None) for key in known if key not in digests]
        changes += unusable
        balances, rows = self._balance_changes(accounts, token.get("balances", {}))
        changes += rows
        self._accounts_due_at = self._now() + self._accounts_seconds
        return changes, token | {"item": document, "accounts": digests, "balances": balances}

    def _balance_changes(
        self, accounts: dict[str, Document], known: dict[str, str]
    ) -> tuple[dict[str, str], list[Changed]]:
        """Balances that differ from the last ones: one row of history each."""
        balances: dict[str, str] = {}
        changes: list[Changed] = []
        for key, account in accounts.items():
            balance = account.get("balances")
            if not isinstance(balance, dict):
                continue
            balances[key] = _digest({**balance, "last_updated_datetime": None})
            if balances[key] == known.get(key):
                continue
            as_of = balance.get("last_updated_datetime") or _instant(self._now())
            document = {"account_id": key, "as_of": as_of, "type": account.get("type"), **balance}
            document[CONTEXT] = self.context
            changes.append(Changed("balances", "c", f"{key}@{as_of}", document))
        return balances, changes

    async def _accounts(self) -> tuple[dict[str, Document], list[Changed]]:
        accounts: dict[str, Document] = {}
        unusable: list[Changed] = []
        for raw in await self._api.accounts(self._access_token):
            try:
                key = _ACCOUNT.decode(raw).account_id
            except msgspec.ValidationError:
                unusable.append(Changed("accounts", "u", "", raw))
                continue
            accounts[key] = self.document("accounts", (key, raw))
        return accounts, unusable

    async def _item_document(self, need: NeedsAction | None = None) -> Document:
        """The item's row. Without ``need`` its state is what Plaid says of it."""
        answer = await self._api.item(self._access_token)
        item, status = answer.item, (answer.status or {}).get("transactions") or {}
        error = item.get("error") or {}
        code = need.code if need else error.get("error_code")
        document = {
            "item_id": item.get("item_id"),
            "name": self.name,
            "institution_id": item.get("institution_id"),
            "institution_name": item.get("institution_name"),
            "consent_expiration_time": item.get("consent_expiration_time"),
            "update_type": item.get("update_type"),
            "billed_products": item.get("billed_products"),
            "last_successful_update": status.get("last_successful_update"),
            "last_failed_update": status.get("last_failed_update"),
            "status": _status(code),
            "status_reason": (need.reason if need else error.get("error_code_reason")) or code,
        }
        self._take_context(document)
        return document

    def _take_context(self, item: Document) -> None:
        self.context = ItemContext(item.get("item_id") or self.name)

    async def _in_need(self, token: Token, error: NeedsAction) -> ItemDelta:
        """The item's new state, once; after that the error itself."""
        try:
            document = await self._item_document(error)
        except LedgerError:
            document = {"item_id": self.context.id, "name": self.name, **token.get("item", {})}
            document |= {"status": _status(error.code), "status_reason": error.reason or error.code}
        if document == token.get("item"):
            raise error
        return ItemDelta([_item_change(document)], token | {"item": document})

    async def whole(self) -> tuple[dict[str, list[HeldRow]], Token]:
        """The item as it stands; rows by resource, sorted by id, and the token to go on from."""
        update = await self._update(None)
        document = await self._item_document()
        accounts, unusable = await self._accounts()
        live = [change for change in update.transactions.values() if change.op != "d"]
        rows: dict[str, list[HeldRow]] = {
            "items": [(self.context.id, document)],
            "accounts": [*_rows(unusable), *sorted(accounts.items())],
            "transactions": _rows([*live, *update.unusable]),
        }
        token: Token = {
            "item": document,
            "accounts": {key: _digest(account) for key, account in accounts.items()},
            "balances": self._balances,
        }
        return rows, token | ({"cursor": update.cursor} if update.cursor else {})

    async def window(self, window: Window) -> tuple[list[HeldRow], dict[str, Told]]:
        """Raises ``Unavailable`` while Plaid itself has not read the bank's history yet."""
        if self._history_status in HISTORY_TO_COME:
            raise Unavailable(
                "Plaid is still reading the bank's history",
                retry_after_seconds=HISTORY_SECONDS,
                subject=self.name,
            )
        return await read_window(self._api, self._access_token, window)

    def document(self, resource: str, row: HeldRow) -> Document:
        """An object decoded, with the item it belongs to."""
        found = UNTYPED.decode(row[1]) if isinstance(row[1], Raw) else row[1]
        document = dict(found) if isinstance(found, dict) else {}
        document[CONTEXT] = self.context
        return document


def _rows(changes: list[Changed]) -> list[HeldRow]:
    return sorted(((change.id, change.raw) for change in changes), key=lambda row: row[0])


def _item_change(document: Document) -> Changed:
    return Changed("items", "u", str(document["item_id"]), document)


def _status(code: str | None) -> str:
    return code.removeprefix("ITEM_").lower() if code else "good"


def _instant(seconds: float) -> str:
    at = datetime.fromtimestamp(int(seconds * 1000) / 1000, UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _digest(document: Document) -> str:
    plain = exact({name: value for name, value in document.items() if name != CONTEXT})
    return blake2b(orjson.dumps(plain), digest_size=8).hexdigest()

"""One Plaid item (one login at one bank), asked: what is different, and what there is.

An update is taken whole or not at all: its pages are folded in their order, and only the cursor
behind the last page is one to go on from. If the data changes in between, the loop begins again.

The cursor's token: ``cursor`` (absent: nothing was ready yet), ``item`` (its row as published),
``accounts`` and ``balances`` (digests of what was published last, by account; a balance's with the
bank's time).
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
from cdc.sources.plaid_api import ItemError, Mutated, NeedsAction, PlaidApi, SyncPage, Updates
from cdc.sources.plaid_window import read_window
from cdc.sources.polled import by_id
from cdc.sources.polled_objects import (
    CONTEXT,
    HeldRow,
    Unreadable,
    exact,
    head_of,
    object_of,
    usable_id,
)
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


class HistoryToCome(Unavailable):
    """Plaid itself has not read the bank's history yet."""


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
                self._put(op, raw)
        for raw in page.removed:
            self._put("d", raw)

    def _put(self, op: str, raw: Raw) -> None:
        head = head_of(_HEAD, raw)
        key = "" if head is None else usable_id(head.transaction_id)
        change = Changed("transactions", op, key, None if op == "d" else raw)
        if not key:
            self.unusable.append(change)
            return
        self.transactions.pop(change.id, None)  # the newest comes last
        self.transactions[change.id] = change


class Passed(Update):
    """Pages that are only gone through."""

    def take(self, page: SyncPage) -> None:
        self.status = page.transactions_update_status


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

    def may_tell_much(self, token: Token) -> bool:
        """Whether what is different since the token may be a history of years."""
        return "cursor" not in token or self._history_status in (None, *HISTORY_TO_COME)

    def check_history(self) -> None:
        """Raises ``HistoryToCome`` while Plaid tells no more than a part of what there is."""
        if self._history_status in HISTORY_TO_COME:
            raise HistoryToCome(
                "Plaid is still reading the bank's history",
                retry_after_seconds=HISTORY_SECONDS,
                subject=self.name,
            )

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

    async def _update(self, cursor: str | None, into: type[Update] = Update) -> Update:
        """All pages behind ``cursor``; begins again where the data changes in between."""
        for _ in range(MUTATIONS_MAX):
            try:
                update = await self._pages(into(cursor))
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

    async def _pages(self, update: Update) -> Update:
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
        met = {change.id for change in unusable}
        for key in known.keys() - digests.keys():
            if key in met or "" in met:  # it may be the one that cannot be read
                digests[key] = known[key]
            else:
                changes.append(Changed("accounts", "d", key, None))
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
            digest = _digest({**balance, "last_updated_datetime": None})
            before, _, bank_time = known.get(key, "").partition("@")
            if digest == before:
                balances[key] = known[key]
                continue
            as_of = balance.get("last_updated_datetime")
            balances[key] = f"{digest}@{as_of or bank_time}"
            if not as_of or as_of == bank_time:  # it has changed, whatever the bank says
                as_of = _instant(self._now())
            document = {"account_id": key, "as_of": as_of, "type": account.get("type"), **balance}
            document[CONTEXT] = self.context
            changes.append(Changed("balances", "c", f"{key}@{as_of}", document))
        return balances, changes

    async def _accounts(self) -> tuple[dict[str, Document], list[Changed]]:
        """Those that can be read, by id, and the others."""
        accounts: dict[str, Document] = {}
        unusable: list[Changed] = []
        for raw in await self._api.accounts(self._access_token):
            head = head_of(_ACCOUNT, raw)
            key = "" if head is None else usable_id(head.account_id)
            try:
                account = self.document("accounts", (key, raw))
                _digest(account)
            except Unreadable:
                unusable.append(Changed("accounts", "u", key, raw))
            else:
                if key:
                    accounts[key] = account
                else:
                    unusable.append(Changed("accounts", "u", "", raw))
        return accounts, unusable

    async def _item_document(self, need: NeedsAction | None = None) -> Document:
        """The item's row. Without ``need`` its state is what Plaid says of it."""
        answer = await self._api.item(self._access_token)
        item, error = answer.item, answer.item.error or ItemError()
        updates = (answer.status and answer.status.transactions) or Updates()
        code = need.code if need else error.error_code
        document = {
            "item_id": item.item_id,
            "name": self.name,
            "institution_id": item.institution_id,
            "institution_name": item.institution_name,
            "consent_expiration_time": item.consent_expiration_time,
            "update_type": item.update_type,
            "billed_products": item.billed_products,
            "last_successful_update": updates.last_successful_update,
            "last_failed_update": updates.last_failed_update,
            "status": _status(code),
            "status_reason": (need.reason if need else error.error_code_reason) or code,
        }
        self._take_context(document)
        try:
            plain: Document = exact(document)
        except Unreadable as problem:
            raise BadAnswer(
                f"unexpected shape: {problem}", category="shape", operation="POST /item/get"
            ) from problem
        return plain

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

    def beginning(self) -> Token:
        """The token whose delta tells all there is."""
        return {"balances": self._balances}

    async def end(self) -> Token:
        """The token behind all transactions there are; nothing of them is kept.

        The same as ``beginning`` while Plaid has not told all of them yet.
        """
        update = await self._update(None, into=Passed)
        to_come = self._history_status in HISTORY_TO_COME or not update.cursor
        return self.beginning() | ({} if to_come else {"cursor": update.cursor})

    async def whole(self) -> tuple[dict[str, list[HeldRow]], Token]:
        """The item as it stands; rows by resource, by id, and the token to go on from.

        Raises ``HistoryToCome``.
        """
        self.check_history()
        update = await self._update(None)
        self.check_history()
        document = await self._item_document()
        accounts, unusable = await self._accounts()
        live = [change for change in update.transactions.values() if change.op != "d"]
        rows: dict[str, list[HeldRow]] = {
            "items": [(self.context.id, document)],
            "accounts": by_id([*_held(unusable), *accounts.items()]),
            "transactions": by_id(_held([*live, *update.unusable])),
        }
        token: Token = {
            "item": document,
            "accounts": {key: _digest(account) for key, account in accounts.items()},
            "balances": self._balances,
        }
        return rows, token | ({"cursor": update.cursor} if update.cursor else {})

    async def window(self, window: Window) -> tuple[list[HeldRow], dict[str, Told]]:
        """Raises ``HistoryToCome``."""
        self.check_history()
        return await read_window(self._api, self._access_token, window)

    def document(self, resource: str, row: HeldRow) -> Document:
        """An object decoded, with the item it belongs to; raises ``Unreadable``."""
        document = object_of(row[1]) if isinstance(row[1], Raw) else dict(row[1])
        document[CONTEXT] = self.context
        return document


def _held(changes: list[Changed]) -> list[HeldRow]:
    return [(change.id, change.raw) for change in changes]


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

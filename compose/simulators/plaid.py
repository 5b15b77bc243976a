"""The Plaid simulator: clients' keys, connections, minute limits, and what the endpoints answer."""

import itertools
import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from datetime import timedelta
from typing import Any, get_type_hints

import msgspec
from msgspec.structs import replace

from compose.simulators import plaid_requests as asked
from compose.simulators.clock import Clock
from compose.simulators.plaid_answers import institution, item_shape, listed, transactions_of
from compose.simulators.plaid_bank import PlaidSize, bank
from compose.simulators.plaid_edits import ItemEdits
from compose.simulators.plaid_errors import error_answer, refuse
from compose.simulators.plaid_item import NOT_READY, Item
from compose.simulators.plaid_limits import Limits
from compose.simulators.plaid_rows import ENCODER, Account
from compose.simulators.plaid_sync import Streams, Switches
from compose.simulators.server import Refusal, Simulator
from compose.simulators.wire import Answer, Request

CLIENT_ID = "simulated-client"
SECRET = "simulated-secret"
SANDBOX_DAYS_BACK_MAX = 14
SECRETS = frozenset({"secret", "access_token", "public_token"})
EDITS = tuple(
    name
    for name in dir(ItemEdits)
    if not name.startswith("_") and callable(getattr(ItemEdits, name))
)
Body = dict[str, Any]


class PlaidSimulator(Simulator):
    """`base_url` is what a client is configured with; `item()` gives a connection's edits."""

    def __init__(
        self,
        sizes: Iterable[PlaidSize] = (PlaidSize(),),
        *,
        seed: int = 1,
        clock: Clock | None = None,
        switches: Switches | None = None,
        port: int = 0,
    ) -> None:
        super().__init__(clock, port=port)
        self.switches = switches or Switches()
        self.keys = {CLIENT_ID: SECRET}
        self.chance = random.Random(seed)
        self.limits = Limits()
        self.streams = Streams(self.switches)
        self.items: dict[str, ItemEdits] = {}
        """By access token."""
        self.public_tokens: dict[str, str] = {}
        self._request_ids = itertools.count(1)
        for size in sizes:
            self.add_item(size)

    @property
    def base_url(self) -> str:
        return self.host_url

    def add_item(self, size: PlaidSize) -> ItemEdits:
        """One more connection."""
        edits = bank(size, self.clock, random.Random(self.chance.getrandbits(64)))
        self.items[edits.item.access_token] = edits
        return edits

    def item(self, reference: str | None = None) -> ItemEdits:
        """The edits of the connection of that token, id or name; without one, of the first."""
        for edits in self.items.values():
            item = edits.item
            names = (None, item.access_token, item.item_id, item.name)
            if reference in names and not item.gone:
                return edits
        raise LookupError(f"no item {reference!r}")

    # -- orders ------------------------------------------------------------------------------

    def operations(self) -> Mapping[str, Callable[..., Any]]:
        """The connections' edits, each with a further ``item`` argument, and our own."""
        own = (self.switch, self.new_item, self.relink_item, self.items_summary)
        return {each.__name__: each for each in own} | {name: self._edit_of(name) for name in EDITS}

    def switch(self, **values: Any) -> None:
        """Set fields of ``Switches``."""
        hints = get_type_hints(Switches)
        for name, value in values.items():
            if name not in {each.name for each in fields(Switches)}:
                raise ValueError(f"no switch {name!r}")
            setattr(self.switches, name, msgspec.convert(value, hints[name]))

    def new_item(self, **size: Any) -> str:
        """A further connection of the size given (fields of ``PlaidSize``); its access token."""
        return self.add_item(msgspec.convert(size, PlaidSize)).item.access_token

    def relink_item(self, item: str | None = None) -> str:
        """The user connects the same bank anew: everything under new ids; the new access token.

        Names, masks, types and persistent ids stay; the old token finds nothing any more.
        """
        old = self.item(item).item
        edits = self.add_item(PlaidSize(name=old.name, transactions=0))
        new = edits.item
        new.institution_id = old.institution_id
        ids = {key: new.new_id() for key in old.accounts}
        new.accounts = {
            ids[key]: replace(row, account_id=ids[key]) for key, row in old.accounts.items()
        }
        new.cached = dict(new.accounts)
        for row in (*old.vault, *old.rows.values()):
            moved = replace(row, transaction_id=new.new_id(), account_id=ids[row.account_id])
            new.vault.append(replace(moved, pending_transaction_id=None))
        old.gone = True
        return new.access_token

    def items_summary(self) -> list[Body]:
        return [edits.item_summary() for edits in self.items.values() if not edits.item.gone]

    def _edit_of(self, name: str) -> Callable[..., Any]:
        def edit(item: str | None = None, **args: Any) -> Any:
            return getattr(self.item(item), name)(**args)

        return edit

    # -- answering ---------------------------------------------------------------------------

    def credential(self, request: Request) -> str:
        body = _lenient(request)
        token = body.get("access_token")
        return token if isinstance(token, str) else request.headers.get("plaid-client-id", "")

    def told(self, request: Request) -> Any:
        return {key: part for key, part in _lenient(request).items() if key not in SECRETS}

    def named_error(self, name: str) -> Answer:
        return error_answer(name)

    def admit(self, request: Request) -> Answer | None:
        """The body, the keys, the item, the limits; last, the item's own trouble."""
        try:
            body = asked.read_body(request)
            client = self._client(request, body)
            if isinstance(body, asked.AboutItem):
                item = self._item(body.access_token)
                now = self.clock.now()
                code = self.limits.refusal(
                    request.path, item.item_id, client, now, self.switches.limits
                )
                if code is not None:
                    raise refuse(code)
                if item.error is not None and request.path not in ("/item/get", "/item/remove"):
                    error = item.error
                    raise refuse(error.error_code, error.error_message, error.error_code_reason)
        except Refusal as refusal:
            return refusal.answer
        return None

    def answer(self, request: Request) -> Answer:
        body = asked.read_body(request)
        shape = self._shape(request.path, body)
        shape["request_id"] = f"sim{next(self._request_ids):012}"
        return Answer(200, ENCODER.encode(shape))

    def _client(self, request: Request, body: asked.Asked) -> str:
        client = body.client_id or request.headers.get("plaid-client-id", "")
        secret = body.secret or request.headers.get("plaid-secret", "")
        if not client or not secret:
            raise refuse("MISSING_FIELDS", "client_id and secret are required")
        if self.keys.get(client) != secret:
            raise refuse("INVALID_API_KEYS")
        return client

    def _item(self, access_token: str) -> Item:
        edits = self.items.get(access_token)
        if edits is None:
            raise refuse("INVALID_ACCESS_TOKEN")
        if edits.item.gone:
            raise refuse("ITEM_NOT_FOUND")
        return edits.item

    def _shape(self, path: str, body: asked.Asked) -> Body:
        match body:
            case asked.Sync():
                return self._sync(self._item(body.access_token), body)
            case asked.Get():
                return self._get(self._item(body.access_token), body)
            case asked.Accounts():
                return self._accounts(path, self._item(body.access_token), body)
            case asked.Create():
                return self._create(self._item(body.access_token), body)
            case asked.Remove():
                self._item(body.access_token).gone = True
                return {}
            case asked.AboutItem():
                return self._about(path, body.access_token)
            case asked.Institution():
                return {"institution": institution(body.institution_id)}
            case asked.PublicToken():
                return self._public_token(body)
            case asked.Exchange():
                token = self.public_tokens.pop(body.public_token, None)
                if token is None:
                    raise refuse("INVALID_PUBLIC_TOKEN")
                return {"access_token": token, "item_id": self._item(token).item_id}
        raise refuse("NOT_FOUND")

    def _sync(self, item: Item, body: asked.Sync) -> Body:
        page = self.streams.page(item, body)
        shape: Body = {"added": [], "modified": [], "removed": []}
        options = body.options
        for kind, row in page.entries:
            if kind == "removed":
                ids = {"transaction_id": row.transaction_id, "account_id": row.account_id}
                shape[kind].append(ids)
            else:
                shape[kind].append(
                    listed(
                        row,
                        described=bool(options.include_original_description),
                        version=options.personal_finance_category_version,
                    )
                )
        used = {row.account_id for row in item.rows.values()}
        return {
            "transactions_update_status": item.status,
            "accounts": [row for key, row in item.cached.items() if key in used],
            **shape,
            "next_cursor": page.next_cursor,
            "has_more": page.has_more,
        }

    def _get(self, item: Item, body: asked.Get) -> Body:
        item.initialise(body.options.days_requested)
        item.settle()
        if item.status == NOT_READY:
            raise refuse("PRODUCT_NOT_READY")
        if body.start_date > body.end_date:
            raise refuse("INVALID_FIELD", "start_date must not be after end_date")
        options = body.options
        accounts = _chosen(item.cached, options.account_ids)
        rows = transactions_of(item, body, {row.account_id for row in accounts})
        page = rows[options.offset : options.offset + options.count]
        described = bool(options.include_original_description)
        version = options.personal_finance_category_version
        return {
            "accounts": accounts,
            "transactions": [listed(row, described=described, version=version) for row in page],
            "total_transactions": len(rows),
            "item": item_shape(item),
        }

    def _accounts(self, path: str, item: Item, body: asked.Accounts) -> Body:
        """Cached balances, or the bank's own, which become the cached ones."""
        if path == "/accounts/balance/get":
            item.cached = dict(item.accounts)
        return {
            "accounts": _chosen(item.cached, body.options.account_ids),
            "item": item_shape(item),
        }

    def _about(self, path: str, token: str) -> Body:
        item, edits = self._item(token), self.items[token]
        if path == "/transactions/refresh":
            edits.refresh()
            return {}
        if path == "/sandbox/item/reset_login":
            edits.fail_item()
            return {"reset_login": True}
        times = {"last_successful_update": item.updated_at, "last_failed_update": item.failed_at}
        shape = {**item_shape(item), "created_at": item.opened_at}
        return {"item": shape, "status": {"transactions": times}}

    def _create(self, item: Item, body: asked.Create) -> Body:
        today = self.clock.today()
        earliest = today - timedelta(days=SANDBOX_DAYS_BACK_MAX)
        for each in body.transactions:
            if not earliest <= each.date_transacted <= today:
                raise refuse("INVALID_FIELD", "date_transacted is out of range")
        for each in body.transactions:
            currency = {"iso_currency_code": each.iso_currency_code or "USD"}
            self.items[item.access_token].add_transaction(
                each.amount,
                each.description,
                date=each.date_posted.isoformat(),
                authorized_date=each.date_transacted.isoformat(),
                pending=each.date_posted > today,
                **currency,
            )
        return {}

    def _public_token(self, body: asked.PublicToken) -> Body:
        edits = self.add_item(PlaidSize(name=f"Sandbox {body.institution_id}", transactions=50))
        edits.item.institution_id = body.institution_id
        wanted = ((body.options or {}).get("transactions") or {}).get("days_requested")
        if "transactions" in body.initial_products:
            edits.item.initialise(wanted)
        token = edits.item.access_token.replace("access", "public", 1)
        self.public_tokens[token] = edits.item.access_token
        return {"public_token": token}


def _chosen(accounts: Mapping[str, Account], ids: list[str] | None) -> list[Account]:
    if ids is None:
        return list(accounts.values())
    if not set(ids) <= accounts.keys():
        raise refuse("INVALID_ACCOUNT_ID")
    return [accounts[each] for each in ids]


def _lenient(request: Request) -> Body:
    """The body as far as it is a JSON object, for the log."""
    try:
        return msgspec.json.decode(request.body, type=Body)
    except msgspec.MsgspecError:
        return {}

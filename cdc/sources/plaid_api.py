"""Plaid's API: the requests that a reader makes, and what its error codes mean.

Every call is a POST; keys go in headers, so that bodies hold nothing but the item's token. Errors
are told apart by ``error_code``, never by the HTTP status.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date
from typing import Annotated, Any, TypeVar

import httpx
import msgspec
from msgspec import Meta, Raw, Struct

from cdc.runtime.errors import Gap, LedgerError, Rejected, Unavailable, Unfit
from cdc.runtime.http import Answer, HttpClient, detail, exact_decoder

T = TypeVar("T")

BASE_URL = "https://production.plaid.com"
VERSION = "2020-09-14"
SYNC_COUNT = 500
"""The most there is: the fewer pages, the rarer a mutation between them."""
DAYS_REQUESTED = 730
LIMIT_SECONDS = 60.0
"""Limits are per minute and no header tells when they end."""
MUTATION = "TRANSACTIONS_SYNC_MUTATION_DURING_PAGINATION"

ACTION_HINTS = {
    "ITEM_LOGIN_REQUIRED": "log in at the bank again through Plaid Link in update mode",
    "ITEM_LOCKED": "the bank has locked the login: unlock it there",
    "ITEM_NOT_FOUND": "the item was removed: link the bank again",
    "ACCESS_NOT_GRANTED": "allow the access through Plaid Link in update mode",
    "USER_PERMISSION_REVOKED": "the access was withdrawn at the bank: link it again",
    "INVALID_ACCESS_TOKEN": "check the item's access_token and that it is of this environment",
    "INVALID_API_KEYS": "check client_id, secret and base_url: they belong to one environment",
}


class NeedsAction(Unfit):
    """An item that gives nothing more until a person acts. ``code``, ``reason``: Plaid's words."""

    def __init__(self, message: str, *, code: str, reason: str, **where: str) -> None:
        super().__init__(message, **where)
        self.code = code
        self.reason = reason


class Mutated(Rejected):
    """The data has changed between two pages: the loop begins again."""


class SyncPage(Struct):
    """One page of an update. Objects undecoded."""

    added: list[Raw]
    modified: list[Raw]
    removed: list[Raw]
    has_more: bool
    next_cursor: str | None = None
    transactions_update_status: str | None = None


class Accounts(Struct):
    accounts: list[Raw]


class ItemError(Struct):
    error_code: str | None = None
    error_code_reason: str | None = None


class ItemBody(Struct):
    """What is only kept is checked with the item's row."""

    item_id: Annotated[str, Meta(min_length=1)]
    error: ItemError | None = None
    institution_id: Any = None
    institution_name: Any = None
    consent_expiration_time: Any = None
    update_type: Any = None
    billed_products: Any = None


class Updates(Struct):
    last_successful_update: Any = None
    last_failed_update: Any = None


class ItemStatus(Struct):
    """``transactions`` tells *no change* from *bank down*."""

    transactions: Updates | None = None


class ItemAnswer(Struct):
    item: ItemBody
    status: ItemStatus | None = None


class TransactionsPage(Struct):
    """Newest first. ``total_transactions`` may move between pages."""

    transactions: list[Raw]
    total_transactions: int


_SYNC = exact_decoder(SyncPage)
_ACCOUNTS = exact_decoder(Accounts)
_ITEM = exact_decoder(ItemAnswer)
_TRANSACTIONS = exact_decoder(TransactionsPage)


def explain(answer: Answer) -> LedgerError | None:
    """What Plaid means by an error."""
    body = answer.error if isinstance(answer.error, dict) else {}
    kind, code = detail(body.get("error_type")), detail(body.get("error_code"))
    if not code:
        return None
    reason = detail(body.get("error_code_reason"))
    request = f" (request {detail(body['request_id'])})" if body.get("request_id") else ""
    words = detail(body.get("error_message"))
    message = f"{code}{f' {reason}' if reason else ''}{request}: {words}"
    if code == MUTATION:
        return Mutated(message, status=answer.status, code=code)
    if kind == "RATE_LIMIT_EXCEEDED":
        wait = answer.retry_after_seconds
        return Unavailable(message, retry_after_seconds=LIMIT_SECONDS if wait is None else wait)
    if code == "PRODUCT_NOT_READY":
        return Unavailable(message)
    if kind == "ITEM_ERROR" or code in ACTION_HINTS:
        hint = ACTION_HINTS.get(code, "")
        return NeedsAction(message, code=code, reason=reason, hint=hint)
    if kind in ("INVALID_REQUEST", "INVALID_INPUT"):
        return Rejected(message, status=answer.status, code=code)
    return Unavailable(message, retry_after_seconds=answer.retry_after_seconds)


class PlaidApi:
    """Requests with one pair of keys. ``tokens``: all items' access tokens, to be kept secret."""

    def __init__(
        self,
        client_id: str,
        secret: str,
        tokens: Iterable[str],
        *,
        now: Callable[[], float],
        base_url: str = BASE_URL,
        days_requested: int = DAYS_REQUESTED,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._days_requested = days_requested
        self._client = HttpClient(
            base_url,
            now=now,
            headers={
                "PLAID-CLIENT-ID": client_id,
                "PLAID-SECRET": secret,
                "Plaid-Version": VERSION,
            },
            secrets=[secret, *tokens],
            explain=explain,
            transport=transport,
        )

    async def sync(self, token: str, cursor: str | None) -> SyncPage:
        """The page behind ``cursor`` (None: from the beginning); ``Gap`` where it is refused."""
        body: dict[str, Any] = {
            "access_token": token,
            "count": SYNC_COUNT,
            "options": {
                "include_original_description": True,
                "days_requested": self._days_requested,
            },
        }
        if cursor:
            body["cursor"] = cursor
        try:
            return await self._post("/transactions/sync", _SYNC, body, token)
        except Mutated:
            raise
        except Rejected as error:
            if cursor and "cursor" in error.message.lower():
                raise Gap(
                    f"the cursor is refused: {error.message}", operation=error.operation
                ) from error
            raise

    async def accounts(self, token: str) -> list[Raw]:
        """All accounts with the balances that Plaid knows."""
        body = {"access_token": token}
        return (await self._post("/accounts/get", _ACCOUNTS, body, token)).accounts

    async def balances(self, token: str) -> list[Raw]:
        """All accounts with balances that the bank is asked for now (slow, and paid per call)."""
        body = {"access_token": token}
        return (await self._post("/accounts/balance/get", _ACCOUNTS, body, token)).accounts

    async def item(self, token: str) -> ItemAnswer:
        """How the item is; answered even while it needs a login."""
        body = {"access_token": token}
        return await self._client.post("/item/get", _ITEM, body=body, credential=f"item {token}")

    async def transactions(
        self, token: str, start: date, end: date, offset: int = 0, accounts: Sequence[str] = ()
    ) -> TransactionsPage:
        """A page of what lies between two days, both included, as it stands now.

        ``accounts``: only theirs; empty: all.
        """
        body = {
            "access_token": token,
            "start_date": start.isoformat(),
            "end_date": end.isoformat(),
            "options": {
                "count": SYNC_COUNT,
                "offset": offset,
                "include_original_description": True,
                "days_requested": self._days_requested,
                **({"account_ids": list(accounts)} if accounts else {}),
            },
        }
        return await self._post("/transactions/get", _TRANSACTIONS, body, token)

    async def _post(
        self, path: str, decoder: "msgspec.json.Decoder[T]", body: Mapping[str, Any], token: str
    ) -> T:
        return await self._client.post(path, decoder, body=body, credential=token)

    def mended(self) -> None:
        """A person says so: what was refused is tried again at once."""
        self._client.breaker.reset()

    async def close(self) -> None:
        await self._client.close()

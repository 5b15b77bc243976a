"""What Plaid's endpoints take: anything else is refused, as the real one does."""

from datetime import date
from decimal import Decimal
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from compose.simulators.plaid_errors import refuse
from compose.simulators.wire import Request

Count = Annotated[int, Meta(ge=1, le=500)]
Days = Annotated[int, Meta(ge=1, le=730)]


class Asked(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Every body; the keys may come in headers instead."""

    client_id: str | None = None
    secret: str | None = None


class AboutItem(Asked, kw_only=True):
    access_token: str


class SyncOptions(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    include_original_description: bool | None = None
    include_personal_finance_category: bool = True
    include_logo_and_counterparty_beta: bool = True
    personal_finance_category_version: str = "v2"
    days_requested: Days | None = None
    account_id: str | None = None


class Sync(AboutItem, kw_only=True):
    cursor: Annotated[str, Meta(max_length=256)] = ""
    count: Count = 100
    options: SyncOptions = msgspec.field(default_factory=SyncOptions)


class GetOptions(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    account_ids: list[str] | None = None
    count: Count = 100
    offset: Annotated[int, Meta(ge=0)] = 0
    include_original_description: bool | None = None
    include_personal_finance_category_beta: bool = True
    include_personal_finance_category: bool = True
    include_logo_and_counterparty_beta: bool = True
    personal_finance_category_version: str = "v2"
    days_requested: Days | None = None


class Get(AboutItem, kw_only=True):
    start_date: date
    end_date: date
    options: GetOptions = msgspec.field(default_factory=GetOptions)


class AccountOptions(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    account_ids: list[str] | None = None
    min_last_updated_datetime: str | None = None


class Accounts(AboutItem, kw_only=True):
    options: AccountOptions = msgspec.field(default_factory=AccountOptions)


class Remove(AboutItem, kw_only=True):
    reason_code: str | None = None
    reason_note: str | None = None


class Institution(Asked, kw_only=True):
    institution_id: str
    country_codes: list[str]
    options: dict[str, Any] | None = None


class PublicToken(Asked, kw_only=True):
    institution_id: str
    initial_products: list[str]
    options: dict[str, Any] | None = None
    user_token: str | None = None
    user_id: str | None = None


class Exchange(Asked, kw_only=True):
    public_token: str


class CreatedTransaction(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    date_transacted: date
    date_posted: date
    amount: Decimal
    description: str
    iso_currency_code: str | None = None


class Create(AboutItem, kw_only=True):
    transactions: Annotated[list[CreatedTransaction], Meta(min_length=1, max_length=10)]


TAKES: dict[str, type[Asked]] = {
    "/transactions/sync": Sync,
    "/transactions/get": Get,
    "/transactions/refresh": AboutItem,
    "/accounts/get": Accounts,
    "/accounts/balance/get": Accounts,
    "/item/get": AboutItem,
    "/item/remove": Remove,
    "/institutions/get_by_id": Institution,
    "/item/public_token/exchange": Exchange,
    "/sandbox/public_token/create": PublicToken,
    "/sandbox/item/reset_login": AboutItem,
    "/sandbox/transactions/create": Create,
}


def read_body(request: Request) -> Asked:
    """The body of a request to one of the endpoints, or the API's refusal."""
    kind = TAKES.get(request.path)
    if kind is None or request.method != "POST":
        raise refuse("NOT_FOUND")
    if not request.headers.get("content-type", "").startswith("application/json"):
        raise refuse("INVALID_HEADERS")
    try:
        return msgspec.json.decode(request.body, type=kind)
    except msgspec.ValidationError as error:
        raise refuse(_code(str(error)), str(error)) from None
    except msgspec.DecodeError:
        raise refuse("INVALID_BODY") from None


def _code(text: str) -> str:
    if "unknown field" in text:
        return "UNKNOWN_FIELDS"
    if "missing required field" in text:
        return "MISSING_FIELDS"
    return "INVALID_FIELD" if "$" in text else "INVALID_BODY"

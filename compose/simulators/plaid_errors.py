"""Plaid's error answers, by code. A client decides by the code, not by the HTTP status."""

import msgspec

from compose.simulators.server import Refusal
from compose.simulators.wire import Answer

TRY_LATER = "rate limit exceeded for attempts to access this item. please try again later"
MUTATION = "TRANSACTIONS_SYNC_MUTATION_DURING_PAGINATION"
_INVALID = "the request was not valid"
_LOGIN = "the login details of this item have changed and a user login is required to update them"

ERRORS = {
    "ITEM_LOGIN_REQUIRED": (400, "ITEM_ERROR", _LOGIN),
    "ITEM_NOT_FOUND": (400, "ITEM_ERROR", "the item you requested cannot be found"),
    "ITEM_LOCKED": (400, "ITEM_ERROR", "this account has been locked at the institution"),
    "ITEM_NOT_SUPPORTED": (400, "ITEM_ERROR", "this item is not currently supported"),
    "NO_ACCOUNTS": (400, "ITEM_ERROR", "no valid accounts were found for this item"),
    "ACCESS_NOT_GRANTED": (400, "ITEM_ERROR", "access to this product was not granted"),
    "USER_PERMISSION_REVOKED": (400, "ITEM_ERROR", "the user revoked their permission"),
    "PRODUCT_NOT_READY": (400, "ITEM_ERROR", "the requested product is not yet ready"),
    "INVALID_ACCESS_TOKEN": (400, "INVALID_INPUT", "could not find matching access token"),
    "INVALID_API_KEYS": (400, "INVALID_INPUT", "invalid client_id or secret provided"),
    "INVALID_ACCOUNT_ID": (400, "INVALID_INPUT", "one of the provided account ids is invalid"),
    "INVALID_PUBLIC_TOKEN": (400, "INVALID_INPUT", "could not find matching public token"),
    "MISSING_FIELDS": (400, "INVALID_REQUEST", _INVALID),
    "UNKNOWN_FIELDS": (400, "INVALID_REQUEST", _INVALID),
    "INVALID_FIELD": (400, "INVALID_REQUEST", _INVALID),
    "INVALID_BODY": (400, "INVALID_REQUEST", "body could not be parsed as JSON"),
    "INVALID_HEADERS": (400, "INVALID_REQUEST", "Content-Type must be application/json"),
    "NOT_FOUND": (404, "INVALID_REQUEST", "the route you requested is not found"),
    MUTATION: (
        400,
        "TRANSACTIONS_ERROR",
        "Underlying transaction data changed since last page was fetched. "
        "Please restart pagination from last update.",
    ),
    "ACCOUNTS_LIMIT": (429, "RATE_LIMIT_EXCEEDED", TRY_LATER),
    "BALANCE_LIMIT": (429, "RATE_LIMIT_EXCEEDED", TRY_LATER),
    "ACCOUNTS_BALANCE_GET_LIMIT": (429, "RATE_LIMIT_EXCEEDED", TRY_LATER),
    "TRANSACTIONS_LIMIT": (429, "RATE_LIMIT_EXCEEDED", TRY_LATER),
    "TRANSACTIONS_SYNC_LIMIT": (429, "RATE_LIMIT_EXCEEDED", TRY_LATER),
    "TRANSACTIONS_REFRESH_LIMIT": (429, "RATE_LIMIT_EXCEEDED", TRY_LATER),
    "ITEM_GET_LIMIT": (429, "RATE_LIMIT_EXCEEDED", TRY_LATER),
    "RATE_LIMIT": (429, "RATE_LIMIT_EXCEEDED", TRY_LATER),
    "INTERNAL_SERVER_ERROR": (500, "API_ERROR", "an unexpected error occurred"),
    "PLANNED_MAINTENANCE": (503, "API_ERROR", "the API is under planned maintenance"),
    "INSTITUTION_DOWN": (400, "INSTITUTION_ERROR", "this institution is not currently responding"),
    "INSTITUTION_NOT_RESPONDING": (
        400,
        "INSTITUTION_ERROR",
        "this institution is not currently responding to this request",
    ),
}
"""Code → HTTP status, type, the usual message."""


class PlaidError(msgspec.Struct, frozen=True, kw_only=True):
    """The body of an error, and the `error` of an item that has one."""

    error_type: str
    error_code: str
    error_code_reason: str | None = None
    error_message: str
    display_message: str | None = None
    request_id: str = "sim-error"
    documentation_url: str = "https://plaid.com/docs/errors/"
    suggested_action: str | None = None


def plaid_error(code: str, message: str | None = None, reason: str | None = None) -> PlaidError:
    """The error of that code; an unknown code is a ``LookupError``."""
    _, kind, usual = ERRORS[code]
    return PlaidError(
        error_type=kind, error_code=code, error_code_reason=reason, error_message=message or usual
    )


def error_answer(code: str, message: str | None = None, reason: str | None = None) -> Answer:
    """The whole answer."""
    return Answer(ERRORS[code][0], msgspec.json.encode(plaid_error(code, message, reason)))


def refuse(code: str, message: str | None = None, reason: str | None = None) -> Refusal:
    """To be raised: the request gets this error."""
    return Refusal(error_answer(code, message, reason))

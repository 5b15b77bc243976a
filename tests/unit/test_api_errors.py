"""What YNAB and Plaid mean by their errors: decided by their own words, as documented."""

from typing import Any

import pytest

from cdc.runtime.errors import Gap, LedgerError, Rejected, Unavailable, Unfit
from cdc.runtime.http import Answer
from cdc.sources import plaid_api, ynab_api
from cdc.sources.plaid_api import LIMIT_SECONDS, Mutated, NeedsAction
from cdc.sources.ynab_api import TooSlow

INPUT, REQUEST, LIMIT = "INVALID_INPUT", "INVALID_REQUEST", "RATE_LIMIT_EXCEEDED"


def plaid(status: int, kind: str, code: str, **more: Any) -> LedgerError | None:
    body = {"error_type": kind, "error_code": code, "error_message": "words", **more}
    return plaid_api.explain(Answer(status, {}, body, None))


@pytest.mark.parametrize(
    ("code", "status", "kind", "meant"),
    [
        ("ITEM_LOGIN_REQUIRED", 400, "ITEM_ERROR", NeedsAction),
        ("ITEM_NOT_FOUND", 400, "ITEM_ERROR", NeedsAction),
        ("ITEM_LOCKED", 400, "ITEM_ERROR", NeedsAction),
        ("NO_ACCOUNTS", 400, "ITEM_ERROR", NeedsAction),
        ("ACCESS_NOT_GRANTED", 400, "ITEM_ERROR", NeedsAction),
        ("USER_PERMISSION_REVOKED", 400, "ITEM_ERROR", NeedsAction),
        ("ITEM_NOT_SUPPORTED", 400, "ITEM_ERROR", NeedsAction),
        ("PRODUCT_NOT_READY", 400, "ITEM_ERROR", Unavailable),
        ("INVALID_ACCESS_TOKEN", 400, INPUT, NeedsAction),
        ("INVALID_API_KEYS", 400, INPUT, NeedsAction),
        ("INVALID_ACCOUNT_ID", 400, INPUT, Rejected),
        ("MISSING_FIELDS", 400, REQUEST, Rejected),
        ("UNKNOWN_FIELDS", 400, REQUEST, Rejected),
        ("INVALID_FIELD", 400, REQUEST, Rejected),
        ("INVALID_BODY", 400, REQUEST, Rejected),
        ("INVALID_HEADERS", 400, REQUEST, Rejected),
        ("NOT_FOUND", 404, REQUEST, Rejected),
        ("TRANSACTIONS_SYNC_MUTATION_DURING_PAGINATION", 400, "TRANSACTIONS_ERROR", Mutated),
        ("ACCOUNTS_LIMIT", 429, LIMIT, Unavailable),
        ("ACCOUNTS_BALANCE_GET_LIMIT", 429, LIMIT, Unavailable),
        ("BALANCE_LIMIT", 429, LIMIT, Unavailable),
        ("TRANSACTIONS_LIMIT", 429, LIMIT, Unavailable),
        ("TRANSACTIONS_SYNC_LIMIT", 429, LIMIT, Unavailable),
        ("ITEM_GET_LIMIT", 429, LIMIT, Unavailable),
        ("RATE_LIMIT", 429, LIMIT, Unavailable),
        ("INTERNAL_SERVER_ERROR", 500, "API_ERROR", Unavailable),
        ("PLANNED_MAINTENANCE", 503, "API_ERROR", Unavailable),
        ("INSTITUTION_DOWN", 400, "INSTITUTION_ERROR", Unavailable),
        ("INSTITUTION_NOT_RESPONDING", 500, "INSTITUTION_ERROR", Unavailable),
    ],
)
def test_plaids_codes(code: str, status: int, kind: str, meant: type[LedgerError]) -> None:
    error = plaid(status, kind, code, request_id="m8MDnv9okwxFNBV")
    assert type(error) is meant
    assert code in error.message and "m8MDnv9okwxFNBV" in error.message
    if isinstance(error, Unavailable) and kind == LIMIT:
        assert error.retry_after_seconds == LIMIT_SECONDS
    if isinstance(error, NeedsAction):
        assert error.code == code


@pytest.mark.parametrize(
    "reason", ["OAUTH_INVALID_TOKEN", "OAUTH_CONSENT_EXPIRED", "OAUTH_USER_REVOKED"]
)
def test_why_a_login_is_needed_is_told(reason: str) -> None:
    error = plaid(400, "ITEM_ERROR", "ITEM_LOGIN_REQUIRED", error_code_reason=reason)
    assert isinstance(error, NeedsAction)
    assert error.reason == reason and error.hint


@pytest.mark.parametrize(
    ("status", "number", "meant", "told"),
    [
        (400, "400", Rejected, "400"),
        (401, "401", Unfit, "refuses the token"),
        (403, "403.1", Unfit, "403.1"),
        (403, "403.2", Unfit, "403.2"),
        (403, "403.3", Unfit, "403.3"),
        (403, "403.4", Unfit, "403.4"),
        (404, "404.1", Rejected, "404"),
        (404, "404.2", Rejected, "404"),
        (409, "409", Rejected, "409"),
        (429, "429", Unavailable, "used up"),
        (503, "503", TooSlow, "503"),
    ],
)
def test_ynabs_ids(status: int, number: str, meant: type[LedgerError], told: str) -> None:
    body = {"error": {"id": number, "name": "a_name", "detail": "Too many words"}}
    error = ynab_api.explain(Answer(status, {}, body, None))
    assert type(error) is meant
    assert told in error.message
    if isinstance(error, Rejected):
        assert error.code == number
    if status == 429:  # it says no time, and the hour rolls
        assert isinstance(error, Unavailable) and error.retry_after_seconds == 300.0


def test_what_no_table_knows_is_read_by_its_status() -> None:
    assert ynab_api.explain(Answer(500, {}, {"error": {"id": "500"}}, None)) is None
    assert plaid_api.explain(Answer(500, {}, {"detail": "of a proxy"}, None)) is None
    assert not isinstance(plaid(400, "A_NEW_TYPE", "A_NEW_CODE"), Rejected | Gap)

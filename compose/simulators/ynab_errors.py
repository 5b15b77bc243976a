"""YNAB's error answers, by its names."""

import msgspec

from compose.simulators.server import Refusal
from compose.simulators.wire import Answer

ERRORS = {
    "bad_request": (400, "400", "The request could not be understood"),
    "not_authorized": (401, "401", "Unauthorized"),
    "subscription_lapsed": (403, "403.1", "Subscription for account has lapsed"),
    "trial_expired": (403, "403.2", "Trial for account has expired"),
    "unauthorized_scope": (403, "403.3", "The supplied access token does not allow access"),
    "data_limit_reached": (403, "403.4", "The request will exceed one or more data limits"),
    "not_found": (404, "404.1", "The specified URI does not exist"),
    "resource_not_found": (404, "404.2", "Resource not found"),
    "conflict": (409, "409", "The resource cannot be saved during this request"),
    "too_many_requests": (429, "429", "Too many requests"),
    "internal_server_error": (500, "500", "The API experienced an unexpected error"),
    "service_unavailable": (503, "503", "The API is temporarily unavailable"),
}
"""Name → HTTP status, the id (a text, sometimes with a dot), the usual detail."""


def error_answer(name: str, detail: str | None = None) -> Answer:
    """The whole answer for an error's name; an unknown name is a ``LookupError``."""
    status, code, usual = ERRORS[name]
    error = {"id": code, "name": name, "detail": detail or usual}
    return Answer(status, msgspec.json.encode({"error": error}))


def refuse(name: str, detail: str | None = None) -> Refusal:
    """To be raised: the request gets this error."""
    return Refusal(error_answer(name, detail))

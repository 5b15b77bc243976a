"""Plaid's limits: so many calls a minute of an endpoint, per item and per client."""

from datetime import datetime

from compose.simulators.quota import RollingQuota

MINUTE_SECONDS = 60
LIMITS: dict[str, dict[str, tuple[int | None, int]]] = {
    "production": {
        "/transactions/sync": (50, 2_500),
        "/transactions/get": (30, 20_000),
        "/transactions/refresh": (2, 100),
        "/accounts/get": (15, 15_000),
        "/accounts/balance/get": (5, 1_200),
        "/item/get": (15, 5_000),
    },
    "sandbox": {
        "/transactions/sync": (50, 1_000),
        "/transactions/get": (80, 1_000),
        "/transactions/refresh": (2, 100),
        "/accounts/get": (100, 5_000),
        "/accounts/balance/get": (25, 100),
        "/item/get": (40, 5_000),
        "/sandbox/transactions/create": (2, 50),
    },
}
"""Environment → endpoint → (per item, per client)."""
CODES = {
    "/transactions/sync": "TRANSACTIONS_SYNC_LIMIT",
    "/transactions/get": "TRANSACTIONS_LIMIT",
    "/transactions/refresh": "TRANSACTIONS_REFRESH_LIMIT",
    "/accounts/get": "ACCOUNTS_LIMIT",
    "/accounts/balance/get": "BALANCE_LIMIT",
    "/item/get": "ITEM_GET_LIMIT",
}


class Limits:
    """Counts calls; one that is refused does not count."""

    def __init__(self) -> None:
        self._quotas: dict[tuple[str, str, str], RollingQuota] = {}

    def refusal(
        self, path: str, item_id: str, client: str, now: datetime, environment: str
    ) -> str | None:
        """The error code of a call too many; None: it may pass."""
        per_item, per_client = LIMITS[environment].get(path, (None, None))
        code = CODES.get(path, "RATE_LIMIT")
        for scope, key, limit in (("item", item_id, per_item), ("client", client, per_client)):
            if limit is not None and not self._quota(environment, path, scope, limit).take(
                key, now
            ):
                return code
        return None

    def _quota(self, environment: str, path: str, scope: str, limit: int) -> RollingQuota:
        key = (environment, path, scope)
        if key not in self._quotas:
            self._quotas[key] = RollingQuota(limit, MINUTE_SECONDS)
        return self._quotas[key]

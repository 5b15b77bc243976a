"""Would these credentials do? Each API is asked once for each of them, in the cheapest way."""

import time
from collections.abc import AsyncIterator
from datetime import date

from cdc.operation.check import PASS, WARN, Check, failed
from cdc.quota import Quota, QuotaSpent
from cdc.runtime.errors import LedgerError
from cdc.settings import PlaidSettings, YnabSettings
from cdc.sources.plaid_api import ACTION_HINTS, NeedsAction, PlaidApi
from cdc.sources.ynab import SINCE_DATE, YnabSource
from cdc.sources.ynab_api import YnabApi

KEYS_REFUSED = "INVALID_API_KEYS"


async def ynab(name: str, settings: YnabSettings, quota: Quota) -> list[Check]:
    """The token, and the plans that were chosen; one request of the hour's."""
    token = settings.token.get_secret_value()
    since = settings.since_date
    source = YnabSource(
        name,
        YnabApi(token, quota, now=time.time, base_url=settings.base_url),
        now=time.time,
        plans=settings.plans,
        since_date=SINCE_DATE if since is None else date.fromisoformat(since),
    )
    try:
        streams = await source.open()
    except QuotaSpent as error:
        return [Check("ynab", name, WARN, f"not asked: {error.message}", error.hint)]
    finally:
        await source.close()
    if not streams:
        return [Check("ynab", name, WARN, "the token's owner has no plan", "make one in YNAB")]
    return [Check("ynab", name, PASS, f"the token gives {len(streams)} plans")]


async def plaid(name: str, settings: PlaidSettings) -> list[Check]:
    """The keys, and each item; one request an item."""
    if not settings.items:
        fix = f"configure sources.{name}.items"
        return [Check("plaid", name, WARN, "no item is configured", fix)]
    tokens = [item.access_token.get_secret_value() for item in settings.items]
    api = PlaidApi(
        settings.client_id.get_secret_value(),
        settings.secret.get_secret_value(),
        tokens,
        now=time.time,
        base_url=settings.base_url,
    )
    try:
        return [each async for each in _items(api, name, settings)]
    finally:
        await api.close()


async def _items(api: PlaidApi, name: str, settings: PlaidSettings) -> AsyncIterator[Check]:
    for item in settings.items:
        subject = f"{name} {item.name}"
        try:
            found = (await api.item(item.access_token.get_secret_value())).item
        except LedgerError as error:
            if isinstance(error, NeedsAction) and error.code == KEYS_REFUSED:
                yield failed("plaid", name, error)
                return  # as for all other items
            yield failed("plaid", subject, error)
            continue
        trouble = found.get("error") or {}
        if code := trouble.get("error_code"):
            yield Check("plaid", subject, WARN, str(code), ACTION_HINTS.get(code, ""))
        else:
            yield Check("plaid", subject, PASS, "the keys and the item's token are taken")

"""Would these credentials do? Each API is asked once for each of them, in the cheapest way."""

from collections.abc import AsyncIterator

from cdc.app.feeds import plaid_api, ynab_source
from cdc.operation.check import PASS, WARN, Check, failed
from cdc.quota import Quota, QuotaSpent
from cdc.runtime.errors import LedgerError
from cdc.settings import PlaidSettings, YnabSettings
from cdc.sources.plaid_api import ACTION_HINTS, NeedsAction, PlaidApi

KEYS_REFUSED = "INVALID_API_KEYS"


async def ynab(name: str, settings: YnabSettings, quota: Quota) -> list[Check]:
    """The token, and the plans that were chosen; one request of the hour's."""
    source = ynab_source(name, settings, quota)
    try:
        streams = await source.open()
    except QuotaSpent as error:
        return [Check("ynab", name, WARN, f"not asked: {error.message}", error.hint)]
    finally:
        await source.close()
    if not streams:
        return [Check("ynab", name, WARN, "the token's owner has no plan", "make one in YNAB")]
    absent = [failed("ynab", name, error) for error in source.absent.values()]
    found = len(streams) - len(absent)
    good = [Check("ynab", name, PASS, f"plans the token gives: {found}")]
    return absent + (good if found else [])


async def plaid(name: str, settings: PlaidSettings) -> list[Check]:
    """The keys, and each item; one request an item."""
    if not settings.items:
        fix = f"configure sources.{name}.items"
        return [Check("plaid", name, WARN, "no item is configured", fix)]
    api = plaid_api(settings)
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
        if found.error is not None and (code := found.error.error_code):
            yield Check("plaid", subject, WARN, code, ACTION_HINTS.get(code, ""))
        else:
            yield Check("plaid", subject, PASS, "the keys and the item's token are taken")

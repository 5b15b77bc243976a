"""Days of an item's history by ``/transactions/get``: whole, or not at all."""

from collections.abc import Iterable

import msgspec
from msgspec import Raw, Struct

from cdc.runtime.errors import Unavailable
from cdc.sources.plaid_api import PlaidApi
from cdc.sources.polled_objects import HeldRow, head_of, usable_id
from cdc.sources.protocol import Told, Window

TRIES_MAX = 3
"""So often it begins again because the bank's data moved between two pages."""


class _Head(Struct):
    transaction_id: str
    account_id: str
    date: str


_HEAD = msgspec.json.Decoder(_Head)


async def read_window(
    api: PlaidApi, token: str, window: Window
) -> tuple[list[HeldRow], dict[str, Told]]:
    """Rows sorted by id, and how many there are by account. What has no usable id is no row of an
    account: it goes to the dead letters."""
    for _ in range(TRIES_MAX):
        raws = await _pages(api, token, window)
        if raws is None:
            continue
        rows: dict[str, tuple[_Head, Raw]] = {}
        unusable: list[HeldRow] = []
        for raw in raws:
            head = head_of(_HEAD, raw)
            if head is None or not usable_id(head.transaction_id):
                unusable.append(("", raw))
            else:
                rows[head.transaction_id] = (head, raw)
        if len(rows) + len(unusable) == len(raws):  # else a page held rows of the one before
            kept = {key: row for key, row in rows.items() if key not in window.left_out}
            return [*unusable, *sorted((k, raw) for k, (_, raw) in kept.items())], _told(
                head for head, _ in kept.values()
            )
    raise Unavailable(f"the data changed {TRIES_MAX} times between pages")


async def _pages(api: PlaidApi, token: str, window: Window) -> list[Raw] | None:
    """None: the number of rows changed between two pages."""
    raws: list[Raw] = []
    total: int | None = None
    while total is None or len(raws) < total:
        page = await api.transactions(token, window.first, window.last, len(raws), window.accounts)
        if total not in (None, page.total_transactions):
            return None
        total = page.total_transactions
        if not page.transactions and len(raws) < total:
            return None
        raws += page.transactions
    return raws


def _told(heads: Iterable[_Head]) -> dict[str, Told]:
    told: dict[str, Told] = {}
    for head in heads:
        known = told.get(head.account_id, Told(0, head.date))
        told[head.account_id] = Told(known.objects + 1, min(known.first_date, head.date))
    return told

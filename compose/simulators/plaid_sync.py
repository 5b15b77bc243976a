"""`/transactions/sync`: the pages of an update.

An update is the part of the log between the client's position and the log's end at its first
page. When the log grows while it is being read, the next page is refused: what was read so far is
half of something that is no more.

    position ── page ── page ── page ┤ end      the cursor between pages: (position, end, offset)
                                                after the last page: (end, end, 0)
"""

import base64
import binascii
import hashlib
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import msgspec

from compose.simulators.plaid_errors import MUTATION, refuse
from compose.simulators.plaid_item import NOT_READY, Item
from compose.simulators.plaid_requests import Sync
from compose.simulators.plaid_rows import Entry

CHECKSUM_CHARS = 8
NOW = "now"


@dataclass
class Switches:
    """What is not publicly known about Plaid, or may be wanted otherwise."""

    mutation_raises: bool = True
    """False: the pages go on over the log as it was"""
    collapse_log: bool = True
    """One entry per transaction and update; False: everything that happened, one by one"""
    not_ready_cursor: Literal["", "null"] = ""
    """The cursor while there is nothing: the guide says null, the specification empty"""
    limits: Literal["production", "sandbox"] = "production"


class Cursor(NamedTuple):
    """What the opaque text holds."""

    item_id: str
    account_id: str
    issue: int
    base: int
    end: int
    offset: int
    origin: int
    """Where a client that began with `now` came in; what lies before it was never told."""


class Page(NamedTuple):
    """One answer."""

    entries: list[Entry]
    next_cursor: str | None
    has_more: bool


class Streams:
    """Reads items' logs page by page."""

    def __init__(self, switches: Switches) -> None:
        self._switches = switches
        self._kept: dict[str, tuple[tuple[Any, ...], list[Entry]]] = {}

    def page(self, item: Item, asked: Sync) -> Page:
        """The page that the cursor points at; raises the API's refusals."""
        item.initialise(asked.options.days_requested)
        item.settle()
        if item.status == NOT_READY:
            empty = None if self._switches.not_ready_cursor == "null" else ""
            return Page([], empty, has_more=False)
        cursor = self._cursor(item, asked)
        entries = self._update(item, cursor)
        upto = cursor.offset + asked.count
        has_more = upto < len(entries)
        item.issues += 1
        following = (
            cursor._replace(offset=upto, issue=item.issues)
            if has_more
            else cursor._replace(base=cursor.end, offset=0, issue=item.issues)
        )
        return Page(entries[cursor.offset : upto], _text(following), has_more)

    def _cursor(self, item: Item, asked: Sync) -> Cursor:
        account_id = asked.options.account_id or ""
        end = len(item.log)
        if asked.cursor == NOW:
            return Cursor(item.item_id, account_id, 0, end, end, 0, end)
        if not asked.cursor:
            return Cursor(item.item_id, account_id, 0, 0, end, 0, 0)
        cursor = parsed(asked.cursor)
        if cursor is None or (cursor.item_id, cursor.account_id) != (item.item_id, account_id):
            raise refuse("INVALID_FIELD", "cursor is not valid for this item")
        if cursor.issue <= item.refused_issues:
            raise refuse(MUTATION)
        if cursor.offset and cursor.end != end and self._switches.mutation_raises:
            raise refuse(MUTATION)
        return cursor if cursor.offset else cursor._replace(end=end)

    def _update(self, item: Item, cursor: Cursor) -> list[Entry]:
        key = (cursor.base, cursor.end, cursor.account_id, cursor.origin)
        kept = self._kept.get(item.item_id)
        if kept is not None and kept[0] == key and self._switches.collapse_log:
            return kept[1]
        part = item.log[cursor.base : cursor.end]
        if cursor.account_id:
            part = [each for each in part if each.row.account_id == cursor.account_id]
        if not self._switches.collapse_log:
            return part
        told = None
        if cursor.origin:
            before = item.log[cursor.origin : cursor.base]
            told = {each.row.transaction_id for each in before}
        entries = _collapsed(part, told)
        self._kept[item.item_id] = (key, entries)
        return entries


def _collapsed(part: list[Entry], told: set[str] | None) -> list[Entry]:
    """The last state of each transaction, in the order of the last changes.

    ``told``: the ids that the client knows; None: all that were added before this part.
    """
    first: dict[str, str] = {}
    last: dict[str, Entry] = {}
    for entry in part:
        key = entry.row.transaction_id
        first.setdefault(key, entry.kind)
        last.pop(key, None)
        last[key] = entry
    entries = []
    for key, entry in last.items():
        known = first[key] != "added" and (told is None or key in told)
        if entry.kind != "removed":
            entries.append(Entry("modified" if known else "added", entry.row))
        elif first[key] != "added":
            entries.append(entry)
    return entries


def _text(cursor: Cursor) -> str:
    plain = msgspec.json.encode(cursor)
    check = hashlib.sha256(plain).hexdigest()[:CHECKSUM_CHARS].encode()
    return base64.b64encode(check + plain).decode()


def parsed(text: str) -> Cursor | None:
    """What a cursor's text holds; None where it is none of ours."""
    try:
        raw = base64.b64decode(text, validate=True)
        check, plain = raw[:CHECKSUM_CHARS], raw[CHECKSUM_CHARS:]
        if hashlib.sha256(plain).hexdigest()[:CHECKSUM_CHARS].encode() != check:
            return None
        return msgspec.json.decode(plain, type=Cursor)
    except (binascii.Error, ValueError):
        return None

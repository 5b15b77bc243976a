"""Documents for changes whose event carried none: an update without images tells only what is new.

They are looked up together, as they are now (not before the newest of the changes), and decoded in
small runs as they are taken: a thousand decoded ones at a time leave the CPU's cache, and are 2 MB.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from bson import Timestamp

from cdc.sources.mongo_events import DECODE_EVENTS, UNREADABLE, decoded
from cdc.sources.mongo_pages import Pages, can_be_asked_for, id_key
from cdc.sources.protocol import Change


def lacks_document(change: Change) -> bool:
    return change.after is None and change.op != "d" and change.fault is None


async def with_documents(pages: Pages, changes: Sequence[Change]) -> AsyncIterator[list[Change]]:
    """The changes in order, in small runs.

    Without those whose document was deleted since: the delete follows in the stream. Those whose
    ``_id`` cannot be asked for have a fault.
    """
    changes = [_with_fault(change) for change in changes]
    found = await _found(pages, changes)
    if found is None:  # memory is bounded by a reply for each collection
        half = len(changes) // 2
        for part in (changes[:half], changes[half:]):
            async for run in with_documents(pages, part):
                yield run
        return
    for start in range(0, len(changes), DECODE_EVENTS):
        yield _filled(changes[start : start + DECODE_EVENTS], found)


async def _found(pages: Pages, changes: Sequence[Change]) -> dict[str, dict[object, bytes]] | None:
    """The documents by collection; None where those of one are more than a reply holds."""
    missing: dict[str, list[Any]] = {}
    for change in changes:
        if lacks_document(change):
            missing.setdefault(change.collection, []).append(change.id)
    newest = Timestamp(changes[-1].position >> 32, changes[-1].position & 0xFFFFFFFF)
    found: dict[str, dict[object, bytes]] = {}
    for collection, ids in missing.items():
        documents = await pages.newest(collection, ids, newest)
        if documents is None:
            return None
        found[collection] = documents
    return found


def _with_fault(change: Change) -> Change:
    if lacks_document(change) and not can_be_asked_for(change.id):
        return change._replace(fault=UNREADABLE)
    return change


def _filled(changes: Sequence[Change], found: Mapping[str, Mapping[object, bytes]]) -> list[Change]:
    """Each document is decoded once, however many of the changes are its own."""
    places = [
        (change.collection, id_key(change.id)) if lacks_document(change) else None
        for change in changes
    ]
    rows = {place: found[place[0]].get(place[1]) for place in places if place is not None}
    known = [(place, row) for place, row in rows.items() if row is not None]
    documents = {
        place: document
        for (place, _), (_, document) in zip(known, decoded([row for _, row in known]), strict=True)
    }
    filled: list[Change] = []
    for change, place in zip(changes, places, strict=True):
        if place is None:
            filled.append(change)
        elif place in documents:
            document = documents[place]
            fault = UNREADABLE if document is None else None
            filled.append(change._replace(after=document, fault=fault))
    return filled

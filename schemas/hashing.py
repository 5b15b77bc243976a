"""The SHA-256 transaction hash: a stable fingerprint of a transaction's facts.

It never decides a write (versions do). It finds the same row again, duplicates between feeds,
and damage. The encoding is versioned and injective: canonical JSON (no spaces, UTF-8) of

    ["v1", book, source, account id or null, id, amount, currency, date, payee, else description]

with text in NFC, the amount as a plain decimal without needless zeros, an ISO date. Test vectors:
``schemas/hash_vectors.json``.
"""

from hashlib import sha256
from unicodedata import normalize

import orjson

from schemas.money import normalised

HASH_VERSION = "v1"


def _nfc(text: str | None) -> str | None:
    return text if text is None or text.isascii() else normalize("NFC", text)


def transaction_hash(
    book: str,
    source: str,
    account_id: str | None,
    row_id: str,
    amount: str | None,
    currency: str | None,
    date: str | None,
    payee_or_description: str | None,
) -> bytes:
    """32 bytes. ``amount`` is a plain decimal text, ``date`` ISO 8601; texts may be in any form."""
    fields = [
        HASH_VERSION,
        _nfc(book),
        _nfc(source),
        _nfc(account_id),
        _nfc(row_id),
        None if amount is None else normalised(amount),
        currency,
        date,
        _nfc(payee_or_description),
    ]
    return sha256(orjson.dumps(fields)).digest()

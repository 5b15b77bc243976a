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
_NEW = sha256()
"""A copy costs less than a new one: OpenSSL looks the algorithm up each time."""


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
    encoded = orjson.dumps(
        [
            HASH_VERSION,
            book,
            source,
            account_id,
            row_id,
            amount and normalised(amount),
            currency,
            date,
            payee_or_description,
        ]
    )
    if not encoded.isascii():  # ASCII is in NFC already: most rows are spared this
        encoded = orjson.dumps([text and normalize("NFC", text) for text in orjson.loads(encoded)])
    state = _NEW.copy()
    state.update(encoded)
    return state.digest()

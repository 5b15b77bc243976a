"""The SQL of this product: numbered migrations, their sum, and named queries, read from files."""

from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

_FOLDER = Path(__file__).parent


class Migration(NamedTuple):
    """One numbered step; ``name`` is its file's, ``checksum`` the SHA-256 of its text in hex."""

    number: int
    name: str
    text: str
    checksum: str


@cache
def query(name: str) -> str:
    """The text of ``queries/<name>.sql``."""
    return (_FOLDER / "queries" / f"{name}.sql").read_text("utf-8")


@cache
def migrations() -> tuple[Migration, ...]:
    """All migrations in the order of their numbers."""
    found = []
    for path in sorted((_FOLDER / "migrations").glob("*.sql")):
        text = path.read_text("utf-8")
        checksum = sha256(text.encode()).hexdigest()
        found.append(Migration(int(path.stem.partition("_")[0]), path.stem, text, checksum))
    return tuple(found)


def schema() -> str:
    """The whole schema as the migrations leave it."""
    return (_FOLDER / "schema.sql").read_text("utf-8")

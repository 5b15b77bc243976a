"""The transaction hash: its published vectors, and that different facts have different hashes."""

import hashlib
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import schemas
from schemas.hashing import transaction_hash

VECTORS = json.loads((Path(schemas.__file__).parent / "hash_vectors.json").read_text())
NAMES = [
    "book",
    "source",
    "account_id",
    "id",
    "amount",
    "currency",
    "date",
    "payee_or_description",
]
BY_NAME = {vector["name"]: vector for vector in VECTORS["vectors"]}


@pytest.mark.parametrize("vector", VECTORS["vectors"], ids=lambda vector: vector["name"])
def test_a_vector(vector: dict[str, Any]) -> None:
    fields = [vector["fields"][name] for name in NAMES]
    assert transaction_hash(*fields).hex() == vector["sha256"]
    assert hashlib.sha256(vector["canonical"].encode()).hexdigest() == vector["sha256"]


@pytest.mark.parametrize(
    ("one", "other"), [("plain", "amount without needless zeros"), ("composed", "decomposed")]
)
def test_forms_of_the_same_facts_have_one_hash(one: str, other: str) -> None:
    assert BY_NAME[one]["sha256"] == BY_NAME[other]["sha256"]


_text = st.one_of(st.none(), st.text('ab",[] é', max_size=4))
_facts = st.tuples(
    st.text('ab"', max_size=3),
    st.text('ab"', max_size=3),
    _text,
    st.text('ab",', max_size=3),
    st.one_of(st.none(), st.decimals(-9, 9, places=2).map(lambda each: format(each, "f"))),
    st.sampled_from([None, "USD", "EUR"]),
    st.sampled_from([None, "2026-03-01", "2026-03-02"]),
    _text,
)


@given(_facts, _facts)
def test_different_facts_have_different_hashes(one: Any, other: Any) -> None:
    def meant(facts: Any) -> Any:
        amount = facts[4]
        return (*facts[:4], amount and Decimal(amount), *facts[5:])

    assert (transaction_hash(*one) == transaction_hash(*other)) == (meant(one) == meant(other))

"""What a sample of documents would become, per mapping and per reason."""

from cdc.mapping.sample import EXAMPLES_MAX, sample
from tests.mapping_world import TRANSACTIONS, normaliser, transactions


def test_reasons_are_counted_with_examples() -> None:
    documents = [{"_id": number, "amount": 1} for number in range(3)]
    documents += [{"_id": 10 + number, "amount": "x"} for number in range(EXAMPLES_MAX + 2)]
    documents += [{"_id": "late"}, {"_id": "odd", "amount": 1, "reference": "\udcff"}]
    (result,) = sample(normaliser(), "payments", iter(documents))
    assert result.document() == {
        "mapping": f"payments:{TRANSACTIONS}",
        "sampled": 12,
        "mapped": 3,
        "unmapped": [
            {
                "path": "amount",
                "reason": "is text, and no sample is declared (decimal = …)",
                "count": EXAMPLES_MAX + 2,
                "example_ids": [f"int:{10 + number}" for number in range(EXAMPLES_MAX)],
            },
            {"path": "amount", "reason": "is missing", "count": 1, "example_ids": ["late"]},
            {
                "path": "reference",
                "reason": "is no valid UTF-8",
                "count": 1,
                "example_ids": ["odd"],
            },
        ],
    }


def test_conditions_choose_what_is_sampled() -> None:
    world = normaliser(
        transactions({"amount": "amount"}, where={"org": "acme"}, deleted_when={"gone": True})
    )
    documents = [
        {"_id": 1, "org": "acme", "amount": 1},
        {"_id": 2, "org": "other", "amount": "x"},
        {"_id": 3, "org": "acme", "amount": "x", "gone": True},
    ]
    (result,) = sample(world, "payments", documents)
    assert (result.sampled, result.mapped, result.unmapped) == (2, 2, {})


def test_a_document_with_rows_maps_when_all_of_them_do() -> None:
    world = normaliser(transactions({"amount": "amount"}, rows="lines[]"))
    documents = [
        {"_id": 1, "lines": [{"_id": 1, "amount": 1}]},
        {"_id": 2, "lines": [{"_id": 1, "amount": 1}, {"_id": 2}, {"_id": 3}]},
        {"_id": 3, "lines": [{"_id": 1, "amount": 1}, {"_id": 1, "amount": 1}]},
    ]
    (result,) = sample(world, "payments", documents)
    found = result.document()
    assert (found["sampled"], found["mapped"]) == (3, 1)
    assert [(each["count"], each["example_ids"]) for each in found["unmapped"]] == [
        (1, ["int:2"]),
        (1, ["int:3"]),
    ]


def test_every_mapping_of_the_collection_is_told() -> None:
    world = normaliser(transactions({}), transactions({}, id_prefix="x:"))
    names = [each.mapping for each in sample(world, "payments", [])]
    assert names == [f"payments:{TRANSACTIONS}", f"payments:{TRANSACTIONS}:x:"]
    assert sample(world, "users", [{"_id": 1}]) == []

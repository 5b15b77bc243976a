"""Mappings that need pre- and post-images: asked for before anything is started."""

from tests.e2e.company import Company

MAPPED = """
[sources.property]
type = "mongodb"
[[sources.property.mappings]]
collection = "payments"
entity = "accounting.transactions"
where = { organisation = "acme" }
[sources.property.mappings.fields]
id = "_id"
amount = "amount"
type = { const = "income" }
"""
COLLMOD = '{collMod: "payments", changeStreamPreAndPostImages: {enabled: true}}'
IMAGES = {"changeStreamPreAndPostImages": {"enabled": True}}


async def test_a_collection_without_them_stops_the_start_with_the_line_that_helps(
    company: Company,
) -> None:
    await company.prepared()
    (company.folder / "ledger.toml").write_text(MAPPED)
    await company.documents.create_collection("payments")
    checked = await company.cdc("check", "--json")
    assert checked.code == 3
    (failed,) = [each for each in checked.document["checks"] if each["outcome"] == "fail"]
    assert COLLMOD in failed["fix"]
    refused = await company.cdc("run")
    assert refused.code == 3
    assert COLLMOD in refused.err
    assert "Traceback" not in refused.err
    await company.documents.command({"collMod": "payments", **IMAGES})
    assert (await company.cdc("check")).code == 0
    source = await company.daemon("run")
    assert await source.stop() == 0


async def test_a_collection_that_does_not_exist_yet_is_a_warning_and_made_with_them(
    company: Company,
) -> None:
    await company.prepared()
    (company.folder / "ledger.toml").write_text(MAPPED)
    checked = await company.cdc("check", "--json")
    assert checked.code == 0
    warned = [
        each
        for each in checked.document["checks"]
        if each["outcome"] == "warn" and "oplog" not in each["name"]  # others may have filled it
    ]
    assert ["does not exist yet" in each["detail"] for each in warned] == [True]
    await company.daemon("run")
    (made,) = [each async for each in await company.documents.list_collections()]
    assert (made["name"], made["options"]) == ("payments", IMAGES)

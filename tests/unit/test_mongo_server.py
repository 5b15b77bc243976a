"""What is asked of a MongoDB server before anything is read from it, whatever it answers."""

from typing import Any

import pytest

from cdc.runtime.errors import Unfit
from cdc.sources.mongo_server import verify

MEMBER = {"setName": "rs0", "isWritablePrimary": True}
MONGOS = {"msg": "isdbgrid"}


class Answering:
    """A database whose server answers like this."""

    name = "company"

    def __init__(self, hello: dict[str, Any], major: int = 8) -> None:
        self.client = self.admin = self
        self._answers = {
            "hello": hello,
            "buildInfo": {"version": f"{major}.0.1", "versionArray": [major, 0, 1, 0]},
            "replSetGetConfig": {"config": {"settings": {"replicaSetId": "an id"}}},
        }

    async def command(self, name: str) -> dict[str, Any]:
        return self._answers[name]


async def test_a_member_of_a_replica_set_tells_who_it_is() -> None:
    identity = await verify(Answering(MEMBER), "property", allow_sharded=False)
    assert identity == {"database": "company", "set": "rs0", "replica_set_id": "an id"}


@pytest.mark.parametrize(
    ("database", "reason", "fix"),
    [
        (Answering({}), "no member of a replica set", "rs.initiate()"),
        (Answering(MEMBER, major=5), "MongoDB 5.0.1 is too old", "6.0 or newer"),
        (Answering(MONGOS), "this is a mongos", "allow_sharded = true"),
    ],
)
async def test_a_server_that_cannot_serve_is_refused_with_the_way_out(
    database: Answering, reason: str, fix: str
) -> None:
    with pytest.raises(Unfit) as refused:
        await verify(database, "property", allow_sharded=False)
    assert reason in refused.value.message
    assert fix in refused.value.hint


async def test_a_mongos_is_taken_where_a_person_allows_it() -> None:
    identity = await verify(Answering(MONGOS), "property", allow_sharded=True)
    assert identity["set"] == "mongos"

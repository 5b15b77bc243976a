"""What a MongoDB server must be, and who it is. The database handle is passed in (motor's)."""

import contextlib
from collections.abc import Sequence
from typing import Any

from pymongo.errors import PyMongoError

from cdc.runtime.errors import Unfit

SERVER_MAJOR_MIN = 6


async def verify(database: Any, source: str, *, allow_sharded: bool) -> dict[str, str]:
    """The identity that cursors are bound to; raises ``Unfit`` for a server that cannot serve."""
    admin = database.client.admin
    hello = await admin.command("hello")
    build = await admin.command("buildInfo")
    sharded = hello.get("msg") == "isdbgrid"
    if sharded and not allow_sharded:
        raise Unfit(
            "this is a mongos: sharded clusters are not tested",
            subject=source,
            hint="set allow_sharded = true to use it all the same",
        )
    if "setName" not in hello and not sharded:
        raise Unfit(
            "the server is no member of a replica set, so it has no change streams",
            subject=source,
            hint="start mongod with --replSet and run rs.initiate()",
        )
    if int(build["versionArray"][0]) < SERVER_MAJOR_MIN:
        raise Unfit(
            f"MongoDB {build['version']} is too old",
            subject=source,
            hint=f"{SERVER_MAJOR_MIN}.0 or newer is needed (pre- and post-images)",
        )
    identity = {"database": database.name, "set": hello.get("setName", "mongos")}
    with contextlib.suppress(PyMongoError):  # where our rights let us read it
        config = await admin.command("replSetGetConfig")
        identity["replica_set_id"] = str(config["config"]["settings"]["replicaSetId"])
    return identity


async def ensure_images(database: Any, source: str, collections: Sequence[str]) -> None:
    """Collections have images, or are made with them; raises ``Unfit`` where one has none."""
    if not collections:
        return
    without = sorted(
        name for name, images in (await images_of(database, collections)).items() if not images
    )
    if without:
        raise Unfit(
            f"no pre- and post-images on {', '.join(without)}",
            subject=source,
            hint="; ".join(collmod_line(name) for name in without),
        )
    for name in set(collections) - (await images_of(database, collections)).keys():
        with contextlib.suppress(PyMongoError):  # no rights: it may come to be without us
            await database.create_collection(name, changeStreamPreAndPostImages={"enabled": True})


async def images_of(database: Any, collections: Sequence[str]) -> dict[str, bool]:
    """Which of these collections exist, and whether they keep pre- and post-images."""
    reply = await database.command(
        {"listCollections": 1, "filter": {"name": {"$in": list(collections)}}}
    )
    return {
        each["name"]: bool(
            each["options"].get("changeStreamPreAndPostImages", {}).get("enabled", False)
        )
        for each in reply["cursor"]["firstBatch"]
    }


async def oplog_span(database: Any) -> tuple[int, int]:
    """Seconds since 1970 of the oplog's oldest and newest entry; raises ``PyMongoError``."""
    oplog = database.client["local"]["oplog.rs"]
    found = [
        await oplog.find_one(sort=[("$natural", direction)], projection=["ts"])
        for direction in (1, -1)
    ]
    oldest, newest = (0 if entry is None else int(entry["ts"].time) for entry in found)
    return oldest, newest


def collmod_line(collection: str) -> str:
    """What to run in mongosh so that a collection's changes carry its documents."""
    images = "changeStreamPreAndPostImages: {enabled: true}"
    return f'db.runCommand({{collMod: "{collection}", {images}}})'

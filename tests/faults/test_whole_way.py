"""The way of a change without any fault: what all the faults are measured against."""

from tests.faults.system import System


async def test_snapshot_beside_writes_then_stream_ends_equal(way: System) -> None:
    """Source, topics and tables agree row by row, whatever was written meanwhile."""
    writer = way.writer(1)
    await writer.found(60)
    way.source.start()
    way.consumer.start()
    async with way.writing(writer):
        await way.until(way.published, "the first snapshot is published")
    await writer.steps(100)
    await way.require_right()
    await writer.mend()
    await way.require_right()
    assert await way.source.stop() == 0
    assert await way.consumer.stop() == 0

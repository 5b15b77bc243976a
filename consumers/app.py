"""A consumer as one service of a process: built by hand from its settings, run until stopped."""

import asyncio
import random
import time
from collections.abc import Callable
from typing import Any

from aiokafka import AIOKafkaConsumer

from cdc.runtime.kafka import topic_ids
from cdc.runtime.postgres import Connect
from cdc.runtime.retry import Backoff, delay_seconds
from consumers.consume import Consumer
from consumers.feed import Feed
from consumers.gap import MissedDeletes
from consumers.keep import Keeper
from consumers.metrics import ConsumerMetrics, NoMetrics
from consumers.placing import Placing, TopicIds
from consumers.settings import ConsumerSettings
from consumers.state import Log, Progress, State


class ConsumerService:
    """Kafka to one Postgres database. ``progress`` tells what it is doing."""

    def __init__(
        self,
        settings: ConsumerSettings,
        *,
        log: Log,
        metrics: ConsumerMetrics | None = None,
        make_consumer: Callable[..., Any] = AIOKafkaConsumer,
        connect: Connect | None = None,
        control: Connect | None = None,
        ask_topic_ids: TopicIds | None = None,
        clock: Callable[[], float] = time.time,
        chance: Callable[[], float] = random.random,
        backoff: Backoff | None = None,
    ) -> None:
        """What it talks to may be passed in; by default it is what the settings name.

        ``control``: the database of observed state, by default the target itself.
        """
        waits = backoff or Backoff()
        metrics = metrics or NoMetrics()
        connect = connect or settings.database.connect
        self.progress = Progress(settings.target, clock, log, metrics)
        self._feed = Feed(settings, make_consumer)
        ask_topic_ids = ask_topic_ids or (lambda names: topic_ids(settings.kafka, names))
        placing = Placing(settings, self._feed, ask_topic_ids)
        self._consumer = Consumer(
            settings,
            feed=self._feed,
            connect=connect,
            placing=placing,
            progress=self.progress,
            backoff=lambda attempt: delay_seconds(attempt, waits, chance),
            chance=chance,
        )
        self._keeper = Keeper(
            settings,
            placing,
            feed=self._feed,
            connect=connect,
            control=control or connect,
            progress=self.progress,
        )
        self._missed_deletes = MissedDeletes(
            settings, connect=connect, assigned=self._feed.assigned, log=log
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Until ``stop``; then what is under way is committed and the group is left.

        Raises what its loop, or what runs beside it, died of.
        """
        stopped, ended = asyncio.Event(), asyncio.Event()
        consuming = asyncio.create_task(self._consumer.run(stopped), name="consume")
        beside = (
            asyncio.create_task(self._keeper.run(ended), name="keep consumer"),
            asyncio.create_task(self._missed_deletes.run(ended), name="find missed deletes"),
        )
        told = asyncio.create_task(stop.wait(), name="stop consumer")
        try:
            await asyncio.wait({told, consuming, *beside}, return_when=asyncio.FIRST_COMPLETED)
            stopped.set()
            await asyncio.wait({consuming})
            self.progress.enter(State.STOPPED)
            ended.set()
            await asyncio.wait(beside)
        finally:
            for task in (told, consuming, *beside):
                task.cancel()
            await self._feed.stop()
        for task in (consuming, *beside):
            task.result()

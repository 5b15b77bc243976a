"""What every service of one process shares, and the process from start to end."""

import asyncio
import time
from collections.abc import Awaitable

from cdc import __version__
from cdc.building import declared_topics, instance_name, kafka_connection
from cdc.kafka import topics
from cdc.runtime.health import Conditions, HealthServer, Pulse
from cdc.runtime.kafka import KafkaConnection
from cdc.runtime.log import Log
from cdc.runtime.memory import settle_memory
from cdc.runtime.metrics import CONTENT_TYPE, Metrics
from cdc.runtime.services import Services
from cdc.settings import Settings, listen_address


class Process:
    """What every service of a process shares."""

    def __init__(self, settings: Settings, log: Log) -> None:
        self.settings = settings
        self.log = log
        self.connection: KafkaConnection = kafka_connection(settings)
        self.instance = instance_name(settings)
        self.metrics = Metrics(__version__)
        self.pulse = Pulse(time.monotonic)
        self.services = Services(log)
        self._topics_fit: asyncio.Task[None] | None = None

    def topics_fit(self) -> Awaitable[None]:
        """Asked once, beside everything else that takes its time at the start."""
        if self._topics_fit is None:
            asking = topics.require(self.connection, declared_topics(self.settings))
            self._topics_fit = asyncio.create_task(asking, name="check topics")
            self._topics_fit.add_done_callback(lambda task: task.cancelled() or task.exception())
        return asyncio.shield(self._topics_fit)

    async def serve(self, listen: str, setting: str, conditions: Conditions) -> int:
        """Health pages and services, from start to end."""
        server: HealthServer | None = None
        if listen:
            host, port = listen_address(listen)
            server = HealthServer(
                host,
                port,
                pulse=self.pulse,
                conditions=conditions,
                metrics=self.metrics.page,
                metrics_type=CONTENT_TYPE,
                setting=setting,
            )
            await server.start()
        address = "" if server is None else server.address
        settle_memory()
        self.log.info("started", version=__version__, instance=self.instance, listen=address)
        try:
            code = await self.services.run()
        finally:
            if server is not None:
                await server.stop()
        self.log.info("stopped", outcome="drained" if code == 0 else "cut short")
        return code

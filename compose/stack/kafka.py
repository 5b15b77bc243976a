"""Apache Kafka as one KRaft node, from Maven's jars."""

import asyncio
import base64
import hashlib
import shutil
import tempfile
import uuid
from collections.abc import Mapping
from pathlib import Path

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError

from compose.stack.errors import StackError
from compose.stack.java import (
    FLAGS,
    KAFKA_VERSION,
    LOGGING,
    Java,
    cache_folder,
    cache_lock,
    fetch_jars,
    find_java,
)
from compose.stack.ports import LOOPBACK, free_port
from compose.stack.process import Child
from compose.stack.server import Report, Server, silent

FORMAT_SECONDS_MAX = 60.0
# One node cannot replicate; the shorter times let tests see in a second what takes ten by default.
PROPERTIES = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "auto.create.topics.enable": "false",
    "offsets.topic.num.partitions": "1",
    "offsets.topic.replication.factor": "1",
    "transaction.state.log.num.partitions": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "1000",
    # How long a killed broker's registration stands in the way of its own restart.
    "broker.session.timeout.ms": "3000",
    "broker.heartbeat.interval.ms": "200",
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000",
    "log.cleaner.backoff.ms": "500",
    "log.cleaner.dedupe.buffer.size": "2097152",
}


class KafkaServer(Server):
    """`properties` are further server properties and win over ours (listeners included).

    `advertised_port` is the port clients are sent to, when a proxy stands in between.
    `format_arguments` are further words for the storage tool (SCRAM users).
    """

    name = "kafka"

    def __init__(
        self,
        folder: Path,
        port: int | None = None,
        report: Report = silent,
        *,
        controller_port: int | None = None,
        advertised_port: int | None = None,
        properties: Mapping[str, str] | None = None,
        format_arguments: tuple[str, ...] = (),
    ) -> None:
        super().__init__(folder, port, report)
        self.controller_port = controller_port or free_port()
        self._advertised_port = advertised_port or self.port
        self._properties = dict(properties or {})
        self._format_arguments = format_arguments
        self._archive_target: Path | None = None

    @property
    def uri(self) -> str:
        """The bootstrap address, `host:port`."""
        return f"{LOOPBACK}:{self.port}"

    def title(self) -> str:
        return f"Apache Kafka {KAFKA_VERSION}"

    async def prepare(self) -> None:
        self._java = find_java()
        if self._archive_target is None and not _archive_path(self._java).exists():
            await fetch_kafka(self._report)
        self._jars = cache_folder() / "jars"
        (self.folder / "server.properties").write_text(self._server_properties())
        if not (self.folder / "formatted").exists():
            await self._format()

    def _server_properties(self) -> str:
        ours = {
            **PROPERTIES,
            "listeners": f"PLAINTEXT://{self.uri},CONTROLLER://{LOOPBACK}:{self.controller_port}",
            "advertised.listeners": f"PLAINTEXT://{LOOPBACK}:{self._advertised_port}",
            "controller.quorum.voters": f"1@{LOOPBACK}:{self.controller_port}",
            "log.dirs": str(self.folder / "data"),
        }
        lines = (f"{name}={value}" for name, value in {**ours, **self._properties}.items())
        return "\n".join((*lines, ""))

    async def _format(self) -> None:
        shutil.rmtree(self.folder / "data", ignore_errors=True)
        tool = [
            *self._java_words("kafka.tools.StorageTool"),
            *("format", "--cluster-id", _cluster_id()),
            *("--config", self.folder / "server.properties"),
            *self._format_arguments,
        ]
        formatting = Child(tool, self.folder / "format.log")
        await formatting.finish(FORMAT_SECONDS_MAX, "formatting Apache Kafka's data folder")
        (self.folder / "formatted").touch()

    def _java_words(self, main: str) -> list[str | Path]:
        sharing: list[str] = []
        if self._archive_target is not None:
            sharing = [f"-XX:ArchiveClassesAtExit={self._archive_target}"]
        elif (archive := _archive_path(self._java)).exists():
            sharing = [f"-XX:SharedArchiveFile={archive}"]
        return [self._java.program, *FLAGS, *sharing, *LOGGING, "-cp", f"{self._jars}/*", main]

    def command(self) -> list[str | Path]:
        return [*self._java_words("kafka.Kafka"), self.folder / "server.properties"]

    async def answers(self) -> bool:
        client = AIOKafkaClient(bootstrap_servers=self.uri)
        try:
            await client.bootstrap()
            return bool(client.cluster.brokers())
        except KafkaError:
            return False
        finally:
            await client.close()


async def fetch_kafka(report: Report) -> None:
    """Jars and class-data archive in the cache; whoever comes second waits for the first."""
    lock = cache_lock()
    await asyncio.to_thread(lock.__enter__)
    try:
        java = find_java()
        await fetch_jars(report)
        if not _archive_path(java).exists():
            await _make_archive(java, report)
    finally:
        lock.__exit__(None, None, None)


async def _make_archive(java: Java, report: Report) -> None:
    """A dump of the classes of one start: later starts take half the time."""
    report(f"Apache Kafka {KAFKA_VERSION}: making its class archive (once)")
    target = _archive_path(java)
    unfinished = target.with_suffix(".unfinished")
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        server = KafkaServer(Path(folder))
        server._archive_target = unfinished
        try:
            await server.start()
            await server.stop()
        finally:
            await server.kill()
    if not unfinished.exists():
        raise StackError("Java wrote no class archive", f"look into {target.parent}; free space?")
    unfinished.rename(target)


def _archive_path(java: Java) -> Path:
    digest = hashlib.sha256(java.identity.encode()).hexdigest()[:12]
    return cache_folder() / f"classes-{digest}.jsa"


def _cluster_id() -> str:
    while True:
        text = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        if not text.startswith("-"):  # the storage tool would take it for an option
            return text

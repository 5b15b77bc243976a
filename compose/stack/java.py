"""Java, and Kafka's jars in a cache: fetched once by Maven, whoever starts first."""

import contextlib
import fcntl
import hashlib
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from compose.stack.errors import StackError
from compose.stack.process import Child
from compose.stack.server import Report

JAVA_VERSION_MIN = 17
KAFKA_VERSION = "4.3.1"
FETCH_SECONDS_MAX = 600.0
FLAGS = ("-Xms128m", "-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData")
LOGGING = (
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS",
)
POM = Path(__file__).with_name("pom.xml")
CACHE = Path(__file__).parents[2] / ".cache" / "kafka"


@dataclass(frozen=True)
class Java:
    """A Java that can run Kafka, and what tells it from others."""

    program: Path
    identity: str


def find_java() -> Java:
    """The `java` on the path; StackError when there is none or it is too old."""
    found = shutil.which("java")
    way_out = (
        f"install Java {JAVA_VERSION_MIN} or newer (Debian: apt-get install default-jre-headless)"
    )
    if found is None:
        raise StackError("Apache Kafka needs Java, and there is no `java` on the PATH", way_out)
    program = Path(found).resolve()
    release = program.parents[1] / "release"
    if release.exists():
        identity = release.read_text()
    else:
        asked = subprocess.run(
            [found, "-version"], capture_output=True, text=True, check=False, timeout=60
        )
        identity = asked.stderr + asked.stdout
    match = re.search(r'(?:JAVA_VERSION=|version )"(?:1\.)?(\d+)', identity)
    if match is None or int(match[1]) < JAVA_VERSION_MIN:
        version = match[1] if match else "of unknown version"
        raise StackError(
            f"Apache Kafka needs Java {JAVA_VERSION_MIN}; {found} is {version}", way_out
        )
    return Java(program, f"{program}\n{identity}")


def cache_folder() -> Path:
    """Where the jars stand; another pom is another folder."""
    return CACHE / hashlib.sha256(POM.read_bytes()).hexdigest()[:12]


@contextlib.contextmanager
def cache_lock() -> Iterator[None]:
    """One at a time, over all processes. Waits for the other one."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


async def fetch_jars(report: Report) -> Path:
    """The folder of the jars, fetched when it is not there. Call it under `cache_lock`."""
    folder = cache_folder()
    jars = folder / "jars"
    if jars.exists():
        return jars
    maven = shutil.which("mvn")
    if maven is None:
        raise StackError(
            "Apache Kafka is fetched with Maven, and there is no `mvn` on the PATH",
            "install Maven 3.8 or newer (Debian: apt-get install maven)",
        )
    report(f"Apache Kafka {KAFKA_VERSION}: fetching it with Maven (45 MB, once)")
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = folder / "jars-unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    copy = Child(
        [
            *(maven, "--quiet", "--batch-mode", "-f", POM),
            "dependency:copy-dependencies",
            f"-DoutputDirectory={unfinished}",
        ],
        folder / "maven.log",
    )
    await copy.finish(FETCH_SECONDS_MAX, f"fetching Apache Kafka {KAFKA_VERSION} with Maven")
    unfinished.rename(jars)
    return jars

"""The kinds of values that settings have: their forms, and what is said where a form is wrong."""

from pathlib import Path
from typing import Annotated, Any, TypeVar
from urllib.parse import unquote, urlsplit

from pydantic import AfterValidator, BeforeValidator, SecretStr, StringConstraints
from pydantic_core import PydanticCustomError

from cdc.runtime.settings_reader import HIDDEN, did_you_mean
from schemas.entities import ENTITIES

WRONG = "wrong_setting"
"""The type of our own errors: ``ctx`` holds ``reason`` and ``fix``."""
PORT_MAX = 65_535

T = TypeVar("T")


def wrong(reason: str, fix: str = "") -> PydanticCustomError:
    """An error that the loader turns into a fault of the setting it is raised for."""
    return PydanticCustomError(WRONG, "{reason}", {"reason": reason, "fix": fix})


class Secret(SecretStr):
    """A text that shows itself as ``***``."""

    def _display(self) -> str:
        return HIDDEN


def _listed(value: Any) -> Any:
    """A list, also as the environment says it: ``a,b``."""
    return [part.strip() for part in value.split(",")] if isinstance(value, str) else value


def listen_address(text: str) -> tuple[str, int]:
    """Host and port of ``host:port`` or ``[v6]:port``; raises ``ValueError``."""
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > PORT_MAX:
        raise ValueError("is not host:port")
    return host.strip("[]"), int(port)


def _listen(text: str) -> str:
    try:
        if text:
            listen_address(text)
    except ValueError as error:
        raise wrong(str(error), "write 127.0.0.1:8080") from None
    return text


def _servers(text: str) -> str:
    for server in text.split(",") if text else ():
        try:
            host, port = listen_address(server.strip())
        except ValueError:
            host, port = "", 0
        if not host or not port:
            raise wrong("is not host:port[,host:port]", "write 127.0.0.1:9092")
    return text


def _file(text: str) -> str:
    if not Path(text).is_file():
        raise wrong("there is no such file")
    return text


def _credential(secret: Secret) -> Secret:
    """Goes into a header: what no header can carry would end a run, and not be told as this."""
    text = secret.get_secret_value()
    if not text.isascii() or not text.isprintable() or " " in text or not text:
        raise wrong("has a sign that no credential has, or none", "copy it whole, and only it")
    return secret


_SLASH = "has a / in its user or password", "percent-encode it: %2F"


def _dsn(secret: Secret) -> Secret:
    fix = "write postgresql://user:password@host:5432/database"
    try:
        parts = urlsplit(secret.get_secret_value())
        for host in parts.netloc.rpartition("@")[2].split(","):  # a primary and its standbys
            _ = urlsplit(f"//{host}").port
    except ValueError:  # its words may hold a part of the password
        raise wrong("has no port where one must be", fix) from None
    if parts.scheme not in ("postgresql", "postgres"):
        raise wrong("is not a PostgreSQL DSN", fix)
    if "@" in parts.path:
        raise wrong(*_SLASH)
    if not parts.path.strip("/") and "dbname=" not in parts.query:
        raise wrong("names no database", fix)
    return secret


def mongo_database(uri: str) -> str:
    """The database in a MongoDB URI; empty where it names none."""
    return _after_hosts(uri)[1]


def _after_hosts(uri: str) -> tuple[str, str]:
    """(hosts, database) of a URI."""
    rest = uri.partition("://")[2].partition("?")[0].rpartition("@")[2]
    hosts, _, database = rest.partition("/")
    return hosts, unquote(database)


def _mongo_uri(secret: Secret) -> Secret:
    fix = "write mongodb://host:27017/database?replicaSet=rs0"
    uri = secret.get_secret_value()
    scheme, slashes, _ = uri.partition("://")
    if scheme not in ("mongodb", "mongodb+srv") or not slashes:
        raise wrong("is not a MongoDB URI", fix)
    hosts, database = _after_hosts(uri)
    if not hosts:
        raise wrong("names no host", fix)
    if "@" in uri.partition("://")[2].partition("?")[0].partition("/")[2]:
        raise wrong(*_SLASH)
    for host in hosts.split(","):
        port = host.rpartition(":")[2] if ":" in host.rpartition("]")[2] else "27017"
        if not port.isdecimal() or not 0 < int(port) <= PORT_MAX:
            raise wrong("has no port where one must be", fix)  # it may be a part of the password
    if not database:
        raise wrong("names no database", fix)
    return secret


def _entities(counts: dict[str, T]) -> dict[str, T]:
    for entity in counts:
        if entity not in ENTITIES:
            raise wrong(f"there is no entity {entity}", did_you_mean(entity, ENTITIES))
    return counts


NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_-]*$"
PREFIX_PATTERN = r"^[A-Za-z0-9_-][A-Za-z0-9._-]*$"

Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN, max_length=100)]
TopicPrefix = Annotated[str, StringConstraints(pattern=PREFIX_PATTERN, max_length=100)]
Currency = Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]
Day = Annotated[str, StringConstraints(pattern=r"^\d{4}-\d{2}-\d{2}$")]
Text = Annotated[str, StringConstraints(min_length=1)]
Texts = Annotated[tuple[str, ...], BeforeValidator(_listed)]
Listen = Annotated[str, AfterValidator(_listen)]
Servers = Annotated[str, AfterValidator(_servers)]
File = Annotated[str, AfterValidator(_file)]
Credential = Annotated[Secret, AfterValidator(_credential)]
Dsn = Annotated[Secret, AfterValidator(_dsn)]
MongoUri = Annotated[Secret, AfterValidator(_mongo_uri)]
PartitionCounts = Annotated[dict[str, int], AfterValidator(_entities)]
Listed = BeforeValidator(_listed)

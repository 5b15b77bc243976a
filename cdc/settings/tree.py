"""The tree itself: every setting, its kind, its default. Names as ``contract.md`` 2."""

from itertools import combinations
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationInfo,
    model_validator,
)

from cdc.mapping.declared import MappingDeclaration
from cdc.settings.kinds import (
    Credential,
    Currency,
    Day,
    Dsn,
    File,
    Listed,
    Listen,
    MongoUri,
    Name,
    PartitionCounts,
    Secret,
    Servers,
    Text,
    Texts,
    TopicPrefix,
    wrong,
)

SETTLED_STATUSES = ("completed", "paid", "succeeded", "settled", "posted")
Domain = Literal["accounting", "budget"]
DOMAINS: tuple[Domain, ...] = ("accounting", "budget")


class Part(BaseModel):
    """Base of every part: closed and frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class KafkaSettings(Part):
    """The brokers and who we are to them."""

    bootstrap_servers: Servers = ""
    topic_prefix: TopicPrefix = "ledger"
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None = None
    sasl_username: str | None = None
    sasl_password: Secret | None = None
    ssl_cafile: File | None = None
    ssl_certfile: File | None = None
    ssl_keyfile: File | None = None
    replication_factor: Annotated[int, Field(ge=1, le=32)] | None = None
    """None: the broker's default."""
    partitions: PartitionCounts = {}
    """Of entity topics; 8 where nothing is said."""

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        if self.security_protocol.startswith("SASL_"):
            keys = ("sasl_mechanism", "sasl_username", "sasl_password")
            missing = [key for key in keys if getattr(self, key) is None]
            if missing:
                reason = f"security_protocol {self.security_protocol} needs {', '.join(missing)}"
                raise wrong(reason, "give them values")
        if (self.ssl_certfile is None) != (self.ssl_keyfile is None):
            raise wrong("ssl_certfile and ssl_keyfile go together", "give both or none")
        return self


class TargetSettings(Part):
    """A Postgres database that gets rows, with its own offsets and consumer group."""

    dsn: Dsn
    domains: Annotated[tuple[Domain, ...], Listed, Field(min_length=1)] = DOMAINS


def _apart(targets: dict[str, TargetSettings]) -> dict[str, TargetSettings]:
    for (one, first), (other, second) in combinations(targets.items(), 2):
        shared = sorted(set(first.domains) & set(second.domains))
        if first.dsn == second.dsn and shared:
            reason = f"{one} and {other} both write {', '.join(shared)} into one database"
            raise wrong(reason, "give each its own dsn or domains")
    return targets


class ControlSettings(Part):
    """The database of requests, desired and observed state."""

    dsn: Dsn | None = None


class HttpSettings(Part):
    """Where the processes answer ``/livez``, ``/readyz`` and ``/metrics``; empty: nowhere."""

    listen: Listen = "127.0.0.1:8080"
    consumer_listen: Listen = "127.0.0.1:8081"


class LogSettings(Part):
    """``format`` auto: JSON, but for people on a terminal."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "json", "console"] = "auto"


class SyncSettings(Part):
    """The first desired state: what starts paused, and whether the clock starts anything."""

    enabled: bool = True
    real_time: bool = True
    scheduled: bool = True

    @property
    def sources_start_paused(self) -> bool:
        return not (self.enabled and self.real_time)


class _Source(Part):
    book: Name = "default"
    """The tree's, where the source does not say its own (see the loader)."""
    default_currency: Currency = "USD"


class MongoSettings(_Source):
    """A MongoDB database. No ``mappings``: the built-in shape (``cdc.mapping.builtin``)."""

    type: Literal["mongodb"]
    uri: MongoUri
    settled_statuses: Texts = SETTLED_STATUSES
    allow_sharded: bool = False
    mappings: tuple[MappingDeclaration, ...] = ()


class YnabSettings(_Source):
    """Plans of YNAB."""

    type: Literal["ynab"]
    token: Credential
    base_url: Text = "https://api.ynab.com/v1"
    plans: Texts = ()
    """None given: all."""
    since_date: Day | None = None
    poll_seconds: Annotated[float, Field(ge=1)] = 60.0


class PlaidItemSettings(Part):
    """One login at one bank."""

    name: Name
    access_token: Credential


def _named_once(items: tuple[PlaidItemSettings, ...]) -> tuple[PlaidItemSettings, ...]:
    names = [item.name for item in items]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise wrong(f"{', '.join(twice)} is named twice", "give each item a name of its own")
    return items


class PlaidSettings(_Source):
    """Accounts at banks, through Plaid."""

    type: Literal["plaid"]
    client_id: Credential
    secret: Credential
    base_url: Text = "https://production.plaid.com"
    days_requested: Annotated[int, Field(ge=1, le=730)] = 730
    poll_seconds: Annotated[float, Field(ge=1)] = 300.0
    accounts_seconds: Annotated[float, Field(ge=1)] = 900.0
    """How often accounts are read where no transaction has changed."""
    items: Annotated[tuple[PlaidItemSettings, ...], AfterValidator(_named_once)] = ()


SourceSettings = MongoSettings | YnabSettings | PlaidSettings
AnySource = Annotated[SourceSettings, Field(discriminator="type")]
SOURCE_TYPES: dict[str, type[SourceSettings]] = {
    "mongodb": MongoSettings,
    "ynab": YnabSettings,
    "plaid": PlaidSettings,
}


def _in_book(sources: dict[str, SourceSettings], info: ValidationInfo) -> dict[str, SourceSettings]:
    """A source that does not say its book is in the tree's."""
    book = info.data.get("book", "default")
    return {
        name: source
        if "book" in source.model_fields_set
        else source.model_copy(update={"book": book})
        for name, source in sources.items()
    }


class Settings(Part):
    """Everything, once, for one process."""

    book: Name = "default"
    instance: Name | None = None
    """Unique for a process; with it, a restart takes its place in Kafka's groups at once."""
    kafka: KafkaSettings = KafkaSettings()
    targets: Annotated[dict[Name, TargetSettings], AfterValidator(_apart)] = {}
    control: ControlSettings = ControlSettings()
    http: HttpSettings = HttpSettings()
    log: LogSettings = LogSettings()
    sync: SyncSettings = SyncSettings()
    sources: Annotated[dict[Name, AnySource], AfterValidator(_in_book)] = {}

    @property
    def control_dsn(self) -> str | None:
        """The control database: as said, else ``main``'s, else the first target's."""
        if self.control.dsn is not None:
            return self.control.dsn.get_secret_value()
        target = self.targets.get("main") or next(iter(self.targets.values()), None)
        return None if target is None else target.dsn.get_secret_value()

    def secrets(self) -> tuple[str, ...]:
        """Every secret text in the tree: what must never be shown."""
        found: list[str] = []
        _collect(self, found)
        return tuple(found)


def _collect(value: Any, found: list[str]) -> None:
    if isinstance(value, SecretStr):
        found.append(value.get_secret_value())
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            _collect(getattr(value, name), found)
    elif isinstance(value, dict):
        for each in value.values():
            _collect(each, found)
    elif isinstance(value, tuple):
        for each in value:
            _collect(each, found)

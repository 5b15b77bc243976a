"""What an entity is: a name, its columns with their wire kinds, its model."""

from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Annotated, Any, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field


class Kind(StrEnum):
    """How a value travels in JSON, and what it becomes in Postgres."""

    TEXT = "text"
    DECIMAL = "decimal"  # plain decimal text -> numeric
    DATE = "date"  # 2026-03-01 -> date
    TIMESTAMP = "timestamp"  # 2026-03-01T12:00:00.123Z -> timestamptz
    BOOL = "bool"
    INT = "int"  # -> bigint
    JSON = "json"  # any JSON value -> jsonb


POSTGRES_TYPES = {
    Kind.TEXT: "text",
    Kind.DECIMAL: "numeric",
    Kind.DATE: "date",
    Kind.TIMESTAMP: "timestamptz",
    Kind.BOOL: "boolean",
    Kind.INT: "bigint",
    Kind.JSON: "jsonb",
}

Text = Annotated[str, Kind.TEXT]
Amount = Annotated[str, Kind.DECIMAL, Field(pattern=r"^-?[0-9]+(\.[0-9]+)?$")]
Day = Annotated[str, Kind.DATE, Field(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$")]
Instant = Annotated[
    str,
    Kind.TIMESTAMP,
    Field(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?Z$"),
]
Flag = Annotated[bool, Kind.BOOL]
Count = Annotated[int, Kind.INT]
Json = Annotated[Any, Kind.JSON]


class Row(BaseModel):
    """Base of every entity's model: strict, closed, frozen."""

    # Built when first used: a process that validates no row pays nothing for it at its start.
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, defer_build=True)


@dataclass(frozen=True, slots=True)
class Column:
    """A business column. ``required``: an event without it is not published."""

    name: str
    kind: Kind
    required: bool


@dataclass(frozen=True)
class Entity:
    """``name`` is ``domain.plural`` and the table's name as well.

    ``hashed``: it has a ``transaction_hash``, over ``hash_account`` and the first of
    ``hash_texts`` that is not null (``schemas.hashing``).
    """

    name: str
    model: type[Row]
    schema_version: int = 1
    hashed: bool = False
    hash_account: str = "property_id"
    hash_texts: tuple[str, ...] = ("description",)
    columns: tuple[Column, ...] = field(init=False)

    def __post_init__(self) -> None:
        columns = tuple(
            Column(name, _kind(info.annotation, info.metadata), info.is_required())
            for name, info in self.model.model_fields.items()
        )
        object.__setattr__(self, "columns", columns)

    @property
    def domain(self) -> str:
        return self.name.partition(".")[0]

    @property
    def schema_id(self) -> str:
        """The ``schema`` header: ``accounting.transactions/1``."""
        return f"{self.name}/{self.schema_version}"

    @cached_property
    def column_names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)

    def column(self, name: str) -> Column | None:
        return next((column for column in self.columns if column.name == name), None)


def _kind(annotation: Any, metadata: list[Any]) -> Kind:
    """The wire kind among a field's annotations, also inside ``X | None``."""
    for item in metadata:
        if isinstance(item, Kind):
            return item
    for inner in get_args(annotation):
        if get_origin(inner) is Annotated:
            return _kind(inner, list(inner.__metadata__))
    raise TypeError(f"a field of an entity names no wire kind: {annotation!r}")

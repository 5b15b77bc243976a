"""What a person may declare: the ``[[sources.X.mappings]]`` tables, as frozen data.

Only the form is held here; whether a declaration makes sense is told by ``checks``.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

FieldType = Literal["text", "ref", "date", "timestamp", "bool", "int", "decimal"]
Scalar = str | bool | int
Condition = str | bool | int | float
PRESENT = "present"
"""The value of ``deleted_when`` that any value but null meets."""
ID = "id"
"""The field that is no column: the row's id."""


class Part(BaseModel):
    """Base of every part: strict, closed, frozen."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, populate_by_name=True)


def _listed(value: Any) -> Any:
    """One path, or several in their order; a list of lists is joined in groups."""
    if isinstance(value, str):
        return (value,)
    if isinstance(value, list):
        return tuple(tuple(each) if isinstance(each, list) else each for each in value)
    return value


def _tupled(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _as_field(value: Any) -> Any:
    return {"path": value} if isinstance(value, str) else value


Name = Annotated[str, StringConstraints(min_length=1)]
Paths = Annotated[tuple[str, ...], BeforeValidator(_listed), Field(min_length=1)]
Joined = Annotated[tuple[str | tuple[str, ...], ...], BeforeValidator(_listed), Field(min_length=1)]
Conditions = dict[str, Annotated[Condition | tuple[Condition, ...], BeforeValidator(_tupled)]]


class FieldDeclaration(Part):
    """Where a column comes from.

    ``path``: the first of them that is not null. ``join``: texts put together by ``with``, missing
    ones left out; a group in it is put together by a blank; with ``path`` beside it, only where
    ``path`` gives no text. ``default``: where there is nothing, or ``map`` does not have it.
    ``otherwise``: where there is something that ``map`` does not have.
    """

    path: Paths | None = None
    type: FieldType | None = None
    decimal: str | None = None
    minor_units: bool = False
    format: str | None = None
    zone: str | None = None
    epoch: Literal["s", "ms"] | None = None
    map: dict[str, Scalar] | None = None
    default: Scalar | None = None
    otherwise: Scalar | None = None
    join: Joined | None = None
    with_: str | None = Field(default=None, alias="with")
    const: Scalar | None = None

    @property
    def join_groups(self) -> tuple[tuple[str, ...], ...]:
        """The paths that are joined, in groups."""
        groups = self.join or ()
        return tuple((each,) if isinstance(each, str) else each for each in groups)

    @property
    def all_paths(self) -> tuple[str, ...]:
        """Every path that is read."""
        joined = (path for group in self.join_groups for path in group)
        return (*(self.path or ()), *joined)


class MappingDeclaration(Part):
    """How the documents of a collection become rows of an entity."""

    collection: Name
    entity: Name
    where: Conditions = {}
    deleted_when: Conditions = {}
    rows: str | None = None
    id_prefix: str = ""
    fields: dict[str, Annotated[FieldDeclaration, BeforeValidator(_as_field)]]

    @property
    def name(self) -> str:
        """``collection:entity``, with ``:id_prefix`` where there is one; in every event."""
        name = f"{self.collection}:{self.entity}"
        return f"{name}:{self.id_prefix}" if self.id_prefix else name

    @property
    def id_from_key(self) -> bool:
        """Whether the row's id can be told from ``_id`` alone, as a delete names it."""
        if self.rows is not None:
            return True
        paths = self.fields[ID].path or ()
        return all(path == "_id" or path.startswith("_id.") for path in paths)

    @property
    def needs_images(self) -> bool:
        """Whether changes can only be understood with the document before and after."""
        return self.rows is not None or bool(self.where) or not self.id_from_key

"""A projection: the declaration by which events of an entity become rows of a table."""

from dataclasses import dataclass

from schemas.entities import Entity
from schemas.entities.base import POSTGRES_TYPES

KEY = ("book", "source", "id")
HASH = "transaction_hash"


@dataclass(frozen=True, slots=True)
class Projection:
    """Data, no verbs: ``consumers.statements`` turns it into SQL.

    ``takes_turns``: triggers keep sums over the table, so its writers queue up for one lock
    instead of locking the sums of a statement's inserts and updates in crossing orders.
    """

    entity: Entity
    takes_turns: bool = False

    @property
    def table(self) -> str:
        """Schema and table, as the entity's name has them."""
        return self.entity.name

    @property
    def content(self) -> tuple[tuple[str, str], ...]:
        """(column, type in Postgres) of what a delete leaves as it was."""
        columns = tuple((item.name, POSTGRES_TYPES[item.kind]) for item in self.entity.columns)
        return (*columns, (HASH, "bytea")) if self.entity.hashed else columns

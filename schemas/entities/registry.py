"""All entities by name."""

from schemas.entities import accounting, budget
from schemas.entities.base import Entity

ENTITIES: dict[str, Entity] = {item.name: item for item in (*accounting.ENTITIES, *budget.ENTITIES)}


def entity(name: str) -> Entity:
    """The entity of that name; raises ``KeyError``."""
    return ENTITIES[name]

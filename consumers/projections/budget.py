"""Budget: every entity is a table of the same name (``contract.md`` 4)."""

from consumers.projections.projection import Projection
from schemas.entities.budget import ENTITIES

BUDGET = tuple(Projection(entity) for entity in ENTITIES)

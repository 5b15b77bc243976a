"""The entities on the topics: one strict model each, in the shape of ``after`` and ``before``.

A model's fields are the business columns of its table; their wire kinds (``Kind``) decide the
JSON Schema, the mapping's checks and the Postgres types alike. The key columns book, source and
id stand in every row and are not repeated in the models.
"""

from schemas.entities.base import Column, Entity, Kind
from schemas.entities.registry import ENTITIES, entity

__all__ = ["ENTITIES", "Column", "Entity", "Kind", "entity"]

"""A source's mappings, from its settings to the compiled step of the pipeline."""

import time

from cdc.building import partitions
from cdc.mapping.builtin import DECLARATIONS
from cdc.mapping.normaliser import Normaliser
from cdc.settings import MongoSettings, Settings, mongo_database


def mongo_normaliser(settings: Settings, name: str, source: MongoSettings) -> Normaliser:
    """For one MongoDB source."""
    return Normaliser(
        prefix=settings.kafka.topic_prefix,
        book=source.book,
        source=name,
        connector="mongodb",
        database=mongo_database(source.uri.get_secret_value()),
        declarations=source.mappings or DECLARATIONS,
        settled_statuses=source.settled_statuses,
        default_currency=source.default_currency,
        partitions=partitions(settings),
        clock_ms=lambda: time.time_ns() // 1_000_000,
    )


def collections_with_images(normaliser: Normaliser) -> tuple[str, ...]:
    """Those whose mappings compare documents before and after."""
    return tuple(name for name in normaliser.collections if normaliser.needs_images(name))

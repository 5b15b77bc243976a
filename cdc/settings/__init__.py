"""The settings: one frozen tree per process, wholly checked before anything starts."""

from cdc.settings.kinds import Secret, listen_address, mongo_database
from cdc.settings.load import load
from cdc.settings.tree import (
    HttpSettings,
    KafkaSettings,
    LogSettings,
    MongoSettings,
    PlaidSettings,
    Settings,
    SourceSettings,
    SyncSettings,
    TargetSettings,
    YnabSettings,
)

__all__ = [
    "HttpSettings",
    "KafkaSettings",
    "LogSettings",
    "MongoSettings",
    "PlaidSettings",
    "Secret",
    "Settings",
    "SourceSettings",
    "SyncSettings",
    "TargetSettings",
    "YnabSettings",
    "listen_address",
    "load",
    "mongo_database",
]

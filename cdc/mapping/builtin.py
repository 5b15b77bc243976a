"""The default shape of property documents (``contract.md`` 5), as a person would declare it."""

from typing import Any

from cdc.mapping.declared import MappingDeclaration
from schemas.entities.accounting import TRANSACTION_TYPES

_INCOME = ("rent", "fee", "late_fee", "deposit", "payment")
_WORDS = (
    {name: name for name in TRANSACTION_TYPES}
    | dict.fromkeys(_INCOME, "income")
    | {"management_fee": "expense"}
)
_ADDRESS = [
    "address.street",
    "address.city",
    ["address.state", "address.zip"],
    "address.country",
]

TABLES: tuple[dict[str, Any], ...] = (
    {
        "collection": "properties",
        "entity": "accounting.properties",
        "fields": {
            "id": "_id",
            "name": "name",
            "address": {"path": "address", "join": _ADDRESS, "with": ", "},
            "owner_id": {"path": "ownerId", "type": "ref"},
            "currency": "currency",
        },
    },
    {
        "collection": "payments",
        "entity": "accounting.transactions",
        "fields": {
            "id": "_id",
            "property_id": {"path": "propertyId", "type": "ref"},
            "type": {"path": "type", "map": _WORDS, "otherwise": "other", "default": "income"},
            "amount": "amount",
            "currency": "currency",
            "date": {"path": ["date", "paidAt", "dueDate"]},
            "description": "description",
            "status": "status",
            "payment_method": "method",
            "reference": "reference",
        },
    },
    {
        "collection": "users",
        "entity": "accounting.owners",
        "fields": {
            "id": "_id",
            "name": {"path": "name", "join": ["firstName", "lastName"], "with": " "},
            "email": "email",
            "phone": "phone",
            "role": "role",
        },
    },
)

DECLARATIONS = tuple(MappingDeclaration.model_validate(table) for table in TABLES)

"""Which entity becomes which table, in the order in which one transaction writes them."""

from consumers.projections.accounting import ACCOUNTING
from consumers.projections.budget import BUDGET
from consumers.projections.projection import Projection

PROJECTIONS: dict[str, Projection] = {item.entity.name: item for item in (*ACCOUNTING, *BUDGET)}

__all__ = ["PROJECTIONS", "Projection"]

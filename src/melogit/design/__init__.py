"""What was observed: response, fixed-effects matrix, random terms. Frozen arrays and no behaviour."""

from melogit.design.data import (
    Block,
    Design,
    GroupingFactor,
    RandomTerm,
    Structure,
    Wording,
)
from melogit.design.rows import subset

__all__ = ["Block", "Design", "GroupingFactor", "RandomTerm", "Structure", "Wording", "subset"]

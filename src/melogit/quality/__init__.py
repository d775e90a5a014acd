"""How well probabilities predict: metrics on plain arrays, and cross-validation by groups or within them."""

from melogit.quality.metrics import Confusion, confusion, metrics
from melogit.quality.validation import Predicted, cross_validate, in_sample

__all__ = ["Confusion", "Predicted", "confusion", "cross_validate", "in_sample", "metrics"]

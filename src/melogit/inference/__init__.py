"""From estimates and their covariance to uncertainty: tests and intervals, on plain arrays."""

from melogit.inference.icc import IntraclassCorrelation, intraclass_correlations
from melogit.inference.likelihood_ratio import LikelihoodRatio, against_logistic
from melogit.inference.variance import Role, deviations_and_correlations, parameter_roles, variance_intervals
from melogit.inference.wald import (
    Wald,
    atanh_interval,
    critical_value,
    joint_wald,
    log_interval,
    logit_interval,
    normal_interval,
    z_and_p,
)

__all__ = [
    "IntraclassCorrelation",
    "LikelihoodRatio",
    "Role",
    "Wald",
    "against_logistic",
    "atanh_interval",
    "critical_value",
    "deviations_and_correlations",
    "intraclass_correlations",
    "joint_wald",
    "log_interval",
    "logit_interval",
    "normal_interval",
    "parameter_roles",
    "variance_intervals",
    "z_and_p",
]

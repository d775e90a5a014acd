"""Hypothesis for laws of a likelihood: no deadline, a bounded number of examples, the same examples every time."""

from hypothesis import HealthCheck, settings

settings.register_profile(
    "laws", deadline=None, max_examples=60, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("laws")

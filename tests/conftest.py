"""Settings of every property test: the same examples on every run, so that a red suite stays red."""

import os

from hypothesis import HealthCheck, settings

SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
settings.register_profile(
    "suite", deadline=None, max_examples=20, derandomize=True, database=None, suppress_health_check=SLOW
)
settings.register_profile("search", deadline=None, max_examples=1000, database=None, suppress_health_check=SLOW)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "suite"))

"""Settings of every property test: the same examples on every run, so that a red suite stays red."""

from hypothesis import HealthCheck, settings

SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
settings.register_profile(
    "suite", deadline=None, max_examples=20, derandomize=True, database=None, suppress_health_check=SLOW
)
settings.load_profile("suite")

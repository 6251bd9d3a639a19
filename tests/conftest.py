"""Settings of the whole suite: threads, before any library starts them, and the same examples on
every run.
"""

import os
import sys
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

# Several workers share the processors, and tiny networks lose time on more threads than one: they
# wait for each other, spinning. Libraries read this when they are loaded, and so does every process
# that a test starts. Whoever sets other values, as `make test-threads` does, is obeyed.
for name, value in (
    ("OMP_NUM_THREADS", "1"),
    ("OMP_WAIT_POLICY", "passive"),
    ("RAYON_NUM_THREADS", "1"),
    ("TOKENIZERS_PARALLELISM", "false"),
):
    os.environ.setdefault(name, value)

SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
settings.register_profile(
    "suite",
    deadline=None,
    max_examples=20,
    derandomize=True,
    database=None,
    suppress_health_check=SLOW,
)
settings.load_profile("suite")


@pytest.fixture(autouse=True, scope="module")
def threads_as_asked() -> Iterator[None]:
    """Every module begins with the threads of the environment, whatever the one before it did.

    torch itself takes no more of them than there are processors, unless it is told so.
    """
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    yield


@pytest.fixture(autouse=True, scope="session")
def no_waiting_for_the_disk() -> Iterator[None]:
    """Files of tests need not outlive a power cut; that saves sync is seen where a test stops them
    there.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda handle: None)
        yield

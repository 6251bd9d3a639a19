"""The tests run on the threads and with the instructions that the environment asks for."""

import os

import pytest
import torch


def test_threads_are_those_of_the_environment() -> None:
    """As many, even where there are fewer processors."""
    assert torch.get_num_threads() == int(os.environ["OMP_NUM_THREADS"])


@pytest.mark.skipif(
    "ATEN_CPU_CAPABILITY" not in os.environ, reason="`make test-avx2` asks for a processor's"
)
def test_instructions_are_those_of_the_environment() -> None:
    assert torch.backends.cpu.get_cpu_capability().lower() == os.environ["ATEN_CPU_CAPABILITY"]

"""Tokenizers trained here, in both dresses: ours, and the published class on the same vocabulary
files.
"""

import logging
import os
import warnings
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.searching import THOROUGH, tried
from tests.tokenization.sides import FAMILIES, Sides, opened, published_class, section
from tests.tokenization.texts import CORPUS
from tokenization import train_tokenizer

settings.register_profile(
    "tokenization",
    max_examples=tried(30),
    derandomize=not THOROUGH,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@pytest.fixture(autouse=True, scope="module")
def examples_of_this_folder() -> Iterator[None]:
    """Here alone: what a conftest loads when it is read would hold for the whole suite."""
    settings.load_profile("tokenization")
    yield
    settings.load_profile("suite")


@pytest.fixture(scope="session")
def sides(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Sides]:
    """All families, each with a small vocabulary."""
    os.environ["TRUST_REMOTE_CODE"] = "True"
    logging.getLogger("transformers").setLevel(logging.CRITICAL)
    made = {}
    for family in FAMILIES:
        directory = tmp_path_factory.mktemp(family)
        train_tokenizer(section(family), CORPUS, 700).save(directory, "huggingface")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            published = published_class(family).from_pretrained(directory)
        made[family] = Sides(opened(family, directory), published, directory)
    return made

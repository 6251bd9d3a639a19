"""Tokenizers trained here, in both dresses: ours, and the published class on the same vocabulary files."""

import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests.tokenization.texts import CORPUS
from tokenization import Tokenizer, load_tokenizer, train_tokenizer
from tokenization.published import family_section

settings.register_profile(
    "tokenization",
    # A long search, now and then: TOKENIZATION_EXAMPLES=3000 pytest tests/tokenization
    max_examples=int(os.environ.get("TOKENIZATION_EXAMPLES", "80")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.load_profile("tokenization")

FAMILIES = ("xlnet", "xlm", "xlm-roberta-xl", "transformer-xl", "xglm")
SENTENCEPIECE = ("xlnet", "xlm-roberta-xl", "xglm")


def published_class(family: str, fast: bool = False) -> Any:
    """The class of transformers for a family."""
    import transformers

    if family == "transformer-xl":
        from transformers.models.deprecated.transfo_xl import TransfoXLTokenizer

        return TransfoXLTokenizer
    names = {"xlnet": "XLNet", "xlm": "XLM", "xlm-roberta-xl": "XLMRoberta", "xglm": "XGLM"}
    return getattr(transformers, names[family] + "Tokenizer" + ("Fast" if fast else ""))


@dataclass(repr=False)
class Sides:
    """Both sides of a comparison, and the directory with the files that both read."""

    ours: Tokenizer
    published: Any
    directory: Path

    def open_published(self, **settings: Any) -> Any:
        return type(self.published).from_pretrained(self.directory, **settings)

    def open_ours(self, **changes: Any) -> Tokenizer:
        return self.ours.with_options(**changes)


@pytest.fixture(scope="session")
def sides(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Sides]:
    """All families, each with a small vocabulary."""
    os.environ["TRUST_REMOTE_CODE"] = "True"
    made = {}
    for family in FAMILIES:
        directory = tmp_path_factory.mktemp(family)
        train_tokenizer(family_section(family), CORPUS, 700).save(directory, "huggingface")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            published = published_class(family).from_pretrained(directory)
        made[family] = Sides(load_tokenizer(directory), published, directory)
    return made

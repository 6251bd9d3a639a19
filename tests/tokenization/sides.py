"""Two sides of a comparison: our tokenizer, and the published class on the same files."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenization import Tokenizer, load_tokenizer
from tokenization.files.published import family_section

FAMILIES = ("xlnet", "xlm", "xlm-roberta-xl", "transformer-xl", "xglm")
# The order of transformers 4, beside which the tests run.
AS_PUBLISHED: dict[str, dict[str, Any]] = {"xlm": {"lower_case_first": True}}
SENTENCEPIECE = ("xlnet", "xlm-roberta-xl", "xglm")


def published_class(family: str, fast: bool = False) -> Any:
    """The class of transformers for a family."""
    import transformers

    if family == "transformer-xl":
        from transformers.models.deprecated.transfo_xl import TransfoXLTokenizer

        return TransfoXLTokenizer
    names = {"xlnet": "XLNet", "xlm": "XLM", "xlm-roberta-xl": "XLMRoberta", "xglm": "XGLM"}
    return getattr(transformers, names[family] + "Tokenizer" + ("Fast" if fast else ""))


def section(family: str) -> dict[str, Any]:
    """The tokenizer section of a family, as transformers 4 reads it."""
    return {**family_section(family), **AS_PUBLISHED.get(family, {})}


def opened(family: str, directory: Path) -> Tokenizer:
    """A tokenizer of a family, as transformers 4 opens it."""
    return load_tokenizer(directory, **AS_PUBLISHED.get(family, {}))


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

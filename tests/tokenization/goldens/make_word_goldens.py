"""Write word_goldens.json: what transformers 4.35.0, the last release with a living Transformer-XL,
makes of texts.

python3.11 -m venv /somewhere/else
/somewhere/else/bin/pip install torch==2.13.0 transformers==4.35.0 'numpy<2' sacremoses==0.2.0
TRUST_REMOTE_CODE=True /somewhere/else/bin/python tests/tokenization/goldens/make_word_goldens.py
"""

import json
import pickle
import sys
import tempfile
from pathlib import Path
from typing import Any

from transformers import TransfoXLTokenizer

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[2]))

VOCABULARIES: dict[str, dict[str, Any]] = {
    "as it comes": {"special": ["<eos>", "<unk>"]},
    "frequent words": {"special": ["<eos>", "<unk>"], "min_freq": 3, "lower_case": True},
    "few words": {"special": ["<unk>", "<eos>"], "max_size": 50, "lower_case": True},
    "characters": {"special": ["<eos>", "<unk>"], "delimiter": ""},
    "German": {"special": ["<eos>", "<unk>"], "language": "de"},
    "never split": {
        "special": ["<eos>", "<unk>"],
        "never_split": ["<formula>", r"\d+[.,]\d+", "human beings"],
    },
}


def build(options: dict[str, Any], corpus: list[str], texts: list[str]) -> dict[str, Any]:
    """One vocabulary, counted and built by the published class, and what it makes of the texts."""
    tokenizer = TransfoXLTokenizer(**options)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "corpus.txt"
        path.write_text("".join(f"{line}\n" for line in corpus), encoding="utf-8")
        tokenizer.count_file(str(path))
    tokenizer.build_vocab()
    words = list(tokenizer.idx2sym)
    with tempfile.TemporaryDirectory() as directory:
        # Only what the published vocabularies hold: the class's own pickle also keeps ids from
        # before the counting.
        path = Path(directory) / "vocab.pkl"
        path.write_bytes(
            pickle.dumps(
                {"idx2sym": words, "sym2idx": tokenizer.sym2idx, "unk_idx": tokenizer.unk_idx}
            )
        )
        reopened = TransfoXLTokenizer(pretrained_vocab_file=str(path), **options)
        # This release forgets the list while it reads a pickle, so that nothing decodes; later ones
        # do not.
        reopened.idx2sym = words
    cases = []
    for text in texts:
        ids = reopened(text)["input_ids"]
        decoded = [
            reopened.decode(ids, clean_up_tokenization_spaces=clean_up)
            for clean_up in (False, True)
        ]
        cases.append([text, reopened.tokenize(text), ids, *decoded])
    return {"options": options, "words": words, "cases": cases}


def main() -> None:
    """Write the file beside this script."""
    from tests.tokenization.texts import AWKWARD, NEWS, SENTENCES

    corpus = [*SENTENCES.values(), *NEWS] * 3
    texts = [
        *SENTENCES.values(),
        *NEWS,
        " ".join(AWKWARD),
        "".join(AWKWARD),
        "<formula> of <unk>,<eos> human beings",
    ]
    goldens = {name: build(options, corpus, texts) for name, options in VOCABULARIES.items()}
    content = {"corpus": corpus, "vocabularies": goldens}
    (HERE / "word_goldens.json").write_text(
        json.dumps(content, ensure_ascii=True) + "\n", encoding="ascii"
    )


if __name__ == "__main__":
    main()

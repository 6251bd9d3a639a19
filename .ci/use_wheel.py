"""What somebody does first with the installed wheel: build, save in both formats, load, tokenize,
describe.
"""

import subprocess
import sys
from pathlib import Path

import torch

import engine
from engine import Memory, build_model, load_model, load_spec, save_model
from tokenization import load_tokenizer, train_tokenizer

FAMILIES = ("xlnet", "xlm", "xlm-roberta-xl", "transformer-xl", "xglm")
TEXTS = [
    "Montag, Dienstag und Mittwoch.",
    "lundi, mardi et mercredi.",
    "Monday, Tuesday, and Wednesday.",
] * 20


def command(*words: str) -> str:
    """What the console script says."""
    return subprocess.run(["engine", *words], check=True, capture_output=True, text=True).stdout


def main() -> None:
    """Raises where anything that the wheel should hold or bring along is missing."""
    assert Path(engine.__file__).is_relative_to(sys.prefix), f"not the wheel: {engine.__file__}"
    assert command("--version") == f"engine {engine.__version__}\n"
    for family in FAMILIES:
        model = build_model(f"tiny/{family}", seed=0)
        ids = torch.tensor([[5, 17, 23, 42]])
        expected = model(ids).logits
        for form in ("engine", "huggingface"):
            save_model(model, f"{family}-{form}", format=form)
            torch.testing.assert_close(load_model(f"{family}-{form}")(ids).logits, expected)
        assert family in command("describe", f"{family}-engine")
    memory = build_model("tiny/xglm", seed=0)(ids, use_memory=True).memory
    memory.save("past.safetensors")
    assert Memory.load("past.safetensors").length == memory.length

    tokenizer = train_tokenizer(load_spec("tiny/xglm").tokenizer, TEXTS, vocab_size=120)
    tokenizer.save("xglm-engine")
    again = load_tokenizer("xglm-engine")
    batch = again(TEXTS[:3], padding=True, return_tensors="pt")
    assert again.batch_decode(batch.input_ids, skip_special_tokens=True) == TEXTS[:3]
    assert command("tokenize", "xglm-engine", TEXTS[0]).strip()
    assert "xglm-564m" in command("describe", "xglm-564m")
    print("The wheel alone builds, saves, loads, tokenizes and describes.")


if __name__ == "__main__":
    main()

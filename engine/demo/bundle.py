"""The networks that travel with the project: trained by recipes/demo, stored in half precision.

`python -m engine.demo.bundle RUNS` takes the best checkpoint of RUNS/FAMILY for each family.
"""

import shutil
import sys
from pathlib import Path

import torch

from engine.checkpoint import load_model, save_model
from tokenization import load_tokenizer

MODELS = Path(__file__).parent / "models"


def bundle(runs: Path, models: Path = MODELS) -> None:
    """Write the network, tokenizer and recipe of every run in a folder to `models`."""
    for last in sorted(runs.glob("*/last")):
        run = last.parent
        target = models / run.name
        save_model(load_model(run / "best").to(torch.float16), target)
        load_tokenizer(run / "best").save(target)
        shutil.copy(run / "best" / "recipe.yaml", target)


if __name__ == "__main__":
    bundle(Path(sys.argv[1]))

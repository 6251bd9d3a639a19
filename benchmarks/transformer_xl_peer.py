"""Transformer-XL of transformers 4.35.0, timed on request: run by `benchmarks.generation` with another interpreter.

Reads commands from standard input (build, fill, answer N, time N) and answers each with one line of JSON.
"""

import json
import sys
import time
from pathlib import Path

import torch
from transformers import TransfoXLConfig, TransfoXLLMHeadModel

VOCABULARY = 4000  # full width and depth; a small vocabulary keeps the weights small


def main() -> None:
    folder = Path(sys.argv[1])
    torch.set_num_threads(int(sys.argv[2]))
    model = tokens = mems = None
    for line in sys.stdin:
        command, _, argument = line.strip().partition(" ")
        with torch.no_grad():
            if command == "build":
                torch.manual_seed(0)
                config = TransfoXLConfig(vocab_size=VOCABULARY, cutoffs=[1000, 2000], tie_projs=[False, True, True])
                model = TransfoXLLMHeadModel(config).eval()
                model.save_pretrained(folder)
                answer: object = VOCABULARY
            elif command == "fill":
                assert model is not None
                tokens = torch.load(folder / "tokens.pt")
                mems = model(tokens[:, :1600]).mems
                answer = "ready"
            else:
                assert model is not None and tokens is not None
                start = time.perf_counter()
                scores = model(tokens[:, 1600 : 1600 + int(argument)], mems=mems).prediction_scores
                taken = time.perf_counter() - start
                answer = taken if command == "time" else scores[0, -1].tolist()
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()

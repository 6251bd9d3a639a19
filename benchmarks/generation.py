"""Generation beside transformers in one run: the same weights, float32, ratios of time, theirs over ours.

`python -m benchmarks.generation` runs transformers 4.56.2 in this process. Transformer-XL needs 4.35.0, the last release
that runs it: `--transformer-xl PYTHON` (or the environment variable TRANSFORMER_XL_PYTHON) names an interpreter that has it.
"""

import argparse
import gc
import json
import logging
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from engine import load_model

PEER = Path(__file__).with_name("transformer_xl_peer.py")
TARGETS = {
    "xlnet, recompute": 5.0,
    "xlnet, mems": 5.0,
    "xglm": 1.15,
    "transformer-xl step": 20.0,
    "transformer-xl segment": 3.0,
}


def seconds(side: Callable[[], Any]) -> float:
    """How long one call takes."""
    start = time.perf_counter()
    side()
    return time.perf_counter() - start


def compare(name: str, theirs: Callable[[], float], ours: Callable[[], float], rounds: int) -> None:
    """Both sides in turn; prints medians and the ratio, so that a busy machine hits both."""
    theirs(), ours()
    pairs = [(theirs(), ours()) for _ in range(rounds)]
    ratios = sorted(peer / own for peer, own in pairs)
    middle = len(pairs) // 2
    peer, own = sorted(p for p, _ in pairs)[middle], sorted(o for _, o in pairs)[middle]
    print(
        f"{name:26} theirs {peer:8.3f} s   ours {own:8.3f} s   ratio {ratios[middle]:6.2f} "
        f"({ratios[0]:.2f} … {ratios[-1]:.2f})   target {TARGETS[name]}",
        flush=True,
    )


def converted(theirs: Any) -> Any:
    """Our model with the weights of one of transformers'."""
    with tempfile.TemporaryDirectory() as folder:
        theirs.save_pretrained(folder)
        return load_model(folder).eval()


def compare_generate(name: str, theirs: Any, batch: int, new: int, rounds: int) -> None:
    """Greedy tokens after a prompt of 128."""
    ours = converted(theirs)
    prompt = torch.randint(10, 30000, (batch, 128), generator=torch.Generator().manual_seed(0))
    theirs.generation_config.eos_token_id = None
    mask = torch.ones_like(prompt)

    def peer() -> Any:
        return theirs.generate(prompt, attention_mask=mask, do_sample=False, max_new_tokens=new, pad_token_id=1)

    def own() -> Any:
        return ours.generate(prompt, max_new_tokens=new, eos_token_id=())

    if name == "xglm":
        assert torch.equal(peer(), own()), "the two sides write different tokens"
    compare(name, lambda: seconds(peer), lambda: seconds(own), rounds)


def xlnet(rounds: int) -> None:
    """XLNet-base, one prompt, 32 new tokens: against both published ways.

    `recompute` runs the whole text at each step. `mems`, the default, keeps the states of earlier tokens and projects them
    again; what a token then sees depends on the step at which it was last computed.
    """
    from transformers import XLNetConfig, XLNetLMHeadModel

    for way in ("recompute", "mems"):
        torch.manual_seed(0)
        config = XLNetConfig(
            d_model=768, n_layer=12, n_head=12, d_inner=3072, mem_len=None, use_mems_eval=way == "mems"
        )
        compare_generate(f"xlnet, {way}", XLNetLMHeadModel(config).eval(), 1, 32, rounds)


def xglm(rounds: int) -> None:
    """The shape of XGLM-564M, four prompts, 24 new tokens."""
    from transformers import XGLMConfig, XGLMForCausalLM

    torch.manual_seed(0)
    compare_generate("xglm", XGLMForCausalLM(XGLMConfig()).eval(), 4, 24, rounds)


def transformer_xl(rounds: int, python: str, threads: int) -> None:
    """Full width and depth with 1,600 remembered: one more token, and one more segment of 128."""
    with tempfile.TemporaryDirectory() as folder:
        peer = subprocess.Popen(
            [python, str(PEER), folder, str(threads)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert peer.stdin is not None and peer.stdout is not None

        def ask(command: str) -> Any:
            assert peer.stdin is not None and peer.stdout is not None
            peer.stdin.write(command + "\n")
            peer.stdin.flush()
            line = peer.stdout.readline()
            if not line:
                raise SystemExit(f"the interpreter {python} stopped: does it have transformers 4.35.0?")
            return json.loads(line)

        vocabulary = ask("build")
        ours = load_model(folder).eval()
        tokens = torch.randint(0, vocabulary, (1, 1600 + 128), generator=torch.Generator().manual_seed(0))
        torch.save(tokens, Path(folder) / "tokens.pt")
        ask("fill")
        with torch.no_grad():
            memory = ours(tokens[:, :1600], memory=ours.start_memory(1), output_logits=False).memory
            memory = ours(tokens[:, 1600:1601], memory=memory).memory
            for name, length in (("step", 1), ("segment", 128)):
                new = tokens[:, 1600 : 1600 + length]
                theirs = torch.tensor(ask(f"answer {length}"))
                answer = ours(new, memory=ours(tokens[:, :1600], memory=ours.start_memory(1)).memory).logits[0, -1]
                assert float((answer - theirs).abs().max() / theirs.abs().max()) < 1e-4, "the two sides differ"
                held = [memory]

                def own(new: torch.Tensor = new, held: list[Any] = held) -> float:
                    start = time.perf_counter()
                    held[0] = ours(new, memory=held[0]).memory
                    return time.perf_counter() - start

                compare(f"transformer-xl {name}", lambda n=length: ask(f"time {n}"), own, rounds)
        peer.stdin.close()
        peer.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", choices=["xlnet", "xglm", "transformer-xl"])
    parser.add_argument("--transformer-xl", default=os.environ.get("TRANSFORMER_XL_PYTHON"), metavar="PYTHON")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    torch.set_num_threads(given.threads)
    if given.only in (None, "xlnet"):
        xlnet(given.rounds)
        gc.collect()
    if given.only in (None, "xglm"):
        xglm(given.rounds)
        gc.collect()
    if given.only in (None, "transformer-xl"):
        if given.transformer_xl is None:
            sys.exit(
                "Transformer-XL is left out: name an interpreter with transformers 4.35.0 by --transformer-xl PYTHON"
            )
        transformer_xl(given.rounds, given.transformer_xl, given.threads)


if __name__ == "__main__":
    main()

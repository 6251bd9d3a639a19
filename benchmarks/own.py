"""The engine's side: `python -m benchmarks.own`."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from benchmarks.flops import useful_operations
from benchmarks.serving import Side, serve
from benchmarks.workloads import ENGINE, PREPACKED, Workload
from engine import build_model, load_model, load_spec, save_model
from engine.kernels.linear import product, takes_blocks

# (rows, inputs, outputs) of ordinary linear maps of these networks
SHAPES = ((1024, 768, 3072), (1024, 1024, 4096), (512, 2048, 2048), (512, 2560, 2560))


class Own(Side):
    """A model of the engine."""

    version = "engine"

    def write(self, work: dict[str, Any], folder: str) -> dict[str, Any]:
        """Draw a model and its inputs into a folder; tells the size of the weights, each side's
        operations a call, and whether this machine prepacks weights of that precision.
        """
        path = Path(folder)
        model = build_model(work["spec"], work["head"], overrides=work["overrides"], seed=0)
        draw = torch.Generator().manual_seed(0)
        with torch.no_grad():
            # Biases too, so that the comparison of answers sees all of them.
            for parameter in model.parameters():
                parameter.add_(torch.randn(parameter.shape, generator=draw), alpha=0.01)
        save_model(model, path, format="huggingface")
        inputs = make_inputs(work, model.spec.dims.vocab, draw)
        save_file(
            {name: tensor.contiguous() for name, tensor in inputs.items()},
            path / "inputs.safetensors",
        )
        counted = {
            side: useful_operations(
                model.spec, Workload(**{**work, "prepacked": side == PREPACKED})
            )
            for side in (ENGINE, PREPACKED)
        }
        return {
            "weights": sum(parameter.nbytes for parameter in model.parameters()),
            "operations": counted,
            "prepacks": takes_blocks(getattr(torch, work["dtype"])),
        }

    def open(self, folder: str) -> Any:
        self.arguments = self.work["arguments"]
        model = load_model(folder, self.work["head"], dtype=getattr(torch, self.work["dtype"]))
        model.gradient_checkpointing = self.work["checkpointing"]
        if self.work["prepacked"]:
            return model.prepack()
        if self.work["new_tokens"] > 1:  # of an opening that decodes one token, nothing is served
            model.prepare_for_inference()
        return model

    def offers(self, name: str) -> dict[str, Any]:
        """The same request as a peer's; importing here keeps the import out of the times."""
        load_spec(name)
        return {"version": self.version, "has": True}

    def answer(self, path: str) -> dict[str, Any]:
        self.arguments = {**self.work["arguments"], **self.work["answer_arguments"]}
        super().answer(path)
        self.arguments = self.work["arguments"]
        return {}

    def generate(self) -> torch.Tensor:
        settings = {"max_new_tokens": self.work["new_tokens"], "eos_token_id": (), **self.arguments}
        return self.model.generate(self.inputs["input_ids"], **settings)

    def step(self) -> torch.Tensor:
        if self.carried is None:
            past = self.inputs["past"]
            start = self.model.start_memory(len(past))
            self.carried = self.model(past, memory=start, output_logits=False).memory
        result = self.model(self.inputs["input_ids"], memory=self.carried)
        self.carried = result.memory
        return result.logits

    def rate(self, dtype: str, threads: int) -> dict[str, Any]:
        """Operations a second of the best of some matrix products, each by torch's own operator and
        by the engine's.
        """
        torch.set_num_threads(threads)
        kinds = (torch.nn.functional.linear, product)
        return {
            "rate": max(
                product_rate(kind, *shape, getattr(torch, dtype))
                for shape in SHAPES
                for kind in kinds
            )
        }


def make_inputs(
    work: Mapping[str, Any], vocabulary: int, draw: torch.Generator
) -> dict[str, torch.Tensor]:
    """Random tokens; for two streams a random mask and predicted places with their labels; what is
    remembered.
    """
    batch, length, predictions = work["batch"], work["length"], work["predictions"]
    inputs = {
        "input_ids": torch.randint(
            min(10, vocabulary // 2), vocabulary, (batch, length), generator=draw
        )
    }
    if predictions:
        places = torch.stack(
            [torch.randperm(length, generator=draw)[:predictions] for _ in range(batch)]
        )
        inputs["perm_mask"] = (torch.rand(batch, length, length, generator=draw) < 0.5).float()
        inputs["target_mapping"] = torch.nn.functional.one_hot(places, length).float()
    if work["call"] == "training":
        inputs["labels"] = torch.randint(
            0, vocabulary, (batch, predictions or length), generator=draw
        )
    if work["remembered"]:
        inputs["past"] = torch.randint(0, vocabulary, (batch, work["remembered"]), generator=draw)
    return inputs


def product_rate(
    product: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    rows: int,
    inputs: int,
    outputs: int,
    dtype: torch.dtype,
) -> float:
    """Operations a second of a linear map, the better of two tries after one to warm up."""
    states, weight = torch.randn(rows, inputs).to(dtype), torch.randn(outputs, inputs).to(dtype)
    times = []
    with torch.no_grad():
        for _ in range(3):
            start = time.perf_counter()
            product(states, weight)
            times.append(time.perf_counter() - start)
    return 2 * rows * inputs * outputs / min(times[1:])


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    serve(Own())

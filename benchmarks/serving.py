"""What both sides share: requests as lines of JSON on standard input, and one answer each on
standard output.

Runs with every interpreter of a peer, so it needs nothing but torch and safetensors.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file


class Side:
    """A model on request; `open` is what the sides do differently, and how they generate and
    remember.
    """

    version = ""

    def __init__(self) -> None:
        self.work: dict[str, Any] = {}
        self.model: Any = None
        self.inputs: dict[str, torch.Tensor] = {}
        self.arguments: dict[str, Any] = {}
        self.carried: Any = None

    def open(self, folder: str) -> Any:
        """The model of a folder, in evaluation mode."""
        raise NotImplementedError

    def generate(self) -> torch.Tensor:
        """Greedy tokens after the prompts."""
        raise NotImplementedError

    def step(self) -> torch.Tensor:
        """Scores of the next tokens of a stream whose memory is carried from call to call."""
        raise NotImplementedError

    def load(self, work: dict[str, Any], folder: str, threads: int) -> dict[str, Any]:
        """Open the model and its inputs; tells the version, and the seconds and memory that this
        and a first answer took.
        """
        torch.set_num_threads(threads)
        self.work = work
        self.inputs = load_file(str(Path(folder) / "inputs.safetensors"))
        before = resident("VmRSS")
        start = time.perf_counter()
        self.model = self.open(folder)
        taken = {}
        if work["call"] == "opening":
            with torch.no_grad():
                self.first()
            weights = sum(parameter.nbytes for parameter in self.model.parameters())
            taken = {
                "seconds": time.perf_counter() - start,
                "peak": resident("VmHWM") - before - weights,
            }
        else:
            for (
                parameter
            ) in self.model.parameters():  # weights that lie on pages of the file come in now
                parameter.detach().sum()
        gc.collect()
        reset_peak()
        return {"version": self.version, "resident": resident("VmRSS"), **taken}

    def answer(self, path: str) -> dict[str, Any]:
        """Write what the call answers, without dropout; also the warm-up."""
        call = self.work["call"]
        if call == "training":
            result = torch.stack([self.training().detach(), self.gradient_norm()])
        else:
            with torch.no_grad():
                result = getattr(self, "first" if call == "opening" else call)()
        save_file({"answer": result.detach().float().contiguous()}, path)
        return {}

    def time(self) -> dict[str, Any]:
        """Seconds of one call, the mean of `repeats` in a row, and the peak of resident memory."""
        call, training = getattr(self, self.work["call"]), self.work["call"] == "training"
        self.model.train(training)
        with torch.set_grad_enabled(training):
            start = time.perf_counter()
            for _ in range(self.work["repeats"]):
                call()
            seconds = (time.perf_counter() - start) / self.work["repeats"]
        return {"seconds": seconds, "peak": resident("VmHWM")}

    def first(self) -> torch.Tensor:
        """The first answer of a model that was just opened: a token, or logits."""
        return self.generate() if self.work["new_tokens"] else self.forward()

    def forward(self) -> torch.Tensor:
        """Logits, or the last hidden states of a bare backbone."""
        result = self.model(**self.inputs, **self.arguments)
        return result.last_hidden_state if self.work["head"] is None else result.logits

    def training(self) -> torch.Tensor:
        """Loss and gradients."""
        self.model.zero_grad()
        loss = self.model(**self.inputs, **self.arguments).loss
        loss.backward()
        return loss

    def gradient_norm(self) -> torch.Tensor:
        """Root of the sum of all squared gradients."""
        gradients = [
            parameter.grad for parameter in self.model.parameters() if parameter.grad is not None
        ]
        return torch.stack([gradient.float().norm() for gradient in gradients]).norm()


def resident(field: str) -> int:
    """Resident memory in bytes, now (VmRSS) or at its peak (VmHWM); 0 where the system does not
    tell.
    """
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def reset_peak() -> None:
    """Peak memory counts from here."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def serve(side: Side) -> None:
    """Answer requests until standard input ends; what libraries print goes to standard error."""
    channel = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            result = getattr(side, request.pop("do"))(**request)
        except Exception as error:
            result = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(result), file=channel, flush=True)

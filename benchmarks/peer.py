"""transformers' side: `python -m benchmarks.peer`, started with the interpreter of each peer."""

from __future__ import annotations

import logging
import warnings
from typing import Any

import torch
import transformers

from benchmarks.serving import Side, serve


class Peer(Side):
    """A model of transformers, whatever its release."""

    version = f"transformers {transformers.__version__}"

    def offers(self, name: str) -> dict[str, Any]:
        """The version, and whether it has a class; importing it here keeps the import out of the
        times.
        """
        return {"version": self.version, "has": hasattr(transformers, name)}

    def open(self, folder: str) -> Any:
        kind = getattr(transformers, self.work["peer_class"])
        self.arguments = self.work["peer_arguments"]
        dtype = "dtype" if int(transformers.__version__.split(".")[0]) >= 5 else "torch_dtype"
        stored = "float32" if self.work["peer_autocast"] else self.work["dtype"]
        settings = {dtype: getattr(torch, stored), **self.work["peer_settings"]}
        return kind.from_pretrained(folder, **settings).eval()

    def forward(self) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=self.work["peer_autocast"]):
            return super().forward()

    def training(self) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=self.work["peer_autocast"]):
            return super().training()

    def generate(self) -> torch.Tensor:
        ids = self.inputs["input_ids"]
        self.model.generation_config.eos_token_id = None
        settings = {
            "do_sample": False,
            "max_new_tokens": self.work["new_tokens"],
            "pad_token_id": 1,
        }
        return self.model.generate(ids, attention_mask=torch.ones_like(ids), **settings)

    def step(self) -> torch.Tensor:
        if self.carried is None:
            self.carried = self.model(self.inputs["past"]).mems
        result = self.model(self.inputs["input_ids"], mems=self.carried)
        self.carried = result.mems
        return result.prediction_scores


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    serve(Peer())

"""What other libraries look for under `model.config`."""

import json
from typing import Any

from engine.spec import Spec


class Config:
    """A view of a spec under the names of transformers' configurations, for Trainer, accelerate and
    PEFT; read-only.
    """

    def __init__(self, spec: Spec, headed: bool) -> None:
        self.spec = spec
        # What predictions leave out: beside a head's answers, transformers' outputs hold no states.
        self.keys_to_ignore_at_inference = ["memory", "losses"]
        if headed:
            self.keys_to_ignore_at_inference += ["last_hidden_state", "pooler_output"]

    def __getattr__(self, name: str) -> Any:
        if name in ("spec", "keys_to_ignore_at_inference", "__setstate__") or name not in (
            fields := self.to_dict()
        ):
            raise AttributeError(
                f"model.config has no '{name}'; the whole network is described by model.spec"
            )
        return fields[name]

    def to_dict(self) -> dict[str, Any]:
        """The fields, plain."""
        dims, tokens = self.spec.dims, self.spec.tokens
        return {
            "model_type": self.spec.name,
            "hidden_size": dims.model,
            "num_hidden_layers": dims.layers,
            "num_attention_heads": dims.heads,
            "intermediate_size": dims.inner,
            "vocab_size": dims.vocab,
            "pad_token_id": tokens.padding,
            "bos_token_id": tokens.bos,
            "eos_token_id": tokens.eos,
            "tie_word_embeddings": self.spec.heads.output.tied,
            "is_encoder_decoder": self.spec.encoder is not None,
        }

    def to_json_string(self) -> str:
        """The fields as JSON."""
        return json.dumps(self.to_dict(), indent=2, sort_keys=True)

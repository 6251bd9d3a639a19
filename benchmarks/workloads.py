"""What is measured, one entry each; the targets are those that the project sets itself."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

Call = Literal["forward", "training", "generate", "step", "opening"]
ENGINE, PREPACKED = "engine", "engine, prepacked"
MODERN, TRANSFORMER_XL = ("4.56.", "5."), ("4.35.",)


@dataclass(frozen=True)
class Workload:
    """One measurement: a network from a spec with random weights, its inputs, and the call that is
    timed.

    `peer_class` is transformers' class for the same network, run by interpreters whose transformers
    has one of `releases`; none of them runs where `releases` is empty. `arguments`,
    `peer_arguments` go to the call itself, `answer_arguments` to the engine's call whose answer is
    compared; `peer_settings` change the peer's configuration. `target` is peer time / engine time,
    `share` that of the machine's matrix-product rate. `rounds` bounds how often it runs, each time
    `repeats` calls in a row; `checkpointing` is the engine's `gradient_checkpointing`.
    `peer_autocast`: the peer's code mixes precisions, and runs in bfloat16 under torch.autocast
    alone, over weights in float32. `prepacked` is the engine after `Model.prepack`, a side of its
    own where that serves.
    """

    name: str
    title: str
    spec: str
    peer_class: str
    call: Call = "forward"
    head: str | None = "default"
    overrides: Mapping[str, Any] = field(default_factory=dict)
    batch: int = 1
    length: int = 512
    predictions: int = 0
    remembered: int = 0
    new_tokens: int = 0
    dtype: str = "float32"
    arguments: Mapping[str, Any] = field(default_factory=dict)
    answer_arguments: Mapping[str, Any] = field(default_factory=dict)
    peer_arguments: Mapping[str, Any] = field(default_factory=dict)
    peer_settings: Mapping[str, Any] = field(default_factory=dict)
    peer_autocast: bool = False
    releases: tuple[str, ...] = MODERN
    target: float | None = None
    share: float | None = None
    rounds: int | None = None
    repeats: int = 1
    checkpointing: bool = False
    prepacked: bool = False
    table: Literal["time", "length"] = "time"

    @property
    def serves(self) -> bool:
        """Whether prepacked weights serve the call: one without gradients, beside which laying them
        out is short.
        """
        return self.table == "time" and self.call not in ("training", "opening")


_FORWARDS = (
    Workload(
        "xlnet-forward", "XLNet-base forward, 4×512", "xlnet-base", "XLNetModel",
        head=None, batch=4, length=512, target=1.8, share=0.65,
    ),
    Workload(
        "xlnet-two-stream", "XLNet-base two-stream, 4×384, 64 predictions", "xlnet-base", "XLNetLMHeadModel",
        batch=4, length=384, predictions=64, target=2.0, share=0.65,
    ),
    Workload(
        "xlm-forward", "XLM forward, 4 layers of 2048, 2×256", "xlm-mlm-en-2048", "XLMModel",
        head=None, overrides={"dims.layers": 4}, batch=2, length=256, target=1.2,
    ),
    Workload(
        "xlm-r-xl-forward", "XLM-R-XL forward, 4 layers of 2560, 2×256", "xlm-roberta-xl", "XLMRobertaXLModel",
        head=None, overrides={"dims.layers": 4, "dims.vocab": 30_000}, batch=2, length=256, target=1.05, share=0.8,
    ),
    Workload(
        "xglm-forward", "XGLM-564M forward with logits, 2×384", "xglm-564m", "XGLMForCausalLM",
        batch=2, length=384, arguments={"use_memory": False}, peer_arguments={"use_cache": False}, target=1.15, share=0.8,
    ),
    Workload(
        "llama-prefill", "LLaMA-style decoder (8 layers of 512), prompt of 512", "llama-small", "LlamaForCausalLM",
        arguments={"logits_to_keep": 1}, peer_arguments={"logits_to_keep": 1}, target=1.0,
    ),
)  # fmt: skip
_TRAINING = Workload(
    "xlnet-training", "XLNet-base two-stream training step, 2×384, 64 predictions, dropout 0.1", "xlnet-base",
    "XLNetLMHeadModel", "training", batch=2, length=384, predictions=64, target=1.6,
)  # fmt: skip
_OPENING = (
    Workload(
        "opening", "Opening XLNet-large (1.3 GiB of safetensors) and the first token after 16", "xlnet-large",
        "XLNetLMHeadModel", "opening", length=16, new_tokens=1, target=3.0,
    ),
    Workload(
        "opening-logits", "Opening XLNet-large and the logits of a forward pass, 1×16", "xlnet-large",
        "XLNetLMHeadModel", "opening", length=16,
    ),
)  # fmt: skip
_FULL_WIDTH = {
    "dims.vocab": 4_000,
    "embeddings.tables.tokens.cutoffs": [1_000, 2_000, 3_000],
}  # full depth and width; a small vocabulary keeps the weights small
_GENERATION = (
    Workload(
        "xlnet-generate", "XLNet-base greedy, 32 tokens after 128", "xlnet-base", "XLNetLMHeadModel", "generate",
        length=128, new_tokens=32, answer_arguments={"decoding": "overlap"}, target=5.0,
    ),
    Workload(
        "xlnet-generate-recompute", "XLNet-base greedy, 32 tokens after 128, the peer without remembered states",
        "xlnet-base", "XLNetLMHeadModel", "generate", length=128, new_tokens=32,
        answer_arguments={"decoding": "recompute"}, peer_settings={"use_mems_eval": False}, target=5.0,
    ),
    Workload(
        "transformer-xl-step", "Transformer-XL one-token step, 1,600 remembered", "transfo-xl-wt103",
        "TransfoXLLMHeadModel", "step", overrides=_FULL_WIDTH, length=1, remembered=1_600, releases=TRANSFORMER_XL,
        target=20.0, repeats=8,
    ),
    Workload(
        "transformer-xl-segment", "Transformer-XL segment of 128, 1,600 remembered", "transfo-xl-wt103",
        "TransfoXLLMHeadModel", "step", overrides=_FULL_WIDTH, length=128, remembered=1_600, releases=TRANSFORMER_XL,
        target=3.0,
    ),
    Workload(
        "xglm-generate", "XGLM-564M greedy, 24 tokens after 128, batch 4", "xglm-564m", "XGLMForCausalLM", "generate",
        batch=4, length=128, new_tokens=24, target=1.15,
    ),
    Workload(
        "llama-generate", "LLaMA-style decoder (8 layers of 512) greedy, 32 tokens after 128", "llama-small",
        "LlamaForCausalLM", "generate", length=128, new_tokens=32, target=1.0,
    ),
)  # fmt: skip
_BFLOAT16 = tuple(
    replace(
        work,
        name=f"{work.name}-bfloat16",
        title=f"{work.title}, bfloat16",
        dtype="bfloat16",
        peer_autocast=work.spec.startswith("xlnet"),
    )
    for work in (*_FORWARDS, _TRAINING)
)
PEERS_REACH = 2_048  # beyond it the published code needs more memory than a small machine has
_LENGTHS = tuple(
    Workload(
        f"xlnet-length-{length}", f"{length:,}", "xlnet-base", "XLNetModel", head=None, length=length,
        releases=MODERN if length <= PEERS_REACH else (), rounds=3 if length <= PEERS_REACH else 1, table="length",
    )
    for length in (512, 1_024, 2_048, 4_096, 8_192, 16_384)
)  # fmt: skip
_LONG_TRAINING = tuple(
    Workload(
        f"xlnet-training-length-{length}", f"{length:,}, training with gradient checkpointing", "xlnet-base",
        "XLNetLMHeadModel", "training", length=length, releases=(), rounds=1, checkpointing=True, table="length",
        arguments={"output_logits": False},
    )
    for length in (2_048, 8_192)
)  # fmt: skip

WORKLOADS = (*_FORWARDS, _TRAINING, *_GENERATION, *_OPENING, *_BFLOAT16, *_LENGTHS, *_LONG_TRAINING)

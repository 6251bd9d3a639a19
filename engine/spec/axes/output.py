"""The top of the network: the output layer, the heads, and ids with a meaning."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from engine.spec.axes.base import Activation, Axis, Factor, Index, Size


class OutputLayer(Axis):
    """The map from states to the vocabulary."""

    kind: Literal["linear", "transform", "adaptive"] = "linear"
    """`transform` puts dense layer, activation and norm before it; `adaptive` is the clustered
    softmax of Grave et al. (2017)."""
    tied: bool = True
    """Whether its weight is the token table."""
    bias: bool | Literal["fixed"] = False
    """Whether each token has a bias; `fixed`: one that no training changes (BART, Marian)."""
    activation: Activation = "gelu"
    """The function of `transform`."""
    dense_bias: bool = True
    """Whether the dense layer of `transform` has a bias vector."""
    cutoffs: tuple[Size, ...] | None = None
    """Clusters of `adaptive`; null: those of the token table."""
    divisor: Size | None = None
    """How much narrower each cluster of `adaptive` is; null: as in the token table."""
    tied_projections: tuple[bool, ...] | bool = False
    """Whether projections are shared with the embeddings, all alike or cluster by cluster."""
    samples: Size | None = None
    """Trains a linear layer against about twice that many drawn tokens instead of the whole
    vocabulary (documented and never built by transformers)."""
    scale: Literal["none", "sqrt_model", "inverse_sqrt_model"] | Factor = "none"
    """What products with its token vectors are multiplied by: a number, or with `sqrt_model` the
    root of the model width, as in the authors' Transformer-XL; `inverse_sqrt_model` divides by it
    (T5)."""
    softcap: Factor | None = None
    """Logits x become c tanh(x / c) with this c; null: they stay."""

    @model_validator(mode="before")
    @classmethod
    def _older(cls, data: Any) -> Any:
        # Older specs say `scaled: true`.
        if isinstance(data, dict) and isinstance(data.get("scaled"), bool) and "scale" not in data:
            scaled = data["scaled"]
            data = {key: value for key, value in data.items() if key != "scaled"}
            if scaled:
                data["scale"] = "sqrt_model"
        return data


class Heads(Axis):
    """The heads that may stand on the network."""

    default: str | None = None
    """The head that `build_model` takes where a call names none; null: a bare backbone."""
    output: OutputLayer = OutputLayer()
    """The output layer of language-model heads."""
    options: dict[str, dict[str, Any]] = {}
    """Options by head name."""


class Tokens(Axis):
    """Ids that have a meaning to the network's users; null where the vocabulary has none."""

    padding: Index | None = None
    """Fills rows that are shorter than others."""
    bos: Index | None = None
    """Begins a text."""
    eos: Index | Annotated[tuple[Index, ...], Field(min_length=1)] | None = None
    """Ends a text; may be several."""
    decoder_start: Index | Literal["last"] | None = None
    """Begins a text that is read off an encoder's states; `last`: the last real token of its labels
    does, that of its language (mBART)."""
    unknown: Index | None = None
    """Stands for what the vocabulary lacks."""
    mask: Index | None = None
    """Hides a token that is to be predicted."""
    classification: Index | None = None
    """Marks the place that is read for the whole text."""

"""Batches, the optimizer, lengths, evaluation, saving and processes."""

from typing import Annotated, Literal

from pydantic import Field

from engine.spec.axes import Size
from engine.training.recipe.sections.base import Beta, Name, Rate, Share, Weight
from tokenization.section import Section


class Batch(Section):
    """The global batch of one step: so many rows, or rows until so many tokens; `split` rows a
    process are computed at a time, which changes memory and nothing else.
    """

    rows: Size | None = None
    """How many rows."""
    tokens: Size | None = None
    """How many tokens: rows are added until there are so many."""
    split: Size | None = None
    """How many rows a process computes at a time; null: all."""


class Optimizer(Section):
    """AdamW (Loshchilov and Hutter 2019); `layer_decay` gives each layer the rate of the one above
    times it; `frozen` are patterns of parameter names that stay.
    """

    kind: Literal["adamw"] = "adamw"
    """The algorithm."""
    rate: Rate = 1e-3
    """The highest learning rate."""
    betas: tuple[Beta, Beta] = (0.9, 0.999)
    """How slowly the two moments change."""
    epsilon: Weight = 1e-8
    """What is added to the root of the second moment."""
    decay: Annotated[float, Field(ge=0.0, le=1.0)] = 0.01
    """How much weights shrink in a step, times the rate; not biases and norms."""
    layer_decay: Share = 1.0
    """The rate of a layer is that of the layer above times this."""
    clip: Weight | None = 1.0
    """The longest gradient, over all weights; null: any."""
    frozen: tuple[Name, ...] = ()
    """Patterns of the names of weights that stay as they are."""


class Schedule(Section):
    """The rate over the steps: up over `warm_up` (steps, or a share below 1), then down to `floor`
    times the rate.
    """

    warm_up: Annotated[int, Field(ge=0)] | Annotated[float, Field(ge=0.0, lt=1.0)] = 0.1
    """How many steps the rate rises, or which share of all steps."""
    decay: Literal["linear", "cosine", "inverse_sqrt", "constant"] = "linear"
    """How the rate falls after that."""
    floor: Annotated[float, Field(ge=0.0, le=1.0)] = 0.0
    """The lowest rate after that, as a share of the highest."""


class Length(Section):
    """How long a run is: steps, or epochs over the training rows."""

    steps: Size | None = None
    """How many steps."""
    epochs: Size | None = None
    """How often every training row is read."""


class Evaluate(Section):
    """How often the held-out texts are scored (null: at the end), by what the best is told, and
    after how many evaluations without a better one the run ends.
    """

    every: Size | None = None
    """After how many steps; null: at the end."""
    best: Name = "loss"
    """The metric that says which checkpoint is best."""
    patience: Size | None = None
    """After how many evaluations without a better one the run ends; null: never."""
    rows: Size | None = None
    """How many held-out rows are scored; null: all."""


class Save(Section):
    """How often the run is saved (null: at the end), and how many checkpoints beside last and best
    are kept.
    """

    every: Size | None = None
    """After how many steps; null: at the end."""
    keep: Size = 2
    """How many checkpoints are kept beside last and best."""


class Devices(Section):
    """How the processes share the work; may differ when a run goes on."""

    shard: Literal["all", "none"] = "none"
    """Whether weights and moments are shared out among the processes."""
    tensor: Size = 1
    """How many processes share each layer: its heads and inner features."""
    checkpoint_activations: bool = False
    """Whether activations are computed again in the backward pass."""
    compute: Literal["auto", "cpu", "cuda"] = "auto"
    """Where is computed; auto: on a card where there is one."""

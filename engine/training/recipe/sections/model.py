"""The network that a run trains, and its tokenizer."""

from typing import Any

from engine.spec.axes import Size
from engine.training.recipe.sections.base import Name
from tokenization.section import Section


class ModelSource(Section):
    """The network: built from a `spec` with `overrides`, or loaded from a folder or hub name."""

    spec: Name | None = None
    """A spec file or a name such as tiny/xlnet; the weights are drawn anew."""
    load: Name | None = None
    """A folder or a name on the hub with a network's weights."""
    overrides: dict[str, Any] = {}
    """Changes to the network's spec, as dotted keys or as sections."""
    head: Name | None = None
    """The head that is trained; null: the one of the objective or task."""
    options: dict[str, Any] = {}
    """Options of the head."""


class TokenizerTraining(Section):
    """A tokenizer learned from the training texts by the spec's tokenizer section."""

    vocab: Size | None = None
    """How many ids are learned; null: as many as the network's table has rows."""


class TokenizerSource(Section):
    """Where the tokenizer comes from: a folder or hub name, or trained; neither: beside the
    model.
    """

    load: Name | None = None
    """A folder or a name on the hub with a tokenizer."""
    train: TokenizerTraining | None = None
    """A tokenizer is learned from the training texts."""

"""The recipe: everything that one training run does, as data."""

from typing import Any, Literal

from engine.spec.axes import Index
from engine.spec.model import plain_data
from engine.training.recipe import sections
from tokenization.section import Section


class Recipe(Section):
    """One training run: what is trained, on what, by which objective or task, how and how long.

    All counts are global: nothing here depends on how many processes run it, and `devices` and
    `expected` alone may differ when a run goes on. Relative paths are read from the folder in which a run is
    started.
    """

    recipe: Literal[1]
    """The version of this language."""
    model: sections.ModelSource
    """The network that is trained."""
    tokenizer: sections.TokenizerSource = sections.TokenizerSource()
    """How texts become ids."""
    data: sections.Data
    """What is learned from, and what is held out."""
    objective: sections.Objective | None = None
    """What is predicted in pretraining; a recipe has an objective or a task."""
    task: sections.Task | None = None
    """What is predicted in fine-tuning; a recipe has an objective or a task."""
    adapter: sections.LoraAdapter | None = None
    """Small matrices that are trained in place of the network's own weights."""
    batch: sections.Batch = sections.Batch()
    """How much is read in one step, over all processes."""
    optimizer: sections.Optimizer = sections.Optimizer()
    """How gradients change weights."""
    schedule: sections.Schedule = sections.Schedule()
    """How the rate changes over the steps."""
    length: sections.Length = sections.Length()
    """How long the run is."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """What is computed in; weights and the optimizer's moments stay float32."""
    evaluate: sections.Evaluate = sections.Evaluate()
    """How often the held-out texts are scored, and what is best."""
    save: sections.Save = sections.Save()
    """How often the run is saved."""
    devices: sections.Devices = sections.Devices()
    """How processes share the work."""
    seed: Index = 0
    """The number from which everything random is drawn."""

    expected: dict[str, float] = {}
    """Metrics that the trained network had on the held-out texts: what a run should reach again."""

    def to_dict(self) -> dict[str, Any]:
        """Plain YAML-ready data that `load_recipe` turns back into an equal recipe."""
        return plain_data(self)

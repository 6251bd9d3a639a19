"""The objectives of a recipe, each with the data that it reads."""

from collections.abc import Iterator
from dataclasses import dataclass

from engine.training.recipe import sections
from engine.training.recipe.model import Recipe


@dataclass(frozen=True)
class ObjectivePart:
    """One plain objective and its data, with their places in the recipe."""

    path: str
    objective: sections.Plain
    data_path: str
    data: sections.Data


def parts_of(recipe: Recipe) -> Iterator[ObjectivePart]:
    """The plain objective of a recipe, or those of its mix; none where it has a task."""
    objective = recipe.objective
    if isinstance(objective, sections.MixObjective):
        for number, part in enumerate(objective.parts):
            path = f"objective.parts.{number}"
            data_path, data = "data", recipe.data
            if part.data is not None:
                data_path, data = f"{path}.data", part.data
            yield ObjectivePart(f"{path}.objective", part.objective, data_path, data)
    elif objective is not None:
        yield ObjectivePart("objective", objective, "data", recipe.data)

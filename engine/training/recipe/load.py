"""From a path, a bare name, a dict or a Recipe to a Recipe, with every problem at its line and
column.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from engine.build import load_spec
from engine.checkpoint.opening import open_source
from engine.errors import CheckpointError, InputError, RecipeError, SpecError
from engine.spec import Spec
from engine.spec.explain import explain
from engine.spec.intact import Intact, intact_sections
from engine.spec.language import Language, Source, shipped_folder
from engine.spec.origins import KeyPath, Origins
from engine.training.recipe.model import Recipe
from engine.training.recipe.rules import broken_rules
from engine.training.recipe.sections import ModelSource, TokenizerSource
from tokenization.errors import TokenizationError
from tokenization.files.unwritable import unwritable

RecipeSource = Source | Recipe
RECIPES = shipped_folder("recipes")
LANGUAGE = Language(
    noun="recipe",
    plural="recipes",
    owner="run",
    looks="a recipe is a mapping of sections, such as 'length: {steps: 100}'",
    folder=RECIPES,
    error=RecipeError,
    unions={
        "model": "spec",
        "layout": "kind",
        "objective": "kind",
        "task": "kind",
        "adapter": "kind",
    },
    alternatives={
        (): ("objective", "task"),
        ("model",): ("spec", "load"),
        ("tokenizer",): ("load", "train"),
        ("batch",): ("rows", "tokens"),
        ("length",): ("steps", "epochs"),
    },
)


@dataclass(frozen=True)
class Opened:
    """A recipe with the network that it trains (None: on the hub, not read yet) and where each of
    its keys was written.
    """

    recipe: Recipe
    spec: Spec | None
    origins: Origins
    given: Mapping[str, Any]
    """What the files and overrides say, before defaults."""

    def check(
        self, spec: Spec, vocabulary: int | None = None, processes: int | None = None
    ) -> None:
        """Raises RecipeError for each rule that is broken, now that more is known."""
        if told := broken_rules(self.recipe, spec, vocabulary, processes):
            raise LANGUAGE.failure(self.origins, _split(told))

    def of_checkpoint(self, folder: Path) -> "Opened":
        """The same recipe over the network that a checkpoint of its run holds."""
        model = self.recipe.model
        loaded = ModelSource(load=str(folder), head=model.head, options=model.options)
        merged = {"model": loaded, "tokenizer": TokenizerSource(), "adapter": None}
        recipe = self.recipe.model_copy(update=merged)
        return replace(self, recipe=recipe, spec=load_spec(folder))


def load_recipe(source: RecipeSource, overrides: Mapping[str, Any] | None = None) -> Recipe:
    """The recipe at a path, under a name in recipes/, in a dict, or itself; `overrides` are dotted
    keys with values.

    Raises RecipeError with all problems at once, those with the network that it trains among them,
    or FileNotFoundError with the nearest name.
    """
    return open_recipe(source, overrides).recipe


def open_recipe(source: RecipeSource, overrides: Mapping[str, Any] | None = None) -> Opened:
    """A recipe as `load_recipe` reads it, with its network's spec and the places of its keys."""
    origins = Origins(noun="recipe")
    if isinstance(source, Recipe):
        data = source.to_dict()
    else:
        data = LANGUAGE.read(source, origins)
    data = LANGUAGE.override(data, overrides, origins)
    recipe, found = None, []
    intact: Recipe | Intact
    try:
        recipe = intact = Recipe.model_validate(data)
    except ValidationError as error:
        found = explain(error, data, Recipe)
        damaged = {path[0] for path, _ in found if path}
        intact = intact_sections(Recipe, data, damaged)
    spec, wrong = _network(getattr(intact, "model", None))
    found += wrong
    found += _split(broken_rules(intact, spec, _vocabulary(intact)))
    found += unwritable(data)
    if recipe is None or found:
        raise LANGUAGE.failure(origins, found)
    return Opened(recipe, spec, origins, data)


def _network(model: ModelSource | None) -> tuple[Spec | None, list[tuple[KeyPath, str]]]:
    """The spec of the network, as far as it can be read here, and what is wrong with it."""
    if model is None or (model.spec is None) == (model.load is None):
        return None, []
    where = ("model", "spec" if model.load is None else "load")
    try:
        if model.spec is not None:
            return load_spec(model.spec, model.overrides), []
        folder = Path(str(model.load))
        if not folder.exists():
            return None, []
        return open_source(folder, None, model.overrides).spec, []
    except SpecError as error:
        overridden = [_overridden(problem.path, model.overrides) for problem in error.problems]
        return None, [
            (("model", "overrides", *path), problem.message)
            if problem.source == "overrides"
            else (where, str(problem))
            for path, problem in zip(overridden, error.problems)
        ]
    except (FileNotFoundError, InputError, CheckpointError, TokenizationError) as error:
        return None, [(where, str(error))]


def _overridden(path: str, overrides: Mapping[str, Any]) -> KeyPath:
    """The path of a spec's key below `overrides`, whose keys may have dots themselves."""
    for key in overrides:
        if f"{path}.".startswith(f"{key}."):
            rest = path[len(key) + 1 :]
            return (key, *rest.split(".")) if rest else (key,)
    return ()


def _vocabulary(recipe: Any) -> int | None:
    """How many ids the tokenizer has, where the recipe says so."""
    tokenizer = getattr(recipe, "tokenizer", None)
    training = tokenizer.train if tokenizer is not None else None
    return training.vocab if training is not None else None


def _split(problems: list[tuple[str, str]]) -> list[tuple[KeyPath, str]]:
    return [(tuple(path.split(".")) if path else (), text) for path, text in problems]

"""Recipes: what a training run does, as data."""

from engine.training.recipe.load import Opened, RecipeSource, load_recipe, open_recipe
from engine.training.recipe.model import Recipe

__all__ = ["Opened", "Recipe", "RecipeSource", "load_recipe", "open_recipe"]

"""Recipes: what a training run does, as data."""

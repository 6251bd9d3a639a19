"""A run: steps that happen whole or not at all, evaluation, saving, and going on exactly."""

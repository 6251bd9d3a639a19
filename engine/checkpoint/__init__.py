"""Weights both ways: folders of transformers' and of our own."""

from engine.checkpoint.load import LoadReport, load_model
from engine.checkpoint.save import save_model

__all__ = ["LoadReport", "load_model", "save_model"]

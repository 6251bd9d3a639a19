"""Weights both ways: folders of transformers' and of our own."""

from engine.checkpoint.load import LoadReport, load_model, plan_load
from engine.checkpoint.plan import Plan
from engine.checkpoint.save import save_model

__all__ = ["LoadReport", "Plan", "load_model", "plan_load", "save_model"]

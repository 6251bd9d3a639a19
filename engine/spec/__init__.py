"""The spec language: one network as data."""

from engine.spec import axes
from engine.spec.head_options import HeadOptions
from engine.spec.load import SpecSource, load_spec
from engine.spec.model import Spec

__all__ = ["HeadOptions", "Spec", "SpecSource", "axes", "load_spec"]

"""XLNet, XLM, XLM-RoBERTa-XL, Transformer-XL and XGLM as one block graph assembled from YAML specs."""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"
# Where each name stands; __init__.pyi tells type checkers the same.
_HOMES = {
    "build_model": "engine.build",
    "load_spec": "engine.build",
    "load_model": "engine.checkpoint",
    "save_model": "engine.checkpoint",
    "CheckpointError": "engine.errors",
    "InputError": "engine.errors",
    "SpecError": "engine.errors",
    "Memory": "engine.memory",
    "Model": "engine.model",
    "Output": "engine.network.outputs",
    "run_unpadded": "engine.unpadded",
    "Spec": "engine.spec",
}
__all__ = [
    "CheckpointError",
    "InputError",
    "Memory",
    "Model",
    "Output",
    "Spec",
    "SpecError",
    "__version__",
    "build_model",
    "load_model",
    "load_spec",
    "run_unpadded",
    "save_model",
]


def __getattr__(name: str) -> Any:
    """Names of the public face, imported when first used so that `import engine` stays light."""
    if name not in _HOMES:
        raise AttributeError(f"module 'engine' has no attribute '{name}'")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__

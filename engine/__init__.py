"""XLNet, XLM, XLM-RoBERTa-XL, Transformer-XL and XGLM as one block graph assembled from YAML specs."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engine.build import build_model, load_spec
    from engine.checkpoint import load_model, save_model
    from engine.errors import CheckpointError, InputError, SpecError
    from engine.memory import Memory
    from engine.model import Model
    from engine.network.outputs import Output
    from engine.spec import Spec
    from engine.unpadded import run_unpadded

__version__ = "0.1.0"
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

"""Optional dependencies, imported when first needed."""

from importlib import import_module
from types import ModuleType

from tokenization.errors import MissingExtraError

DISTRIBUTION = "blockgraph"


def import_extra(module: str, extra: str, purpose: str) -> ModuleType:
    """Import an optional module; raises MissingExtraError naming the extra that installs it."""
    try:
        return import_module(module)
    except ImportError as error:
        raise MissingExtraError(
            f"{purpose} needs the package {module!r}, which is not installed: pip install "
            f"'{DISTRIBUTION}[{extra}]'"
        ) from error

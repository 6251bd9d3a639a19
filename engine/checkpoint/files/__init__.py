"""Checkpoint files: found, opened lazily, read tensor by tensor, and written so that a save is seen
whole or not at all.

`naming` says under which names a save lies in a folder, `finding` looks for them, `reading` makes
errors of what is damaged. `weights` opens weight files, after `archive` has looked at their bytes;
`shells` reads pickles without running them; `foreign` tells what else a folder may hold. `sharding`
writes tensors, and `switching` puts a new save in the place of the last one.
"""

from engine.checkpoint.files.finding import resolve_folder
from engine.checkpoint.files.reading import read_folder, read_json
from engine.checkpoint.files.sharding import save_tensors
from engine.checkpoint.files.switching import staged
from engine.checkpoint.files.weights import REMAP_BYTES, Weights

__all__ = [
    "REMAP_BYTES",
    "Weights",
    "read_folder",
    "read_json",
    "resolve_folder",
    "save_tensors",
    "staged",
]

"""The names under which a save lies in a folder."""

import re

from tokenization.files.staging import is_plain

SINGLE = ("model.safetensors", "pytorch_model.bin")
INDEX = f"{SINGLE[0]}.index.json"
DESCRIPTIONS = ("spec.yaml", "config.json", "generation_config.json")
# The files by which a save is found.
WATCHED = (*DESCRIPTIONS, *SINGLE, *(f"{name}.index.json" for name in SINGLE))
# Single files that the authors' code wrote.
SUFFIXES = (".pt", ".pth", ".bin")


def shard_name(number: int, count: int) -> str:
    """The name of one of several weight files."""
    return f"model-{number:05}-of-{count:05}.safetensors"


def is_shard(name: object) -> bool:
    """Whether a name is one that a save of ours gives to a shard."""
    pattern = r"model(\.\d+)?-\d{5}-of-\d{5}\.safetensors"
    return is_plain(name) and re.fullmatch(pattern, str(name)) is not None

"""From a model to a folder, in the project's own format or in transformers'."""

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from engine.build import head_options
from engine.checkpoint.config import differences, read_config, write_config
from engine.checkpoint.files import save_tensors, staged
from engine.checkpoint.names import axis_sizes, slots_of
from engine.checkpoint.opening import LABEL_FIELDS, families
from engine.errors import CheckpointError
from engine.kernels.int8 import holds_int8
from engine.model import Model
from engine.spec import Spec
from engine.spec.axes import Layout
from engine.ties import shared_names
from tokenization.plain_yaml import write_yaml

# How fresh weights were drawn says nothing of those that are saved.
NOT_THE_NETWORK = ("name", "tokenizer", "checkpoint", "heads.default", "heads.options", "init")


def save_model(
    model: Model,
    folder: str | os.PathLike[str],
    format: Literal["engine", "huggingface"] = "engine",
    *,
    shard_bytes: int = 5 * 10**9,
) -> None:
    """Write a model to a folder that `load_model` opens, and transformers' `from_pretrained` too for "huggingface".

    Our own format is spec.yaml, fully resolved, beside safetensors. Shards hold at most `shard_bytes` bytes.
    A save is seen whole or not at all by `load_model`, also where the process ends in the middle of one, or two save to
    one folder at once (the later one stays); transformers sees the old one, the new one, or, while a changed config.json
    gives way, none. Of what the folder held, only files of an earlier save go.
    Raises CheckpointError where the other format cannot say what the spec says, or the folder cannot be written.
    """
    path = Path(folder)
    if format not in ("engine", "huggingface"):
        raise ValueError(f"format is {format!r}; allowed: 'engine', 'huggingface'")
    if path.exists() and not path.is_dir():
        raise CheckpointError(f"{path} is a file, not a folder")
    if any(parameter.is_meta for parameter in model.parameters()):
        raise CheckpointError("this model is on the meta device: it has no weights to save")
    if holds_int8(model):
        raise CheckpointError(
            "this model holds 8-bit weights, which lost digits: save one that was loaded without weights='int8'"
        )
    if format == "engine":
        with staged(path) as stage:
            described = write_yaml(model.spec.to_dict(), sort_keys=True)
            save_tensors(model.named_parameters(), stage, shard_bytes, {"spec.yaml": described})
        return
    layout = model.spec.checkpoint.huggingface
    if layout is None:
        raise CheckpointError("this spec has no checkpoint.huggingface section, so its names elsewhere are unknown")
    config = json.dumps(_checked_config(model.spec, layout), indent=2, sort_keys=True) + "\n"
    tensors = _their_tensors(model, layout)
    with staged(path) as stage:
        save_tensors(tensors, stage, shard_bytes, {"config.json": config})


def _checked_config(spec: Spec, layout: Layout) -> dict[str, Any]:
    """Their config.json, once reading it back has given the same network."""
    architecture = _architecture(spec, layout)
    plain = spec.to_dict()
    config = write_config(plain, layout)
    back = Spec.model_validate(read_config(json.loads(json.dumps(config)), layout, plain)).to_dict()
    lost = _network_differences(plain, back)
    blank = _unsaid(plain, layout, config)
    if lost or blank:
        raise CheckpointError(f"a {layout.model_type} config.json cannot say: {', '.join([*lost, *blank])}")
    config["architectures"] = [architecture]
    options = spec.heads.options.get(spec.heads.default or "", {})
    config.update({name: options[name] for name in LABEL_FIELDS if options.get(name) is not None})
    if isinstance(config.get("id2label"), Mapping):
        config["id2label"] = {str(number): text for number, text in config["id2label"].items()}
    return config


def _unsaid(plain: Mapping[str, Any], layout: Layout, config: Mapping[str, Any]) -> list[str]:
    """Paths in which a spec differs from its family and that no field of the layout carries."""
    family = families().get(layout.model_type)
    if family is None:
        return []
    base = Spec.model_validate(read_config(json.loads(json.dumps(dict(config))), layout, family)).to_dict()
    return _network_differences(plain, base)


def _network_differences(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[str]:
    """Paths in which two plain specs differ as networks with the head of the first; labels have fields of their own."""
    paths = [path for path in differences(ours, theirs) if not path.startswith(NOT_THE_NETWORK)]
    head = ours["heads"]["default"]
    if head is None:
        return paths
    options = head_options()[head]
    one, other = (
        options.model_validate(side["heads"]["options"].get(head, {})).model_dump(mode="json")
        for side in (ours, theirs)
    )
    labels = tuple(f"heads.options.{head}.{name}" for name in LABEL_FIELDS)
    return paths + [path for path in differences(one, other, f"heads.options.{head}") if not path.startswith(labels)]


def _architecture(spec: Spec, layout: Layout) -> str:
    head = spec.heads.default or "none"
    classes = layout.architectures.get(head)
    if classes is None:
        known = ", ".join(layout.architectures) or "none"
        raise CheckpointError(f"transformers has no {layout.model_type} class for the head '{head}'; it has: {known}")
    return classes if isinstance(classes, str) else classes[0]


def _their_tensors(model: Model, layout: Layout) -> Iterator[tuple[str, Tensor]]:
    """Their tensors by name; a head's copies of the body's tensors are left to be tied when they are opened.

    A tensor that several parts of the body share is written under each of its names, aliases among them.
    """
    prefix = f"{layout.prefix}." if layout.prefix and model.head is not None else ""
    groups = shared_names(model)
    tensors = dict(model.named_parameters(remove_duplicate=False))
    body = {
        name: first
        for first, names in groups.items()
        for name in names
        if first.startswith("head.") or not name.startswith("head.")
    }
    shared = Counter(body.values())
    sizes = axis_sizes(model.spec)
    slots = slots_of(body, model.spec.heads.default, layout, prefix)

    def stream() -> Iterator[tuple[str, Tensor]]:
        for slot in slots:
            tensor = slot.write(tensors, sizes)
            if shared[body[slot.ours[0]]] == 1:
                yield slot.theirs, tensor
                continue
            yield slot.theirs, tensor.clone()
            for alias, name in layout.aliases.items():
                if slot.theirs in (name, prefix + name):
                    yield (alias if slot.theirs == name else prefix + alias), tensor.clone()

    return stream()

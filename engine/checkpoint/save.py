"""From a model to a folder, in the project's own format or in transformers'."""

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from pydantic import ValidationError
from torch import Tensor, nn

from engine.build import head_options
from engine.checkpoint.config import (
    differences,
    read_config,
    with_words,
    write_config,
    write_generation,
)
from engine.checkpoint.files import save_tensors, staged
from engine.checkpoint.names import axis_sizes, slots_of
from engine.checkpoint.opening import LABEL_FIELDS, family_of, labels_of
from engine.errors import CheckpointError, InputError
from engine.kernels.int8 import holds_int8
from engine.model import Model
from engine.parameters.ties import shared_names
from engine.spec import Spec
from engine.spec.axes import Layout
from engine.spec.explain import explain
from engine.spec.load import families
from tokenization.files.paths import as_path
from tokenization.files.plain_yaml import write_yaml

# How fresh weights were drawn says nothing of those that are saved.
NOT_THE_NETWORK = ("name", "tokenizer", "checkpoint", "heads.default", "heads.options", "init")


def save_model(
    model: Model,
    folder: str | os.PathLike[str],
    format: Literal["engine", "huggingface"] = "engine",
    *,
    shard_bytes: int = 5 * 10**9,
) -> None:
    """Write a model to a folder that `load_model` opens, and transformers' `from_pretrained` too
    for "huggingface".

    Our own format is spec.yaml, fully resolved, beside safetensors. Shards hold at most
    `shard_bytes` bytes. A save is seen whole or not at all by `load_model`, also where the process
    ends in the middle of one, or two save to one folder at once (the later one stays); transformers
    sees the old one, the new one, or, while a changed config.json gives way, none. Of what the
    folder held, only files of an earlier save go. Raises CheckpointError where the other format
    cannot say what the spec says, or the folder cannot be written.
    """
    path = as_path("folder", folder, InputError)
    if not isinstance(format, str) or format not in ("engine", "huggingface"):
        raise InputError(f"format is {format!r:.60}; allowed: 'engine', 'huggingface'")
    if not isinstance(shard_bytes, int | float) or not shard_bytes > 0:
        raise InputError(
            f"shard_bytes is {shard_bytes!r:.60}, expected the bytes of a file, such as 5 * 10**9"
        )
    if not isinstance(model, nn.Module) or not isinstance(getattr(model, "spec", None), Spec):
        raise InputError(
            f"model is a {type(model).__name__}, expected what build_model or load_model gave"
        )
    if path.exists() and not path.is_dir():
        raise CheckpointError(f"{path} is a file, not a folder")
    _check_weights(model)
    tensors: Iterator[tuple[str, Tensor]] = model.named_parameters()
    if format == "engine":
        files = {"spec.yaml": write_yaml(model.spec.to_dict())}
    else:
        files, tensors = _in_their_layout(model)
    with staged(path) as stage:
        save_tensors(tensors, stage, shard_bytes, files)


def _check_weights(model: Model) -> None:
    """Raise CheckpointError for weights that files of plain tensors cannot hold."""
    if any(parameter.is_meta for parameter in model.parameters()):
        raise CheckpointError("this model is on the meta device: it has no weights to save")
    if holds_int8(model):
        raise CheckpointError(
            "this model holds 8-bit weights, which lost digits: save one that was loaded without "
            "weights='int8'"
        )
    for name, parameter in model.named_parameters():
        if type(parameter.data) is not Tensor:
            raise CheckpointError(
                f"{name} is a {type(parameter.data).__name__} of another library, which files of "
                "plain tensors cannot hold: save the network before it is quantised or sharded, or "
                "its gathered state"
            )


def _in_their_layout(model: Model) -> tuple[dict[str, str], Iterator[tuple[str, Tensor]]]:
    """Files and tensors as transformers reads them."""
    layout = model.spec.checkpoint.huggingface
    if layout is None:
        raise CheckpointError(
            "this spec has no checkpoint.huggingface section, so its names elsewhere are unknown"
        )
    files = {
        name: json.dumps(fields, indent=2, sort_keys=True) + "\n"
        for name, fields in checked_files(model.spec, layout).items()
    }
    return files, _their_tensors(model, layout)


def checked_files(spec: Spec, layout: Layout) -> dict[str, dict[str, Any]]:
    """Their config.json, and generation_config.json where one was read, once reading them back has
    given the same network.

    Read back from the spec itself, and from the network that the layout was written for, which
    knows nothing of it.
    """
    architecture = _architecture(spec, layout)
    plain = spec.to_dict()
    foreign = (plain["checkpoint"] or {}).get("foreign") or {"config": {}, "generation": {}}
    writing = write_config(plain, layout)
    labels = labels_of(spec.heads.default)
    kept = {name: value for name, value in foreign["config"].items() if name not in labels}
    generation = write_generation(foreign["generation"], plain, layout)
    config = with_words(writing.config, kept, generation, plain, layout)
    lost = list(writing.unsayable)
    home = layout.home
    if home is None:
        described = {**config, "architectures": [architecture]}
        home = family_of(described) if layout.model_type in families() else plain
    for base in () if lost else (plain, home):
        lost += _lost(config, generation, layout, plain, base)
    if lost:
        raise CheckpointError(
            f"a {layout.model_type} config.json cannot say: {', '.join(dict.fromkeys(lost))}"
        )
    config["architectures"] = [architecture]
    options = spec.heads.options.get(spec.heads.default or "", {})
    config.update({name: options[name] for name in LABEL_FIELDS if options.get(name) is not None})
    if isinstance(config.get("id2label"), Mapping):
        config["id2label"] = {str(number): text for number, text in config["id2label"].items()}
    files = {"config.json": config}
    if generation:
        files["generation_config.json"] = generation
    return files


def _lost(
    config: Mapping[str, Any],
    generation: Mapping[str, Any],
    layout: Layout,
    plain: Mapping[str, Any],
    base: Mapping[str, Any],
) -> list[str]:
    """Paths of a plain spec that these files do not give back when they are read over a base."""
    back = read_config(json.loads(json.dumps(config)), layout, base, generation).data
    back["name"] = plain["name"]
    try:
        return _network_differences(plain, Spec.model_validate(back).to_dict())
    except ValidationError as error:
        return [".".join(path) for path, _ in explain(error, back, Spec)]


def _network_differences(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[str]:
    """Paths in which two plain specs differ as networks with the head of the first; labels have
    fields of their own.
    """
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
    return paths + [
        path
        for path in differences(one, other, f"heads.options.{head}")
        if not path.startswith(labels)
    ]


def _architecture(spec: Spec, layout: Layout) -> str:
    head = spec.heads.default or "none"
    classes = layout.architectures.get(head)
    if classes is None:
        known = ", ".join(layout.architectures) or "none"
        raise CheckpointError(
            f"transformers has no {layout.model_type} class for the head '{head}'; it has: {known}"
        )
    if isinstance(classes, str):
        return classes
    return classes[0]


def _their_tensors(model: Model, layout: Layout) -> Iterator[tuple[str, Tensor]]:
    """Their tensors by name; a head's copies of the body's tensors are left to be tied when they
    are opened.

    A tensor that several parts of the body share is written under each of its names, aliases among
    them.
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
    slots = slots_of(body, model.spec.heads.default, layout, prefix, owners=body)

    def stream() -> Iterator[tuple[str, Tensor]]:
        for slot in slots:
            tensor = slot.write(tensors, sizes)
            if shared[body[slot.ours[0]]] == 1:
                yield from slot.named(tensor)
                continue
            yield slot.theirs, tensor.clone()
            for alias, name in layout.aliases.items():
                if slot.theirs in (name, prefix + name):
                    yield (alias if slot.theirs == name else prefix + alias), tensor.clone()

    return stream()

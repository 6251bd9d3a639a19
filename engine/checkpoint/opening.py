"""What network a checkpoint folder holds, from its spec.yaml or its config.json."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from engine.build import head_options, load_spec
from engine.checkpoint.config import left_over, read_config
from engine.checkpoint.files import Weights, read_json
from engine.checkpoint.foreign import nothing_to_open, refuse_quantised, refuse_quantised_tensors
from engine.checkpoint.pruning import WHOLE, Pruned, pruned_heads
from engine.checkpoint.stored import Stored, Tensors
from engine.errors import CheckpointError, SpecError, nearest
from engine.spec import Spec, SpecSource
from engine.spec.axes import Layout
from engine.spec.load import read, shipped

LABEL_FIELDS = ("num_labels", "id2label", "label2id", "problem_type")


@dataclass(frozen=True)
class Source:
    """A checkpoint folder with its spec, the layout of its names (None: our own), and what its config said in vain.

    `tensors` are those of a file that holds both settings and tensors; others are looked for in the folder.
    """

    folder: Path
    spec: Spec
    layout: Layout | None
    config_left_over: tuple[str, ...] = ()
    pruned: Pruned = WHOLE
    tensors: Tensors | None = None


def open_source(folder: Path, spec: SpecSource | None, overrides: Mapping[str, Any] | None) -> Source:
    """The spec of a checkpoint folder: its spec.yaml, or a family's spec with the settings of its config.json."""
    if (folder / "spec.yaml").is_file() and spec is None:
        return Source(folder, load_spec(folder, overrides), None)
    if not (folder / "config.json").is_file():
        raise nothing_to_open(folder, f"there is no config.json in {folder}")
    config = read_json(folder / "config.json")
    refuse_quantised(folder, config)
    family = (
        read(spec) if spec is not None and not isinstance(spec, Spec) else spec.to_dict() if spec else _family(config)
    )
    layout = load_spec(family).checkpoint.huggingface
    if layout is None:
        raise CheckpointError("this spec has no checkpoint.huggingface section, so its names elsewhere are unknown")
    data = _with_head(read_config(config, layout, family), config, layout)
    try:
        resolved = load_spec(data, overrides)
    except SpecError as error:
        where = str(folder / "config.json")
        raise SpecError(replace(p, source=where) if p.source == "spec" else p for p in error.problems) from None
    pruned = pruned_heads(config, resolved)
    return Source(folder, resolved, layout, tuple(left_over(config, layout)), pruned)


def stored_in(source: Source) -> Stored:
    """The tensors of a checkpoint under the names of its layout."""
    stored = Stored(source.tensors or Weights(source.folder))
    refuse_quantised_tensors(source.folder, stored.names())
    return stored


@cache
def families() -> Mapping[str, dict[str, Any]]:
    """The plain specs of the shipped families and variants by their model_type in transformers, read once."""
    known: dict[str, dict[str, Any]] = {}
    for name, path in shipped().items():
        if name.startswith(("families/", "variants/")):
            data = read(path)
            model_type = data.get("checkpoint", {}).get("huggingface", {}).get("model_type")
            known.setdefault(str(model_type), data)
    return known


def _family(config: Mapping[str, Any]) -> dict[str, Any]:
    known = families()
    wanted = str(config.get("model_type"))
    if wanted not in known:
        raise CheckpointError(
            f"config.json has model_type '{wanted}', which no shipped spec describes{nearest(wanted, known)}; "
            "give the spec of its family with spec="
        )
    return known[wanted]


def _with_head(data: dict[str, Any], config: Mapping[str, Any], layout: Layout) -> dict[str, Any]:
    """The spec with the head that config.json names, and its labels."""
    architectures = config.get("architectures") or []
    if not isinstance(architectures, list) or not all(isinstance(name, str) for name in architectures):
        raise CheckpointError(f"config.json: architectures should be a list of class names, found {architectures!r}")
    names = {
        theirs: head
        for head, classes in layout.architectures.items()
        for theirs in ((classes,) if isinstance(classes, str) else classes)
    }
    head = names.get(architectures[0], "none") if architectures else "none"
    section = dict(data.get("heads") or {})
    options = dict(section.get("options") or {})
    labels = {name: config[name] for name in LABEL_FIELDS if config.get(name) is not None}
    if "id2label" in labels:
        try:
            labels["id2label"] = {int(number): str(text) for number, text in dict(labels["id2label"]).items()}
        except (TypeError, ValueError):
            raise CheckpointError(
                f"config.json: id2label should give each number its name, found {labels['id2label']!r}"
            ) from None
        labels["num_labels"] = len(labels["id2label"])
    for name, taken in head_options().items():
        fields = {field: value for field, value in labels.items() if field in taken.model_fields}
        if fields:
            options[name] = {**options.get(name, {}), **fields}
    section.update(default=None if head == "none" else head, options=options)
    return {**data, "heads": section}

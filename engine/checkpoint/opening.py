"""What network a checkpoint folder holds, from its spec.yaml or its config.json."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from engine.build import head_options, load_spec
from engine.checkpoint.authors import authors_file, read_authors
from engine.checkpoint.config import field_of, kept_words, left_over, read_config
from engine.checkpoint.files import Weights, read_json
from engine.checkpoint.files.foreign import (
    nothing_to_open,
    refuse_quantised,
    refuse_quantised_tensors,
)
from engine.checkpoint.files.naming import SUFFIXES
from engine.checkpoint.pruning import WHOLE, Pruned, pruned_heads
from engine.checkpoint.stored import Stored, Tensors
from engine.errors import CheckpointError, Problem, SpecError, nearest
from engine.spec import Spec, SpecSource
from engine.spec.axes import Foreign, Layout
from engine.spec.load import families, read
from tokenization.errors import TokenizationError
from tokenization.files.published import read_published

LABEL_FIELDS = ("num_labels", "id2label", "label2id", "problem_type")
OTHER_FRAMEWORKS = ("TF", "Flax")


@dataclass(frozen=True)
class Source:
    """A checkpoint folder with its spec, the layout of its names (None: our own), and what its
    config said in vain.

    `tensors` are those of a file that holds both settings and tensors; others are looked for in the
    folder.
    """

    folder: Path
    spec: Spec
    layout: Layout | None
    config_left_over: tuple[str, ...] = ()
    pruned: Pruned = WHOLE
    tensors: Tensors | None = None
    remarks: tuple[str, ...] = ()


def open_source(
    folder: Path, spec: SpecSource | None, overrides: Mapping[str, Any] | None
) -> Source:
    """The spec of a checkpoint folder: its spec.yaml, or a family's spec with the settings of its
    config.json.
    """
    if folder.is_file():
        return _authors_source(folder, spec, overrides)
    if (folder / "spec.yaml").is_file() and spec is None:
        return Source(folder, load_spec(folder, overrides), None)
    if not (folder / "config.json").is_file():
        if file := authors_file(folder):
            return _authors_source(file, spec, overrides)
        raise nothing_to_open(folder, f"there is no config.json in {folder}")
    config = read_json(folder / "config.json")
    refuse_quantised(folder, config)
    family = family_of(config) if spec is None else _plain(spec)
    # A spec that is wrong by itself is told with its own lines.
    layout = load_spec(family if spec is None else spec).checkpoint.huggingface
    if layout is None:
        raise CheckpointError(
            "this spec has no checkpoint.huggingface section, so its names elsewhere are unknown"
        )
    generation: dict[str, Any] = {}
    if (folder / "generation_config.json").is_file():
        generation = read_json(folder / "generation_config.json")
    reading = read_config(config, layout, family, generation)
    head, said = _head(config, layout)
    data = _with_tokenizer(_with_head(reading.data, config, head), folder)
    resolved = _resolved(data, overrides, layout, folder)
    words = kept_words(
        config, generation, resolved.to_dict(), layout, labels_of(resolved.heads.default)
    )
    foreign = Foreign(config=words, generation=generation) if words or generation else None
    checkpoint = resolved.checkpoint.model_copy(update={"foreign": foreign})
    return Source(
        folder,
        resolved.model_copy(update={"checkpoint": checkpoint}),
        layout,
        tuple(left_over(config, layout)),
        pruned=pruned_heads(config, resolved),
        remarks=(*reading.remarks, *said),
    )


def _with_tokenizer(data: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The spec with what the tokenizer files beside a config.json say, so that it is saved as they
    are.
    """
    if data.get("tokenizer") is None or not (folder / "tokenizer_config.json").is_file():
        return data
    try:
        section = read_published(folder, compare=False).model_dump(mode="json")
    except TokenizationError as error:
        raise CheckpointError(f"{folder / 'tokenizer_config.json'}: {error}") from None
    return {**data, "tokenizer": section}


def _resolved(
    data: dict[str, Any], overrides: Mapping[str, Any] | None, layout: Layout, folder: Path
) -> Spec:
    """The spec of this data, in which what is wrong, and not the caller's overrides, is the fault
    of a config.json.
    """
    try:
        return load_spec(data, overrides)
    except SpecError as error:
        if any(problem.source == "overrides" for problem in error.problems):
            raise
        raise CheckpointError(
            "\n".join(_told(problem, layout, folder) for problem in error.problems)
        ) from None


def holds_network(path: Path) -> bool:
    """Whether a network is to be had from a place without a spec.yaml: a folder with config.json,
    or an authors' file.
    """
    if path.is_file():
        return path.suffix in SUFFIXES
    if not path.is_dir() or (path / "spec.yaml").is_file():
        return False
    return (path / "config.json").is_file() or authors_file(path) is not None


def _authors_source(
    file: Path, spec: SpecSource | None, overrides: Mapping[str, Any] | None
) -> Source:
    """The spec and the tensors of a file that the authors' code wrote."""
    if spec is None:
        known = {name: several[0] for name, several in families().items()}
        specs = {name: load_spec(data) for name, data in known.items()}
    else:
        known, specs = {"": _plain(spec)}, {"": load_spec(spec)}
    layouts = {
        name: one.checkpoint.original
        for name, one in specs.items()
        if one.checkpoint.original is not None
    }
    if not layouts:
        raise CheckpointError(
            "this spec has no checkpoint.original section, so the names in the authors' file are "
            "unknown"
        )
    name, settings, tensors = read_authors(file, layouts)
    layout = layouts[name]
    try:
        resolved = load_spec(read_config(settings, layout, known[name]).data, overrides)
    except SpecError as error:
        raise SpecError(
            replace(p, source=str(file)) if p.source == "spec" else p for p in error.problems
        ) from None
    return Source(file, resolved, layout, tensors=tensors)


def stored_in(source: Source) -> Stored:
    """The tensors of a checkpoint under the names of its layout."""
    stored = Stored(source.tensors or Weights(source.folder))
    refuse_quantised_tensors(source.folder, stored.names())
    return stored


def _told(problem: Problem, layout: Layout, folder: Path) -> str:
    name = field_of(problem.path, layout)
    field = problem.path
    if name is not None:
        field = f"{name} ({problem.path})"
    return f"{folder / 'config.json'}: {field}: {problem.message}"


def _plain(spec: SpecSource) -> dict[str, Any]:
    """A spec as it is written, with its parents merged in."""
    if isinstance(spec, Spec):
        return spec.to_dict()
    return read(spec)


def family_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """The plain spec of the shipped family or variant that a config.json is of: of several with its
    model_type the first that has its class and all of its values (raises CheckpointError for
    another model_type).
    """
    known = families()
    wanted = str(config.get("model_type"))
    if wanted not in known:
        raise CheckpointError(
            f"config.json has model_type '{wanted}', which no shipped spec describes"
            f"{nearest(wanted, known)}; give the spec of its family with spec="
        )
    several = known[wanted]
    if len(several) == 1:
        return several[0]
    return next((family for family in several if _describes(family, config)), several[0])


def _describes(family: Mapping[str, Any], config: Mapping[str, Any]) -> bool:
    """Whether a family's layout has the class and the values of a config.json."""
    layout = load_spec(family).checkpoint.huggingface
    if layout is None:
        return False
    named = config.get("architectures")
    if isinstance(named, list) and named and _head(config, layout)[1]:
        return False
    try:
        read_config(config, layout, family)
    except CheckpointError:
        return False
    return True


def _head(config: Mapping[str, Any], layout: Layout) -> tuple[str | None, list[str]]:
    """The head of the class that config.json names, and what a reader should know of a class that
    is none of these.
    """
    architectures = config.get("architectures")
    if architectures is None:
        architectures = []
    if not isinstance(architectures, list) or not all(
        isinstance(name, str) for name in architectures
    ):
        raise CheckpointError(
            f"config.json: architectures should be a list of class names, found {architectures!r}"
        )
    if not architectures:
        return None, []
    heads = {
        theirs: head
        for head, classes in sorted(layout.architectures.items())
        for theirs in ((classes,) if isinstance(classes, str) else classes)
    }
    name = architectures[0]
    for framework in OTHER_FRAMEWORKS:
        if name not in heads:
            name = name.removeprefix(framework)
    head = heads.get(name)
    if head is None:
        classes = ", ".join(heads)
        remark = (
            f"config.json names the class {name}, which the spec does not know (it has: {classes}),"
            " so that the network has no head: name one with head="
        )
        return None, [remark]
    if head == "none":
        return None, []
    return head, []


def labels_of(head: str | None) -> frozenset[str]:
    """The fields of config.json that a head's own options say."""
    options = head_options().get(head or "")
    if options is None:
        return frozenset()
    return frozenset(name for name in LABEL_FIELDS if name in options.model_fields)


def _with_head(data: dict[str, Any], config: Mapping[str, Any], head: str | None) -> dict[str, Any]:
    """The spec with a head, and its labels."""
    section = dict(data.get("heads") or {})
    options = dict(section.get("options") or {})
    labels = {name: config[name] for name in LABEL_FIELDS if config.get(name) is not None}
    if "id2label" in labels:
        try:
            labels["id2label"] = {
                int(number): str(text) for number, text in dict(labels["id2label"]).items()
            }
        except (TypeError, ValueError):
            raise CheckpointError(
                "config.json: id2label should give each number its name, found "
                f"{labels['id2label']!r}"
            ) from None
        labels["num_labels"] = len(labels["id2label"])
    for name, taken in head_options().items():
        fields = {field: value for field, value in labels.items() if field in taken.model_fields}
        if fields:
            options[name] = {**options.get(name, {}), **fields}
    section.update(default=head, options=options)
    return {**data, "heads": section}

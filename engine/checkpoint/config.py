"""Another library's config.json ↔ our spec, through the fields that a layout lists."""

from collections.abc import Container, Mapping
from typing import Any

from engine.errors import CheckpointError
from engine.spec.axes import ConfigField, Layout
from engine.spec.load import merge

MISSING = object()


def read_config(config: Mapping[str, Any], layout: Layout, family: Mapping[str, Any]) -> dict[str, Any]:
    """The plain data of a family's spec with the settings of a config.json laid over it, field by field."""
    data: dict[str, Any] = dict(family)
    for name, entry in layout.config.items():
        if name not in config:
            continue
        field = entry if isinstance(entry, ConfigField) else ConfigField(path=entry)
        if field.under is not None and not _get(data, field.under):
            continue
        value = _ours(name, config[name], field)
        for path in _paths(field):
            if not path and not isinstance(value, Mapping):
                allowed = ", ".join(repr(theirs) for theirs in field.values)
                raise CheckpointError(f"config.json: {name} is {config[name]!r}; this family has: {allowed}")
            data = _put(data, path, value)
    return data


def write_config(spec: Mapping[str, Any], layout: Layout) -> dict[str, Any]:
    """The fields of a config.json that say the same as a spec's plain data.

    Of several paths the one that belongs to the spec's own head speaks, else the first. What a field of its own says, such
    as a size, does not decide between the sections that another field chooses from.
    """
    config: dict[str, Any] = {"model_type": layout.model_type, **layout.constants}
    own = f"heads.options.{_get(spec, 'heads.default')}."
    fields = {
        name: entry if isinstance(entry, ConfigField) else ConfigField(path=entry)
        for name, entry in layout.config.items()
    }
    for name, field in fields.items():
        if field.under is not None and not _get(spec, field.under):
            continue
        said = {path for other, one in fields.items() if other != name for path in _paths(one)}
        path = min(_paths(field), key=lambda path: not path.startswith(own))
        theirs = _theirs(_get(spec, path), field, path, said)
        if theirs is not MISSING:
            config[name] = theirs
    return config


def left_over(config: Mapping[str, Any], layout: Layout) -> list[str]:
    """Fields of a config.json that the layout neither reads nor lists as meaningless to a network."""
    known = {*layout.config, *layout.ignored, *layout.constants, *EVERYWHERE}
    return sorted(name for name in config if name not in known and not name.startswith("_"))


def differences(ours: Any, theirs: Any, path: str = "") -> list[str]:
    """Paths at which two plain specs differ."""
    if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
        keys = sorted({*ours, *theirs}, key=str)
        return [
            d
            for key in keys
            for d in differences(ours.get(key), theirs.get(key), f"{path}.{key}" if path else str(key))
        ]
    if isinstance(ours, list | tuple) and isinstance(theirs, list | tuple):
        return [] if list(ours) == list(theirs) else [path]
    return [] if ours == theirs else [path]


def _paths(field: ConfigField) -> tuple[str, ...]:
    return (field.path,) if isinstance(field.path, str) else field.path


def _ours(name: str, value: Any, field: ConfigField) -> Any:
    for theirs, ours in field.values.items():
        if type(theirs) is type(value) and theirs == value:
            return ours
    if field.only:
        allowed = ", ".join(repr(theirs) for theirs in field.values)
        raise CheckpointError(f"config.json: {name} is {value!r}; this family has: {allowed}")
    return value + field.offset if field.offset and isinstance(value, int) else value


def _theirs(value: Any, field: ConfigField, path: str, said: Container[str]) -> Any:
    for theirs, ours in field.values.items():
        if _holds(value, ours, path, said):
            return theirs
    if field.only:
        return MISSING
    return value - field.offset if field.offset and isinstance(value, int) else value


def _holds(value: Any, wanted: Any, path: str, said: Container[str]) -> bool:
    """Whether a value equals the wanted one, or has it as a part, apart from what is `said` elsewhere."""
    if isinstance(wanted, Mapping):
        return isinstance(value, Mapping) and all(
            (below := f"{path}.{key}".lstrip(".")) in said or _holds(value.get(key), part, below, said)
            for key, part in wanted.items()
        )
    if isinstance(wanted, list | tuple):
        return isinstance(value, list | tuple) and sorted(map(str, value)) == sorted(map(str, wanted))
    return type(value) is type(wanted) and value == wanted


def _get(data: Any, path: str) -> Any:
    """The value at a dotted path; below a list, whether it holds that name."""
    for part in path.split(".") if path else ():
        if isinstance(data, list | tuple):
            return part in data
        data = data.get(part) if isinstance(data, Mapping) else None
    return data


def _put(data: Mapping[str, Any], path: str, value: Any) -> dict[str, Any]:
    """Data with a value at a dotted path; sections merge, and below a list a boolean adds or removes that name."""
    if not path:
        return merge(data, value)
    first, _, rest = path.partition(".")
    old = data.get(first)
    if not rest:
        both = isinstance(old, Mapping) and isinstance(value, Mapping)
        return {**data, first: merge({first: old}, {first: value})[first] if both else value}
    if isinstance(old, list | tuple):
        kept = [name for name in old if name != rest]
        return {**data, first: [*kept, rest] if value else kept}
    return {**data, first: _put(old if isinstance(old, Mapping) else {}, rest, value)}


EVERYWHERE = frozenset(
    [
        "architectures",
        "auto_map",
        "bad_words_ids",
        "begin_suppress_tokens",
        "chunk_size_feed_forward",
        "diversity_penalty",
        "do_sample",
        "dtype",
        "early_stopping",
        "encoder_no_repeat_ngram_size",
        "exponential_decay_length_penalty",
        "finetuning_task",
        "forced_bos_token_id",
        "forced_eos_token_id",
        "gradient_checkpointing",
        "id2label",
        "is_encoder_decoder",
        "label2id",
        "length_penalty",
        "max_length",
        "min_length",
        "model_type",
        "no_repeat_ngram_size",
        "num_beam_groups",
        "num_beams",
        "num_labels",
        "num_return_sequences",
        "output_attentions",
        "output_hidden_states",
        "output_past",
        "output_scores",
        "prefix",
        "problem_type",
        "pruned_heads",
        "remove_invalid_values",
        "repetition_penalty",
        "return_dict",
        "return_dict_in_generate",
        "sep_token_id",
        "suppress_tokens",
        "task_specific_params",
        "temperature",
        "tf_legacy_loss",
        "tie_encoder_decoder",
        "tokenizer_class",
        "top_k",
        "top_p",
        "torch_dtype",
        "torchscript",
        "transformers_version",
        "typical_p",
        "use_bfloat16",
        "use_mems",
        "name_or_path",
        "cross_attention_hidden_size",
    ]
)

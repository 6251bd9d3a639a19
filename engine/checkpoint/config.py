"""Another library's config.json ↔ our spec, through the fields that a layout lists."""

from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from engine.errors import CheckpointError
from engine.spec.axes import ConfigField, Layout
from engine.spec.load import merge

MISSING = object()
NETWORK_PADDING = "embeddings.tables.tokens.padding"


class Reading(NamedTuple):
    """The plain data of a spec, and what a reader should know of how it was found."""

    data: dict[str, Any]
    remarks: tuple[str, ...] = ()


@dataclass
class Writing:
    """The fields of a config.json, and the paths of a spec that none of its fields can say."""

    config: dict[str, Any] = field(default_factory=dict)
    unsayable: list[str] = field(default_factory=list)


def read_config(
    config: Mapping[str, Any],
    layout: Layout,
    family: Mapping[str, Any],
    generation: Mapping[str, Any] | None = None,
) -> Reading:
    """A family's plain spec with the settings of a config.json and a generation_config.json laid
    over it.

    Of several names of one field the first that says something is read; of several fields on one
    path the first in the layout; for the ids with which decoding starts and ends
    generation_config.json comes before config.json. Where the others say something else, a remark
    says so. Fields that choose a section are read before those of its parts. Raises CheckpointError
    for a value that the layout does not have.
    """
    data: dict[str, Any] = dict(family)
    config = {**layout.defaults, **config}
    remarks: list[str] = []
    told: dict[str, tuple[str, Any]] = {}
    for name, entry in _in_order(layout):
        if _idle(entry, data):
            continue
        said = _said(config, name, entry)
        if said is None:
            continue
        key, given = said
        value = _ours(key, given, entry)
        remarks += _other_names(config, layout, entry, key, value)
        for path in _paths(entry):
            if not path and not isinstance(value, Mapping):
                allowed = ", ".join(repr(theirs) for theirs in entry.values)
                raise CheckpointError(
                    f"config.json: {key} is {given!r}; this family has: {allowed}"
                )
            first, before = told.setdefault(path, (key, value))
            if isinstance(value, Mapping) or first == key:
                data = _put(data, path, value)
            elif before != value:
                remarks.append(_differ(first, config[first], key, given))
    data, more = _with_generation(data, layout, generation or {}, told)
    data, outside = _within_vocabulary(data, told)
    return Reading(data, tuple(dict.fromkeys([*remarks, *more, *outside])))


def write_config(spec: Mapping[str, Any], layout: Layout) -> Writing:
    """The fields of a config.json that say the same as a spec's plain data.

    Of several paths the one that belongs to the spec's own head speaks, else the first. What a
    field of its own says, such as a size, does not decide between the sections that another field
    chooses from. A value of another kind of section than the layout knows, or one that only another
    head has, has no field.
    """
    writing = Writing({"model_type": layout.model_type, **layout.constants})
    own = f"heads.options.{_get(spec, 'heads.default')}."
    fields = dict(_in_order(layout))
    for name, entry in fields.items():
        if _idle(entry, spec):
            continue
        said = {path for other, one in fields.items() if other != name for path in _paths(one)}
        path = min(_paths(entry), key=lambda path: not path.startswith(own))
        value = _get(spec, path)
        if value is MISSING:
            continue
        theirs = _theirs(value, entry, path, said)
        if theirs is not MISSING:
            writing.config[name] = theirs
            writing.config.update(
                {other: theirs for other in entry.also if other in layout.constants}
            )
        elif path.startswith(own) or not path.startswith("heads.options."):
            writing.unsayable.append(path or name)
    return writing


def kept_words(
    raw: Mapping[str, Any],
    generation: Mapping[str, Any],
    spec: Mapping[str, Any],
    layout: Layout,
    labels: Container[str],
) -> dict[str, Any]:
    """The fields of a config.json that a save of this spec would leave out or write in other words.

    `labels` are the fields that its head says.
    """
    written = write_config(spec, layout).config
    words = with_words(written, raw, generation, spec, layout)
    return {
        name: value
        for name, value in raw.items()
        if not (name in OF_THE_FOLDER or name in labels or name.startswith("_"))
        and written.get(name, MISSING) != value
        and words.get(name, MISSING) == value
    }


def with_words(
    written: Mapping[str, Any],
    kept: Mapping[str, Any],
    generation: Mapping[str, Any],
    spec: Mapping[str, Any],
    layout: Layout,
) -> dict[str, Any]:
    """A written config.json with the words in which another one said the same, and with its foreign
    fields.

    What generation_config.json says in place of a field leaves that field as it was.
    """
    result = dict(written)
    overruled = {
        path for name, path in layout.generation.items() if _still(generation.get(name), path, spec)
    }
    fields = dict(_in_order(layout))
    names = {
        other: (name, entry) for name, entry in fields.items() for other in (name, *entry.also)
    }
    for name, value in kept.items():
        field_name, entry = names.get(name, (None, None))
        if entry is None or _idle(entry, spec):
            result[name] = value
        elif field_name != name:
            default = layout.constants.get(name, MISSING) == value
            result[name] = value if default else written.get(str(field_name), value)
        elif overruled.intersection(_paths(entry)) or _says_the_same(name, value, entry, spec):
            result[name] = value
    for name, entry in fields.items():
        for other in entry.also:
            if "." in other and other.partition(".")[0] in kept and name in written:
                result = _put(result, other, written[name])
    return result


def write_generation(
    generation: Mapping[str, Any], spec: Mapping[str, Any], layout: Layout
) -> dict[str, Any]:
    """A generation_config.json that was read, with the ids that the spec has now."""
    result = dict(generation)
    for name, path in layout.generation.items():
        given = generation.get(name)
        foreign = given is None or layout.constants.get(name, MISSING) == given
        fixed = path == "tokens.padding" and _get(spec, NETWORK_PADDING) is not None
        if not (foreign or fixed or _still(given, path, spec)):
            result[name] = _get(spec, path)
    return result


def left_over(config: Mapping[str, Any], layout: Layout) -> list[str]:
    """Fields of a config.json that the layout neither reads nor lists as meaningless to a network."""
    others = {other.partition(".")[0] for _, entry in _in_order(layout) for other in entry.also}
    known = {*layout.config, *others, *layout.ignored, *layout.constants, *EVERYWHERE}
    return sorted(name for name in config if name not in known and not name.startswith("_"))


def field_of(path: str, layout: Layout) -> str | None:
    """The field of a config.json that says what stands at a path of the spec, or above it."""
    places = {place: name for name, entry in _in_order(layout) for place in _paths(entry) if place}
    parts = path.split(".")
    found = [places.get(".".join(parts[:length])) for length in range(len(parts), 0, -1)]
    return next((name for name in found if name), None)


def differences(ours: Any, theirs: Any, path: str = "") -> list[str]:
    """Paths at which two plain specs differ."""
    if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
        keys = sorted({*ours, *theirs}, key=str)
        return [
            d
            for key in keys
            for d in differences(
                ours.get(key), theirs.get(key), f"{path}.{key}" if path else str(key)
            )
        ]
    if isinstance(ours, list | tuple) and isinstance(theirs, list | tuple):
        return [] if list(ours) == list(theirs) else [path]
    return [] if ours == theirs else [path]


def _in_order(layout: Layout) -> Iterator[tuple[str, ConfigField]]:
    """The fields of a layout: those that choose a section before those of its parts, conditional
    ones last.
    """
    fields = [
        (name, entry if isinstance(entry, ConfigField) else ConfigField(path=entry))
        for name, entry in layout.config.items()
    ]

    def rank(named: tuple[str, ConfigField]) -> tuple[bool, int]:
        entry = named[1]
        return entry.under is not None, min(
            len(path.split(".")) if path else 0 for path in _paths(entry)
        )

    yield from sorted(fields, key=rank)


def _idle(entry: ConfigField, spec: Mapping[str, Any]) -> bool:
    """Whether the spec lacks what the field needs to have a meaning."""
    return entry.under is not None and _get(spec, entry.under) in (MISSING, None, False)


def _said(config: Mapping[str, Any], name: str, entry: ConfigField) -> tuple[str, Any] | None:
    """The first name of a field that says something, and what; null says something where no other
    name does.
    """
    found = [(other, _get(config, other)) for other in (name, *entry.also)]
    present = [(other, value) for other, value in found if value is not MISSING]
    speaking = [(other, value) for other, value in present if value is not None]
    return next(iter(speaking or present), None)


def _other_names(
    config: Mapping[str, Any], layout: Layout, entry: ConfigField, key: str, value: Any
) -> Iterator[str]:
    """Other names of a field that say another value; one that holds its class's default says
    nothing.
    """
    for other in entry.also:
        given = _get(config, other)
        if (
            other == key
            or given in (MISSING, None)
            or layout.constants.get(other, MISSING) == given
        ):
            continue
        if _ours(other, given, entry) != value:
            yield _differ(key, _get(config, key), other, given)


def _differ(first: str, value: Any, other: str, found: Any) -> str:
    return f"config.json says {first} {value!r} and {other} {found!r}, of which {first} is read"


def _with_generation(
    data: dict[str, Any],
    layout: Layout,
    generation: Mapping[str, Any],
    told: dict[str, tuple[str, Any]],
) -> tuple[dict[str, Any], list[str]]:
    """The ids of a generation_config.json in place of those of config.json; the network's padding
    is not its to say.
    """
    remarks = []
    for name, path in layout.generation.items():
        given = generation.get(name)
        before = _get(data, path)
        if given is None or given == before or layout.constants.get(name, MISSING) == given:
            continue
        here = f"generation_config.json says {name} {given!r}"
        if (
            _get(data, NETWORK_PADDING) == before
            and path == "tokens.padding"
            and before is not None
        ):
            remarks.append(f"{here}, but padding of the network is {before!r}")
            continue
        within = isinstance(given, list) and before in given
        if path in told and before is not None and not within:
            remarks.append(f"{here} and config.json {before!r}, of which the former is read")
        data = _put(data, path, given)
        told[path] = (f"{name} of generation_config.json", given)
    return data, remarks


def _within_vocabulary(
    data: dict[str, Any], told: Mapping[str, tuple[str, Any]]
) -> tuple[dict[str, Any], list[str]]:
    """Without the ids of special tokens that the vocabulary does not have, as some published files
    hold.
    """
    vocab, tokens = _get(data, "dims.vocab"), _get(data, "tokens")
    if not isinstance(vocab, int) or not isinstance(tokens, Mapping):
        return data, []
    remarks = []
    for path in (*(f"tokens.{name}" for name in tokens), NETWORK_PADDING):
        value = _get(data, path)
        inside = _inside(value, vocab)
        if inside != value and value is not MISSING:
            data = _put(data, path, inside)
            name, _ = told.get(path, (path, None))
            remarks.append(
                f"{name} {value!r} is outside the vocabulary of {vocab} and counts as none"
            )
    return data, remarks


def _inside(value: Any, vocab: int) -> Any:
    """An id, or the ids of a list, as far as a vocabulary has them; other things pass."""
    if isinstance(value, list | tuple) and all(type(part) is int for part in value):
        return [part for part in value if 0 <= part < vocab] or None
    return value if type(value) is not int or 0 <= value < vocab else None


def _still(given: Any, path: str, spec: Mapping[str, Any]) -> bool:
    """Whether an id, or a list of ids, is what the spec has at a path."""
    return given is not None and _inside(given, _get(spec, "dims.vocab")) == _get(spec, path)


def _says_the_same(name: str, value: Any, entry: ConfigField, spec: Mapping[str, Any]) -> bool:
    try:
        ours = _ours(name, value, entry)
    except CheckpointError:
        return False
    own = f"heads.options.{_get(spec, 'heads.default')}."
    path = min(_paths(entry), key=lambda path: not path.startswith(own))
    now = _get(spec, path)
    if path.startswith("tokens.") or path == NETWORK_PADDING:
        ours = _inside(ours, _get(spec, "dims.vocab"))
    if now is MISSING:
        return path.startswith("heads.options.")
    return _holds(now, ours, path, ())


def _paths(entry: ConfigField) -> tuple[str, ...]:
    return (entry.path,) if isinstance(entry.path, str) else entry.path


def _ours(name: str, value: Any, entry: ConfigField) -> Any:
    for theirs, ours in entry.values.items():
        if type(theirs) is type(value) and theirs == value:
            return ours
    chooses = any(isinstance(ours, Mapping) for ours in entry.values.values())
    if entry.only or chooses:
        allowed = ", ".join(repr(theirs) for theirs in entry.values)
        raise CheckpointError(f"config.json: {name} is {value!r}; this family has: {allowed}")
    return value + entry.offset if entry.offset and isinstance(value, int) else value


def _theirs(value: Any, entry: ConfigField, path: str, said: Container[str]) -> Any:
    for theirs, ours in entry.values.items():
        if _holds(value, ours, path, said):
            return theirs
    if entry.only or any(isinstance(ours, Mapping) for ours in entry.values.values()):
        return MISSING
    return value - entry.offset if entry.offset and isinstance(value, int) else value


def _holds(value: Any, wanted: Any, path: str, said: Container[str]) -> bool:
    """Whether a value equals the wanted one, or has it as a part, apart from what is `said`
    elsewhere.
    """
    if isinstance(wanted, Mapping):
        return isinstance(value, Mapping) and all(
            (below := f"{path}.{key}".lstrip(".")) in said
            or _holds(value.get(key), part, below, said)
            for key, part in wanted.items()
        )
    if isinstance(wanted, list | tuple):
        return isinstance(value, list | tuple) and sorted(map(str, value)) == sorted(
            map(str, wanted)
        )
    if isinstance(value, float) and type(wanted) is int:
        return value == wanted
    return type(value) is type(wanted) and value == wanted


def _get(data: Any, path: str) -> Any:
    """The value at a dotted path, MISSING where there is none; below a list, whether it holds that
    name.
    """
    if isinstance(data, Mapping) and path in data:  # a name of the authors' may hold dots
        return data[path]
    for part in path.split(".") if path else ():
        if isinstance(data, list | tuple):
            return part in data
        data = data.get(part, MISSING) if isinstance(data, Mapping) else MISSING
    return data


def _put(data: Mapping[str, Any], path: str, value: Any) -> dict[str, Any]:
    """Data with a value at a dotted path; sections merge, and below a list a boolean adds or
    removes that name.
    """
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


# True of one folder of weights only: who wrote it, of which class, what else lay there, how its
# numbers were stored.
OF_THE_FOLDER = frozenset(
    [
        "architectures",
        "auto_map",
        "dtype",
        "model_type",
        "pruned_heads",
        "quantization_config",
        "torch_dtype",
        "transformers_version",
    ]
)
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

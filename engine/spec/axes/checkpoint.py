"""The same network in the files of other libraries: names of tensors and settings.

Patterns of `names` use the letters that docs/architecture.md lists, among them: d model width,
h heads, g key and value heads, k width of a head, f features that enter, o features that leave,
v vocabulary, r distances.
"""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, field_validator

from engine.spec.axes.base import Axis

# Of a field within the spec; none is nested so deep.
DottedPath = Annotated[str, Field(max_length=200)]


# Entries of lists that follow from another field of a spec, by the name of the list.
_REPEATED = {"score": "position", "mask": "window"}


def _without_repetition(section: Any) -> Any:
    """A section of a spec without what older specs say in it a second time."""
    if not isinstance(section, Mapping):
        return section
    kept = {}
    for key, value in section.items():
        if key == "streams":
            continue
        if isinstance(value, list | tuple) and key in _REPEATED:
            value = [entry for entry in value if entry != _REPEATED[key]]
        kept[key] = _without_repetition(value)
    return kept


class ConfigField(Axis):
    """Where a field of a foreign config.json stands in the spec."""

    path: DottedPath | tuple[DottedPath, ...]
    """Our dotted path; several take the same value."""
    values: dict[Any, Any] = {}
    """Their values with ours, where these differ: a value may be a whole section, which is merged
    at the path; values that are not listed pass unchanged."""
    only: bool = False
    """Whether values that are not listed are refused, as for a field that chooses a section."""
    entries: dict[Any, str] = {}
    """Where the field is a list with an entry a layer, their entries with ours; our list may be
    shorter and begin anew."""
    runs: bool = False
    """Whether that list says how often: a list of pairs, each of entries and how often they come
    (GPT-Neo's attention_types)."""
    period: tuple[str, str] | tuple[str, str, str] | None = None
    """Where the field is a number n: our list has the first of these n - 1 times and the second
    once, which is read and not written. With a third every n-th layer is counted from the lowest
    one, which alone is the third."""
    numbered: tuple[str, str] | None = None
    """Where the field is a list of layers' numbers from 0: our list has the second of these for
    layers that are in it, the first for others."""
    leading: tuple[str, str] | None = None
    """Where the field is a number n: our list has the first of these for the lowest n layers, the
    second for others."""
    factor: float | DottedPath = 1.0
    """Multiplied with their number to make ours: a number, of which a whole number of theirs keeps
    the whole part, or the path of one, such as dims.model."""
    offset: int = 0
    """Added to their number, behind `factor`, to make ours."""
    power: float = 1.0
    """To which their number is raised to make ours: -1 where they divide by what is multiplied here."""
    under: str | dict[DottedPath, Any] | tuple[dict[DottedPath, Any], ...] | None = None
    """What the spec must hold for the field to be read, where published code ignores it otherwise:
    a path, paths with their values, or several of these, of which one must hold."""
    also: tuple[str, ...] = ()
    """Other names of the field, read where it is absent and compared where it is not."""

    @field_validator("values")
    @classmethod
    def _as_resolved(cls, values: dict[Any, Any]) -> dict[Any, Any]:
        # Sections are compared with those of a resolved spec, which says each fact once.
        return {theirs: _without_repetition(ours) for theirs, ours in values.items()}


class Layout(Axis):
    """The same tensors and settings under the names that another library gives them.

    Null for a field, name, alias, class or constant takes back what a parent spec says of it.
    """

    model_type: str
    """The type in their config.json."""
    prefix: str | None = None
    """What stands before the backbone's names in a model with a head."""
    architectures: dict[str, str | tuple[str, ...]] = {}
    """Their class, or classes, by our head name; `none` is the bare backbone."""
    config: dict[str, DottedPath | ConfigField] = {}
    """Fields of config.json with our paths; a field of a section of theirs is named with a dot, as
    in rope_scaling.factor."""
    generation: dict[str, str] = {
        "pad_token_id": "tokens.padding",
        "bos_token_id": "tokens.bos",
        "eos_token_id": "tokens.eos",
    }
    """Fields of generation_config.json with our paths."""
    defaults: dict[str, Any] = {}
    """What their class takes for fields that a config.json leaves out, where this spec differs."""
    constants: dict[str, Any] = {}
    """Their class's values of fields that no network depends on."""
    ignored: tuple[str, ...] = ()
    """Fields of config.json that mean nothing here."""
    names: dict[str, str | tuple[str, str]] = {}
    """Our names with theirs, and an einops pattern where axes differ; `*` is the layer."""
    aliases: dict[str, str] = {}
    """Second names of their tensors with the names that stand in `names`: a load reads either."""
    buffers: tuple[str, ...] = ()
    """Constants among the tensors, which may be missing."""
    unused: tuple[str, ...] = ()
    """Learned tensors for which this network has no use; a load reports them."""
    home: dict[str, Any] | None = None
    """The settings for which the layout was written: what no field says has to be as it is here."""

    @field_validator(
        "architectures", "config", "constants", "names", "aliases", "generation", mode="before"
    )
    @classmethod
    def _take_back(cls, entries: Any) -> Any:
        if not isinstance(entries, Mapping):
            return entries
        return {key: value for key, value in entries.items() if value is not None}


class Foreign(Axis):
    """What files of another library said beside the network, kept to be written again."""

    config: dict[str, Any] = {}
    """Fields of config.json."""
    generation: dict[str, Any] = {}
    """Fields of generation_config.json."""


class OriginalLayout(Layout):
    """The authors' own file: one pickle with tensors and settings."""

    tensors: tuple[str, ...]
    """Dotted places of the tensors, of which the first that is there counts."""
    settings: tuple[str, ...]
    """Dotted places of the settings, likewise; `rows of NAME` is the length of a tensor."""
    zeros: tuple[str, ...] = ()
    """Parameters of ours that the file lacks because they would be zero."""


class Checkpoint(Axis):
    """Published layouts of the same network."""

    huggingface: Layout | None = None
    """The layout of transformers."""
    original: OriginalLayout | None = None
    """The layout of the authors' code."""
    foreign: Foreign | None = None
    """What came with a checkpoint that was loaded."""

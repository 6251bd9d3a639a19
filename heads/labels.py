"""How many labels a head chooses among, and their names."""

from collections.abc import Mapping
from typing import Any

from pydantic import PositiveInt, field_validator, model_validator
from pydantic_core import PydanticCustomError
from typing_extensions import Self

from engine.network.head import HeadOptions


class LabelOptions(HeadOptions):
    """How many labels there are, and their names both ways, as config.json has them."""

    num_labels: PositiveInt = 2
    """How many labels there are; where it is left out, as many as `id2label` names, or 2."""
    id2label: dict[int, str] | None = None
    """The name of each label id."""
    label2id: dict[str, int] | None = None
    """The id of each name."""

    @model_validator(mode="before")
    @classmethod
    def _counted(cls, data: Any) -> Any:
        if (
            isinstance(data, Mapping)
            and "num_labels" not in data
            and isinstance(data.get("id2label"), Mapping)
        ):
            return {**data, "num_labels": len(data["id2label"])}
        return data

    @field_validator("id2label", mode="before")
    @classmethod
    def _numbered(cls, names: Any) -> Any:
        if not isinstance(names, Mapping):
            return names
        # JSON has no numbers for keys, so that files carry them as text.
        return {int(key) if str(key).isdecimal() else key: name for key, name in names.items()}

    @model_validator(mode="after")
    def _named(self) -> Self:
        if self.id2label is not None and len(self.id2label) != self.num_labels:
            text = (
                f"id2label names {len(self.id2label)} labels, but num_labels is {self.num_labels}"
            )
            raise PydanticCustomError("rule", "{text}", {"text": text})
        if wrong := self._wrong_ids():
            raise PydanticCustomError("rule", "{text}", {"text": wrong})
        return self

    def _wrong_ids(self) -> str | None:
        """What is wrong with the ids of the two maps, or with the maps beside one another."""
        last = self.num_labels - 1
        numbered, named = self.id2label or {}, self.label2id or {}
        for name, ids in (("id2label", list(numbered)), ("label2id", list(named.values()))):
            if outside := [number for number in ids if not 0 <= number <= last]:
                return f"{name} has the id {outside[0]}, outside 0 … {last} (num_labels is {self.num_labels})"
        for label, number in named.items():
            if numbered.get(number, label) != label:
                return f"label2id gives '{label}' the id {number}, which id2label calls '{numbered[number]}'"
        return None

    @classmethod
    def combined(cls, options: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
        """A spec's options under those of a call; another number of labels, or other names, replace
        all of the old ones.
        """
        fresh = {"num_labels", "id2label"} & set(given)
        kept = {
            name: value
            for name, value in options.items()
            if not (
                fresh
                and name in ("num_labels", "id2label", "label2id")
                and given.get(name) != value
            )
        }
        return {**kept, **given}

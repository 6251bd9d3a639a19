"""The section of a spec that a head defines for itself."""

from collections.abc import Iterator, Mapping
from typing import Any

from engine.spec.axes import Axis
from engine.spec.model import Spec


class HeadOptions(Axis):
    """Options of a head, as strict as every other section of a spec."""

    def problems(self, spec: Spec) -> Iterator[tuple[str, str]]:
        """What contradicts the spec that the head stands on: (option, what is wrong and what would
        be right).
        """
        for name in type(self).model_fields:
            section = getattr(self, name)
            if isinstance(section, HeadOptions):
                yield from ((f"{name}.{path}", text) for path, text in section.problems(spec))

    @classmethod
    def combined(cls, options: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
        """A spec's options with those of a call laid over them."""
        return {**options, **given}

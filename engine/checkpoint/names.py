"""The grammar of weight maps: our name → their name, an optional einops pattern, and groups that
they fuse.

    blocks.*.attention_norm: layer.*.rel_attn.layer_norm      a module and all below it
    blocks.*.attention.query.weight: [layer.*.rel_attn.q, "d h k -> (h k) d"]  their axes → ours
    blocks.*.attention.(query key value).bias: [h.*.attn.c_attn.bias, "(c o) -> c o"]
                                                                 c counts the group
    blocks.*.feed_forward.experts.up: layers.*.mlp.experts.*.up_proj           a tensor an expert

`*` stands for a number; the last of theirs, where they have one more, for each expert of ours, whose
tensors lie in one. Names of a head begin with `heads.NAME` and are whole; all others stand
below the layout's prefix.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor

from engine.errors import CheckpointError
from engine.spec import Spec
from engine.spec.axes import Layout

GROUP = re.compile(r"\(([^)]*)\)")


@dataclass(frozen=True)
class Slot:
    """One of their tensors, the tensors of ours that it holds, and the pattern between them (theirs
    -> ours). A name of theirs with `*` is that of a tensor for each expert; they count as one, with
    experts as its first axis.
    """

    theirs: str
    ours: tuple[str, ...]
    pattern: str | None = None

    def read(self, tensor: Tensor, sizes: Mapping[str, int]) -> dict[str, Tensor]:
        """Our tensors by name, from theirs."""
        if self.pattern is not None:
            tensor = rearrange(tensor, self.pattern, **_used(self.pattern, self._sizes(sizes)))
        if len(self.ours) == 1:
            return {self.ours[0]: tensor}
        return dict(zip(self.ours, tensor.unbind(0), strict=True))

    def write(self, tensors: Mapping[str, Tensor], sizes: Mapping[str, int]) -> Tensor:
        """Their tensor, from ours: the inverse of `read`."""
        parts = [tensors[name] for name in self.ours]
        tensor = torch.stack(parts) if len(parts) > 1 else parts[0]
        if self.pattern is not None:
            theirs, ours = self.pattern.split("->")
            back = f"{ours} -> {theirs}"
            tensor = rearrange(tensor, back, **_used(back, self._sizes(sizes)))
        return tensor.contiguous()

    def named(self, tensor: Tensor) -> Iterator[tuple[str, Tensor]]:
        """Their tensor as it is named in a file, or those of each expert."""
        if "*" not in self.theirs:
            yield self.theirs, tensor
            return
        for number, part in enumerate(tensor):
            yield self.theirs.replace("*", str(number)), part

    def _sizes(self, sizes: Mapping[str, int]) -> dict[str, int]:
        return {**sizes, "c": len(self.ours)}


def axis_sizes(spec: Spec) -> dict[str, int]:
    """Lengths of the axis letters that patterns may use: d model, h heads, g key and value heads, k
    head, f inner, v vocab, e experts.
    """
    dims, sizes = spec.dims, {}
    for one in spec.of_layers():
        if one.ffn.experts is not None:
            sizes["e"] = one.ffn.experts.count
    return sizes | {
        "d": dims.model,
        "h": dims.heads,
        "g": dims.kv_heads,
        "k": dims.head,
        "f": dims.inner,
        "v": dims.vocab,
    }


def slots_of(
    names: Iterable[str],
    head: str | None,
    layout: Layout,
    prefix: str,
    *,
    partial: bool = False,
    owners: Mapping[str, str] | None = None,
) -> list[Slot]:
    """The slots that hold these tensors of ours (raises CheckpointError that lists all names
    without an entry).

    `prefix` is put before every name that belongs to no head ("" or "transformer."). With `partial`
    tensors may have no entry and get no slot. `owners` gives the first name of a tied parameter for
    each of its names: one entry is enough.
    """
    entries = [(_expression(ours), ours, theirs) for ours, theirs in layout.names.items()]
    slots: dict[tuple[str, str | None], dict[int, str]] = {}
    unknown, known, owners = [], set(), owners or {}
    for name in names:
        public = f"heads.{head}.{name.removeprefix('head.')}" if name.startswith("head.") else name
        found = [
            (match, ours, theirs)
            for expression, ours, theirs in entries
            if (match := expression.match(public))
        ]
        if not found:
            unknown.append(name)
            continue
        known.add(owners.get(name, name))
        match, ours, theirs = max(found, key=_particular)
        target, pattern = (theirs, None) if isinstance(theirs, str) else theirs
        for number in _numbers(match):
            target = target.replace("*", number, 1)
        target += match.group("rest") or ""
        whole = target if public.startswith("heads.") else prefix + target
        order = _members(ours).index(match.group("member")) if "member" in match.groupdict() else 0
        slots.setdefault((whole, pattern), {})[order] = name
    unknown = [name for name in unknown if owners.get(name, name) not in known]
    if unknown and not partial:
        raise no_names_for(unknown, layout)
    return [
        Slot(whole, tuple(group[i] for i in sorted(group)), pattern)
        for (whole, pattern), group in slots.items()
    ]


def no_names_for(names: Iterable[str], layout: Layout) -> CheckpointError:
    """The error for tensors of ours that the map does not name; layers count once."""
    layered = dict.fromkeys(re.sub(r"(?<=\.)\d+(?=\.)", "*", name) for name in names)
    return CheckpointError(f"layout {layout.model_type} has no names for: {', '.join(layered)}")


def _particular(entry: tuple[re.Match[str], str, object]) -> tuple[int, int, str]:
    """How much an entry of a map says of a name: a longer one more, a number more than `*`."""
    _, ours, _ = entry
    return len(ours), -ours.count("*"), ours


def _expression(ours: str) -> re.Pattern[str]:
    members = GROUP.search(ours)
    text = re.escape(GROUP.sub("MEMBER", ours)).replace(r"\*", r"(\d+)")
    if members:
        text = text.replace("MEMBER", "(?P<member>" + "|".join(_members(ours)) + ")")
    return re.compile(text + r"(?P<rest>\..+)?$")


def _members(ours: str) -> list[str]:
    found = GROUP.search(ours)
    if found is None:
        return []
    return found.group(1).split()


def _numbers(match: re.Match[str]) -> list[str]:
    named = {match.re.groupindex[name] for name in match.re.groupindex}
    return [text for index, text in enumerate(match.groups(), start=1) if index not in named]


def _used(pattern: str, sizes: Mapping[str, int]) -> dict[str, int]:
    letters = set(re.findall(r"[a-z]+", pattern))
    return {name: size for name, size in sizes.items() if name in letters}

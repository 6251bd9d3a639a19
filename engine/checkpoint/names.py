"""The grammar of weight maps: our name → their name, an optional einops pattern, and groups that
they fuse.

    blocks.*.attention_norm: layer.*.rel_attn.layer_norm      a module and all below it
    blocks.*.attention.query.weight: [layer.*.rel_attn.q, "d h k -> (h k) d"]  their axes → ours
    blocks.*.attention.(query key value).bias: [h.*.attn.c_attn.bias, "(c o) -> c o"]
                                                                 c counts the group
    blocks.*.attention.(query:h key:g value:g).bias: [h.*.qkv.bias, "(c k) -> (c k)"]
                                                                 so many steps of c each
    blocks.*.feed_forward.experts.up: layers.*.mlp.experts.*.up_proj           a tensor an expert

`*` stands for a number, which may be another one there, as in 2*+1; the last of theirs, where they
have one more, for each expert of ours, whose tensors lie in one. Names of a head begin with
`heads.NAME` and are whole; all others stand below the layout's prefix.
"""

import functools
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.checkpoint.patterns import put_together, take_apart, turned
from engine.errors import CheckpointError
from engine.spec import Spec
from engine.spec.axes import Layout
from engine.spec.weight_maps import GROUP, STAR


@dataclass(frozen=True)
class Slot:
    """One of their tensors, the tensors of ours that it holds, and the pattern between them (theirs
    -> ours); where these are not alike, the length of each along `c`, a letter or a number. A name
    of theirs with `*` is that of a tensor for each expert; they count as one, with experts as its
    first axis.
    """

    theirs: str
    ours: tuple[str, ...]
    pattern: str | None = None
    lengths: tuple[str, ...] = ()

    def read(self, tensor: Tensor, sizes: Mapping[str, int]) -> dict[str, Tensor]:
        """Our tensors by name, from theirs."""
        if self.lengths and self.pattern is not None:
            parts = take_apart(tensor, self.pattern, self._parts(sizes), sizes)
            return dict(zip(self.ours, parts, strict=True))
        if self.pattern is not None:
            tensor = turned(tensor, self.pattern, self._sizes(sizes))
        if len(self.ours) == 1:
            return {self.ours[0]: tensor}
        return dict(zip(self.ours, tensor.unbind(0), strict=True))

    def write(self, tensors: Mapping[str, Tensor], sizes: Mapping[str, int]) -> Tensor:
        """Their tensor, from ours: the inverse of `read`."""
        parts = [tensors[name] for name in self.ours]
        if self.lengths and self.pattern is not None:
            return put_together(parts, self.pattern, self._parts(sizes), sizes).contiguous()
        tensor = torch.stack(parts) if len(parts) > 1 else parts[0]
        if self.pattern is not None:
            tensor = turned(tensor, self.pattern, self._sizes(sizes), back=True)
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

    def _parts(self, sizes: Mapping[str, int]) -> list[int]:
        return [sizes[length] if length in sizes else int(length) for length in self.lengths]


def axis_sizes(spec: Spec) -> dict[str, int]:
    """Lengths of the axis letters that patterns may use: d model, h heads, g key and value heads, q
    heads that share one of these, k head, f inner, v vocab, e experts.
    """
    dims, sizes = spec.dims, {}
    for one in spec.of_layers():
        if one.ffn.experts is not None:
            sizes["e"] = one.ffn.experts.count
    return sizes | {
        "d": dims.model,
        "h": dims.heads,
        "g": dims.kv_heads,
        "q": dims.heads // dims.kv_heads,
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
    slots: dict[tuple[str, str | None, tuple[str, ...]], dict[int, str]] = {}
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
        for number in map(int, _numbers(match)):
            target = STAR.sub(functools.partial(_number_there, number), target, 1)
        target += match.group("rest") or ""
        whole = target if public.startswith("heads.") else prefix + target
        members = _members(ours)
        order = list(members).index(match.group("member")) if members else 0
        lengths = tuple(members.values())
        slots.setdefault((whole, pattern, lengths), {})[order] = name
    unknown = [name for name in unknown if owners.get(name, name) not in known]
    if unknown and not partial:
        raise no_names_for(unknown, layout)
    return [
        Slot(
            whole,
            tuple(group[i] for i in sorted(group)),
            pattern,
            tuple(lengths[i] for i in sorted(group) if any(lengths)),
        )
        for (whole, pattern, lengths), group in slots.items()
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


def _members(ours: str) -> dict[str, str]:
    """The parts of a group by name, each with its length along `c` where that is said."""
    found = GROUP.search(ours)
    if found is None:
        return {}
    parts = (part.partition(":") for part in found.group(1).split())
    return {name: length for name, _, length in parts}


def _number_there(number: int, found: re.Match[str]) -> str:
    """What stands in a name of theirs for the number of a layer of ours."""
    steps, offset = found.groups()
    return str(int(steps or 1) * number + int(offset or 0))


def _numbers(match: re.Match[str]) -> list[str]:
    named = {match.re.groupindex[name] for name in match.re.groupindex}
    return [text for index, text in enumerate(match.groups(), start=1) if index not in named]

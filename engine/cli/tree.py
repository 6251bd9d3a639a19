"""A model as a printable tree: modules, shapes and parameter counts, equal blocks once, shared
tensors counted once.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby

from pydantic import BaseModel
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text
from torch import Tensor, nn

from engine.checkpoint.plan import OPTIONAL, Plan
from engine.model import Model
from engine.network.experts import active_parameters
from engine.spec import Spec

ITEM_BYTES = {"float32": 4, "bfloat16, float16": 2}


@dataclass
class Node:
    """One row: a module or tensor with its shape, what its own tensors count, and the rows below
    it.
    """

    name: str
    shape: str = ""
    count: int = 0
    note: str = ""
    repeats: int = 1
    children: list["Node"] = field(default_factory=list)

    @property
    def total(self) -> int:
        """Parameters here and below, repeats included."""
        return self.repeats * (self.count + sum(child.total for child in self.children))

    @property
    def alike(self) -> str:
        """Equal for rows that differ only in name."""
        return repr(
            (
                self.shape,
                self.count,
                self.note,
                self.repeats,
                [(c.name, c.alike) for c in self.children],
            )
        )


def render(model: Model) -> Iterator[RenderableType]:
    """The axes in words, the tree, and the totals."""
    yield Text(model.spec.name, style="bold")
    facts = _grid(2)
    for name, words in axis_facts(model.spec):
        facts.add_row(f"  {name}", words)
    yield facts
    table = _grid(4, 3)
    table.columns[2].justify = "right"
    table.columns[3].style = "dim"
    root = tree(model)
    for guide, node in _rows(root.children, "  "):
        label = node.name if node.repeats == 1 else f"{node.name} × {node.repeats}"
        single = (
            f"{node.repeats} × {node.total // node.repeats:,}" if node.repeats > 1 else node.note
        )
        table.add_row(guide + label, node.shape, f"{node.total:,}" if node.total else "", single)
    yield table
    totals = _grid(2)
    for name, words in sizes(model):
        totals.add_row(f"  {name}", words)
    yield totals


def render_plan(plan: Plan) -> Iterator[RenderableType]:
    """What of a checkpoint would be read, drawn anew and left over, with shapes."""
    yield Text("weights", style="bold")
    table = _grid(4)
    for row in plan.rows:
        theirs = row.theirs or plan.looked_for.get(row.ours, "")
        if row.fits:
            fate = "read"
        elif row.theirs is not None:
            fate = f"of another shape, drawn anew: {_shape(row.found or ())}"
        elif row.ours in plan.zeros:
            fate = "zero"
        elif not theirs:
            fate = "no name in the map"
        else:
            fate = "missing, drawn anew" if row.ours.startswith(OPTIONAL) else "missing"
        table.add_row(f"  {row.ours}", _shape(row.shape), theirs, fate)
    for name, shape in plan.left_over.items():
        table.add_row("  ", _shape(shape), name, "left over")
    yield table
    for said in plan.source.remarks:
        yield f"  {said}"
    if plan.source.config_left_over:
        yield f"  fields of config.json left over: {', '.join(plan.source.config_left_over)}"


def _shape(sizes: tuple[int, ...]) -> str:
    return " × ".join(map(str, sizes))


def tree(model: nn.Module) -> Node:
    """The rows of a model; a tensor under a second name is a note, not a count."""
    owners: dict[int, str] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        owners.setdefault(id(parameter), name)
    return _node(model, "", "", owners)


def axis_facts(spec: Spec) -> Iterator[tuple[str, str]]:
    """The axes that a reader asks for first, in words."""
    dims, attention, norm = spec.dims, spec.attention, spec.norm
    grouped = f" over {dims.kv_heads} of keys and values" if dims.kv_heads != dims.heads else ""
    yield (
        "dims",
        f"{dims.layers} layers, model {dims.model}, {dims.heads} heads of {dims.head}{grouped}, inner {dims.inner}, "
        f"vocabulary {dims.vocab:,}",
    )
    if spec.layers is not None:
        yield "layers", ", ".join(spec.layers.pattern)
    if (encoder := spec.of_encoder()) is not None:
        inner, shared = (
            encoder.dims,
            "shared" if spec.encoder and spec.encoder.shared_tokens else "own",
        )
        yield (
            "encoder",
            f"{inner.layers} layers, model {inner.model}, {inner.heads} heads of {inner.head}, inner {inner.inner}, "
            f"{shared} tokens, position {_section(encoder.position)}",
        )
    yield "position", _section(spec.position)
    yield "scores", " + ".join(spec.score_terms)
    yield "mask", " and ".join(attention.rules) or "none"
    yield "streams", "two" if spec.two_streams else "one"
    yield "memory", _section(spec.memory)
    places = norm.placement if isinstance(norm.placement, str) else " and ".join(norm.placement)
    yield (
        "norm",
        f"{norm.kind}, {places}, eps {norm.eps_at('blocks'):g}{', final norm' if spec.final_norm else ''}",
    )
    yield "feed-forward", _feed_forward(spec)
    yield (
        "head",
        f"{spec.heads.default}, output layer {spec.heads.output.kind}"
        if spec.heads.default
        else "none",
    )


def sizes(model: Model) -> Iterator[tuple[str, str]]:
    """Parameters, bytes of weights, and bytes that each remembered token costs."""
    parameters = list(model.parameters())
    count = sum(parameter.numel() for parameter in parameters)
    fixed = sum(parameter.numel() for parameter in parameters if not parameter.requires_grad)
    yield "parameters", f"{count:,}" + (f", of which {fixed:,} are fixed" if fixed else "")
    if (active := active_parameters(model)) != count:
        yield "active a token", f"{active:,}"
    yield "weights", _by_type(count)
    for kind, held in model.spec.memory_per_token().items():
        yield "memory a token", f"{_by_type(held)} as {kind}"


def _feed_forward(spec: Spec) -> str:
    words: list[str] = [spec.ffn.activation]
    if spec.ffn.gated:
        words.append("gated")
    for one in dict.fromkeys(layer.ffn.experts for layer in spec.of_layers()):
        if one is not None:
            words.append(f"{one.active} of {one.count} experts of {one.inner or spec.dims.inner}")
        if one is not None and one.shared is not None:
            words.append(f"{one.shared.count} shared")
    return ", ".join(words)


def _grid(columns: int, gap: int = 2) -> Table:
    table = Table.grid(padding=(0, gap))
    for _ in range(columns):
        table.add_column(no_wrap=True)
    return table


def _section(axis: BaseModel) -> str:
    """The kind of a section and what differs from that kind's defaults, as one line."""
    said = axis.model_dump(mode="json", exclude_defaults=True, exclude={"kind"})
    return ", ".join(
        [str(dict(axis)["kind"]), *(f"{name} {json.dumps(value)}" for name, value in said.items())]
    ).replace('"', "")


def _by_type(count: int) -> str:
    return " · ".join(f"{_bytes(count * size)} ({name})" for name, size in ITEM_BYTES.items())


def _bytes(count: int) -> str:
    for unit, size in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if count >= size:
            return f"{count / size:.4g} {unit}"
    return f"{count} bytes"


def _rows(nodes: list[Node], guide: str) -> Iterator[tuple[str, Node]]:
    for node in nodes:
        last = node is nodes[-1]
        yield guide + ("└─ " if last else "├─ "), node
        yield from _rows(node.children, guide + ("   " if last else "│  "))


def _node(module: nn.Module, name: str, path: str, owners: dict[int, str]) -> Node:
    own = [
        _tensor(tensor, key, f"{path}{key}", owners)
        for key, tensor in module.named_parameters(recurse=False)
    ]
    parts = [_node(child, key, f"{path}{key}.", owners) for key, child in module.named_children()]
    children = [*own, *(part for part in parts if part.children or part.shape)]
    if isinstance(module, nn.ModuleList | nn.ParameterList):
        children = _grouped(children)
        if len(children) == 1:
            only = children[0]
            return Node(name, only.shape, only.count, only.note, only.repeats, only.children)
    if (
        isinstance(module, nn.Linear | nn.LayerNorm | nn.RMSNorm)
        and own
        and not any(row.note for row in own)
    ):
        return Node(name, _formula(module), sum(row.count for row in own))
    return Node(name, children=children)


def _tensor(tensor: Tensor, key: str, path: str, owners: dict[int, str]) -> Node:
    shape = " × ".join(map(str, tensor.shape))
    if owners[id(tensor)] != path:
        return Node(key, shape, note=f"tied to {owners[id(tensor)]}")
    return Node(key, shape, tensor.numel(), note="" if tensor.requires_grad else "fixed")


def _formula(module: nn.Linear | nn.LayerNorm | nn.RMSNorm) -> str:
    bias = " + bias" if getattr(module, "bias", None) is not None else ""
    if isinstance(module, nn.Linear):
        return f"{module.in_features} → {module.out_features}{bias}"
    return f"{module.normalized_shape[0]}{bias}"


def _grouped(nodes: list[Node]) -> list[Node]:
    """Neighbours that differ only in their number, as one row."""
    result = []
    for _, run in groupby(nodes, key=lambda node: node.alike):
        members = list(run)
        first, last = members[0], members[-1]
        name = first.name if len(members) == 1 else f"{first.name} … {last.name}"
        result.append(
            Node(
                name,
                first.shape,
                first.count,
                first.note,
                len(members) * first.repeats,
                first.children,
            )
        )
    return result

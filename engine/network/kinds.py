"""Blocks of several kinds: what the calls of each kind share is made once a kind."""

from dataclasses import dataclass, replace

from engine.memory import Memory
from engine.network.positions import Position, build_position
from engine.network.positions.position import MixedPosition
from engine.spec import Spec


@dataclass(frozen=True)
class BlockKind:
    """One kind of block."""

    spec: Spec
    """The network's, as these blocks have it."""
    position: Position
    layers: tuple[int, ...]
    """Where its blocks stand."""
    whole: bool
    """Whether all blocks are of this kind."""
    content_only: bool
    """Whether their scores are products of queries and keys, and nothing else."""

    def memory(self, memory: Memory | None) -> Memory | None:
        """What these blocks remember."""
        if memory is None or self.whole:
            return memory
        return replace(memory, layers=tuple(memory.layers[index] for index in self.layers))


def block_kinds(spec: Spec, of_layers: tuple[Spec, ...]) -> tuple[BlockKind, ...]:
    """The kinds of blocks in a network whose layers have these specs."""
    layers: dict[int, list[int]] = {}
    for index, one in enumerate(of_layers):
        layers.setdefault(id(one), []).append(index)
    kinds = []
    for indices in layers.values():
        one = of_layers[indices[0]]
        whole = len(layers) == 1
        content_only = set(one.score_terms) == {"content"}
        kinds.append(BlockKind(one, build_position(one), tuple(indices), whole, content_only))
    return tuple(kinds)


def position_of(spec: Spec, kinds: tuple[BlockKind, ...]) -> Position:
    """The position of a network with blocks of these kinds."""
    if len(kinds) == 1:
        return kinds[0].position
    return MixedPosition(spec, build_position(spec), [kind.position for kind in kinds])

"""Processes that share a run: sums over all of them, shares of rows, sharded parameters.

This file and tensor_parallel.py alone import torch.distributed; a single process needs none of it.
"""

import math
import os
import warnings
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from engine.errors import TrainingError
from engine.model import Model
from engine.training.recipe.sections import Devices
from engine.training.tensor_parallel import Cut


class Processes:
    """This process among `count` that share the rows, the first of them by default the only one.

    Where layers are cut, each of them is a team (`cut`) whose processes read the same rows.
    """

    def __init__(self, rank: int = 0, count: int = 1, device: torch.device | None = None) -> None:
        self.rank, self.count = rank, count
        self.device = device or torch.device("cpu")
        self.sharded = False
        self.cut: Cut | None = None
        self.mesh: Any = None
        """Of the processes that share the rows, where they are not all."""

    @property
    def first(self) -> bool:
        """Whether this process writes what is written once."""
        return self.rank == 0 and self.leads

    @property
    def leads(self) -> bool:
        """Whether this process writes what its team has in common."""
        return self.cut is None or self.cut.rank == 0

    @property
    def total(self) -> int:
        """How many processes there are, those of all teams."""
        return self.count if self.cut is None else self.count * self.cut.count

    @property
    def alone(self) -> bool:
        """Whether there is no other process."""
        return self.count == 1 and self.cut is None

    @property
    def group(self) -> Any:
        """The processes that share the rows; None: all."""
        return None if self.mesh is None else self.mesh.get_group()

    def share(self, rows: int) -> range:
        """Which of `rows` rows are this process's: runs of rows, as even as can be."""
        return range(self.rank * rows // self.count, (self.rank + 1) * rows // self.count)

    def largest_share(self, rows: int) -> int:
        """How many of `rows` rows the process with the most has."""
        return math.ceil(rows / self.count)

    def sum(self, *numbers: float) -> list[float]:
        """Each number summed over all processes, in double precision."""
        if self.count == 1:
            return list(numbers)
        from torch import distributed

        total = torch.tensor(numbers, dtype=torch.float64, device=self.device)
        distributed.all_reduce(total, group=self.group)
        return total.tolist()

    def all_true(self, flag: bool) -> bool:
        """Whether a flag is set on every process."""
        return not self.any_true(not flag)

    def any_true(self, flag: bool) -> bool:
        """Whether a flag is set on one process at least."""
        set_by = torch.tensor(self.sum(float(flag)), device=self.device)
        if self.cut is not None:
            self.cut.sum(set_by)
        return bool(set_by > 0)

    def wait(self) -> None:
        """Go on when all processes are here."""
        self.any_true(False)

    def gather(self, text: str) -> list[str]:
        """The texts of all processes, in their order, on the first one; nothing on the others."""
        if self.count == 1:
            return [text]
        from torch import distributed

        data = torch.frombuffer(bytearray(f"{text}\n".encode()), dtype=torch.uint8)
        slots = (len(data) * (rank == self.rank) for rank in range(self.count))
        lengths = [int(length) for length in self.sum(*slots)]
        sent = torch.zeros(max(lengths), dtype=torch.uint8)
        sent[: len(data)] = data
        sent = sent.to(self.device)
        received = None
        if self.rank == 0:
            received = [torch.empty_like(sent) for _ in lengths]
        distributed.gather(sent, received, group=self.group, group_dst=0)
        if received is None:
            return []
        return [
            part[: length - 1].cpu().numpy().tobytes().decode()
            for part, length in zip(received, lengths, strict=True)
        ]

    def cut_layers(self, model: Model) -> None:
        """Keep this process's part of each layer, where layers are cut."""
        if self.cut is not None:
            self.cut.apply(model)

    def shard(self, model: Model) -> None:
        """Cut every parameter over the processes, block by block (FSDP2); raises TrainingError for
        a network that drops whole blocks, each process another one.
        """
        if self.count == 1:
            return
        from torch.distributed.fsdp import fully_shard

        if model.spec.block.layer_drop > 0:
            raise TrainingError(
                "devices.shard: block.layer_drop skips other blocks on each process, which sharded "
                "weights do not allow: set one of them off"
            )
        # Blocks give views of their keys, which nothing here changes in place.
        warnings.filterwarnings("ignore", message="FSDP2-wrapped module", category=UserWarning)
        # Parameters that all blocks share belong to no single block.
        if model.spec.attention.query_bias != "shared" and not model.position.shared:
            for block in model.blocks:
                fully_shard(block, mesh=self.mesh)
        fully_shard(model, mesh=self.mesh)
        self.sharded = True

    def settle(self, model: Model) -> None:
        """Put away what a pass without gradients has gathered, so that parameters are shards."""
        if not self.sharded:
            return
        from torch.distributed.fsdp import FSDPModule

        for module in model.modules():
            if isinstance(module, FSDPModule):
                module.reshard()

    @property
    def loss_factor(self) -> int:
        """What a share of the loss is multiplied by: sharded gradients are means over processes."""
        if self.sharded:
            return self.count
        return 1

    def sum_gradients(self, model: Model, parameters: Iterable[nn.Parameter]) -> None:
        """Gradients summed over all processes, where each holds all weights; sharded ones are."""
        if self.cut is not None:
            self._sum_over_parts(model, self.cut)
        if self.count == 1 or self.sharded:
            return
        from torch import distributed

        learning = [parameter for parameter in parameters if parameter.requires_grad]
        given = self.sum(*(float(parameter.grad is not None) for parameter in learning))
        present = [parameter for parameter, count in zip(learning, given, strict=True) if count]
        for parameter in present:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        for bucket in _buckets(
            [parameter.grad for parameter in present if parameter.grad is not None]
        ):
            flat = torch.cat([gradient.flatten() for gradient in bucket])
            distributed.all_reduce(flat, group=self.group)
            parts = flat.split([gradient.numel() for gradient in bucket])
            for gradient, part in zip(bucket, parts, strict=True):
                gradient.copy_(part.view_as(gradient))

    def _sum_over_parts(self, model: Model, cut: Cut) -> None:
        """Gradients of whole parameters inside layers that are cut."""
        for name in sorted(cut.inside):
            gradient = model.get_parameter(name).grad
            if gradient is not None:
                cut.sum(getattr(gradient, "_local_tensor", gradient))

    def norm(self, model: Model, parameters: Iterable[nn.Parameter]) -> float:
        """The length of the gradient over all parameters."""
        gradients = {id(one): one.grad for one in parameters if one.grad is not None}
        if self.cut is None:
            return float(self.whole(nn.utils.get_total_norm([*gradients.values()])))
        parts = [id(model.get_parameter(name)) for name in self.cut.axes]
        of_parts = [gradients.pop(part) for part in parts if part in gradients]
        squares = [self.whole(nn.utils.get_total_norm(of_parts)).double() ** 2]
        self.cut.sum(squares[0])
        if gradients:
            squares.append(self.whole(nn.utils.get_total_norm([*gradients.values()])) ** 2)
        return math.sqrt(float(sum(squares)))

    def whole(self, tensor: Tensor, name: str | None = None) -> Tensor:
        """A tensor put together again from its shards, and from the parts of the parameter of that
        name; all processes call this in one order.
        """
        tensor = tensor.detach()
        if self.sharded:
            from torch.distributed.tensor import DTensor

            if isinstance(tensor, DTensor):
                tensor = tensor.full_tensor()
        if self.cut is not None and name is not None:
            tensor = self.cut.whole(tensor, name)
        return tensor

    def whole_shape(self, parameter: Tensor, name: str) -> tuple[int, ...]:
        """The shape of a parameter of which this process may have a part."""
        shape = list(parameter.shape)
        if self.cut is not None and name in self.cut.axes:
            shape[self.cut.axes[name]] *= self.cut.count
        return tuple(shape)

    def cut_like(self, whole: Tensor, like: Tensor, name: str) -> Tensor:
        """A whole tensor as the parameter of that name lies on this process."""
        if self.cut is not None:
            whole = self.cut.part(whole, name)
        if not self.sharded:
            return whole.to(like.device, copy=True)
        from torch.distributed.tensor import DTensor, distribute_tensor

        if not isinstance(like, DTensor):
            return whole.to(like.device, copy=True)
        whole = whole.to(self.device, copy=True)
        # Every process reads the same file, so nothing has to be sent.
        return distribute_tensor(whole, like.device_mesh, like.placements, src_data_rank=None)


def open_processes(devices: Devices) -> Processes:
    """The processes that a launcher such as torchrun started, or this one alone.

    Raises TrainingError for a number of them that `devices.tensor` does not divide.
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count % devices.tensor:
        raise TrainingError(
            f"devices.tensor is {devices.tensor}, of which {count} processes are no multiple: start "
            f"{devices.tensor} or more with torchrun --nproc-per-node"
        )
    device = _device(devices, int(os.environ.get("LOCAL_RANK", "0")))
    if count == 1:
        return Processes(device=device)
    from torch import distributed

    if not distributed.is_initialized():
        backend = "gloo"
        if device.type == "cuda":
            torch.cuda.set_device(device)
            backend = "nccl"
        distributed.init_process_group(backend)
    processes = Processes(distributed.get_rank(), distributed.get_world_size(), device)
    if devices.tensor > 1:
        from torch.distributed.device_mesh import init_device_mesh

        shape = (count // devices.tensor, devices.tensor)
        mesh = init_device_mesh(device.type, shape, mesh_dim_names=("rows", "tensor"))
        processes.mesh, processes.cut = mesh["rows"], Cut(mesh["tensor"])
        processes.rank, processes.count = mesh["rows"].get_local_rank(), shape[0]
    return processes


def close_processes(processes: Processes) -> None:
    """End what `open_processes` began."""
    if not processes.alone:
        from torch import distributed

        distributed.destroy_process_group()


def _device(devices: Devices, local: int) -> torch.device:
    available = torch.cuda.is_available()
    if devices.compute == "cuda" and not available:
        raise TrainingError("devices.compute is cuda, and this machine has no such device")
    if devices.compute == "cpu" or not available:
        return torch.device("cpu")
    return torch.device("cuda", local)


def _buckets(tensors: Sequence[Tensor], numbers: int = 2**24) -> list[list[Tensor]]:
    """Tensors in groups that are sent at once."""
    groups: list[list[Tensor]] = []
    filled = numbers
    for tensor in tensors:
        if filled + tensor.numel() > numbers or groups[-1][0].dtype != tensor.dtype:
            groups.append([])
            filled = 0
        groups[-1].append(tensor)
        filled += tensor.numel()
    return groups

"""Processes that share a run: sums over all of them, shares of rows, sharded parameters.

The only file that imports torch.distributed; a single process needs none of it.
"""

import math
import os
import warnings
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from engine.errors import TrainingError
from engine.model import Model
from engine.training.recipe.sections import Devices


class Processes:
    """This process among `count`, the first of them by default the only one."""

    def __init__(self, rank: int = 0, count: int = 1, device: torch.device | None = None) -> None:
        self.rank, self.count = rank, count
        self.device = device or torch.device("cpu")
        self.sharded = False

    @property
    def first(self) -> bool:
        """Whether this process writes what is written once."""
        return self.rank == 0

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
        distributed.all_reduce(total)
        return total.tolist()

    def all_true(self, flag: bool) -> bool:
        """Whether a flag is set on every process."""
        return self.sum(float(flag))[0] == self.count

    def any_true(self, flag: bool) -> bool:
        """Whether a flag is set on one process at least."""
        return self.sum(float(flag))[0] > 0

    def wait(self) -> None:
        """Go on when all processes are here."""
        self.sum(0.0)

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
        if self.first:
            received = [torch.empty_like(sent) for _ in lengths]
        distributed.gather(sent, received, dst=0)
        if received is None:
            return []
        return [
            part[: length - 1].cpu().numpy().tobytes().decode()
            for part, length in zip(received, lengths, strict=True)
        ]

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
                fully_shard(block)
        fully_shard(model)
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

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Gradients summed over all processes, where each holds all weights; sharded ones are."""
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
            distributed.all_reduce(flat)
            parts = flat.split([gradient.numel() for gradient in bucket])
            for gradient, part in zip(bucket, parts, strict=True):
                gradient.copy_(part.view_as(gradient))

    def whole(self, tensor: Tensor) -> Tensor:
        """A tensor put together again from its shards; all processes call this in one order."""
        tensor = tensor.detach()
        if not self.sharded:
            return tensor
        from torch.distributed.tensor import DTensor

        if isinstance(tensor, DTensor):
            return tensor.full_tensor()
        return tensor

    def cut_like(self, whole: Tensor, like: Tensor) -> Tensor:
        """A whole tensor as a parameter lies on this process."""
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

    Raises TrainingError for `devices.tensor` above 1, which is not offered.
    """
    if devices.tensor > 1:
        raise TrainingError(
            f"devices.tensor is {devices.tensor}: layers are not split over processes here, only "
            "rows and, with devices.shard: all, weights; set it to 1"
        )
    count = int(os.environ.get("WORLD_SIZE", "1"))
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
    return Processes(distributed.get_rank(), distributed.get_world_size(), device)


def close_processes(processes: Processes) -> None:
    """End what `open_processes` began."""
    if processes.count > 1:
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

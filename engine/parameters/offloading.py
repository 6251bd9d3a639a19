"""Weights that are kept elsewhere until a module is called: on another device (accelerate), or in
shards (FSDP2).
"""

import sys
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import torch
from torch import nn

P = ParamSpec("P")
T = TypeVar("T")


def with_weights(method: Callable[P, T]) -> Callable[P, T]:
    """A method that reads its module's own parameters outside forward: they are there while it
    runs.

    accelerate brings them before forward and takes them away behind it, through the hook that it
    puts on a module.
    """

    @wraps(method)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        hook: Any = getattr(args[0], "_hf_hook", None)
        if hook is None:
            return method(*args, **kwargs)
        hook.pre_forward(args[0])
        try:
            return method(*args, **kwargs)
        finally:
            hook.post_forward(args[0], None)

    return call


class Parameters(nn.ParameterList):
    """A list of parameters that are read by their number, wherever they are kept."""

    @with_weights
    def __getitem__(self, index: Any) -> Any:
        return super().__getitem__(index)


def computing_device(module: nn.Module) -> torch.device:
    """Where accelerate brings the first parameter of a module for a call; else where it is."""
    name, parameter = next(module.named_parameters())
    hook: Any = getattr(module.get_submodule(name.rpartition(".")[0]), "_hf_hook", None)
    if getattr(hook, "execution_device", None) is not None:
        return torch.device(hook.execution_device)
    return parameter.device


def gather_for(module: nn.Module, *methods: str) -> None:
    """Let these methods gather the weights of a sharded module (FSDP2) as its forward does; others
    stay as they are.
    """
    sharded = sys.modules.get("torch.distributed.fsdp")
    if sharded is None or not isinstance(module, sharded.FSDPModule):
        return
    for method in methods:
        if method not in vars(module):
            sharded.register_fsdp_forward_method(module, method)

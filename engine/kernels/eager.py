"""Whether a call runs plainly, so that sizes and values of tensors may be read and decide."""

import torch


def eager() -> bool:
    """False under a compiler, an exporter, a tracer or a function transform, which would keep what was read for good."""
    traced = torch.compiler.is_compiling() or torch.jit.is_tracing()
    return not traced and torch._C._functorch.peek_interpreter_stack() is None

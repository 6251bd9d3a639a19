"""From the arguments of a call to checked tensors; an argument that the spec cannot honour is an
error.
"""

from engine.network.inputs.call import ARGUMENTS, Inputs, Padding, read_inputs
from engine.network.inputs.check import check
from engine.network.inputs.masks import takes_mask
from engine.network.inputs.names import says_nothing, unknown

__all__ = [
    "ARGUMENTS",
    "Inputs",
    "Padding",
    "check",
    "read_inputs",
    "says_nothing",
    "takes_mask",
    "unknown",
]

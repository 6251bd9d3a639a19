"""What each text method may be asked of a model: the one place that says no."""

from typing import TYPE_CHECKING, Literal

from engine.errors import InputError
from engine.generation.prompts import output_layer
from engine.generation.start import remembers
from engine.parameters.offloading import gather_for
from engine.spec import axes

if TYPE_CHECKING:
    from engine.model import Model

TextMethod = Literal["generate", "fill_mask", "mask_predict", "score", "stream"]


def check_text_method(model: "Model", method: TextMethod, predicts: bool = True) -> None:
    """Raise InputError for a method that a model cannot do; `predicts` says whether it needs the
    scores of tokens.

    Methods run the body and not forward, which is where sharded weights are gathered otherwise.
    """
    spec = model.spec
    gather_for(model, "body", "project_memory")
    for block in model.blocks:
        gather_for(block, "project")
    if predicts:
        output_layer(model)
    if isinstance(spec.position, axes.RelativePosition) and spec.position.reversed_half:
        raise InputError(
            "position.reversed_half mirrors half of each training batch, so that a text's answers would hang on its "
            f"row: override it with false for {method}()"
        )
    causal, two = "causal" in spec.attention.mask, spec.streams.kind == "two"
    if method == "generate" and not (causal or two):
        raise InputError(
            f"'{spec.name}' attends both ways, so it cannot continue a text: use fill_mask() or mask_predict(), or "
            "override attention.mask with a causal one if it was trained left to right"
        )
    if method in ("fill_mask", "mask_predict") and causal:
        raise InputError(
            f"'{spec.name}' sees only earlier tokens, so it cannot fill a place from both sides: use generate()"
        )
    if method == "stream" and (spec.memory.kind != "recurrent" or not remembers(model)):
        raise InputError(
            f"stream() needs memory.kind recurrent; '{spec.name}' has {spec.memory.kind}: use score(window=…)"
        )

"""Names of arguments that no call takes, and what to say of them."""

from collections.abc import Iterable

from engine.errors import InputError, nearest
from engine.network.inputs.call import ARGUMENTS

# What transformers calls otherwise, with what it is called here.
ELSEWHERE = {
    "past_key_values": "what earlier tokens left behind is memory=, the Memory of an earlier output",
    "past_key_value": "what earlier tokens left behind is memory=, the Memory of an earlier output",
    "mems": "what earlier tokens left behind is memory=, the Memory of an earlier output",
    "cache_params": "what earlier tokens left behind is memory=, the Memory of an earlier output",
    "cache": "what earlier tokens left behind is memory=, the Memory of an earlier output",
    "use_cache": "use_memory= says whether the output holds a memory",
    "use_mems": "use_memory= says whether the output holds a memory",
    "cache_position": "places follow from memory=, or from position_ids",
    "return_dict": "every output reads as a tuple too: output.to_tuple()",
    "num_logits_to_keep": "say logits_to_keep=",
    "decoder_input_ids": "say input_ids=, and encoder_hidden_states= for what they attend to",
    "masked_lm_labels": "say labels=",
    "lm_labels": "say labels=",
    "next_sentence_label": "no head predicts whether a sentence follows",
}


def unknown(name: str, taken: Iterable[str] | None) -> InputError:
    """What to say of an argument that neither the body nor a head that has `taken` some takes
    (None: a bare body).
    """
    if name in ELSEWHERE:
        return InputError(f"a call takes no '{name}': {ELSEWHERE[name]}")
    if taken is None:
        names = ", ".join(ARGUMENTS)
        return InputError(f"a bare backbone takes no '{name}', which a head may; it takes {names}")
    return InputError(f"this head takes no '{name}'{nearest(name, taken, ARGUMENTS)}")


def says_nothing(name: str, given: object) -> bool:
    """Whether an argument of transformers asks for what happens anyway, as wrappers around models
    pass it on.
    """
    return name in ELSEWHERE and (given is None or (name == "return_dict" and given is True))

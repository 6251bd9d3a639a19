"""Arguments that need an axis of the spec: token types, languages, positions, two streams, an
encoder.
"""

from torch import Tensor

from engine.arguments import expect, in_range
from engine.errors import InputError
from engine.network.inputs.call import Inputs
from engine.network.positions import Position
from engine.spec import Spec


def check_axes(spec: Spec, position: Position, inputs: Inputs) -> None:
    """Raise InputError for the first argument that the spec has no axis for, or that its axis
    cannot take.
    """
    if inputs.token_type_ids is not None:
        _check_token_types(spec, inputs.token_type_ids, inputs.shape)
    if inputs.langs is not None:
        _check_languages(spec, inputs.langs, inputs.shape)
    if inputs.position_ids is not None:
        _check_positions(spec, position, inputs)
    if not spec.two_streams:
        for name in ("perm_mask", "target_mapping"):
            if getattr(inputs, name) is not None:
                raise InputError(
                    f"{name} needs two streams: attention.mask has no rule permutation"
                )
    if inputs.encoder_hidden_states is not None and not spec.attention.cross:
        raise InputError(
            "encoder_hidden_states needs cross-attention: this spec has attention.cross false"
        )


def _check_token_types(spec: Spec, types: Tensor, shape: tuple[int, int]) -> None:
    segments = spec.embeddings.tables.segments
    if segments is None and "segment" not in spec.attention.score:
        raise InputError(
            "token_type_ids needs embeddings.tables.segments or the score term segment; "
            "this spec has neither"
        )
    expect("token_type_ids", types, shape)
    if segments is not None:
        limit = segments.count or spec.dims.vocab
        in_range("token_type_ids", types, limit, "embeddings.tables.segments.count")


def _check_languages(spec: Spec, langs: Tensor, shape: tuple[int, int]) -> None:
    languages = spec.embeddings.tables.languages
    if languages is None or not languages.embed or languages.count < 2:
        raise InputError(
            "langs needs embeddings.tables.languages with embed true and a count above 1"
        )
    expect("langs", langs, shape)
    in_range("langs", langs, languages.count, "embeddings.tables.languages.count")


def _check_positions(spec: Spec, position: Position, inputs: Inputs) -> None:
    if not position.takes_ids:
        kinds = dict.fromkeys(layer.position.kind for layer in spec.of_layers())
        raise InputError(
            "position_ids needs position.kind learned, sinusoid or rotary; this spec has "
            f"{', '.join(kinds)}"
        )
    expect("position_ids", inputs.position_ids, inputs.shape, (1, inputs.shape[1]))
    if position.rotates and inputs.memory is not None and not inputs.memory.projected:
        raise InputError(
            "position_ids turn keys, which a memory of hidden states makes anew from counted "
            "places: start with model.start_memory, which holds keys"
        )

"""Calls that fit a spec, and networks whose every parameter matters."""

from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from engine.network.norms import HeadsNorm
from engine.network.outputs import Output
from engine.spec import Spec

NORMS = (nn.LayerNorm, nn.RMSNorm, HeadsNorm)
Network = TypeVar("Network", bound=nn.Module)


# Of a network with an encoder a law speaks as of a decoder, with ids of a source in the place of
# states: what forward calls its arguments.
SOURCE_NAMES = {
    "source_ids": "input_ids",
    "source_token_type_ids": "token_type_ids",
    "source_langs": "langs",
}
TEXT_NAMES = {
    name: f"decoder_{name}"
    for name in (
        "input_ids", "attention_mask", "token_type_ids", "position_ids", "langs", "head_mask",
    )
}  # fmt: skip


def ask(model: Any, **inputs: Any) -> Any:
    """One call with these arguments; a memory holds its source."""
    if model.spec.encoder is not None:
        given = dict(inputs)
        mask = given.pop("encoder_attention_mask", None)
        source = {name: given.pop(name) for name in SOURCE_NAMES if name in given}
        if given.get("memory") is not None:
            source = {}
        inputs = {TEXT_NAMES.get(name, name): value for name, value in given.items()}
        inputs |= {SOURCE_NAMES[name]: value for name, value in source.items()}
        inputs["attention_mask"] = mask
    return model(**inputs)


def inputs_for(  # noqa: PLR0913
    spec: Spec,
    *,
    batch: int = 2,
    length: int = 5,
    seed: int = 0,
    targets: int | None = None,
    permuted: bool = True,
    padded: bool = False,
    optional: bool = True,
    dtype: torch.dtype = torch.float64,
) -> dict[str, Any]:
    """Arguments of one call that use every axis the spec has; no token is the padding id.

    Two streams get a random factorization order in `perm_mask` (unless `permuted` is False) and
    `targets` predictions (None: none) at random places. `padded` adds an attention mask with
    padding on the left of the first row and on the right of the last. `optional: False` leaves out
    token types and languages. `dtype` is that of encoder states.
    """
    generator = torch.Generator().manual_seed(seed)

    def ids(limit: int, *shape: int) -> Tensor:
        return torch.randint(0, limit, shape, generator=generator)

    tables = spec.embeddings.tables
    given: dict[str, Any] = {"input_ids": real_tokens(spec, batch, length, generator)}
    if optional and (tables.segments is not None or "segment" in spec.attention.score):
        count = tables.segments.count if tables.segments is not None else 2
        given["token_type_ids"] = ids(count or spec.dims.vocab, batch, length)
    if (
        optional
        and tables.languages is not None
        and tables.languages.embed
        and tables.languages.count > 1
    ):
        given["langs"] = ids(tables.languages.count, batch, length)
    encoder = spec.of_encoder()
    if encoder is not None:
        inner = inputs_for(encoder, batch=batch, length=3, seed=seed + 1, optional=optional)
        given |= {name: inner[own] for name, own in SOURCE_NAMES.items() if own in inner}
    elif spec.attention.cross:
        given["encoder_hidden_states"] = torch.randn(
            batch, 3, spec.dims.model, generator=generator
        ).to(dtype)
    if spec.two_streams and permuted:
        given["perm_mask"] = order_mask(
            torch.stack([torch.randperm(length, generator=generator) for _ in range(batch)])
        )
    if spec.two_streams and targets:
        chosen = torch.stack(
            [torch.randperm(length, generator=generator)[:targets] for _ in range(batch)]
        )
        given["target_mapping"] = nn.functional.one_hot(chosen, length).float()
    if padded:
        mask = torch.ones(batch, length, dtype=torch.long)
        mask[0, :1], mask[-1, -2:] = 0, 0
        given["attention_mask"] = mask
    return given


def real_tokens(spec: Spec, batch: int, length: int, generator: torch.Generator) -> Tensor:
    """Random token ids (b i), none of them the padding id."""
    padding = spec.embeddings.tables.tokens.padding
    choices = torch.tensor([token for token in range(spec.dims.vocab) if token != padding])
    return choices[torch.randint(0, len(choices), (batch, length), generator=generator)]


def order_mask(order: Tensor) -> Tensor:
    """`perm_mask` (b i i) of factorization orders (b i), which hold the rank of each token: 1 where
    i may not see j.
    """
    return (order[:, :, None] <= order[:, None, :]).float()


def changed_from(inputs: dict[str, Any], spec: Spec, place: int) -> dict[str, Any]:
    """The same call with another token, type and language at one place and all later ones."""
    padding = spec.embeddings.tables.tokens.padding
    ids = inputs["input_ids"].clone()
    ids[:, place:] = (ids[:, place:] + 1) % spec.dims.vocab
    if padding is not None:
        ids[ids == padding] = (padding + 1) % spec.dims.vocab
    result = {**inputs, "input_ids": ids}
    for name in ("token_type_ids", "langs"):
        if name in inputs:
            several = int(inputs[name].max()) > 0
            result[name] = inputs[name].clone()
            result[name][:, place:] = (inputs[name][:, place:] == 0).long() if several else 0
    return result


@torch.no_grad()
def randomise(model: Network, seed: int = 0, spread: float = 0.3) -> Network:
    """Give every parameter values that matter: normal with `spread`, norms' weights around one;
    returns the model.
    """
    generator = torch.Generator().manual_seed(seed)
    norms = {
        id(module.weight)
        for module in model.modules()
        if isinstance(module, NORMS) and module.weight is not None
    }
    for parameter in model.parameters():
        values = torch.randn(parameter.shape, generator=generator)
        parameter.copy_(1 + 0.3 * values if id(parameter) in norms else spread * values)
    return model


def answer(output: Output) -> Tensor:
    """What a call predicts: logits where there is a head, else the last states."""
    result = output.logits if output.logits is not None else output.last_hidden_state
    assert result is not None
    return result

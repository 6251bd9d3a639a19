"""Random small valid specs, inputs that fit them, and networks whose every parameter matters.

`valid_specs` draws over all axes. What it cannot know to be valid it leaves to the rules: a
combination that they accept must work, so a law that breaks on it points at the engine or at a
missing rule.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, get_args

import torch
from hypothesis import assume
from hypothesis import strategies as st
from pydantic import ValidationError

from engine import Model, Spec, build_model
from engine.laws.calls import randomise
from engine.spec import axes
from engine.spec.rules.layers import SEEN_BY_ATTENTION

LONGEST = 24  # positions that every drawn table covers
ABSOLUTE = ("learned", "sinusoid")
SHIFTABLE = (
    "none",
    "relative",
    "relative_key",
    "relative_key_query",
    "learned_relative",
    "distance_bias",
    "rotary",
)
POSITIONS = ("none", *ABSOLUTE, *SHIFTABLE[1:], "from_end")
MEMORIES = ("none", "keys_values", "recurrent")
FAMILIES = ("xlnet", "xlm", "xlm-roberta-xl", "transformer-xl", "xglm")

Pick = Callable[..., Any]
Draw = Callable[[st.SearchStrategy[Any]], Any]


@st.composite
def valid_specs(  # noqa: PLR0913
    draw: Draw,
    *,
    causal: bool | None = None,
    padding: bool | None = None,
    streams: str | None = None,
    memories: Sequence[str] = MEMORIES,
    positions: Sequence[str] = POSITIONS,
    cross: bool | None = None,
    head: str | None = "any",
    quirks: bool = True,
    settle: Mapping[str, Any] | None = None,
) -> Spec:
    """A random small spec.

    `causal` and `padding` demand or exclude that mask rule, `streams` is "one" or "two", `memories`
    and `positions` are the kinds to choose among, `head` is a language-model head, None for a bare
    backbone, or "any". `quirks: False` leaves out the published fields under which padding changes
    answers. `settle` lays keys over the drawn data at the end.
    """

    def pick(*values: Any) -> Any:
        return draw(st.sampled_from(values))

    both = (False, True)
    fits_two = bool({"relative", "rotary"} & set(positions))
    streams = streams or (pick("one", "one", "two") if fits_two else "one")
    causal = pick(*both) if causal is None else causal
    two = streams == "two"
    kinds = [kind for kind in memories if kind != "keys_values" or causal]
    memory = _memory(pick, pick(*kinds), quirks)
    allowed = [kind for kind in positions if not two or kind in ("relative", "rotary")]
    if memory["kind"] == "keys_values":
        allowed = [kind for kind in allowed if kind != "from_end"]
    padded = pick(*both) if padding is None else padding
    dims = _dims(pick)
    tables = _tables(pick, dims)
    position = _position(pick, pick(*allowed), tables, quirks, memory["kind"])
    if position["kind"] == "rotary":
        dims["head"] = pick(4, 6)
    attention = _attention(pick, position, memory, causal, padded, two, tables, quirks)
    attention["cross"] = pick(False, False, True) if cross is None else cross
    placement: Any = pick("post", "pre", ["before", "output"], ["output"], ["output", "after"])
    slots = {"pre": ["before"], "post": ["after"]}.get(str(placement), placement)
    weighted = pick(True, True, False)
    parallel = "after" not in slots and not attention["cross"] and pick(False, False, True)
    kind = pick("layer", "rms")
    attending = pick(True, True, False)
    data = {
        "name": "drawn",
        "dims": dims,
        "embeddings": {
            "tables": tables,
            "width": pick(None, None, None, 6),
            "scale": pick("none", "sqrt_model", 1.5),
            "norm": pick(*both),
        },
        "position": position,
        "attention": attention,
        "memory": memory,
        "norm": {
            "kind": kind,
            "eps": pick(1e-6, {"blocks": 1e-6, "final": 1e-3, "heads": 1e-2}),
            "placement": placement,
            "weight": weighted,
            "offset": pick(0.0, 0.0, 1.0) if weighted else 0.0,
            "bias": weighted and kind == "layer" and pick(*both),
            "query": "before" not in slots or pick(True, False),
            "attention": attending,
        },
        "final_norm": pick(*both),
        "ffn": {
            "activation": pick(*get_args(axes.Activation)),
            "gated": pick(*both),
            "bias": pick(*both),
            "experts": _experts(pick),
        },
        "block": {
            "order": "parallel" if parallel else "sequential",
            "shared_norm": parallel and "before" in slots and attending and pick(*both),
            "residual_scale": pick(1.0, 1.0, 0.4),
            "zero_padding": padded and pick(*both),
        },
        "layers": _layers(pick, dims, position, attention, two),
        "pooler": pick(None, {"activation": "tanh"}),
        "heads": _heads(pick, head, tables, two, causal),
    }
    for path, value in (settle or {}).items():
        node = data
        *parents, last = path.split(".")
        for parent in parents:
            node = node[parent]
        node[last] = value
    try:
        return Spec.model_validate(data)
    except ValidationError:
        assume(False)
        raise


def _dims(pick: Pick) -> dict[str, Any]:
    heads = pick(2, 1, 4)
    return {
        "layers": pick(2, 1, 3),
        "model": pick(8, 12, 16),
        "heads": heads,
        "head": pick(4, 3, 6),
        "kv_heads": pick(heads, *(count for count in (1, 2) if heads % count == 0)),
        "inner": pick(12, 20),
        "vocab": pick(17, 30),
    }


def _tables(pick: Pick, dims: Mapping[str, Any]) -> dict[str, Any]:
    tokens: dict[str, Any] = {
        "padding": pick(1, None, 0, dims["vocab"] - 1),
        "width": pick(None, None, 4, 24),
    }
    tokens["projection_bias"] = tokens["width"] is not None and pick(False, True)
    tokens["cutoffs"] = pick([], [5], [4, 9])
    if tokens["cutoffs"]:
        tokens["divisor"] = pick(1, 2)
    languages = pick(None, {"count": 3, "embed": True}, {"count": 3, "embed": False}, {"count": 1})
    return {
        "tokens": tokens,
        "segments": pick(None, {"source": "table", "count": 3}, {"source": "tokens"}),
        "languages": languages,
    }


def _scaling(pick: Pick, memory: str) -> dict[str, Any]:
    """A scaling of wavelengths, of pairs that may be one, two or three; texts outgrow the length of
    training only where no memory goes by it.
    """
    trained = pick(3, LONGEST) if memory == "none" else LONGEST
    return pick(
        None,
        {"kind": "linear", "factor": 2.0},
        {"kind": "yarn", "factor": 4.0, "trained": 40, "fast": 6.0, "rounded": pick(True, False)},
        {"kind": "llama3", "factor": 8.0, "trained": 30},
        {"kind": "dynamic", "factor": 2.0, "trained": trained},
        {
            "kind": "longrope",
            "short": [1.0, 1.5],
            "long": [2.0, 3.0],
            "trained": trained,
            "reach": 4 * trained,
        },
    )


def _position(
    pick: Pick, kind: str, tables: Mapping[str, Any], quirks: bool, memory: str
) -> dict[str, Any]:
    padding = tables["tokens"]["padding"]
    counts, rows = ["all"], ["sinusoid"]
    if padding is not None:
        counts.append("real")
    if quirks:
        counts.append("columns")
    if quirks and padding is not None:
        counts.append("ids")
        rows.append("zero")
    size = LONGEST + 8
    if kind == "learned":
        starts = [0, 2, *(["after_padding"] if padding is not None else [])]
        size = size + (padding or 0)
        return {
            "kind": kind,
            "size": size,
            "start": pick(*starts),
            "count": pick(*counts),
            "ids": pick("counted", "rows"),
        }
    if kind == "sinusoid":
        stored = pick(False, True)
        basis = pick("half_split", "interleaved", "tensor2tensor")
        return {
            "kind": kind, "basis": basis, "start": pick(0, 2), "count": pick(*counts), "stored": stored,
            "size": size if stored else pick(None, size), "padding_row": pick(*rows),
        }  # fmt: skip
    if kind == "relative":
        return {"kind": kind, "clamp": pick(None, 3), "reversed_half": pick(False, False, True)}
    if kind in axes.DISTANCE_KINDS:
        return _learned_distances(pick, kind, size)
    if kind == "from_end":
        table = pick("sinusoid", "learned")
        return {
            "kind": kind,
            "table": table,
            "size": pick(5, size) if table == "learned" else None,
            "clamp": pick(None, 3),
        }
    if kind == "rotary":
        return {
            "kind": kind,
            "base": pick(10000.0, 50.0),
            "fraction": pick(1.0, 0.5),
            "interleaved": pick(False, True),
            "scaling": _scaling(pick, memory),
        }
    return {"kind": kind}


def _learned_distances(pick: Pick, kind: str, size: int) -> dict[str, Any]:
    if kind in ("relative_key", "relative_key_query"):
        return {"kind": kind, "size": size}
    if kind == "learned_relative":
        return {"kind": kind, "size": pick(6, size), "clamp": pick(None, 3)}
    numbers = pick("buckets", "slopes")
    return {
        "kind": kind,
        "numbers": numbers,
        "count": pick(4, 8),
        "max_distance": pick(5, 20),
        "two_sided": pick(True, False),
        "shared": numbers == "buckets" and pick(True, False),
    }


def _memory(pick: Pick, kind: str, quirks: bool) -> dict[str, Any]:
    if kind != "recurrent":
        return {"kind": kind}
    return {
        "kind": kind,
        "length": pick(6, None, LONGEST, 3, 0),
        "reuse": pick(None, None, 2),
        "initial": pick("empty", "zeros"),
        "padding": pick("hidden", "attended") if quirks else "hidden",
    }


def _attention(  # noqa: PLR0913
    pick: Pick,
    position: Mapping[str, Any],
    memory: Mapping[str, Any],
    causal: bool,
    padded: bool,
    two: bool,
    tables: dict[str, Any],
    quirks: bool,
) -> dict[str, Any]:
    score = ["content"]
    distances = position["kind"] in axes.DISTANCE_KINDS
    if tables["segments"] is None and pick(False, True):
        score.append("segment")
    mask = [
        *(["padding"] if padded else []),
        *(["causal"] if causal else []),
        *(["permutation"] if two else []),
    ]
    same_length = pick("memory", "remembered")
    if (
        causal
        and memory["kind"] == "recurrent"
        and (same_length == "remembered" or memory["length"])
    ):
        mask += pick([], [], ["same_length"])
    window = pick(None, None, 2, 4)
    counts = quirks and tables["tokens"]["padding"] is not None
    return {
        "score": score,
        "query_bias": pick("none", "per_layer", "shared")
        if distances or len(score) > 1
        else "none",
        "bias": pick(True, False, {"query": True, "key": False, "value": True, "output": False}),
        "scale": pick(True, False, 0.3),
        "softcap": pick(None, None, 2.0),
        "sinks": pick(False, False, True),
        "head_norm": _head_norm(pick, position),
        "mask": mask,
        "same_length": same_length,
        "window": window,
        "infer_padding": pick("none", "none", "count") if counts and padded else "none",
        "cross_head_mask": pick("own", "shared"),
    }


def _experts(pick: Pick) -> dict[str, Any] | None:
    """Experts; weights that one alone has and that sum to one teach the router nothing."""
    if pick(True, True, False):
        return None
    active = pick(2, 1)
    return {
        "count": 4,
        "active": active,
        "inner": pick(None, 6),
        "score": pick("softmax", "sigmoid"),
        "normalize": active > 1 and pick(True, False),
        "scale": pick(1.0, 2.5),
        "router_bias": pick(False, True),
        "correction_bias": pick(False, True),
        "groups": pick(None, {"count": 2, "active": 1, "score": pick("best", "best_two")}),
        "shared": pick(
            None, {"count": pick(1, 2), "inner": pick(None, 5), "gate": pick(False, True)}
        ),
        "load_balance": pick(None, {"coefficient": 0.1}),
    }


def _layers(
    pick: Pick,
    dims: Mapping[str, Any],
    position: Mapping[str, Any],
    attention: Mapping[str, Any],
    two: bool,
) -> dict[str, Any] | None:
    """Blocks that differ in one field, or none."""
    others: list[dict[str, Any]] = [
        {"attention.window": pick(None, 2, 4)},
        {"attention": {"bias": pick(True, False)}, "norm.eps": 1e-3},
        {"ffn": {"activation": "gelu_tanh", "gated": pick(True, False)}},
        {"ffn": {"experts": pick(None, {"count": 3, "active": 2})}},
    ]
    if position["kind"] in SEEN_BY_ATTENTION and not two and attention["query_bias"] == "none":
        others.append({"position": {"kind": "none"}})
    if position["kind"] == "rotary":
        others.append({"position.base": 30.0})
    alike = attention["query_bias"] == "shared" or position.get("shared", False)
    alike = alike or dims["layers"] == 1
    if alike or pick(True, True, False):
        return None
    pattern = pick(["one", "other"], ["other", "one"])
    return {"pattern": pattern, "kinds": {"one": {}, "other": pick(*others)}}


def _head_norm(pick: Pick, position: Mapping[str, Any]) -> dict[str, Any] | None:
    if pick(True, True, False):
        return None
    over, weighted = pick("head", "all"), pick(True, True, False)
    turns = position["kind"] == "rotary"
    return {
        "kind": pick("rms", "layer"),
        "over": over,
        "own": over == "head" and pick(False, True),
        "weight": weighted,
        "bias": weighted and pick(False, True),
        "when": pick("before_position", "after_position") if turns else "before_position",
    }


def _heads(
    pick: Pick, head: str | None, tables: Mapping[str, Any], two: bool, causal: bool
) -> dict[str, Any]:
    if head == "any":
        head = pick(None, "permutation_lm" if two else "causal_lm" if causal else "masked_lm")
    tokens = tables["tokens"]
    clusters = len(tokens["cutoffs"]) + 1
    kind = pick("linear", "transform", "adaptive")
    divided = tokens.get("divisor", 1) > 1
    output = {
        "kind": kind,
        "tied": (kind == "adaptive" or not divided) and pick(True, False),
        "bias": pick(True, False),
        "dense_bias": kind != "transform" or pick(True, False),
    }
    if kind != "adaptive":
        output |= {"scale": pick("none", "sqrt_model", 0.5), "softcap": pick(None, None, 3.0)}
    if kind == "adaptive":
        output["tied_projections"] = pick(False, True, [False] + [True] * (clusters - 1))
        if not output["tied"]:
            output |= {"divisor": pick(None, 2, 1), "tied_projections": False}
    elif kind == "linear":
        output["tied_projections"] = not divided and pick(False, True)
    return {"default": head, "output": output}


def built(
    spec: Spec,
    head: str | None = "default",
    *,
    seed: int = 0,
    dtype: torch.dtype = torch.float64,
    **options: Any,
) -> Model:
    """The spec's network in evaluation mode with every parameter randomised."""
    model = build_model(spec, head, dtype=dtype, **options)
    randomise(model, seed)
    return model.eval()


SHRUNK: dict[str, Any] = {
    "dims.layers": 2,
    "dims.model": 16,
    "dims.heads": 4,
    "dims.inner": 24,
    "dims.vocab": 40,
}
SHRUNK_BY_FAMILY: dict[str, dict[str, Any]] = {
    "xlm": {"embeddings.tables.languages.count": 3, "dims.inner": 64},
    "transformer-xl": {
        "dims.head": 6,
        "embeddings.tables.tokens": {"width": 16, "cutoffs": [10, 20], "divisor": 2},
        "heads.output.tied_projections": [False, True, True],
        "memory.length": LONGEST,
    },
}


def family(name: str, **settled: Any) -> Spec:
    """A shipped family at toy size; further overrides are dotted keys. Read once, as no spec
    changes.
    """
    from engine import load_spec

    changes = {**SHRUNK, **SHRUNK_BY_FAMILY.get(name, {}), **settled}
    key = f"{name} {changes}"
    if key not in _READ:
        _READ[key] = load_spec(f"families/{name}", changes)
    return _READ[key]


_READ: dict[str, Spec] = {}


def has_padding_rule(spec: Spec) -> bool:
    """Whether padding is hidden from attention."""
    return "padding" in spec.attention.mask


def counts_real_tokens(spec: Spec) -> bool:
    """Whether positions are counted over real token ids."""
    return isinstance(
        spec.position, axes.LearnedPosition | axes.SinusoidPosition
    ) and spec.position.count in (
        "real",
        "ids",
    )

"""How much work a call cannot do without: its matrix products, two operations a multiplication and
addition.

Counted from the spec, whatever the code does: projections of the rows that ask (all rows) and of
the keys and values (content rows), the two maps of the feed-forward (three where gated), a score
and a weighted sum for every pair that the causal rule leaves (all pairs otherwise), the position
term as a second score, the projection of all distances once a layer (none where prepacked weights
hold them), and the output layer over the rows that are predicted. The last layer of two streams
asks for its query rows alone. Norms, activations, softmax and dropout count nothing. A training
step counts three forward passes.
"""

from benchmarks.workloads import Workload
from engine import Spec


def useful_operations(spec: Spec, work: Workload) -> float | None:
    """Floating-point operations of one call; None where the call is not bound by matrix products,
    or is adaptive.
    """
    if work.call not in ("forward", "training") or spec.embeddings.tables.tokens.cutoffs:
        return None
    layers = spec.dims.layers
    total = (layers - 1) * _block(spec, work, work.length)
    total += _block(spec, work, 0 if work.predictions else work.length)
    if work.head is not None:
        total += (
            2
            * work.batch
            * (work.predictions or work.length)
            * spec.embedding_width
            * spec.dims.vocab
        )
    return total * (3 if work.call == "training" else 1)


def _block(spec: Spec, work: Workload, content: int) -> float:
    """One block in which `content` of the content rows, and all query rows, go through to the end."""
    dims = spec.dims
    assert dims.head is not None and dims.kv_heads is not None and dims.inner is not None
    rows, attention = content + work.predictions, dims.heads * dims.head
    pairs = content * (content + 1) / 2 if spec.has_rule("causal") else rows * work.length
    projections = (
        2 * rows * dims.model * attention + 2 * work.length * dims.model * dims.kv_heads * dims.head
    )
    feed_forward = rows * (3 if spec.ffn.gated else 2) * dims.model * dims.inner
    relative = "position" in spec.score_terms
    scores = (3 if relative else 2) * attention * pairs
    distances = 2 * work.length * dims.model * attention if relative and not work.prepacked else 0
    return 2 * (work.batch * (projections + feed_forward + scores) + distances)

"""From states to the vocabulary: plain, transformed, or adaptive, with weights tied to the token
table.
"""

import torch
from torch import Tensor, nn

from engine.kernels.attention import softcapped
from engine.kernels.linear import build_linear, linear, product
from engine.kernels.losses import at_labels, precise, score_losses, token_losses
from engine.kernels.watched import transformed
from engine.network.activations import ACTIVATIONS
from engine.network.embeddings import TokenEmbedding
from engine.network.norms import build_norm
from engine.parameters.offloading import Parameters, with_weights
from engine.spec import Spec


class LinearOutput(nn.Module):
    """Scores of every token, states (... d) to logits (... v); with `transform`, dense, activation
    and norm come first.

    A token table narrower than the model puts a projection of its own before the scores. With
    `samples`, losses in training compare each label with a few drawn tokens only (see
    `sampled_losses`).
    """

    is_log_probability = False

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        output, model = spec.heads.output, spec.dims.model
        width = spec.embeddings.tables.tokens.width or spec.embedding_width
        self.tied = output.tied
        self.dense: nn.Linear | None = None
        self.norm: nn.Module | None = None
        if output.kind == "transform":
            self.dense = build_linear(model, width, bias=output.dense_bias)
            self.norm = build_norm(spec.norm, width, "output")
        self.activation = ACTIVATIONS[output.activation]
        projected = width != model and output.kind != "transform"
        self.projection = nn.Parameter(torch.empty(model, width)) if projected else None
        self.tied_projection = output.tied_projections is True or output.tied_projections == (True,)
        self.weight = nn.Parameter(torch.empty(spec.dims.vocab, width))
        self.bias: nn.Parameter | None = None
        if output.bias:
            learns = output.bias != "fixed"
            self.bias = nn.Parameter(torch.empty(spec.dims.vocab), requires_grad=learns)
        self.scale, self.softcap = spec.scale_of(output.scale, model), output.softcap
        self.samples = output.samples

    @property
    def logits_with_loss(self) -> bool:
        """Whether the loss needs the logits anyway, so that a caller gets them at no cost."""
        return self.samples is None or not self.training

    def tie(self, tokens: TokenEmbedding) -> None:
        """Share the token table (and its projection) where the spec says so."""
        if self.tied:
            self.weight = tokens.tables[0]
        if self.projection is not None and self.tied_projection:
            self.projection = tokens.projections[0]

    def forward(self, states: Tensor) -> Tensor:
        scores = product(self._entered(states), self.weight, self.bias)
        return scores if self.softcap is None else softcapped(scores, self.softcap)

    @with_weights
    def losses(self, states: Tensor, labels: Tensor) -> Tensor:
        """Negative log-likelihoods (n) of labels (n) at states (n d); 0 where a label is -100."""
        return at_labels(self._losses, states, labels)

    def _losses(self, states: Tensor, labels: Tensor) -> Tensor:
        if self.samples is not None and self.training:
            return sampled_losses(
                self._entered(states), labels, self.weight, self.bias, self.samples
            )
        if self.softcap is not None:
            return score_losses(self(states), labels)
        return token_losses(self._entered(states), self.weight, self.bias, labels)

    def _entered(self, states: Tensor) -> Tensor:
        """States (... d) as they meet the token vectors."""
        if self.dense is not None and self.norm is not None:
            states = self.norm(self.activation(linear(self.dense, states)))
        if self.projection is not None:
            states = states @ self.projection
        return states if self.scale == 1.0 else states * self.scale


class AdaptiveOutput(nn.Module):
    """Log-probabilities (... v) of states (... d) through clusters of rarer tokens (Grave et al.
    2017).

    The first cluster's softmax also chooses among the others, entry `cutoffs[0] + n - 1` standing
    for cluster n.
    """

    is_log_probability = True
    logits_with_loss = False

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        output, tokens, model = spec.heads.output, spec.embeddings.tables.tokens, spec.dims.model
        width, divisor = tokens.width or spec.embedding_width, output.divisor or tokens.divisor
        cutoffs = tokens.cutoffs if output.cutoffs is None else output.cutoffs
        self.cutoffs = (0, *cutoffs, spec.dims.vocab)
        self.tied, self.split = output.tied, divisor > 1
        clusters = len(self.cutoffs) - 1
        tied = output.tied_projections
        self.tied_projections = (tied,) * clusters if isinstance(tied, bool) else tied
        sizes = [end - start for start, end in zip(self.cutoffs, self.cutoffs[1:], strict=False)]
        widths = [width // divisor**cluster for cluster in range(clusters)]
        shapes = zip(sizes, widths, strict=True) if self.split else [(spec.dims.vocab, width)]
        self.tables = Parameters(nn.Parameter(torch.empty(shape)) for shape in shapes)
        self.biases = Parameters(nn.Parameter(torch.empty(len(table))) for table in self.tables)
        projected = self.split or width != model
        self.projections = Parameters(
            nn.Parameter(torch.empty(model, wide)) for wide in widths if projected
        )
        self.cluster_weight = (
            nn.Parameter(torch.empty(clusters - 1, width)) if clusters > 1 else None
        )
        self.cluster_bias = nn.Parameter(torch.empty(clusters - 1)) if clusters > 1 else None

    def tie(self, tokens: TokenEmbedding) -> None:
        """Share the embedding's tables and, cluster by cluster, its projections where the spec says
        so.
        """
        for index in range(len(self.tables) if self.tied else 0):
            self.tables[index] = tokens.tables[index]
        for index in range(len(self.projections)):
            if self.tied_projections[index]:
                self.projections[index] = tokens.projections[index if self.split else 0]

    def forward(self, states: Tensor) -> Tensor:
        first = self.cluster(states, 0)
        parts = [first[..., : self.cutoffs[1]]]
        for cluster in range(1, len(self.cutoffs) - 1):
            parts.append(
                first[..., self.cutoffs[1] + cluster - 1, None] + self.cluster(states, cluster)
            )
        return torch.cat(parts, dim=-1)

    @with_weights
    def cluster(self, states: Tensor, cluster: int) -> Tensor:
        """Log-probabilities of a cluster's tokens, given that cluster; the first one's, and of
        every further cluster.
        """
        entered = self._projected(states, cluster)
        scores = [product(entered, weight, bias) for weight, bias in self._scored(cluster)]
        return precise(torch.cat(scores, dim=-1) if len(scores) > 1 else scores[0]).log_softmax(-1)

    def _scored(self, cluster: int) -> list[tuple[Tensor, Tensor]]:
        """Weights and biases of a cluster's scores, one after the other; the first cluster also
        scores the others.
        """
        start, end = self.cutoffs[cluster], self.cutoffs[cluster + 1]
        weight = self.tables[cluster] if self.split else self.tables[0][start:end]
        bias = self.biases[cluster] if self.split else self.biases[0][start:end]
        if cluster == 0 and self.cluster_weight is not None and self.cluster_bias is not None:
            return [(weight, bias), (self.cluster_weight, self.cluster_bias)]
        return [(weight, bias)]

    def _table(self, cluster: int) -> tuple[Tensor, Tensor]:
        """Weight and bias of all of a cluster's scores."""
        weights, biases = zip(*self._scored(cluster), strict=True)
        return (
            (weights[0], biases[0])
            if len(weights) == 1
            else (torch.cat(weights), torch.cat(biases))
        )

    def _projected(self, states: Tensor, cluster: int) -> Tensor:
        return states @ self.projections[cluster] if len(self.projections) else states

    @with_weights
    def losses(self, states: Tensor, labels: Tensor) -> Tensor:
        """Negative log-likelihoods (n) of labels (n) at states (n d); 0 where a label is -100, in
        the order of the labels.
        """
        return at_labels(self._losses, states, labels)

    def _losses(self, states: Tensor, labels: Tensor) -> Tensor:
        choices = labels  # the first cluster's tokens, then one entry a further cluster
        for cluster in range(1, len(self.cutoffs) - 1):
            choices = torch.where(
                labels >= self.cutoffs[cluster], self.cutoffs[1] + cluster - 1, choices
            )
        result = token_losses(self._projected(states, 0), *self._table(0), choices)
        for cluster in range(1, len(self.cutoffs) - 1):
            start, end = self.cutoffs[cluster], self.cutoffs[cluster + 1]
            if transformed():  # shapes must not depend on values
                inside = (labels >= start) & (labels < end)
                columns = torch.where(inside, labels - start, 0)
                inner = token_losses(
                    self._projected(states, cluster), *self._table(cluster), columns
                )
                result = result + torch.where(inside, inner, 0.0)
                continue
            rows = ((labels >= start) & (labels < end)).nonzero().squeeze(1)
            inner = token_losses(
                self._projected(states[rows], cluster), *self._table(cluster), labels[rows] - start
            )
            result = result.index_add(0, rows, inner)
        return result


def sampled_losses(
    states: Tensor, labels: Tensor, weight: Tensor, bias: Tensor | None, samples: int
) -> Tensor:
    """Losses (n) of labels (n) against drawn tokens in place of all, at states (n d).

    Every score is lowered by the logarithm of how often its token is expected to be drawn, and a
    drawn token that is the label does not count against it (Jean et al. 2015, 3.2, as in the
    authors' Transformer-XL code).
    """
    probability = log_uniform(len(weight), states.device)
    drawn = draw_tokens(probability, 2 * samples)
    expected = expected_count(probability, 2 * samples).log().to(states.dtype)
    right = (states * weight[labels]).sum(-1) - expected[labels]
    wrong = product(states, weight[drawn]) - expected[drawn]
    if bias is not None:
        right, wrong = right + bias[labels], wrong + bias[drawn]
    wrong = wrong.masked_fill(labels[:, None] == drawn, -torch.inf)
    scores = precise(torch.cat((right[:, None], wrong), dim=1))
    return -scores.log_softmax(-1)[:, 0]


def log_uniform(vocabulary: int, device: torch.device) -> Tensor:
    """The chance (v) of each token to be drawn: that of ids sorted by frequency under Zipf's law,
    float64.
    """
    steps = torch.arange(1, vocabulary + 2, dtype=torch.float64, device=device).log()
    return steps.diff() / steps[-1]


def draw_tokens(probability: Tensor, tries: int) -> Tensor:
    """Different tokens, ascending, from so many tries with replacement."""
    return torch.multinomial(probability, tries, replacement=True).unique()


def expected_count(probability: Tensor, tries: int) -> Tensor:
    """How often each token (v) is expected among the drawn ones, by the authors' formula 1 - (1 +
    p)^-tries.

    The chance of being drawn at all, 1 - (1 - p)^tries, is its neighbour: both are close to p *
    tries for small p.
    """
    return -torch.expm1(-tries * probability.log1p())


def build_output_layer(spec: Spec) -> LinearOutput | AdaptiveOutput:
    """The output layer that the spec describes."""
    return AdaptiveOutput(spec) if spec.heads.output.kind == "adaptive" else LinearOutput(spec)

"""The bottom of the network: tables summed into the first states."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from engine.errors import InputError
from engine.kernels.dropout import Dropout
from engine.kernels.linear import product
from engine.network.norms import build_norm
from engine.network.positions import build_position
from engine.parameters.offloading import Parameters, with_weights
from engine.spec import Spec


class TokenEmbedding(nn.Module):
    """Token vectors (b i d) of ids (b i): one table, a narrow table projected up, or a table a
    cluster of frequencies.

    Adaptive input of Baevski and Auli (2019), as in Transformer-XL: cluster n is `divisor` to the n
    times narrower.
    """

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        tokens, model = spec.embeddings.tables.tokens, spec.embedding_width
        width = tokens.width or model
        self.cutoffs = (0, *(tokens.cutoffs if tokens.divisor > 1 else ()), spec.dims.vocab)
        sizes = [end - start for start, end in zip(self.cutoffs, self.cutoffs[1:], strict=False)]
        widths = [width // tokens.divisor**cluster for cluster in range(len(sizes))]
        self.tables = Parameters(
            nn.Parameter(torch.empty(size, wide)) for size, wide in zip(sizes, widths, strict=True)
        )
        # Where the padding id lies in each table; its row gets no gradient.
        self.padding_rows: list[int | None] = [None] * len(sizes)
        for cluster, start in enumerate(self.cutoffs[:-1]):
            if tokens.padding is not None and start <= tokens.padding < start + sizes[cluster]:
                self.padding_rows[cluster] = tokens.padding - start
        projected = tokens.divisor > 1 or width != model
        self.projections = Parameters(
            nn.Parameter(torch.empty(model, wide)) for wide in widths if projected
        )
        self.projection_bias = (
            nn.Parameter(torch.empty(model)) if projected and tokens.projection_bias else None
        )

    def share(self, other: "TokenEmbedding") -> None:
        """Read every table of another one from here on."""
        self.tables, self.projections = other.tables, other.projections
        self.projection_bias = other.projection_bias

    def forward(self, ids: Tensor) -> Tensor:
        if len(self.tables) == 1:
            vectors = functional.embedding(ids, self.tables[0], padding_idx=self.padding_rows[0])
            return self._project(vectors, 0) if len(self.projections) else vectors
        states = self.projections[0].new_zeros(*ids.shape, self.projections[0].shape[0])
        for cluster in range(len(self.tables)):
            start, end = self.cutoffs[cluster : cluster + 2]
            inside = (ids >= start) & (ids < end)
            rows = torch.where(inside, ids - start, 0)
            vectors = functional.embedding(
                rows, self.tables[cluster], padding_idx=self.padding_rows[cluster]
            )
            states = torch.where(inside[..., None], self._project(vectors, cluster), states)
        return states

    def _project(self, vectors: Tensor, cluster: int) -> Tensor:
        if not len(self.projections):
            return vectors
        return product(vectors, self.projections[cluster], self.projection_bias)


class Embeddings(nn.Module):
    """Sums token, position, segment and language vectors, then norm, dropout and, from narrow
    tables, a projection.

    Holds the query stream's first state.
    """

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        tables, model = spec.embeddings.tables, spec.embedding_width
        self.tokens = TokenEmbedding(spec)
        self.positions = build_position(spec).table()
        segments, languages = tables.segments, tables.languages
        self.segments: nn.Parameter | None = None
        if segments is not None and segments.count is not None:
            self.segments = nn.Parameter(torch.empty(segments.count, model))
        self.segments_are_tokens = (
            tables.segments is not None and tables.segments.source == "tokens"
        )
        self.languages: nn.Parameter | None = None
        if languages is not None and languages.embed and languages.count > 1:
            self.languages = nn.Parameter(torch.empty(languages.count, model))
        self.query_start = nn.Parameter(torch.empty(spec.dims.model)) if spec.two_streams else None
        self.norm = build_norm(spec.norm, model, "embeddings") if spec.embeddings.norm else None
        self.projection = nn.Linear(model, spec.dims.model) if model != spec.dims.model else None
        self.scale = spec.scale_of(spec.embeddings.scale, model)
        self.zero_padding = spec.block.zero_padding
        self.dropout = Dropout(spec.dropout.embeddings)

    def embed(self, ids: Tensor) -> Tensor:
        """Scaled token vectors (b i d) of ids (b i): what `inputs_embeds` replaces."""
        return self.tokens(ids) * self.scale if self.scale != 1.0 else self.tokens(ids)

    def forward(
        self,
        states: Tensor,
        positions: Tensor | None,
        token_types: Tensor | None,
        languages: Tensor | None,
        real: Tensor | None,
    ) -> Tensor:
        """Token vectors (b i d), positions, token types and languages (b i) to the first states (b
        i d).
        """
        if self.positions is not None and positions is not None:
            states = states + self.positions(positions, states.dtype)
        if self.segments is not None:
            # A call that names no types is one segment, of type 0, as published.
            types = torch.zeros(states.shape[:2], dtype=torch.long, device=states.device)
            states = states + functional.embedding(
                types if token_types is None else token_types, self.segments
            )
        elif self.segments_are_tokens and token_types is not None:
            states = states + self.embed(token_types)
        if self.languages is not None and languages is not None:
            states = states + functional.embedding(languages, self.languages)
        states = self.dropout(states if self.norm is None else self.norm(states))
        if self.projection is not None:
            states = self.projection(states)
        if self.zero_padding and real is not None:
            states = states * real[..., None].to(states.dtype)
        return states

    @with_weights
    def query_rows(self, batch: int, count: int) -> Tensor:
        """The learned first state of the query stream, (b p d)."""
        if self.query_start is None:
            raise InputError(
                "target_mapping needs two streams: attention.mask has no rule permutation"
            )
        return self.dropout(self.query_start.expand(batch, count, -1))

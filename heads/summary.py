"""From one pooled vector of a text to scores."""

from collections.abc import Callable, Mapping

from torch import Tensor, nn

from engine.network.activations import ACTIVATIONS
from engine.network.head import Head
from engine.network.inputs import Inputs
from engine.network.outputs import Output
from engine.spec import Spec
from engine.spec.axes import Activation, Probability
from heads.labels import LabelOptions
from heads.pooling import AnyPooling, Pooling


class SummaryOptions(LabelOptions):
    """From one pooled vector to scores: dropout, projection, activation, dropout, output layer."""

    pooling: AnyPooling | None = None
    """What becomes the vector; null: the token that has seen the whole text."""
    first_dropout: Probability | None = None
    """Dropout of the vector; null: the spec's residual dropout."""
    projection: bool = False
    """Whether a dense layer follows, as wide as the model."""
    projection_to_labels: bool = False
    """Whether that layer is as wide as there are labels."""
    activation: Activation | None = None
    """What follows the projection; null: nothing."""
    last_dropout: Probability | None = 0.0
    """Dropout before the last layer; null: the spec's residual dropout."""
    output: bool = True
    """Whether there is a last layer; without it the projection has to give the labels (XLM)."""
    output_bias: bool = True
    """Whether that layer has a bias."""


class Summary(Head):
    """What heads over one pooled vector share: `summarise` gives scores (b n).

    Raises ValueError where no layer of the summary gives that many.
    """

    def __init__(self, spec: Spec, options: SummaryOptions, scores: int) -> None:
        super().__init__(spec, options)
        self.pooling = Pooling(spec, options.pooling)
        self.needs_pooler = self.pooling.options.kind == "pooler"
        model, residual = spec.dims.model, spec.dropout.residual
        width = model
        if options.projection and options.projection_to_labels:
            width = options.num_labels
        if not options.output and width != scores:
            raise ValueError(
                f"this summary ends {width} wide, but {scores} scores are wanted: set output true, or projection and "
                "projection_to_labels true"
            )
        self.first_dropout = dropout_of(options.first_dropout, residual)
        self.projection: nn.Linear | None = None
        if options.projection:
            self.projection = nn.Linear(model, width)
        self.activation: Callable[[Tensor], Tensor] | None = None
        if options.activation is not None:
            self.activation = ACTIVATIONS[options.activation]
        self.last_dropout = dropout_of(options.last_dropout, residual)
        self.output: nn.Linear | None = None
        if options.output:
            self.output = nn.Linear(width, scores, bias=options.output_bias)

    @classmethod
    def shared_parts(cls, options: SummaryOptions) -> Mapping[str, str]:
        if options.projection_to_labels:
            return {}
        return {"projection": "summary of a text"}

    def summarise(self, result: Output, inputs: Inputs, cls_index: Tensor | None) -> Tensor:
        """Scores (b n) from the states of the body."""
        pooled = self.first_dropout(self.pooling(result, inputs, cls_index))
        if self.projection is not None:
            pooled = self.projection(pooled)
        if self.activation is not None:
            pooled = self.activation(pooled)
        pooled = self.last_dropout(pooled)
        if self.output is not None:
            pooled = self.output(pooled)
        return pooled


def dropout_of(rate: float | None, otherwise: float) -> nn.Dropout:
    """Dropout of a rate, or of another where none is given."""
    return nn.Dropout(otherwise if rate is None else rate)

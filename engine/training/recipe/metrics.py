"""The names of the metrics, by what is trained."""

from engine.training.recipe.sections import Objective, Task

LANGUAGE_MODEL = ("loss", "perplexity", "share_of_unigram")
SMALLER_IS_BETTER = (*LANGUAGE_MODEL, "mean_squared_error")
_SINGLE = ("accuracy", "f1_macro", "f1_micro", "matthews")
_MULTIPLE = ("accuracy", "f1_macro", "f1_micro")
_REGRESSION = ("pearson", "spearman", "mean_squared_error")
_OF_PROBLEM = {"single": _SINGLE, "multiple": _MULTIPLE, "regression": _REGRESSION}
_OF_KIND = {
    "choices": ("accuracy",),
    "tokens": ("f1", "precision", "recall", "accuracy"),
    "question_answering": ("f1", "exact_match"),
    "causal": LANGUAGE_MODEL[1:],
}


def metrics_of(predicted: Objective | Task) -> tuple[str, ...]:
    """The metrics that an objective or a task can be scored by; the loss is always one."""
    problem = getattr(predicted, "problem", None)
    if problem is not None:
        return ("loss", *_OF_PROBLEM[problem])
    if hasattr(predicted, "metrics"):
        return ("loss", *_OF_KIND[predicted.kind])
    return LANGUAGE_MODEL

"""What to generate, as one validated value."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from engine.errors import InputError, nearest
from engine.spec import Spec

Decoding = Literal["cached", "recompute", "overlap"]
Share = Field(default=None, gt=0.0, le=1.0)


class GenerationOptions(BaseModel):
    """How tokens are chosen, under the names that transformers gives them.

    `max_new_tokens` and `min_new_tokens` count tokens after the prompt. Greedy unless `do_sample` (with `temperature`,
    `top_k`, `top_p`, `min_p`, `typical_p`) or `num_beams` above 1 (with `length_penalty`, `early_stopping`) says otherwise.
    Beams are judged by their mean over new tokens, the end token included, as transformers does since 4.36; `beam_lengths:
    whole_text` divides by the width of the padded prompt and the tokens before the end, as it did until then.
    `num_return_sequences` samples or best beams come back for each prompt. `eos_token_id`: one id or several, () for none,
    None for the spec's own. `decoding`: `cached` computes each token once; `recompute` runs the whole text at each step,
    so that every token of XLNet sees every other; `overlap`, for two streams, runs the newest two tokens at each step and
    remembers the earlier ones as they were last computed: what transformers' XLNet does by default, where `recompute` is
    what it does without memory. Raises pydantic's ValidationError.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_new_tokens: int = Field(default=20, ge=1)
    min_new_tokens: int = Field(default=0, ge=0)
    do_sample: bool = False
    temperature: float = Field(default=1.0, gt=0.0)
    top_k: int | None = Field(default=None, ge=1)
    top_p: float | None = Share
    min_p: float | None = Share
    typical_p: float | None = Share
    repetition_penalty: float = Field(default=1.0, gt=0.0)
    no_repeat_ngram_size: int = Field(default=0, ge=0)
    bad_words_ids: tuple[tuple[int, ...], ...] = ()
    num_beams: int = Field(default=1, ge=1)
    length_penalty: float = 1.0
    early_stopping: bool | Literal["never"] = False
    beam_lengths: Literal["new_tokens", "whole_text"] = "new_tokens"
    num_return_sequences: int = Field(default=1, ge=1)
    eos_token_id: int | tuple[int, ...] | None = None
    pad_token_id: int | None = None
    stop_strings: tuple[str, ...] = ()
    seed: int | None = None
    decoding: Decoding = "cached"

    @model_validator(mode="after")
    def _contradictions(self) -> "GenerationOptions":
        problems = list(self._problems())
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def _problems(self) -> list[str]:
        problems = []
        given = self.model_fields_set
        if self.min_new_tokens > self.max_new_tokens:
            problems.append(f"min_new_tokens {self.min_new_tokens} is above max_new_tokens {self.max_new_tokens}")
        sampling = {"temperature", "top_k", "top_p", "min_p", "typical_p", "seed"} & given
        sampling = {name for name in sampling if getattr(self, name) not in (None, 1.0)}
        if sampling and not self.do_sample:
            problems.append(f"{', '.join(sorted(sampling))} needs do_sample true")
        if self.do_sample and self.num_beams > 1:
            problems.append("do_sample and num_beams above 1 exclude each other")
        judged = {"length_penalty", "early_stopping", "beam_lengths"} & given
        judged = {name for name in judged if getattr(self, name) != type(self).model_fields[name].default}
        if judged and self.num_beams == 1:
            problems.append(f"{', '.join(sorted(judged))} needs num_beams above 1")
        if self.num_return_sequences > 1 and self.num_beams == 1 and not self.do_sample:
            problems.append("num_return_sequences above 1 needs do_sample true or num_beams above 1")
        if 1 < self.num_beams < self.num_return_sequences:
            problems.append(f"num_return_sequences {self.num_return_sequences} is above num_beams {self.num_beams}")
        if any(not words for words in self.bad_words_ids):
            problems.append("an entry of bad_words_ids is empty")
        if any(not text for text in self.stop_strings):
            problems.append("an entry of stop_strings is empty")
        return problems

    def ends(self, spec: Spec) -> tuple[int, ...]:
        """The ids that end a text."""
        if self.eos_token_id is None:
            return () if spec.tokens.eos is None else (spec.tokens.eos,)
        return (self.eos_token_id,) if isinstance(self.eos_token_id, int) else self.eos_token_id

    def fill(self, spec: Spec) -> int:
        """The id behind the end of finished texts."""
        for choice in (self.pad_token_id, spec.tokens.padding, spec.embeddings.tables.tokens.padding, *self.ends(spec)):
            if choice is not None:
                return choice
        return 0


def read_options(given: GenerationOptions | None, settings: Mapping[str, Any], spec: Spec) -> GenerationOptions:
    """Options from a value and single settings on top of it (raises InputError with all problems)."""
    base = {} if given is None else given.model_dump(exclude_unset=True)
    for name in settings:
        if name not in GenerationOptions.model_fields:
            raise InputError(f"no generation option '{name}'{nearest(name, GenerationOptions.model_fields)}")
    try:
        options = GenerationOptions.model_validate({**base, **settings})
    except ValidationError as error:
        raise InputError("; ".join(_sentence(issue) for issue in error.errors())) from None
    if options.decoding == "overlap" and (spec.streams.kind != "two" or spec.memory.kind == "none"):
        raise InputError(
            "decoding 'overlap' needs two streams and a memory: this spec decodes 'cached' or by 'recompute'"
        )
    _check_ids("eos_token_id", options.ends(spec), spec)
    _check_ids("pad_token_id", (options.fill(spec),), spec)
    _check_ids("bad_words_ids", [token for words in options.bad_words_ids for token in words], spec)
    return options


def _sentence(issue: Any) -> str:
    path = ".".join(str(part) for part in issue["loc"])
    text = str(issue["msg"]).removeprefix("Value error, ")
    return f"{path}: {text}, found {issue['input']!r}" if path else text


def _check_ids(name: str, ids: Sequence[int], spec: Spec) -> None:
    for token in ids:
        if not 0 <= token < spec.dims.vocab:
            raise InputError(
                f"{name} holds {token}, outside 0 … {spec.dims.vocab - 1} (dims.vocab is {spec.dims.vocab})"
            )

"""What to generate, as one validated value."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from engine.errors import InputError, nearest, shortened
from engine.generation.guards import has_memory, has_two_streams
from engine.spec import Spec
from tokenization.section import Section

Decoding = Literal["cached", "recompute", "overlap"]
Share = Field(default=None, gt=0.0, le=1.0)
LARGEST_LOGARITHM = 80.0  # of a divisor by which a sum of log-probabilities stays a float32 number
_MEMORY = "what stands before the prompts is memory=, a Memory"
_DECODING = "decoding='cached' remembers, decoding='recompute' runs the whole text at each step"
_STREAMS = (
    "two streams are masked by generate itself: new tokens see the prompt and the new ones before "
    "them"
)
_ALLOWED = "give prefix_allowed_tokens_fn, which names the ids that may follow"
_PROCESSOR = "give min_p, top_p or a logits_processor"
_CONSTRAINT = "give prefix_allowed_tokens_fn or a logits_processor"
_BEAMS = "beams are of one group: sample several texts instead"
# What transformers calls otherwise, or has and this project has not, with what to do instead.
ELSEWHERE = {
    "past_key_values": _MEMORY,
    "mems": _MEMORY,
    "cache_params": _MEMORY,
    "use_cache": _DECODING,
    "cache_implementation": _DECODING,
    "generation_config": "give options=GenerationOptions(…), or its fields by name",
    "inputs": "prompts are input_ids or inputs_embeds",
    "decoder_input_ids": "prompts are input_ids, and encoder_hidden_states what they attend to",
    "streamer": (
        "on_tokens= is called with tokens as they come, and generate_tokens() gives them one step "
        "at a time"
    ),
    "stopping_criteria": (
        "end a text by eos_token_id or stop_strings, or leave the loop over generate_tokens()"
    ),
    "max_time": "leave the loop over generate_tokens() when time is up",
    "output_logits": "output_scores=True gives the scores that each token was chosen by",
    "output_attentions": "call the model itself with output_attentions=True",
    "output_hidden_states": "call the model itself with output_hidden_states=True",
    "token_type_ids": "call the model itself: a continued text has no token types",
    "position_ids": "positions are counted from attention_mask",
    "perm_mask": _STREAMS,
    "target_mapping": _STREAMS,
    "bos_token_id": "begin the prompt with it",
    "forced_bos_token_id": _ALLOWED,
    "forced_eos_token_id": _ALLOWED,
    "epsilon_cutoff": _PROCESSOR,
    "eta_cutoff": _PROCESSOR,
    "num_beam_groups": _BEAMS,
    "diversity_penalty": _BEAMS,
    "penalty_alpha": "contrastive search is not offered: use do_sample or num_beams",
    "assistant_model": "assisted decoding is not offered",
    "constraints": _CONSTRAINT,
    "force_words_ids": _CONSTRAINT,
    "lang": "langs= takes the number of each prompt's language",
    "do_early_stopping": "early_stopping= is True, False or 'never'",
}


class GenerationOptions(Section):
    """How tokens are chosen, under the names that transformers gives them.

    Greedy unless `do_sample` (with `temperature`, `top_k`, `top_p`, `min_p`, `typical_p`, `seed`)
    or `num_beams` above 1 (with `length_penalty`, `early_stopping`, `beam_lengths`) says otherwise.
    Raises pydantic's ValidationError.
    """

    max_new_tokens: int = Field(default=20, ge=1)
    """Counted after the prompt."""
    min_new_tokens: int = Field(default=0, ge=0)
    max_length: int | None = Field(default=None, ge=1)
    """In the place of `max_new_tokens`: counts the width of the prompts as well."""
    min_length: int | None = Field(default=None, ge=0)
    """In the place of `min_new_tokens`, counted likewise."""
    do_sample: bool = False
    temperature: float = Field(default=1.0, gt=0.0, allow_inf_nan=False)
    top_k: int | None = Field(default=None, ge=0)
    top_p: float | None = Share
    min_p: float | None = Share
    typical_p: float | None = Share
    repetition_penalty: float = Field(default=1.0, gt=0.0, allow_inf_nan=False)
    no_repeat_ngram_size: int = Field(default=0, ge=0)
    bad_words_ids: tuple[tuple[int, ...], ...] = ()
    """Sequences of tokens that no text holds."""
    suppress_tokens: tuple[int, ...] = ()
    """Tokens that no text takes."""
    begin_suppress_tokens: tuple[int, ...] = ()
    """Tokens that no text begins with."""
    logits_processor: tuple[Callable[..., Any], ...] = ()
    """Functions of texts (b n), padded on the left, and scores (b v), which give changed scores."""
    prefix_allowed_tokens_fn: Callable[..., Any] | None = None
    """Gives the ids that may follow, from the number of a prompt and its text (n) so far."""
    num_beams: int = Field(default=1, ge=1)
    length_penalty: float = Field(default=1.0, allow_inf_nan=False)
    early_stopping: bool | Literal["never"] = False
    beam_lengths: Literal["new_tokens", "whole_text"] = "new_tokens"
    """What a beam's sum is divided by.

    `new_tokens`, the end token included, as in transformers since 4.36; `whole_text`, the width of
    the padded prompt and the tokens before the end, as until then.
    """
    num_return_sequences: int = Field(default=1, ge=1)
    """Samples or best beams of each prompt."""
    eos_token_id: int | tuple[int, ...] | None = None
    """One id or several, () for none, None for the spec's own."""
    pad_token_id: int | None = None
    stop_strings: tuple[str, ...] = ()
    seed: int | None = None
    texts_before: int = Field(default=0, ge=0)
    """How many texts were drawn under this seed before: calls in turn then draw as one would."""
    decoding: Decoding = "cached"
    """How a step reads the text before it.

    `cached` computes each token once; `recompute` runs the whole text at each step, so that every
    token of XLNet sees every other; `overlap`, for two streams, runs the newest two tokens at each
    step and remembers the earlier ones as they were last computed: what transformers' XLNet does by
    default, where `recompute` is what it does without memory.
    """
    output_scores: bool = False
    """Whether the result holds the scores behind every choice."""

    @model_validator(mode="after")
    def _contradictions(self) -> "GenerationOptions":
        problems = list(self._problems())
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def _problems(self) -> list[str]:
        problems = []
        given = self.model_fields_set
        for whole, new in (("max_length", "max_new_tokens"), ("min_length", "min_new_tokens")):
            if getattr(self, whole) is not None and new in given:
                problems.append(f"{whole} and {new} say the same: give one of them")
        if self.min_new_tokens > self.max_new_tokens:
            problems.append(
                f"min_new_tokens {self.min_new_tokens} is above "
                f"max_new_tokens {self.max_new_tokens}"
            )
        sampling = {"temperature", "top_k", "top_p", "min_p", "typical_p", "seed"} & given
        unused = {"top_k": 0}
        sampling = {
            name for name in sampling if getattr(self, name) not in (None, 1.0, unused.get(name))
        }
        if sampling and not self.do_sample:
            problems.append(f"{', '.join(sorted(sampling))} needs do_sample true")
        if self.do_sample and self.num_beams > 1:
            problems.append("do_sample and num_beams above 1 exclude each other")
        judged = {"length_penalty", "early_stopping", "beam_lengths"} & given
        judged = {
            name for name in judged if getattr(self, name) != type(self).model_fields[name].default
        }
        if judged and self.num_beams == 1:
            problems.append(f"{', '.join(sorted(judged))} needs num_beams above 1")
        greedy = self.num_beams == 1 and not self.do_sample
        if self.num_return_sequences > 1 and greedy:
            problems.append(
                "num_return_sequences above 1 needs do_sample true or num_beams above 1"
            )
        if 1 < self.num_beams < self.num_return_sequences:
            problems.append(
                f"num_return_sequences {self.num_return_sequences} is above "
                f"num_beams {self.num_beams}"
            )
        if any(not words for words in self.bad_words_ids):
            problems.append("an entry of bad_words_ids is empty")
        if any(not text for text in self.stop_strings):
            problems.append("an entry of stop_strings is empty")
        return problems

    def behind(self, width: int) -> "GenerationOptions":
        """The same with lengths that count the tokens behind prompts of a width alone (raises
        InputError).
        """
        changes: dict[str, int | None] = {}
        if self.max_length is not None:
            if self.max_length <= width:
                raise InputError(
                    f"max_length {self.max_length} counts the prompts, which are {width} wide: "
                    "nothing is left for new tokens; max_new_tokens counts these alone"
                )
            changes |= {"max_length": None, "max_new_tokens": self.max_length - width}
        if self.min_length is not None:
            changes |= {"min_length": None, "min_new_tokens": max(0, self.min_length - width)}
        resolved = self.model_copy(update=changes)
        if resolved.min_new_tokens > resolved.max_new_tokens:
            raise InputError(
                f"at least {resolved.min_new_tokens} new tokens are asked for, and at most "
                f"{resolved.max_new_tokens}"
            )
        longest = width + resolved.max_new_tokens
        if abs(self.length_penalty) * math.log(longest) > LARGEST_LOGARITHM:
            raise InputError(
                f"length_penalty is {self.length_penalty}: {longest} tokens to that power is out "
                "of range"
            )
        return resolved

    def ends(self, spec: Spec) -> tuple[int, ...]:
        """The ids that end a text."""
        ends: Any = self.eos_token_id
        if ends is None:
            ends = spec.tokens.eos
        if ends is None:
            return ()
        if isinstance(ends, int):
            return (ends,)
        return tuple(ends)

    def padding_id(self, spec: Spec) -> int:
        """The id behind the end of finished texts."""
        for choice in (
            self.pad_token_id,
            spec.tokens.padding,
            spec.embeddings.tables.tokens.padding,
            *self.ends(spec),
        ):
            if choice is not None:
                return choice
        return 0


def read_options(
    given: GenerationOptions | None, settings: Mapping[str, Any], spec: Spec, width: int
) -> GenerationOptions:
    """Options from a value and single settings on top of it, for prompts of a `width` (raises
    InputError).
    """
    if given is not None and not isinstance(given, GenerationOptions):
        raise InputError(f"options is a {type(given).__name__}, expected GenerationOptions")
    base: dict[str, Any] = {}
    if given is not None:
        base = given.model_dump(exclude_unset=True)
    known = GenerationOptions.model_fields
    for name in settings:
        if name in ELSEWHERE:
            raise InputError(f"generation takes no '{name}': {ELSEWHERE[name]}")
        if name not in known:
            raise InputError(f"no generation option '{name}'{nearest(name, known)}")
    # None means as by default, as it does in transformers.
    settings = {
        name: value
        for name, value in settings.items()
        if value is not None or known[name].default is None
    }
    try:
        options = GenerationOptions.model_validate({**base, **settings}).behind(width)
    except ValidationError as error:
        raise InputError("; ".join(_sentence(issue) for issue in error.errors())) from None
    overlaps = has_two_streams(spec) and has_memory(spec)
    if options.decoding == "overlap" and not overlaps:
        raise InputError(
            "decoding 'overlap' needs two streams and a memory: this spec decodes 'cached' or by "
            "'recompute'"
        )
    _check_ids("eos_token_id", options.ends(spec), spec)
    _check_ids("pad_token_id", (options.padding_id(spec),), spec)
    _check_ids("suppress_tokens", options.suppress_tokens, spec)
    _check_ids("begin_suppress_tokens", options.begin_suppress_tokens, spec)
    _check_ids("bad_words_ids", [token for words in options.bad_words_ids for token in words], spec)
    if options.num_beams > spec.dims.vocab:
        raise InputError(
            f"num_beams is {options.num_beams}, but only {spec.dims.vocab} tokens can begin a text"
        )
    return options


def _sentence(issue: Any) -> str:
    path = ".".join(str(part) for part in issue["loc"])
    text = str(issue["msg"]).removeprefix("Value error, ")
    if not path:
        return text
    return f"{path}: {text}, found {shortened(repr(issue['input']), 100)}"


def _check_ids(name: str, ids: Sequence[int], spec: Spec) -> None:
    for token in ids:
        if not 0 <= token < spec.dims.vocab:
            raise InputError(
                f"{name} holds {token}, outside 0 … {spec.dims.vocab - 1} (dims.vocab is "
                f"{spec.dims.vocab})"
            )

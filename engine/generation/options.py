"""What to generate, as one validated value."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from engine.errors import InputError, nearest
from engine.spec import Spec
from tokenization.section import Section

Decoding = Literal["cached", "recompute", "overlap"]
Share = Field(default=None, gt=0.0, le=1.0)
LARGEST_LOGARITHM = 80.0  # of a divisor by which a sum of log-probabilities stays a float32 number
# What transformers calls otherwise, or has and this project has not, with what to do instead.
ELSEWHERE = {
    "past_key_values": "what stands before the prompts is memory=, a Memory",
    "mems": "what stands before the prompts is memory=, a Memory",
    "cache_params": "what stands before the prompts is memory=, a Memory",
    "use_cache": "decoding='cached' remembers, decoding='recompute' runs the whole text at each step",
    "cache_implementation": "decoding='cached' remembers, decoding='recompute' runs the whole text at each step",
    "generation_config": "give options=GenerationOptions(…), or its fields by name",
    "inputs": "prompts are input_ids or inputs_embeds",
    "decoder_input_ids": "prompts are input_ids, and encoder_hidden_states what they attend to",
    "streamer": "on_tokens= hears of tokens as they come, and generate_tokens() gives them one step at a time",
    "stopping_criteria": "end a text by eos_token_id or stop_strings, or leave the loop over generate_tokens()",
    "max_time": "leave the loop over generate_tokens() when time is up",
    "output_logits": "output_scores=True gives the scores that each token was chosen by",
    "output_attentions": "call the model itself with output_attentions=True",
    "output_hidden_states": "call the model itself with output_hidden_states=True",
    "token_type_ids": "call the model itself: a continued text has no token types",
    "position_ids": "positions are counted from attention_mask",
    "perm_mask": "two streams are masked by generate itself: new tokens see the prompt and the new ones before them",
    "target_mapping": "two streams are masked by generate itself: new tokens see the prompt and the new ones before them",
    "bos_token_id": "begin the prompt with it",
    "forced_bos_token_id": "give prefix_allowed_tokens_fn, which names the ids that may follow",
    "forced_eos_token_id": "give prefix_allowed_tokens_fn, which names the ids that may follow",
    "epsilon_cutoff": "give min_p, top_p or a logits_processor",
    "eta_cutoff": "give min_p, top_p or a logits_processor",
    "num_beam_groups": "beams are of one group: sample several texts instead",
    "diversity_penalty": "beams are of one group: sample several texts instead",
    "penalty_alpha": "contrastive search is not offered: use do_sample or num_beams",
    "assistant_model": "assisted decoding is not offered",
    "constraints": "give prefix_allowed_tokens_fn or a logits_processor",
    "force_words_ids": "give prefix_allowed_tokens_fn or a logits_processor",
    "lang": "langs= takes the number of each prompt's language",
    "do_early_stopping": "early_stopping= is True, False or 'never'",
}


class GenerationOptions(Section):
    """How tokens are chosen, under the names that transformers gives them.

    `max_new_tokens` and `min_new_tokens` count tokens after the prompt. Greedy unless `do_sample`
    (with `temperature`, `top_k`, `top_p`, `min_p`, `typical_p`) or `num_beams` above 1 (with
    `length_penalty`, `early_stopping`) says otherwise. Beams are judged by their mean over new
    tokens, the end token included, as transformers does since 4.36; `beam_lengths: whole_text`
    divides by the width of the padded prompt and the tokens before the end, as it did until then.
    `num_return_sequences` samples or best beams come back for each prompt. `eos_token_id`: one id
    or several, () for none, None for the spec's own. `decoding`: `cached` computes each token once;
    `recompute` runs the whole text at each step, so that every token of XLNet sees every other;
    `overlap`, for two streams, runs the newest two tokens at each step and remembers the earlier
    ones as they were last computed: what transformers' XLNet does by default, where `recompute` is
    what it does without memory.

    `max_length` and `min_length` count the width of the prompts as well, and stand in for
    `max_new_tokens` and `min_new_tokens`. `bad_words_ids` are runs of tokens that no text holds,
    `suppress_tokens` tokens that none takes, and `begin_suppress_tokens` those that none begins
    with. `logits_processor`: functions of texts (b n), padded on the left, and scores (b v), which
    give changed scores; `prefix_allowed_tokens_fn` names the ids that may follow, from the number
    of a prompt and its text (n) so far. `output_scores` asks for the scores behind every choice.
    Raises pydantic's ValidationError.
    """

    max_new_tokens: int = Field(default=20, ge=1)
    min_new_tokens: int = Field(default=0, ge=0)
    max_length: int | None = Field(default=None, ge=1)
    min_length: int | None = Field(default=None, ge=0)
    do_sample: bool = False
    temperature: float = Field(default=1.0, gt=0.0, allow_inf_nan=False)
    top_k: int | None = Field(default=None, ge=0)
    top_p: float | None = Share
    min_p: float | None = Share
    typical_p: float | None = Share
    repetition_penalty: float = Field(default=1.0, gt=0.0, allow_inf_nan=False)
    no_repeat_ngram_size: int = Field(default=0, ge=0)
    bad_words_ids: tuple[tuple[int, ...], ...] = ()
    suppress_tokens: tuple[int, ...] = ()
    begin_suppress_tokens: tuple[int, ...] = ()
    logits_processor: tuple[Callable[..., Any], ...] = ()
    prefix_allowed_tokens_fn: Callable[..., Any] | None = None
    num_beams: int = Field(default=1, ge=1)
    length_penalty: float = Field(default=1.0, allow_inf_nan=False)
    early_stopping: bool | Literal["never"] = False
    beam_lengths: Literal["new_tokens", "whole_text"] = "new_tokens"
    num_return_sequences: int = Field(default=1, ge=1)
    eos_token_id: int | tuple[int, ...] | None = None
    pad_token_id: int | None = None
    stop_strings: tuple[str, ...] = ()
    seed: int | None = None
    decoding: Decoding = "cached"
    output_scores: bool = False

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
                f"min_new_tokens {self.min_new_tokens} is above max_new_tokens {self.max_new_tokens}"
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
        if self.num_return_sequences > 1 and self.num_beams == 1 and not self.do_sample:
            problems.append(
                "num_return_sequences above 1 needs do_sample true or num_beams above 1"
            )
        if 1 < self.num_beams < self.num_return_sequences:
            problems.append(
                f"num_return_sequences {self.num_return_sequences} is above num_beams {self.num_beams}"
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
                    f"max_length {self.max_length} counts the prompts, which are {width} wide: nothing is left for new "
                    "tokens; max_new_tokens counts these alone"
                )
            changes |= {"max_length": None, "max_new_tokens": self.max_length - width}
        if self.min_length is not None:
            changes |= {"min_length": None, "min_new_tokens": max(0, self.min_length - width)}
        resolved = self.model_copy(update=changes)
        if resolved.min_new_tokens > resolved.max_new_tokens:
            raise InputError(
                f"at least {resolved.min_new_tokens} new tokens are asked for, and at most {resolved.max_new_tokens}"
            )
        longest = width + resolved.max_new_tokens
        if abs(self.length_penalty) * math.log(longest) > LARGEST_LOGARITHM:
            raise InputError(
                f"length_penalty is {self.length_penalty}: {longest} tokens to that power is out of range"
            )
        return resolved

    def ends(self, spec: Spec) -> tuple[int, ...]:
        """The ids that end a text."""
        ends: Any = spec.tokens.eos if self.eos_token_id is None else self.eos_token_id
        if ends is None:
            return ()
        return (ends,) if isinstance(ends, int) else tuple(ends)

    def fill(self, spec: Spec) -> int:
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
    base = {} if given is None else given.model_dump(exclude_unset=True)
    known = GenerationOptions.model_fields
    for name in settings:
        if name in ELSEWHERE:
            raise InputError(f"generation takes no '{name}': {ELSEWHERE[name]}")
        if name not in known:
            raise InputError(f"no generation option '{name}'{nearest(name, known)}")
    # None means as by default, as it does in transformers.
    said = {
        name: value
        for name, value in settings.items()
        if value is not None or known[name].default is None
    }
    try:
        options = GenerationOptions.model_validate({**base, **said}).behind(width)
    except ValidationError as error:
        raise InputError("; ".join(_sentence(issue) for issue in error.errors())) from None
    if options.decoding == "overlap" and (spec.streams.kind != "two" or spec.memory.kind == "none"):
        raise InputError(
            "decoding 'overlap' needs two streams and a memory: this spec decodes 'cached' or by 'recompute'"
        )
    _check_ids("eos_token_id", options.ends(spec), spec)
    _check_ids("pad_token_id", (options.fill(spec),), spec)
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
    return f"{path}: {text}, found {issue['input']!r}" if path else text


def _check_ids(name: str, ids: Sequence[int], spec: Spec) -> None:
    for token in ids:
        if not 0 <= token < spec.dims.vocab:
            raise InputError(
                f"{name} holds {token}, outside 0 … {spec.dims.vocab - 1} (dims.vocab is {spec.dims.vocab})"
            )

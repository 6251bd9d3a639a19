"""What a model can do with whole texts: each method is a call into this package."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal, overload

from torch import Tensor

from engine.arguments import check_flag
from engine.errors import InputError
from engine.generation.decoding.prompts import GivenPrompts
from engine.generation.filling import Filling, fill_mask, mask_predict
from engine.generation.generate import Generation, Generator, NewTokens
from engine.generation.options import GenerationOptions
from engine.generation.scoring.score import score
from engine.generation.scoring.scores import Carry, Method, ScoreOptions, Scores
from engine.generation.segments import Segment, SegmentOptions, stream
from engine.generation.start import MemoryMethods
from engine.generation.texts import Texts
from engine.memory import Memory


class TextMethods(MemoryMethods):
    """Generating, filling, scoring and streaming; every method raises InputError for what the spec
    cannot do.
    """

    @overload
    def generate(
        self,
        input_ids: Tensor | None = None,
        *,
        return_dict_in_generate: Literal[False] = False,
        **arguments: Any,
    ) -> Tensor: ...

    @overload
    def generate(
        self,
        input_ids: Tensor | None = None,
        *,
        return_dict_in_generate: Literal[True],
        **arguments: Any,
    ) -> Generation: ...

    def generate(  # noqa: PLR0913
        self,
        input_ids: Tensor | None = None,
        *,
        inputs_embeds: Tensor | None = None,
        attention_mask: Tensor | None = None,
        langs: Tensor | None = None,
        encoder_hidden_states: Tensor | None = None,
        encoder_attention_mask: Tensor | None = None,
        memory: Memory | None = None,
        options: GenerationOptions | None = None,
        tokenizer: object | None = None,
        on_tokens: Callable[[NewTokens], None] | None = None,
        return_dict_in_generate: bool = False,
        **settings: Any,
    ) -> Tensor | Generation:
        """Continue prompts (b n): returns (b t) with the prompts, or a Generation where
        `return_dict_in_generate` is set.

        `inputs_embeds` (b n d) are read in the place of the prompts' ids; alone, only new tokens
        come back. `attention_mask` (b n) may pad on either side; `langs` (b) is the language of
        each row; `memory` is what stands before the prompts. `options` and `settings` (such as
        max_new_tokens=40): see GenerationOptions. `on_tokens` is called with tokens as they come.
        """
        check_flag("return_dict_in_generate", return_dict_in_generate)
        if settings.get("output_scores") is True and not return_dict_in_generate:
            raise InputError(
                "output_scores needs return_dict_in_generate=True, which gives a Generation"
            )
        prompts = GivenPrompts(
            input_ids,
            mask=attention_mask,
            langs=langs,
            encoder_states=encoder_hidden_states,
            encoder_mask=encoder_attention_mask,
            memory=memory,
            vectors=inputs_embeds,
        )
        result = Generator(self, prompts, options, settings, tokenizer).result(on_tokens)
        if return_dict_in_generate:
            return result
        return result.sequences

    def generate_tokens(  # noqa: PLR0913
        self,
        input_ids: Tensor | None = None,
        *,
        inputs_embeds: Tensor | None = None,
        attention_mask: Tensor | None = None,
        langs: Tensor | None = None,
        encoder_hidden_states: Tensor | None = None,
        encoder_attention_mask: Tensor | None = None,
        memory: Memory | None = None,
        options: GenerationOptions | None = None,
        tokenizer: object | None = None,
        **settings: Any,
    ) -> Iterator[NewTokens]:
        """The tokens of `generate` one step at a time; the arguments are checked at once."""
        prompts = GivenPrompts(
            input_ids,
            mask=attention_mask,
            langs=langs,
            encoder_states=encoder_hidden_states,
            encoder_mask=encoder_attention_mask,
            memory=memory,
            vectors=inputs_embeds,
        )
        return Generator(self, prompts, options, settings, tokenizer).steps()

    def fill_mask(
        self,
        input_ids: Tensor,
        top_n: int = 5,
        *,
        mask_token_id: int | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        langs: Tensor | None = None,
    ) -> list[Filling]:
        """The `top_n` best tokens and their probabilities at each mask token of input_ids (b n).

        `mask_token_id` is the spec's `tokens.mask` unless given; the other arguments are as in
        `forward`.
        """
        texts = Texts(input_ids, mask=attention_mask, types=token_type_ids, langs=langs)
        return fill_mask(self, texts, mask_token_id, top_n)

    def mask_predict(
        self,
        input_ids: Tensor,
        rounds: int = 10,
        *,
        mask_token_id: int | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        langs: Tensor | None = None,
    ) -> Tensor:
        """Ids (b n) with every mask token predicted, over several `rounds` (Ghazvininejad et al.
        2019).
        """
        texts = Texts(input_ids, mask=attention_mask, types=token_type_ids, langs=langs)
        return mask_predict(self, texts, mask_token_id, rounds)

    def score(  # noqa: PLR0913
        self,
        input_ids: Tensor,
        *,
        inputs_embeds: Tensor | None = None,
        attention_mask: Tensor | None = None,
        targets: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        langs: Tensor | None = None,
        encoder_hidden_states: Tensor | None = None,
        encoder_attention_mask: Tensor | None = None,
        memory: Memory | None = None,
        method: Method | None = None,
        orders: Tensor | None = None,
        samples: int = 1,
        seed: int = 0,
        mask_token_id: int | None = None,
        window: int | None = None,
        stride: int | None = None,
        carry: Carry | None = None,
        batch_size: int = 16,
        greedy: bool = False,
    ) -> Scores:
        """Log-probabilities of the tokens of texts (b n), padded on either side by
        `attention_mask`.

        `method`: `left_to_right`; `pseudo`, each token given all others (Salazar et al. 2020), at
        `batch_size` passes at once; `orders`, the mean over factorization `orders` (n), (k n) or (k
        b n) of places, or over `samples` random ones; None: what the spec was made for. `targets`
        (b n) marks the tokens to score, else all. A long text goes through in parts of `window`
        tokens: one behind another with memory where the spec is recurrent (or `carry` says so),
        else overlapping, each with `stride` new tokens (half a window). `inputs_embeds` (b n d) are
        read in the place of the ids, which are what is scored; `greedy` also compares each token
        with the best at its place.
        """
        texts = Texts(
            input_ids,
            mask=attention_mask,
            targets=targets,
            types=token_type_ids,
            langs=langs,
            encoder_states=encoder_hidden_states,
            encoder_mask=encoder_attention_mask,
            memory=memory,
            vectors=inputs_embeds,
        )
        options = ScoreOptions(
            method=method,
            orders=orders,
            samples=samples,
            seed=seed,
            mask_token_id=mask_token_id,
            window=window,
            stride=stride,
            carry=carry,
            batch_size=batch_size,
            greedy=greedy,
        )
        return score(self, texts, options)

    def stream(
        self,
        tokens: Tensor | Iterable[int],
        segment: int = 128,
        *,
        memory: Memory | None = None,
        memory_length: int | None = None,
        predictions: bool = False,
        on_progress: Callable[[int], None] | None = None,
    ) -> Iterator[Segment]:
        """A recurrent model over ids (b n), or over an iterable of ids of any length, `segment`
        tokens at a time.

        Memory is constant; `memory_length` bounds it where the spec does not. `predictions` adds
        logits to each segment. `on_progress` is called with how many tokens are done. The memory of
        a segment continues the text later.
        """
        options = SegmentOptions(
            segment=segment,
            memory_length=memory_length,
            predictions=predictions,
            on_progress=on_progress,
        )
        return stream(self, tokens, memory, options)

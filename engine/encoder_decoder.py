"""The front door to a network with an encoder: sources in, texts out.

b batch, s tokens of a source, i tokens of a text, d model width.
"""

from typing import Any

import torch
from torch import Tensor

from engine.arguments import read_ids
from engine.errors import InputError
from engine.generation.scoring.scores import Scores
from engine.kernels.losses import IGNORED
from engine.memory import Form, Memory
from engine.model import Model
from engine.network.inputs import ARGUMENTS, Inputs, read_inputs, unknown
from engine.network.outputs import Output
from engine.parameters.offloading import gather_for


class EncoderDecoder(Model):
    """A decoder, which is the network itself, whose blocks attend to the states of its `encoder`.

    Arguments have transformers' names: those of the encoder the plain ones, those of the decoder
    begin with `decoder_`.
    """

    def encode(self, input_ids: Tensor | None = None, **source: Any) -> Output:
        """The encoder alone: states (b s d) of sources (b s), which `encoder_hidden_states` takes.

        `source` are further arguments of `Model.forward`, such as attention_mask. Raises InputError
        for what the encoder's spec cannot honour.
        """
        assert self.encoder is not None
        for name in source:
            if name not in ARGUMENTS:
                raise unknown(name, None)
        return self.encoder.body(read_inputs(Inputs(input_ids, **source), self.device))

    def forward(  # noqa: PLR0913
        self,
        input_ids: Tensor | None = None,
        *,
        inputs_embeds: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        langs: Tensor | None = None,
        head_mask: Tensor | None = None,
        encoder_hidden_states: Tensor | None = None,
        decoder_input_ids: Tensor | None = None,
        decoder_inputs_embeds: Tensor | None = None,
        decoder_attention_mask: Tensor | None = None,
        decoder_token_type_ids: Tensor | None = None,
        decoder_position_ids: Tensor | None = None,
        decoder_langs: Tensor | None = None,
        decoder_head_mask: Tensor | None = None,
        cross_head_mask: Tensor | None = None,
        memory: Memory | None = None,
        use_memory: bool | Form | None = None,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
        labels: Tensor | None = None,
        **head_inputs: Any,
    ) -> Output:
        """One pass over sources (b s) and the texts (b i) that are read off them.

        The plain names are those of `Model.forward` for the encoder, those with `decoder_` for the
        decoder, which is left to right. `labels` (b i) of a head that predicts the next token stand
        where the decoder predicts them, -100 where nothing is asked; alone they give
        `decoder_input_ids`: `tokens.decoder_start` and the labels before. `encoder_hidden_states`
        (b s d) are read in the place of a source, whose `attention_mask` still counts; a `memory`
        that an earlier call gave holds its source. The output is that of the decoder, with
        `encoder_last_hidden_state` and what else was asked of both. Raises InputError for what
        either spec cannot honour.
        """
        source = {
            "input_ids": input_ids,
            "inputs_embeds": inputs_embeds,
            "token_type_ids": token_type_ids,
            "position_ids": position_ids,
            "langs": langs,
            "head_mask": head_mask,
        }
        self._check_source(source, encoder_hidden_states, memory)
        if labels is not None and self._predicts():
            labels = read_ids("labels", labels, self.device)
            head_inputs["shift_labels"] = labels
            if decoder_input_ids is None and decoder_inputs_embeds is None:
                decoder_input_ids = self.texts_before(labels)
            labels = None
        if decoder_input_ids is None and decoder_inputs_embeds is None:
            raise InputError("give decoder_input_ids, decoder_inputs_embeds or labels")
        encoded = None
        if input_ids is not None or inputs_embeds is not None:
            encoded = self.encode(
                **source,
                attention_mask=attention_mask,
                output_hidden_states=output_hidden_states,
                output_attentions=output_attentions,
            )
            encoder_hidden_states = encoded.states
        result = super().forward(
            decoder_input_ids,
            inputs_embeds=decoder_inputs_embeds,
            attention_mask=decoder_attention_mask,
            token_type_ids=decoder_token_type_ids,
            position_ids=decoder_position_ids,
            langs=decoder_langs,
            head_mask=decoder_head_mask,
            cross_head_mask=cross_head_mask,
            encoder_hidden_states=encoder_hidden_states,
            encoder_attention_mask=attention_mask,
            memory=memory,
            use_memory=use_memory,
            output_hidden_states=output_hidden_states,
            output_attentions=output_attentions,
            labels=labels,
            **head_inputs,
        )
        if encoded is not None:
            _add_aux_loss(result, encoded, head_inputs)
            result.encoder_last_hidden_state = encoded.states
            result.encoder_hidden_states = encoded.hidden_states
            result.encoder_attentions = encoded.attentions
        return result

    def _check_source(
        self, source: dict[str, Any], states: Tensor | None, memory: Memory | None
    ) -> None:
        """Raise InputError unless a call has one source."""
        ids = source["input_ids"] is not None or source["inputs_embeds"] is not None
        held = isinstance(memory, Memory) and memory.layers[0].cross_keys is not None
        if ids and states is not None:
            raise InputError("give a source as input_ids or as encoder_hidden_states, not both")
        if ids and held:
            raise InputError("this memory holds its source: leave input_ids out")
        if ids:
            return
        if states is None and not held:
            raise InputError(
                "give the source as input_ids, inputs_embeds or encoder_hidden_states, or a memory "
                "that holds one"
            )
        for name, given in source.items():
            if given is not None:
                raise InputError(f"{name} needs input_ids or inputs_embeds of the source")

    def _predicts(self) -> bool:
        """Whether labels are the tokens that the decoder predicts."""
        return self.head is not None and "shift_labels" in self.head.inputs

    def texts_before(self, labels: Tensor) -> Tensor:
        """What the decoder reads where it predicts labels (b i): `tokens.decoder_start`, then each
        label but the last; padding where they are -100.
        """
        labels = read_ids("labels", labels, self.device)
        if labels.dim() != 2 or not labels.numel():
            raise InputError(f"labels have shape {tuple(labels.shape)}, expected (batch, length)")
        tokens = self._without_ignored(labels)
        if self.spec.tokens.decoder_start == "last":
            padding = self.spec.tokens.padding or 0
            last = torch.arange(labels.shape[1], device=labels.device) * (tokens != padding)
            first = tokens.gather(1, last.amax(1, keepdim=True))
        else:
            first = self._starts(len(labels))
        return torch.cat((first, tokens[:, :-1]), dim=1)

    def _without_ignored(self, labels: Tensor) -> Tensor:
        return torch.where(labels == IGNORED, self.spec.tokens.padding or 0, labels)

    def _starts(self, batch: int) -> Tensor:
        """The first token (b 1) of texts of which nothing is known."""
        start = self.spec.tokens.decoder_start
        if not isinstance(start, int):
            raise InputError(
                f"'{self.spec.name}' does not say which token begins a text "
                "(tokens.decoder_start): give decoder_input_ids"
            )
        return torch.full((batch, 1), start, device=self.device)

    def generate(self, input_ids: Tensor | None = None, **arguments: Any) -> Any:
        """Texts read off sources (b s): (b t), or a Generation, as `Model.generate` gives them.

        `inputs_embeds`, `attention_mask` and `encoder_hidden_states` say the source as in forward;
        `decoder_input_ids` (b n), with `decoder_attention_mask`, begin the texts, else
        `tokens.decoder_start` does. All else is as in `Model.generate`.
        """
        return super().generate(**self._prompts(input_ids, arguments))

    def generate_tokens(self, input_ids: Tensor | None = None, **arguments: Any) -> Any:
        """The tokens of `generate` one step at a time; the arguments are checked at once."""
        return super().generate_tokens(**self._prompts(input_ids, arguments))

    def score(  # type: ignore[override]
        self, input_ids: Tensor | None = None, *, labels: Tensor, **arguments: Any
    ) -> Scores:
        """Log-probabilities (b i) of texts `labels` (b i) behind their sources (b s), left to
        right; -100 is padding.

        The source is said as in `generate`; all else is as in `Model.score`.
        """
        labels = read_ids("labels", labels, self.device)
        tokens = self.texts_before(labels)
        given = self._prompts(input_ids, {**arguments, "decoder_input_ids": tokens})
        given["input_ids"] = torch.cat((tokens, self._without_ignored(labels[:, -1:])), dim=1)
        given["attention_mask"] = torch.nn.functional.pad(
            (labels != IGNORED).long(), (1, 0), value=1
        )
        scores = super().score(**given)
        greedy = scores.greedy
        return Scores(
            scores.log_probs[:, 1:],
            scores.counted[:, 1:],
            None if greedy is None else greedy[:, 1:],
        )

    @torch.no_grad()
    def _prompts(self, input_ids: Tensor | None, arguments: dict[str, Any]) -> dict[str, Any]:
        """The arguments of the decoder's text methods, from those of a call that names a source."""
        gather_for(self, "encode")
        given = dict(arguments)
        source = {"input_ids": input_ids, "inputs_embeds": given.pop("inputs_embeds", None)}
        states, memory = given.pop("encoder_hidden_states", None), given.get("memory")
        mask = given.pop("attention_mask", None)
        self._check_source(source, states, memory)
        if any(part is not None for part in source.values()):
            states = self.encode(**source, attention_mask=mask).states
        begun = given.pop("decoder_input_ids", None)
        if begun is None and states is not None:
            begun = self._starts(len(states))
        before = given.pop("decoder_attention_mask", None)
        return {
            **given,
            "input_ids": begun,
            "attention_mask": before,
            "encoder_hidden_states": states,
            "encoder_attention_mask": mask,
        }


def _add_aux_loss(result: Output, encoded: Output, head_inputs: dict[str, Any]) -> None:
    """Add what experts of the encoder add to a loss, in the share of this call in its step."""
    count, labels = head_inputs.get("num_items_in_batch"), head_inputs.get("shift_labels")
    extra = encoded.aux_loss
    if extra is None:
        return
    if count is not None and labels is not None:  # which the head has checked
        extra = extra * ((labels != IGNORED).sum() / count)
    if result.loss is not None:
        result.loss = result.loss + extra
    result.aux_loss = extra if result.aux_loss is None else result.aux_loss + extra

"""Networks beyond the five families, each written only in YAML, with a published model to hold it
against.
"""

from dataclasses import dataclass, field
from typing import Any

import transformers as t
from transformers.models.glm4_moe.configuration_glm4_moe import Glm4MoeConfig
from transformers.models.glm4_moe.modeling_glm4_moe import Glm4MoeForCausalLM
from transformers.models.llama.modeling_llama import LlamaMLP
from transformers.models.smollm3.configuration_smollm3 import SmolLM3Config
from transformers.models.smollm3.modeling_smollm3 import SmolLM3ForCausalLM, SmolLM3Model

VOCAB, LENGTH, WIDTH, HEADS, LAYERS = 53, 9, 32, 2, 2
NAMES = {"vocab_size": VOCAB, "hidden_size": WIDTH, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS,
         "intermediate_size": 40}  # fmt: skip
SHORT = {"vocab_size": VOCAB, "n_embd": WIDTH, "n_layer": LAYERS, "n_head": HEADS}


@dataclass(frozen=True)
class Variant:
    """A spec (a shipped name, or YAML), a published config, and the classes without and with a
    language-model head.

    `counts` says how the published code finds positions under padding on the left: it wants them
    `given`, has its `own` rule (the same as ours), counts `columns`, or takes the `longest` row for
    all (ours: each its own). `projects_last`: what it
    shows as last hidden state went through the head's projection, or did not go through the final norm. `tolerance` in float64 is given
    where published code has a constant of eight digits.
    """

    spec: str
    config: Any
    bare: Any
    head: Any
    counts: str = "given"
    projects_last: bool = False
    changes: dict[str, Any] = field(default_factory=dict)
    tolerance: float | None = None

    def settings(self) -> Any:
        """A tiny config without dropout, attention computed the plain way so that it can be shown."""
        return self.config(attn_implementation="eager", **self.changes)


ROBERTA = """
extends: bert-base
name: roberta
embeddings: {tables: {tokens: {padding: 1}, segments: {count: 1}}}
position: {size: 514, start: after_padding, count: real, ids: rows}
tokens: {padding: 1, bos: 0, eos: 2}
checkpoint:
  huggingface:
    model_type: roberta
    prefix: roberta
    architectures: {none: RobertaModel, masked_lm: RobertaForMaskedLM, causal_lm: RobertaForCausalLM}
    config:
      # The output layer's activation is always gelu.
      hidden_act: {path: ffn.activation}
      position_embedding_type:
        values: {absolute: {position: {kind: learned, size: 514, start: after_padding, count: real, ids: rows}}}
    names:
      heads.masked_lm.output.dense: lm_head.dense
      heads.masked_lm.output.norm: lm_head.layer_norm
      heads.masked_lm.output.weight: lm_head.decoder.weight
      heads.masked_lm.output.bias: lm_head.bias
      heads.causal_lm.output.dense: lm_head.dense
      heads.causal_lm.output.norm: lm_head.layer_norm
      heads.causal_lm.output.weight: lm_head.decoder.weight
      heads.causal_lm.output.bias: lm_head.bias
    aliases: {cls.predictions.decoder.bias: null, lm_head.decoder.bias: lm_head.bias}
"""

ELECTRA = """
extends: bert-base
name: electra
embeddings: {width: 128}
pooler: null
checkpoint:
  huggingface:
    model_type: electra
    prefix: electra
    architectures: {none: ElectraModel, masked_lm: ElectraForMaskedLM, causal_lm: ElectraForCausalLM}
    config: {embedding_size: embeddings.width, hidden_act: {path: ffn.activation}}
    ignored: [use_cache, classifier_dropout, summary_type, summary_use_proj, summary_activation, summary_last_dropout]
    names:
      embeddings.projection: embeddings_project
      heads.masked_lm.output.dense: generator_predictions.dense
      heads.masked_lm.output.norm: generator_predictions.LayerNorm
      heads.masked_lm.output.weight: generator_lm_head.weight
      heads.masked_lm.output.bias: generator_lm_head.bias
    aliases: {cls.predictions.decoder.bias: null}
"""

DISTILBERT = """
extends: bert-base
name: distilbert
embeddings: {tables: {segments: null}}
pooler: null
dropout: {residual: 0.0, feed_forward: 0.1}
checkpoint:
  huggingface:
    model_type: distilbert
    prefix: distilbert
    architectures: {none: DistilBertModel, masked_lm: DistilBertForMaskedLM, causal_lm: null}
    config:
      hidden_size: null
      num_hidden_layers: null
      num_attention_heads: null
      intermediate_size: null
      hidden_act: null
      hidden_dropout_prob: null
      attention_probs_dropout_prob: null
      position_embedding_type: null
      type_vocab_size: null
      layer_norm_eps: null
      is_decoder: null
      add_cross_attention: null
      dim: dims.model
      n_layers: dims.layers
      n_heads: dims.heads
      hidden_dim: dims.inner
      activation: {path: [ffn.activation, heads.output.activation]}
      dropout: {path: [dropout.embeddings, dropout.feed_forward]}
      attention_dropout: dropout.attention
      sinusoidal_pos_embds: {path: "", values: {false: {}}, only: true}
    ignored: [qa_dropout, seq_classif_dropout]
    names:
      blocks.*.attention.query: transformer.layer.*.attention.q_lin
      blocks.*.attention.key: transformer.layer.*.attention.k_lin
      blocks.*.attention.value: transformer.layer.*.attention.v_lin
      blocks.*.attention.output: transformer.layer.*.attention.out_lin
      blocks.*.attention_norm: transformer.layer.*.sa_layer_norm
      blocks.*.feed_forward.up: transformer.layer.*.ffn.lin1
      blocks.*.feed_forward.down: transformer.layer.*.ffn.lin2
      blocks.*.feed_forward_norm: transformer.layer.*.output_layer_norm
      heads.masked_lm.output.dense: vocab_transform
      heads.masked_lm.output.norm: vocab_layer_norm
      heads.masked_lm.output.weight: vocab_projector.weight
      heads.masked_lm.output.bias: vocab_projector.bias
    aliases: {cls.predictions.decoder.bias: null}
"""

OPT = """
name: opt
dims: {layers: 12, model: 768, heads: 12, inner: 3072, vocab: 50272}
embeddings: {tables: {tokens: {padding: 1, width: 768}}}
position: {kind: learned, size: 2050, start: 2}
attention: {mask: [padding, causal]}
memory: {kind: keys_values, train: true}
norm: {placement: pre}
final_norm: true
ffn: {activation: relu}
dropout: {attention: 0.0, residual: 0.1}
tokens: {padding: 1, bos: 2, eos: 2}
heads: {default: causal_lm}
checkpoint:
  huggingface:
    model_type: opt
    prefix: model
    architectures: {none: OPTModel, causal_lm: OPTForCausalLM}
    config:
      vocab_size: dims.vocab
      hidden_size: dims.model
      num_hidden_layers: dims.layers
      num_attention_heads: dims.heads
      ffn_dim: dims.inner
      word_embed_proj_dim: embeddings.tables.tokens.width
      # Two rows before the first position were never used.
      max_position_embeddings: {path: position.size, offset: 2}
      activation_function: {path: ffn.activation, values: {gelu_new: gelu_tanh}}
      do_layer_norm_before:
        path: ""
        values:
          true: {norm: {placement: pre}, final_norm: true}
          false: {norm: {placement: post}, final_norm: false}
        only: true
      enable_bias: {path: [attention.bias, ffn.bias]}
      dropout: dropout.residual
      attention_dropout: dropout.attention
      layerdrop: block.layer_drop
      init_std: init.std
      use_cache: {path: [memory.eval, memory.train]}
      layer_norm_elementwise_affine: {path: "", values: {true: {}}, only: true}
      pad_token_id: {path: [tokens.padding, embeddings.tables.tokens.padding]}
      bos_token_id: tokens.bos
      eos_token_id: tokens.eos
      tie_word_embeddings: heads.output.tied
    ignored: [_remove_final_layer_norm]
    names:
      embeddings.tokens.tables.0: decoder.embed_tokens.weight
      embeddings.tokens.projections.0: decoder.project_in.weight
      embeddings.positions.weight: decoder.embed_positions.weight
      blocks.*.attention_norm: decoder.layers.*.self_attn_layer_norm
      blocks.*.attention.query: decoder.layers.*.self_attn.q_proj
      blocks.*.attention.key: decoder.layers.*.self_attn.k_proj
      blocks.*.attention.value: decoder.layers.*.self_attn.v_proj
      blocks.*.attention.output: decoder.layers.*.self_attn.out_proj
      blocks.*.feed_forward_norm: decoder.layers.*.final_layer_norm
      blocks.*.feed_forward.up: decoder.layers.*.fc1
      blocks.*.feed_forward.down: decoder.layers.*.fc2
      final_norm: decoder.final_layer_norm
      heads.causal_lm.output.projection: [model.decoder.project_out.weight, "w d -> d w"]
      heads.causal_lm.output.weight: lm_head.weight
"""

QWEN2 = """
extends: llama-small
name: qwen2
attention: {bias: {query: true, key: true, value: true, output: false}}
layers: {pattern: [global], kinds: {local: {attention.window: 4096}, global: {}}}
tokens: {bos: null, eos: null}
checkpoint:
  huggingface:
    model_type: qwen2
    architectures: {none: Qwen2Model, causal_lm: Qwen2ForCausalLM}
    config:
      attention_bias: null
      mlp_bias: null
      head_dim: null
      use_sliding_window: {path: "", values: {true: {}, false: {}}, only: true}
      layer_types: {path: layers.pattern, entries: {sliding_attention: local, full_attention: global}}
      sliding_window: layers.kinds.local.attention.window
    ignored: [max_window_layers]
"""

MISTRAL = """
extends: llama-small
name: mistral
attention: {window: 4096}
checkpoint:
  huggingface:
    model_type: mistral
    architectures: {none: MistralModel, causal_lm: MistralForCausalLM}
    config:
      attention_bias: null
      mlp_bias: null
      sliding_window: attention.window
"""

GPT_NEOX = """
extends: llama-small
name: gpt-neox
position: {fraction: 0.25}
attention: {bias: true}
norm: {kind: layer, eps: 1.0e-5, bias: true}
ffn: {activation: gelu, gated: false, bias: true}
block: {order: parallel}
dropout: {embeddings: 0.0, residual: 0.0}
checkpoint:
  huggingface:
    model_type: gpt_neox
    prefix: gpt_neox
    architectures: {none: GPTNeoXModel, causal_lm: GPTNeoXForCausalLM}
    config:
      num_key_value_heads: null
      head_dim: null
      mlp_bias: null
      rms_norm_eps: null
      rope_theta: null
      rotary_pct: position.fraction
      rotary_emb_base: position.base
      use_parallel_residual: {path: block.order, values: {true: parallel, false: sequential}, only: true}
      hidden_dropout: {path: [dropout.embeddings, dropout.residual]}
      layer_norm_eps: norm.eps
    ignored: [max_position_embeddings, classifier_dropout, partial_rotary_factor, rope_theta]
    names:
      embeddings.tokens.tables.0: embed_in.weight
      blocks.*.attention.query: null
      blocks.*.attention.key: null
      blocks.*.attention.value: null
      blocks.*.attention.(query key value).weight: [layers.*.attention.query_key_value.weight, "(h c k) d -> c (h k) d"]
      blocks.*.attention.(query key value).bias: [layers.*.attention.query_key_value.bias, "(h c k) -> c (h k)"]
      blocks.*.attention.output: layers.*.attention.dense
      blocks.*.feed_forward.up: layers.*.mlp.dense_h_to_4h
      blocks.*.feed_forward.down: layers.*.mlp.dense_4h_to_h
      final_norm: final_layer_norm
      heads.causal_lm.output: embed_out
"""

GPT_J = """
extends: gpt2
name: gpt-j
embeddings: {tables: {segments: {source: tokens}}}
position: {kind: rotary, width: 64, interleaved: true}
attention: {bias: false}
block: {order: parallel, shared_norm: true}
heads: {output: {tied: false, bias: true}}
checkpoint:
  huggingface:
    model_type: gptj
    architectures: {none: GPTJModel, causal_lm: GPTJForCausalLM}
    config:
      n_positions: null
      scale_attn_weights: null
      scale_attn_by_inverse_layer_idx: null
      add_cross_attention: null
      rotary_dim: position.width
    ignored: [n_positions, summary_type, summary_use_proj, summary_activation, summary_proj_to_labels, summary_first_dropout]
    names:
      blocks.*.attention.(query key value).weight: null
      blocks.*.attention.(query key value).bias: null
      blocks.*.attention.query: h.*.attn.q_proj
      blocks.*.attention.key: h.*.attn.k_proj
      blocks.*.attention.value: h.*.attn.v_proj
      blocks.*.attention.output.weight: h.*.attn.out_proj.weight
      blocks.*.feed_forward.up.weight: h.*.mlp.fc_in.weight
      blocks.*.feed_forward.up.bias: h.*.mlp.fc_in.bias
      blocks.*.feed_forward.down.weight: h.*.mlp.fc_out.weight
      blocks.*.feed_forward.down.bias: h.*.mlp.fc_out.bias
"""

PHI = """
extends: llama-small
name: phi
position: {fraction: 0.5}
attention: {bias: true}
norm: {kind: layer, eps: 1.0e-5, bias: true}
ffn: {activation: gelu_tanh, gated: false, bias: true}
block: {order: parallel, shared_norm: true}
dropout: {embeddings: 0.0, residual: 0.0}
heads: {output: {bias: true}}
checkpoint:
  huggingface:
    model_type: phi
    architectures: {none: PhiModel, causal_lm: PhiForCausalLM}
    config:
      head_dim: null
      attention_bias: null
      mlp_bias: null
      rms_norm_eps: null
      partial_rotary_factor: position.fraction
      embd_pdrop: dropout.embeddings
      resid_pdrop: dropout.residual
      layer_norm_eps: norm.eps
      qk_layernorm: {path: "", values: {false: {}}, only: true}
    names:
      blocks.*.attention.output: layers.*.self_attn.dense
      blocks.*.feed_forward.up: layers.*.mlp.fc1
      blocks.*.feed_forward.down: layers.*.mlp.fc2
      final_norm: final_layernorm
"""

NEMOTRON = """
extends: llama-small
name: nemotron
position: {fraction: 0.5}
norm: {kind: layer, offset: 1.0, bias: true, eps: 1.0e-5}
ffn: {activation: relu2, gated: false}
checkpoint:
  huggingface:
    model_type: nemotron
    architectures: {none: NemotronModel, causal_lm: NemotronForCausalLM}
    config:
      rms_norm_eps: null
      norm_eps: norm.eps
      partial_rotary_factor: position.fraction
    names: {blocks.*.feed_forward.gate: null}
"""

COHERE = """
extends: llama-small
name: cohere
position: {interleaved: true}
norm: {kind: layer, eps: 1.0e-5}
block: {order: parallel, shared_norm: true}
heads: {output: {tied: true, scale: 0.0625}}
checkpoint:
  huggingface:
    model_type: cohere
    architectures: {none: CohereModel, causal_lm: CohereForCausalLM}
    config:
      head_dim: null
      mlp_bias: null
      rms_norm_eps: null
      layer_norm_eps: norm.eps
      logit_scale: heads.output.scale
      use_qk_norm: {path: attention.head_norm, values: {false: null, true: {kind: layer, over: head, own: true}}, only: true}
    names:
      blocks.*.attention.query_norm: layers.*.self_attn.q_norm
      blocks.*.attention.key_norm: layers.*.self_attn.k_norm
"""

# Its attention; experts stand in a spec of their own.
SINKS = """
extends: llama-small
name: sinks
attention: {bias: true, sinks: true}
layers: {pattern: [local, global], kinds: {local: {attention.window: 128}, global: {}}}
checkpoint:
  huggingface:
    model_type: gpt_oss
    architectures: {none: DenseGptOss}
    config:
      layer_types: {path: layers.pattern, entries: {sliding_attention: local, full_attention: global}}
      sliding_window: layers.kinds.local.attention.window
    defaults: {attention_bias: true}
    ignored: [num_local_experts, num_experts_per_tok, output_router_logits, router_aux_loss_coef, experts_per_token]
    names:
      blocks.*.attention.sinks: layers.*.self_attn.sinks
"""


class Alone(LlamaMLP):
    """A feed-forward network where a mixture, which gives its choices too, is expected."""

    def forward(self, x: Any) -> Any:
        return super().forward(x), None


class DenseGptOss(t.GptOssModel):
    """The attention of GPT-OSS around a plain feed-forward network."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        config.mlp_bias = False
        for layer in self.layers:
            layer.mlp = Alone(config)


GLM_4_5 = """
extends: qwen3-30b-a3b
name: glm-4.5
position: {fraction: 0.5}
layers: {pattern: [dense, sparse]}
ffn:
  experts: {score: sigmoid, correction_bias: true, groups: {count: 1, active: 1, score: best_two}, shared: {}}
checkpoint:
  huggingface:
    model_type: glm4_moe
    architectures: {none: Glm4MoeModel, causal_lm: Glm4MoeForCausalLM}
    config:
      partial_rotary_factor: position.fraction
      attention_bias: {path: attention.bias, values: {true: {query: true, key: true, value: true, output: false}, false: false}, only: true}
      use_qk_norm: {path: attention.head_norm, values: {false: null, true: {over: head}}, only: true}
      num_experts: null
      n_routed_experts: ffn.experts.count
      n_shared_experts: ffn.experts.shared.count
      n_group: ffn.experts.groups.count
      topk_group: ffn.experts.groups.active
      routed_scaling_factor: ffn.experts.scale
      mlp_only_layers: null
      first_k_dense_replace: {path: layers.pattern, leading: [dense, sparse]}
      decoder_sparse_step: null
      output_router_logits: null
      router_aux_loss_coef: null
      use_sliding_window: null
    names:
      blocks.*.feed_forward.correction_bias: layers.*.mlp.gate.e_score_correction_bias
      blocks.*.feed_forward.shared.gate: layers.*.mlp.shared_experts.gate_proj
      blocks.*.feed_forward.shared.up: layers.*.mlp.shared_experts.up_proj
      blocks.*.feed_forward.shared.down: layers.*.mlp.shared_experts.down_proj
"""

BERT_TINY = {
    **NAMES,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "max_position_embeddings": 40,
}
DRY = {
    "embd_pdrop": 0.0,
    "resid_pdrop": 0.0,
    "attn_pdrop": 0.0,
    "bos_token_id": 0,
    "eos_token_id": 0,
}
OPT_TINY = {"vocab_size": VOCAB, "hidden_size": WIDTH, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS,
            "ffn_dim": 40, "word_embed_proj_dim": WIDTH, "dropout": 0.0, "max_position_embeddings": 40}  # fmt: skip
FEW_IDS = {"bos_token_id": 0, "eos_token_id": 0}
LLAMA_TINY = {**NAMES, "num_attention_heads": 4, "num_key_value_heads": 2}
MODERN_TINY = {**NAMES, "num_hidden_layers": 5, "global_attn_every_n_layers": 2, "local_attention": 4,
               "global_rope_theta": 500.0, "local_rope_theta": 50.0, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
               "cls_token_id": 1, "reference_compile": False}  # fmt: skip
# The root of its width is a whole number: theirs is of single precision.
GEMMA3_TINY = {**LLAMA_TINY, **FEW_IDS, "hidden_size": 16, "num_hidden_layers": 3, "head_dim": 12, "sliding_window": 3,
               "query_pre_attn_scalar": 5, "rope_theta": 500.0, "rope_local_base_freq": 50.0,
               "layer_types": ["sliding_attention", "full_attention", "sliding_attention"]}  # fmt: skip
SMOL_TINY = {**LLAMA_TINY, "num_hidden_layers": 3, "no_rope_layers": [1, 0, 1], "pad_token_id": 0, "bos_token_id": 1,
             "eos_token_id": 2}  # fmt: skip
BLOOM_TINY = {
    "vocab_size": VOCAB,
    "hidden_size": WIDTH,
    "n_layer": LAYERS,
    "n_head": 4,
    "hidden_dropout": 0.0,
}
FALCON_TINY = {
    **{name: size for name, size in NAMES.items() if name != "intermediate_size"},
    "num_attention_heads": 4,
}
PHI3_TINY = {**NAMES, "num_attention_heads": 4, "pad_token_id": 0, "eos_token_id": 2}
LONG = {
    "max_position_embeddings": 40,
    "original_max_position_embeddings": 4,
    "rope_scaling": {
        "type": "longrope",
        "short_factor": [1.0, 1.1, 1.2, 1.5],
        "long_factor": [1.5, 2.0, 3.0, 4.5],
    },
}

QWEN_EXPERTS = {
    **LLAMA_TINY,
    "moe_intermediate_size": 12,
    "num_experts": 4,
    "num_experts_per_tok": 2,
}

VARIANTS: dict[str, Variant] = {
    "bert": Variant("bert-base", t.BertConfig, t.BertModel, t.BertForMaskedLM, "given", False, BERT_TINY),
    "bert, distances": Variant(
        "bert-base", t.BertConfig, t.BertModel, t.BertForMaskedLM, "given", False,
        {**BERT_TINY, "position_embedding_type": "relative_key_query", "hidden_act": "gelu_new"},
    ),
    "gpt2": Variant("gpt2", t.GPT2Config, t.GPT2Model, t.GPT2LMHeadModel, "given", False, {**SHORT, **DRY, "n_inner": 40}),
    "gpt2, unscaled": Variant(
        "gpt2", t.GPT2Config, t.GPT2Model, t.GPT2LMHeadModel, "given", False,
        {**SHORT, **DRY, "scale_attn_weights": False, "activation_function": "relu", "tie_word_embeddings": False},
    ),
    "llama": Variant("llama-small", t.LlamaConfig, t.LlamaModel, t.LlamaForCausalLM, "given", False, LLAMA_TINY),
    "llama, options": Variant(
        "llama-small", t.LlamaConfig, t.LlamaModel, t.LlamaForCausalLM, "given", False,
        {**LLAMA_TINY, "rope_theta": 500000.0, "head_dim": 12, "attention_bias": True, "mlp_bias": True,
         "tie_word_embeddings": True, "hidden_act": "gelu_new"},
    ),
    **{
        f"llama, {kind}": Variant(
            "llama-small", t.LlamaConfig, None, t.LlamaForCausalLM, counts, False,
            {**LLAMA_TINY, "max_position_embeddings": 6, "rope_scaling": {"rope_type": kind, **scaling}},
        )
        for kind, counts, scaling in (
            ("linear", "given", {"factor": 3.0}),
            ("dynamic", "longest", {"factor": 3.0}),
        )
    },
    "llama 3.1": Variant(
        "llama-3.1-8b", t.LlamaConfig, t.LlamaModel, t.LlamaForCausalLM, "given", False,
        {**LLAMA_TINY, "rope_theta": 1000.0, "rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
         "high_freq_factor": 4.0, "original_max_position_embeddings": 40}},
    ),
    "phi-3": Variant("phi-3-mini", t.Phi3Config, t.Phi3Model, t.Phi3ForCausalLM, "given", False, PHI3_TINY),
    "phi-3, longrope": Variant(
        "phi-3-mini", t.Phi3Config, None, t.Phi3ForCausalLM, "given", False, {**PHI3_TINY, **LONG},
    ),
    "phi-3, longrope, short": Variant(
        "phi-3-mini", t.Phi3Config, None, t.Phi3ForCausalLM, "given", False,
        {**PHI3_TINY, **LONG, "original_max_position_embeddings": 30},
    ),
    "qwen2, yarn": Variant(
        QWEN2, t.Qwen2Config, None, t.Qwen2ForCausalLM, "given", False,
        {**LLAMA_TINY, "rope_theta": 1000.0, "rope_scaling": {"rope_type": "yarn", "factor": 4.0,
         "original_max_position_embeddings": 40, "beta_fast": 4.0}},
    ),
    "bloom": Variant("bloom-560m", t.BloomConfig, t.BloomModel, t.BloomForCausalLM, "own", False, BLOOM_TINY, 1e-8),
    "bloom, three heads": Variant(
        "bloom-560m", t.BloomConfig, None, t.BloomForCausalLM, "own", False, {**BLOOM_TINY, "n_head": 3, "hidden_size": 24},
        1e-8,
    ),
    "t5 encoder": Variant(
        "t5-encoder-small", t.T5Config, t.T5EncoderModel, None, "own", False,
        {"vocab_size": VOCAB, "d_model": WIDTH, "d_kv": 6, "d_ff": 40, "num_layers": LAYERS, "num_heads": HEADS,
         "dropout_rate": 0.0, "relative_attention_num_buckets": 8, "relative_attention_max_distance": 6},
    ),
    "roberta": Variant(ROBERTA, t.RobertaConfig, t.RobertaModel, t.RobertaForMaskedLM, "own", False, BERT_TINY),
    "electra": Variant(
        ELECTRA, t.ElectraConfig, t.ElectraModel, t.ElectraForMaskedLM, "given", False, {**BERT_TINY, "embedding_size": 12}
    ),
    "distilbert": Variant(
        DISTILBERT, t.DistilBertConfig, t.DistilBertModel, t.DistilBertForMaskedLM, "columns", False,
        {"vocab_size": VOCAB, "dim": WIDTH, "n_layers": LAYERS, "n_heads": HEADS, "hidden_dim": 40, "dropout": 0.0,
         "attention_dropout": 0.0, "max_position_embeddings": 40},
    ),
    "opt": Variant(OPT, t.OPTConfig, t.OPTModel, t.OPTForCausalLM, "own", False, OPT_TINY),
    "opt, post-norm, narrow": Variant(
        OPT, t.OPTConfig, None, t.OPTForCausalLM, "own", True,
        {**OPT_TINY, "do_layer_norm_before": False, "word_embed_proj_dim": 16},
    ),
    "qwen2": Variant(QWEN2, t.Qwen2Config, t.Qwen2Model, t.Qwen2ForCausalLM, "given", False, LLAMA_TINY),
    "qwen2, local and global": Variant(
        QWEN2, t.Qwen2Config, None, t.Qwen2ForCausalLM, "given", False,
        {**LLAMA_TINY, "num_hidden_layers": 3, "use_sliding_window": True, "sliding_window": 3,
         "layer_types": ["sliding_attention", "full_attention", "sliding_attention"]},
    ),
    "smollm3": Variant("smollm3-3b", SmolLM3Config, SmolLM3Model, SmolLM3ForCausalLM, "given", False, SMOL_TINY),
    "mistral": Variant(
        MISTRAL, t.MistralConfig, t.MistralModel, t.MistralForCausalLM, "given", False, {**LLAMA_TINY, "sliding_window": 4}
    ),
    "mistral, no window": Variant(
        MISTRAL, t.MistralConfig, None, t.MistralForCausalLM, "given", False, {**LLAMA_TINY, "sliding_window": None}
    ),
    "mixtral": Variant(
        "mixtral-8x7b", t.MixtralConfig, t.MixtralModel, t.MixtralForCausalLM, "given", False,
        {**LLAMA_TINY, "num_local_experts": 4, "num_experts_per_tok": 2},
    ),
    "qwen3 moe": Variant(
        "qwen3-30b-a3b", t.Qwen3MoeConfig, t.Qwen3MoeModel, t.Qwen3MoeForCausalLM, "given", False,
        {**QWEN_EXPERTS, "head_dim": 12, "norm_topk_prob": True},
    ),
    "qwen2 moe, dense below": Variant(
        "qwen1.5-moe-a2.7b", t.Qwen2MoeConfig, None, t.Qwen2MoeForCausalLM, "given", False,
        {**QWEN_EXPERTS, "shared_expert_intermediate_size": 20, "mlp_only_layers": [0]},
    ),
    "olmoe": Variant(
        "olmoe-1b-7b", t.OlmoeConfig, None, t.OlmoeForCausalLM, "given", False,
        {**LLAMA_TINY, "num_experts": 4, "num_experts_per_tok": 2, "pad_token_id": 1, "eos_token_id": 2},
    ),
    "glm 4.5": Variant(
        GLM_4_5, Glm4MoeConfig, None, Glm4MoeForCausalLM, "given", False,
        {**LLAMA_TINY, "head_dim": 12, "moe_intermediate_size": 12, "n_routed_experts": 8, "num_experts_per_tok": 3,
         "n_shared_experts": 2, "n_group": 4, "topk_group": 2, "routed_scaling_factor": 1.7, "use_qk_norm": True},
    ),
    "gpt-neox": Variant(GPT_NEOX, t.GPTNeoXConfig, t.GPTNeoXModel, t.GPTNeoXForCausalLM, "given", False, NAMES),
    "gpt-neox, sequential": Variant(
        GPT_NEOX, t.GPTNeoXConfig, None, t.GPTNeoXForCausalLM, "given", False, {**NAMES, "use_parallel_residual": False}
    ),
    "gpt-j": Variant(GPT_J, t.GPTJConfig, t.GPTJModel, t.GPTJForCausalLM, "given", False, {**SHORT, **DRY, "rotary_dim": 8}),
    "falcon": Variant("falcon-7b", t.FalconConfig, t.FalconModel, t.FalconForCausalLM, "given", False, {**FALCON_TINY, **FEW_IDS}),
    "falcon, old": Variant(
        "falcon-7b", t.FalconConfig, None, t.FalconForCausalLM, "given", False,
        {**FALCON_TINY, **FEW_IDS, "multi_query": False, "bias": True, "ffn_hidden_size": 40, "parallel_attn": False},
    ),
    "falcon, new": Variant(
        "falcon-40b", t.FalconConfig, None, t.FalconForCausalLM, "given", False,
        {**FALCON_TINY, **FEW_IDS, "new_decoder_architecture": True, "num_kv_heads": 2},
    ),
    "starcoder": Variant(
        "starcoder-15b", t.GPTBigCodeConfig, t.GPTBigCodeModel, t.GPTBigCodeForCausalLM, "given", False,
        {**SHORT, **DRY, "n_positions": 40},
    ),
    "codegen": Variant(
        "codegen-350m", t.CodeGenConfig, t.CodeGenModel, t.CodeGenForCausalLM, "given", False,
        {**SHORT, **DRY, "n_embd": 16, "n_head": 4, "rotary_dim": 4},
    ),
    "gpt-neo": Variant(
        "gpt-neo-125m", t.GPTNeoConfig, t.GPTNeoModel, t.GPTNeoForCausalLM, "given", False,
        {"vocab_size": VOCAB, "hidden_size": WIDTH, "num_layers": 3, "num_heads": HEADS, "max_position_embeddings": 40,
         "attention_types": [[["local"], 1], [["global", "local"], 1]], "window_size": 3, "resid_dropout": 0.0,
         "embed_dropout": 0.0, **FEW_IDS},
    ),
    "granite": Variant(
        "granite-3-2b", t.GraniteConfig, t.GraniteModel, t.GraniteForCausalLM, "given", False,
        {**LLAMA_TINY, **FEW_IDS, "embedding_multiplier": 3, "logits_scaling": 7.0, "residual_multiplier": 0.4,
         "attention_multiplier": 0.2},
    ),
    "gemma": Variant(
        "gemma-2b", t.GemmaConfig, t.GemmaModel, t.GemmaForCausalLM, "given", False, {**LLAMA_TINY, **FEW_IDS, "head_dim": 12}
    ),
    "gemma 2": Variant(
        "gemma-2-2b", t.Gemma2Config, t.Gemma2Model, t.Gemma2ForCausalLM, "given", False,
        {**LLAMA_TINY, **FEW_IDS, "num_hidden_layers": 3, "head_dim": 12, "query_pre_attn_scalar": 5, "sliding_window": 3,
         "attn_logit_softcapping": 2.0, "final_logit_softcapping": 3.0},
    ),
    "gemma 3": Variant(
        "gemma-3-1b", t.Gemma3TextConfig, t.Gemma3TextModel, t.Gemma3ForCausalLM, "given", False, GEMMA3_TINY,
    ),
    "gemma 3, longer": Variant(
        "gemma-3-1b", t.Gemma3TextConfig, None, t.Gemma3ForCausalLM, "given", False,
        {**GEMMA3_TINY, "rope_scaling": {"rope_type": "linear", "factor": 8.0}, "final_logit_softcapping": 2.0,
         "layer_types": ["full_attention", "sliding_attention", "sliding_attention"]},
    ),
    "modernbert": Variant(
        "modernbert-base", t.ModernBertConfig, t.ModernBertModel, t.ModernBertForMaskedLM, "given", True, MODERN_TINY
    ),
    "modernbert, options": Variant(
        "modernbert-base", t.ModernBertConfig, None, t.ModernBertForMaskedLM, "given", True,
        {**MODERN_TINY, "norm_bias": True, "attention_bias": True, "mlp_bias": True, "classifier_bias": True,
         "decoder_bias": False, "hidden_activation": "silu", "global_attn_every_n_layers": 3, "tie_word_embeddings": False},
    ),
    "cohere 2": Variant(
        "command-r7b", t.Cohere2Config, t.Cohere2Model, t.Cohere2ForCausalLM, "given", False,
        {**LLAMA_TINY, **FEW_IDS, "num_hidden_layers": 3, "sliding_window": 3,
         "layer_types": ["sliding_attention", "full_attention", "sliding_attention"]},
    ),
    "stablelm": Variant(
        "stablelm-2-1.6b", t.StableLmConfig, t.StableLmModel, t.StableLmForCausalLM, "given", False,
        {**LLAMA_TINY, **FEW_IDS, "use_qkv_bias": True, "partial_rotary_factor": 0.5},
    ),
    "stablelm, parallel": Variant(
        "stablelm-2-1.6b", t.StableLmConfig, None, t.StableLmForCausalLM, "given", False,
        {**LLAMA_TINY, **FEW_IDS, "use_parallel_residual": True, "partial_rotary_factor": 0.5},
    ),
    "sinks": Variant(
        SINKS, t.GptOssConfig, DenseGptOss, None, "given", False, {**LLAMA_TINY, **FEW_IDS, "rope_scaling": None, "sliding_window": 3}
    ),
    "nemotron": Variant(
        NEMOTRON, t.NemotronConfig, t.NemotronModel, t.NemotronForCausalLM, "given", False, LLAMA_TINY
    ),
    "olmo": Variant("olmo-1b", t.OlmoConfig, t.OlmoModel, t.OlmoForCausalLM, "given", False, {**LLAMA_TINY, **FEW_IDS}),
    "olmo 2": Variant(
        "olmo-2-1b", t.Olmo2Config, t.Olmo2Model, t.Olmo2ForCausalLM, "given", False, {**LLAMA_TINY, **FEW_IDS}
    ),
    "qwen3": Variant(
        "qwen3-8b", t.Qwen3Config, t.Qwen3Model, t.Qwen3ForCausalLM, "given", False, {**LLAMA_TINY, "head_dim": 12}
    ),
    "cohere": Variant(COHERE, t.CohereConfig, t.CohereModel, t.CohereForCausalLM, "given", False, {**LLAMA_TINY, **FEW_IDS}),
    "cohere, head norms": Variant(
        COHERE, t.CohereConfig, None, t.CohereForCausalLM, "given", False, {**LLAMA_TINY, **FEW_IDS, "use_qk_norm": True}
    ),
    "arcee": Variant("arcee", t.ArceeConfig, t.ArceeModel, t.ArceeForCausalLM, "given", False, {**LLAMA_TINY, **FEW_IDS}),
    **{
        f"llama, {name}": Variant(
            "llama-small", t.LlamaConfig, None, t.LlamaForCausalLM, "given", False, {**LLAMA_TINY, "hidden_act": name}
        )
        for name in ("quick_gelu", "mish", "sigmoid", "gelu_10", "relu6", "leaky_relu", "laplace", "linear", "gelu_fast")
    },
    "phi": Variant(PHI, t.PhiConfig, t.PhiModel, t.PhiForCausalLM, "given", False, NAMES),
}  # fmt: skip

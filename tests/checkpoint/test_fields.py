"""Fields of a config.json that stand in sections, are lists with an entry a layer, or hang on others."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from engine import CheckpointError, Spec, load_spec
from engine.checkpoint.config import kept_words, left_over, read_config, write_config
from engine.checkpoint.config.places import differences
from engine.spec.load import families, read


def spec_of(name: str, config: dict[str, Any]) -> Spec:
    layout = load_spec(name).checkpoint.huggingface
    assert layout is not None
    return load_spec(read_config(config, layout, read(name)).data)


def written(spec: Spec) -> dict[str, Any]:
    layout = spec.checkpoint.huggingface
    assert layout is not None
    return json.loads(json.dumps(write_config(spec.to_dict(), layout).config))


YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32}


@pytest.mark.parametrize(
    ("given", "back"),
    [
        (None, None),
        ({"type": "linear", "factor": 2.0}, {"rope_type": "linear", "factor": 2.0}),
        (YARN, YARN),
        ({**YARN, "beta_fast": 8.0, "beta_slow": 1.0}, {**YARN, "beta_fast": 8.0}),
    ],
)
def test_a_section_is_written_without_what_its_class_takes_anyway(given: Any, back: Any) -> None:
    spec = spec_of("llama-small", {"rope_scaling": given})
    assert written(spec)["rope_scaling"] == back


def test_a_field_counts_under_what_another_says() -> None:
    plain = {"factor": 2.0}
    for kind, trained in (("dynamic", 99), ("yarn", 99)):
        config = {"rope_scaling": {"rope_type": kind, **plain}, "max_position_embeddings": 99}
        assert spec_of("llama-small", config).to_dict()["position"]["scaling"]["trained"] == trained
    config = {"rope_scaling": {"rope_type": "linear", **plain}, "max_position_embeddings": 99}
    assert "trained" not in spec_of("llama-small", config).to_dict()["position"]["scaling"]


def test_what_a_section_says_in_vain_is_told_with_its_place() -> None:
    layout = load_spec("llama-small").checkpoint.huggingface
    assert layout is not None
    assert left_over({"rope_scaling": {"factor": 2.0, "foo": 1}}, layout) == ["rope_scaling.foo"]


def test_a_list_becomes_the_shortest_pattern_and_is_written_whole() -> None:
    config = {"num_hidden_layers": 6, "no_rope_layers": [1, 1, 0, 1, 1, 0]}
    spec = spec_of("smollm3-3b", config)
    assert spec.layers is not None and spec.layers.pattern == ("rotary", "rotary", "plain")
    assert written(spec)["no_rope_layers"] == config["no_rope_layers"]
    period = {"num_hidden_layers": 6, "no_rope_layer_interval": 3}
    assert spec_of("smollm3-3b", period).layers == spec.layers
    both = spec_of("smollm3-3b", {**period, "no_rope_layers": [0, 1] * 3})
    assert both.layers is not None and both.layers.pattern == ("plain", "rotary")


def test_a_number_of_layers_becomes_a_pattern() -> None:
    spec = spec_of("gemma-3-1b", {"num_hidden_layers": 8, "sliding_window_pattern": 4})
    assert spec.layers is not None and spec.layers.pattern == ("local",) * 3 + ("global",)
    windows = [one.attention.window for one in spec.of_layers()]
    assert windows == [4096, 4096, 4096, None] * 2
    full, sliding = "full_attention", "sliding_attention"
    assert written(spec)["layer_types"] == [sliding, sliding, sliding, full] * 2


def test_an_entry_that_the_layout_lacks_is_named() -> None:
    with pytest.raises(CheckpointError, match="no_rope_layers holds 2; this family has: 1, 0"):
        spec_of("smollm3-3b", {"no_rope_layers": [1, 2]})
    with pytest.raises(CheckpointError, match="no_rope_layers should be a list, found 3"):
        spec_of("smollm3-3b", {"no_rope_layers": 3})


@pytest.mark.parametrize("name", ["rope_scaling", "rope_parameters"])
@pytest.mark.parametrize("value", [2.0, 16, "linear", ["linear"], False])
def test_what_stands_in_the_place_of_a_section_is_refused(name: str, value: Any) -> None:
    wanted = f"{name} should be a section of keys, found {value!r}"
    with pytest.raises(CheckpointError, match=re.escape(wanted)):
        spec_of("llama-small", {name: value})


def test_a_section_without_the_field_that_chooses_it_is_told() -> None:
    layout = load_spec("llama-small").checkpoint.huggingface
    assert layout is not None
    reading = read_config({"rope_scaling": {"factor": 2.0}}, layout, read("llama-small"))
    assert reading.data["position"].get("scaling") is None
    assert reading.remarks == (
        "rope_scaling.factor 2.0 says nothing beside the rest of config.json",
    )


# What published files always say.
ALWAYS_SAID = {"t5": {"decoder_start_token_id", "feed_forward_proj"}}


@pytest.mark.parametrize("family", sorted(families()))
def test_a_field_that_is_left_out_is_as_its_class_has_it(family: str) -> None:
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    if family not in CONFIG_MAPPING:
        pytest.skip("transformers has no such class any more")
    made = CONFIG_MAPPING[family]
    full = made().to_dict()
    for plain in families()[family]:
        layout = load_spec(plain["name"]).checkpoint.huggingface
        assert layout is not None
        for name in layout.config.keys() & full.keys() - ALWAYS_SAID.get(family, set()):
            less = {key: value for key, value in full.items() if key != name}
            try:
                found = read_config(less, layout, plain).data
                wanted = read_config(made(**less).to_dict(), layout, plain).data
            except CheckpointError:  # the class's own network is of another of our specs
                continue
            if found != wanted:  # until what follows from others is resolved
                found, wanted = load_spec(found).to_dict(), load_spec(wanted).to_dict()
            assert differences(found, wanted) == [], name


def test_a_default_is_silent_where_another_name_of_the_field_speaks() -> None:
    rope = {"rope_parameters": {"rope_type": "default", "rope_theta": 50.0}}
    for name in ("qwen3-8b", "smollm3-3b"):
        layout = load_spec(name).checkpoint.huggingface
        assert layout is not None
        reading = read_config(rope, layout, read(name))
        assert (reading.data["position"]["base"], reading.remarks) == (50.0, ())


COUNTED = """
extends: gpt2
name: counted
layers: {pattern: [far, near], kinds: {far: {}, near: {attention.window: 4}}}
checkpoint:
  huggingface:
    config:
      n_inner: null
      expansion: {path: dims.inner, factor: dims.model}
      multi_query: {path: dims.kv_heads, values: {true: 1, false: null}, only: true}
      attention_types: {path: layers.pattern, entries: {global: far, local: near}, runs: true}
"""


def test_numbers_that_count_by_others_and_lists_that_say_how_often(tmp_path: Path) -> None:
    path = tmp_path / "counted.yaml"
    path.write_text(COUNTED, encoding="utf-8")
    types = [[["global", "local"], 1], [["local"], 2]]
    config = {"n_embd": 48, "n_layer": 4, "n_head": 4, "expansion": 3, "multi_query": False,
              "attention_types": types}  # fmt: skip
    spec = spec_of(str(path), config)
    assert (spec.dims.inner, spec.dims.kv_heads) == (144, 4)
    assert spec.layers is not None
    assert spec.layers.expanded(4) == ("far", "near", "near", "near")
    back = written(spec)
    assert back["attention_types"] == [[["global", "local", "local", "local"], 1]]
    kept = {name: config[name] for name in ("expansion", "multi_query", "n_embd")}
    assert {name: back[name] for name in kept} == kept
    assert spec_of(str(path), {**config, "multi_query": True}).dims.kv_heads == 1
    layout = spec.checkpoint.huggingface
    assert layout is not None
    # The words of a file stay where they say the same.
    assert kept_words(config, {}, spec.to_dict(), layout, ())["attention_types"] == types
    for wrong, told in (
        ([["global", 2]], "holds"),
        (2, "should be a list"),
        ([[["far"], 9**9]], "holds"),
    ):
        with pytest.raises(CheckpointError, match=f"attention_types {told}"):
            spec_of(str(path), {**config, "attention_types": wrong})

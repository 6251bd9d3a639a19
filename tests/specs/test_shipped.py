"""Every spec that the project ships: valid, of the published size, and the same in transformers'
config.json.
"""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from transformers.modeling_utils import no_init_weights

from engine import Model, build_model, load_spec
from engine.checkpoint.config import differences, left_over, read_config, write_config
from engine.checkpoint.opening import family_of
from engine.spec import Spec
from engine.spec.axes import Layout
from engine.spec.load import SPECS, shipped
from tokenization.files.published import read_yaml

FILES = {
    path.relative_to(SPECS).with_suffix("").as_posix(): path
    for path in sorted(SPECS.rglob("*.yaml"))
}
PUBLISHED = read_yaml(Path(__file__).with_name("published.yaml"))
SIZES = sorted(name for name in FILES if "/" not in name)
# What a config.json never says: names and tokenizers.
ELSEWHERE = ("name", "tokenizer", "checkpoint", "heads.default", "heads.options")
# transformers 4.35.0, the last release whose Transformer-XL runs: TransfoXLModel and
# TransfoXLLMHeadModel with the published config on the meta device, parameters only, shared ones
# counted once.
TRANSFORMER_XL = {"none": 283_885_936, "causal_lm": 285_205_322}


def layout_of(spec: Spec) -> Layout:
    layout = spec.checkpoint.huggingface
    assert layout is not None
    return layout


def exported(spec: Spec) -> dict:
    return json.loads(json.dumps(write_config(spec.to_dict(), layout_of(spec)).config))


def architecture(spec: Spec, layout: Layout) -> str:
    classes = layout.architectures[spec.heads.default or "none"]
    return classes if isinstance(classes, str) else classes[0]


def count(model: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def assert_nothing_allocated(model: Model) -> None:
    assert all(tensor.is_meta for tensor in (*model.parameters(), *model.buffers()))


def test_the_published_sizes_are_there():
    assert sorted(PUBLISHED) == SIZES
    assert {name for name in FILES if name.startswith("tiny/")} == {
        f"tiny/{family}" for family in ("transformer-xl", "xglm", "xlm", "xlm-roberta-xl", "xlnet")
    }


@pytest.mark.parametrize("name", FILES)
def test_validates_under_every_way_to_name_it(name):
    spec = load_spec(FILES[name])
    assert load_spec(name) == load_spec(f"specs/{name}.yaml") == spec
    assert spec.to_dict() == load_spec(spec.to_dict()).to_dict()


@pytest.mark.parametrize("name", SIZES)
def test_a_size_carries_its_own_name(name):
    assert load_spec(name).name == name


@pytest.mark.parametrize("name", FILES)
def test_says_only_what_differs_from_its_family(name):
    own = read_yaml(FILES[name])
    parent = own.pop("extends", None)
    if parent is None:
        return
    beside = FILES[name].parent / parent
    inherited = load_spec(FILES.get(f"variants/{parent}", beside)).to_dict()
    for section in ("position", "memory"):  # one of another kind takes nothing over
        if (
            own.get(section, {}).get("kind", inherited[section]["kind"])
            != inherited[section]["kind"]
        ):
            del inherited[section]
    for path, value in leaves(own):
        node: Any = inherited
        for part in path:
            node = node.get(part, ...) if isinstance(node, dict) else ...
        assert node != value or path == ("name",), f"{'.'.join(path)} repeats the family"


def leaves(data, path=()):
    for key, value in data.items():
        if isinstance(value, dict):
            yield from leaves(value, (*path, key))
        else:
            yield (*path, key), value


@pytest.mark.parametrize("name", [name for name in FILES if not name.startswith("variants/")])
@pytest.mark.parametrize("bare", [True, False], ids=["body", "language model"])
def test_has_as_many_parameters_as_the_published_class(name, bare):
    spec = load_spec(name)
    head = None if bare else spec.heads.default
    model = build_model(spec, head, device="meta")
    assert_nothing_allocated(model)
    layout = layout_of(spec)
    if layout.model_type == "transfo-xl":
        if not name.startswith("tiny/"):
            assert count(model) == TRANSFORMER_XL[head or "none"]
        return
    classes = layout.architectures[head or "none"]
    theirs = getattr(transformers, classes if isinstance(classes, str) else classes[0])
    config = transformers.AutoConfig.for_model(**exported(spec))
    with torch.device("meta"), no_init_weights():
        published = theirs(config)
    published.tie_weights()
    assert count(model) == count(published)


@pytest.mark.parametrize("name", FILES)
def test_exported_config_reads_back_as_the_same_spec(name):
    spec = load_spec(name)
    layout = layout_of(spec)
    config = exported(spec) | {"architectures": [architecture(spec, layout)]}
    back = load_spec(read_config(config, layout, family_of(config)).data)
    # The tiny ones draw their embeddings wider than a config.json can say: fresh weights, not the
    # network.
    elsewhere = (*ELSEWHERE, "init.embeddings") if name.startswith("tiny/") else ELSEWHERE
    lost = [
        path
        for path in differences(spec.to_dict(), back.to_dict())
        if not path.startswith(elsewhere)
    ]
    assert lost == []


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_published_config_is_the_shipped_spec(name):
    config = PUBLISHED[name]
    family = family_of(config)
    layout = layout_of(load_spec(family))
    read = load_spec(read_config(config, layout, family).data)
    unsaid = {"name", "tokenizer.lower_case_and_remove_accents"}
    assert set(differences(load_spec(name).to_dict(), read.to_dict())) <= unsaid
    assert left_over(config, layout) == []


def test_names_without_a_folder_find_families_and_sizes_but_not_tiny_ones():
    known = shipped()
    assert known["xlnet"] == FILES["families/xlnet"]
    assert known["xlm-roberta-xl"] == FILES["xlm-roberta-xl"]
    assert not any(
        path == FILES["tiny/xlnet"] for name, path in known.items() if name != "tiny/xlnet"
    )

"""Every law holds for networks with an encoder, whatever the axes of the two."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from engine import Spec
from engine.laws.table import LAWS, check_law
from tests.searching import examples
from tests.strategies import Draw, built, valid_specs

BLOCKS = ("norm", "final_norm", "block")
BOTTOM = ("dims", "embeddings", "position")
# These ask for a memory, or belong to the network that has the heads.
NOT_OF_ENCODERS = ("mask", "same_length", "cross", "cross_head_mask", "window")


@st.composite
def specs_with_encoder(draw: Draw) -> Spec:
    """A random decoder, and an encoder that takes some of its sections from another random spec."""
    gelu = {"ffn.activation": "gelu"}  # others may let no gradient through
    outer = draw(valid_specs(cross=True, streams="one", causal=True, settle=gelu))
    inner = draw(
        valid_specs(streams="one", causal=False, memories=("none",), padding=True, settle=gelu)
    ).to_dict()
    encoder: dict[str, Any] = {name: inner[name] for name in BLOCKS if draw(st.booleans())}
    if draw(st.booleans()):
        encoder |= {name: inner[name] for name in BOTTOM}
        encoder["attention"] = {
            name: value for name, value in inner["attention"].items() if name not in NOT_OF_ENCODERS
        }
        encoder |= {"shared_tokens": False, "norm": inner["norm"], "block": inner["block"]}
    else:
        encoder["dims"] = {"layers": draw(st.sampled_from([1, 2]))}
    data = outer.to_dict() | {"encoder": encoder}
    try:
        return Spec.model_validate(data)
    except ValueError as error:
        if "encoder" not in str(error):
            raise
    return Spec.model_validate(data | {"encoder": {"dims": {"layers": 1}}})


@examples(8)
@given(spec=specs_with_encoder(), seed=st.integers(0, 9))
def test_laws(spec: Spec, seed: int) -> None:
    model = built(spec)
    for law in LAWS:
        verdict = check_law(law, model, seed, tries=1)
        assert verdict.state != "broken", f"{law.name}: {verdict.why}"

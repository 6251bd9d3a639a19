"""docs/spec.md: every section and field of specs, made from the classes that read them."""

import re
from pathlib import Path

from engine.cli.reference import spec_reference
from engine.cli.schema import complete_schema
from engine.spec import Spec, axes

PAGE = Path(__file__).parents[2] / "docs" / "spec.md"
AXES = {name for name, value in vars(axes).items() if hasattr(value, "model_fields")} - {"Axis"}


def test_the_page_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == spec_reference(complete_schema()), "run `make docs`"


def test_every_field_of_the_axes_has_a_description() -> None:
    schema = Spec.model_json_schema()
    sections = {name: schema["$defs"][name] for name in sorted(AXES)} | {"Spec": schema}
    nameless = [
        f"{section}.{field}"
        for section, node in sections.items()
        for field, about in node["properties"].items()
        if "description" not in about and "$ref" not in about
    ]
    assert nameless == []


def test_links_lead_to_sections() -> None:
    text = PAGE.read_text(encoding="utf-8")
    headings = re.findall(r"^## (.*)$", text, re.M)
    anchors = {re.sub(r"[^\w\- ]", "", heading).replace(" ", "-") for heading in headings}
    assert len(anchors) == len(headings)
    assert set(re.findall(r"\(#([^)]*)\)", text)) <= anchors

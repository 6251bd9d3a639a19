"""docs/spec.md: every section and field of specs, made from the classes that read them."""

import re
from pathlib import Path
from typing import Any

from engine.cli.reference import spec_reference
from engine.cli.schema import complete_schema
from engine.spec import axes

PAGE = Path(__file__).parents[2] / "docs" / "spec.md"
AXES = {name for name, value in vars(axes).items() if hasattr(value, "model_fields")} - {"Axis"}


def test_the_page_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == spec_reference(complete_schema()), "run `make docs`"


def test_every_field_has_a_description() -> None:
    """Those of axes, tokenizers and heads."""
    schema = complete_schema()
    heads = schema["$defs"]["Heads"]["properties"]["options"]["properties"]
    sections: dict[str, Any] = {"Spec": schema, **heads}
    for name, node in schema["$defs"].items():
        for choice in (node, *node.get("anyOf", ())):  # a text may stand for the section
            if "properties" in choice:
                sections[name] = choice
    assert {*AXES, "AddedToken", "WordOptions", "token_classification"} <= set(sections)
    nameless = [
        f"{section}.{field}"
        for section, node in sections.items()
        for field, about in node.get("properties", {}).items()
        if "description" not in about and "$ref" not in about
    ]
    assert nameless == []


def test_links_lead_to_sections() -> None:
    text = PAGE.read_text(encoding="utf-8")
    headings = re.findall(r"^## (.*)$", text, re.M)
    anchors = {re.sub(r"[^\w\- ]", "", heading).replace(" ", "-") for heading in headings}
    assert len(anchors) == len(headings)
    assert set(re.findall(r"\(#([^)]*)\)", text)) <= anchors

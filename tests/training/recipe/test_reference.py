"""docs/recipe.md: every section and field of recipes, made from the classes that read them."""

import re
from pathlib import Path

from engine.cli.reference import recipe_reference
from engine.cli.training.recipe import complete_recipe_schema

PAGE = Path(__file__).parents[3] / "docs" / "recipe.md"


def test_the_page_is_current():
    assert PAGE.read_text(encoding="utf-8") == recipe_reference(complete_recipe_schema())


def test_every_field_has_a_description():
    schema = complete_recipe_schema()
    nameless = [
        f"{section}.{field}"
        for section, node in {**schema["$defs"], "Recipe": schema}.items()
        for field, about in node["properties"].items()
        if "description" not in about and "$ref" not in about
    ]
    assert nameless == []


def test_links_lead_to_sections():
    text = PAGE.read_text(encoding="utf-8")
    headings = re.findall(r"^## (.*)$", text, re.M)
    anchors = {re.sub(r"[^\w\- ]", "", heading).replace(" ", "-") for heading in headings}
    assert set(re.findall(r"\(#([^)]*)\)", text)) <= anchors
    assert len(anchors) == len(headings)

"""The languages of specs and recipes as pages: one table a section, made from the JSON Schema."""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

SPECS = """# The spec language

Made by `make docs` from the classes that read specs: do not edit. Sections stand in the order in
which data flows through the network. A field without a default is needed, here or in the spec that
`extends` names; a section that is left out has its defaults. Rules between fields are checked when
a spec is read.
"""
RECIPES = """# The language of recipes

Made by `make docs` from the classes that read recipes: do not edit. A field without a default is
needed, here or in the recipe that `extends` names; a section that is left out has its defaults.
Rules between fields, and between a recipe and its network, are checked when a recipe is read. All
counts are global: no number depends on how many processes run the recipe.
"""
TAGS = ("kind", "algorithm")
UNBOUNDED = 2**31 - 1
COLUMNS = "| field | holds | default | meaning |\n|---|---|---|---|\n"


def spec_reference(schema: Mapping[str, Any]) -> str:
    """The page in Markdown: every section of a schema with the type, default and description of
    its fields.
    """
    return "\n".join((SPECS, *_Page(schema).sections("spec")))


def recipe_reference(schema: Mapping[str, Any]) -> str:
    """The page of recipes, made as that of specs."""
    return "\n".join((RECIPES, *_Page(schema).sections("recipe")))


class _Page:
    """Each definition stands once, under the path of its field; one that several fields hold stands
    under its own name.
    """

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self.schema = schema
        self.definitions: Mapping[str, Any] = schema["$defs"]
        uses = Counter(re.findall(r'"\$ref": "#/\$defs/(\w+)"', json.dumps(schema)))
        self.shared = {name for name, count in uses.items() if count > 1}
        self.headings: dict[str, str] = {}
        self._name_sections("", schema)

    def _name_sections(self, path: str, section: Mapping[str, Any]) -> None:
        for field, node in section.get("properties", {}).items():
            self._name_field(f"{path}{field}", node)

    def _name_field(self, path: str, node: Mapping[str, Any]) -> None:
        for name in _references(node):
            if name not in self.headings:
                self.headings[name] = self._heading(path, name)
                self._name_sections(f"{path}.", self.definitions[name])
        self._name_sections(f"{path}.", node)

    def _heading(self, path: str, name: str) -> str:
        if name in self.shared:
            return re.sub(r"(?<!^)(?=[A-Z])", " ", name).lower()
        properties, needed = self.definitions[name]["properties"], self._needed(name)
        kinds = [value for tag in TAGS if tag in needed for value in _values(properties[tag])]
        if not kinds:
            return path
        return f"{path}: {', '.join(kinds)}"

    def _needed(self, name: str) -> Sequence[str]:
        """Fields without a default, and the field that says which member of a union this is."""
        section = self.definitions[name]
        constant = [field for field, node in section["properties"].items() if "const" in node]
        return (*section.get("required", ()), *constant)

    def sections(self, whole: str) -> Iterator[str]:
        """The whole file, then each section."""
        yield self._section(whole, self.schema)
        for name, heading in self.headings.items():
            yield self._section(heading, self.definitions[name])
        for head, options in self._options().items():
            yield self._section(f"heads.options.{head}", options)

    def _options(self) -> Mapping[str, Any]:
        if "Heads" not in self.definitions:
            return {}
        options = self.definitions["Heads"]["properties"]["options"]
        return options.get("properties", {})

    def _section(self, heading: str, section: Mapping[str, Any]) -> str:
        for choice in section.get("anyOf", ()):  # a text may stand for the section
            section = {**section, **choice}
        told = section.get("description", "").partition("Raises ")[0].strip()
        lines = [f"## {heading}\n\n{told}\n"]
        fields = section.get("properties", {})
        if fields:
            lines.append(f"\n{COLUMNS}")
        for field, node in fields.items():
            cells = (f"`{field}`", self._type(node), _default(node), self._meaning(node))
            lines.append(f"| {' | '.join(cells)} |\n")
        return "".join(lines)

    def _meaning(self, node: Mapping[str, Any]) -> str:
        """The description of a field; where it is that of its section, the schema has it there."""
        told = node.get("description", "")
        if not told and "$ref" in node:
            told = (
                self.definitions[_references(node)[0]].get("description", "").partition("\n\n")[0]
            )
        return " ".join(told.split())

    def _type(self, node: Mapping[str, Any]) -> str:
        if "$ref" in node:
            heading = self.headings[_references(node)[0]]
            return f"[{heading}](#{_anchor(heading)})"
        for several in ("anyOf", "oneOf"):
            if several in node:
                return " or ".join(dict.fromkeys(self._type(choice) for choice in node[several]))
        if values := _values(node):
            return ", ".join(f"`{value}`" for value in values)
        if node.get("type") == "array":
            parts = node.get("items") or node.get("prefixItems", [{}])[0]
            return f"list of {self._type(parts)}"
        if node.get("type") == "object":
            return self._mapping(node)
        return _scalar(node)

    def _mapping(self, node: Mapping[str, Any]) -> str:
        inner = node.get("additionalProperties")
        if isinstance(inner, Mapping):
            return f"keys with {self._type(inner)}"
        return "keys with values"


def _default(node: Mapping[str, Any]) -> str:
    if "default" not in node:
        return ""
    if "$ref" in node:
        return "its defaults"
    return f"`{_plain(node['default'])}`"


def _references(node: Any) -> list[str]:
    """Names of the definitions below a node, in order, outside sections of its own."""
    if isinstance(node, list):
        return [name for part in node for name in _references(part)]
    if not isinstance(node, Mapping):
        return []
    if "$ref" in node:
        return [node["$ref"].rpartition("/")[2]]
    inner = [part for key, part in node.items() if key not in ("properties", "discriminator")]
    return [name for part in inner for name in _references(part)]


def _values(node: Mapping[str, Any]) -> list[str]:
    if "const" in node:
        return [_plain(node["const"])]
    return [_plain(value) for value in node.get("enum", ())]


def _scalar(node: Mapping[str, Any]) -> str:
    kind = node.get("type", "any value")
    if kind not in ("integer", "number"):
        return {"boolean": "`true`, `false`", "string": "text"}.get(kind, kind)
    words = [{"integer": "whole number", "number": "number"}[kind]]
    bounds = (("minimum", "≥"), ("exclusiveMinimum", ">"), ("maximum", "≤"))
    for bound, sign in (*bounds, ("exclusiveMaximum", "<")):
        if bound in node and node[bound] != UNBOUNDED:
            words.append(f"{sign} {node[bound]:g}")
    return " ".join(words)


def _plain(value: Any) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False).replace('"', "")


def _anchor(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")

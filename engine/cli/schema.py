"""`engine schema`: the spec language for editors, and as a page."""

import json
from typing import Annotated, Any

import typer

from engine.cli.reference import spec_reference

Markdown = Annotated[
    bool, typer.Option("--markdown", help="A page of every section and field instead.")
]


def schema(
    markdown: Markdown = False,
) -> None:
    """Print the JSON Schema of specs, for editors that check and complete YAML."""
    if markdown:
        typer.echo(spec_reference(complete_schema()), nl=False)
    else:
        typer.echo(json.dumps(spec_schema(), indent=2))


def spec_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of a spec file, options of all registered heads included.

    No key is required, since a file may leave it to its parent.
    """
    whole = partial_schema(complete_schema())
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **whole}


def complete_schema() -> dict[str, Any]:
    """JSON Schema of a spec with what its parents say merged in: needed keys are required."""
    from engine.build import head_options
    from engine.spec import Spec

    whole = Spec.model_json_schema()
    options = {}
    for name, taken in head_options().items():
        options[name] = taken.model_json_schema()
        whole["$defs"].update(options[name].pop("$defs", {}))
    whole["$defs"]["Heads"]["properties"]["options"] = {
        "type": "object",
        "description": whole["$defs"]["Heads"]["properties"]["options"]["description"],
        "properties": options,
        "additionalProperties": False,
    }
    whole["properties"]["extends"] = {
        "type": "string",
        "description": "The parent: a file, or a name below specs/.",
    }
    return whole


def partial_schema(node: Any) -> Any:
    """A schema whose files may leave any key to their parents, or take an entry of a parent's map
    away by null.
    """
    if isinstance(node, list):
        return [partial_schema(part) for part in node]
    if not isinstance(node, dict):
        return node
    kept = {
        key: value
        for key, value in node.items()
        if not (key == "required" and isinstance(value, list))
    }
    partial = {
        "anyOf" if key == "oneOf" else key: partial_schema(value) for key, value in kept.items()
    }
    entries = partial.get("additionalProperties")
    if isinstance(entries, dict):
        partial["additionalProperties"] = {"anyOf": [entries, {"type": "null"}]}
    return partial

"""`engine schema`: the spec language for editors."""

import json
from typing import Any

import typer


def schema() -> None:
    """Print the JSON Schema of specs, for editors that check and complete YAML."""
    typer.echo(json.dumps(spec_schema(), indent=2))


def spec_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of a spec file, options of all registered heads included.

    No key is required, since a file may leave it to its parent.
    """
    from engine.build import head_options
    from engine.spec import Spec

    whole = Spec.model_json_schema()
    options = {}
    for name, taken in head_options().items():
        options[name] = taken.model_json_schema()
        whole["$defs"].update(options[name].pop("$defs", {}))
    whole["$defs"]["Heads"]["properties"]["options"] = {
        "type": "object",
        "properties": options,
        "additionalProperties": False,
    }
    whole["properties"]["extends"] = {
        "type": "string",
        "description": "The parent: a file, or a name below specs/.",
    }
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **_partial(whole)}


def _partial(node: Any) -> Any:
    if isinstance(node, list):
        return [_partial(part) for part in node]
    if not isinstance(node, dict):
        return node
    kept = {
        key: value
        for key, value in node.items()
        if not (key == "required" and isinstance(value, list))
    }
    return {"anyOf" if key == "oneOf" else key: _partial(value) for key, value in kept.items()}

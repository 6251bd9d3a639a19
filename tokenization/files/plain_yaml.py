"""Plain YAML: mappings, lists and the scalars of YAML 1.2's core schema, read with the place of
every key, and written.
"""

import re
from collections.abc import Callable
from contextlib import suppress
from typing import Any, ClassVar, NamedTuple

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from yaml.reader import Reader

_STANDARD = "tag:yaml.org,2002:"
_TEXT, _LIST, _MAPPING, _MERGE = (f"{_STANDARD}{name}" for name in ("str", "seq", "map", "merge"))
_RADIX = {"0o": 8, "0x": 16}
_MERGED = object()  # the key that a plain `<<` is


class _Kind(NamedTuple):
    """A kind of scalar of https://yaml.org/spec/1.2.2/#103-core-schema: how it looks, may begin,
    and its value.
    """

    pattern: re.Pattern[str]
    first: list[str]
    value: Callable[[str], Any]


_KINDS = {
    f"{_STANDARD}{name}": _Kind(re.compile(rf"(?:{pattern})\Z"), first, value)
    for name, pattern, first, value in (
        ("null", r"~|null|Null|NULL|", ["", *"~nN"], lambda text: None),
        (
            "bool",
            r"true|True|TRUE|false|False|FALSE",
            [*"tTfF"],
            lambda text: text.lower() == "true",
        ),
        (
            "int",
            r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+",
            [*"-+0123456789"],
            lambda text: int(text, _RADIX.get(text[:2], 10)),
        ),
        (
            "float",
            r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
            r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
            [*"-+.0123456789"],
            lambda text: float(re.sub(r"\.(?=[iInN])", "", text)),
        ),
    )
}
_DEEPEST = 64
# A text whose aliases make it so many times as long is one that is meant to fill the memory.
_GROWTH = 100


class YamlError(ValueError):
    """Text that is no plain YAML: the problem, its line and column (from 1) where they are known,
    and the key's path.
    """

    def __init__(
        self,
        problem: str,
        line: int | None = None,
        column: int | None = None,
        path: tuple[str, ...] = (),
    ) -> None:
        told = problem
        if line is not None:
            told = f"line {line}, column {column}: {problem}"
        super().__init__(told)
        self.problem, self.line, self.column, self.path = problem, line, column, path


class Document(NamedTuple):
    """The data of a YAML text, and the line and column (from 1) of every key by its path."""

    data: Any
    places: dict[tuple[str, ...], tuple[int, int]]


def core_loader(library: Any) -> Any:
    """A loader of the library that reads scalars as YAML 1.2 does: `yes` is a text, `1e-5` a
    number.
    """

    class CoreLoader(library):
        yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {}
        depth = 0

        def descend_resolver(self, parent: Node | None, index: Any) -> None:
            # Called at the start of every node: the C parser would go on until the stack of the
            # process overflows.
            self.depth += 1
            if self.depth > _DEEPEST and parent is not None:
                raise YamlError(f"nested more than {_DEEPEST} deep", *_place(parent.start_mark))

        def ascend_resolver(self) -> None:
            self.depth -= 1

    for tag, kind in _KINDS.items():
        CoreLoader.add_implicit_resolver(tag, kind.pattern, kind.first)
    CoreLoader.add_implicit_resolver(_MERGE, re.compile(r"<<\Z"), ["<"])
    return CoreLoader


_LOADER = core_loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def parse_yaml(text: str) -> Document:
    """The one document of a YAML text, None where it is empty; raises YamlError for what is no
    plain YAML.
    """
    try:
        node = _compose(text)
        walk = _Walk(_GROWTH * len(text))
        if node is None:
            return Document(None, {})
        return Document(walk.value(node, ()), walk.places)
    except yaml.MarkedYAMLError as error:
        if error.problem_mark is None:
            raise YamlError(str(error.problem)) from None
        raise YamlError(str(error.problem), *_place(error.problem_mark)) from None
    except (yaml.YAMLError, UnicodeError) as error:
        unreadable = Reader.NON_PRINTABLE.search(text)
        place = () if unreadable is None else place_of(text[: unreadable.start()])
        raise YamlError(str(error).splitlines()[0], *place) from None
    except RecursionError:
        raise YamlError("aliases nest without end, as one that holds itself does") from None


def place_of(before: str) -> tuple[int, int]:
    """The line and column, from 1, of what follows a text."""
    return before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1


def _compose(text: str) -> Node | None:
    try:
        return yaml.compose(text, _LOADER)
    except yaml.MarkedYAMLError as error:
        # The library scans ahead of the nodes that it reports and may first reach a limit of its
        # own: the text before that place may be nested too deeply already.
        if error.problem_mark is not None:
            with suppress(yaml.YAMLError):
                yaml.compose(text[: error.problem_mark.index], _LOADER)
        raise


class _Walk:
    """From the nodes of a document to its data, noting where keys stand, over at most `budget`
    nodes.
    """

    def __init__(self, budget: int) -> None:
        self.places: dict[tuple[str, ...], tuple[int, int]] = {}
        self.budget = budget

    def value(self, node: Node, path: tuple[str, ...]) -> Any:
        self._spend(1)
        if isinstance(node, ScalarNode):
            return self._scalar(node, path)
        if isinstance(node, MappingNode) and node.tag == _MAPPING:
            entries = self._entries(node, path)
            for key, (mark, _) in entries.items():
                self.places[(*path, str(key))] = _place(mark)
            return {
                key: self.value(child, (*path, str(key))) for key, (_, child) in entries.items()
            }
        if isinstance(node, SequenceNode) and node.tag == _LIST:
            return [
                self.value(child, (*path, str(index))) for index, child in enumerate(node.value)
            ]
        raise self._without_meaning(node, path)

    def _entries(
        self, node: MappingNode, path: tuple[str, ...]
    ) -> dict[Any, tuple[yaml.Mark, Node]]:
        """A mapping's keys with their places and values: its own, then those of the mappings that
        it merges.
        """
        self._spend(len(node.value))
        entries: dict[Any, tuple[yaml.Mark, Node]] = {}
        for key, child in node.value:
            if not isinstance(key, ScalarNode):
                raise YamlError("a key should be a single value", *_place(key.start_mark), path)
            name: Any = _MERGED
            if key.tag != _MERGE:
                name = self._scalar(key, path)
            if name in entries:
                raise YamlError(f'found duplicate key "{key.value}"', *_place(key.start_mark), path)
            entries[name] = (key.start_mark, child)
        merged = []
        if _MERGED in entries:
            _, given = entries.pop(_MERGED)
            merged = [given]
            if isinstance(given, SequenceNode) and given.tag == _LIST:
                merged = given.value
        for other in merged:
            if not isinstance(other, MappingNode) or other.tag != _MAPPING:
                raise YamlError(
                    "expected a mapping or list of mappings for merging",
                    *_place(other.start_mark),
                    path,
                )
            for key, entry in self._entries(other, path).items():
                entries.setdefault(key, entry)
        return entries

    def _scalar(self, node: ScalarNode, path: tuple[str, ...]) -> Any:
        if node.tag in (_TEXT, _MERGE):
            return node.value
        kind = _KINDS.get(node.tag)
        if kind is None:
            raise self._without_meaning(node, path)
        with suppress(ValueError):  # more digits than Python reads
            if kind.pattern.match(node.value):
                return kind.value(node.value)
        raise YamlError(
            f"not of the kind {_short(node.tag)}: {node.value[:40]}", *_place(node.start_mark), path
        )

    def _without_meaning(self, node: Node, path: tuple[str, ...]) -> YamlError:
        known = (self.places.get(path[:length]) for length in range(len(path), 0, -1))
        place = next(filter(None, known), _place(node.start_mark))
        return YamlError(f"the tag {_short(node.tag)} has no meaning here", *place, path)

    def _spend(self, nodes: int) -> None:
        self.budget -= nodes
        if self.budget < 0:
            raise YamlError(f"aliases make this text more than {_GROWTH} times as long")


def _place(mark: yaml.Mark) -> tuple[int, int]:
    return mark.line + 1, mark.column + 1


def _short(tag: str) -> str:
    return tag.replace(_STANDARD, "!!")


class _Dumper(yaml.SafeDumper):
    """Quotes every text that YAML 1.1 or 1.2 would take for something else, so that any reader
    reads the same.
    """


def _represent_text(dumper: yaml.SafeDumper, text: str) -> ScalarNode:
    if re.search("[\n\x85\u2028\u2029]", text):
        # Only within double quotes is a line break written so that it comes back as the same one.
        return dumper.represent_scalar(_TEXT, text, style='"')
    return dumper.represent_scalar(_TEXT, text)


_Dumper.add_representer(str, _represent_text)
for _tag, _kind in _KINDS.items():
    _Dumper.add_implicit_resolver(_tag, _kind.pattern, _kind.first)


def write_yaml(data: Any, sort_keys: bool = False) -> str:
    """Plain data as a YAML text that `parse_yaml` reads as the same, its keys in their own or in
    sorted order.
    """
    text = yaml.dump(
        data,
        Dumper=_Dumper,
        allow_unicode=True,
        default_flow_style=None,
        width=120,
        sort_keys=sort_keys,
    )
    return str(text)

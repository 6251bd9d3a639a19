"""Plain YAML: the core schema of YAML 1.2, keys with their places, and the same from either parser
of the library.
"""

from typing import Any
from unittest.mock import patch

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tests.searching import examples
from tokenization.files import plain_yaml
from tokenization.files.plain_yaml import Document, YamlError, core_loader, parse_yaml, write_yaml
from tokenization.files.published import SPECS

LIBRARIES = [yaml.SafeLoader, *([yaml.CSafeLoader] if yaml.__with_libyaml__ else [])]
both = pytest.mark.parametrize("library", LIBRARIES)


def parsed(text: str, library: Any) -> Document:
    with patch.object(plain_yaml, "_LOADER", core_loader(library)):
        return parse_yaml(text)


def failure(text: str, library: Any) -> YamlError:
    with pytest.raises(YamlError) as caught:
        parsed(text, library)
    return caught.value


# https://yaml.org/spec/1.2.2/#103-core-schema, and texts of which YAML 1.1 makes something else
SCALARS = [
    *((word, None) for word in ("~", "null", "Null", "NULL", "")),
    *((word, True) for word in ("true", "True", "TRUE")),
    *((word, False) for word in ("false", "False", "FALSE")),
    *(
        ("0", 0),
        ("-19", -19),
        ("+3", 3),
        ("010", 10),
        ("0o10", 8),
        ("0o7", 7),
        ("0x3A", 58),
        ("0xff", 255),
    ),
    *(
        ("0.", 0.0),
        ("-0.0", -0.0),
        (".5", 0.5),
        ("+12e03", 12000.0),
        ("-2E+05", -200000.0),
        ("1e-5", 1e-5),
    ),
    *(
        ("1.0e-12", 1e-12),
        (".inf", float("inf")),
        ("-.Inf", -float("inf")),
        ("+.INF", float("inf")),
    ),
    *((word, float("nan")) for word in (".nan", ".NaN", ".NAN")),
    *(
        (word, word)
        for word in (
            "yes",
            "no",
            "on",
            "off",
            "y",
            "n",
            "nULL",
            "tRUE",
            "<s>",
            "1e",
            ".",
            "+",
            "-x",
        )
    ),
    *(
        (word, word)
        for word in (
            "1_000",
            "0b11",
            "1:30",
            "2001-01-01",
            "=",
            "<<",
            "0o8",
            "0xg",
            "-0x1",
            "-.nan",
        )
    ),
    *(
        ("'5'", "5"),
        ('"true"', "true"),
        ("''", ""),
        ("!!str 5", "5"),
        ("!!int '5'", 5),
        ("!!float 5", 5.0),
    ),
    *(("!!null ''", None), ("!!bool 'true'", True), ("!!map {}", {}), ("!!seq []", [])),
]


@both
@pytest.mark.parametrize(("text", "value"), SCALARS, ids=[row[0] or "empty" for row in SCALARS])
def test_scalars_are_those_of_the_core_schema(text: str, value: Any, library: Any) -> None:
    assert repr(parsed(f"key: {text}", library).data) == repr({"key": value})


WRONG = [
    ("a: 1\nb: {c: 2,\n  c: 3}\n", 3, 3, 'found duplicate key "c"', ("b",)),
    ("1: a\n1.0: b\n", 2, 1, 'found duplicate key "1.0"', ()),
    ("b: &b {x: 1}\nd: {<<: *b, <<: *b}\n", 2, 13, 'found duplicate key "<<"', ("d",)),
    ("d: {<<: 3}\n", 1, 9, "expected a mapping or list of mappings for merging", ("d",)),
    ("d: {<<: [3]}\n", 1, 10, "expected a mapping or list of mappings for merging", ("d",)),
    ("d: {<<: !made {x: 1}}\n", 1, 9, "expected a mapping or list of mappings for merging", ("d",)),
    (
        "d: {<<: !made [{x: 1}]}\n",
        1,
        9,
        "expected a mapping or list of mappings for merging",
        ("d",),
    ),
    ("? [a, b]\n: 1\n", 1, 3, "a key should be a single value", ()),
    ("a: {b: !!set {x}}\n", 1, 5, "the tag !!set has no meaning here", ("a", "b")),
    (
        "a: !!python/name:os.system ''\n",
        1,
        1,
        "the tag !!python/name:os.system has no meaning here",
        ("a",),
    ),
    ("a: [x, !made {}]\n", 1, 1, "the tag !made has no meaning here", ("a", "1")),
    ("!made a: 1\n", 1, 1, "the tag !made has no meaning here", ()),
    ("--- !made\na: 1\n", 1, 5, "the tag !made has no meaning here", ()),
    ("a: !!int x\n", 1, 4, "not of the kind !!int: x", ("a",)),
    (f"a: {'9' * 5000}\n", 1, 4, f"not of the kind !!int: {'9' * 40}", ("a",)),
    ("a: 1\n---\nb: 2\n", 2, 1, "but found another document", ()),
    ("a: *nobody\n", 1, 4, "found undefined alias", ()),
    ("a: [1\n", 2, 1, "", ()),
    ("a: b: c\n", 1, 5, "mapping values are not allowed", ()),
    ("a: \x01\n", 1, 4, "unacceptable character #x0001", ()),
    ("a: \udcff\n", 1, 4, "", ()),
    ("[" * 10**5, 1, 64, "nested more than 64 deep", ()),
    ("{a: " * 10**5, 1, 253, "nested more than 64 deep", ()),
    ("- " * 10**5, 1, 127, "nested more than 64 deep", ()),
    ("a: &a [*a]\n", None, None, "aliases nest without end", ()),
    ("a: &a {<<: *a}\n", None, None, "aliases nest without end", ()),
]


@both
@pytest.mark.parametrize(
    ("text", "line", "column", "problem", "path"), WRONG, ids=[row[0][:20] for row in WRONG]
)
def test_what_is_wrong_and_where(
    text: str, line: int, column: int, problem: str, path: tuple[str, ...], library: Any
) -> None:
    error = failure(text, library)
    assert (error.line, error.column, error.path) == (line, column, path)
    assert error.problem.startswith(problem)
    assert line is None or str(error) == f"line {line}, column {column}: {error.problem}"


class EarlierLimit(yaml.SafeLoader):
    """A parser that scans ahead to a limit of its own, as libyaml does since 0.2.6."""

    deepest = 1000

    def fetch_flow_collection_start(self, token: Any) -> None:
        if self.flow_level >= self.deepest:
            raise yaml.scanner.ScannerError(
                None, None, "exceeded the library's depth", self.get_mark()
            )
        super().fetch_flow_collection_start(token)


@pytest.mark.parametrize(
    "library", [*LIBRARIES, EarlierLimit, type("Low", (EarlierLimit,), {"deepest": 66})]
)
@pytest.mark.parametrize("opening", ["[", "{a: ", "- ", "? ", "[{b: "])
@pytest.mark.parametrize("count", [66, 999, 1002, 10**5])
def test_the_limit_of_depth_is_ours_whatever_the_library_has(
    opening: str, count: int, library: Any
) -> None:
    error = failure(opening * count, library)
    assert error.problem == "nested more than 64 deep" and error.line == 1
    assert error.column is not None and error.column <= 64 * len(opening)


@both
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ("{a: ", "}")])
def test_what_is_nested_less_is_read(opening: str, closing: str, library: Any) -> None:
    assert parsed(opening * 63 + closing * 63, library).data
    assert "deep" in failure(opening * 65 + closing * 65, library).problem


def test_a_library_with_a_lower_limit_is_quoted() -> None:
    error = failure("[" * 50, type("Lower", (EarlierLimit,), {"deepest": 20}))
    assert (error.problem, error.line, error.column) == ("exceeded the library's depth", 1, 21)


@both
@pytest.mark.parametrize("again", ["[*{0}, *{0}, *{0}, *{0}]", "{{<<: [*{0}, *{0}, *{0}, *{0}]}}"])
def test_aliases_of_aliases_do_not_fill_the_memory(again: str, library: Any) -> None:
    text = "a0: &a0 {x: 1}\n" + "".join(
        f"a{n}: &a{n} {again.format(f'a{n - 1}')}\n" for n in range(1, 30)
    )
    assert "aliases make this text" in failure(text, library).problem


@both
def test_merged_keys_give_way_to_own_and_earlier_ones(library: Any) -> None:
    text = "b: &b {x: 1, y: 2}\nc: &c {<<: *b, x: 5, w: 6}\nd:\n  <<: [*b, *c]\n  z: 4\n  y: 3\ne: {'<<': 3}\n"
    data, places = parsed(text, library)
    assert data["c"] == {"x": 5, "w": 6, "y": 2} and data["d"] == {"z": 4, "y": 3, "x": 1, "w": 6}
    assert data["e"] == {"<<": 3}
    assert places[("d",)] == (3, 1) and places[("d", "y")] == (6, 3)
    # A merged key stands where it was written.
    assert places[("d", "x")] == (1, 8) and places[("d", "w")] == (2, 22)


@both
def test_places_of_keys(library: Any) -> None:
    text = "\ufeffä: 1\r\nlist:\r\n- {日本: &x {deep: 1}, two: *x}\r\n- ? 3\r\n"
    assert parsed(text, library).places == {
        ("ä",): (1, 1),
        ("list",): (2, 1),
        ("list", "0", "日本"): (3, 4),
        ("list", "0", "日本", "deep"): (3, 12),
        ("list", "0", "two"): (3, 22),
        ("list", "0", "two", "deep"): (3, 12),
        ("list", "1", "3"): (4, 5),
    }


@both
@pytest.mark.parametrize("text", ["", "# only a comment\n", "---\n", "null\n"])
def test_nothing_is_none(text: str, library: Any) -> None:
    assert parsed(text, library) == Document(None, {})


@pytest.mark.parametrize("path", sorted(SPECS.rglob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_specs_are_the_same_from_either_parser(path: Any) -> None:
    text = path.read_text(encoding="utf-8")
    assert len({repr(parsed(text, library)) for library in LIBRARIES}) == 1


AWKWARD = [
    "yes",
    "null",
    "~",
    "1e5",
    "1e-05",
    "0o10",
    "010",
    "1_0",
    "",
    "<s>",
    "<<",
    "=",
    "1:30",
    "2001-01-01",
    ".nan",
]
MARKS = " \t\n\r'\"#:-?a,[]{}&*!|>%@`\\\x00\x7f\x85\xa0\u2028\u2029\ufeff\ufffeé語😀"
texts = st.text(max_size=200) | st.text(MARKS, max_size=200) | st.sampled_from(AWKWARD)
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts
plain = st.recursive(
    scalars,
    lambda inner: st.lists(inner) | st.dictionaries(texts | st.integers() | st.none(), inner),
    max_leaves=20,
)
styles = st.fixed_dictionaries(
    {
        "default_flow_style": st.sampled_from([None, True, False]),
        "width": st.sampled_from([10, 80, 1000]),
        "indent": st.sampled_from([2, 4]),
        "allow_unicode": st.booleans(),
    }
)


@both
@examples(50)
@given(data=plain)
def test_what_is_written_reads_back_the_same(data: Any, library: Any) -> None:
    assert repr(parsed(write_yaml(data), library).data) == repr(data)


@examples(50)
@given(data=plain)
def test_readers_of_yaml_1_1_read_what_is_written(data: Any) -> None:
    assert repr(yaml.safe_load(write_yaml(data))) == repr(data)


@examples(50)
@given(data=plain, style=styles)
def test_either_parser_gives_the_same(data: Any, style: dict[str, Any]) -> None:
    """However a text is written, whoever reads it finds the same values at the same places, or the
    same error.
    """

    def outcome(library: Any) -> Any:
        try:
            return repr(parsed(text, library))
        except YamlError as error:
            return error.line, error.column, error.path

    text = yaml.dump(data, Dumper=yaml.SafeDumper, **style)
    assert len({outcome(library) for library in LIBRARIES}) == 1


def test_keys_keep_their_order_unless_asked() -> None:
    data = {"b": {"d": 1, "c": [{"z": 1, "y": 2}]}, "a": 2}
    assert list(parse_yaml(write_yaml(data)).data) == ["b", "a"]
    assert write_yaml(data, sort_keys=True) == write_yaml(
        {"a": 2, "b": {"c": [{"y": 2, "z": 1}], "d": 1}}
    )


def test_a_text_of_several_lines_is_written_within_double_quotes() -> None:
    assert write_yaml({"text": "ä\nb\n"}) == 'text: "ä\\nb\\n"\n'

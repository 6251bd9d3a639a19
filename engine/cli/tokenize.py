"""`engine tokenize`: see what a tokenizer makes of text, or where two tokenizers part."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from engine.cli.streams import read_lines
from engine.errors import InputError
from tokenization import Tokenizer

# A divergence is shown with this many tokens of each side.
_SHOWN = 12


def tokenize(  # noqa: PLR0913
    source: Annotated[
        str,
        typer.Argument(
            metavar="SPEC_OR_DIR",
            help="A folder with a tokenizer, a hub id, or a spec (with --vocabulary).",
        ),
    ],
    text: Annotated[
        list[str] | None, typer.Argument(help="Texts; without them, the lines of standard input.")
    ] = None,
    pair: Annotated[
        str | None, typer.Option(help="A second text that each text is paired with.")
    ] = None,
    file: Annotated[
        Path | None, typer.Option(help="Read the lines of a file.", exists=True, dir_okay=False)
    ] = None,
    lang: Annotated[
        str | None, typer.Option(help="The language of the texts, where the tokenizer takes one.")
    ] = None,
    vocabulary: Annotated[
        Path | None, typer.Option(help="The folder with the vocabulary files of a spec.")
    ] = None,
    special: Annotated[bool, typer.Option(help="Put special tokens around the texts.")] = True,
    compare: Annotated[
        str | None,
        typer.Option(
            metavar="OTHER",
            help="Another source, or 'transformers' or 'transformers-fast' on the same folder.",
        ),
    ] = None,
) -> None:
    """Show pieces, ids, types and offsets of text; with --compare, the first divergence and the
    rate.
    """
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=True)
    ours = _open(source, vocabulary)
    texts = _texts(text, file)
    if compare is not None:
        _compare(console, ours, _other(source, compare, vocabulary), texts, lang)
        return
    for each in texts:
        console.print(_table(ours, each, pair, lang, special))


def _open(source: str, vocabulary: Path | None) -> Tokenizer:
    from tokenization import TokenizationError, build_tokenizer, load_tokenizer
    from tokenization.files.published import SPECS

    is_file = source.endswith((".yaml", ".yml"))
    if vocabulary is None and (SPECS / f"{source}.yaml").is_file() and not Path(source).is_dir():
        raise TokenizationError(
            f"{source} is a spec, which holds no vocabulary: say where one is with --vocabulary"
        )
    if vocabulary is None and not is_file:
        return load_tokenizer(source)
    from engine.build import load_spec

    options = load_spec(source).tokenizer
    if options is None:
        raise TokenizationError(f"{source}: the spec has no tokenizer section")
    return build_tokenizer(options, vocabulary or Path(source).parent)


def _other(source: str, other: str, vocabulary: Path | None) -> Any:
    from tokenization.comparison import published_tokenizer

    if other in ("transformers", "transformers-fast"):
        return published_tokenizer(source, fast=other.endswith("fast"))
    return _open(other, vocabulary)


def _texts(text: list[str] | None, file: Path | None) -> Iterable[str]:
    if text and file:
        raise InputError("texts come from the command line or from --file, not from both")
    if text:
        return text
    return read_lines(file)


def _table(
    tokenizer: Tokenizer, text: str, pair: str | None, lang: str | None, special: bool
) -> Any:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    encoding = tokenizer(
        text,
        pair,
        lang=lang,
        add_special_tokens=special,
        return_token_type_ids=True if special else None,
        return_offsets_mapping=True,
        return_sequence_ids=True,
    )
    table = Table(
        "piece",
        "id",
        "type",
        "start",
        "end",
        "text",
        box=SIMPLE_HEAD,
        title=Text(text),
        title_justify="left",
    )
    if "langs" in encoding:
        table.add_column("language")
    kinds = encoding.get("token_type_ids", [0] * len(encoding.input_ids))
    texts = (text, pair or "")
    for place, index in enumerate(encoding.input_ids):
        start, end = encoding.offset_mapping[place]
        whose = encoding.sequence_ids[place]
        where = ["", "", ""] if whose < 0 else [str(start), str(end), texts[whose][start:end]]
        language = [str(encoding.langs[place])] if "langs" in encoding else []
        cells = [
            str(tokenizer.convert_ids_to_tokens(index)),
            str(index),
            str(kinds[place]),
            *where,
            *language,
        ]
        table.add_row(*map(Text, cells))
    return table


def _compare(console: Any, ours: Any, theirs: Any, texts: Iterable[str], lang: str | None) -> None:
    from rich.text import Text

    from tokenization.comparison import compare_tokenizers

    found = compare_tokenizers(ours, theirs, texts, lang)
    console.print(f"{found.different} of {found.total} texts differ ({found.rate:.2%})")
    first = found.first
    if first is None:
        return
    where = "" if first.start is None else f", character {first.start}"
    console.print(Text(f"first in text {first.number}, token {first.place}{where}: {first.text!r}"))
    for name, tokens in (("this ", first.ours), ("other", first.theirs)):
        shown = " ".join(f"{token}({index})" for token, index in tokens[:_SHOWN])
        console.print(Text(f"  {name}: {shown}{' …' if len(tokens) > _SHOWN else ''}"))
    raise typer.Exit(1)

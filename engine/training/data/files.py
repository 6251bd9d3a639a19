"""Records of the files that a source names, one at a time, each with its file and line."""

import csv
import glob
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from engine.errors import InputError, nearest, shortened
from engine.training.recipe.sections import SquadSource, TableSource, TextSource
from tokenization.extras import import_extra

Record = dict[str, Any]
LARGEST_FIELD = 2**31 - 1
MARKS = ((b"\xff\xfe", "UTF-16"), (b"\xfe\xff", "UTF-16"))


def paths(files: str | tuple[str, ...], base: Path) -> list[Path]:
    """The files that patterns name, beside `base`, each once; raises InputError for a pattern
    without any.
    """
    patterns = (files,) if isinstance(files, str) else files
    found: dict[Path, None] = {}
    for pattern in patterns:
        # Unlike Path.glob, it takes absolute patterns too.
        names = sorted(glob.glob(pattern, root_dir=base, recursive=True))  # noqa: PTH207
        chosen = [path for path in (base / name for name in names) if path.is_file()]
        if not chosen:
            raise InputError(_no_file(pattern, base))
        found.update(dict.fromkeys(chosen))
    return list(found)


def _no_file(pattern: str, base: Path) -> str:
    place = base / pattern
    if place.is_dir():
        return f"{pattern!r} is a folder: name its files, such as {pattern.rstrip('/')}/*.txt"
    folder = place.parent
    if not folder.is_dir():
        return f"no file matches {pattern!r}: there is no folder {folder}"
    beside = [path.name for path in sorted(folder.iterdir())[:50]]
    if not beside:
        return f"no file matches {pattern!r}: the folder {folder} is empty"
    return f"no file matches {pattern!r} in {folder}{nearest(place.name, beside)}"


def shown(path: Path, base: Path) -> str:
    """A file as messages name it: as seen from `base` where it lies below."""
    return str(path.relative_to(base)) if path.is_relative_to(base) else str(path)


def lines(path: Path, name: str) -> Iterator[tuple[int, str]]:
    """The numbered lines of a UTF-8 file without their ends; raises InputError at the first line
    that is not UTF-8.
    """
    with path.open("rb") as file:
        for number, raw in enumerate(file, 1):
            if number == 1:
                raw = _without_mark(raw, name)
            try:
                text = raw.decode("utf-8")
            except UnicodeDecodeError as error:
                byte = f"byte 0x{raw[error.start]:02x} at {error.start + 1}"
                text = f"{name}:{number}: not UTF-8 ({byte}): save the file as UTF-8"
                raise InputError(text) from None
            yield number, text.rstrip("\r\n")


def _without_mark(raw: bytes, name: str) -> bytes:
    for mark, encoding in MARKS:
        if raw.startswith(mark):
            raise InputError(f"{name}:1: {encoding}, not UTF-8: save the file as UTF-8")
    return raw.removeprefix(b"\xef\xbb\xbf")


def texts(source: TextSource, path: Path, name: str) -> Iterator[Record]:
    """The lines, paragraphs or the whole of a file; what is blank is left out."""
    if source.text == "line":
        for number, line in lines(path, name):
            if line.strip():
                yield {"text": line, "source": f"{name}:{number}"}
        return
    held: list[str] = []
    first = 1
    for number, line in lines(path, name):
        if line.strip() or (held and source.text == "file"):
            first = first if held else number
            held.append(line)
        elif held:
            yield {"text": "\n".join(held), "source": f"{name}:{first}"}
            held = []
    if held:
        yield {"text": "\n".join(held).rstrip(), "source": f"{name}:{first}"}


def table(source: TableSource, path: Path, name: str) -> Iterator[Record]:
    """The rows of a table, their columns named by role."""
    reader = {"jsonl": _json_lines, "csv": _csv, "parquet": _parquet}[source.kind]
    for place, row in reader(path, name):
        yield {**by_role(row, source.fields, place), "source": place}


def by_role(row: Mapping[str, Any], fields: Mapping[str, str], place: str) -> Record:
    """The columns of a row under the names of their roles, all of them where no role is given."""
    if not fields:
        return dict(row)
    for role, column in fields.items():
        if column not in row:
            hint = nearest(column, row)
            raise InputError(f"{place}: there is no column {column!r} for {role}{hint}")
    return {role: row[column] for role, column in fields.items()}


def _json_lines(path: Path, name: str) -> Iterator[tuple[str, Record]]:
    for number, line in lines(path, name):
        if not line.strip():
            continue
        place = f"{name}:{number}"
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            text = f"{place}: not JSON ({error}): each line is one JSON object"
            raise InputError(text) from None
        if not isinstance(row, dict):
            text = f'{place}: a {type(row).__name__}, expected an object such as {{"text": …}}'
            raise InputError(text)
        yield place, row


def _csv(path: Path, name: str) -> Iterator[tuple[str, Record]]:
    csv.field_size_limit(LARGEST_FIELD)
    delimiter = "\t" if path.suffix == ".tsv" else ","
    rows = csv.reader((f"{line}\n" for _, line in lines(path, name)), delimiter=delimiter)
    columns = next(rows, None)
    if columns is None:
        raise InputError(f"{name}:1: empty: a CSV file begins with the names of its columns")
    before = rows.line_num
    for row in rows:
        place, before = f"{name}:{before + 1}", rows.line_num
        if len(row) != len(columns) and row:
            text = f"{place}: {len(row)} columns, expected {len(columns)}: {', '.join(columns)}"
            raise InputError(text)
        if row:
            yield place, dict(zip(columns, row, strict=True))


def _parquet(path: Path, name: str) -> Iterator[tuple[str, Record]]:
    arrow = import_extra("pyarrow.parquet", "train", "Reading parquet files")
    number = 0
    try:
        for batch in arrow.ParquetFile(path).iter_batches(1000):
            for row in batch.to_pylist():
                number += 1
                yield f"{name}:{number}", row
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        reason = shortened(str(error).splitlines()[0])
        raise InputError(f"{name}:{number + 1}: not readable as parquet: {reason}") from None


def squad(source: SquadSource, path: Path, name: str) -> Iterator[Record]:
    """The questions of a file of SQuAD 1.1 or 2.0, with all answers of each."""
    try:
        data = json.loads("\n".join(line for _, line in lines(path, name)))
    except ValueError as error:
        raise InputError(f"{name}:{getattr(error, 'lineno', 1)}: not JSON ({error})") from None
    try:
        for article in data["data"]:
            for paragraph in article["paragraphs"]:
                for question in paragraph["qas"]:
                    yield _question(question, article, paragraph, name)
    except (KeyError, TypeError) as error:
        expected = "expected data: [{paragraphs: [{context, qas}]}]"
        raise InputError(f"{name}: not a file of SQuAD ({error!r}): {expected}") from None


def _question(
    question: Mapping[str, Any], article: Mapping[str, Any], paragraph: Mapping[str, Any], name: str
) -> Record:
    answers = question.get("answers", [])
    return {
        "id": str(question["id"]),
        "title": str(article.get("title", "")),
        "context": paragraph["context"],
        "question": question["question"],
        "answers": {
            "text": [answer["text"] for answer in answers],
            "answer_start": [answer["answer_start"] for answer in answers],
        },
        "is_impossible": bool(question.get("is_impossible", not answers)),
        "source": f"{name}: question {question['id']}",
    }

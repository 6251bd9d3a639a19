"""From the sources that a recipe names to one table of texts on disk."""

import itertools
import shutil
import tempfile
import weakref
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from engine.errors import InputError, shortened
from engine.training.data import files
from engine.training.data.draws import numbered
from engine.training.data.files import Record
from engine.training.recipe.sections import HubSource, Source, SquadSource, TextSource
from tokenization.extras import import_extra

TOGETHER = 5_000
PURPOSE = "Reading training data"


def read_texts(sources: tuple[Source, ...], *, base: Path) -> Any:
    """All records of the sources as one memory-mapped `datasets.Dataset`.

    Columns: those of the sources under the names of their roles (`text` of plain text), `language`
    (None where none is named) and `source` (file and line, as seen from `base`). The table lies in
    a temporary file, which goes with the dataset. Raises InputError naming file and line of what
    cannot be read.
    """
    datasets = import_extra("datasets", "train", PURPOSE)
    folder = Path(tempfile.mkdtemp(prefix="texts-"))
    path = folder / "texts.arrow"
    try:
        _write(path, lambda: (row for source in sources for row in _records(source, base)))
        texts = datasets.Dataset.from_file(str(path))
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    if not len(texts):
        raise InputError(f"the sources hold no text: {', '.join(map(_named, sources))}")
    weakref.finalize(texts.data, shutil.rmtree, folder, ignore_errors=True)
    return texts


def hold_out(texts: Any, share: float, seed: int) -> tuple[Any, Any]:
    """The texts to learn from and a share of them, drawn by the seed, to evaluate on.

    Equal texts stay on one side. Raises InputError where a side would be empty.
    """
    columns = [name for name in texts.column_names if name not in ("source", "language")]
    content = texts.select_columns(columns)
    luck = np.fromiter(
        (numbered("held out", seed, repr(row)) for row in content), np.uint64, len(texts)
    )
    count = max(1, round(share * len(texts)))
    held = luck <= np.partition(luck, count - 1)[count - 1]
    if held.all():
        raise InputError(
            f"a share of {share} of {len(texts)} texts leaves none to learn from: give more texts"
        )
    return texts.select(np.flatnonzero(~held)), texts.select(np.flatnonzero(held))


def _named(source: Source) -> str:
    if isinstance(source, HubSource):
        return source.name
    return source.files if isinstance(source.files, str) else ", ".join(source.files)


def _records(source: Source, base: Path) -> Iterator[Record]:
    if isinstance(source, HubSource):
        records = _hub(source)
    else:
        records = _read_files(source, base)
    for record in records:
        yield {"language": source.language, **record}


def _read_files(source: Any, base: Path) -> Iterator[Record]:
    if isinstance(source, TextSource):
        read: Any = files.texts
    elif isinstance(source, SquadSource):
        read = files.squad
    else:
        read = files.table
    for path in files.paths(source.files, base):
        name = files.shown(path, base)
        try:
            yield from read(source, path, name)
        except OSError as error:
            raise InputError(f"{name}: cannot be read: {error}") from error


def _hub(source: HubSource) -> Iterator[Record]:
    datasets = import_extra("datasets", "train", PURPOSE)
    try:
        found = datasets.load_dataset(source.name, source.subset, split=source.split)
    except Exception as error:  # the library raises errors of many kinds
        reason = shortened(str(error))
        text = f"the dataset {source.name!r} (subset {source.subset}, split {source.split})"
        raise InputError(f"{text} cannot be loaded: {reason}") from error
    for number, row in enumerate(found):
        place = f"{source.name}[{source.split}]:{number}"
        yield {**files.by_role(row, source.fields, place), "source": place}


def _write(path: Path, records: Any) -> None:
    """Write records in batches; a column that a later record brings begins the file anew."""
    arrow = import_extra("pyarrow", "train", PURPOSE)
    schema = arrow.schema([("source", arrow.string()), ("language", arrow.string())])
    while True:
        with arrow.OSFile(str(path), "wb") as file, arrow.ipc.new_stream(file, schema) as writer:
            wider = None
            for batch in _batches(records()):
                found = _table(arrow, batch, schema)
                if found.schema != schema:
                    wider = found.schema
                    break
                writer.write_table(found)
        if wider is None:
            return
        schema = wider


def _batches(records: Iterable[Record]) -> Iterator[list[Record]]:
    source = iter(records)
    while batch := list(itertools.islice(source, TOGETHER)):
        yield batch


def _table(arrow: Any, batch: list[Record], schema: Any) -> Any:
    """Records in columns of the types seen so far, widened where these need it."""
    names = dict.fromkeys([*schema.names, *(name for record in batch for name in record)])
    columns = {name: _column(arrow, name, batch) for name in names}
    found = arrow.table(columns)
    try:
        merged = arrow.unify_schemas([schema, found.schema], promote_options="permissive")
    except (arrow.ArrowInvalid, arrow.ArrowTypeError) as error:
        place = batch[0]["source"]
        raise InputError(f"{place} and after: a column of two kinds of values: {error}") from None
    return found.select(merged.names).cast(merged)


def _column(arrow: Any, name: str, batch: list[Record]) -> Any:
    values = [record.get(name) for record in batch]
    try:
        return arrow.array(values)
    except (arrow.ArrowInvalid, arrow.ArrowTypeError, OverflowError):
        first = next(value for value in values if value is not None)
        for record, value in zip(batch, values, strict=True):
            if value is not None and type(value) is not type(first):
                kinds = f"{type(value).__name__} in one place, {type(first).__name__} in another"
                raise InputError(f"{record['source']}: the column {name!r} is {kinds}") from None
        raise InputError(f"{batch[0]['source']}: the column {name!r} is no table") from None

"""Nuclei as a table, written as a stream: CSV, or Parquet if pyarrow is installed."""

import csv
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final, Literal, Protocol

import pandas as pd

from cellvit.errors import MissingInputError
from cellvit.formats.atomic import replacing
from cellvit.formats.cells import safe_cell
from cellvit.formats.prediction import SlideRun
from cellvit.prediction.outputs.geojson import description_of
from cellvit.prediction.outputs.measured import columns_of

TableFormat = Literal["csv", "parquet"]

_TEXTS: Final = ("id", "class", "licence")
_ROW_GROUP: Final = 1 << 16
"""Nuclei of a row group of Parquet: about 10 MB in memory."""


class TableWriter(Protocol):
    """Appends nuclei, with the columns of `cellvit.prediction.outputs.measured`, to a table."""

    def write(self, nuclei: pd.DataFrame) -> None:
        """Append nuclei."""
        ...


@contextmanager
def table_writer(path: Path, run: SlideRun) -> Iterator[TableWriter]:
    """Yield a writer of CSV or, by the suffix, of Parquet; the file appears, whole, when the block ends without an error.

    Raises:
        OSError: The file cannot be written.
        MissingInputError: pyarrow is not installed.
    """
    if path.suffix == ".parquet":
        with _parquet_writer(path, run) as parquet:
            yield parquet
        return
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        file.write(",".join(columns_of(run.dataset)) + "\n")
        yield _CsvWriter(file)


def require_parquet() -> Any:
    """The modules of pyarrow that write Parquet.

    Raises:
        MissingInputError: pyarrow is not installed.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingInputError(
            "prediction.table: parquet needs the package pyarrow, which is not installed. "
            "Fix: pip install cellvit-optimus[export], or prediction.table: csv"
        ) from error
    return pyarrow


class _CsvWriter:
    """Formats rows by one template: several times as fast as `DataFrame.to_csv`."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file

    def write(self, nuclei: pd.DataFrame) -> None:
        cells = [_csv_cells(nuclei[name]) for name in nuclei]
        self._file.writelines(",".join(row) + "\n" for row in zip(*cells, strict=True))


def _csv_cells(column: pd.Series) -> list[str]:
    """Cells of a column: texts quoted where needed, booleans as 0 and 1, undefined numbers empty, others exactly."""
    if column.name in _TEXTS:
        quoted = {text: _quoted(text) for text in column.unique()} if column.name != "id" else {}
        return [quoted.get(text, text) for text in column]
    if column.dtype == bool:
        return ["1" if value else "0" for value in column.tolist()]
    return ["" if value != value else repr(value) for value in column.tolist()]


def _quoted(text: str) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow([safe_cell(text)])
    return line.getvalue()


class _ParquetWriter:
    """Gathers nuclei to row groups of `_ROW_GROUP`."""

    def __init__(self, writer: Any, schema: Any, arrow: Any) -> None:
        self._writer, self._schema, self._arrow = writer, schema, arrow
        self._waiting: list[pd.DataFrame] = []

    def write(self, nuclei: pd.DataFrame) -> None:
        self._waiting.append(nuclei)
        if sum(map(len, self._waiting)) >= _ROW_GROUP:
            self.flush()

    def flush(self) -> None:
        """Write what is waiting."""
        if not self._waiting:
            return
        joined = pd.concat(self._waiting, ignore_index=True)
        self._writer.write_table(self._arrow.Table.from_pandas(joined, schema=self._schema, preserve_index=False))
        self._waiting.clear()


@contextmanager
def _parquet_writer(path: Path, run: SlideRun) -> Iterator[_ParquetWriter]:
    arrow = require_parquet()
    kinds = dict.fromkeys(_TEXTS, arrow.string()) | {"unlike_training": arrow.bool_()}
    fields = [arrow.field(name, kinds.get(name, arrow.float64())) for name in columns_of(run.dataset)]
    schema = arrow.schema(fields, metadata={"cellvit": json.dumps(description_of(run))})
    with replacing(path) as temporary, arrow.parquet.ParquetWriter(temporary, schema, compression="zstd") as writer:
        waiting = _ParquetWriter(writer, schema, arrow)
        yield waiting
        waiting.flush()

"""A table of named columns, and its files."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fcp_runtime.errors import OutputError
from fcp_runtime.io.atomic import replacing
from fcp_runtime.outputs.cells import harmless
from fcp_runtime.outputs.extras import load_extra

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray


@dataclass(frozen=True)
class Table:
    """Columns of equal length, in order.

    Attributes
    ----------
    columns : mapping of str to ndarray, shape (N,)
        Booleans, integers, floats or text.

    Raises
    ------
    ValueError
        If the columns differ in length or are not one-dimensional.
    """

    columns: Mapping[str, NDArray[Any]]

    def __post_init__(self) -> None:
        shapes = {column.shape for column in self.columns.values()}
        if len(shapes) > 1 or any(len(shape) != 1 for shape in shapes):
            raise ValueError(f"columns must have one axis and one length, not {shapes}")

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), ()))

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self.columns[name]

    def __contains__(self, name: object) -> bool:
        return name in self.columns

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns."""
        return tuple(self.columns)


def write_table(
    path: str | os.PathLike[str], table: Table, *, settings: Mapping[str, Any] | None = None
) -> None:
    """Write a table as ``.csv`` or ``.parquet``, whole or not at all.

    Parameters
    ----------
    path : path-like
        Its suffix decides the format. CSV: comma, point as decimal sign, floats to nine digits,
        not-a-number as an empty cell, UTF-8; text that a spreadsheet would take for a formula gets an
        apostrophe in front. Parquet needs the extra ``lab``.
    table : Table
    settings : mapping or None
        What made the masks. Parquet keeps it in its metadata, as JSON of the name ``settings``; CSV has
        no place that every reader skips, so there it is left out.

    Raises
    ------
    OutputError
        If the suffix is another one, or the file cannot be written.
    MissingExtraError
        If Parquet is asked for and pyarrow is missing.
    """
    check_table_path(path)
    if Path(path).suffix.lower() == ".parquet":
        _write_parquet(path, table, settings)
    else:
        with (
            replacing(path) as temporary,
            temporary.open("w", encoding="utf-8", newline="") as file,
        ):
            write_csv(file, table)


def check_table_path(path: str | os.PathLike[str]) -> None:
    """Raise now what `write_table` would raise about the name or a missing library."""
    suffix = Path(path).suffix.lower()
    if suffix not in {".csv", ".parquet"}:
        raise OutputError(f"{path}: a table is written as .csv or .parquet; name it so")
    if suffix == ".parquet":
        load_extra("pyarrow.parquet", f"{path}: Parquet")


def write_csv(file: Any, table: Table) -> None:
    """Write a table to an open text file as comma-separated values."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(table.names)
    writer.writerows(zip(*(_cells(column) for column in table.columns.values()), strict=True))


def _cells(column: NDArray[Any]) -> Iterable[str]:
    if column.dtype.kind == "f":
        return ["" if math.isnan(value) else f"{value:.9g}" for value in column.tolist()]
    if column.dtype.kind == "U":
        return map(harmless, column.tolist())
    return map(str, column.tolist())


def join_tables(tables: Mapping[str, Table]) -> Table:
    """Return the rows of several images as one table, with the image's name in front.

    Parameters
    ----------
    tables : mapping of str to Table
        By name of the image.

    Returns
    -------
    Table
        Column ``image``, then every column that any table has; where an image lacks it, not-a-number.
    """
    lengths = [len(table) for table in tables.values()]
    columns: dict[str, NDArray[Any]] = {
        "image": np.repeat(np.array(list(tables), np.str_), lengths)
    }
    for name in dict.fromkeys(name for table in tables.values() for name in table.names):
        parts = [
            table[name] if name in table else np.full(len(table), np.nan)
            for table in tables.values()
        ]
        columns[name] = np.concatenate(parts)
    return Table(columns)


def _write_parquet(
    path: str | os.PathLike[str], table: Table, settings: Mapping[str, Any] | None
) -> None:
    arrow = load_extra("pyarrow", f"{path}: Parquet")
    parquet = load_extra("pyarrow.parquet", f"{path}: Parquet")
    content = arrow.table(dict(table.columns))
    if settings is not None:
        content = content.replace_schema_metadata({"settings": json.dumps(settings)})
    with replacing(path) as temporary:
        parquet.write_table(content, temporary)

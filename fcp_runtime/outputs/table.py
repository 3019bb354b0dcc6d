"""A table of named columns, and its files."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fcp_runtime.errors import OutputError
from fcp_runtime.io.atomic import replacing
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
        Booleans, integers or floats.

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


def write_table(path: str | os.PathLike[str], table: Table) -> None:
    """Write a table as ``.csv`` or ``.parquet``, whole or not at all.

    Parameters
    ----------
    path : path-like
        Its suffix decides the format. CSV: comma, point as decimal sign, floats to nine digits,
        not-a-number as an empty cell, UTF-8. Parquet needs the extra ``lab``.
    table : Table

    Raises
    ------
    OutputError
        If the suffix is another one, or the file cannot be written.
    MissingExtraError
        If Parquet is asked for and pyarrow is missing.
    """
    check_table_path(path)
    if Path(path).suffix.lower() == ".parquet":
        _write_parquet(path, table)
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
    return map(str, column.tolist())


def _write_parquet(path: str | os.PathLike[str], table: Table) -> None:
    arrow = load_extra("pyarrow", f"{path}: Parquet")
    parquet = load_extra("pyarrow.parquet", f"{path}: Parquet")
    with replacing(path) as temporary:
        parquet.write_table(arrow.table(dict(table.columns)), temporary)

"""Tables as CSV and Parquet, and optional libraries that are missing."""

from __future__ import annotations

import csv
import json
import sys

import numpy as np
import pytest
from pyarrow import parquet

from fcp_runtime.errors import MissingExtraError, OutputError
from fcp_runtime.outputs.cells import as_written, harmless
from fcp_runtime.outputs.measurements import region_properties
from fcp_runtime.outputs.table import Table, check_table_path, join_tables, write_table
from fcp_runtime.phantom import nuclei_image


@pytest.fixture(scope="module")
def table():
    made = nuclei_image((96, 96), seed=2)
    return region_properties(made.labels, {"dapi, nuclear": made.image}, voxel_um=(1.0, 0.25, 0.25))


def test_csv_holds_every_value_to_nine_digits(tmp_path, table):
    write_table(tmp_path / "t.csv", table)
    with (tmp_path / "t.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == table.names
    assert "mean_dapi, nuclear" in rows[0]
    for name in table.names:
        column = table[name]
        if column.dtype.kind == "b":
            assert [row[name] for row in rows] == [str(value) for value in column]
        elif column.dtype.kind == "f":
            assert [float(row[name]) for row in rows] == pytest.approx(column.tolist(), rel=1e-8)
        else:
            assert [int(row[name]) for row in rows] == column.tolist()


def test_csv_leaves_a_missing_number_empty(tmp_path):
    write_table(tmp_path / "t.csv", Table({"a": np.array([1, 2]), "b": np.array([np.nan, 0.5])}))
    assert (tmp_path / "t.csv").read_bytes() == b"a,b\n1,\n2,0.5\n"


def test_an_empty_table_keeps_its_header(tmp_path):
    write_table(tmp_path / "t.csv", Table({"a": np.zeros(0), "b": np.zeros(0)}))
    assert (tmp_path / "t.csv").read_text(encoding="utf-8") == "a,b\n"


def test_parquet_gives_back_columns_and_types(tmp_path, table):
    write_table(tmp_path / "t.parquet", table)
    read = parquet.read_table(tmp_path / "t.parquet")
    assert tuple(read.column_names) == table.names
    for name in table.names:
        column = read[name].to_numpy()
        assert column.dtype == table[name].dtype
        assert np.array_equal(column, table[name])


def test_parquet_keeps_the_settings(tmp_path, table):
    write_table(tmp_path / "t.parquet", table, settings={"diameter": 20.5})
    metadata = parquet.read_schema(tmp_path / "t.parquet").metadata
    assert json.loads(metadata[b"settings"]) == {"diameter": 20.5}
    write_table(tmp_path / "t.csv", table, settings={"diameter": 20.5})
    first = (tmp_path / "t.csv").read_text(encoding="utf-8").splitlines()[0]
    assert first.startswith("label,")


@pytest.mark.parametrize("text", ["=1+1", "+x", "-x", "@x", "\t=x", "'=x", "'", "", "a=b"])
def test_text_is_no_formula_and_can_be_had_back(text):
    assert not harmless(text).startswith(("=", "+", "-", "@", "\t"))
    if not text.startswith("'"):
        assert as_written(harmless(text)) == text


def test_numbers_below_zero_stay_numbers(tmp_path):
    write_table(tmp_path / "t.csv", Table({"a": np.array([-1.5]), "b": np.array(["-x"])}))
    assert (tmp_path / "t.csv").read_text(encoding="utf-8") == "a,b\n-1.5,'-x\n"


def test_tables_of_images_are_joined_by_column(tmp_path):
    one = Table({"label": np.array([1, 2]), "z": np.array([0.5, 1.5])})
    two = Table({"label": np.array([1]), "y": np.array([3])})
    joined = join_tables({"a.tif": one, "b.tif": two})
    write_table(tmp_path / "t.csv", joined)
    assert (tmp_path / "t.csv").read_text(encoding="utf-8").splitlines() == [
        "image,label,z,y",
        "a.tif,1,0.5,",
        "a.tif,2,1.5,",
        "b.tif,1,,3",
    ]
    write_table(tmp_path / "t.parquet", joined)
    assert parquet.read_table(tmp_path / "t.parquet")["image"].to_pylist() == ["a.tif"] * 2 + [
        "b.tif"
    ]


def test_another_suffix_is_refused_before_anything_is_written(tmp_path, table):
    with pytest.raises(OutputError, match=r"\.csv or \.parquet"):
        write_table(tmp_path / "t.xlsx", table)
    assert not list(tmp_path.iterdir())


def test_parquet_without_pyarrow_names_the_extra(tmp_path, table, monkeypatch):
    for module in ("pyarrow", "pyarrow.parquet"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=r"fastercellpose\[lab\]"):
        check_table_path(tmp_path / "t.parquet")
    with pytest.raises(MissingExtraError, match="pyarrow"):
        write_table(tmp_path / "t.parquet", table)
    assert not list(tmp_path.iterdir())


def test_a_failed_csv_leaves_the_old_one(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("old", encoding="utf-8")
    with pytest.raises(AttributeError):
        write_table(
            path, Table({"a": np.array([1.0]), "b": np.array(["x"], dtype=object).view(Bad)})
        )
    assert path.read_text(encoding="utf-8") == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["t.csv"]


class Bad(np.ndarray):
    """A column that cannot be read."""

    def tolist(self):
        raise AttributeError

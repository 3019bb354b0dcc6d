"""The manifest: what its columns mean, and clear words where one is wrong."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from fcp_runtime.errors import InputError
from fcp_runtime.evaluate.manifest import REQUIRED, group_of, read_manifest

SOURCES = Path(__file__).parents[2] / "benchmarks" / "accuracy" / "sources.csv"
STACK = {
    "split": "dev3d",
    "source": "bbbc050",
    "image": "stacks/a.tif",
    "label": "stacks/a_label.tif",
    "ndim": "3",
    "diameter_px": "18.1",
    "voxel_um_zyx": "1.75x0.8x0.8",
    "shape": "51x125x132",
    "instances": "7",
    "label_quality": "manual",
    "licence": "CC0",
    "note": "embryo 10",
}


def write(folder, *rows, encoding="utf-8"):
    path = folder / "manifest.csv"
    with path.open("w", newline="", encoding=encoding) as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    return path


def read_one(folder, **changes):
    return read_manifest(write(folder, STACK | changes))[0]


def test_a_row_has_typed_values_and_paths_beside_the_manifest(tmp_path):
    row = read_one(tmp_path)
    assert (row.split, row.source, row.note) == ("dev3d", "bbbc050", "embryo 10")
    assert row.image == tmp_path / "stacks/a.tif"
    assert row.label == tmp_path / "stacks/a_label.tif"
    assert (row.ndim, row.shape, row.instances) == (3, (51, 125, 132), 7)
    assert row.diameter_px == 18.1
    assert row.voxel_um == (1.75, 0.8, 0.8)
    assert row.anisotropy == pytest.approx(1.75 / 0.8)
    assert not row.anisotropy_is_assumed
    assert not row.recall_only
    assert row.domain == ""


@pytest.mark.parametrize("ndim", ["2", "3"])
@pytest.mark.parametrize(
    ("note", "name"),
    [
        ("embryo 9", "embryo 9"),
        ("Embryo 9, frame 3", "embryo 9"),
        ("embryo 9, frame 4", "embryo 9"),
        ("raw; organoid_2b.", "organoid 2b"),
        ("organoid cystic_0", "organoid cystic_0"),
        ("well B4, organoid 1", "well b4"),
        ("organoid C", "organoid c"),
    ],
)
def test_rows_whose_notes_name_the_same_specimen_are_one_group(tmp_path, ndim, note, name):
    assert group_of(read_one(tmp_path, ndim=ndim, shape="", note=note)) == f"bbbc050/{name}"


@pytest.mark.parametrize("note", ["deconvolved", "well stained", "embryo in agarose", "wells 3"])
def test_stacks_whose_notes_name_none_are_one_group_of_their_source(tmp_path, note):
    assert group_of(read_one(tmp_path, note=note)) == "bbbc050"


@pytest.mark.parametrize(("ndim", "note"), [("2", ""), ("2", "deconvolved"), ("3", "")])
def test_an_image_or_a_stack_without_a_note_is_a_group_wherever_the_manifest_lies(
    tmp_path, ndim, note
):
    row = read_one(tmp_path, ndim=ndim, shape="", note=note)
    assert group_of(row) == "bbbc050/stacks/a.tif"


@pytest.mark.parametrize(
    ("stated", "voxel"),
    [
        ("0.29x0.26x0.26 (skimage docs)", (0.29, 0.26, 0.26)),
        ("2x.5x.5", (2, 0.5, 0.5)),
        ("not stated", None),
        ("", None),
    ],
)
def test_voxel_sizes_are_read_with_their_remarks(tmp_path, stated, voxel):
    assert read_one(tmp_path, voxel_um_zyx=stated).voxel_um == voxel


def test_anisotropy_without_a_voxel_size_is_the_assumed_one_and_marked(tmp_path):
    row = read_one(tmp_path, voxel_um_zyx="not stated", assumed_anisotropy="5")
    assert (row.anisotropy, row.anisotropy_is_assumed) == (5.0, True)
    other = read_one(tmp_path, voxel_um_zyx="not stated")
    assert (other.anisotropy, other.anisotropy_is_assumed) == (None, False)


def test_a_stated_voxel_size_goes_before_an_assumed_anisotropy(tmp_path):
    row = read_one(tmp_path, voxel_um_zyx="1x0.5x0.5", assumed_anisotropy="5")
    assert (row.anisotropy, row.anisotropy_is_assumed) == (2.0, False)


def test_an_image_has_no_anisotropy(tmp_path):
    row = read_one(tmp_path, ndim="2", shape="4x5", assumed_anisotropy="5")
    assert row.anisotropy is None


def test_a_table_of_sources_fills_cells_that_the_manifest_leaves_empty(tmp_path):
    blank = {"voxel_um_zyx": "", "assumed_anisotropy": "", "fragment_voxels": ""}
    own = STACK | blank | {"fragment_voxels": "50"}
    path = write(tmp_path, own, STACK | blank, STACK | blank | {"source": "other"})
    sources = tmp_path / "sources.csv"
    sources.write_text("source,assumed_anisotropy,fragment_voxels\nbbbc050,4.5,200\nabsent,,7\n")
    found = [(row.anisotropy, row.fragment_voxels) for row in read_manifest(path, sources)]
    assert found == [(4.5, 50), (4.5, 200), (None, None)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name\nbbbc050\n", "lacks the column source"),
        ("source,fragment_voxels\n", "no rows"),
        ("source,fragment_voxels\nx,2.5\n", "line 2, column fragment_voxels: a count expected"),
        ("source,assumed_anisotropy\nx,0\n", "line 2, column assumed_anisotropy: a positive"),
        ("source,fragment_voxels\nx,2\nx,3\n", "line 3, column source: x stands there twice"),
    ],
)
def test_a_bad_table_of_sources_is_refused(tmp_path, text, message):
    sources = tmp_path / "sources.csv"
    sources.write_text(text)
    with pytest.raises(InputError, match=message):
        read_manifest(write(tmp_path, STACK), sources)


def test_empty_cells_are_unknown(tmp_path):
    row = read_one(tmp_path, label="", diameter_px="", instances="", shape="")
    assert (row.label, row.diameter_px, row.instances, row.shape) == (None, None, None, None)


def test_incomplete_truth_is_for_recall_only(tmp_path):
    assert read_one(tmp_path, note="recall only").recall_only
    assert not read_one(tmp_path, note="use for precision+recall").recall_only


def test_only_the_required_columns_are_needed_and_a_byte_order_mark_is_no_matter(tmp_path):
    few = {column: STACK[column] for column in REQUIRED}
    rows = read_manifest(write(tmp_path, few, few, encoding="utf-8-sig"))
    assert len(rows) == 2
    assert rows[0].shape is None


@pytest.mark.parametrize("column", REQUIRED)
def test_a_missing_column_is_named(tmp_path, column):
    with pytest.raises(InputError, match=f"manifest.csv: .*lacks.* {column}"):
        read_manifest(write(tmp_path, {k: v for k, v in STACK.items() if k != column}))


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("split", ""),
        ("source", ""),
        ("image", ""),
        ("ndim", "4"),
        ("ndim", ""),
        ("shape", "51x125"),
        ("shape", "51*125*132"),
        ("instances", "-3"),
        ("diameter_px", "0"),
        ("diameter_px", "about 20"),
        ("diameter_px", "nan"),
        ("voxel_um_zyx", "0.8x0.8"),
        ("voxel_um_zyx", "0x1x1"),
        ("voxel_um_zyx", "1.75 0.8 0.8"),
        ("assumed_anisotropy", "-1"),
        ("fragment_voxels", "few"),
    ],
)
def test_a_bad_value_is_named_by_line_and_column(tmp_path, column, value):
    path = write(tmp_path, STACK | {column: STACK.get(column, "")}, STACK | {column: value})
    with pytest.raises(InputError, match=f"manifest.csv, line 3, column {column}: .*expected"):
        read_manifest(path)


def test_missing_files_are_named_by_line_and_column(tmp_path):
    row = read_one(tmp_path)
    with pytest.raises(InputError, match=r"line 2, column image: no file .*a\.tif"):
        row.check_files()
    row.image.parent.mkdir()
    row.image.touch()
    with pytest.raises(InputError, match=r"line 2, column label: no file .*a_label\.tif"):
        row.check_files()
    row.label.touch()
    row.check_files()


def test_what_is_no_manifest_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"none\.csv: cannot be read"):
        read_manifest(tmp_path / "none.csv")
    binary = tmp_path / "binary.csv"
    binary.write_bytes(b"II*\x00\xff\xfe\x80" * 20)
    with pytest.raises(InputError, match=r"binary\.csv"):
        read_manifest(binary)
    empty = tmp_path / "empty.csv"
    empty.write_text(",".join(REQUIRED) + "\n")
    with pytest.raises(InputError, match=r"empty\.csv: .*no rows"):
        read_manifest(empty)


def test_the_shared_manifest_is_read_in_full(fcp_data):
    rows = read_manifest(fcp_data / "manifest.csv", SOURCES)
    for row in rows:
        row.check_files()
        assert row.voxel_um is None or row.ndim == 2 or row.anisotropy
    assert {row.source for row in rows if row.recall_only} == {"cellos_organoid"}

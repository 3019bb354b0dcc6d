"""One table says what can be read."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

from fcp_runtime.cli.jobs import expand, left_out, stem
from fcp_runtime.errors import InputError, MissingExtraError
from fcp_runtime.io import formats
from fcp_runtime.io.formats import FORMATS, SUFFIXES, Format, image_suffix
from fcp_runtime.io.read import read_volume


def test_no_suffix_stands_twice_and_all_are_small_letters():
    assert len(set(SUFFIXES)) == len(SUFFIXES)
    assert all(suffix == suffix.lower() and suffix.startswith(".") for suffix in SUFFIXES)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_folder_gives_every_file_whose_suffix_stands_in_the_table(tmp_path, suffix):
    image = tmp_path / f"Scan.1{suffix.upper()}"
    image.touch()
    (tmp_path / "notes.txt").touch()
    assert expand(tmp_path) == [image]
    assert image_suffix(image.name) == suffix
    assert stem(image) == "Scan.1"


def test_a_file_is_what_its_first_bytes_say_whatever_its_name(tmp_path):
    pixels = np.arange(12, dtype=np.uint8).reshape(3, 4)
    path = tmp_path / "a.png"
    tifffile.imwrite(path, pixels)
    np.testing.assert_array_equal(read_volume(path).pixels, pixels)


def test_the_error_for_an_unknown_file_names_every_format(tmp_path):
    path = tmp_path / "a.tif"
    path.write_text("nucleus,x,y\n")
    with pytest.raises(InputError) as caught:
        read_volume(path)
    assert all(row.name in str(caught.value) for row in FORMATS)


def test_a_format_whose_library_is_missing_names_the_extra(tmp_path, monkeypatch):
    row = Format("Odd", (".odd",), "odd:open_odd", (b"ODD",), "a_library_that_nobody_has")
    monkeypatch.setattr(formats, "FORMATS", (*FORMATS, row))
    path = tmp_path / "a.odd"
    path.write_bytes(b"ODD" + bytes(20))
    with pytest.raises(MissingExtraError, match=r"fastercellpose\[formats\]"):
        read_volume(path)


def test_results_of_ours_are_no_images_of_a_folder_and_other_files_are_named(tmp_path):
    for name in ("a.png", "a_preview.png", "a_masks.png", "a_seg.npy", "a_table.csv", ".b.tif"):
        (tmp_path / name).touch()
    (tmp_path / "notes.txt").touch()
    (tmp_path / "plate.xlsx").touch()
    assert expand(tmp_path) == [tmp_path / "a.png"]
    assert left_out([tmp_path, tmp_path / "a.png"]) == ["notes.txt", "plate.xlsx"]

"""Label images as files: each format read back, and what is refused; objects at the border."""

from __future__ import annotations

import json

import imagecodecs
import numpy as np
import pytest
import tifffile
from skimage.segmentation import clear_border, relabel_sequential

from fcp_runtime.errors import OutputError
from fcp_runtime.machine.workers import Workers
from fcp_runtime.masks.border import without_border_objects
from fcp_runtime.outputs.label_files import check_label_file, write_label_file

SETTINGS = {"model": "v3", "diameter": 20.5}


def write(path, labels):
    write_label_file(path, labels, settings=SETTINGS, voxel_um=None, workers=Workers(1))


@pytest.fixture
def labels():
    return np.random.default_rng(0).integers(0, 40000, (40, 50)).astype(np.uint16)


@pytest.mark.parametrize("name", ["a.tif", "a.ome.tif", "A.TIFF", "a.png", "a.npy"])
def test_labels_are_read_back_as_they_were(tmp_path, labels, name):
    path = tmp_path / name
    write(path, labels)
    if name.endswith("png"):
        read = imagecodecs.png_decode(path.read_bytes())
    else:
        read = np.load(path) if name.endswith("npy") else tifffile.imread(path)
    assert read.dtype == np.uint16
    assert np.array_equal(read, labels)


def test_a_png_holds_its_settings_as_text(tmp_path, labels):
    from PIL import Image

    write(tmp_path / "a.png", labels)
    with Image.open(tmp_path / "a.png") as image:
        image.verify()
    with Image.open(tmp_path / "a.png") as image:
        assert json.loads(image.text["Settings"]) == SETTINGS
        assert np.array_equal(np.asarray(image), labels)


@pytest.mark.parametrize(
    ("name", "says"), [("a.jpg", ".jpg cannot"), ("a", "no suffix"), ("a.txt", ".txt cannot")]
)
def test_a_format_that_cannot_hold_labels_is_refused(tmp_path, labels, name, says):
    with pytest.raises(OutputError, match=says):
        write(tmp_path / name, labels)
    assert not list(tmp_path.iterdir())


def test_a_png_holds_no_stack_and_no_more_than_16_bits(tmp_path):
    with pytest.raises(OutputError, match="not a stack"):
        check_label_file("a.png", 3)
    many = np.arange(70000, dtype=np.uint32).reshape(100, 700)
    with pytest.raises(OutputError, match="65,535 labels, not 69999"):
        write(tmp_path / "a.png", many)
    write(tmp_path / "a.npy", many)
    assert np.load(tmp_path / "a.npy").dtype == np.uint32


@pytest.mark.parametrize("seed", range(5))
def test_objects_at_the_border_go_as_scikit_image_clears_them(seed):
    seeds = np.random.default_rng(seed).permutation(42).reshape(6, 7) - 5
    seeds[seeds < 0] = 0
    masks = np.kron(seeds, np.ones((3, 3), int)).astype(np.uint16)
    expected = relabel_sequential(clear_border(masks))[0]
    for border in ("xy", "xyz"):
        left = without_border_objects(masks, border)
        assert left.dtype == np.uint16
        assert np.array_equal(left, expected)


def test_the_first_and_last_plane_are_a_border_by_choice():
    masks = np.zeros((3, 5, 5), np.uint16)
    masks[0, 2, 2] = 1
    masks[1, 2, 2] = 2
    masks[1, 0, 0] = 3
    assert np.unique(without_border_objects(masks, "xy")).tolist() == [0, 1, 2]
    inner = without_border_objects(masks, "xyz")
    assert np.argwhere(inner).tolist() == [[1, 2, 2]]
    assert inner.max() == 1
    assert without_border_objects(masks[:1], "xyz").max() == 1

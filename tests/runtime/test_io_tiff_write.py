"""Label images that others open with the right axes, the same bytes for the same labels."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import warnings

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fcp_runtime.errors import FcpWarning, OutputError
from fcp_runtime.io.tiff import read_labels, read_volume, write_labels
from fcp_runtime.machine.workers import Workers
from fcp_runtime.settings import Settings

LABELS = np.zeros((7, 40, 50), np.int32)
LABELS[1:4, 5:20, 8:30] = 1
LABELS[3:, 22:, 3:] = 300
SETTINGS = Settings(model="v3", diameter=25.0).as_dict()
VOXEL = (2.0, 0.26, 0.25)
NAMES = ("mask.tif", "mask.tiff", "mask.ome.tif", "mask.OME.TIFF", "mask")


@given(
    data=st.data(),
    dtype=st.sampled_from(["?", "u1", "i2", ">u2", "u4", "i4", "i8", ">u8"]),
    shape=st.one_of(
        hnp.array_shapes(min_dims=2, max_dims=2, max_side=40),
        st.tuples(st.integers(2, 6), st.integers(1, 9), st.integers(2, 9)),
    ),
    name=st.sampled_from(NAMES),
    size=st.none() | st.tuples(*[st.floats(1e-3, 1e3)] * 3),
    order=st.sampled_from("CF"),
)
@settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_labels_and_voxel_size_come_back(tmp_path, data, dtype, shape, name, size, order):
    top = {"?": 1, "u1": 255, "i2": 32767, ">u2": 65535}.get(dtype, 2**20)
    values = hnp.arrays(np.int64, shape, elements=st.integers(0, top))
    labels = np.array(data.draw(values), dtype, order=order)
    path = tmp_path / name
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FcpWarning)
        write_labels(path, labels, settings=SETTINGS, voxel_um=size, workers=Workers(2))
    found = read_labels(path)
    np.testing.assert_array_equal(found, labels)
    assert found.dtype == (np.uint16 if labels.max() < 2**16 else np.uint32)
    voxel = read_volume(path, axes="ZYX"[-labels.ndim :]).voxel_um
    if size is None:
        assert voxel is None
    else:
        z, y, x = size
        assert voxel == pytest.approx((z if labels.ndim == 3 else x, y, x), rel=1e-5)


@pytest.mark.parametrize("name", ["mask.tif", "mask"])
@pytest.mark.parametrize("labels", [LABELS, LABELS[2]], ids=["stack", "image"])
def test_other_names_are_imagej_hyperstacks_with_the_settings_in_info(tmp_path, name, labels):
    write_labels(tmp_path / name, labels, settings=SETTINGS, voxel_um=VOXEL)
    with tifffile.TiffFile(tmp_path / name) as tif:
        assert tif.is_imagej
        assert not tif.is_ome
        assert tif.series[0].axes == "ZYX"[-labels.ndim :]
        assert tif.series[0].shape == labels.shape
        assert tif.series[0].dtype == np.uint16
        np.testing.assert_array_equal(tif.asarray(), labels)
        metadata = tif.imagej_metadata
        assert json.loads(metadata["Info"]) == SETTINGS
        assert metadata["unit"] == "micron"
        assert metadata.get("spacing") == (2.0 if labels.ndim == 3 else None)
        assert metadata.get("slices") == (7 if labels.ndim == 3 else None)
        assert "channels" not in metadata
        assert "frames" not in metadata
        assert (metadata["min"], metadata["max"]) == (0, 300 if labels.ndim == 3 else 1)
        x = tif.pages[0].tags["XResolution"].value
        y = tif.pages[0].tags["YResolution"].value
        assert (x[0] / x[1], y[0] / y[1]) == pytest.approx((1 / 0.25, 1 / 0.26))


@pytest.mark.parametrize("name", ["mask.ome.tif", "mask.Ome.TIFF"])
@pytest.mark.parametrize("labels", [LABELS, LABELS[2]], ids=["stack", "image"])
def test_ome_names_are_ome_tiff_with_the_settings_as_a_map_annotation(tmp_path, name, labels):
    write_labels(tmp_path / name, labels, settings=SETTINGS, voxel_um=VOXEL)
    with tifffile.TiffFile(tmp_path / name) as tif:
        assert tif.is_ome
        assert not tif.is_imagej
        assert tif.series[0].kind == "ome"
        assert tif.series[0].axes == "ZYX"[-labels.ndim :]
        np.testing.assert_array_equal(tif.asarray(), labels)
        ome = tifffile.xml2dict(tif.ome_metadata)["OME"]
    pixels = ome["Image"]["Pixels"]
    assert (pixels["PhysicalSizeX"], pixels["PhysicalSizeY"]) == (0.25, 0.26)
    assert pixels.get("PhysicalSizeZ") == (2.0 if labels.ndim == 3 else None)
    assert (pixels["SizeZ"], pixels["SizeC"], pixels["SizeT"]) == (
        len(labels.reshape(-1, 40, 50)),
        1,
        1,
    )
    annotation = ome["StructuredAnnotations"]["MapAnnotation"]
    assert annotation["ID"] == ome["Image"]["AnnotationRef"]["ID"]
    found = {pair["K"]: pair.get("value") for pair in annotation["Value"]["M"]}
    assert found.keys() == SETTINGS.keys()
    assert found["model"] == "v3"
    assert float(found["diameter"]) == 25.0
    assert json.loads(found["percentiles"]) == [1, 99]


def test_every_plane_is_one_zlib_strip_as_imagej_needs_it(tmp_path):
    write_labels(tmp_path / "a.tif", LABELS, settings={})
    with tifffile.TiffFile(tmp_path / "a.tif") as tif:
        assert len(tif.pages) == 7
        for page in tif.pages:
            assert (page.compression, len(page.dataoffsets)) == (8, 1)
            assert page.rowsperstrip == 40
    assert (tmp_path / "a.tif").stat().st_size < LABELS.size // 4


@pytest.mark.parametrize("name", NAMES)
def test_the_bytes_depend_on_labels_and_settings_only(tmp_path, monkeypatch, name):
    path = tmp_path / name
    written = []
    for threads, group in ((1, 64), (2, 64), (3, 2), (1, 1)):
        monkeypatch.setattr("fcp_runtime.io.tiff.write.GROUP", group)
        monkeypatch.setattr(time, "time", lambda threads=threads: 1e9 * threads)
        write_labels(path, LABELS, settings=SETTINGS, voxel_um=VOXEL, workers=Workers(threads))
        written.append(path.read_bytes())
    assert len(set(written)) == 1
    with tifffile.TiffFile(path) as tif:
        assert "DateTime" not in tif.pages[0].tags
        assert tif.pages[0].software == "fastercellpose"
    write_labels(path, LABELS, settings=SETTINGS | {"min_size": 16}, voxel_um=VOXEL)
    assert path.read_bytes() != written[0]


def test_settings_of_any_text_come_back(tmp_path):
    texts = {
        "model": 'C:\\my "models"\\<é> & ümläut.onnx',
        "lines": "a\nb\tc\x00d",
        "broken": "caf\udce9.onnx",
        "none": None,
        "number": 0.1,
    }
    write_labels(tmp_path / "a.tif", LABELS, settings=texts)
    write_labels(tmp_path / "a.ome.tif", LABELS, settings=texts)
    with tifffile.TiffFile(tmp_path / "a.tif") as tif:
        assert json.loads(tif.imagej_metadata["Info"]) == texts
    with tifffile.TiffFile(tmp_path / "a.ome.tif") as tif:
        pairs = tifffile.xml2dict(tif.ome_metadata)["OME"]["StructuredAnnotations"]["MapAnnotation"]
    found = {pair["K"]: pair["value"] for pair in pairs["Value"]["M"]}
    assert found["model"] == texts["model"]
    assert json.loads(found["lines"]) == texts["lines"]
    assert json.loads(found["broken"]) == texts["broken"]


def test_more_than_65535_objects_need_ome_which_is_said(tmp_path):
    labels = LABELS.copy()
    labels[0, 0, 0] = 65_536
    with pytest.warns(
        FcpWarning, match=r"a\.tif: holds OME-TIFF, .* 65,535 objects; name it \.ome"
    ):
        write_labels(tmp_path / "a.tif", labels, settings=SETTINGS)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write_labels(tmp_path / "a.ome.tif", labels, settings=SETTINGS)
    assert (tmp_path / "a.tif").read_bytes() == (tmp_path / "a.ome.tif").read_bytes()
    with tifffile.TiffFile(tmp_path / "a.tif") as tif:
        assert tif.is_ome
        assert tif.series[0].dtype == np.uint32
    np.testing.assert_array_equal(read_labels(tmp_path / "a.tif"), labels)


def test_65535_objects_do_not(tmp_path):
    labels = LABELS.copy()
    labels[0, 0, 0] = 65_535
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write_labels(tmp_path / "a.tif", labels, settings=SETTINGS)
    assert read_labels(tmp_path / "a.tif").dtype == np.uint16


def test_labels_beyond_4_gib_are_bigtiff_and_ome(tmp_path, monkeypatch):
    monkeypatch.setattr("fcp_runtime.io.tiff.write.BIG", LABELS.size * 2 - 1)
    with pytest.warns(FcpWarning, match="4 GiB"):
        write_labels(tmp_path / "a.tif", LABELS, settings=SETTINGS, voxel_um=VOXEL)
    with tifffile.TiffFile(tmp_path / "a.tif") as tif:
        assert tif.is_bigtiff
        assert tif.is_ome
    np.testing.assert_array_equal(read_labels(tmp_path / "a.tif"), LABELS)


@pytest.mark.parametrize(
    "labels",
    [
        np.zeros((2, 3, 4, 5), int),
        np.zeros(4, int),
        np.zeros((0, 4), int),
        np.zeros((3, 4), np.float32),
        np.full((3, 4), -1),
        np.full((3, 4), 2**32),
    ],
    ids=["4 axes", "1 axis", "empty", "float", "negative", "too large"],
)
def test_what_are_no_labels_is_refused(tmp_path, labels):
    with pytest.raises(OutputError, match=r"a\.tif: not written: labels must be"):
        write_labels(tmp_path / "a.tif", labels, settings={})
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(OutputError, match="does not exist; make it first"):
        write_labels(tmp_path / "no" / "a.tif", LABELS, settings={})


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_an_interrupted_write_leaves_what_was_there(tmp_path, monkeypatch, error):
    path = tmp_path / "a.tif"
    path.write_bytes(b"old")

    def stop(*_args):
        raise error

    monkeypatch.setattr("fcp_runtime.io.tiff.write.imagecodecs.zlibng_encode", stop)
    with pytest.raises(error):
        write_labels(path, LABELS, settings={})
    assert [file.name for file in tmp_path.iterdir()] == ["a.tif"]
    assert path.read_bytes() == b"old"


@pytest.mark.skipif(sys.platform == "win32", reason="limits of POSIX")
def test_a_disk_that_takes_no_more_is_an_error_and_leaves_what_was_there(tmp_path):
    path = tmp_path / "a.tif"
    path.write_bytes(b"old")
    code = (
        "import resource, sys, numpy as np\n"
        "from fcp_runtime.errors import OutputError\n"
        "from fcp_runtime.io.tiff import write_labels\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n"
        "labels = np.random.default_rng(0).integers(0, 9999, (5, 90, 90))\n"
        "try: write_labels(sys.argv[1], labels, settings={})\n"
        "except OutputError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, path], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"{path}: cannot be written: File too large\n"
    assert done.stderr == ""
    assert [file.name for file in tmp_path.iterdir()] == ["a.tif"]
    assert path.read_bytes() == b"old"

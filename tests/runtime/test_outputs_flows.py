"""Flows as TIFF and colours, and the file that the Cellpose interface loads."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from fixed_point import fixed_flow, fixed_logit

from fcp_runtime.fields import Fields
from fcp_runtime.outputs.interchange.flows import flow_colours, write_flows
from fcp_runtime.outputs.interchange.seg_npy import seg_dictionary, write_seg_npy

RECORDED = Path(__file__).parents[1] / "data" / "cellpose_outputs.npz"
UM = (2.0, 0.5, 0.25)
SETTINGS = {"model": "v3", "diameter": 25.0}


def make_fields(shape, ndim, seed=0):
    rng = np.random.default_rng(seed)
    flow = rng.uniform(-1.5, 1.5, (ndim, *shape))
    return Fields(fixed_flow(flow), fixed_logit(rng.normal(0, 5, shape)))


@pytest.mark.parametrize("suffix", [".tif", ".ome.tif"])
@pytest.mark.parametrize(("shape", "ndim"), [((4, 9, 11), 3), ((4, 9, 11), 2), ((1, 9, 11), 2)])
def test_tifffile_reads_flow_and_logit_with_their_names_and_sizes(tmp_path, shape, ndim, suffix):
    fields = make_fields(shape, ndim)
    path = tmp_path / f"f{suffix}"
    write_flows(path, fields, settings=SETTINGS, voxel_um=UM)
    names = [f"flow {axis}" for axis in "zyx"[-ndim:]] + ["logit"]
    expected = np.concatenate((fields.float_flow(), fields.float_logit()[None])).swapaxes(0, 1)
    with tifffile.TiffFile(path) as tif:
        series = tif.series[0]
        assert series.axes == ("ZCYX" if shape[0] > 1 else "CYX")
        assert series.dtype == np.float32
        assert np.array_equal(series.asarray().reshape(expected.shape), expected)
        x = tif.pages[0].tags["XResolution"].value
        assert x[0] / x[1] == pytest.approx(4)
        if suffix == ".tif":
            assert tif.imagej_metadata["Labels"] == names * shape[0]
            assert tif.imagej_metadata["spacing"] == 2
            assert json.loads(tif.imagej_metadata["Info"]) == SETTINGS
        else:
            pixels = tifffile.xml2dict(tif.ome_metadata)["OME"]["Image"]["Pixels"]
            assert [channel["Name"] for channel in pixels["Channel"]] == names
            assert pixels["PhysicalSizeZ"] == 2
            assert pixels["PhysicalSizeY"] == 0.5


@pytest.mark.parametrize(
    ("flow", "colour"),
    [
        ((0, 0, 1), (255, 0, 0)),
        ((0, 1, 0), (128, 255, 0)),
        ((0, 0, -1), (0, 255, 255)),
        ((0, -1, 0), (128, 0, 255)),
        ((1, 0, 0), (255, 255, 255)),
        ((0, 0, 0.5), (128, 0, 0)),
        ((0, 0, 3), (255, 0, 0)),
        ((0, 0, 0), (0, 0, 0)),
    ],
)
def test_direction_is_hue_length_is_value_and_z_is_white(flow, colour):
    fixed = fixed_flow(np.array(flow, float).reshape(3, 1, 1, 1))
    shown = flow_colours(Fields(fixed, np.zeros((1, 1, 1), np.int16)))
    assert shown[0, 0, 0] == pytest.approx(colour, abs=1)


def form(value):
    """Types, shapes and dtypes, as the script that recorded Cellpose's gives them."""
    if isinstance(value, np.ndarray):
        return [str(value.dtype), list(value.shape)]
    return [form(part) for part in value] if isinstance(value, list) else type(value).__name__


@pytest.mark.parametrize("mode", ["2d", "3d"])
def test_the_cellpose_file_has_the_form_that_cellpose_writes(tmp_path, mode):
    recorded = np.load(RECORDED)
    masks = recorded["labels"] if mode == "2d" else np.stack([recorded["labels"]] * 3)
    fields = make_fields((1, *masks.shape)[-3:], masks.ndim)
    path = tmp_path / "image_seg.npy"
    write_seg_npy(path, masks, fields, image="image.tif", diameter=25, settings=SETTINGS)
    assert [file.name for file in tmp_path.iterdir()] == ["image_seg.npy"]
    content = np.load(path, allow_pickle=True).item()
    assert np.array_equal(content["masks"], masks)
    assert content["filename"] == "image.tif"
    assert content["est_diam"] == content["diameter"] == 25
    assert content["settings"] == SETTINGS
    found = {key: form(value) for key, value in content.items()}
    for key, expected in json.loads(str(recorded["forms"]))[mode].items():
        assert found[key] == expected, key


def test_outlines_in_the_cellpose_file_are_those_of_cellpose_but_for_holes():
    recorded = np.load(RECORDED)
    labels = recorded["labels"]
    fields = make_fields((1, *labels.shape), 2)
    content = seg_dictionary(labels, fields, image="i.tif", diameter=25, settings={})
    solid = labels != 3  # the object with holes, whose borders Cellpose does not mark
    assert np.array_equal(content["outlines"][solid] > 0, recorded["border"][solid])
    assert np.array_equal(content["outlines"] > 0, (content["outlines"] == labels) & (labels > 0))


@pytest.mark.parametrize(("ndim", "flow", "logit"), [(2, 5, 1), (3, 10, 3)])
def test_flows_in_the_cellpose_file_are_in_its_scale_where_3d_is_a_sum(ndim, flow, logit):
    fields = make_fields((3, 8, 9), ndim)
    content = seg_dictionary(
        np.zeros((3, 8, 9), np.uint16), fields, image="i.tif", diameter=25, settings={}
    )
    values = content["flows"][4]
    assert values[:-1] == pytest.approx(fields.float_flow() * flow)
    assert values[-1] == pytest.approx(fields.float_logit() * logit)
    along_z = content["flows"][2]
    if ndim == 3:
        expected = np.clip(fields.float_flow()[0] * 127 + 127, 0, 255)
        assert np.abs(along_z - expected).max() <= 0.5
    else:
        assert not along_z.any()
    grey = content["flows"][1]
    assert (grey.min(), grey.max()) == (0, 255)
    order = np.argsort(fields.logit, axis=None)
    assert (np.diff(grey.ravel()[order].astype(int)) >= 0).all()

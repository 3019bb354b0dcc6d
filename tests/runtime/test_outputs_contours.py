"""Outlines of objects as polygons and pixels, and the files of them that other programs read."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import roifile
import shapely
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from shapely.geometry import shape

from fcp_runtime.errors import MissingExtraError, OutputError
from fcp_runtime.machine.workers import Workers
from fcp_runtime.outputs.interchange.contours import object_outlines, object_polygons
from fcp_runtime.outputs.interchange.geojson import write_geojson
from fcp_runtime.outputs.interchange.outlines import write_outlines
from fcp_runtime.outputs.interchange.rois import write_rois
from fcp_runtime.outputs.measurements import region_properties
from fcp_runtime.phantom import nuclei_image, organoid

RECORDED = Path(__file__).parents[1] / "data" / "cellpose_outputs.npz"

# a ring round a hole that holds another object; holes and pieces that meet at corners
KNOT = np.array(
    [
        [1, 1, 1, 1, 1, 0, 2],
        [1, 0, 1, 0, 1, 2, 0],
        [1, 1, 0, 1, 1, 0, 0],
        [1, 0, 1, 3, 1, 1, 0],
        [1, 1, 1, 1, 0, 0, 1],
        [0, 0, 0, 0, 1, 1, 1],
    ],
    np.uint16,
)
planes = st.tuples(st.integers(1, 11), st.integers(1, 11)).flatmap(
    lambda size: arrays(np.uint16, size, elements=st.sampled_from([0, 1, 1, 1, 2]))
)
few = settings(max_examples=60, deadline=None)


def covered(geometry, size):
    """The pixels whose centres lie in a geometry."""
    rows, columns = np.mgrid[: size[0], : size[1]] + 0.5
    return shapely.contains_xy(geometry, columns, rows)


def geometry_of(polygons):
    return shapely.MultiPolygon([(polygon.shell, polygon.holes) for polygon in polygons])


@few
@given(planes)
@example(KNOT)
@example(np.ones((3, 3), np.uint16))
def test_polygons_are_valid_and_cover_just_the_pixels_of_their_object(labels):
    found = object_polygons(labels)
    assert list(found) == np.unique(labels[labels > 0]).tolist()
    for label, polygons in found.items():
        geometry = geometry_of(polygons)
        assert shapely.is_valid(geometry), shapely.is_valid_reason(geometry)
        assert np.array_equal(covered(geometry, labels.shape), labels == label)
        assert geometry.area == np.count_nonzero(labels == label)
        for polygon in polygons:
            assert shapely.LinearRing(polygon.shell).is_ccw  # clockwise where y points down
            assert not any(shapely.LinearRing(hole).is_ccw for hole in polygon.holes)


@few
@given(planes)
@example(KNOT)
def test_polygons_have_no_corner_on_a_straight_line(labels):
    for polygons in object_polygons(labels).values():
        for polygon in polygons:
            for ring in (polygon.shell, *polygon.holes):
                steps = np.sign(np.diff(ring, axis=0, append=ring[:1]))
                assert (np.abs(steps).sum(axis=1) == 1).all()
                assert (steps != np.roll(steps, 1, axis=0)).any(axis=1).all()


@few
@given(planes)
def test_an_outline_runs_from_neighbour_to_neighbour_along_the_border(labels):
    padded = np.pad(labels, 1)
    for label, outline in object_outlines(labels).items():
        steps = np.abs(np.diff(outline, axis=0, append=outline[:1])).max(axis=1)
        assert len(outline) == 1 or (steps == 1).all()
        for x, y in outline:
            assert labels[y, x] == label
            four = padded[[y, y + 2, y + 1, y + 1], [x + 1, x + 1, x, x + 2]]
            assert (four != label).any()


def test_outlines_of_masks_are_those_that_cellpose_writes(tmp_path):
    recorded = np.load(RECORDED)
    write_outlines(tmp_path / "o.txt", recorded["labels"])
    ours = (tmp_path / "o.txt").read_text(encoding="ascii").splitlines()
    theirs = str(recorded["lines"]).splitlines()
    assert len(ours) == len(theirs) == recorded["labels"].max()
    compared = 0
    for mine, other in zip(ours, theirs, strict=True):
        points = list(map(int, mine.split(",")))
        pairs = list(zip(points[::2], points[1::2], strict=True))
        if not other:  # Cellpose leaves out objects of few border pixels
            assert len(pairs) <= 4
            continue
        wanted = list(map(int, other.split(",")))
        expected = list(zip(wanted[::2], wanted[1::2], strict=True))
        begin = pairs.index(expected[0])
        turned = pairs[begin:] + pairs[:begin]
        assert expected in (turned, [turned[0], *turned[:0:-1]])
        compared += 1
    assert compared > 15


def test_outlines_of_a_stack_are_refused(tmp_path):
    with pytest.raises(OutputError, match="ROI zip"):
        write_outlines(tmp_path / "o.txt", np.zeros((2, 3, 4), np.uint16))
    assert not list(tmp_path.iterdir())


def painted(region, size):
    """The pixels inside a region as ImageJ fills it: by the even-odd rule."""
    inside = np.zeros(size, bool)
    coordinates = region.coordinates(multi=True)
    for ring in coordinates if isinstance(coordinates, list) else [coordinates]:
        inside ^= covered(shapely.Polygon(ring), size)
    return inside


def read_regions(path):
    return {region.name: region for region in roifile.roiread(path)}


@pytest.mark.parametrize("labels", [KNOT, nuclei_image((96, 128), seed=4).labels])
def test_regions_of_an_image_cover_just_the_pixels_of_their_objects(tmp_path, labels):
    write_rois(tmp_path / "r.zip", labels)
    regions = read_regions(tmp_path / "r.zip")
    assert sorted(regions) == [f"{label:05d}" for label in np.unique(labels[labels > 0])]
    for name, region in regions.items():
        assert np.array_equal(painted(region, labels.shape), labels == int(name))
        assert region.position == 0
        rows, columns = np.nonzero(labels == int(name))
        assert (region.top, region.bottom) == (rows.min(), rows.max() + 1)
        assert (region.left, region.right) == (columns.min(), columns.max() + 1)


def test_a_solid_object_is_a_traced_region_and_one_with_a_hole_a_composite(tmp_path):
    labels = np.zeros((8, 12), np.uint16)
    labels[1:6, 1:6], labels[1:6, 7:12] = 1, 2
    labels[3, 3] = 0
    write_rois(tmp_path / "r.zip", labels)
    regions = read_regions(tmp_path / "r.zip")
    assert regions["00001"].composite
    assert regions["00002"].roitype == roifile.ROI_TYPE.TRACED


def test_regions_of_a_stack_lie_in_their_planes(tmp_path):
    masks = organoid((12, 48, 48), diameter=14, anisotropy=2, seed=1).labels
    write_rois(tmp_path / "r.zip", masks)
    seen = np.zeros_like(masks)
    for name, region in read_regions(tmp_path / "r.zip").items():
        label, plane = name.split("_z")
        assert region.position == int(plane)
        seen[region.position - 1][painted(region, masks.shape[1:])] = int(label)
    assert np.array_equal(seen, masks)


def test_the_same_masks_make_the_same_zip_and_replace_the_old_one(tmp_path):
    labels = nuclei_image((64, 64), seed=4).labels
    (tmp_path / "b.zip").write_bytes(b"old")
    write_rois(tmp_path / "a.zip", np.stack([labels] * 3), workers=Workers(1))
    write_rois(tmp_path / "b.zip", np.stack([labels] * 3), workers=Workers(3))
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


def test_regions_without_roifile_name_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "roifile", None)
    with pytest.raises(MissingExtraError, match=r"roifile.*fastercellpose\[lab\]"):
        write_rois(tmp_path / "r.zip", KNOT)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("labels", [KNOT, nuclei_image((96, 128), seed=4).labels])
def test_shapely_reads_geojson_as_valid_shapes_of_the_objects(tmp_path, labels):
    write_geojson(tmp_path / "g.geojson", labels)
    document = json.loads((tmp_path / "g.geojson").read_text(encoding="utf-8"))
    assert document["type"] == "FeatureCollection"
    assert len(document["features"]) == len(np.unique(labels)) - 1
    for feature in document["features"]:
        assert feature["type"] == "Feature"
        assert feature["properties"]["objectType"] == "detection"
        geometry = shape(feature["geometry"])
        assert geometry.is_valid
        label = int(feature["properties"]["name"])
        assert np.array_equal(covered(geometry, labels.shape), labels == label)


def test_geojson_carries_measurements_as_finite_numbers(tmp_path):
    made = nuclei_image((96, 128), seed=4)
    table = region_properties(made.labels, {"dapi": made.image}, voxel_um=made.voxel_um)
    columns = dict(table.columns) | {"odd": np.full(len(table), np.nan)}
    write_geojson(tmp_path / "g.geojson", made.labels, table=type(table)(columns))
    document = json.loads(
        (tmp_path / "g.geojson").read_text(encoding="utf-8"), parse_constant=pytest.fail
    )
    for row, feature in enumerate(document["features"]):
        found = feature["properties"]["measurements"]
        assert set(found) == set(table.names) - {"label"}
        assert all(type(value) is float for value in found.values())  # QuPath takes nothing else
        assert found["mean_dapi"] == pytest.approx(table["mean_dapi"][row])


def test_geojson_of_a_stack_or_with_a_wrong_table_is_refused(tmp_path):
    with pytest.raises(OutputError, match="stack of 2"):
        write_geojson(tmp_path / "g.geojson", np.zeros((2, 3, 4), np.uint16))
    with pytest.raises(ValueError, match="not that of the masks"):
        write_geojson(tmp_path / "g.geojson", KNOT, table=region_properties(KNOT % 2, {}))
    assert not list(tmp_path.iterdir())


def test_a_small_plane_of_a_stack_may_hold_a_large_label():
    plane = np.zeros((6, 8), np.uint32)
    plane[2:4, 3:6] = 70_000
    assert list(object_polygons(plane)) == [70_000]
    assert list(object_outlines(plane)) == [70_000]

"""Solidity, eccentricity and Feret diameter against scikit-image and scipy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial import ConvexHull
from scipy.spatial.distance import pdist
from skimage.measure import regionprops

from fcp_runtime.outputs.measurements import region_properties
from fcp_runtime.phantom import nuclei_image, organoid


def face_centres(masks, label):
    """The centres of the faces of all of an object's voxels."""
    points = np.argwhere(masks == label)
    steps = np.eye(masks.ndim) / 2
    return np.concatenate([points + step for step in (*steps, *-steps)])


@pytest.fixture(scope="module")
def image():
    return nuclei_image((160, 160), diameter=24, seed=3).labels


@pytest.fixture(scope="module")
def stack():
    return organoid((12, 60, 60), phenotype="compact", diameter=18, anisotropy=2.0, seed=1).labels


@pytest.mark.parametrize("name", ["image", "stack"])
def test_hulls_are_those_of_every_face_of_every_voxel(name, request):
    masks = request.getfixturevalue(name)
    table = region_properties(masks, {})
    size = table["volume_voxels" if masks.ndim == 3 else "area_pixels"]
    for row, label in enumerate(table["label"]):
        points = face_centres(masks, label)
        assert table["solidity"][row] == pytest.approx(
            min(size[row] / ConvexHull(points).volume, 1), rel=1e-6
        )
        assert table["feret_diameter_px"][row] == pytest.approx(pdist(points).max())


def test_solidity_and_feret_diameter_are_close_to_those_of_scikit_image(image, stack):
    # it counts the pixels of a filled hull and traces that: the raster makes the difference
    for masks, far in ((image, 0.02), (stack, 0.04)):
        table = region_properties(masks, {})
        for row, region in enumerate(regionprops(masks)):
            if region.area > 100:
                assert table["solidity"][row] == pytest.approx(region.solidity, abs=far)
                assert table["feret_diameter_px"][row] == pytest.approx(
                    region.feret_diameter_max, abs=1
                )


def test_eccentricity_is_that_of_the_inertia_of_pixels_as_squares(image):
    table = region_properties(image, {})
    for row, region in enumerate(regionprops(image)):
        large, small = np.array(region.inertia_tensor_eigvals) + 1 / 12
        assert table["eccentricity"][row] == pytest.approx(np.sqrt(1 - small / large))
        assert table["eccentricity"][row] == pytest.approx(region.eccentricity, abs=0.02)


def test_lengths_follow_the_spacing_of_planes_and_micrometres():
    masks = np.zeros((7, 4, 4), np.uint16)
    masks[1:6, 1, 1] = 1
    table = region_properties(masks, {}, voxel_um=(2.0, 0.5, 0.5))
    assert table["feret_diameter_px"][0] == pytest.approx(20)
    assert table["feret_diameter_um"][0] == pytest.approx(10)


@pytest.mark.parametrize("shape", [(1, 1), (3, 3), (1, 1, 1), (1, 2, 3), (4, 4, 4)])
def test_boxes_fill_their_hull_and_a_notch_does_not(shape):
    masks = np.ones(shape, np.uint16)
    assert region_properties(masks, {})["solidity"][0] == 1
    notched = np.ones((40, 40), np.uint16)
    notched[:20, :20] = 0
    assert region_properties(notched, {})["solidity"][0] == pytest.approx(1200 / 1400, rel=0.02)

"""Measurements against scikit-image, exact solids and plain counting."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage
from scipy.spatial.transform import Rotation
from skimage.measure import perimeter_crofton, regionprops

from fcp_runtime.errors import InputError, SettingsError
from fcp_runtime.machine.workers import Workers
from fcp_runtime.outputs.measurements import direction_weights, region_properties
from fcp_runtime.outputs.table import Table
from fcp_runtime.outputs.voxel_sums import half_neighbours, sum_voxels

UM = (1.5, 0.5, 0.5)

volumes = st.tuples(st.integers(1, 6), st.integers(1, 9), st.integers(1, 9)).flatmap(
    lambda shape: arrays(np.uint16, shape, elements=st.sampled_from([0, 0, 1, 2, 3, 7]))
)
planes = st.tuples(st.integers(1, 12), st.integers(1, 12)).flatmap(
    lambda shape: arrays(np.uint16, shape, elements=st.sampled_from([0, 0, 1, 2, 3, 7]))
)
few = settings(max_examples=40, deadline=None)


def ellipsoid(axes, spacing=(1.0, 1.0, 1.0), turn=None, centre=0.0):
    """Voxels inside an ellipsoid of the given semi-axes (z, y, x), on a grid of that spacing."""
    reach = max(axes) + 2
    grid = [np.arange(-np.ceil(reach / step), np.ceil(reach / step) + 1) * step for step in spacing]
    points = np.stack(np.meshgrid(*grid, indexing="ij"), axis=-1) - centre
    if turn is not None:
        points = points @ turn.as_matrix()
    return ((points / axes) ** 2).sum(axis=-1) <= 1


@few
@given(st.one_of(volumes, planes))
def test_place_size_and_box_are_those_of_scikit_image(masks):
    table = region_properties(masks, {})
    regions = regionprops(masks)
    ndim = masks.ndim
    assert table["label"].tolist() == [region.label for region in regions]
    for row, region in enumerate(regions):
        size = "volume_voxels" if ndim == 3 else "area_pixels"
        assert table[size][row] == region.area
        axes = "zyx"[-ndim:]
        assert [table[axis][row] for axis in axes] == pytest.approx(region.centroid)
        box = [table[f"bbox_{axis}_{end}"][row] for end in ("start", "stop") for axis in axes]
        assert box == list(region.bbox)
        assert table["equivalent_diameter_px"][row] == pytest.approx(
            region.equivalent_diameter_area
        )


@few
@given(volumes)
def test_axes_of_a_volume_are_those_of_the_covariance_of_its_voxels(masks):
    table = region_properties(masks, {})
    for row, label in enumerate(table["label"]):
        points = np.argwhere(masks == label)
        covariance = np.cov(points.T, bias=True) + np.eye(3) / 12
        expected = 2 * np.sqrt(5 * np.linalg.eigvalsh(covariance))
        names = ("minor_axis_px", "middle_axis_px", "major_axis_px")
        assert [table[name][row] for name in names] == pytest.approx(expected)


@few
@given(planes)
def test_axes_and_perimeter_of_an_image_are_those_of_scikit_image(masks):
    table = region_properties(masks, {})
    for row, region in enumerate(regionprops(masks)):
        moments = np.array(region.inertia_tensor_eigvals) + 1 / 12
        expected = np.sort(4 * np.sqrt(moments))
        found = [table["minor_axis_px"][row], table["major_axis_px"][row]]
        assert found == pytest.approx(expected)
        perimeter = perimeter_crofton(np.pad(masks == region.label, 1), directions=4)
        assert table["perimeter_px"][row] == pytest.approx(perimeter)


@pytest.mark.parametrize("angle", [0, 30, 45, 90, 120, 170])
def test_orientation_is_the_angle_seen_on_the_screen(angle):
    rows, columns = np.mgrid[-40:41, -40:41]
    along = np.cos(np.radians(angle)) * columns - np.sin(np.radians(angle)) * rows
    across = np.sin(np.radians(angle)) * columns + np.cos(np.radians(angle)) * rows
    masks = ((along / 30) ** 2 + (across / 12) ** 2 <= 1).astype(np.uint16)
    table = region_properties(masks, {})
    off = abs(table["orientation_deg"][0] - angle)
    assert min(off, 180 - off) < 0.5
    assert table["major_axis_px"][0] == pytest.approx(60, rel=0.01)
    assert table["minor_axis_px"][0] == pytest.approx(24, rel=0.02)


@pytest.mark.parametrize("anisotropy", [1.0, 2.0, 3.0])
@pytest.mark.parametrize("axes", [(12, 12, 12), (10, 13, 18)])
def test_a_turned_ellipsoid_has_its_axes_volume_surface_whatever_the_spacing(axes, anisotropy):
    turn = Rotation.from_rotvec([0.4, -0.7, 0.5])
    solid = ellipsoid(axes, (anisotropy, 1, 1), turn, centre=(0.3, 0.2, 0.4))
    table = region_properties(solid.astype(np.uint16), {}, anisotropy=anisotropy)
    names = ("minor_axis_px", "middle_axis_px", "major_axis_px")
    assert [table[name][0] for name in names] == pytest.approx(2 * np.sort(axes), rel=0.01)
    radius = np.prod(axes) ** (1 / 3)
    assert table["equivalent_diameter_px"][0] == pytest.approx(2 * radius, rel=0.01)
    # Knud Thomsen's formula is within 1.1 % of the surface of any ellipsoid
    p = 1.6075
    pairs = [(axes[0] * axes[1]) ** p, (axes[0] * axes[2]) ** p, (axes[1] * axes[2]) ** p]
    surface = 4 * np.pi * np.mean(pairs) ** (1 / p)
    assert table["surface_px2"][0] == pytest.approx(surface, rel=0.03)
    assert table["sphericity"][0] == pytest.approx(4 * np.pi * radius**2 / surface, rel=0.03)
    if len(set(axes)) > 1:
        major = turn.as_matrix()[:, 2]
        found = [table[f"major_axis_{axis}"][0] for axis in "zyx"]
        assert abs(np.dot(found, major)) > 0.999
        minor = [table[f"minor_axis_{axis}"][0] for axis in "zyx"]
        assert abs(np.dot(minor, turn.as_matrix()[:, 0])) > 0.999


def test_the_principal_directions_of_a_rod_along_an_oblique_axis_are_upward():
    masks = np.zeros((9, 9, 9), np.uint16)
    steps = np.arange(9)
    masks[steps, 8 - steps, 4] = 1
    table = region_properties(masks, {})
    found = [table[f"major_axis_{axis}"][0] for axis in "zyx"]
    assert found == pytest.approx([np.sqrt(0.5), -np.sqrt(0.5), 0], abs=1e-12)


def test_directions_of_a_cubic_lattice_have_the_published_weights():
    # Ohser and Muecklich (2000): Voronoi cells of 26 directions on the sphere
    published = {1: 0.04577789120476 * 2, 2: 0.03698062787608 * 2, 3: 0.03519563978232 * 2}
    steps = half_neighbours(3)
    weights = direction_weights(steps.astype(float))
    for step, weight in zip(steps, weights, strict=True):
        assert weight == pytest.approx(published[np.count_nonzero(step)], rel=1e-5)


@pytest.mark.parametrize("spacing", [(1, 1, 1), (2.5, 1, 1), (1, 0.5, 1)])
def test_directions_weigh_as_much_of_the_sphere_as_random_vectors_say(spacing):
    steps = half_neighbours(3) * np.array(spacing)
    weights = direction_weights(steps)
    vectors = np.random.default_rng(0).normal(size=(200_000, 3))
    units = steps / np.linalg.norm(steps, axis=1, keepdims=True)
    nearest = np.abs(vectors @ units.T).argmax(axis=1)
    expected = np.bincount(nearest, minlength=len(steps)) / len(vectors)
    assert weights == pytest.approx(expected, abs=0.003)


@pytest.mark.parametrize("stretch", [1.0, 0.5, 2.0])
def test_a_disc_has_its_perimeter_whatever_the_pixel_form(stretch):
    rows, columns = np.mgrid[-60:61, -60:61]
    masks = ((rows * stretch / 25) ** 2 + (columns / 25) ** 2 <= 1).astype(np.uint8)
    table = region_properties(masks, {}, voxel_um=(1.0, 0.2 * stretch, 0.2))
    assert table["perimeter_px"][0] == pytest.approx(2 * np.pi * 25, rel=0.02)
    assert table["perimeter_um"][0] == pytest.approx(2 * np.pi * 5, rel=0.02)
    assert table["area_um2"][0] == pytest.approx(np.pi * 25, rel=0.01)
    assert table["circularity"][0] == pytest.approx(1, abs=0.03)


def test_micrometres_are_pixels_times_their_size_and_absent_without_it():
    masks = ellipsoid((6, 5, 8)).astype(np.uint16)
    known = region_properties(masks, {}, voxel_um=UM)
    assert not any("_um" in name for name in region_properties(masks, {}).names)
    count = known["volume_voxels"][0]
    assert known["volume_um3"][0] == pytest.approx(count * 1.5 * 0.5 * 0.5)
    assert known["z_um"][0] == pytest.approx(known["z"][0] * 1.5)
    assert known["x_um"][0] == pytest.approx(known["x"][0] * 0.5)
    for name in ("equivalent_diameter", "major_axis", "middle_axis", "minor_axis"):
        assert known[f"{name}_um"][0] == pytest.approx(known[f"{name}_px"][0] * 0.5)
    assert known["surface_um2"][0] == pytest.approx(known["surface_px2"][0] * 0.25)


def test_a_stated_anisotropy_counts_more_than_the_voxel_size():
    masks = ellipsoid((6, 5, 8)).astype(np.uint16)
    stated = region_properties(masks, {}, voxel_um=UM, anisotropy=2)
    expected = region_properties(masks, {}, voxel_um=(1.0, 0.5, 0.5))
    for name in expected.names:
        assert np.array_equal(stated[name], expected[name]), name


@few
@given(st.one_of(volumes, planes), st.sampled_from([np.uint8, np.int16, np.float32]))
def test_intensities_are_those_of_plain_numpy(masks, dtype):
    rng = np.random.default_rng(3)
    pixels = rng.integers(-100, 100, masks.shape).astype(np.int16).astype(dtype)
    table = region_properties(masks, {"red": pixels, "blue": pixels * 2})
    for row, label in enumerate(table["label"]):
        values = pixels[masks == label].astype(float)
        assert table["mean_red"][row] == pytest.approx(values.mean())
        assert table["median_red"][row] == np.median(values)
        assert table["max_red"][row] == values.max()
        assert table["min_red"][row] == values.min()
        assert table["std_red"][row] == pytest.approx(values.std(), abs=1e-9)
        assert table["integrated_red"][row] == values.sum()
        assert table["integrated_blue"][row] == (pixels * 2)[masks == label].sum(dtype=float)


@few
@given(st.one_of(volumes, planes))
def test_surroundings_are_those_found_by_dilation(masks):
    table = region_properties(masks, {})
    inside = np.zeros(masks.shape, bool)
    inside[(slice(1, -1),) * masks.ndim] = True
    for row, label in enumerate(table["label"]):
        mine = masks == label
        grown = ndimage.binary_dilation(mine, np.ones((3,) * masks.ndim))
        others = set(masks[grown].tolist()) - {0, label}
        assert table["neighbours"][row] == len(others)
        assert table["touches_border"][row] == bool((mine & ~inside).any())


@few
@given(volumes)
def test_crossings_are_those_of_shifted_copies(masks):
    sums = sum_voxels(masks)
    padded = np.pad(masks, 1)
    for row, label in enumerate(sums.labels):
        solid = padded == label
        for column, step in enumerate(sums.steps):
            beside = np.roll(solid, step, axis=(0, 1, 2))
            assert sums.crossings[row, column] == np.count_nonzero(solid & ~beside)


def test_the_number_of_threads_changes_nothing():
    rng = np.random.default_rng(1)
    masks = (rng.integers(0, 40, (7, 30, 31)) * rng.integers(0, 2, (7, 30, 31))).astype(np.uint16)
    pixels = rng.normal(size=masks.shape).astype(np.float32)
    once, *others = (
        region_properties(masks, {"i": pixels}, workers=Workers(count)) for count in (1, 2, 3)
    )
    for other in others:
        assert once.names == other.names
        for name in once.names:
            assert np.array_equal(once[name], other[name]), name


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.uint32, np.int64, bool])
def test_any_integer_type_of_masks_measures_the_same(dtype):
    masks = ellipsoid((4, 5, 6)).astype(dtype)
    expected = region_properties(masks.astype(np.uint16), {})
    table = region_properties(masks, {})
    assert all(np.array_equal(table[name], expected[name]) for name in expected.names)


def test_more_labels_than_16_bits_hold_are_measured():
    masks = np.arange(1, 66_001, dtype=np.uint32).reshape(220, 300)
    table = region_properties(masks, {"i": masks.astype(np.float32)})
    assert len(table) == 66_000
    assert table["neighbours"][33_150] == 8
    assert table["mean_i"][-1] == 66_000


@pytest.mark.parametrize("shape", [(3, 4, 5), (4, 5)])
def test_empty_masks_give_an_empty_table_with_all_columns(shape):
    masks = np.zeros(shape, np.uint16)
    full = masks.copy()
    full[..., :2] = 1
    table = region_properties(masks, {"i": masks}, voxel_um=UM)
    assert len(table) == 0
    assert table.names == region_properties(full, {"i": masks}, voxel_um=UM).names


def test_an_object_of_one_voxel_has_finite_measures():
    masks = np.zeros((3, 3, 3), np.uint16)
    masks[1, 1, 1] = 1
    table = region_properties(masks, {"i": masks})
    assert all(np.isfinite(column.astype(float)).all() for column in table.columns.values())
    assert table["sphericity"][0] == 1


@pytest.mark.parametrize(
    ("masks", "words"),
    [
        (np.zeros((4, 4), np.float32), "float32"),
        (np.zeros((2, 2, 4, 4), np.uint16), "shape"),
        (np.full((4, 4), -1), "renumber"),
        (np.full((4, 4), 10**9), "renumber"),
    ],
)
def test_what_is_no_label_image_is_refused(masks, words):
    with pytest.raises(InputError, match=words):
        region_properties(masks, {})


def test_a_channel_of_another_shape_is_refused():
    with pytest.raises(InputError, match="'dapi'"):
        region_properties(np.zeros((4, 4), np.uint16), {"dapi": np.zeros((4, 5))})


@pytest.mark.parametrize("wrong", [{"voxel_um": (1, 0, 1)}, {"anisotropy": -1.0}])
def test_an_impossible_voxel_size_is_refused(wrong):
    with pytest.raises(SettingsError, match="positive"):
        region_properties(np.zeros((4, 4), np.uint16), {}, **wrong)


def test_columns_of_unequal_length_are_no_table():
    with pytest.raises(ValueError, match="one length"):
        Table({"a": np.zeros(2), "b": np.zeros(3)})

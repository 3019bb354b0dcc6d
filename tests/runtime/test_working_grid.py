"""The working grid: no finer than the network sees, and labels of the input made from it."""

from __future__ import annotations

import numpy as np
import pytest
from mask_cases import ellipsoids, fields_of
from scipy.ndimage import map_coordinates

from fcp_runtime.fields import Fields
from fcp_runtime.grid import WorkingGrid
from fcp_runtime.machine.workers import Workers
from fcp_runtime.masks.upsample import in_raster_order, upsample
from fcp_runtime.sampling.axes import taps_to_input
from fcp_runtime.sampling.normalize import Intensity
from fcp_runtime.sampling.working import UNIT, fields_at_input, sample_to_working

TWO = Workers(2)
GRID = WorkingGrid((21, 50, 47), (0.68, 0.4, 0.4))


def upsampled(labels, fields, grid, threshold=0.0, workers=TWO):
    return upsample(
        labels, fields, grid, cellprob_threshold=threshold, anisotropy=1.0, workers=workers
    )


def recorded(seed=0):
    shape = GRID.working_shape
    labels = ellipsoids(shape, 6, 9, seed=seed).astype(np.uint16)
    fields = fields_of(labels, 3)
    return labels, Fields(fields.flow, fields.logit, GRID)


@pytest.mark.parametrize(
    ("scale", "anisotropy", "expected"),
    [
        (1.4, 1.0, (1.0, 1.0, 1.0)),
        (0.68, 1.0, (0.68, 0.68, 0.68)),
        (0.34, 4.0, (1.0, 0.34, 0.34)),
        (0.34, 2.0, (0.68, 0.34, 0.34)),
        (0.9, 1.0, (1.0, 1.0, 1.0)),
    ],
)
def test_a_step_is_the_larger_of_the_inputs_and_a_network_pixel(scale, anisotropy, expected):
    grid = WorkingGrid.fit((9, 90, 80), scale=scale, anisotropy=anisotropy, step=1.0)
    assert grid.scale == pytest.approx(expected)
    assert grid.is_input == (expected == (1.0, 1.0, 1.0))
    spacing = anisotropy / grid.scale[0] * grid.scale[1]
    assert grid.anisotropy(anisotropy) == pytest.approx(spacing)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_sampling_interpolates_contrast_where_a_voxel_of_the_grid_lies(dtype):
    pixels = np.random.default_rng(0).integers(0, 200, (12, 30, 28)).astype(dtype)
    grid = WorkingGrid(pixels.shape, (1.0, 0.68, 0.68))
    sampled = sample_to_working(pixels, grid, Intensity(20, 120), TWO)
    assert sampled.shape == grid.working_shape
    place = [(np.arange(n) + 0.5) / s - 0.5 for n, s in zip(sampled.shape, grid.scale, strict=True)]
    expected = map_coordinates(
        pixels.astype(float), np.meshgrid(*place, indexing="ij"), order=1, mode="reflect"
    )
    assert np.abs(sampled / UNIT - (expected - 20) / 100).max() <= 1.01 / UNIT


def test_large_steps_average_what_they_cover():
    pixels = np.random.default_rng(1).integers(0, 200, (8, 20, 24)).astype(np.uint16)
    sampled = sample_to_working(
        pixels, WorkingGrid(pixels.shape, (0.25, 0.25, 0.25)), Intensity(0, 100), TWO
    )
    means = pixels.reshape(2, 4, 5, 4, 6, 4).mean((1, 3, 5))
    assert np.abs(sampled / UNIT - means / 100).max() <= 1 / UNIT


def test_contrast_out_of_range_is_cut_off_not_wrapped():
    pixels = np.array([0, 60_000], np.uint16)[:, None, None] * np.ones((1, 4, 4), np.uint16)
    sampled = sample_to_working(
        pixels, WorkingGrid(pixels.shape, (1.0, 0.5, 0.5)), Intensity(100, 101), TWO
    )
    assert sampled[0].max() == -32768
    assert sampled[1].min() == 32767


def test_a_voxel_is_foreground_where_the_interpolated_logit_is():
    labels, fields = recorded()
    logit = fields.logit.astype(float)
    for axis, (length, scale) in enumerate(zip(GRID.shape, GRID.scale, strict=True)):
        taps = taps_to_input(length, scale)
        shape = [-1 if n == axis else 1 for n in range(3)]
        logit = sum(
            np.take(logit, index, axis) * weight.reshape(shape)
            for index, weight in zip(taps.index, taps.weight, strict=True)
        )
    masks = upsampled(labels, fields, GRID)
    sure = np.abs(logit) > 1
    assert np.array_equal((masks > 0)[sure], (logit > 0)[sure])


def test_a_label_is_one_of_the_grids_voxels_around():
    labels, fields = recorded()
    masks = upsampled(labels, fields, GRID)
    pairs = [taps_to_input(n, s).index for n, s in zip(GRID.shape, GRID.scale, strict=True)]
    around = np.stack(
        [
            labels[np.ix_(pairs[0][a], pairs[1][b], pairs[2][c])]
            for a in (0, 1)
            for b in (0, 1)
            for c in (0, 1)
        ]
    )
    inside = np.all(around == around[0], axis=0) & (masks > 0)
    table = np.zeros(int(labels.max()) + 1, int)
    table[around[0][inside]] = masks[inside]
    assert np.array_equal(table[around[0][inside]], masks[inside])
    assert len(set(table[1:])) == labels.max()


def test_between_two_objects_the_flow_decides():
    shape = (3, 3, 8)
    labels = np.zeros(shape, np.uint16)
    labels[:, :, :4], labels[:, :, 4:] = 1, 2
    flow = np.zeros((3, *shape), np.int8)
    flow[2, :, :, :3], flow[2, :, :, 3:] = -64, 64  # what lies right of 3 flows to the right
    fields = Fields(flow, np.full(shape, 99, np.int16))
    grid = WorkingGrid((3, 3, 32), (1.0, 1.0, 0.25))
    row = upsampled(labels, fields, grid)[1, 1]
    border = int(np.argmax(row == 2))
    assert set(row[:border]) == {1}
    assert set(row[border:]) == {2}
    assert border == 14  # at 3.125: nearer to 1, but the flow turns at 2.5


def test_filled_holes_stay_filled_and_removed_objects_removed():
    labels, fields = recorded(seed=2)
    whole = upsampled(labels, fields, GRID)
    box = tuple(int(axis[len(axis) // 2]) for axis in np.nonzero(labels == 1))
    logit = fields.logit.copy()
    logit[box] = -500
    holed = upsampled(labels, Fields(fields.flow, logit, GRID), GRID)
    assert np.count_nonzero(holed) >= np.count_nonzero(whole) - 8
    fewer = upsampled(np.where(labels == 2, 0, labels).astype(np.uint16), fields, GRID)
    assert fewer.max() == labels.max() - 1


def test_labels_are_numbered_by_their_first_voxel():
    labels = np.zeros((2, 3, 9), np.uint16)
    labels[0, 0, 3], labels[0, 2, 0], labels[1, 1, 4:6] = 7, 2, 5
    assert np.array_equal(np.unique(in_raster_order(labels.copy(), TWO)), [0, 1, 2, 3])
    found = in_raster_order(labels, TWO)
    assert (found[0, 0, 3], found[0, 2, 0], found[1, 1, 4]) == (1, 2, 3)


def test_threads_do_not_change_labels_of_the_input():
    labels, fields = recorded()
    one, three = (upsampled(labels, fields, GRID, workers=Workers(n)) for n in (1, 3))
    assert np.array_equal(one, three)


def test_fields_are_seen_at_the_inputs_voxels():
    _, fields = recorded()
    large = fields_at_input(fields)
    assert large.shape == GRID.shape
    place = [
        np.clip((np.arange(n) + 0.5) * s - 0.5, 0, small - 1)
        for n, s, small in zip(GRID.shape, GRID.scale, fields.shape, strict=True)
    ]
    grid = np.meshgrid(*place, indexing="ij")
    for found, source in zip((*large.flow, large.logit), (*fields.flow, fields.logit), strict=True):
        expected = map_coordinates(source.astype(float), grid, order=1, mode="nearest")
        assert np.abs(found - expected).max() <= 0.51
    assert fields_at_input(large) is large

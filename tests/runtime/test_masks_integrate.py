from __future__ import annotations

import numpy as np
import pytest
from mask_cases import fields_of, recorded_fields
from scipy.ndimage import gaussian_filter, map_coordinates

from fcp_runtime.fields import FLOW_SCALE, Fields
from fcp_runtime.machine.workers import Workers
from fcp_runtime.masks.integrate import follow_flows

TWO = Workers(2)


def follow(fields, niter, workers=TWO, anisotropy=1.0, threshold=0.0, **more):
    return follow_flows(
        fields, threshold=threshold, niter=niter, anisotropy=anisotropy, workers=workers, **more
    )


def sorted_ends(ends):
    """Return linear source and target, in raster order of source."""
    order = np.argsort(ends.source)
    return ends.source[order], ends.target[order]


def random_fields(shape, ndim, seed):
    """Return smooth random flow of up to 1.5 pixels and ragged foreground."""
    rng = np.random.default_rng(seed)
    smooth = [
        gaussian_filter(rng.normal(size=shape), (0 if ndim == 2 else 2, 2, 2))
        for _ in range(ndim + 1)
    ]
    smooth = [part / np.abs(part).max() for part in smooth]
    flow = np.stack(smooth[:ndim]) * 1.5 * FLOW_SCALE
    return Fields(flow.astype(np.int8), (smooth[ndim] * 1000 + 50).astype(np.int16))


def euler(fields, niter, anisotropy):
    """Follow all points by plain Euler steps in float64: source and unrounded end (n, 3)."""
    inside = fields.logit > 0
    flow = np.zeros((3, *fields.shape))
    flow[3 - fields.ndim :] = fields.flow / FLOW_SCALE * inside
    flow[0] /= anisotropy
    top = np.array(fields.shape)[:, None] - 1
    start = np.array(np.nonzero(inside))
    place = start.astype(float)
    for _ in range(niter):
        step = np.stack([map_coordinates(part, place, order=1, mode="nearest") for part in flow])
        place = np.clip(place + step, 0, top)
    return np.ravel_multi_index(start, fields.shape), place.T


@pytest.mark.parametrize(
    ("shape", "ndim", "anisotropy"),
    [((9, 20, 31), 3, 1.0), ((9, 20, 31), 3, 2.5), ((4, 33, 70), 2, 1.0), ((1, 40, 150), 2, 1.0)],
)
@pytest.mark.parametrize("niter", [1, 2, 9, 60])
def test_points_follow_the_plain_euler_path(shape, ndim, anisotropy, niter):
    fields = random_fields(shape, ndim, seed=niter)
    source, place = euler(fields, niter, anisotropy)
    got_source, target = sorted_ends(follow(fields, niter, anisotropy=anisotropy, tolerance=0))
    np.testing.assert_array_equal(got_source, source)
    distance = np.abs(np.array(np.unravel_index(target, shape)).T - place)
    # half a voxel from rounding; float32 against float64 grows in the few paths that part
    assert np.mean(distance.max(1) < 0.501) > (0.999 if niter < 10 else 0.99)


@pytest.mark.parametrize("ndim", [2, 3])
def test_points_know_the_length_of_their_flow(ndim):
    fields = random_fields((9, 70, 140), ndim, seed=5)
    ends = follow(fields, 1)
    expected = np.rint(np.linalg.norm(fields.flow.astype(float), axis=0)).ravel()[ends.source]
    np.testing.assert_array_equal(ends.length, expected)
    assert ends.length.max() > FLOW_SCALE


def test_points_of_two_dimensional_fields_stay_in_their_plane():
    fields = random_fields((5, 30, 30), 2, seed=1)
    ends = follow(fields, 50)
    np.testing.assert_array_equal(ends.source // 900, ends.target // 900)
    assert np.mean(ends.source != ends.target) > 0.5


def test_two_dimensional_planes_end_as_if_each_were_alone():
    fields = random_fields((3, 30, 40), 2, seed=2)
    _, together = sorted_ends(follow(fields, 50))
    alone = [
        sorted_ends(follow(Fields(fields.flow[:, z : z + 1], fields.logit[z : z + 1]), 50))[1]
        + z * 1200
        for z in range(3)
    ]
    np.testing.assert_array_equal(together, np.concatenate(alone))


def test_z_flow_is_divided_by_the_anisotropy():
    flow = np.zeros((3, 20, 1, 4), np.int8)
    flow[0] = FLOW_SCALE
    fields = Fields(flow, np.full((20, 1, 4), 9, np.int16))
    source, target = sorted_ends(follow(fields, 6, anisotropy=3.0))
    np.testing.assert_array_equal(target // 4, np.minimum(source // 4 + 2, 19))


def test_only_voxels_above_the_threshold_are_points():
    logit = np.arange(-600, 600, dtype=np.int16).reshape(1, 30, 40)
    fields = Fields(np.zeros((2, 1, 30, 40), np.int8), logit)
    for threshold in (0.0, 0.5, -0.3333, 1.0, -100.0, 100.0):
        source, _ = sorted_ends(follow(fields, 1, threshold=threshold))
        expected = np.flatnonzero(logit.ravel() > threshold * 512)
        np.testing.assert_array_equal(source, expected)


def test_flow_outside_the_foreground_counts_as_zero():
    flow = np.zeros((2, 1, 1, 8), np.int8)
    flow[1, 0, 0] = [0, 0, FLOW_SCALE // 2, FLOW_SCALE, FLOW_SCALE, 0, 0, 0]
    logit = np.full((1, 1, 8), -9, np.int16)
    logit[0, 0, 2] = 9
    # after one step the point is at 2.5, where half the weight is on its own flow: 0.25, then 0.125
    _, target = sorted_ends(follow(Fields(flow, logit), 3, tolerance=0))
    assert target.tolist() == [3]
    _, target = sorted_ends(follow(Fields(flow, logit), 30, tolerance=0))
    assert target.tolist() == [3], "with the flow beyond it would run on to 5"


def test_points_stop_at_the_faces_of_the_volume():
    flow = np.zeros((3, 4, 5, 6), np.int8)
    flow[0], flow[1], flow[2] = -55, 70, 127
    ends = follow(Fields(flow, np.full((4, 5, 6), 9, np.int16)), 100)
    assert set(ends.target.tolist()) == {4 * 6 + 5}


def test_ends_are_rounded_to_the_nearest_voxel():
    flow = np.zeros((2, 1, 1, 9), np.int8)
    flow[1] = int(0.6 * FLOW_SCALE)
    source, target = sorted_ends(follow(Fields(flow, np.full((1, 1, 9), 9, np.int16)), 1))
    np.testing.assert_array_equal(target, np.minimum(source + 1, 8))


@pytest.mark.parametrize("centre", [(2, 3, 4), (17, 16, 20), (10, 9, 12)])
def test_paths_end_at_the_centre_wherever_it_lies(centre):
    # Cellpose reads the 3-D field up to half a voxel nearer to the border (grid_sample with
    # align_corners False on positions scaled for True), so there the ends drift
    shape = (20, 20, 25)
    grid = np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing="ij"))
    flow = np.clip(np.reshape(centre, (3, 1, 1, 1)) - grid, -1, 1) * 0.5
    fields = Fields((flow * FLOW_SCALE).astype(np.int8), np.full(shape, 9, np.int16))
    ends = follow(fields, 200)
    assert np.all(ends.target == np.ravel_multi_index(centre, shape))


def test_a_cycle_ends_long_before_the_last_step():
    flow = np.zeros((2, 1, 1, 12), np.int8)
    flow[1, 0, 0, :6], flow[1, 0, 0, 6:] = FLOW_SCALE, -FLOW_SCALE
    fields = Fields(flow, np.full((1, 1, 12), 9, np.int16))
    ends = follow(fields, 10**9)  # would take minutes
    assert set(ends.target.tolist()) <= {5, 6}


def test_a_point_pressed_against_a_face_ends_long_before_the_last_step():
    flow = np.full((3, 6, 6, 6), -23, np.int8)
    ends = follow(Fields(flow, np.full((6, 6, 6), 9, np.int16)), 10**9)
    assert not ends.target.any()


def test_the_origin_of_the_volume_does_not_matter():
    fields, _ = recorded_fields("masks_3d.npz")
    pad = ((0, 0), (3, 1), (7, 0), (11, 2))
    flow = np.pad(fields.flow, pad)
    logit = np.pad(fields.logit, pad[1:], constant_values=-999)
    inner = np.zeros(fields.shape, bool)  # paths that touch no face of the smaller volume
    inner[8:-8, 8:-8, 8:-8] = True
    _, target = sorted_ends(follow(fields, 200))
    _, padded = sorted_ends(follow(Fields(flow, logit), 200))
    z, y, x = np.unravel_index(target, fields.shape)
    moved = np.ravel_multi_index((z + 3, y + 7, x + 11), logit.shape)
    away = inner.ravel()[np.sort(np.flatnonzero(fields.logit.ravel() > 0))]
    assert away.sum() > 10_000
    np.testing.assert_array_equal(padded[away], moved[away])


@pytest.mark.parametrize("name", ["masks_2d.npz", "masks_3d.npz"])
def test_threads_do_not_change_a_bit(name):
    fields, _ = recorded_fields(name)
    ends = [follow(fields, 200, workers=Workers(count)) for count in (1, 2, 3)]
    for other in ends[1:]:
        np.testing.assert_array_equal(ends[0].source, other.source)
        np.testing.assert_array_equal(ends[0].target, other.target)


def test_no_foreground_gives_no_points():
    ends = follow(fields_of(np.zeros((3, 8, 8), np.int32), 3), 10)
    assert ends.source.size == ends.target.size == 0

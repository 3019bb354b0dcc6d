from __future__ import annotations

from contextlib import nullcontext

import numpy as np
import pytest
from mask_cases import recorded_fields, same_partition
from scipy.ndimage import binary_dilation, maximum_filter

from fcp_runtime.errors import FcpWarning
from fcp_runtime.fields import FLOW_SCALE
from fcp_runtime.machine.workers import Workers
from fcp_runtime.masks.assemble import assemble
from fcp_runtime.masks.integrate import Endpoints, follow_flows

TWO = Workers(2)


def ends(target, shape, ndim=3, source=None, length=None):
    """Return endpoints of paths that begin in the first voxels, or in those of ``source``."""
    target = np.asarray(target, np.int32)
    source = np.arange(target.size, dtype=np.int32) if source is None else source
    length = np.full(target.size, FLOW_SCALE, np.uint8) if length is None else length
    return Endpoints(source, target, length, shape, ndim)


def labels_of(points, **options):
    return assemble(points, **options).labels


def piles(places, shape):
    """Return targets: so many paths for each (count, (z, y, x))."""
    return np.concatenate(
        [np.full(count, np.ravel_multi_index(place, shape)) for count, place in places]
    )


def dense(endpoints, planes_of_window, planes_of_growth):
    """Assemble one image in dense arrays, with scipy's filters, by the words of the method."""
    shape = endpoints.shape
    histogram = np.bincount(endpoints.target, minlength=np.prod(shape)).reshape(shape)
    highest = maximum_filter(histogram, (2 * planes_of_window + 1, 5, 5), mode="constant")
    place = np.indices(shape).reshape(3, -1).T
    seeds = []
    for seed in np.argwhere((histogram == highest) & (histogram > 10)):
        near = (np.abs(place - seed) <= (planes_of_window, 2, 2)).all(1)
        equal = np.flatnonzero(near & (histogram.ravel() == histogram[tuple(seed)]))
        if equal[-1] == np.ravel_multi_index(seed, shape):  # of equal maxima the last
            seeds.append(seed)
    seeds = np.array(seeds)
    order = np.argsort(histogram[tuple(seeds.T)], kind="stable")
    painted = np.zeros(shape, np.int32)
    for label, seed in enumerate(seeds[order], 1):
        grown = np.zeros(shape, bool)
        grown[tuple(seed)] = True
        steps = np.floor(np.arange(6) * planes_of_growth / 5 + 0.5).astype(int)
        for planes in np.diff(steps):
            grown = binary_dilation(grown, np.ones((2 * planes + 1, 3, 3))) & (histogram > 2)
        painted[grown] = label
    labels = np.zeros(np.prod(shape), np.int32)
    labels[endpoints.source] = painted.ravel()[endpoints.target]
    sizes = np.bincount(labels)
    large = np.flatnonzero(sizes[1:] > 0.4 * labels.size) + 1
    return np.where(np.isin(labels, large), 0, labels).reshape(shape)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    ("anisotropy", "planes_of_window", "planes_of_growth"),
    [(1.0, 2, 5), (2.0, 1, 2), (3.0, 1, 2), (9.0, 1, 1), (0.5, 4, 10)],
)
def test_labels_equal_those_of_dense_filters(seed, anisotropy, planes_of_window, planes_of_growth):
    rng = np.random.default_rng(seed)
    shape = (13, 27, 30)
    centres = rng.uniform(0, shape, (40, 3))
    spread = rng.uniform(0.3, 2.5, 40)
    which = rng.integers(0, 40, 9000)
    place = np.rint(rng.normal(centres[which], spread[which, np.newaxis])).astype(int)
    place = np.clip(place, 0, np.array(shape) - 1)
    source = rng.permutation(np.prod(shape))[:9000].astype(np.int32)
    points = ends(np.ravel_multi_index(place.T, shape), shape, source=source)
    expected = dense(points, planes_of_window, planes_of_growth)
    result = labels_of(points, anisotropy=anisotropy, workers=TWO)
    np.testing.assert_array_equal(result, expected)
    assert result.max() > 5


def test_planes_of_two_dimensional_fields_are_images_by_themselves():
    fields, _ = recorded_fields("masks_2d.npz")
    points = follow_flows(fields, threshold=0, niter=200, anisotropy=1, workers=TWO)
    alone = dense(points, 0, 0)
    size = alone.size
    source = np.concatenate([points.source, points.source + size])
    target = np.concatenate([points.target, points.target + size])
    stack = ends(target, (2, *points.shape[1:]), 2, source)
    result = labels_of(stack, anisotropy=1.0, workers=TWO)
    assert all(same_partition(plane, alone) for plane in result)
    assert not np.intersect1d(result[0], result[1])[1:].size


def test_a_seed_needs_more_than_ten_paths():
    shape = (1, 20, 20)
    points = ends(piles([(10, (0, 3, 3)), (11, (0, 12, 12))], shape), shape, 2)
    result = labels_of(points, anisotropy=1.0, workers=TWO).ravel()
    assert result[:10].tolist() == [0] * 10
    assert result[10:21].tolist() == [1] * 11


def test_a_seed_grows_over_crowded_voxels_up_to_five_away():
    shape = (1, 20, 40)
    row = [(11, (0, 9, 9))] + [(4, (0, 9, x)) for x in range(10, 17)] + [(2, (0, 10, 9))]
    points = ends(piles(row, shape), shape, 2)
    result = labels_of(points, anisotropy=1.0, workers=TWO).ravel()
    assert result[: 11 + 5 * 4].all()
    assert not result[11 + 5 * 4 :].any(), "the sixth is too far, two paths are no crowd"


def test_the_larger_basin_wins_where_two_meet():
    shape = (1, 20, 40)
    row = [(20, (0, 9, 9)), (5, (0, 9, 10)), (5, (0, 9, 11)), (30, (0, 9, 12))]
    result = labels_of(ends(piles(row, shape), shape, 2), anisotropy=1.0, workers=TWO).ravel()
    assert np.unique(result[:60]).tolist() == [2], (
        "the smaller lies within the growth of the larger"
    )


def test_equal_maxima_side_by_side_are_one_object():
    # in Cellpose both are seeds, and what the second cannot reach is left as a crumb of the first
    shape = (1, 20, 40)
    row = [(12, (0, 9, 5)), (3, (0, 9, 4)), (12, (0, 9, 6)), (12, (0, 9, 7))]
    result = labels_of(ends(piles(row, shape), shape, 2), anisotropy=1.0, workers=TWO)
    assert np.unique(result).tolist() == [0, 1]


def test_an_end_between_two_distant_planes_is_one_object():
    shape = (6, 20, 20)
    points = ends(piles([(30, (2, 9, 9)), (25, (3, 9, 9))], shape), shape)
    result = labels_of(points, anisotropy=8.0, workers=TWO).ravel()
    assert np.unique(result[:55]).tolist() == [1]


def test_labels_above_a_part_of_the_image_are_dropped_with_a_warning():
    shape = (1, 10, 20)
    for size, limit, kept in ((80, 0.4, True), (81, 0.4, False), (180, 0.9, True), (181, 1, True)):
        points = ends(piles([(size, (0, 2, 2)), (15, (0, 2, 15))], shape), shape, 2)
        expected = (
            nullcontext() if kept else pytest.warns(FcpWarning, match="fills 40% of the image")
        )
        with expected:
            result = labels_of(points, anisotropy=1.0, workers=TWO, max_size_fraction=limit).ravel()
        assert result[:size].any() == kept
        assert result[size : size + 15].all()


def test_the_part_is_of_the_plane_in_2d_and_of_the_volume_in_3d():
    shape = (3, 10, 20)
    for ndim, kept in ((2, False), (3, True)):
        points = ends(piles([(190, (1, 2, 2))], shape), shape, ndim)
        with nullcontext() if kept else pytest.warns(FcpWarning, match="fills 95% of the image"):
            assert labels_of(points, anisotropy=1.0, workers=TWO).any() == kept


def test_an_object_needs_the_least_mean_flow():
    shape = (1, 20, 20)
    flow = np.array([0.25, 0.75] * 10 + [0.25, 0.5] * 10)  # 0.5 and 0.375 on average
    length = np.rint(flow * FLOW_SCALE).astype(np.uint8)
    points = ends(piles([(20, (0, 3, 3)), (20, (0, 12, 12))], shape), shape, 2, length=length)
    for least, kept in (
        (0, (True, True)),
        (0.38, (True, False)),
        (0.5, (True, False)),
        (0.51, (False, False)),
    ):
        result = labels_of(points, anisotropy=1.0, workers=TWO, min_flow=least).ravel()
        assert (result[:20].all(), result[20:40].all()) == kept
        assert result.any() == any(kept)


def test_no_points_give_no_labels():
    result = labels_of(ends([], (2, 3, 4)), anisotropy=1.0, workers=TWO)
    assert result.shape == (2, 3, 4)
    assert not result.any()


@pytest.mark.parametrize("name", ["masks_2d.npz", "masks_3d.npz"])
def test_threads_do_not_change_the_labels(name):
    fields, _ = recorded_fields(name)
    points = follow_flows(fields, threshold=0, niter=200, anisotropy=1, workers=TWO)
    results = [labels_of(points, anisotropy=1, workers=Workers(count)) for count in (1, 2, 3)]
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])


def test_the_seed_of_a_label_is_the_voxel_where_most_of_its_paths_end():
    shape = (1, 12, 40)
    places = [(30, (0, 5, 5)), (12, (0, 5, 6)), (60, (0, 6, 30)), (20, (0, 6, 18))]
    points = ends(piles(places, shape), shape, 2)
    found = assemble(points, anisotropy=1.0, workers=TWO)
    assert [tuple(map(int, np.unravel_index(seed, shape))) for seed in found.seeds] == [
        (0, 6, 18),
        (0, 5, 5),
        (0, 6, 30),
    ]
    starts = found.labels.ravel()
    assert set(starts[:42]) == {2}
    assert set(starts[42:102]) == {3}

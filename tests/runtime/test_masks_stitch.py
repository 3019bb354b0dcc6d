from __future__ import annotations

import numpy as np
from mask_cases import DATA, same_partition

from fcp_runtime.machine.workers import Workers
from fcp_runtime.masks.stitch import stitch


def stitched(planes, threshold, threads=2):
    """Stitch planes that each count their labels from 1."""
    planes = np.asarray(planes, np.int32)
    before = np.cumsum([0, *planes.max(axis=(1, 2))[:-1]]).reshape(-1, 1, 1)
    labels = np.where(planes > 0, planes + before, 0).astype(np.int32)
    stitch(labels, threshold, Workers(threads))
    return labels


def test_planes_are_linked_as_by_cellpose():
    recorded = np.load(DATA / "mask_parts.npz")
    result = stitched(recorded["planes"], 0.25)
    assert np.unique(result).size < recorded["planes"].max(axis=(1, 2)).sum() / 3
    assert same_partition(result, recorded["stitched"])


def test_objects_that_overlap_too_little_stay_apart():
    planes = [[[1, 1, 1, 1, 0, 0]], [[0, 0, 1, 1, 1, 1]]]  # 2 of 6
    assert np.unique(stitched(planes, 0.33)).tolist() == [0, 1]
    assert np.unique(stitched(planes, 0.34)).tolist() == [0, 1, 2]


def test_of_two_equal_overlaps_one_is_linked():
    planes = [[[1, 1, 1, 1]], [[1, 1, 2, 2]]]
    assert stitched(planes, 0.25)[1].tolist() == [[1, 1, 3, 3]]
    assert stitched(planes[::-1], 0.25)[1].tolist() == [[1, 1, 1, 1]]


def test_an_empty_plane_ends_chains_and_numbers_stay_unique():
    planes = [[[1, 1, 0]], [[0, 0, 0]], [[1, 1, 2]]]
    assert stitched(planes, 0.25)[:, 0].tolist() == [[1, 1, 0], [0, 0, 0], [2, 2, 3]]


def test_empty_stacks_and_single_planes_stay_as_they_are():
    assert not stitched(np.zeros((4, 3, 3)), 0.25).any()
    assert stitched([[[1, 2, 0]]], 0.25).tolist() == [[[1, 2, 0]]]


def test_threads_do_not_change_the_links():
    planes = np.load(DATA / "mask_parts.npz")["planes"]
    one, three = stitched(planes, 0.1, threads=1), stitched(planes, 0.1, threads=3)
    np.testing.assert_array_equal(one, three)

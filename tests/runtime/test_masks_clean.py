from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from mask_cases import DATA, ellipsoids, matched, recorded_fields
from scipy.ndimage import binary_fill_holes, find_objects

from fcp_runtime.machine.workers import Workers
from fcp_runtime.masks.clean import fill_holes, remove_bad_flow, renumber
from fcp_runtime.masks.objects import label_extents

TWO = Workers(2)


def filled(labels, min_size=0, workers=TWO):
    result = np.ascontiguousarray(labels, np.int32).copy()
    objects = fill_holes(result, min_size, workers)
    np.testing.assert_array_equal(objects.size, label_extents(result, workers).size)
    present = objects.present()
    np.testing.assert_array_equal(
        objects.first[present], label_extents(result, workers).first[present]
    )
    return renumber(result, objects, min_size, workers)


def drawing(text):
    """Return labels (1, Y, X) from rows of digits."""
    return np.array([[[int(c) for c in row] for row in text.split()]], np.int32)


small_labels = arrays(np.int32, st.tuples(*[st.integers(1, 6)] * 3), elements=st.integers(0, 5))


@given(small_labels)
@settings(deadline=None, max_examples=60)
def test_measured_size_first_voxel_and_box_are_those_of_scipy(labels):
    objects = label_extents(labels, TWO)
    np.testing.assert_array_equal(objects.size[1:], np.bincount(labels.ravel())[1:])
    for label, box in enumerate(find_objects(labels), 1):
        if box is not None:
            assert objects.first[label] == np.flatnonzero(labels == label)[0]
            assert objects.low[label].tolist() == [part.start for part in box]
            assert objects.high[label].tolist() == [part.stop for part in box]


@given(small_labels)
@settings(deadline=None, max_examples=60)
def test_labels_are_renumbered_by_first_voxel(labels):
    values, first = np.unique(labels, return_index=True)
    order = values[np.argsort(first)]
    expected = {0: 0} | {old: new for new, old in enumerate(order[order > 0], 1)}
    result = renumber(labels, label_extents(labels, TWO), 0, TWO)
    assert result.dtype == np.uint16
    np.testing.assert_array_equal(result, np.vectorize(expected.get)(labels))


def test_more_labels_than_16_bits_hold_need_32():
    labels = np.arange(70_000, dtype=np.int32)[::-1].reshape(1, 7, 10_000)
    result = renumber(labels, label_extents(labels, TWO), 0, TWO)
    assert result.dtype == np.uint32
    np.testing.assert_array_equal(result.ravel()[:-1], np.arange(1, 70_000))


def test_holes_are_filled_as_by_cellpose():
    recorded = np.load(DATA / "mask_parts.npz")
    for before, after in (("holes", "filled"), ("flat", "flat_filled")):
        labels = recorded[before].reshape(-1, *recorded[before].shape[-2:])
        result = filled(labels, 15)
        assert ((result > 0) != (labels > 0)).sum() > 10
        assert np.unique(result).size == recorded[after].max() + 1
        # all but one voxel: fill_voids also closes gaps in the edges of the box, which are open
        assert np.sum(matched(recorded[after], result) < 1) <= 1
        assert matched(recorded[after], result).min() > 0.999


@given(arrays(np.bool_, st.tuples(st.integers(2, 5), st.integers(1, 7), st.integers(1, 7))))
@settings(deadline=None, max_examples=100)
def test_holes_in_space_are_those_of_scipy(inside):
    box = tuple(
        slice(part.min(), part.max() + 1) if part.size else slice(0, 0)
        for part in np.nonzero(inside)
    )
    expected = inside.copy()
    if np.ptp(np.nonzero(inside)[0]) if inside.any() else False:
        expected[box] = binary_fill_holes(inside[box])
        np.testing.assert_array_equal(filled(inside) > 0, expected)


@given(arrays(np.bool_, st.tuples(st.just(1), st.integers(1, 9), st.integers(1, 9))))
@settings(deadline=None, max_examples=100)
def test_an_object_of_one_plane_is_filled_in_its_plane(inside):
    np.testing.assert_array_equal(filled(inside)[0] > 0, binary_fill_holes(inside[0]))
    deep = np.zeros((3, *inside.shape[1:]), np.bool_)
    deep[1] = inside
    np.testing.assert_array_equal(filled(deep)[1] > 0, binary_fill_holes(inside[0]))


def test_a_cup_open_above_keeps_what_stands_in_it():
    cup = np.zeros((4, 7, 7), np.int32)
    cup[1:, 1:6, 1:6] = 1
    cup[1:3, 2:5, 2:5] = 2  # ringed by the cup in two planes
    np.testing.assert_array_equal(filled(cup), cup)


@pytest.mark.parametrize("swap", [False, True])
def test_the_outermost_of_nested_objects_stays(swap):
    nested = drawing("1111111 1000001 1022201 1020201 1022201 1000001 1111111")
    if swap:
        nested = np.array([0, 2, 1], np.int32)[nested]
    fill_holes(nested, 0, TWO)
    assert np.unique(nested).tolist() == [2 if swap else 1]


def test_small_objects_go_and_others_stay():
    labels = drawing("1100000 1100000 0000222 0000020")
    np.testing.assert_array_equal(filled(labels, 4), labels)
    np.testing.assert_array_equal(filled(labels, 5), 0)
    np.testing.assert_array_equal(filled(drawing("111 101 000 222"), 4), drawing("111 101 000 000"))
    np.testing.assert_array_equal(filled(drawing("222 000 111 101"), 4), drawing("000 000 111 101"))


def test_an_object_that_loses_voxels_to_a_hole_is_counted_anew():
    labels = drawing("1111100 1020100 1111122 0000002")
    np.testing.assert_array_equal(filled(labels, 4), drawing("1111100 1111100 1111100 0000000"))


def test_holes_count_for_the_size():
    ring = drawing("111 101 111")
    np.testing.assert_array_equal(filled(ring, 9), 0)  # eight before it is filled, as in Cellpose
    np.testing.assert_array_equal(filled(ring, 8), 1)


def test_threads_do_not_change_the_filling():
    rng = np.random.default_rng(6)
    labels = ellipsoids((30, 60, 60), 11, 90, seed=6)
    labels[rng.random(labels.shape) < 0.1] = 0
    expected = filled(labels, 20, Workers(1))
    assert ((expected > 0) != (labels > 0)).sum() > 1000
    for count in (2, 3):
        np.testing.assert_array_equal(filled(labels, 20, Workers(count)), expected)


def test_masks_that_the_flow_contradicts_are_dropped_as_by_cellpose():
    fields, recorded = recorded_fields("masks_2d.npz")
    labels = recorded["unchecked"].astype(np.int32)[np.newaxis]
    bad = np.flatnonzero(recorded["errors"] > 0.4) + 1
    expected = np.where(np.isin(labels, bad), 0, labels)
    assert 5 < bad.size < 30
    remove_bad_flow(labels, fields, 0.4, TWO)
    np.testing.assert_array_equal(labels, expected)

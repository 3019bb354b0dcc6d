from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mask_cases import ellipsoids, fields_of, matched, mean_flow
from test_masks_reconstruct import masks_of

from fcp_runtime.fields import Fields
from fcp_runtime.machine.workers import Workers
from fcp_runtime.masks.resize import enlarge, factors_of, reduce_fields

TWO = Workers(2)


def plain_mean(array, factors):
    """Return the rounded mean over blocks, block by block."""
    shape = [-(-length // factor) for length, factor in zip(array.shape, factors, strict=True)]
    result = np.empty(shape)
    for index in np.ndindex(*shape):
        block = tuple(slice(i * f, (i + 1) * f) for i, f in zip(index, factors, strict=True))
        part = array[block].astype(float)
        for axis in range(3):  # a short block counts as if its last voxel were repeated
            missing = factors[axis] - part.shape[axis] if axis else 0
            last = np.take(part, [-1] * missing, axis) if missing else part[:0]
            part = np.concatenate([part, last], axis) if missing else part
        result[index] = part.mean()
    return np.rint(result).astype(np.int16)


@settings(deadline=None, max_examples=20)
@given(
    shape=st.tuples(*[st.integers(1, 7)] * 3),
    ndim=st.sampled_from([2, 3]),
    planes=st.sampled_from([1, 2]),
    seed=st.integers(0, 99),
)
def test_reduced_fields_are_means_over_blocks(shape, ndim, planes, seed):
    rng = np.random.default_rng(seed)
    fields = Fields(
        rng.integers(-128, 128, (ndim, *shape)).astype(np.int8),
        rng.integers(-32768, 32768, shape).astype(np.int16),
    )
    factors = (planes, 2, 2)
    reduced = reduce_fields(fields, factors, TWO)
    np.testing.assert_array_equal(reduced.logit, plain_mean(fields.logit, factors))
    for small, large in zip(reduced.flow, fields.flow, strict=True):
        np.testing.assert_array_equal(small, plain_mean(large, factors))


@given(shape=st.tuples(*[st.integers(1, 7)] * 3), planes=st.sampled_from([1, 2]))
@settings(deadline=None, max_examples=20)
def test_enlarged_labels_are_those_of_each_block(shape, planes):
    factors = (planes, 2, 2)
    small = [-(-length // factor) for length, factor in zip(shape, factors, strict=True)]
    labels = np.arange(np.prod(small), dtype=np.uint32).reshape(small)
    large = enlarge(labels, shape, factors, TWO)
    assert large.dtype == np.uint32
    index = np.indices(shape) // np.array(factors)[:, None, None, None]
    np.testing.assert_array_equal(large, labels[tuple(index)])


def test_distant_planes_and_planes_by_themselves_are_not_halved():
    assert factors_of(2, 3, 1.0) == (2, 2, 2)
    assert factors_of(2, 3, 2.0) == (1, 2, 2)
    assert factors_of(2, 2, 1.0) == (1, 2, 2)
    assert factors_of(1, 3, 1.0) == (1, 1, 1)


@pytest.mark.parametrize("shape", [(1, 151, 150), (31, 65, 64)])
def test_masks_of_half_the_size_are_the_same_objects(shape):
    ndim = 2 if shape[0] == 1 else 3
    labels = ellipsoids(shape, 20, 25, seed=4)
    masks = masks_of(fields_of(labels, ndim), resize_factor=2, flow_threshold=0)
    assert masks.shape == shape
    found = np.unique(masks)
    np.testing.assert_array_equal(found, np.arange(found.size))
    first = [np.flatnonzero(masks.ravel() == label)[0] for label in found[1:]]
    assert first == sorted(first)
    whole = np.bincount(labels.ravel())[1:]
    iou = matched(labels, masks)[whole[whole > 0] >= 200]
    assert iou.size > 15
    assert iou.min() > 0.75
    assert iou.mean() > 0.85


def test_masks_of_half_the_size_keep_distant_planes_apart():
    labels = ellipsoids((60, 70, 70), 20, 35, seed=5)
    planes = slice(1, None, 3)
    fields = fields_of(labels[planes], 3, mean_flow(labels, 3)[:, planes])
    masks = masks_of(fields, anisotropy=3.0, resize_factor=2)
    size = np.bincount(labels[planes].ravel())[1:]
    assert matched(labels[planes], masks)[size[size > 0] >= 500].mean() > 0.85


def test_the_least_size_counts_input_voxels():
    labels = np.zeros((1, 60, 60), np.int32)
    labels[0, 10:20, 10:20], labels[0, 30:46, 30:46] = 1, 2
    fields = fields_of(labels, 2)
    assert masks_of(fields, min_size=90, resize_factor=2, flow_threshold=0).max() == 2
    assert masks_of(fields, min_size=120, resize_factor=2, flow_threshold=0).max() == 1


def test_threads_do_not_change_masks_of_half_the_size():
    fields = fields_of(ellipsoids((20, 50, 51), 14, 12, seed=2), 3)
    one, three = [masks_of(fields, resize_factor=2, workers=Workers(n)) for n in (1, 3)]
    assert one.any()
    np.testing.assert_array_equal(one, three)

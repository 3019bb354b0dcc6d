from __future__ import annotations

import numpy as np
import pytest
from mask_cases import DATA, ellipsoids, recorded_fields

from fcp_runtime.fields import FLOW_SCALE, Fields
from fcp_runtime.machine.workers import Workers
from fcp_runtime.masks.flows import flow_errors, flows_from_labels


def heat_flow(inside):
    """Return the flow of one object by plain numpy: heat from the pixel nearest to its mean."""
    inside = np.pad(inside, 1)
    place = np.argwhere(inside)
    centre = tuple(place[((place - place.mean(0)) ** 2).sum(1).argmin()])
    heat = np.zeros(inside.shape)
    for _ in range(2 * sum(np.ptp(place, axis=0) + 3)):
        heat[centre] += 1
        around = [np.roll(heat, (y, x), (0, 1)) for y in (-1, 0, 1) for x in (-1, 0, 1)]
        heat = np.sum(around, axis=0) / 9 * inside
    flow = np.stack([np.roll(heat, -1, axis) - np.roll(heat, 1, axis) for axis in (0, 1)]) * inside
    return (flow / (1e-60 + np.sqrt((flow**2).sum(0))))[:, 1:-1, 1:-1]


def test_flows_equal_those_of_cellpose():
    recorded = np.load(DATA / "mask_parts.npz")
    flow = flows_from_labels(recorded["labels"])
    assert flow.dtype == np.float32
    np.testing.assert_allclose(flow, recorded["label_flow"], atol=1e-6)


def test_flows_equal_the_plain_method_for_any_outline():
    rng = np.random.default_rng(5)
    for _ in range(10):
        inside = rng.random((9, 13)) < 0.8
        np.testing.assert_allclose(
            flows_from_labels(inside.astype(np.int64)), heat_flow(inside), atol=1e-6
        )


def test_flows_have_length_one_inside_and_zero_outside():
    labels = ellipsoids((1, 80, 90), 15, 20, seed=1)[0]
    length = np.sqrt((flows_from_labels(labels) ** 2).sum(0))
    assert np.all(length[labels == 0] == 0)
    assert np.mean(np.abs(length[labels > 0] - 1) < 1e-6) > 0.99
    assert set(np.round(length[labels > 0], 6)) <= {0.0, 1.0}


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.uint32, np.int64])
def test_numbers_and_types_of_labels_do_not_matter(dtype):
    labels = ellipsoids((1, 50, 60), 14, 9, seed=2)[0]
    sparse = np.array([0, *np.random.default_rng(0).permutation(60_000)[:9] + 1])[labels]
    np.testing.assert_array_equal(
        flows_from_labels(labels), flows_from_labels(sparse.astype(dtype))
    )


def test_threads_do_not_change_the_flows():
    labels = ellipsoids((1, 150, 150), 10, 130, seed=3)[0]
    one, three = flows_from_labels(labels), flows_from_labels(labels, Workers(3))
    np.testing.assert_array_equal(one, three)


def test_an_image_without_objects_has_no_flow():
    assert not flows_from_labels(np.zeros((5, 6), np.uint8)).any()


def within_range(fields, labels):
    """Return which labels 1..n lie where no flow is at the end of the fixed point's range."""
    beyond = labels[(np.abs(fields.flow.astype(int)) > 126).any(0)]
    return ~np.isin(np.arange(1, labels.max() + 1), beyond)


def test_flow_errors_equal_those_of_cellpose():
    fields, recorded = recorded_fields("masks_2d.npz")
    labels = recorded["unchecked"].astype(np.int32)[np.newaxis]
    errors = flow_errors(labels, fields, Workers(2))
    assert errors[0] == 0
    exact = within_range(fields, labels)
    assert exact.mean() > 0.98
    np.testing.assert_allclose(errors[1:][exact], recorded["errors"][exact], rtol=1e-5)


def test_flow_errors_of_planes_are_those_of_each_plane():
    fields, recorded = recorded_fields("masks_2d.npz")
    labels = recorded["unchecked"].astype(np.int32)
    count = labels.max()
    stack = np.stack([labels, np.where(labels[::-1] > 0, labels[::-1] + count, 0)])
    flow = np.concatenate([fields.flow, fields.flow[:, :, ::-1] * np.int8([[[[-1]]], [[[1]]]])], 1)
    errors = flow_errors(stack, Fields(flow, np.repeat(fields.logit, 2, 0)), Workers(3))
    alone = flow_errors(labels[np.newaxis], fields, Workers(1))
    np.testing.assert_allclose(errors[1 : count + 1], alone[1:], rtol=1e-12)
    # a mirrored object may have another centre where two pixels are equally near to the mean
    mirrored = np.abs(errors[count + 1 :] / alone[1:] - 1)
    assert np.mean(mirrored < 0.05) > 0.9


def test_the_flow_of_a_mask_itself_has_no_error():
    labels = ellipsoids((1, 60, 60), 15, 8, seed=4)
    flow = np.rint(flows_from_labels(labels[0])[:, np.newaxis] * FLOW_SCALE).astype(np.int8)
    errors = flow_errors(labels, Fields(flow, np.zeros(labels.shape, np.int16)), Workers(1))
    assert errors.max() <= 2 * (0.5 / FLOW_SCALE) ** 2  # what rounding may do
    away = flow_errors(labels, Fields(-flow, np.zeros(labels.shape, np.int16)), Workers(1))
    np.testing.assert_allclose(away[np.unique(labels)[1:]], 4, atol=0.1)

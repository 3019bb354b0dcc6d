from __future__ import annotations

import numpy as np
import pytest
from mask_cases import (
    ellipsoids,
    fields_of,
    matched,
    mean_flow,
    recorded_fields,
    same_partition,
)

from fcp_runtime.fields import Fields
from fcp_runtime.machine.workers import Workers
from fcp_runtime.masks.assemble import assemble
from fcp_runtime.masks.clean import fill_holes, remove_bad_flow, renumber
from fcp_runtime.masks.integrate import TOLERANCE, follow_flows
from fcp_runtime.masks.reconstruct import masks_from_fields
from fcp_runtime.masks.settings import MaskSettings

TWO = Workers(2)


def masks_of(
    fields, *, anisotropy=1.0, min_size=15, flow_threshold=0.4, min_flow=0.0, workers=TWO, **more
):
    settings = MaskSettings(
        flow_threshold=flow_threshold,
        min_flow=min_flow,
        min_size=min_size,
        niter=200,
        anisotropy=anisotropy,
        **more,
    )
    return masks_from_fields(fields, settings, workers)


@pytest.mark.parametrize("name", ["masks_2d.npz", "masks_3d.npz"])
def test_masks_equal_those_of_cellpose(name):
    fields, recorded = recorded_fields(name)
    masks = masks_of(fields)
    iou = matched(recorded["masks"], masks)
    assert abs(masks.max() / iou.size - 1) <= 0.02
    assert np.sum(iou >= 0.5) >= 0.98 * iou.size
    assert iou[iou >= 0.5].mean() >= 0.97


def test_the_mean_of_the_views_gives_better_masks_than_their_sum():
    # Cellpose sums two views, so its steps are twice as long, jump to and fro over the centre and
    # end beyond the reach of the seed: objects lose parts. We take the mean.
    fields, recorded = recorded_fields("masks_3d.npz")
    ours = matched(recorded["truth"], masks_of(fields)).mean()
    theirs = matched(recorded["truth"], recorded["masks_of_sum"]).mean()
    doubled = matched(recorded["truth"], masks_of(Fields(2 * fields.flow, fields.logit))).mean()
    assert ours > 0.98
    assert theirs < 0.85
    assert doubled < 0.85


def early_and_full(fields):
    """Return labels from paths that stop once they have settled, and from all steps."""
    return [
        assemble(
            follow_flows(
                fields, threshold=0, niter=200, anisotropy=1, workers=TWO, tolerance=tolerance
            ),
            anisotropy=1,
            workers=TWO,
        ).labels
        for tolerance in (TOLERANCE, 0)
    ]


def test_stopping_early_does_not_change_the_masks_of_clean_fields():
    assert same_partition(*early_and_full(fields_of(ellipsoids((30, 60, 60), 16, 30, seed=3), 3)))
    assert same_partition(*early_and_full(fields_of(ellipsoids((1, 150, 150), 18, 40, seed=3), 2)))


@pytest.mark.parametrize("name", ["masks_2d.npz", "masks_3d.npz"])
def test_stopping_early_hardly_changes_the_masks_of_noisy_fields(name):
    fields, _ = recorded_fields(name)
    results = []
    for labels in early_and_full(fields):
        if fields.ndim == 2:
            remove_bad_flow(labels, fields, 0.4, TWO)
        results.append(renumber(labels, fill_holes(labels, 15, TWO), 15, TWO))
    early, full = results
    assert early.max() == full.max()
    assert matched(full, early).mean() > 0.998


@pytest.mark.parametrize("ndim", [2, 3])
def test_the_objects_of_a_phantom_are_found_with_those_at_the_border(ndim):
    labels = ellipsoids((32, 64, 64) if ndim == 3 else (1, 150, 150), 16, 40, seed=4)
    masks = masks_of(fields_of(labels, ndim))
    whole = np.bincount(labels.ravel())[1:]
    iou = matched(labels, masks)[whole[whole > 0] >= 100]
    assert iou.size > 30
    assert iou.min() > 0.95
    border = np.unique(np.concatenate([labels[:, 0].ravel(), labels[:, :, -1].ravel()]))
    assert border.size > 3


@pytest.mark.parametrize("anisotropy", [3, 5])
def test_a_phantom_of_distant_planes_gives_the_same_objects(anisotropy):
    labels = ellipsoids((60, 70, 70), 20, 35, seed=5)
    planes = slice(anisotropy // 2, None, anisotropy)
    flow = mean_flow(labels, 3)[:, planes]
    masks = masks_of(fields_of(labels[planes], 3, flow), anisotropy=anisotropy)
    size = np.bincount(labels[planes].ravel())[1:]
    large = size[size > 0] >= 1200 / anisotropy
    assert large.sum() > 25
    assert matched(labels[planes], masks)[large].min() > 0.9
    assert masks.max() <= np.count_nonzero(size) + 1


def test_a_stack_in_2d_gives_the_masks_of_its_planes():
    labels = ellipsoids((4, 90, 90), 16, 25, seed=6)
    fields = fields_of(labels, 2)
    masks = masks_of(fields)
    last = 0
    for z in range(4):
        alone = masks_of(Fields(fields.flow[:, z : z + 1], fields.logit[z : z + 1]))[0]
        assert alone.max() > 3
        np.testing.assert_array_equal(masks[z], np.where(alone > 0, alone + np.uint16(last), 0))
        last += alone.max()


def test_planes_are_stitched_before_small_objects_go():
    labels = ellipsoids((8, 40, 40), 9, 4, seed=7)
    fields = fields_of(labels, 2)
    apart, joined = (
        masks_of(fields, min_size=40),
        masks_of(fields, min_size=40, stitch_threshold=0.25),
    )
    assert joined.max() == np.sum(np.bincount(labels.ravel())[1:] >= 40)
    assert (joined > 0).sum() > (apart > 0).sum()
    assert matched(labels, joined).mean() > 0.8


def test_single_voxels_are_no_objects():
    labels = np.zeros((1, 40, 40), np.int32)
    labels[0, ::8, ::8] = np.arange(25).reshape(5, 5) + 1
    assert not masks_of(fields_of(labels, 2), min_size=0).any()
    assert not masks_of(fields_of(labels, 3), min_size=0).any()


def test_no_foreground_gives_an_empty_mask():
    for ndim in (2, 3):
        masks = masks_of(Fields.empty((3, 20, 30), ndim), stitch_threshold=0.5)
        assert masks.dtype == np.uint16
        assert masks.shape == (3, 20, 30)
        assert not masks.any()


def test_a_flow_threshold_of_zero_keeps_every_mask():
    fields, recorded = recorded_fields("masks_2d.npz")
    count = np.sum(np.bincount(recorded["unchecked"].ravel())[1:] >= 15)
    assert abs(masks_of(fields, flow_threshold=0).max() - count) <= 2
    assert masks_of(fields).max() < count - 5


@pytest.mark.parametrize(("name", "stitch"), [("masks_2d.npz", 0.25), ("masks_3d.npz", None)])
def test_threads_do_not_change_the_masks(name, stitch):
    fields, _ = recorded_fields(name)
    one, two, three = [
        masks_of(fields, workers=Workers(count), stitch_threshold=stitch) for count in (1, 2, 3)
    ]
    np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(one, three)

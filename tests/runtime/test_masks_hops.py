from __future__ import annotations

import itertools

import numpy as np
import pytest
from mask_cases import ellipsoids, fields_of, matched, recorded_fields
from test_masks_integrate import random_fields

from fcp_runtime.fields import FLOW_SCALE, Fields
from fcp_runtime.machine.workers import Workers
from fcp_runtime.masks.assemble import assemble
from fcp_runtime.masks.clean import fill_holes, renumber
from fcp_runtime.masks.hops import REACH, REST, STEPS, UNIT, find_hops
from fcp_runtime.masks.integrate import follow_flows

TWO = Workers(2)


def hops_of(fields, *, niter=200, anisotropy=1.0, threshold=0.0, workers=TWO):
    return find_hops(
        fields, threshold=threshold, niter=niter, anisotropy=anisotropy, workers=workers
    )


def where_hops_lead(hop):
    """Return the voxels that hop, and where to, both (n, 3)."""
    start = np.argwhere(hop)
    code = hop[tuple(start.T)].astype(int)
    return start, start + np.stack([code >> 10, code >> 5 & 31, code & 31], 1) - 16


def plain_hops(fields, anisotropy, steps=STEPS):
    """Return foreground voxels and the ends of their hops, by whole numbers in numpy."""
    inside = fields.logit > 0
    top = np.array(fields.shape) - 1
    scale = np.array([UNIT / FLOW_SCALE / anisotropy, UNIT / FLOW_SCALE, UNIT / FLOW_SCALE])
    flow = np.floor(fields.flow * scale[:, None, None, None] + 0.5).astype(np.int64) * inside
    flow = flow.clip(-4095, 4095)
    start = np.argwhere(inside)
    reach = [min(REACH, int(np.ceil(axis * steps)) + 1) for axis in (1 / anisotropy, 1, 1)]
    low, high = np.maximum(start - reach, 0) * UNIT, np.minimum(start + reach, top) * UNIT
    place = start * UNIT
    for _ in range(steps):
        eighths = (place + UNIT // 16) // (UNIT // 8)
        cell, part = eighths // 8, eighths % 8
        total = np.zeros_like(place)
        for corner in itertools.product((0, 1), repeat=3):
            weight = np.where(corner, part, 8 - part).prod(1)
            voxel = np.minimum(cell + corner, top)  # past a face the weight is 0
            total += weight[:, None] * flow[:, *voxel.T].T
        place = (place + (total + UNIT // 2) // UNIT).clip(low, high)
    end = (place + UNIT // 2) // UNIT
    for n in np.flatnonzero(~inside[tuple(end.T)]):
        best = 0
        for corner in itertools.product((0, 1), repeat=3):
            voxel = place[n] // UNIT + corner
            weight = (UNIT - np.abs(place[n] - voxel * UNIT)).prod()
            if weight > best and inside[tuple(voxel)]:
                best, end[n] = weight, voxel
    return start, end


@pytest.mark.parametrize("anisotropy", [1.0, 2.5, 0.4])
@pytest.mark.parametrize("shape", [(9, 20, 31), (40, 70, 20), (1, 30, 140)])
def test_hops_equal_those_of_plain_whole_numbers(shape, anisotropy):
    fields = random_fields(shape, 3, seed=1)
    start, end = plain_hops(fields, anisotropy)
    got_start, got_end = where_hops_lead(hops_of(fields, anisotropy=anisotropy).hop)
    np.testing.assert_array_equal(got_start, start)
    np.testing.assert_array_equal(got_end, end)
    assert np.mean((end != start).any(1)) > 0.3


def test_the_strongest_flow_stays_within_reach_and_within_the_volume():
    flow = np.random.default_rng(0).choice([-128, 127], (3, 20, 30, 40)).astype(np.int8)
    fields = Fields(flow, np.ones((20, 30, 40), np.int16))
    start, end = where_hops_lead(hops_of(fields, anisotropy=0.1).hop)
    np.testing.assert_array_equal(end, plain_hops(fields, 0.1)[1])
    assert np.abs(end - start).max() <= REACH
    assert end.min() >= 0
    assert (end < fields.shape).all()


@pytest.mark.parametrize("anisotropy", [1.0, 3.0])
def test_paths_end_where_plain_euler_steps_end(anisotropy):
    fields, _ = recorded_fields("masks_3d.npz")
    fields = Fields(
        fields.flow[:, :: int(anisotropy)].copy(), fields.logit[:: int(anisotropy)].copy()
    )
    options = {"threshold": 0.0, "niter": 200, "anisotropy": anisotropy, "workers": TWO}
    euler, ours = follow_flows(fields, **options), find_hops(fields, **options).endpoints(TWO)
    ends = []
    for paths in (euler, ours):
        order = np.argsort(paths.source)
        ends.append(np.stack(np.unravel_index(paths.target[order], paths.shape)))
        np.testing.assert_array_equal(paths.source[order], np.flatnonzero(fields.logit > 0))
    apart = np.abs(ends[0] - ends[1]).max(0)
    assert np.mean(apart <= 1) > 0.99


@pytest.mark.parametrize("niter", [1, 3, 200])
def test_few_steps_are_few_steps(niter):
    fields = fields_of(ellipsoids((24, 40, 40), 14, 6, seed=1), 3)
    paths = hops_of(fields, niter=niter).endpoints(TWO)
    step = np.array(np.unravel_index(paths.source, paths.shape)) - np.unravel_index(
        paths.target, paths.shape
    )
    farthest = np.abs(step).max()
    assert farthest <= niter + 1
    assert farthest > 5 or niter < 5


def masks_along(paths):
    labels = assemble(paths, anisotropy=1.0, workers=TWO).labels
    return renumber(labels, fill_holes(labels, 15, TWO), 15, TWO)


@pytest.mark.parametrize("noisy", [False, True])
def test_masks_along_hops_are_those_along_euler_steps(noisy):
    fields = fields_of(ellipsoids((30, 60, 60), 16, 30, seed=3), 3)
    if noisy:
        fields, _ = recorded_fields("masks_3d.npz")
    euler = masks_along(follow_flows(fields, threshold=0.0, niter=200, anisotropy=1.0, workers=TWO))
    ours = masks_along(hops_of(fields).endpoints(TWO))
    assert np.unique(ours).size == np.unique(euler).size > 20
    assert matched(euler, ours).mean() > 0.995
    assert matched(euler, ours).min() > 0.95


def test_hops_in_a_circle_end():
    flow = np.zeros((3, 1, 9, 30), np.int8)
    flow[2] = np.where(np.arange(30) % 8 < 4, FLOW_SCALE, -FLOW_SCALE)  # to and fro over each edge
    flow[2, :, :, ::3] *= -1
    fields = Fields(flow, np.ones((1, 9, 30), np.int16))
    paths = hops_of(fields, niter=50).endpoints(TWO)
    assert paths.source.size == 270
    assert (np.abs(paths.target - paths.source) < 30).all()


def test_a_voxel_that_nothing_moves_rests_where_it_is():
    logit = np.full((5, 6, 7), -1, np.int16)
    logit[2, 3, 4] = logit[0, 0, 0] = 1
    hops = hops_of(Fields(np.zeros((3, 5, 6, 7), np.int8), logit))
    assert hops.hop[2, 3, 4] == REST
    assert np.count_nonzero(hops.hop) == 2
    paths = hops.endpoints(TWO)
    np.testing.assert_array_equal(paths.source, paths.target)


def test_no_foreground_has_no_paths():
    paths = hops_of(Fields.empty((3, 4, 5), 3)).endpoints(TWO)
    assert paths.source.size == paths.target.size == 0


def test_hops_know_the_length_of_the_flow_where_they_begin():
    fields = random_fields((35, 70, 140), 3, seed=5)
    ends = hops_of(fields).endpoints(TWO)
    expected = np.rint(np.linalg.norm(fields.flow.astype(float), axis=0)).ravel()[ends.source]
    np.testing.assert_array_equal(ends.length, expected)


def test_threads_do_not_change_hops():
    fields = random_fields((70, 130, 140), 3, seed=4)
    one, three = hops_of(fields, workers=Workers(1)), hops_of(fields, workers=Workers(3))
    np.testing.assert_array_equal(one.hop, three.hop)
    for a, b in (
        (one.rest, three.rest),
        (one.end, three.end),
        (one.endpoints(Workers(1)).source, three.endpoints(Workers(3)).source),
        (one.endpoints(Workers(1)).target, three.endpoints(Workers(3)).target),
    ):
        np.testing.assert_array_equal(a, b)

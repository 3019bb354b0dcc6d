"""Phantom fields with exact labels, and comparisons of label images, for the tests of the masks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from fixed_point import fixed_flow, fixed_logit

from fcp_runtime.fields import Fields
from fcp_runtime.masks.flows import flows_from_labels

DATA = Path(__file__).parents[1] / "data"
RECORDED_FLOW_SCALE = 8192


def ellipsoids(shape, diameter, count, seed, anisotropy=1.0):
    """Return int32 labels (Z, Y, X) of ``count`` ellipsoids that may touch; a disc where Z is 1."""
    rng = np.random.default_rng(seed)
    spacing = np.array([anisotropy, 1.0, 1.0])
    grid = np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing="ij"), -1) * spacing
    size = np.array(shape) * spacing
    if shape[0] == 1:
        size[0] = 0
    centres: list[np.ndarray] = []
    while len(centres) < count:
        new = rng.uniform(0, size)
        if all(np.linalg.norm(new - old) > 0.8 * diameter for old in centres):
            centres.append(new)
    nearest = np.ones(shape)
    labels = np.zeros(shape, np.int32)
    for number, centre in enumerate(centres, 1):
        radii = diameter / 2 * rng.uniform(0.9, 1.15, 3)
        distance = (((grid - centre) / radii) ** 2).sum(-1)
        labels[distance < nearest] = number
        nearest = np.minimum(nearest, distance)
    return labels


def mean_flow(labels, ndim):
    """Return the flow of labels (Z, Y, X), mean over the views, float32 (ndim, Z, Y, X)."""
    flow = np.zeros((ndim, *labels.shape), np.float32)
    for axis in range(3) if ndim == 3 else (0,):
        others = [other for other in range(3) if other != axis]
        for index in range(labels.shape[axis]):
            view = flows_from_labels(labels.take(index, axis))
            for part, other in enumerate(others):
                place = [other - 3 + ndim, slice(None), slice(None), slice(None)]
                place[1 + axis] = index
                flow[tuple(place)] += view[part] / (ndim - 1)
    return flow


def fields_of(labels, ndim, flow=None):
    """Return noiseless fields of labels (Z, Y, X): logit 3 inside, -3 outside."""
    flow = mean_flow(labels, ndim) if flow is None else flow
    logit = np.where(labels > 0, 3.0, -3.0)
    return Fields(fixed_flow(flow), fixed_logit(logit))


def recorded_fields(name):
    """Return the fields in a recorded file, and the file."""
    file = np.load(DATA / name)
    return Fields(fixed_flow(file["flow"] / RECORDED_FLOW_SCALE), file["logit"]), file


def matched(truth, found):
    """Return for each object of ``truth`` its best intersection over union with one of ``found``."""
    truth, found = truth.ravel().astype(np.int64), found.ravel().astype(np.int64)
    pair, overlap = np.unique(truth * (found.max() + 1) + found, return_counts=True)
    a, b = np.divmod(pair, found.max() + 1)
    union = np.bincount(truth)[a] + np.bincount(found)[b] - overlap
    best = np.zeros(truth.max() + 1)
    np.maximum.at(best, a, np.where((a > 0) & (b > 0), overlap / union, 0))
    return best[np.unique(truth[truth > 0])]


def same_partition(a, b):
    """Say whether two label images differ in the numbers only."""
    pairs = np.unique(np.stack([a.ravel(), b.ravel()]), axis=1)
    return (
        all(np.unique(side).size == pairs.shape[1] for side in pairs)
        and ((pairs[0] == 0) == (pairs[1] == 0)).all()
    )

"""Phantoms as training data: what varies, what is exact, and that the seed decides all."""

from __future__ import annotations

import numpy as np
import pytest

from fcp_export.data import phantoms
from fcp_export.data.phantoms import make_phantom, phantom_sets
from fcp_runtime.masks.flows import flows_from_labels


@pytest.fixture(scope="module")
def series():
    return [make_phantom(index, 7) for index in range(6)]


def test_number_and_seed_decide_a_phantom(series):
    again, other = make_phantom(1, 7)[0], make_phantom(1, 8)[0]
    np.testing.assert_array_equal(again.image, series[1][0].image)
    np.testing.assert_array_equal(again.labels, series[1][0].labels)
    assert other.image.shape != again.image.shape or (other.image != again.image).any()


def test_phenotypes_take_turns(monkeypatch):
    asked = []
    monkeypatch.setattr(phantoms, "organoid", lambda _, **how: asked.append(how["phenotype"]))
    for index in range(6):
        make_phantom(index, 7)
    assert asked == ["cystic", "compact", "cauliflower"] * 2


def test_depth_spacing_and_crowding_vary(series):
    assert [made.image.dtype.itemsize for made, _ in series] == [2, 2, 2, 1, 1, 1]
    spacing = [made.voxel_um[0] / made.voxel_um[2] for made, _ in series]
    assert 1 <= min(spacing) < max(spacing) <= 5
    assert len({round(ratio, 3) for ratio in spacing}) == 6
    covered = [np.mean(made.labels > 0) for made, _ in series]
    assert max(covered) > 2 * min(covered)
    assert all(made.labels.max() >= 5 for made, _ in series)


def test_nuclei_touch(series):
    """In a dense ball many neighbouring voxels belong to two nuclei."""
    labels = series[1][0].labels
    beside = (labels[:, :, 1:] != labels[:, :, :-1]) & (labels[:, :, 1:] > 0)
    assert (beside & (labels[:, :, :-1] > 0)).sum() > 200


def test_slices_come_in_three_orientations_at_one_scale_with_their_labels(series, monkeypatch):
    monkeypatch.setattr(phantoms, "make_phantom", lambda *_: series[0])
    sets = phantom_sets(0, 7, 17.0, step=4)
    assert [item.view for item in sets] == ["XY", "ZY", "ZX"]
    assert {item.source for item in sets} == {"phantom"}
    assert len({item.group for item in sets}) == 1
    made, diameter = series[0]
    scale = 17 / diameter
    depth, height, width = (
        round(n * s)
        for n, s in zip(
            made.image.shape, scale * np.array((made.voxel_um[0] / made.voxel_um[2], 1, 1)), strict=True
        )
    )  # fmt: skip
    assert [item.images.shape[1:] for item in sets] == [
        (height, width), (depth, height), (depth, width),
    ]  # fmt: skip
    for item in sets:
        assert item.labels.shape == item.images.shape
        inside = item.labels > 0
        assert item.images[inside].mean() > item.images[~inside].mean() + 0.2
        plane = item.labels[len(item.labels) // 2]
        assert set(np.unique(plane)) <= set(np.unique(made.labels))
        if plane.any():
            length = np.hypot(*flows_from_labels(plane))
            assert np.mean(length[plane > 0] > 0.99) > 0.98

"""Loss and metric of the distillation equal their formulas in numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fcp_export.distill.loss import distillation_loss, overlap_counts


@pytest.fixture
def maps():
    rng = np.random.default_rng(3)
    out, teacher = rng.normal(0, 2, (2, 2, 3, 8, 10)).astype(np.float32)
    inside = (rng.random((2, 1, 8, 10)) > 0.3).astype(np.float32)
    return out, teacher, inside


def twin(out, teacher, inside, target) -> float:
    """Half the mean squared flow error plus the binary cross-entropy, over pixels inside."""
    here = inside[:, 0] > 0
    flow = np.mean([(out[:, axis] - teacher[:, axis])[here] ** 2 for axis in (0, 1)])
    student = 1 / (1 + np.exp(-out[:, 2][here].astype(float)))
    wanted = teacher[:, 2][here].astype(float)
    wanted = 1 / (1 + np.exp(-wanted)) if target == "soft" else wanted > 0
    entropy = -np.mean(wanted * np.log(student) + (1 - wanted) * np.log(1 - student))
    return 0.5 * flow + entropy


@pytest.mark.parametrize("target", ["soft", "threshold"])
def test_the_loss_equals_its_formula(maps, target):
    found = distillation_loss(*map(torch.from_numpy, maps), target)
    assert float(found) == pytest.approx(twin(*maps, target), rel=1e-5)


def test_pixels_beyond_the_image_do_not_count(maps):
    out, teacher, inside = maps
    changed = np.where(inside > 0, out, 100).astype(np.float32)
    one, two = (
        distillation_loss(*map(torch.from_numpy, (o, teacher, inside)), "soft")
        for o in (out, changed)
    )
    assert float(one) == float(two)


def test_a_patch_that_is_all_outside_costs_nothing(maps):
    out, teacher, inside = map(torch.from_numpy, maps)
    assert float(distillation_loss(out, teacher, 0 * inside, "soft")) == 0


def test_the_soft_loss_is_least_at_the_teacher(maps):
    _, teacher, inside = map(torch.from_numpy, maps)
    out = teacher.clone().requires_grad_()
    distillation_loss(out, teacher, inside, "soft").backward()
    assert out.grad.abs().max() < 1e-8


def test_overlap_counts_pixels_of_both_and_of_either(maps):
    out, teacher, inside = maps
    student, truth, here = out[:, 2] > 0, teacher[:, 2] > 0, inside[:, 0] > 0
    found = overlap_counts(*map(torch.from_numpy, maps))
    assert found == ((student & truth & here).sum(), ((student | truth) & here).sum())
    assert found[0] < found[1]

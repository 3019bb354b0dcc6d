"""The loss and the metric of response-based distillation (thesis, section 3.4)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

Target = Literal["soft", "threshold"]


def distillation_loss(out: Tensor, maps: Tensor, inside: Tensor, target: Target) -> Tensor:
    """Return half the mean squared flow error plus the cross-entropy of the logits.

    Both sides are network outputs, so flows are compared as they are (lambda = 1, not 5).

    Parameters
    ----------
    out, maps : Tensor, shape (N, 3, H, W)
        Student and teacher: flow y, flow x, logit.
    inside : Tensor, shape (N, 1, H, W)
        Weight of each pixel; reflected pixels have 0.
    target : {"soft", "threshold"}
        The teacher's probability, or whether it is above one half (as the thesis's code does).
    """
    total = inside.sum().clamp(min=1)
    flow = ((out[:, :2] - maps[:, :2]).square() * inside).sum() / (2 * total)
    logit = maps[:, 2:]
    wanted = logit.sigmoid() if target == "soft" else (logit > 0).to(out.dtype)
    entropy = binary_cross_entropy_with_logits(out[:, 2:], wanted, inside, reduction="sum") / total
    return 0.5 * flow + entropy


@torch.no_grad()
def overlap_counts(out: Tensor, maps: Tensor, inside: Tensor) -> tuple[int, int]:
    """Return the pixels in the intersection and the union of the two binary maps (p > 0.5)."""
    student = (out[:, 2:] > 0) & (inside > 0)
    teacher = (maps[:, 2:] > 0) & (inside > 0)
    return int((student & teacher).sum()), int((student | teacher).sum())

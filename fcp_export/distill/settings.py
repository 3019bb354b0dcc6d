"""What determines a network, and the two rules of its course: learning rate and early end."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from fcp_export.data.augmentation import Augmentation
from fcp_export.data.rows import DataSettings, require

if TYPE_CHECKING:
    from fcp_export.distill.loss import Target

Schedule = Literal["cosine", "constant"]


@dataclass(frozen=True)
class DistillSettings:
    """What determines a network, given the manifest, the teacher and the weights it starts from.

    Attributes
    ----------
    student : str
        Key of the network that learns.
    patches : int
        Patch presentations in all; the schedule ends there.
    batch_size : int
    learning_rate : float
        Highest learning rate, after a short warm-up.
    schedule : {"cosine", "constant"}
        How the learning rate goes on from there, see `learning_rate`.
    target : {"soft", "threshold"}
        Probability target, see `fcp_export.distill.loss.distillation_loss`.
    average : float
        Decay of the moving average of the weights, per step; 0 takes the last weights.
    validate_every : int
        Steps between validations.
    patience : int
        Stagnant validations (IoU at most 0.1 points above the best) before stopping; a fall by
        more than 5 points stops at once, and the best validated weights count (thesis, section
        3.4, at a constant rate: what a cosine brings it brings at the end). 0: never stop early.
    bfloat16 : bool
        Train in bfloat16 autocast. Steps whose gradient is not finite are left out.
    seed : int
    init : str
        What the network starts from; empty: random weights.
    augmentation : Augmentation
        Of the patches.
    data : DataSettings

    Raises
    ------
    SettingsError
        If a value is impossible.
    """

    student: str
    patches: int = 100_000
    batch_size: int = 8
    learning_rate: float = 2e-3
    schedule: Schedule = "cosine"
    target: Target = "soft"
    average: float = 0.999
    validate_every: int = 500
    patience: int = 0
    bfloat16: bool = False
    seed: int = 0
    init: str = ""
    augmentation: Augmentation = field(default_factory=Augmentation)
    data: DataSettings = field(default_factory=DataSettings)

    def __post_init__(self) -> None:
        require(self, "patches", "1 or more", self.patches >= 1)
        require(self, "batch_size", "1 or more", self.batch_size >= 1)
        require(self, "learning_rate", "more than 0", 0 < self.learning_rate < math.inf)
        require(self, "average", "0 or more, and less than 1", 0 <= self.average < 1)
        require(self, "validate_every", "1 or more", self.validate_every >= 1)
        require(self, "patience", "0 or more", self.patience >= 0)
        require(self, "seed", "0 or more", self.seed >= 0)
        require(self.augmentation, "dim", "1 or more", 1 <= self.augmentation.dim < math.inf)

    @property
    def steps(self) -> int:
        """Number of optimiser steps."""
        return -(-self.patches // self.batch_size)


def learning_rate(settings: DistillSettings, step: int) -> float:
    """Return the learning rate of a step: 200 steps of linear warm-up, then a cosine to zero.

    The schedule ``"constant"`` stays where the warm-up ends, as in the thesis.
    """
    highest = settings.learning_rate * min(1.0, (step + 1) / 200)
    if settings.schedule == "constant":
        return highest
    return highest * 0.5 * (1 + math.cos(math.pi * step / max(1, settings.steps)))


def stop_early(scores: list[float], patience: int) -> bool:
    """Tell whether IoU fell by more than 5 points or stagnated (thesis, section 3.4)."""
    if patience == 0 or len(scores) < 2:
        return False
    best_before = max(scores[:-1])
    if scores[-1] < best_before - 0.05:
        return True
    if len(scores) <= patience:
        return False
    return max(scores[-patience:]) <= max(scores[:-patience]) + 0.001

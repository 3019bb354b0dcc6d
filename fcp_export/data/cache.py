"""Teacher outputs, computed once for each image or slice and kept in a folder.

Geometric augmentation moves image and maps together, so the teacher never runs during training
(offline, response-based distillation: thesis, section 3.4).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from fcp_export.data.slices import slice_sets
from fcp_export.teacher import teacher_maps
from fcp_runtime.io.atomic import replacing
from fcp_runtime.masks.flows import flows_from_labels
from fcp_runtime.sampling.sweep import NETWORK_FLOW

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from fcp_export.architectures.networks import CellposeNet
    from fcp_export.data.slices import SliceSet
    from fcp_runtime.evaluate.manifest import Row
    from fcp_runtime.workers import Progress


@dataclass(frozen=True)
class Taught:
    """Slices with the teacher's maps.

    Attributes
    ----------
    slices : SliceSet
        The images.
    maps : ndarray of float16, shape (N, 3, H, W)
        What the student is to say: flow y, flow x (a unit vector is 5), logit.
    """

    slices: SliceSet
    maps: NDArray[np.float16]


def fingerprint(net: CellposeNet) -> str:
    """Return a short hash of a network's weights: it names what a cache was made with."""
    digest = hashlib.sha256()
    for name, value in sorted(net.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().numpy().tobytes())
    return digest.hexdigest()[:16]


def teach(
    rows: Sequence[Row],
    net: CellposeNet,
    folder: Path,
    *,
    step: int,
    diameter: float | None,
    label_share: float,
    progress: Progress,
) -> list[Taught]:
    """Return slices and target maps of all rows, the teacher's from the cache where it has them.

    Slices on which the teacher sees no nucleus at all are dropped (thesis, section 3.1).

    Parameters
    ----------
    rows : sequence of Row
        Training rows of a manifest.
    net : CellposeNet
        The teacher, in evaluation mode.
    folder : Path
        Where the cache lies; made if need be.
    step, diameter
        As in `slice_sets`.
    label_share : float
        Weight of the exact labels in the targets, where a row has them; 0 is the teacher alone.
    progress : Progress
        Counts rows in the stage ``"teacher"``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    made_with = fingerprint(net)
    taught = []
    for done, row in enumerate(rows):
        progress("teacher", done, len(rows))
        for slices in slice_sets(row, float(net.diam_mean), step=step, diameter=diameter):
            digest = hashlib.sha256(slices.images.tobytes()).hexdigest()[:16]
            path = folder / f"{digest}-{made_with}.npy"
            if path.exists():
                maps = np.load(path)
            else:
                maps = _maps(net, slices.images)
                with replacing(path) as temporary, temporary.open("wb") as file:
                    np.save(file, maps)
            seen = (maps[:, 2] > 0).any((1, 2))
            if seen.any():
                if slices.labels is not None and label_share > 0:
                    maps = blend(maps, slices.labels, label_share)
                kept = replace(slices, images=slices.images[seen], labels=None)
                taught.append(Taught(kept, maps[seen]))
    progress("teacher", len(rows), len(rows))
    return taught


def blend(
    maps: NDArray[np.float16], labels: NDArray[np.int32], share: float
) -> NDArray[np.float16]:
    """Mix a teacher's maps with those that exact labels give.

    Flows and probabilities are averaged: where teacher and labels agree the target is sharp, where
    they do not it says so.

    Parameters
    ----------
    maps : ndarray of float16, shape (N, 3, H, W)
    labels : ndarray of int32, shape (N, H, W)
    share : float
        Weight of the labels, 0 to 1.
    """
    exact = NETWORK_FLOW * np.stack([flows_from_labels(plane) for plane in labels])
    teacher = maps.astype(np.float32)
    flow = (1 - share) * teacher[:, :2] + share * exact
    probability = (1 - share) / (1 + np.exp(-teacher[:, 2])) + share * (labels > 0)
    probability = probability.clip(1e-4, 1 - 1e-4)
    logit = np.log(probability / (1 - probability))
    return np.concatenate((flow, logit[:, None]), 1).astype(np.float16)


def _maps(net: CellposeNet, images: NDArray[np.float16]) -> NDArray[np.float16]:
    maps = np.empty((len(images), 3, *images.shape[1:]), np.float16)
    for index, image in enumerate(images):
        maps[index] = teacher_maps(net, torch.from_numpy(image.astype(np.float32))).numpy()
    return maps

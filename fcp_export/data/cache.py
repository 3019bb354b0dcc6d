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
from scipy.special import expit
from torch.nn.functional import interpolate

from fcp_export.teacher import teacher_maps
from fcp_runtime.fields import NETWORK_FLOW
from fcp_runtime.io.atomic import replacing
from fcp_runtime.masks.flows import flows_from_labels

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

    from fcp_export.architectures.networks import Network
    from fcp_export.data.slices import SliceSet


@dataclass(frozen=True)
class Targets:
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


def fingerprint(net: Network) -> str:
    """Return a short hash of a network's weights: it names what a cache was made with."""
    digest = hashlib.sha256()
    for name, value in sorted(net.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().numpy().tobytes())
    return digest.hexdigest()[:16]


def make_targets(
    sets: Iterable[SliceSet], net: Network, folder: Path, *, label_share: float, diameter: float
) -> list[Targets]:
    """Return slices and target maps, the teacher's from the cache where it has them.

    Slices on which the teacher sees no nucleus at all are dropped (thesis, section 3.1), unless
    labels that count show one.

    Parameters
    ----------
    sets : iterable of SliceSet
    net : Network
        The teacher, in evaluation mode.
    folder : Path
        Where the cache lies; made if need be.
    label_share : float
        Weight of the exact labels in the targets, where there are any; 0 is the teacher alone.
    diameter : float
        Of nuclei in the slices, pixels; where it is not the teacher's own, the teacher sees them
        resized to its own.
    """
    folder.mkdir(parents=True, exist_ok=True)
    made_with = fingerprint(net)
    targets = []
    for slices in sets:
        digest = hashlib.sha256(slices.images.tobytes()).hexdigest()[:16]
        size = "" if diameter == float(net.diam_mean) else f"-{diameter:g}"
        path = folder / f"{digest}-{made_with}{size}.npy"
        if path.exists():
            maps = np.load(path)
        else:
            maps = _maps(net, slices.images, float(net.diam_mean) / diameter)
            with replacing(path) as temporary, temporary.open("wb") as file:
                np.save(file, maps)
        labels = slices.labels if label_share > 0 else None
        seen = (maps[:, 2] > 0).any((1, 2))
        if labels is not None:
            seen |= labels.any((1, 2))
        if seen.any():
            kept = replace(slices, images=slices.images[seen], labels=None)
            maps = maps[seen] if labels is None else blend(maps[seen], labels[seen], label_share)
            targets.append(Targets(kept, maps))
    return targets


def label_targets(sets: Iterable[SliceSet]) -> list[Targets]:
    """Return slices and the maps that their exact labels give; what has no label is left out."""
    labelled = []
    for slices in sets:
        if slices.labels is None or not slices.labels.any():
            continue
        seen = slices.labels.any((1, 2))
        kept = replace(slices, images=slices.images[seen], labels=None)
        nothing = np.zeros((int(seen.sum()), 3, *slices.images.shape[1:]), np.float16)
        labelled.append(Targets(kept, blend(nothing, slices.labels[seen], 1.0)))
    return labelled


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
    probability = (1 - share) * expit(teacher[:, 2]) + share * (labels > 0)
    probability = probability.clip(1e-4, 1 - 1e-4)
    logit = np.log(probability / (1 - probability))
    return np.concatenate((flow, logit[:, None]), 1).astype(np.float16)


def _maps(net: Network, images: NDArray[np.float16], enlarge: float) -> NDArray[np.float16]:
    maps = np.empty((len(images), 3, *images.shape[1:]), np.float16)
    for index, image in enumerate(images):
        pixels = torch.from_numpy(image.astype(np.float32))
        if enlarge != 1:
            pixels = _resize(pixels[None], [max(8, round(n * enlarge)) for n in image.shape])[0]
        found = teacher_maps(net, pixels)
        maps[index] = _resize(found, list(image.shape)).numpy()  # flows are unit vectors: no change
    return maps


def _resize(maps: Tensor, shape: list[int]) -> Tensor:
    """Resize (C, H, W), averaging over area when shrinking; the same shape is left as it is."""
    if list(maps.shape[1:]) == shape:
        return maps
    return interpolate(maps[None], shape, mode="bilinear", antialias=True)[0]

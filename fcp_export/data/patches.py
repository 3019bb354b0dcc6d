"""Random patches: geometry moves image and maps together, noise changes the image only."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from fcp_export.data.augmentation import Augmentation, coarsen, degrade, dim, hollow, shade

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from fcp_export.data.cache import Targets

BACKGROUND = 0.1
"""Share of patches that may show background alone: a student must learn to stay silent, too."""
PATCH_EDGES = (96, 128, 160, 192, 224, 256)
"""Patch edges: the tile sizes in use, because a network sees a tile's border everywhere."""


@dataclass(frozen=True)
class Batch:
    """Patches and what the teacher said of them.

    Attributes
    ----------
    images : Tensor of float32, shape (N, 2, P, P)
        Nuclei, then zeros.
    maps : Tensor of float32, shape (N, 3, P, P)
        The teacher's flow y, flow x and logit.
    inside : Tensor of float32, shape (N, 1, P, P)
        1 where the patch lies inside its image, 0 on reflected pixels, which are not trained on.
    """

    images: Tensor
    maps: Tensor
    inside: Tensor


class Sampler:
    """Draws batches of patches, the same ones for the same seed.

    Parameters
    ----------
    targets : sequence of Targets
        Slices with maps.
    augmentation : Augmentation
        How far patches may differ from their images.
    batch_size : int
        Patches a batch; all of one edge.
    """

    def __init__(
        self,
        targets: Sequence[Targets],
        augmentation: Augmentation,
        batch_size: int,
    ) -> None:
        self.targets = targets
        self.augmentation = augmentation
        self.batch_size = batch_size
        self.chance = chances(targets)
        self.shapes = np.array([item.slices.images.shape[1:] for item in targets])

    def batch(self, rng: np.random.Generator) -> Batch:
        """Draw one batch; most patches where the teacher sees only background are drawn again."""
        edge = int(rng.choice(PATCH_EDGES))
        # an image smaller than the patch leaves it half empty: draw it for smaller patches
        chance = self.chance * np.minimum(1, self.shapes / edge).prod(1)
        chance /= chance.sum()
        patches = [self._patch(rng, edge, chance) for _ in range(self.batch_size)]
        images, maps, inside = (torch.stack(part) for part in zip(*patches, strict=True))
        return Batch(torch.cat((images, torch.zeros_like(images)), 1), maps, inside)

    def _patch(
        self, rng: np.random.Generator, edge: int, chance: NDArray[np.float64]
    ) -> tuple[Tensor, Tensor, Tensor]:
        tries = 1 if rng.random() < BACKGROUND else 20
        for _ in range(tries):
            item = self.targets[int(rng.choice(len(self.targets), p=chance))]
            index = int(rng.integers(len(item.slices.images)))
            image = torch.from_numpy(item.slices.images[index])
            maps = torch.from_numpy(item.maps[index])
            if item.slices.view != "XY" and self.augmentation.axial > 1:
                image = coarsen(image.float(), rng, self.augmentation.axial)
            patch = cut(image, maps, edge, rng, self.augmentation.scale)
            if (patch[1][2] * patch[2][0] > 0).any():
                break
        image, maps, inside = patch
        # not in stacks, where what is faint beside bright nuclei is light from other planes
        dimmed = self.augmentation.dim > 1 and not item.slices.stack
        if dimmed and rng.random() < 0.4:
            image = dim(image, maps[2] > 0, rng, self.augmentation.dim)
        if self.augmentation.hollow > 0 and rng.random() < 0.3:
            image = hollow(image, maps[2] > 0, rng, self.augmentation.hollow)
        if self.augmentation.shade > 1 and not item.slices.stack and rng.random() < 0.15:
            image = shade(image, rng, self.augmentation.shade)
        return degrade(image, rng, self.augmentation), maps, inside


def chances(targets: Sequence[Targets]) -> NDArray[np.float64]:
    """Return how likely each item is drawn, so that large images and sources crowd out no others.

    Items count by the square root of their pixels, sources by the fourth root of their items'
    sum: the smallest source, of crowded tissue, is the hardest.
    """
    roots = np.sqrt([item.slices.images.size for item in targets])
    sources = np.array([item.slices.source for item in targets])
    chance = np.zeros(len(targets))
    for source in sorted(set(sources)):
        share = roots * (sources == source)
        chance += share / share.sum() ** 0.75
    total: NDArray[np.float64] = chance / chance.sum()
    return total


def cut(
    image: Tensor, maps: Tensor, edge: int, rng: np.random.Generator, zoom: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Cut a patch at a random place, rotated, mirrored and scaled at random.

    A pixel u of the patch (from its centre) shows the image at c + A u with A = R F / s. A
    vector field turns with the patch, v' = (R F)^T v, and keeps its length: flows are unit vectors.

    Parameters
    ----------
    image : Tensor of floats, shape (H, W)
    maps : Tensor of floats, shape (3, H, W)
    edge : int
        Edge of the patch, pixels.
    rng : numpy Generator
    zoom : float
        Scale s between ``1 / zoom`` and ``zoom``.

    Returns
    -------
    image, maps, inside : Tensor of float32, shapes (1, P, P), (3, P, P), (1, P, P)
    """
    height, width = image.shape
    angle = rng.uniform(0, 2 * math.pi)
    scale = zoom ** rng.uniform(-1, 1)
    mirror = rng.choice((-1.0, 1.0))
    cosine, sine = math.cos(angle), math.sin(angle)
    turn = np.array([[cosine, -sine * mirror], [sine, cosine * mirror]])  # R F, on (y, x)
    centre = [_centre(rng, length, edge / scale) for length in (height, width)]
    y0, y1, x0, x1 = _window(centre, turn / scale, edge, (height, width))
    parts = (image[None], maps, torch.ones((), dtype=maps.dtype).expand(1, height, width))
    crop = torch.cat([part[:, y0:y1, x0:x1].float() for part in parts])[None]
    # affine_grid takes x before y and lengths as halves of the extent
    half = np.array([(y1 - y0) / 2, (x1 - x0) / 2])
    matrix = turn / scale * (edge / 2) / half[:, None]
    offset = (np.array(centre) - (y0, x0) - half) / half
    theta = torch.tensor(
        [
            [matrix[1, 1], matrix[1, 0], offset[1]],
            [matrix[0, 1], matrix[0, 0], offset[0]],
        ],
        dtype=torch.float32,
    )
    grid = affine_grid(theta[None], [1, 5, edge, edge], align_corners=False)
    pixels = grid_sample(crop[:, :1], grid, padding_mode="reflection", align_corners=False)[0]
    rest = grid_sample(crop[:, 1:], grid, padding_mode="zeros", align_corners=False)[0]
    flow = torch.einsum("ij,ihw->jhw", torch.tensor(turn, dtype=torch.float32), rest[:2])
    return pixels, torch.cat((flow, rest[2:3])), (rest[3:] > 0.999).float()


def _centre(rng: np.random.Generator, length: int, reach: float) -> float:
    """Draw a patch centre that wastes little of the patch outside an axis of ``length``."""
    room = max(0.0, length - 0.8 * reach)
    return length / 2 + rng.uniform(-0.5, 0.5) * room


def _window(
    centre: list[float], matrix: NDArray[np.float64], edge: int, shape: tuple[int, int]
) -> tuple[int, int, int, int]:
    """Return the part of the image (y0, y1, x0, x1) that a patch can touch."""
    reach = np.abs(matrix).sum(1) * edge / 2 + 2
    bounds = []
    for axis in (0, 1):
        bounds.append(max(0, math.floor(centre[axis] - reach[axis])))
        bounds.append(min(shape[axis], math.ceil(centre[axis] + reach[axis])))
    return bounds[0], bounds[1], bounds[2], bounds[3]

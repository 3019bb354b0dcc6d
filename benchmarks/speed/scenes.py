"""The synthetic stacks: which there are, and their files."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import tifffile

from fcp_runtime.io.atomic import replacing
from fcp_runtime.phantom import organoid

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from fcp_runtime.phantom.tissue import Phenotype

DIAMETER = 25.0
"""Mean diameter of the nuclei, pixels: that of the thesis's stack."""

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Scene:
    """A synthetic stack.

    Attributes
    ----------
    phenotype : {"cystic", "compact", "cauliflower"}
    shape : tuple of int
        Voxels (Z, Y, X).
    anisotropy : float
        Spacing of planes divided by spacing of pixels.
    foreground : float
        Part of the voxels that belong to nuclei.
    crop : tuple of int or None
        Voxels (Z, Y, X) of a piece with about this foreground, which then is the stack.
    """

    phenotype: Phenotype
    shape: Shape
    anisotropy: float = 1.0
    foreground: float = 0.12
    crop: Shape | None = None

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Return the scene that became ``values`` in JSON."""
        crop = values["crop"]
        lists = {"shape": tuple(values["shape"]), "crop": None if crop is None else tuple(crop)}
        return cls(**(values | lists))

    @property
    def stem(self) -> str:
        """Name of its files."""
        parts = [
            self.phenotype,
            "x".join(map(str, self.shape)),
            f"a{self.anisotropy:g}",
            f"f{100 * self.foreground:g}",
        ]
        return "-".join(parts if self.crop is None else [*parts, "x".join(map(str, self.crop))])

    @property
    def title(self) -> str:
        """Name in tables."""
        size = "x".join(map(str, self.crop or self.shape))
        return (
            f"{self.phenotype} {size}, anisotropy {self.anisotropy:g}, {100 * self.foreground:g} %"
        )

    def image(self, folder: Path) -> Path:
        """Return where its pixels lie, a compressed TIFF."""
        return folder / f"{self.stem}.tif"

    def labels(self, folder: Path) -> Path:
        """Return where its exact labels lie, a compressed TIFF."""
        return folder / f"{self.stem}_labels.tif"


def make(scene: Scene, folder: Path) -> None:
    """Write the files of a scene; a crop needs those of its stack.

    The labels come last: where they are, both are.
    """
    if scene.crop is None:
        phantom = organoid(
            scene.shape,
            phenotype=scene.phenotype,
            diameter=DIAMETER,
            anisotropy=scene.anisotropy,
            foreground=scene.foreground,
            seed=1,
        )
        image, labels = phantom.image, phantom.labels
    else:
        whole = Scene(scene.phenotype, scene.shape, scene.anisotropy, scene.foreground)
        labels = tifffile.imread(whole.labels(folder))
        window = choose_window(labels > 0, scene.crop, scene.foreground)
        labels, image = labels[window], tifffile.imread(whole.image(folder))[window]
    for path, array in ((scene.image(folder), image), (scene.labels(folder), labels)):
        with replacing(path) as temporary:
            tifffile.imwrite(temporary, array, compression="zlib", metadata={"axes": "ZYX"})


def choose_window(
    inside: NDArray[np.bool_], size: Shape, foreground: float
) -> tuple[slice, slice, slice]:
    """Return the window whose share of foreground is nearest to ``foreground``.

    Parameters
    ----------
    inside : ndarray of bool, shape (Z, Y, X)
        Foreground.
    size : tuple of int
        Of the window; cut to the volume.
    foreground : float
        Wanted share.
    """
    size = tuple(min(pair) for pair in zip(size, inside.shape, strict=True))
    axes = [
        sorted({*range(0, length - edge + 1, max(1, edge // 2)), length - edge})
        for length, edge in zip(inside.shape, size, strict=True)
    ]
    windows = [
        tuple(slice(start, start + edge) for start, edge in zip(corner, size, strict=True))
        for corner in product(*axes)
    ]
    share = [abs(float(inside[window].mean()) - foreground) for window in windows]
    z, y, x = windows[int(np.argmin(share))]
    return z, y, x

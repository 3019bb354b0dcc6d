"""Synthetic organoids as a manifest: per phenotype, with density, noise and anisotropy as axes."""

from __future__ import annotations

import csv
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from fcp_runtime.io.atomic import replacing
from fcp_runtime.io.tiff import write_labels
from fcp_runtime.phantom import organoid
from fcp_runtime.phantom.optics import Microscope
from fcp_runtime.phantom.tissue import FORMS

if TYPE_CHECKING:
    from fcp_runtime.phantom.tissue import Phenotype

SPLIT = "phantoms"
DIAMETER = 20.0
DEPTH, EDGE = 64, 192
"""Extent in isotropic pixels: planes times anisotropy, and edge of a plane."""
DENSITIES = (0.05, 0.15, 0.3)
PHOTONS = (240.0, 60.0, 15.0, 5.0)
ANISOTROPIES = (1.0, 2.0, 4.0)
SEED = 1_000_003
"""Far from seeds that a training would draw."""


@dataclass(frozen=True)
class Condition:
    """How a phantom is made.

    Attributes
    ----------
    phenotype : str
    density : float
        Part of the volume covered by nuclei; the middle one is moderate.
    photons : float
        From a voxel of mean brightness; the fewer, the more noise. 60 is an ordinary microscope.
    anisotropy : float
        Spacing of planes divided by spacing of pixels.
    seed : int
    """

    phenotype: Phenotype
    density: float = DENSITIES[1]
    photons: float = PHOTONS[1]
    anisotropy: float = ANISOTROPIES[1]
    seed: int = 0

    @property
    def stem(self) -> str:
        """Name of its files."""
        return (
            f"{self.phenotype}_density{self.density:g}_photons{self.photons:g}"
            f"_anisotropy{self.anisotropy:g}_{self.seed}"
        )


AXES: dict[str, tuple[float, ...]] = {
    "density": DENSITIES,
    "photons": PHOTONS,
    "anisotropy": ANISOTROPIES,
}
"""Attributes of a `Condition` that are varied, one at a time."""


def conditions(seeds: int) -> list[Condition]:
    """Return all conditions: each phenotype with one axis varied, the others at their middle."""
    made = [
        replace(Condition(phenotype, seed=seed), **{axis: value})  # type: ignore[arg-type]
        for seed in range(seeds)
        for phenotype in FORMS
        for axis, values in AXES.items()
        for value in values
    ]
    return list(dict.fromkeys(made))


def write_phantoms(folder: Path, seeds: int) -> Path:
    """Write the phantoms that a folder lacks, and the manifest of all.

    Parameters
    ----------
    folder : Path
        Made if need be.
    seeds : int
        Phantoms of each condition.

    Returns
    -------
    Path
        The manifest, ready for `fcp_runtime.evaluate.manifest.read_manifest`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    manifest = folder / "manifest.csv"
    header = ("split", "source", "image", "label", "ndim", "diameter_px", "voxel_um_zyx")
    with replacing(manifest) as temporary, temporary.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow((*header, "label_quality", "licence", "note"))
        for condition in conditions(seeds):
            image, label = _files(folder, condition)
            pixel = 10 / DIAMETER
            voxel = f"{condition.anisotropy * pixel:g}x{pixel:g}x{pixel:g}"
            row = (SPLIT, condition.phenotype, image.name, label.name, 3, DIAMETER, voxel)
            # one seed places the nuclei alike whatever the noise: these images count as one
            note = f"organoid {condition.phenotype}_{condition.seed}"
            writer.writerow((*row, "exact", "ours", note))
    return manifest


def condition_of(image: str) -> Condition:
    """Return the condition of an image file, from its name.

    Raises
    ------
    KeyError
        If it is no phantom of ours.
    """
    stem = Path(image).name.removesuffix("_image.tif")
    seed = int(stem.rsplit("_", 1)[-1]) if stem[-1:].isdigit() else 0
    return {condition.stem: condition for condition in conditions(seed + 1)}[stem]


def _files(folder: Path, condition: Condition) -> tuple[Path, Path]:
    """Return image and label file of a condition, made if they do not lie there."""
    from tifffile import imwrite

    image, label = (folder / f"{condition.stem}_{what}.tif" for what in ("image", "label"))
    if not (image.exists() and label.exists()):
        made = organoid(
            (round(DEPTH / condition.anisotropy), EDGE, EDGE),
            phenotype=condition.phenotype,
            diameter=DIAMETER,
            anisotropy=condition.anisotropy,
            seed=SEED + condition.seed,
            foreground=condition.density,
            microscope=Microscope(photons=condition.photons),
        )
        write_labels(label, made.labels, settings={}, voxel_um=made.voxel_um)
        with replacing(image) as temporary:
            imwrite(temporary, made.image, compression="zlib", metadata={"axes": "ZYX"})
    return image, label

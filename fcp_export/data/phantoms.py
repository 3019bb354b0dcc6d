"""Phantom organoids as a source of training slices: exact labels in space, in any number.

Labelled stacks are scarce. Each phantom differs in phenotype, size, anisotropy, crowding and in the
microscope that saw it; number and seed determine it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fcp_export.data.slices import NOTHING, PHANTOM, SliceSet, cut_slices
from fcp_runtime.phantom import organoid
from fcp_runtime.phantom.optics import Microscope
from fcp_runtime.phantom.tissue import FORMS

if TYPE_CHECKING:
    from fcp_runtime.phantom import Phantom


def make_phantom(index: int, seed: int) -> tuple[Phantom, float]:
    """Make phantom ``index`` of a series; return it with its mean diameter in pixels.

    The three phenotypes take turns. Planes lie one to five pixels apart, the volume is 8 to 11
    nuclei wide and 4 to 7 deep, half the phantoms are as crowded as their phenotype allows, and
    every other has 8 bits.

    Parameters
    ----------
    index : int
        0, 1, 2, ...
    seed : int
        Of the series.
    """
    rng = np.random.default_rng((seed, index))
    phenotype = tuple(FORMS)[index % len(FORMS)]
    diameter = rng.uniform(12, 22)
    anisotropy = 5 ** rng.uniform(0, 1)
    edge = diameter * np.array([rng.uniform(4, 7) / anisotropy, *rng.uniform(8, 11, 2)])
    shape = tuple(int(length) for length in edge)
    crowded = rng.random() < 0.5
    share = rng.uniform(0.05, FORMS[phenotype].most)
    microscope = Microscope(
        bits=8 if index // len(FORMS) % 2 else 16,
        blur=(rng.uniform(1.2, 4.0), rng.uniform(0.4, 1.4)),  # wider along z
        attenuation=rng.uniform(0, 0.7),
        haze=rng.uniform(0, 0.3),
        photons=10 ** rng.uniform(1, 2.5),
        read_noise=rng.uniform(0, 5),
    )
    made = organoid(
        (shape[0], shape[1], shape[2]),
        phenotype=phenotype,
        diameter=diameter,
        anisotropy=anisotropy,
        seed=int(rng.integers(2**31)),
        foreground=None if crowded else share,
        microscope=microscope,
    )
    return made, float(diameter)


def phantom_sets(index: int, seed: int, diam_mean: float, *, step: int) -> list[SliceSet]:
    """Return the slices of a phantom at network scale, in three orientations, with labels.

    Parameters
    ----------
    index, seed
        As in `make_phantom`.
    diam_mean, step
        As in `fcp_export.data.slices.slice_sets`. Each phantom is a group of its own.
    """
    made, diameter = make_phantom(index, seed)
    name = f"{PHANTOM}/{seed}-{index}"
    return cut_slices(
        made.image,
        made.labels,
        SliceSet(name, PHANTOM, name, NOTHING),
        scale=diam_mean / diameter,
        anisotropy=made.voxel_um[0] / made.voxel_um[2],
        step=step,
    )

"""A small result to report on, without a network."""

from __future__ import annotations

import numpy as np

from fcp_runtime.io.image import Volume
from fcp_runtime.machine.workers import Workers
from fcp_runtime.outputs.measurements import region_properties
from fcp_runtime.segmentation import Segmentation
from fcp_runtime.settings import Settings


def balls(shape, centres, radius):
    """Labels 1, 2, ... of balls (discs)."""
    labels = np.zeros(shape, np.uint16)
    grid = np.indices(shape)
    for label, centre in enumerate(centres, start=1):
        offsets = [axis - place for axis, place in zip(grid, centre, strict=True)]
        labels[sum(offset**2 for offset in offsets) <= radius**2] = label
    return labels


def a_result(masks, *, diameter=10.0, voxel_um=None, pixels=None, name="stack.tif", seed=0):
    """Volume, segmentation, measurements and summary of masks over a noisy image."""
    if pixels is None:
        noise = np.random.default_rng(seed).normal(100, 10, masks.shape)
        pixels = (noise + 300 * (masks > 0)).astype(np.uint16)
    volume = Volume(pixels, voxel_um, name)
    mode = "3d" if masks.ndim == 3 else "2d"
    anisotropy = volume.anisotropy or 1.0
    settings = Settings(mode=mode, diameter=diameter, anisotropy=anisotropy, niter=200)
    seconds = {"read": 0.5, "network": 2.0, "masks": 1.0}
    result = Segmentation(masks, settings, seconds)
    table = region_properties(
        masks,
        {"intensity": pixels},
        voxel_um=voxel_um,
        anisotropy=anisotropy,
        workers=Workers(1),
    )
    summary = {
        "input": name,
        "output": "mask.tif",
        "shape": list(masks.shape),
        "objects": result.count,
        "diameter": diameter,
        "diameter_estimated": True,
        "anisotropy": anisotropy,
        "seconds": seconds,
        "peak_memory_bytes": 100 << 20,
        "threads": 2,
        "settings": settings.as_dict(),
    }
    return volume, result, table, summary

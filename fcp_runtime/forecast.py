"""What a segmentation will take, before it is begun: network pixels, tiles, memory and time."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np

from fcp_runtime.fields import Fields
from fcp_runtime.resolve import known, resolve_settings, working_grid
from fcp_runtime.sampling.plan import plan
from fcp_runtime.sampling.views import views_of

if TYPE_CHECKING:
    from fcp_runtime.grid import WorkingGrid
    from fcp_runtime.io.image import Volume
    from fcp_runtime.sampling.plan import ViewPlan
    from fcp_runtime.segmenter import Segmenter
    from fcp_runtime.settings import Options, Settings

PROGRAM = 200 * 2**20
"""Bytes of interpreter, libraries and compiled kernels."""

LABEL_BYTES = 9.5
"""Bytes a voxel of labels, and for a foreground of 40 % of three indices and the flow's length."""

SAMPLED_BYTES = 2
"""Bytes a voxel of a stack that has been sampled to its working grid."""

MASK_BYTES = 2
"""Bytes a voxel of masks: four beyond 65,535 objects."""

HOP_BYTES = 2
"""Bytes a voxel of the hops that take the place of 3-D fields (`masks.hops`)."""

FIELD_SHARE = 0.15
"""Sampling, blending and writing take this share of the network's own time on top of it."""

VOXEL_SECONDS = 1.2e-7
"""Seconds of one thread for reading, masks and writing of a voxel: they depend on the foreground."""

ROUNDS = 5
"""Times that two tiles a thread are timed; the quickest counts, undisturbed by other programs."""


@dataclass(frozen=True)
class Forecast:
    """What one image will take.

    Attributes
    ----------
    shape : tuple of int
        Of the image.
    dtype : str
        Of its pixels.
    settings : Settings
        With mode, diameter, anisotropy and tiles filled in.
    views : tuple of ViewPlan
        Slices and tiles of each view. Tiles over empty space may be left out when it is done.
    memory : int
        Largest resident memory, bytes.
    seconds : float
    threads : int
    """

    shape: tuple[int, ...]
    dtype: str
    settings: Settings
    views: tuple[ViewPlan, ...]
    memory: int
    seconds: float
    threads: int

    @property
    def network_pixels(self) -> int:
        """Pixels that the network sees, overlap of tiles and mirror images included."""
        return sum(view.seen_pixels for view in self.views)

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        return {
            "shape": list(self.shape),
            "dtype": self.dtype,
            "mode": self.settings.mode,
            "diameter": self.settings.diameter,
            "anisotropy": self.settings.anisotropy,
            "network_pixels": self.network_pixels,
            "tiles": {
                part.view.name: {
                    "slices": part.slices,
                    "tiles": [part.rows.grid.count, part.cols.grid.count],
                    "edges": [part.rows.grid.edge, part.cols.grid.edge],
                }
                for part in self.views
            },
            "memory_bytes": self.memory,
            "seconds": round(self.seconds, 1),
            "threads": self.threads,
        }


def forecast(volume: Volume, segmenter: Segmenter, **options: Unpack[Options]) -> Forecast:
    """Predict what `Segmenter.segment` will take; a few tiles of noise are timed.

    Parameters
    ----------
    volume : Volume
        Of its pixels nothing but shape and dtype is used.
    segmenter : Segmenter
        Ready with model and threads.
    **options
        As for `Segmenter.segment`, but the diameter must be stated.

    Raises
    ------
    SettingsError
        If an option has an impossible value.
    ValueError
        If no diameter is stated.
    """
    settings = resolve_settings(volume, segmenter.model, segmenter.network.info, options)
    if settings.diameter is None:
        raise ValueError("the diameter must be known")
    z, y, x = (1, *volume.pixels.shape)[-3:]
    scale, anisotropy = segmenter.network.diam_mean / settings.diameter, settings.anisotropy or 1.0
    grid = working_grid((z, y, x), scale, settings)
    if grid is not None:
        scale, anisotropy = scale / grid.scale[1], grid.anisotropy(anisotropy)
    views = plan(
        (z, y, x) if grid is None else grid.working_shape,
        views=views_of(known(settings.mode), augment=bool(settings.augment)),
        scale=scale,
        anisotropy=anisotropy,
        tile=settings.tile or 0,
        overlap=settings.overlap or 0,
        slice_spacing=settings.slice_spacing,
        multiple=segmenter.network.info.multiple,
    )
    threads = segmenter.workers.count
    network = sum(
        (part.seen_pixels + FIELD_SHARE * part.tile_pixels) * pixel_seconds(segmenter, part)
        for part in views
    )
    rest = volume.pixels.size * VOXEL_SECONDS / threads
    return Forecast(
        volume.pixels.shape,
        str(volume.pixels.dtype),
        settings,
        tuple(views),
        predict_memory((z, y, x), volume.pixels.dtype, views, threads, grid),
        network + rest,
        threads,
    )


def predict_memory(
    shape: tuple[int, int, int],
    dtype: np.dtype[Any],
    views: list[ViewPlan],
    threads: int,
    grid: WorkingGrid | None = None,
) -> int:
    """Return the largest resident memory, in bytes, of segmenting a volume that must be decoded.

    Image, fields and the bands in work are counted exactly; program and masks are estimated, the
    masks as those of dense tissue.

    Parameters
    ----------
    shape : tuple of int
        The volume, (Z, Y, X).
    dtype : dtype
        Of its pixels.
    views : list of ViewPlan
        What the network does.
    threads : int
    grid : WorkingGrid or None
        None if it is the input's.
    """
    voxels = math.prod(shape)
    ndim = views[0].view.ndim
    # each thread has one band in work, and one may wait for its neighbour
    bands = 2 * threads * max(map(band_bytes, views))
    if grid is not None:
        small = math.prod(grid.working_shape)
        fields, sampled = fields_bytes(small, ndim), small * SAMPLED_BYTES
        followed = fields + round(small * (HOP_BYTES + LABEL_BYTES))
        labels = fields + small * MASK_BYTES + voxels * MASK_BYTES
        reading = voxels * dtype.itemsize + sampled
        return PROGRAM + max(reading, fields + sampled + bands, followed, labels)
    fields = fields_bytes(voxels, ndim)
    network = fields + voxels * dtype.itemsize + bands
    followed = voxels * HOP_BYTES if ndim == 3 else fields
    return PROGRAM + max(network, followed + round(voxels * LABEL_BYTES))


def fields_bytes(voxels: int, ndim: int) -> int:
    """Return the bytes of `Fields` with ``ndim`` flow axes."""
    one = Fields.empty((1, 1, 1), ndim)
    return voxels * (one.flow.nbytes + one.logit.nbytes)


def band_bytes(part: ViewPlan) -> int:
    """Return the bytes of a band in work: its output, and one tile of each of its slices."""
    slices = max(group.slices for group in part.groups())
    rows, cols = part.rows.grid, part.cols.grid
    return 4 * slices * rows.edge * (3 * cols.length + cols.edge)


def pixel_seconds(segmenter: Segmenter, part: ViewPlan) -> float:
    """Return the seconds a network pixel takes with all threads at work on tiles of this form."""
    shape = (1, 1, part.rows.grid.edge, part.cols.grid.edge)
    tile = np.random.default_rng(0).random(shape, np.float32)
    threads = segmenter.workers.count
    seconds = []
    for _ in range(1 + ROUNDS):  # the first plans memory
        started = time.perf_counter()
        segmenter.workers.map(segmenter.network, [tile] * (2 * threads))
        seconds.append(time.perf_counter() - started)
    return min(seconds[1:]) / (2 * threads * tile.size)

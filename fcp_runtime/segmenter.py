"""The whole walk on one page: from pixels over fields to masks."""

from __future__ import annotations

import math
import time
import warnings
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np

from fcp_runtime.diameter import MIN_SIZE, estimate_diameter
from fcp_runtime.errors import FcpWarning, SettingsError
from fcp_runtime.fields import Fields
from fcp_runtime.io.volume import Volume, from_array
from fcp_runtime.masks.reconstruct import masks_from_fields
from fcp_runtime.network.registry import load_model
from fcp_runtime.network.session import Network
from fcp_runtime.sampling.normalize import Intensity, measure_intensity
from fcp_runtime.sampling.sweep import compute_fields
from fcp_runtime.sampling.views import VIEW_2D, VIEWS_3D
from fcp_runtime.settings import Options, Settings
from fcp_runtime.workers import Progress, Workers, silent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class Segmentation:
    """What came of one image.

    Attributes
    ----------
    masks : ndarray of uint16 or uint32, shape of the image
        0 is background; objects are 1..n in raster order of their first voxel.
    settings : Settings
        Everything that determined the masks: estimated and default values filled in.
    timings : dict of str to float
        Seconds per stage: ``"intensity"``, ``"diameter"``, ``"network"``, ``"masks"``.
    fields : Fields or None
        Mean network output on the input grid, if it was asked for.
    """

    masks: NDArray[np.uint16] | NDArray[np.uint32]
    settings: Settings
    timings: dict[str, float]
    fields: Fields | None = None

    @property
    def count(self) -> int:
        """Number of objects."""
        return int(self.masks.max(initial=0))

    @property
    def diameter(self) -> float:
        """Object diameter that was used, in input pixels (xy)."""
        return self.settings.diameter or math.nan

    @property
    def flow(self) -> NDArray[np.float32] | None:
        """Flow, float32 (D, Z, Y, X) in isotropic pixels a step, if fields were asked for."""
        return None if self.fields is None else self.fields.float_flow()

    @property
    def logit(self) -> NDArray[np.float32] | None:
        """Cell-probability logit, float32 (Z, Y, X), if fields were asked for."""
        return None if self.fields is None else self.fields.float_logit()


class Segmenter:
    """A model, ready to segment images; one may be called from several threads at once.

    Parameters
    ----------
    model : str
        Key of a shipped model (see `list_models`) or path of an ONNX file.
    threads : int or None
        Threads to use; None takes the CPUs this process may use. Does not change a result.

    Raises
    ------
    ModelError
        If the model is unknown, damaged or has the wrong form.

    Examples
    --------
    >>> from fcp_runtime import Segmenter
    >>> masks = Segmenter("v3").segment(stack, diameter=25).masks  # doctest: +SKIP
    """

    def __init__(self, model: str = "v3", threads: int | None = None) -> None:
        self.workers = Workers(threads)
        self.model = model
        self.network = Network(load_model(model))

    def segment(
        self,
        image: ArrayLike | Volume,
        *,
        keep_fields: bool = False,
        progress: Progress | None = None,
        **options: Unpack[Options],
    ) -> Segmentation:
        """Segment an image or a stack.

        Parameters
        ----------
        image : array_like or Volume, shape (Y, X) or (Z, Y, X)
            Any real dtype.
        keep_fields : bool
            Also return flow and logit.
        progress : callable or None
            Called as ``progress(stage, done, total)``.
        **options
            Any field of `Settings` but ``model``, such as ``diameter`` and ``anisotropy``.

        Returns
        -------
        Segmentation

        Raises
        ------
        InputError
            If the array has other axes, no pixels, or values that are not finite.
        SettingsError
            If an option has an impossible value.
        """
        volume = image if isinstance(image, Volume) else from_array(image)
        settings = _settle(Settings(model=self.model, **options), volume)
        report = progress or silent
        timings: dict[str, float] = {}
        stack = volume.pixels if volume.pixels.ndim == 3 else volume.pixels[np.newaxis]
        with _timed(timings, "intensity"):
            intensities = _intensities(stack, settings, self.workers)
        if all(found is None for found in intensities):
            return _nothing(volume, settings, timings, keep_fields=keep_fields)
        if settings.diameter is None:
            with _timed(timings, "diameter"):
                diameter = estimate_diameter(
                    stack, self.network, intensities, settings, self.workers
                )
            settings = replace(settings, diameter=diameter)
        scale = self.network.diam_mean / _known(settings.diameter)
        settings = replace(
            settings,
            niter=settings.niter or math.ceil(200 / scale),
            min_size=smallest_object(settings) if settings.min_size is None else settings.min_size,
        )
        with _timed(timings, "network"):
            fields = self._fields(stack, scale, intensities, settings, report)
        with _timed(timings, "masks"):
            masks = reconstruct(fields, settings, self.workers, report)
        return Segmentation(
            masks.reshape(volume.pixels.shape), settings, timings, fields if keep_fields else None
        )

    def _fields(
        self,
        stack: NDArray[Any],
        scale: float,
        intensities: list[Intensity | None],
        settings: Settings,
        progress: Progress,
    ) -> Fields:
        return compute_fields(
            stack,
            self.network,
            views=VIEWS_3D if settings.mode == "3d" else (VIEW_2D,),
            scale=scale,
            anisotropy=_known(settings.anisotropy),
            intensities=intensities,
            tile=settings.tile,
            overlap=settings.overlap,
            workers=self.workers,
            progress=progress,
        )


def reconstruct(
    fields: Fields, settings: Settings, workers: Workers, progress: Progress = silent
) -> NDArray[np.uint16] | NDArray[np.uint32]:
    """Turn fields into masks: the second half of the walk, cheap enough to repeat.

    Parameters
    ----------
    fields : Fields
        As kept in a `Segmentation`.
    settings : Settings
        Of that segmentation, thresholds changed at will.
    workers : Workers
    progress : Progress

    Returns
    -------
    ndarray of uint16 or uint32, shape (Z, Y, X)
    """
    return masks_from_fields(
        fields,
        cellprob_threshold=settings.cellprob_threshold,
        flow_threshold=settings.flow_threshold,
        min_size=int(_known(settings.min_size)),
        niter=int(_known(settings.niter)),
        anisotropy=_known(settings.anisotropy),
        workers=workers,
        stitch_threshold=settings.stitch_threshold if settings.mode == "stitch" else None,
        progress=progress,
    )


def smallest_object(settings: Settings) -> int:
    """Return the voxels that an object must have: 15, in space a tenth of a ball if that is more.

    Parameters
    ----------
    settings : Settings
        With mode, diameter and anisotropy filled in.
    """
    if settings.mode != "3d":
        return MIN_SIZE
    ball = math.pi / 6 * _known(settings.diameter) ** 3 / _known(settings.anisotropy)
    return max(MIN_SIZE, round(ball / 10))


def segment(
    image: ArrayLike | Volume,
    *,
    model: str = "v3",
    threads: int | None = None,
    keep_fields: bool = False,
    progress: Progress | None = None,
    **options: Unpack[Options],
) -> Segmentation:
    """Segment one image with a model that is loaded for it; see `Segmenter`."""
    segmenter = Segmenter(model, threads)
    return segmenter.segment(image, keep_fields=keep_fields, progress=progress, **options)


def _settle(settings: Settings, volume: Volume) -> Settings:
    """Fill in mode and anisotropy from the volume."""
    flat = volume.pixels.ndim == 2
    mode = settings.mode or ("2d" if flat else "3d")
    if flat and mode != "2d":
        raise SettingsError(f"{volume.name}: mode {mode} needs a stack, this is one image; use 2d")
    anisotropy = settings.anisotropy or volume.anisotropy
    if anisotropy is None:
        if mode == "3d":
            warnings.warn(
                f"{volume.name}: spacing of planes unknown, taken as that of pixels; "
                "set anisotropy (--anisotropy) to z spacing / xy spacing",
                FcpWarning,
                stacklevel=3,
            )
        anisotropy = 1.0
    return replace(settings, mode=mode, anisotropy=anisotropy)


def _intensities(
    stack: NDArray[Any], settings: Settings, workers: Workers
) -> list[Intensity | None]:
    """Measure a stack as a whole, but each plane that is segmented by itself alone."""
    if settings.mode == "2d":
        return [measure_intensity(plane[None], settings.percentiles, workers) for plane in stack]
    return [measure_intensity(stack, settings.percentiles, workers)] * len(stack)


def _nothing(
    volume: Volume, settings: Settings, timings: dict[str, float], *, keep_fields: bool
) -> Segmentation:
    """Return empty masks for an image without signal, and say so."""
    low, high = settings.percentiles
    warnings.warn(
        f"{volume.name}: no signal (percentiles {low:g} and {high:g} are equal), the mask is empty",
        FcpWarning,
        stacklevel=3,
    )
    shape = (1, *volume.pixels.shape)[-3:]
    fields = Fields.empty(shape, 3 if settings.mode == "3d" else 2) if keep_fields else None
    return Segmentation(np.zeros(volume.pixels.shape, np.uint16), settings, timings, fields)


def _known(value: float | None) -> float:
    """Return a setting that `_settle` or the walk has filled in."""
    if value is None:
        raise AssertionError("a setting was used before it was filled in")
    return value


@contextmanager
def _timed(timings: dict[str, float], stage: str) -> Iterator[None]:
    started = time.perf_counter()
    yield
    timings[stage] = timings.get(stage, 0.0) + time.perf_counter() - started

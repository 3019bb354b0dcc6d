"""The whole walk on one page: from pixels over fields to masks."""

from __future__ import annotations

import time
import warnings
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np

from fcp_runtime.diameter import estimate_diameter
from fcp_runtime.errors import FcpWarning, InputError
from fcp_runtime.fields import Fields
from fcp_runtime.io.image import Volume, checked, from_array
from fcp_runtime.machine.workers import Progress, Workers, silent
from fcp_runtime.masks.reconstruct import follow_paths, labels_from_paths, masks_from_fields
from fcp_runtime.masks.settings import MaskSettings
from fcp_runtime.network.registry import load_model
from fcp_runtime.network.session import Network
from fcp_runtime.resolve import known, resolve_settings, resolve_size_limits, working_grid
from fcp_runtime.sampling.normalize import Intensity, measure_intensity
from fcp_runtime.sampling.sweep import compute_fields
from fcp_runtime.sampling.views import views_of
from fcp_runtime.sampling.working import WORKING_LEVELS, sample_to_working
from fcp_runtime.segmentation import Prediction, Segmentation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import ArrayLike, NDArray

    from fcp_runtime.grid import WorkingGrid
    from fcp_runtime.settings import Options, Settings

INDIFFERENT = -1.0
"""From this threshold on, where the network looks does not depend on it: masks made again at
another one are those of a full run."""

FAINTEST = -60.0
"""A logit below which nothing counts as empty: fields end at -64."""


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
        image: ArrayLike | Volume | Callable[[], ArrayLike | Volume],
        *,
        keep_fields: bool = False,
        progress: Progress | None = None,
        **options: Unpack[Options],
    ) -> Segmentation:
        """Segment an image or a stack.

        Parameters
        ----------
        image : array_like or Volume, shape (Y, X) or (Z, Y, X)
            Any real dtype. Or a function that returns it: unless something else holds the image,
            its memory is free before the masks are made.
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
        found = self._predict(image if callable(image) else lambda: image, progress, options)
        if found.fields is None:
            return _nothing(found, keep_fields=keep_fields)
        with _timed(found.timings, "masks"):
            settings = mask_settings(found.settings)
            paths = follow_paths(found.fields, settings, self.workers, progress or silent)
            if not keep_fields:  # the memory is needed for the labels
                found = replace(found, fields=None)
            masks = labels_from_paths(paths, settings, self.workers)
        return Segmentation(masks.reshape(found.shape), found.settings, found.timings, found.fields)

    def predict(
        self,
        image: ArrayLike | Volume,
        *,
        progress: Progress | None = None,
        **options: Unpack[Options],
    ) -> Prediction:
        """Walk as far as the fields; `reconstruct` goes on. Parameters and errors as in `segment`."""
        return self._predict(lambda: image, progress, options)

    def _predict(
        self,
        load: Callable[[], ArrayLike | Volume],
        progress: Progress | None,
        options: Options,
    ) -> Prediction:
        """Walk as far as the fields; what ``load`` returns is let go once it has been sampled."""
        timings: dict[str, float] = {}
        volume, stack, settings, intensities = self._begin(load(), options, timings)
        if all(found is None for found in intensities):
            _warn_of_no_signal(volume, settings)
            diameter = settings.diameter or self.network.diam_mean
            limits = resolve_size_limits(replace(settings, diameter=diameter), 1.0)
            settings = replace(limits, diameter=settings.diameter)
            return Prediction(None, settings, timings, volume.pixels.shape)
        if settings.diameter is None:
            with _timed(timings, "diameter"):
                diameter = estimate_diameter(
                    stack, self.network, intensities, settings, self.workers
                )
            settings = replace(settings, diameter=diameter)
        scale = self.network.diam_mean / known(settings.diameter)
        settings = resolve_size_limits(settings, scale)
        shape = volume.pixels.shape
        with _timed(timings, "network"):
            z, y, x = stack.shape
            grid = working_grid((z, y, x), scale, settings)
            if grid is not None and intensities[0] is not None:
                stack = sample_to_working(stack, grid, intensities[0], self.workers)
                intensities = [WORKING_LEVELS] * len(stack)
            del volume  # the pixels' memory is needed for the fields
            fields = self._fields(stack, scale, grid, intensities, settings, progress or silent)
        return Prediction(fields, settings, timings, shape)

    def estimate_diameter(self, image: ArrayLike | Volume, **options: Unpack[Options]) -> float:
        """Return the diameter, in input pixels (xy), that `segment` would estimate.

        Raises
        ------
        InputError
            As in `segment`, and if the image has no signal to estimate it from.
        """
        volume, stack, settings, intensities = self._begin(image, options, {})
        if all(found is None for found in intensities):
            raise InputError(f"{volume.name}: no signal to estimate a diameter from; state one")
        return estimate_diameter(stack, self.network, intensities, settings, self.workers)

    def _begin(
        self, image: ArrayLike | Volume, options: Options, timings: dict[str, float]
    ) -> tuple[Volume, NDArray[Any], Settings, list[Intensity | None]]:
        """Return the image, the same as a stack, settings with mode and anisotropy, intensities."""
        volume = checked(image) if isinstance(image, Volume) else from_array(image)
        settings = resolve_settings(volume, self.model, self.network.info, options)
        stack = volume.pixels if volume.pixels.ndim == 3 else volume.pixels[np.newaxis]
        with _timed(timings, "intensity"):
            intensities = _intensities(volume, stack, settings, self.workers)
        return volume, stack, settings, intensities

    def _fields(
        self,
        stack: NDArray[Any],
        scale: float,
        grid: WorkingGrid | None,
        intensities: Sequence[Intensity | None],
        settings: Settings,
        progress: Progress,
    ) -> Fields:
        """Compute the fields of a stack that lies on the working grid."""
        anisotropy = known(settings.anisotropy)
        if grid is not None:
            scale, anisotropy = scale / grid.scale[1], grid.anisotropy(anisotropy)
        empty_logit = min(settings.cellprob_threshold, INDIFFERENT) - settings.empty_margin
        fields = compute_fields(
            stack,
            self.network,
            views=views_of(known(settings.mode), augment=bool(settings.augment)),
            scale=scale,
            anisotropy=anisotropy,
            intensities=intensities,
            tile=int(known(settings.tile)),
            overlap=int(known(settings.overlap)),
            slice_spacing=settings.slice_spacing,
            multiple=self.network.info.multiple,
            empty_logit=empty_logit if settings.empty_margin and empty_logit > FAINTEST else None,
            workers=self.workers,
            progress=progress,
        )
        return replace(fields, grid=grid)


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
    return masks_from_fields(fields, mask_settings(settings), workers, progress)


def mask_settings(settings: Settings) -> MaskSettings:
    """Return what the settings of a prediction say of the mask stage."""
    return MaskSettings(
        cellprob_threshold=settings.cellprob_threshold,
        flow_threshold=settings.flow_threshold,
        min_flow=known(settings.min_flow),
        min_size=int(known(settings.min_size)),
        max_size_fraction=settings.max_size_fraction,
        niter=int(known(settings.niter)),
        anisotropy=known(settings.anisotropy),
        stitch_threshold=settings.stitch_threshold if settings.mode == "stitch" else None,
        resize_factor=settings.resize_factor,
    )


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


def _intensities(
    volume: Volume, stack: NDArray[Any], settings: Settings, workers: Workers
) -> list[Intensity | None]:
    """Measure a stack as a whole, but each plane that is segmented by itself alone."""
    if settings.levels is not None:
        return [Intensity(*settings.levels)] * len(stack)
    if settings.mode == "2d":
        found = [measure_intensity(plane[None], settings.percentiles, workers) for plane in stack]
    else:
        found = [measure_intensity(stack, settings.percentiles, workers)] * len(stack)
    changed = [intensity for intensity in found if intensity is not None and intensity.reason]
    if changed:
        planes = f" (in {len(changed)} of {len(stack)} planes)" if settings.mode == "2d" else ""
        warnings.warn(
            f"{volume.name}: {changed[0].reason}: grey levels {changed[0].low:g} to "
            f"{changed[0].high:g} become 0 and 1{planes if len(stack) > 1 else ''}; "
            "set levels (--levels LOW HIGH) to choose them",
            FcpWarning,
            stacklevel=5,
        )
    return found


def _nothing(found: Prediction, *, keep_fields: bool) -> Segmentation:
    """Return the empty masks of an image without signal."""
    z, y, x = (1, *found.shape)[-3:]
    fields = Fields.empty((z, y, x), 3 if found.settings.mode == "3d" else 2)
    fields.logit[:] = np.iinfo(np.int16).min
    masks = np.zeros(found.shape, np.uint16)
    return Segmentation(masks, found.settings, found.timings, fields if keep_fields else None)


def _warn_of_no_signal(volume: Volume, settings: Settings) -> None:
    low, high = settings.percentiles
    warnings.warn(
        f"{volume.name}: no signal (percentiles {low:g} and {high:g} are equal), the mask is empty",
        FcpWarning,
        stacklevel=4,
    )


@contextmanager
def _timed(timings: dict[str, float], stage: str) -> Iterator[None]:
    started = time.perf_counter()
    yield
    timings[stage] = timings.get(stage, 0.0) + time.perf_counter() - started

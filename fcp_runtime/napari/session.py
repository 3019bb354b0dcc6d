"""What the widget does, without the widget: fields are kept, thresholds make masks from them."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Unpack

import numpy as np

from fcp_runtime.errors import SettingsError
from fcp_runtime.machine.workers import Progress, Workers, silent
from fcp_runtime.masks.reconstruct import follow_paths, labels_from_paths
from fcp_runtime.outputs.measurements import region_properties
from fcp_runtime.resolve import known, resolve_size_limits
from fcp_runtime.segmentation import Prediction, Segmentation
from fcp_runtime.segmenter import Segmenter, mask_settings
from fcp_runtime.settings import Settings

if TYPE_CHECKING:
    from fcp_runtime.fields import Fields
    from fcp_runtime.io.image import Volume
    from fcp_runtime.masks.reconstruct import FlowPaths
    from fcp_runtime.masks.settings import MaskSettings
    from fcp_runtime.outputs.table import Table
    from fcp_runtime.settings import Options


@dataclass(frozen=True)
class Thresholds:
    """Settings of the mask stage; the fields do not depend on them. See `Settings`."""

    cellprob_threshold: float = Settings.cellprob_threshold
    flow_threshold: float = Settings.flow_threshold
    min_flow: float | None = Settings.min_flow
    min_size: int | None = Settings.min_size


class Session:
    """A model, an image and its fields, kept from one question to the next.

    Not for several threads at once. An exception raised by ``progress`` stops what is under way and
    leaves the session as it was.

    Parameters
    ----------
    threads : int or None
        None takes the CPUs this process may use.
    """

    def __init__(self, threads: int | None = None) -> None:
        self._threads = threads
        self._segmenter: Segmenter | None = None
        self._seen: tuple[Volume, Prediction] | None = None
        self._known_paths: tuple[Fields, float, FlowPaths] | None = None

    @property
    def ready(self) -> bool:
        """Whether there are fields that masks can be made from."""
        return self._seen is not None

    def estimate(self, volume: Volume, model: str, **options: Unpack[Options]) -> float:
        """Return the estimated diameter in pixels; errors as in `Segmenter.estimate_diameter`."""
        return self._load(model).estimate_diameter(volume, **options)

    def segment(
        self,
        volume: Volume,
        model: str,
        thresholds: Thresholds,
        progress: Progress = silent,
        **options: Unpack[Options],
    ) -> Segmentation:
        """Compute the fields of an image, keep them, and make masks.

        Parameters
        ----------
        volume : Volume
        model : str
            As in `Segmenter`.
        thresholds : Thresholds
        progress : Progress
        **options
            Mode, diameter, anisotropy: what fields depend on.

        Raises
        ------
        FcpError
            As in `Segmenter.segment`.
        """
        segmenter = self._load(model)
        asked: Options = {**options, **asdict(thresholds)}  # type: ignore[typeddict-item]
        found = segmenter.predict(volume, progress=progress, **asked)
        before, self._seen = self._seen, (volume, found)
        try:
            return self.again(thresholds, progress)
        except BaseException:
            self._seen = before
            raise

    def again(self, thresholds: Thresholds, progress: Progress = silent) -> Segmentation:
        """Make masks from the fields that are kept.

        They are those that a segmentation with the settings of the result makes: an estimated
        diameter stays what it was. Only another ``cellprob_threshold`` has the flow followed anew:
        the paths are kept, too.

        Raises
        ------
        SettingsError
            If a threshold is impossible, or nothing has been segmented.
        """
        if self._seen is None or self._segmenter is None:
            raise SettingsError("nothing has been segmented yet")
        _, found = self._seen
        settings = replace(found.settings, **asdict(thresholds))
        if found.fields is None:
            return Segmentation(np.zeros(found.shape, np.uint16), settings, found.timings)
        settings = resolve_size_limits(
            settings, self._segmenter.network.diam_mean / known(settings.diameter)
        )
        workers = self._segmenter.workers
        chosen = mask_settings(settings)
        paths = self._paths(found.fields, chosen, workers, progress)
        masks = labels_from_paths(paths, chosen, workers)
        return Segmentation(masks.reshape(found.shape), settings, found.timings)

    def measure(self, result: Segmentation) -> Table:
        """Measure the objects of `segment` or `again` in the image that they are of."""
        if self._seen is None or self._segmenter is None:
            raise SettingsError("nothing has been segmented yet")
        volume, _ = self._seen
        return region_properties(
            result.masks,
            {"intensity": volume.pixels},
            voxel_um=volume.voxel_um,
            anisotropy=result.settings.anisotropy,
            workers=self._segmenter.workers,
        )

    def _paths(
        self, fields: Fields, settings: MaskSettings, workers: Workers, progress: Progress
    ) -> FlowPaths:
        """Follow the flow, unless the paths of these fields at this threshold are known."""
        threshold = settings.cellprob_threshold
        if self._known_paths is not None:
            of, at, paths = self._known_paths
            if of is fields and at == threshold:
                return paths
        self._known_paths = None  # its memory first
        paths = follow_paths(fields, settings, workers, progress)
        self._known_paths = (fields, threshold, paths)
        return paths

    def _load(self, model: str) -> Segmenter:
        if self._segmenter is None or self._segmenter.model != model:
            self._segmenter = Segmenter(model, self._threads)
        return self._segmenter

"""Nucleus segmentation in 2-D and 3-D on a CPU, without torch.

>>> from fcp_runtime import Segmenter
>>> masks = Segmenter("v3").segment(stack, diameter=25).masks  # doctest: +SKIP
"""

from fcp_runtime.errors import (
    FcpError,
    FcpWarning,
    InputError,
    MachineError,
    MissingExtraError,
    ModelError,
    OutputError,
    SettingsError,
)
from fcp_runtime.fields import Fields
from fcp_runtime.io.film import open_film
from fcp_runtime.io.image import Volume
from fcp_runtime.io.tiff import read_volume, write_labels
from fcp_runtime.network.registry import ModelInfo, list_models
from fcp_runtime.segmentation import Prediction, Segmentation
from fcp_runtime.segmenter import Segmenter, reconstruct, segment
from fcp_runtime.settings import Settings

__all__ = [
    "FcpError",
    "FcpWarning",
    "Fields",
    "InputError",
    "MachineError",
    "MissingExtraError",
    "ModelError",
    "ModelInfo",
    "OutputError",
    "Prediction",
    "Segmentation",
    "Segmenter",
    "Settings",
    "SettingsError",
    "Volume",
    "list_models",
    "open_film",
    "read_volume",
    "reconstruct",
    "segment",
    "write_labels",
]

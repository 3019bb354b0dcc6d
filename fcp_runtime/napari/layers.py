"""What a layer of napari is to us: a volume to segment, a place for the labels, rows of a table.

Nothing here imports napari; a layer is anything that has its attributes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fcp_runtime.errors import InputError
from fcp_runtime.io.image import Volume, from_array

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fcp_runtime.outputs.table import Table

PLACE = ("scale", "translate", "rotate", "shear", "affine", "units", "axis_labels")
"""Attributes of a layer that say where its pixels lie in the world."""


def volume_of(layer: Any) -> Volume:
    """Return the pixels of an image layer, at full resolution, with their voxel size.

    Parameters
    ----------
    layer : napari.layers.Image
        Its data may be lazy; they are read here.

    Raises
    ------
    InputError
        If the layer holds colours, or no image or stack.
    """
    if layer.rgb:
        raise InputError(f"{layer.name}: is a colour image; split its channels, choose one")
    data = layer.data[0] if layer.multiscale else layer.data
    if data.ndim not in {2, 3}:
        raise InputError(
            f"{layer.name}: has {data.ndim} axes; choose a layer of one image (Y, X) or stack "
            "(Z, Y, X): split channels and time points (right click on the layer: Split Stack)"
        )
    return from_array(np.asarray(data), voxel_um=voxel_um_of(layer), name=layer.name)


def voxel_um_of(layer: Any) -> tuple[float, float, float] | None:
    """Return the voxel size (z, y, x) in micrometres, or None if the layer's unit is no length.

    Of a single image z is that of x.
    """
    from pint import DimensionalityError

    try:
        lengths = [
            float((size * unit).to("um").magnitude)
            for size, unit in zip(layer.scale, layer.units, strict=True)
        ]
    except DimensionalityError:
        return None
    z, y, x = [lengths[-1], *lengths][-3:]
    return z, y, x


def anisotropy_of(layer: Any) -> float | None:
    """Return spacing of planes over spacing of pixels, or None of a single image.

    None also where all sizes are 1 without a unit: then nobody has stated them.
    """
    if layer.ndim != 3 or (voxel_um_of(layer) is None and np.all(layer.scale == 1)):
        return None
    z, x = (layer.scale[axis] * (1.0 * layer.units[axis]) for axis in (0, 2))
    ratio = z / x
    return float(ratio.to("").magnitude) if ratio.dimensionless else None


def place_of(layer: Any) -> dict[str, Any]:
    """Return the keyword arguments that put another layer where this one is."""
    return {name: getattr(layer, name) for name in PLACE}


def features_of(table: Table) -> dict[str, NDArray[Any]]:
    """Return measurements as napari's features, whose row is the label: the first is background.

    There, whole numbers are 0 and others not a number.
    """
    return {
        name: np.concatenate([np.array([_nothing(column)], column.dtype), column])
        for name, column in table.columns.items()
    }


def _nothing(column: NDArray[Any]) -> float:
    return float("nan") if column.dtype.kind == "f" else 0

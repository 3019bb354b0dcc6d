"""The ``_seg.npy`` file of the Cellpose 3 graphical interface."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from fcp_runtime.fields import FLOW_SCALE, LOGIT_SCALE, NETWORK_FLOW, Fields
from fcp_runtime.io.atomic import replacing
from fcp_runtime.outputs.interchange.flows import flow_colours
from fcp_runtime.outputs.outlines import find_edges
from fcp_runtime.outputs.voxel_sums import as_labels
from fcp_runtime.sampling.views import VIEW_2D, VIEWS_3D, sharing

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray


def write_seg_npy(
    path: str | os.PathLike[str],
    masks: NDArray[Any],
    fields: Fields,
    *,
    image: str | os.PathLike[str],
    diameter: float,
    settings: Mapping[str, Any],
) -> None:
    """Write masks and flows for the Cellpose 3.1 interface to load and correct.

    Parameters
    ----------
    path : path-like
        Cellpose finds ``IMAGE_seg.npy`` beside ``IMAGE.tif``.
    masks : ndarray of integers, shape (Z, Y, X) or (Y, X)
    fields : Fields
        Of the same shape; scaled to Cellpose's numbers (sums over views in 3-D).
    image : path-like
        The image, as the interface is to find it.
    diameter : float
        Object diameter in pixels.
    settings : mapping
        What made the masks; plain values.

    Raises
    ------
    OutputError
        If the file cannot be written.

    Notes
    -----
    The file is a pickled dictionary: the format is Cellpose's. Masks are uint16, or uint32 from
    65,535 objects on.
    """
    content = seg_dictionary(masks, fields, image=image, diameter=diameter, settings=settings)
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.save(file, np.array(content, dtype=object), allow_pickle=True)


def seg_dictionary(
    masks: NDArray[Any],
    fields: Fields,
    *,
    image: str | os.PathLike[str],
    diameter: float,
    settings: Mapping[str, Any],
) -> dict[str, Any]:
    """Return what `write_seg_npy` writes.

    Returns
    -------
    dict
        ``masks``; ``outlines``: the labels of border pixels; ``flows``: [colours, probability as
        uint8, z flow as uint8 (2-D: black), [], flow and logit as float32 (D + 1, ...)], the first
        three with a leading axis of planes; ``chan_choose``: grey; ``ismanual``; ``filename``; ``diameter`` and
        ``est_diam``; ``settings`` (ours).
    """
    labels = as_labels(masks)
    count = int(labels.max(initial=0))
    dtype = np.uint16 if count < 2**16 - 1 else np.uint32
    outlines = np.empty(labels.shape, dtype)
    for z, plane in enumerate(labels):
        # Cellpose draws an outline along the image's border too
        outlines[z] = plane * find_edges(np.pad(plane, 1))[1:-1, 1:-1]
    values = _network_values(fields)
    return {
        "outlines": outlines.reshape(masks.shape),
        "masks": masks.astype(dtype),
        "chan_choose": [0, 0],
        "ismanual": np.zeros(count, bool),
        "filename": os.fspath(image),
        "flows": [
            flow_colours(fields),
            _stretched(fields.logit),
            np.zeros((*fields.shape, 3), np.uint8) if masks.ndim == 2 else _along_z(fields),
            [],
            values[:, 0] if masks.ndim == 2 else values,
        ],
        "diameter": float(diameter),
        "est_diam": float(diameter),
        "settings": dict(settings),
    }


def _network_values(fields: Fields) -> NDArray[np.float32]:
    """Return flow and logit in Cellpose's numbers, (D + 1, Z, Y, X)."""
    flows, logits = sharing(VIEWS_3D if fields.ndim == 3 else (VIEW_2D,))  # it adds views up
    values = np.empty((fields.ndim + 1, *fields.shape), np.float32)
    flow = np.float32(NETWORK_FLOW * flows / FLOW_SCALE)
    logit = np.float32(logits / LOGIT_SCALE)
    np.multiply(fields.flow, flow, out=values[:-1])
    np.multiply(fields.logit, logit, out=values[-1])
    return values


def _stretched(logit: NDArray[np.int16]) -> NDArray[np.uint8]:
    """Return the logit from its percentile 1 (0) to its percentile 99 (255)."""
    numbers = np.arange(2**16, dtype=np.uint16).view(np.int16)
    counts = np.zeros(2**16, np.int64)
    for plane in logit:
        counts += np.bincount(plane.view(np.uint16).ravel(), minlength=2**16)
    order = np.argsort(numbers)
    below = np.cumsum(counts[order])
    low, high = numbers[order][np.searchsorted(below, (0.01 * logit.size, 0.99 * logit.size))]
    part = (numbers - np.float64(low)) / max(float(high) - float(low), 1e-9)
    grey: NDArray[np.uint8] = (np.clip(part, 0, 1) * 255).astype(np.uint8)[logit.view(np.uint16)]
    return grey


def _along_z(fields: Fields) -> NDArray[np.uint8]:
    """Return the z flow, 127 where there is none; zeros where the fields have no z."""
    if fields.ndim == 2:
        return np.zeros(fields.shape, np.uint8)
    grey = np.empty(fields.shape, np.uint8)
    for z, plane in enumerate(fields.flow[0]):
        part = plane * np.float32(127 / FLOW_SCALE) + np.float32(127)
        grey[z] = np.clip(np.rint(part), 0, 255)
    return grey

"""GeoJSON for QuPath, and for anything that reads polygons."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from fcp_runtime.errors import OutputError
from fcp_runtime.io.atomic import replacing
from fcp_runtime.outputs.interchange.contours import object_polygons

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from fcp_runtime.outputs.interchange.contours import Polygon
    from fcp_runtime.outputs.table import Table


def write_geojson(
    path: str | os.PathLike[str],
    masks: NDArray[Any],
    *,
    table: Table | None = None,
    settings: Mapping[str, Any] | None = None,
) -> None:
    """Write the objects of an image as detections for QuPath (0.4 or later).

    A feature per object, named by its label: the polygon that covers just its pixels, with holes; a
    multi-polygon for an object in pieces. Coordinates are pixels from the top left corner of the
    image. QuPath: File > Import objects from file.

    Parameters
    ----------
    path : path-like
        A name that ends in ``.geojson``.
    masks : ndarray of integers, shape (Y, X)
    table : Table or None
        Measurements of the same masks, shown by QuPath as those of its own.
    settings : mapping or None
        What made the masks, kept as the member ``settings``; readers skip members that they do not know
        (RFC 7946, 6.1).

    Raises
    ------
    OutputError
        If the masks are 3-D, or the file cannot be written.
    ValueError
        If the table is not that of the masks.
    """
    if masks.ndim != 2:
        raise OutputError(
            f"{path}: GeoJSON is for one image, not for a stack of {len(masks)} planes"
        )
    objects = object_polygons(masks)
    if table is not None and table["label"].tolist() != list(objects):
        raise ValueError("the table is not that of the masks")
    features = [
        {
            "type": "Feature",
            "geometry": _geometry(polygons),
            "properties": {
                "objectType": "detection",
                "name": str(label),
                "classification": {"name": "Nucleus", "color": [0, 200, 0]},
                "measurements": {} if table is None else _measurements(table, row),
            },
        }
        for row, (label, polygons) in enumerate(objects.items())
    ]
    document: dict[str, Any] = {"type": "FeatureCollection"}
    if settings is not None:
        document["settings"] = dict(settings)
    document["features"] = features
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(document, separators=(",", ":")), encoding="utf-8")


def _geometry(polygons: list[Polygon]) -> dict[str, Any]:
    """Return a geometry of RFC 7946: rings closed, shells first, in opposite sense to holes."""
    parts = [
        [_closed(polygon.shell), *(_closed(hole) for hole in polygon.holes)] for polygon in polygons
    ]
    if len(parts) == 1:
        return {"type": "Polygon", "coordinates": parts[0]}
    return {"type": "MultiPolygon", "coordinates": parts}


def _closed(ring: NDArray[np.int64]) -> list[list[int]]:
    points: list[list[int]] = ring.tolist()
    return [*points, points[0]]


def _measurements(table: Table, row: int) -> dict[str, float]:
    """Return what QuPath takes: finite numbers only."""
    values = {name: float(column[row]) for name, column in table.columns.items() if name != "label"}
    return {name: value for name, value in values.items() if np.isfinite(value)}

"""A picture of the cell graph over the image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fcp_runtime.outputs.outlines import label_colours

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fcp_runtime.outputs.graph import Graph

LONGEST = 1024
"""Images are magnified by a whole factor up to this length, so that discs and lines are round."""
EDGE_COLOUR = (255, 200, 0)
NODE_SIZE = 0.16
"""Radius of a node in equivalent diameters of its object: the marker shows the size of the nucleus."""


def draw_graph(graph: Graph, pixels: NDArray[Any]) -> NDArray[np.uint8]:
    """Draw a graph over the maximum projection along z, as figure 4.14 of the thesis does.

    Parameters
    ----------
    graph : Graph
        Built from masks of the shape of ``pixels``.
    pixels : ndarray, shape (Z, Y, X) or (Y, X)

    Returns
    -------
    ndarray of uint8, shape (H, W, 3)
        The projection in grey, percentiles 1 and 99.8 black and white, dimmed to two thirds; edges
        in yellow; nodes in the colours of the preview's outlines, discs in proportion to their objects' diameters.
        Images shorter than 1024 are magnified by a whole factor.
    """
    flat = pixels.max(axis=0) if pixels.ndim == 3 else pixels
    zoom = max(1, LONGEST // max(flat.shape))
    low, high = np.percentile(flat, (1, 99.8))
    grey = np.clip((flat - low) * (170 / max(high - low, 1e-12)), 0, 170).astype(np.uint8)
    grey = grey.repeat(zoom, axis=0).repeat(zoom, axis=1)
    picture = np.repeat(grey[..., None], 3, axis=2)
    nodes = graph.nodes
    places = (np.stack((nodes["y"], nodes["x"]), axis=1) + 0.5) * zoom - 0.5
    width = max(1, round(max(grey.shape) / 500))
    for source, target in graph.edges:
        _line(picture, places[source], places[target], width)
    radii = np.maximum(NODE_SIZE * nodes["equivalent_diameter_px"] * zoom, 2)
    for place, radius, colour in zip(places, radii, label_colours(nodes["label"]), strict=True):
        _disc(picture, place, radius, colour)
    return picture


def _line(picture: NDArray[np.uint8], begin: NDArray[Any], end: NDArray[Any], width: int) -> None:
    """Draw a straight line of about ``width`` pixels."""
    steps = int(np.ceil(np.abs(end - begin).max())) + 1
    path = np.rint(np.linspace(begin, end, steps)).astype(int)
    for shift in np.ndindex(width, width):
        y, x = (path + shift - width // 2).T
        inside = (y >= 0) & (x >= 0) & (y < picture.shape[0]) & (x < picture.shape[1])
        picture[y[inside], x[inside]] = EDGE_COLOUR


def _disc(
    picture: NDArray[np.uint8], place: NDArray[Any], radius: float, colour: NDArray[np.uint8]
) -> None:
    """Draw a filled disc with a dark rim."""
    low = np.maximum(np.floor(place - radius - 1), 0).astype(int)
    high = np.ceil(place + radius + 2).astype(int)
    window = picture[low[0] : high[0], low[1] : high[1]]
    rows = np.arange(window.shape[0])[:, None] + low[0] - place[0]
    columns = np.arange(window.shape[1]) + low[1] - place[1]
    distance = np.hypot(rows, columns)
    window[distance <= radius + 1] = 0
    window[distance <= radius] = colour

"""The list of objects that look wrong, each with a picture."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from fcp_runtime.outputs.outlines import find_edges
from fcp_runtime.outputs.report.views import data_uri, grey_levels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from fcp_runtime.outputs.suspects import Suspect
    from fcp_runtime.outputs.table import Table

MOST = 48
"""Pictures; the others are counted and framed only."""
EDGE = 112
"""Edge of a picture in pixels."""
OTHERS, OWN = (110, 160, 200), (255, 200, 60)
"""Outlines of the neighbours and of the object itself."""


def check_list(
    pixels: NDArray[Any],
    masks: NDArray[Any],
    table: Table,
    suspects: Sequence[Suspect],
    window: tuple[float, float],
) -> str:
    """Return the section with a button for each suspect; empty without any."""
    if not suspects:
        return ""
    buttons = []
    for suspect in suspects[:MOST]:
        picture = thumbnail(pixels, masks, table, suspect.label, window)
        words = escape("; ".join(suspect.reasons))
        buttons.append(
            f'<button data-check="{suspect.label}"><img alt="nucleus {suspect.label}" '
            f'src="{picture}"><b>#{suspect.label}</b> {words}</button>'
        )
    more = len(suspects) - len(buttons)
    rest = f"<p>and {more} more, framed in the picture</p>" if more else ""
    return (
        f'<section id="checks"><h2>Nuclei to be checked: {len(suspects)}</h2>'
        f'<div class="checks">{"".join(buttons)}</div>{rest}</section>'
    )


def thumbnail(
    pixels: NDArray[Any],
    masks: NDArray[Any],
    table: Table,
    label: int,
    window: tuple[float, float],
) -> str:
    """Return a square around an object, in the plane of its centre, with outlines."""
    row = int(np.flatnonzero(table["label"] == label)[0])
    low = [int(table[f"bbox_{axis}_start"][row]) for axis in "yx"]
    high = [int(table[f"bbox_{axis}_stop"][row]) for axis in "yx"]
    if pixels.ndim == 3:
        z = round(float(table["z"][row]))
        pixels, masks = pixels[z], masks[z]
    side = round(1.8 * max(stop - start for start, stop in zip(low, high, strict=True))) + 6
    rows, columns = (
        np.clip(
            np.rint((start + stop - 1) / 2 + (np.arange(EDGE) + 0.5 - EDGE / 2) * side / EDGE),
            0,
            n - 1,
        ).astype(int)
        for start, stop, n in zip(low, high, pixels.shape, strict=True)
    )
    place = np.ix_(rows, columns)
    picture = np.repeat(grey_levels(pixels[place], window)[..., None], 3, axis=2)
    labels = masks[place]
    edge = find_edges(labels)
    picture[edge] = OTHERS
    picture[edge & (labels == label)] = OWN
    from imagecodecs import jpeg_encode

    return data_uri(jpeg_encode(picture, level=80))

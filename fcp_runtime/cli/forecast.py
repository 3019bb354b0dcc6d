"""``fcp-run --dry-run``: what every input will take; writes nothing."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from fcp_runtime.cli.common import say_error
from fcp_runtime.cli.process import demo_volume

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from fcp_runtime.forecast import Forecast
    from fcp_runtime.io.stored import Reading
    from fcp_runtime.segmenter import Segmenter
    from fcp_runtime.settings import Options


def show_forecasts(
    images: Sequence[Path],
    segmenter: Segmenter,
    options: Options,
    *,
    reading: Reading,
    demo: bool,
    as_json: bool,
    name: str,
) -> None:
    """Print a forecast for each image; those that cannot be read do not stop the others.

    Parameters
    ----------
    images : sequence of Path
    segmenter : Segmenter
    options : Options
        Settings of each segmentation. Where the diameter is not stated the pixels are read.
    reading : Reading
        Options of `fcp_runtime.io.read.read_volume`.
    demo : bool
        Make the synthetic organoid in place of reading a file.
    as_json : bool
        A JSON object a line.
    name : str
        Of the command, for messages.
    """
    failed = 0
    for image in images:
        try:
            found = look_at(image, segmenter, options, reading=reading, demo=demo)
        except Exception as error:  # noqa: BLE001 - whatever one image does, the others are done
            say_error(name, error, image)
            failed += 1
            continue
        click.echo(
            json.dumps({"input": str(image)} | found.as_dict(), allow_nan=False)
            if as_json
            else f"{image}: {in_words(found)}"
        )
    if failed:
        sys.exit(1)


def look_at(
    image: Path,
    segmenter: Segmenter,
    options: Options,
    *,
    reading: Reading,
    demo: bool,
) -> Forecast:
    """Return the forecast for a file; its pixels are read only to estimate the diameter."""
    from fcp_runtime.forecast import forecast
    from fcp_runtime.io.image import Volume
    from fcp_runtime.io.read import read_form, read_volume

    if demo:
        volume = demo_volume()
    elif options.get("diameter") is None:
        volume = read_volume(image, **reading, workers=segmenter.workers)
    else:
        form = read_form(image, **reading)
        pixels: Any = np.broadcast_to(np.zeros((), form.dtype), form.shape)  # takes no memory
        volume = Volume(pixels, form.voxel_um, str(image))
    if options.get("diameter") is None:
        options = options | {"diameter": segmenter.estimate_diameter(volume, **options)}
    return forecast(volume, segmenter, **options)


def in_words(found: Forecast) -> str:
    """Return a forecast as one line of text."""
    settings = found.settings
    tiles = ", ".join(
        f"{part.view.name} {part.slices} x {part.rows.grid.count} x {part.cols.grid.count} of "
        f"{part.rows.grid.edge} x {part.cols.grid.edge}"
        for part in found.views
    )
    return (
        f"{' x '.join(map(str, found.shape))} {found.dtype}, mode {settings.mode}, "
        f"diameter {settings.diameter:g}, anisotropy {settings.anisotropy:g}; "
        f"network {found.network_pixels / 1e6:.1f} Mpixel, tiles {tiles}; "
        f"about {found.memory / 2**20:.0f} MiB; "
        f"about {found.seconds:.1f} s on {found.threads} threads"
    )

"""The channels beside the one that is segmented."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fcp_runtime.io.tiff.axes import lay_out
from fcp_runtime.io.tiff.file import stored_image
from fcp_runtime.io.tiff.read import read_volume

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fcp_runtime.machine.workers import Workers


def read_other_channels(
    path: str | os.PathLike[str],
    *,
    channel: int | None = None,
    axes: str | None = None,
    workers: Workers | None = None,
) -> dict[str, NDArray[Any]]:
    """Read all channels but one, to be measured under the objects found in that one.

    Parameters
    ----------
    path, channel, axes, workers
        Of `fcp_runtime.io.tiff.read.read_volume`, which reads the one.

    Returns
    -------
    dict of str to ndarray, shape (Z, Y, X) or (Y, X)
        ``"channel0"``, ``"channel1"``, ...: by their numbers in the file. Empty if the file has one
        channel, or a grey image in colours.

    Raises
    ------
    InputError
        As `fcp_runtime.io.tiff.read.read_volume`.
    """
    name = os.fspath(path)
    with stored_image(Path(path), name) as stored:
        layout = lay_out(stored.axes, stored.shape, axes=axes, channel=channel, name=name)
    if layout.channel_axis is None or layout.grey_only:
        return {}
    return {
        f"channel{other}": read_volume(path, channel=other, axes=axes, workers=workers).pixels
        for other in range(layout.shape[layout.channel_axis])
        if other != layout.channel
    }

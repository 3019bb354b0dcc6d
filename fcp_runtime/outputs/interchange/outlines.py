"""Outlines as text, a line per object, as Cellpose writes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fcp_runtime.errors import OutputError
from fcp_runtime.io.atomic import replacing
from fcp_runtime.outputs.interchange.contours import object_outlines

if TYPE_CHECKING:
    import os

    from numpy.typing import NDArray


def write_outlines(path: str | os.PathLike[str], masks: NDArray[Any]) -> None:
    """Write outlines as text, for the ImageJ macro that comes with Cellpose and the like.

    A line per object in the order of labels: ``x,y,x,y,...``, pixel coordinates from 0 of the pixels
    along its outer border; of an object in pieces, the longest. Cellpose leaves the line of an object
    of fewer than five border pixels empty; here it is complete.

    Parameters
    ----------
    path : path-like
        Cellpose names such files ``IMAGE_cp_outlines.txt``.
    masks : ndarray of integers, shape (Y, X)

    Raises
    ------
    OutputError
        If the masks are 3-D, or the file cannot be written.
    """
    if masks.ndim != 2:
        raise OutputError(
            f"{path}: outlines as text are for one image; for a stack, write an ImageJ ROI zip"
        )
    lines = [
        ",".join(map(str, outline.ravel().tolist())) + "\n"
        for outline in object_outlines(masks).values()
    ]
    with replacing(path) as temporary:
        temporary.write_text("".join(lines), encoding="ascii", newline="\n")

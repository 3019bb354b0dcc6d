"""What a careful eye would remark on a result."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fcp_runtime.outputs.suspects import find_two_sizes

if TYPE_CHECKING:
    from fcp_runtime.outputs.table import Table
    from fcp_runtime.settings import Settings

MANY = 0.2
"""Part of all objects from which on something is worth a warning."""
TINY = 0.4
"""Equivalent diameter of a tiny object, as a part of the diameter used."""
FAR = 1.5
"""Factor between the diameter used and that of the objects found."""


def find_remarks(
    table: Table, settings: Settings, *, stack: bool, spacing_known: bool
) -> list[str]:
    """Return warnings about the objects, a sentence each.

    Parameters
    ----------
    table : Table
        Measurements.
    settings : Settings
        Of the segmentation, filled in.
    stack : bool
        Whether the image is one.
    spacing_known : bool
        Whether the file or the user stated the spacing of planes.
    """
    remarks = []
    if stack and not spacing_known and settings.mode != "3d":  # there, the segmenter says it
        remarks.append(
            "Anisotropy unknown: planes are taken to be as far apart as pixels. Sizes and shapes "
            "along z are wrong if they are not; set --anisotropy."
        )
    count = len(table)
    if count == 0:
        return [*remarks, "No object was found."]
    cut = int(table["touches_border"].sum())
    if cut > MANY * count:
        remarks.append(
            f"{cut} of {count} objects touch the border: they are cut, and measured as they are "
            "seen. Leave them out of sizes and shapes (column touches_border)."
        )
    diameters = table["equivalent_diameter_px"]
    used = settings.diameter or float("nan")
    tiny = count_tiny(table, used)
    if tiny > MANY * count:
        remarks.append(
            f"{tiny} of {count} objects are tiny (equivalent diameter below {TINY:g} of the "
            f"diameter used): debris, or nuclei in pieces. Raise --min-size, or check --diameter."
        )
    split = find_two_sizes(table)
    if split is not None:
        small, little, large, much = split
        remarks.append(
            f"Objects have two sizes: {small} of about {little:.3g} px and {large} of about "
            f"{much:.3g} px. Nuclei may be cut in pieces, or merged; look at both, or check --diameter."
        )
    found = float(np.median(diameters))
    if not 1 / FAR <= found / used <= FAR:
        remarks.append(
            f"The objects' median diameter, {found:.3g} px, is far from the diameter used, "
            f"{used:.3g} px. Run again with --diameter {found:.3g} and compare."
        )
    return remarks


def count_tiny(table: Table, diameter: float) -> int:
    """Return how many objects are tiny for the diameter used."""
    return int(np.count_nonzero(table["equivalent_diameter_px"] < TINY * diameter))

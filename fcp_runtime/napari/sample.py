"""Sample data: the organoid of the demo."""

from __future__ import annotations

from typing import Any

from fcp_runtime.phantom import demo

LayerData = tuple[Any, dict[str, Any], str]


def organoid_layers() -> list[LayerData]:
    """Return the synthetic organoid as an image layer, in micrometres."""
    phantom = demo()
    placed = {"name": "organoid", "scale": phantom.voxel_um, "units": ("um",) * 3}
    return [(phantom.image, placed, "image")]

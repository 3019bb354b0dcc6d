"""Fill in what a call left open: from the volume, the model and the diameter."""

from __future__ import annotations

import math
import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from fcp_runtime.errors import FcpWarning, InputError, SettingsError
from fcp_runtime.grid import WorkingGrid
from fcp_runtime.io.image import check_square
from fcp_runtime.settings import Options, Settings

if TYPE_CHECKING:
    from fcp_runtime.io.image import Volume
    from fcp_runtime.network.registry import ModelInfo

T = TypeVar("T")

STEP = 1.0
"""Network pixels of a voxel of the working grid in mode 3d; see ``docs/decisions/working-grid.md``."""

MIN_SIZE = 15
"""Voxels that an object has at least, whatever the diameter: Cellpose's limit."""

LEAST_FLOW = {"2d": 0.4, "stitch": 0.4, "3d": 0.55}
"""Pixels a step that the flow in an object has on average, by mode; chosen on train rows."""


def resolve_settings(volume: Volume, model: str, info: ModelInfo, options: Options) -> Settings:
    """Return the settings with mode and anisotropy of the volume, tiles of the model, and augment.

    Parameters
    ----------
    volume : Volume
        Of its pixels nothing but the shape is used.
    model : str
        As the caller named it.
    info : ModelInfo
        Of that model.
    options : Options

    Raises
    ------
    SettingsError
        If an option has an impossible value, or the mode does not suit the volume.
    InputError
        If the file states a spacing of planes that cannot be, or pixels that are not square.
    """
    settings = Settings(model=model, **options)
    check_square(volume.voxel_um, volume.name)
    shape = volume.pixels.shape
    flat = len(shape) == 2 or shape[0] == 1
    mode = settings.mode or ("2d" if flat else "3d")
    if flat and mode != "2d":
        raise SettingsError(f"{volume.name}: mode {mode} needs a stack, this is one image; use 2d")
    tile = settings.tile or info.tile
    return replace(
        settings,
        mode=mode,
        anisotropy=_anisotropy(volume, replace(settings, mode=mode)),
        tile=tile,
        overlap=min(info.overlap, tile // 2) if settings.overlap is None else settings.overlap,
        augment=mode != "3d" if settings.augment is None else settings.augment,
    )


def _anisotropy(volume: Volume, settings: Settings) -> float:
    """Return what the call states, or the file; else 1, with a warning."""
    if settings.anisotropy is not None:
        return settings.anisotropy
    if volume.anisotropy is None:
        if settings.mode == "3d":
            warnings.warn(
                f"{volume.name}: spacing of planes unknown, taken as that of pixels; "
                "set anisotropy (--anisotropy) to z spacing / xy spacing; if the planes are time "
                "points, say --axes TYX",
                FcpWarning,
                stacklevel=6,
            )
        return 1.0
    try:
        return known(replace(settings, anisotropy=volume.anisotropy).anisotropy)
    except SettingsError:
        if settings.mode != "3d":
            return 1.0
        raise InputError(
            f"{volume.name}: states that planes lie {volume.anisotropy:g} times as far apart as "
            "pixels; set anisotropy (--anisotropy) to z spacing / xy spacing"
        ) from None


def resolve_size_limits(settings: Settings, scale: float) -> Settings:
    """Return the settings with steps and limits of objects filled in.

    Parameters
    ----------
    settings : Settings
        With mode, diameter and anisotropy filled in.
    scale : float
        Network pixels an input pixel.
    """
    mode = known(settings.mode)
    return replace(
        settings,
        niter=settings.niter or math.ceil(200 / scale / settings.resize_factor),
        min_size=smallest_object(settings) if settings.min_size is None else settings.min_size,
        min_flow=LEAST_FLOW[mode] if settings.min_flow is None else settings.min_flow,
    )


def smallest_object(settings: Settings) -> int:
    """Return the voxels that an object must have: a tenth of a disc or ball, at least `MIN_SIZE`.

    But half of a disc or ball is enough, however small it is.

    Parameters
    ----------
    settings : Settings
        With mode, diameter and anisotropy filled in.
    """
    diameter = known(settings.diameter)
    if settings.mode == "3d":
        whole = math.pi / 6 * diameter**3 / known(settings.anisotropy)
    else:
        whole = math.pi / 4 * diameter**2
    return min(max(MIN_SIZE, round(whole / 10)), math.ceil(whole / 2))


def working_grid(
    shape: tuple[int, int, int], scale: float, settings: Settings
) -> WorkingGrid | None:
    """Return the working grid of a stack; None if it is the input's, as ever in planes.

    Parameters
    ----------
    shape : tuple of int
        Of the input, (Z, Y, X).
    scale : float
        Network pixels an input pixel.
    settings : Settings
        With mode and anisotropy filled in.
    """
    if settings.mode != "3d":
        return None
    anisotropy = known(settings.anisotropy)
    grid = WorkingGrid.fit(shape, scale=scale, anisotropy=anisotropy, step=STEP)
    return None if grid.is_input else grid


def known(value: T | None) -> T:
    """Return a setting that `resolve_settings` or the walk has filled in."""
    if value is None:
        raise AssertionError("a setting was used before it was filled in")
    return value

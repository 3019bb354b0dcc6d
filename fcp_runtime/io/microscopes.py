"""Files of microscopes' own programs: ND2, CZI, LIF and LOF, OIF and OIB.

Each is read by a library of the extra ``formats``. Positions, series and scenes are images of
their own, chosen by ``--series``.
"""

from __future__ import annotations

import math
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import numpy as np

from fcp_runtime.errors import InputError
from fcp_runtime.io.axes import squeeze
from fcp_runtime.io.library import array_image, library_errors
from fcp_runtime.io.stored import PlanewiseImage, choose_series
from fcp_runtime.io.units import micrometres, number, seconds

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from fcp_runtime.io.stored import Request

METRE = 1e6
"""Micrometres."""


def _positive(size: Any) -> float | None:
    stated = number(size)
    return stated if stated is not None and 0 < stated < math.inf else None


def _step(positions: Any) -> float | None:
    """Return the distance of neighbours in a list of positions, without its sign."""
    places = np.asarray(positions, float)
    return _positive(abs(places[-1] - places[0]) / (places.size - 1)) if places.size > 1 else None


@contextmanager
def nd2_image(path: Path, name: str, request: Request) -> Iterator[PlanewiseImage]:
    """Open an ND2 of NIS-Elements: positions are images, frames are read one at a time.

    Raises
    ------
    InputError
        If it is damaged, or holds several positions and none is chosen.
    """
    import nd2

    with library_errors(name):
        file = nd2.ND2File(path)
    with file:
        with library_errors(name):
            image = _nd2(file, name, request)
        yield image


def _nd2(file: Any, name: str, request: Request) -> PlanewiseImage:
    sizes: dict[str, int] = dict(file.sizes)
    lead = [axis for axis in sizes if axis not in "CYXS"]
    positions = sizes.get("P", 1)
    chosen = choose_series([f"position {at}" for at in range(positions)], request.series, name)
    frames = np.arange(math.prod(sizes[axis] for axis in lead))
    frames = frames.reshape([sizes[axis] for axis in lead])
    if "P" in lead:
        frames = np.take(frames, chosen, axis=lead.index("P"))
        lead.remove("P")
    axes = "".join(lead) + "".join(axis for axis in "CYXS" if axis in sizes)
    shape = tuple(sizes[axis] for axis in axes)
    tail = squeeze(axes[len(lead) :], shape[len(lead) :])[1]
    order = frames.ravel().tolist()

    @lru_cache(maxsize=1)
    def frame(at: int) -> NDArray[Any]:
        with library_errors(name):
            return np.asarray(file.read_frame(order[at]))

    size = file.voxel_size()
    interval = None
    for loop in file.experiment or ():
        period = getattr(loop.parameters, "periodMs", None)
        interval = interval or seconds(period, "ms")
    channels = [channel.channel.name for channel in file.metadata.channels or ()]
    return PlanewiseImage(
        name,
        axes,
        shape,
        tail,
        np.dtype(file.dtype),
        frame,
        tuple(channels),
        tuple(_positive(each) for each in (size.z if "Z" in sizes else None, size.y, size.x)),
        interval,
    )


@contextmanager
def czi_image(path: Path, name: str, request: Request) -> Iterator[PlanewiseImage]:
    """Open a CZI of ZEN: scenes are images.

    Raises
    ------
    InputError
        If it is damaged, or holds several scenes and none is chosen.
    """
    import czifile

    with path.open("rb") as stream:  # the library leaves a damaged file open
        with library_errors(name):
            file = czifile.CziFile(stream)
        with file:
            with library_errors(name):
                image = _czi(file, name, request)
            yield image


def _czi(file: Any, name: str, request: Request) -> PlanewiseImage:
    sizes = dict(zip(file.axes, map(int, file.shape), strict=True))
    scenes = sizes.get("S", 1)
    chosen = choose_series([f"scene {at}" for at in range(scenes)], request.series, name)
    odd = [axis for axis, size in sizes.items() if axis not in "STCZYX0" and size > 1]
    if odd:
        raise InputError(
            f"{name}: has axes {''.join(sizes)} with several {', '.join(odd)} (rotations, phases, "
            "views); export the wanted ones as TIFF"
        )
    kept = [axis for axis in sizes if axis in "TCZYX" or (axis == "0" and sizes["0"] > 1)]
    axes = "".join(kept).replace("0", "S")

    def load() -> NDArray[Any]:
        pixels = np.asarray(file.asarray())
        for axis in reversed(range(pixels.ndim)):
            letter = file.axes[axis]
            if letter not in kept:
                pixels = np.take(pixels, chosen if letter == "S" else 0, axis=axis)
        return pixels

    root = ET.fromstring(file.metadata())  # noqa: S314 (expat bounds entities)
    voxel = []
    for axis in "ZYX":
        value = root.findtext(f".//Scaling/Items/Distance[@Id='{axis}']/Value")
        voxel.append(_positive((number(value) or 0) * METRE))
    dimensions = root.find(".//Information/Image/Dimensions")
    names: list[str] = []
    interval = None
    if dimensions is not None:
        names = [each.get("Name", "") for each in dimensions.iterfind("Channels/Channel")]
        interval = seconds(dimensions.findtext("T/Positions/Interval/Increment"), "s")
    return array_image(
        name,
        axes,
        [sizes[axis] for axis in kept],
        file.dtype,
        load,
        channels=names if any(names) else (),
        voxel=voxel,
        interval_s=interval,
    )


@contextmanager
def lif_image(path: Path, name: str, request: Request) -> Iterator[PlanewiseImage]:
    """Open a LIF or LOF of LAS X: each of its series is an image.

    Raises
    ------
    InputError
        If it is damaged, or holds several series and none is chosen.
    """
    import liffile

    with library_errors(name):
        file = liffile.LifFile(path)
    with file:
        with library_errors(name):
            image = _lif(file, name, request)
        yield image


def _lif(file: Any, name: str, request: Request) -> PlanewiseImage:
    images = list(file.images)
    words = [f"{each.name} {'x'.join(map(str, each.shape))}" for each in images]
    image = images[choose_series(words, request.series, name)]
    axes = "".join(image.dims)
    odd = [axis for axis in axes if axis not in "TCZYXS"]
    if odd:
        raise InputError(
            f"{name}: {image.name} has axes {axes}, of which {', '.join(odd)} are no planes, "
            "channels or time points; export the wanted ones as TIFF"
        )
    coords: Mapping[str, Any] = image.coords
    steps = {axis: _step(coords[axis]) for axis in "TZYX" if axis in coords}
    voxel = [steps[axis] * METRE if steps.get(axis) else None for axis in "ZYX"]  # type: ignore[operator]
    names = [str(each) for each in coords["C"]] if "C" in coords else []
    named = names if names and not all(each.isdecimal() for each in names) else ()
    return array_image(
        name,
        axes,
        image.shape,
        image.dtype,
        image.asarray,
        channels=named,
        voxel=voxel,
        interval_s=steps.get("T"),
    )


@contextmanager
def oif_image(path: Path, name: str, request: Request) -> Iterator[PlanewiseImage]:
    """Open an OIF (with its folder beside it) or OIB of FluoView.

    Raises
    ------
    InputError
        If it is damaged.
    """
    import oiffile

    with library_errors(name):
        file = oiffile.OifFile(path)
    with file:
        with library_errors(name):
            image = _oif(file, name, request)
        yield image


def _oif(file: Any, name: str, request: Request) -> PlanewiseImage:
    choose_series(["the image"], request.series, name)
    planes = file.series[0]  # names of its files order the axes, not the settings
    page = tuple(dict(zip(file.axes, map(int, file.shape), strict=True))[axis] for axis in "YX")
    axes = f"{planes.axes.upper()}YX"
    odd = [axis for axis in axes if axis not in "TCZYX"]
    if odd:
        raise InputError(
            f"{name}: has axes {axes}, of which {', '.join(odd)} are no planes, channels or time "
            "points; export the wanted ones as TIFF"
        )
    stated: dict[str, tuple[float | None, str]] = {}
    for at in range(8):
        part = file.mainfile.get(f"Axis {at} Parameters Common")
        if part is None:
            continue
        steps = (number(part.get("EndPosition")) or 0) - (number(part.get("StartPosition")) or 0)
        count = int(part.get("MaxSize") or 0)
        code, unit = str(part.get("AxisCode", "")), str(part.get("PixUnit") or part.get("UnitName"))
        # an image is as wide as all its pixels, a stack as deep as its gaps
        gaps = count if code in {"X", "Y"} else count - 1
        stated[code] = (abs(steps) / gaps if gaps > 0 else None, unit)
    voxel = [_positive(micrometres(*stated[axis])) if axis in stated else None for axis in "ZYX"]
    interval = seconds(*stated["T"]) if "T" in stated else None
    return array_image(
        name,
        axes,
        (*planes.shape, *page),
        file.dtype,
        file.asarray,
        voxel=voxel,
        interval_s=interval,
    )

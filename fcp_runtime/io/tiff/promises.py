"""How many planes the description of a TIFF promises, kind by kind."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from fcp_runtime.io.checks import damaged

if TYPE_CHECKING:
    from collections.abc import Callable

    import tifffile

Shape = tuple[int, ...]


def check_promise(tif: tifffile.TiffFile, series: Any, name: str) -> None:
    """Refuse a file that holds other pixels than its description promises.

    Parameters
    ----------
    tif : TiffFile
    series : TiffPageSeries
        The first, as tifffile understood it.
    name : str
        The file, for messages.

    Raises
    ------
    InputError
        With what is promised and what is there.
    """
    for kind, promise in PROMISES.items():
        if not getattr(tif, f"is_{kind}"):
            continue
        if series.kind in {"uniform", "generic"}:
            raise damaged(name, f"its {NAMES[kind]} header does not fit its pages")
        if series.kind != kind:
            continue
        try:
            promised = promise(tif)
        except (KeyError, TypeError, ValueError, OverflowError, IndexError) as error:
            raise damaged(name, f"its {NAMES[kind]} header says no numbers") from error
        page = math.prod(series.keyframe.shape)
        held = math.prod(series.get_shape(squeeze=False)) // max(page, 1)
        if promised is not None and promised * 1.0 != held:
            raise damaged(
                name,
                f"its {NAMES[kind]} header promises {promised:g} planes, {held} are there; if all "
                "are, name the axes with --axes",
            )


def _imagej(tif: tifffile.TiffFile) -> float | None:
    """Channels may be samples of a colour, so that either product is right."""
    metadata = tif.imagej_metadata or {}
    c, z, t, images = (
        _whole(metadata.get(key, 1)) for key in ("channels", "slices", "frames", "images")
    )
    page = tif.pages.first
    if page.samplesperpixel > 1 and c in {1, page.samplesperpixel}:
        return float(z * t)
    if images not in {1, c * z * t} and c * z * t != 1:
        raise ValueError
    return float(c * z * t if c * z * t > 1 else max(images, 1))


def _shaped(tif: tifffile.TiffFile) -> float | None:
    metadata: dict[str, Any] = (tif.shaped_metadata or ({},))[0]
    shape = [_whole(size) for size in metadata["shape"]]
    return float(math.prod(shape) / max(1, math.prod(tif.pages.first.shape)))


def _stk(tif: tifffile.TiffFile) -> float | None:
    return float(_whole((tif.stk_metadata or {})["NumberPlanes"]))


def _lsm(tif: tifffile.TiffFile) -> float | None:
    metadata = tif.lsm_metadata or {}
    sizes = [_whole(metadata[f"Dimension{axis}"]) for axis in ("Z", "Time")]
    sizes += [max(1, _whole(metadata.get(f"Dimension{axis}", 1))) for axis in "PM"]
    per_page = tif.pages.first.samplesperpixel
    channels = _whole(metadata["DimensionChannels"])
    return math.prod(sizes) * (1 if per_page == channels else channels)


def _scanimage(tif: tifffile.TiffFile) -> float | None:
    found = scanimage_axes(tif)
    return None if found is None else math.prod(found[1])


def scanimage_state(tif: tifffile.TiffFile) -> dict[str, Any]:
    """Return ScanImage's settings: from the head of the file, or the Software tag of older files."""
    frame = (tif.scanimage_metadata or {}).get("FrameData")
    if not frame:
        import tifffile as library

        frame = library.matlabstr2py(str(tif.pages.first.software))
    return frame if isinstance(frame, dict) else {}


def scanimage_axes(tif: tifffile.TiffFile) -> tuple[str, Shape] | None:
    """Return the axes of ScanImage's pages; None where no end is stated (frames until stopped)."""
    frame = scanimage_state(tif)
    stack = "SI.hStackManager."
    saved = frame.get("SI.hChannels.channelSave")
    slices = frame.get(f"{stack}actualNumSlices", frame.get(f"{stack}numSlices"))
    if saved is None or slices is None:
        return None
    channels = len(saved) if isinstance(saved, (list, tuple)) else 1
    volumes = float(frame.get(f"{stack}actualNumVolumes", frame.get(f"{stack}numVolumes", 1)))
    frames = float(frame.get(f"{stack}framesPerSlice", 1))
    averaged = float(frame.get("SI.hScan2D.logAverageFactor", 1) or 1)
    if frame.get("SI.hFastZ.enable"):
        frames = averaged = 1.0
    if not math.isfinite(frames) or not math.isfinite(volumes):
        return None
    repeated = max(1, int(frames / averaged))
    if volumes > 1 and repeated == 1:
        return "TZC", (int(volumes), _whole(slices), channels)
    if volumes > 1:
        return "TZQC", (int(volumes), _whole(slices), repeated, channels)
    return "ZTC", (_whole(slices), repeated, channels)


def _whole(value: Any) -> int:
    if isinstance(value, bool) or int(value) != value or value < 0:
        raise ValueError
    return int(value)


PROMISES: dict[str, Callable[[tifffile.TiffFile], float | None]] = {
    "imagej": _imagej,
    "shaped": _shaped,
    "stk": _stk,
    "lsm": _lsm,
    "scanimage": _scanimage,
}
NAMES = {
    "imagej": "ImageJ",
    "shaped": "tifffile",
    "stk": "MetaMorph",
    "lsm": "LSM",
    "scanimage": "ScanImage",
}

"""Every knob of a segmentation, validated once and written into every result."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from numbers import Real
from typing import Any, Literal, TypedDict

from fcp_runtime.errors import SettingsError

Mode = Literal["2d", "3d", "stitch"]
MODES: tuple[Mode, ...] = ("2d", "3d", "stitch")


class Options(TypedDict, total=False):
    """The fields of `Settings` that a call may set; the model belongs to the `Segmenter`."""

    mode: Mode | None
    diameter: float | None
    anisotropy: float | None
    percentiles: tuple[float, float]
    levels: tuple[float, float] | None
    cellprob_threshold: float
    flow_threshold: float
    min_flow: float | None
    min_size: int | None
    niter: int | None
    stitch_threshold: float
    resize_factor: int
    tile: int | None
    overlap: int | None
    slice_spacing: float
    empty_margin: float
    augment: bool | None


WHOLE = ("min_size", "niter", "resize_factor", "tile", "overlap")
"""Settings that are whole numbers."""

WORDS = ("model", "mode")
PAIRS = ("percentiles", "levels")
"""Settings that are two rising numbers."""

OPEN = (
    "mode",
    "levels",
    "diameter",
    "anisotropy",
    "min_flow",
    "min_size",
    "niter",
    "tile",
    "overlap",
    "augment",
)
"""Settings that may be None: filled in from the image, the model or the diameter."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What determines a mask, given an image; the number of threads does not.

    Parameters
    ----------
    model : str
        Key of a shipped model, or path of an ONNX file of the documented form.
    mode : {"2d", "3d", "stitch"} or None
        ``"2d"``: each plane by itself; ``"3d"``: flows averaged over three orthogonal views;
        ``"stitch"``: planes segmented by themselves, then linked by overlap. None chooses ``"2d"``
        for an image and ``"3d"`` for a stack.
    diameter : float or None
        Mean object diameter in input pixels (xy). None estimates it from the image.
    anisotropy : float or None
        Spacing of planes divided by spacing of pixels. None takes it from the voxel size in the
        file, or 1 with a warning.
    percentiles : tuple of float
        Intensity percentiles mapped to 0 and 1; where they say nothing of nuclei, for these are few or
        debris is brighter, other levels are taken, see `measure_intensity`.
    levels : tuple of float or None
        Grey levels that become 0 and 1, in place of percentiles. None measures them.
    cellprob_threshold : float
        Pixels with a cell-probability logit above it are foreground.
    flow_threshold : float
        Largest mean squared error between network flow and the flow recomputed from a mask, in
        2-D; 0 keeps every mask, as is best on our training images (Cellpose's 0.4 loses more
        true nuclei than invented ones).
    min_flow : float or None
        Objects are removed where the mean length of the network's flow, pixels a step, is less: it
        is about 1 in a nucleus that the network is sure of, and less where the views, or the mirror
        images, disagree. None is 0.55 in mode ``"3d"``, else 0.4; 0 keeps every object.
    min_size : int or None
        Objects with fewer voxels (input grid) are removed. None is a tenth of a disc of that
        diameter, in mode ``"3d"`` of a ball (what is smaller are scraps), and at least Cellpose's 15.
    niter : int or None
        Most steps of the flow integration; None is ``ceil(200 * diameter / diam_mean)``,
        divided by ``resize_factor``.
    stitch_threshold : float
        Least intersection over union that links objects of neighbouring planes (``"stitch"``).
    resize_factor : int
        1, or 2 to follow the flow in fields of half the size and enlarge the masks: less time for
        large stacks, rougher outlines. Planes are halved only in mode ``"3d"``, where they lie
        closer than 2 pixels.
    tile : int or None
        Largest tile edge in network pixels, a multiple of 8. None is what suits the model. Where
        the model needs sides of another multiple, the largest below is taken.
    overlap : int or None
        Least overlap of neighbouring tiles in network pixels. None is what suits the model.
    slice_spacing : float
        In mode ``"3d"`` a slice is the mean of as many planes as lie within so many network pixels,
        and they all get its result; 0 takes every plane by itself.
    empty_margin : float
        In mode ``"3d"`` the network looks only at and around places where the view XY, or a
        neighbouring slice of it, has a logit that is at most so far below ``cellprob_threshold``
        (below -1, where that is higher); 0 computes every tile.
    augment : bool or None
        Whether the network sees four mirror images of each tile and the mean counts; of planes by
        themselves each at another scale, for five times its time. None does so but for mode
        ``"3d"``, where three views are averaged.

    Raises
    ------
    SettingsError
        If a value is impossible; the message names the setting and the values allowed.
    """

    model: str = "v3"
    mode: Mode | None = None
    diameter: float | None = None
    anisotropy: float | None = None
    percentiles: tuple[float, float] = (1.0, 99.0)
    levels: tuple[float, float] | None = None
    cellprob_threshold: float = 0.0
    flow_threshold: float = 0.0
    min_flow: float | None = None
    min_size: int | None = None
    niter: int | None = None
    stitch_threshold: float = 0.25
    resize_factor: int = 1
    tile: int | None = None
    overlap: int | None = None
    slice_spacing: float = 2.1
    empty_margin: float = 3.0
    augment: bool | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            object.__setattr__(self, field.name, _plain(field.name, getattr(self, field.name)))
        low, high = self.percentiles
        checks: tuple[tuple[bool, str], ...] = (
            (self.mode is None or self.mode in MODES, f"mode must be one of {', '.join(MODES)}"),
            (
                self.diameter is None or 1 <= self.diameter <= 10_000,
                "diameter must be 1 to 10000 pixels",
            ),
            (
                self.anisotropy is None or 0.05 <= self.anisotropy <= 100,
                "anisotropy must be 0.05 to 100",
            ),
            (0 <= low < high <= 100, "percentiles must be two rising numbers between 0 and 100"),
            (
                self.levels is None or self.levels[0] < self.levels[1],
                "levels must be two rising numbers, the grey levels of black and white",
            ),
            (
                self.flow_threshold >= 0,
                "flow_threshold must not be negative (0 switches the check off)",
            ),
            (
                self.min_flow is None or 0 <= self.min_flow <= 2,
                "min_flow must be 0 to 2 (0 keeps every object)",
            ),
            (self.min_size is None or self.min_size >= 0, "min_size must not be negative"),
            (self.niter is None or self.niter >= 1, "niter must be at least 1"),
            (0 < self.stitch_threshold <= 1, "stitch_threshold must be above 0 and at most 1"),
            (self.resize_factor in {1, 2}, "resize_factor must be 1 or 2"),
            (
                self.tile is None or (self.tile >= 64 and self.tile % 8 == 0),
                "tile must be a multiple of 8 and at least 64",
            ),
            (
                self.overlap is None or 0 <= self.overlap <= (self.tile or math.inf) / 2,
                "overlap must be 0 to half of tile",
            ),
            (0 <= self.slice_spacing <= 8, "slice_spacing must be 0 to 8 network pixels"),
            (self.empty_margin >= 0, "empty_margin must not be negative (0 computes every tile)"),
        )
        for good, message in checks:
            if not good:
                raise SettingsError(message)

    def as_dict(self) -> dict[str, Any]:
        """Return the settings as plain values, ready for JSON."""
        plain = asdict(self)
        for name in PAIRS:
            plain[name] = None if plain[name] is None else list(plain[name])
        return plain


def _plain(name: str, value: Any) -> Any:
    """Return a setting as a plain Python value, whatever numbers a pipeline has, or refuse it."""
    if value is None and name in OPEN:
        return None
    if name in WORDS:
        if not isinstance(value, str):
            raise SettingsError(f"{name} must be text, not {value!r}")
        return value
    if name == "augment":
        if value not in (True, False):
            raise SettingsError(f"augment must be true or false, not {value!r}")
        return bool(value)
    if name in PAIRS:
        if not isinstance(value, Sequence) or isinstance(value, str) or len(value) != 2:
            raise SettingsError(f"{name} must be two numbers, not {value!r}")
        return tuple(_number(name, part) for part in value)
    number = _number(name, value)
    if name not in WHOLE:
        return number
    if not number.is_integer():
        raise SettingsError(f"{name} must be a whole number, not {value!r}")
    return int(number)


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise SettingsError(f"{name} must be a number, not {value!r}")
    if not math.isfinite(value):
        raise SettingsError(f"{name} must be a finite number, not {value}")
    return float(value)

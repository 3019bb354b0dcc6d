"""Every knob of a segmentation, validated once and written into every result."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, TypedDict

from fcp_runtime.errors import SettingsError
from fcp_runtime.setting_rows import Row, plain_value, row

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
    max_size_fraction: float
    niter: int | None
    stitch_threshold: float
    resize_factor: int
    tile: int | None
    overlap: int | None
    slice_spacing: float
    empty_margin: float
    augment: bool | None


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
        diameter, in mode ``"3d"`` of a ball (what is smaller is debris), and at least Cellpose's 15,
        but never more than half of a whole one.
    max_size_fraction : float
        Objects that fill more than this part of the image (in mode ``"3d"``, of the stack) are
        removed, with a warning: they are background taken for one object.
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

    model: str = row(
        "v3", "text", "nuclei", "A shipped model or an ONNX file.", common=True, metavar="NAME|PATH"
    )
    mode: Mode | None = row(
        None,
        "mode",
        "nuclei",
        "2d for images and 3d for stacks by default.",
        good=lambda value: value in MODES,
        limits=f"must be one of {', '.join(MODES)}",
        common=True,
    )
    diameter: float | None = row(
        None,
        "number",
        "nuclei",
        "Mean object diameter in pixels; estimated by default.",
        good=lambda value: 1 <= value <= 10_000,
        limits="must be 1 to 10000 pixels",
        common=True,
        widget=(0, 10_000, 1),
    )
    anisotropy: float | None = row(
        None,
        "number",
        "nuclei",
        "Spacing of planes / spacing of pixels; from the file by default.",
        good=lambda value: 0.05 <= value <= 100,
        limits="must be 0.05 to 100",
        common=True,
        widget=(0.05, 100, 0.1),
    )
    percentiles: tuple[float, float] = row(
        (1.0, 99.0),
        "pair",
        "intensities",
        "Intensity percentiles that become 0 and 1.",
        good=lambda value: 0 <= value[0] < value[1] <= 100,
        limits="must be two rising numbers between 0 and 100",
        metavar="LOW HIGH",
    )
    levels: tuple[float, float] | None = row(
        None,
        "pair",
        "intensities",
        "Grey levels that become 0 and 1, in place of percentiles.",
        good=lambda value: value[0] < value[1],
        limits="must be two rising numbers, the grey levels of black and white",
        metavar="LOW HIGH",
    )
    cellprob_threshold: float = row(
        0.0,
        "number",
        "masks",
        "Least logit of foreground: lower finds more, and larger nuclei.",
        good=lambda value: -100 <= value <= 100,
        limits="must be -100 to 100",
        common=True,
        widget=(-10, 10, 0.5),
    )
    flow_threshold: float = row(
        0.0,
        "number",
        "masks",
        "Largest flow error of a mask in 2-D; 0 keeps every mask.",
        good=lambda value: value >= 0,
        limits="must not be negative (0 switches the check off)",
        widget=(0, 10, 0.1),
    )
    min_flow: float | None = row(
        None,
        "number",
        "masks",
        "Objects of less mean flow are removed: 1 is sure; 0.55 in mode 3d, else 0.4; 0 keeps all.",
        good=lambda value: 0 <= value <= 2,
        limits="must be 0 to 2 (0 keeps every object)",
        widget=(-0.05, 2, 0.05),
    )
    min_size: int | None = row(
        None,
        "whole",
        "masks",
        "Objects of fewer voxels are removed; a tenth of a disc or ball by default.",
        good=lambda value: value >= 0,
        limits="must not be negative",
        common=True,
        widget=(-1, 10_000_000, 1),
    )
    max_size_fraction: float = row(
        0.9,
        "number",
        "masks",
        "Objects that fill more than this part of the image are removed, with a warning.",
        good=lambda value: 0 < value <= 1,
        limits="must be above 0 and at most 1",
    )
    niter: int | None = row(
        None,
        "whole",
        "masks",
        "Most steps along the flow; from the diameter by default.",
        good=lambda value: value >= 1,
        limits="must be at least 1",
    )
    stitch_threshold: float = row(
        0.25,
        "number",
        "masks",
        "Least overlap (IoU) that links planes, in mode stitch.",
        good=lambda value: 0 < value <= 1,
        limits="must be above 0 and at most 1",
    )
    resize_factor: int = row(
        1,
        "whole",
        "masks",
        "2 makes masks from fields of half the size: faster, with rougher outlines.",
        good=lambda value: value in {1, 2},
        limits="must be 1 or 2",
    )
    tile: int | None = row(
        None,
        "whole",
        "network",
        "Largest tile edge, network pixels; from the model by default.",
        good=lambda value: value >= 64 and value % 8 == 0,
        limits="must be a multiple of 8 and at least 64",
    )
    overlap: int | None = row(
        None,
        "whole",
        "network",
        "Least overlap of tiles, network pixels; from the model by default.",
        good=lambda value: value >= 0,
        limits="must be 0 to half of tile",
    )
    slice_spacing: float = row(
        2.1,
        "number",
        "network",
        "Planes within so many network pixels are averaged to one slice, in mode 3d.",
        good=lambda value: 0 <= value <= 8,
        limits="must be 0 to 8 network pixels",
    )
    empty_margin: float = row(
        3.0,
        "number",
        "network",
        "Skip the side views where the XY view is more than this below the threshold; "
        "0 computes everything.",
        good=lambda value: value >= 0,
        limits="must not be negative (0 computes every tile)",
    )
    augment: bool | None = row(
        None,
        "switch",
        "network",
        "Mean over mirror images, in 2-D at four scales; by default but for 3d.",
    )

    def __post_init__(self) -> None:
        for name, about in ROWS.items():
            optional = DEFAULTS[name] is None
            value = plain_value(name, about, getattr(self, name), optional=optional)
            object.__setattr__(self, name, value)
        if self.overlap is not None and self.overlap > (self.tile or math.inf) / 2:
            raise SettingsError(f"overlap {ROWS['overlap'].limits}")

    def as_dict(self) -> dict[str, Any]:
        """Return the settings as plain values, ready for JSON."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self).items()
        }


ROWS: dict[str, Row] = {about.name: about.metadata["row"] for about in fields(Settings)}
"""The row of each setting, by name."""

DEFAULTS: dict[str, Any] = {about.name: about.default for about in fields(Settings)}
"""What each setting is where a call leaves it out; None is filled in from image, model or diameter."""

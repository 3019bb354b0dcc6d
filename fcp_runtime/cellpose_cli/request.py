"""What a command line of Cellpose asks for, in our terms."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fcp_runtime.cellpose_cli.axes import AxisChoice
from fcp_runtime.cellpose_cli.images import find_images
from fcp_runtime.cellpose_cli.models import ModelChoice, choose_model
from fcp_runtime.cellpose_cli.options import OPTIONS
from fcp_runtime.errors import FcpWarning, InputError, SettingsError
from fcp_runtime.settings import Options, Settings

if TYPE_CHECKING:
    from collections.abc import Mapping

SUFFIX = "_cp_masks"
SCALED = (0.0, 1.0)
"""Black and white of an image that the caller has scaled."""

VIEWS = 3
"""Views whose logits Cellpose adds up in 3-D; ours is their mean."""


@dataclass(frozen=True)
class Wanted:
    """Which files are written, and where.

    Attributes
    ----------
    kinds : frozenset of str
        Of ``"png"``, ``"tif"``, ``"flows"``, ``"outlines"``, ``"txt"``, ``"rois"``, ``"npy"``.
    suffix : str
        Between the image's name and the suffix of its mask.
    savedir : Path or None
        In place of the image's folder.
    dir_above, in_folders : bool
    """

    kinds: frozenset[str]
    suffix: str
    savedir: Path | None
    dir_above: bool
    in_folders: bool


@dataclass(frozen=True)
class Request:
    """A run.

    Attributes
    ----------
    images : tuple of Path
    model : ModelChoice
    axes : AxisChoice
    invert, exclude_on_edges : bool
    options : Options
        Settings of each segmentation.
    wanted : Wanted
    """

    images: tuple[Path, ...]
    model: ModelChoice
    axes: AxisChoice
    invert: bool
    exclude_on_edges: bool
    options: Options
    wanted: Wanted


def read_request(given: Mapping[str, Any]) -> Request:
    """Make a request of options.

    Parameters
    ----------
    given : mapping of str to object
        The options of Cellpose by name; None and False where they are not given.

    Returns
    -------
    Request

    Raises
    ------
    SettingsError
        If an option cannot be served, or contradicts another.
    InputError
        If there is no image.
    ModelError
        If there is no such model.
    """
    check_options(given)
    model = choose_model(given["pretrained_model"])
    volume = bool(given["do_3D"]) or (given["stitch_threshold"] or 0.0) > 0
    options = _settings(given)
    Settings(**options)
    images = tuple(_images(given))
    return Request(
        images=images,
        model=model,
        axes=AxisChoice(volume, given["channel_axis"], given["z_axis"], _channel(given, model)),
        invert=bool(given["invert"]),
        exclude_on_edges=bool(given["exclude_on_edges"]),
        options=options,
        wanted=_wanted(given, images, volume=volume),
    )


def check_options(given: Mapping[str, Any]) -> None:
    """Refuse what would change the result in a way that cannot be had; name what is ignored.

    Raises
    ------
    SettingsError
        With the reason.
    """
    stated = [option for option in OPTIONS if given.get(option.name) not in (None, False)]
    for option in stated:
        if option.fate == "refused":
            raise SettingsError(f"{option.flag}: {option.does.replace('`', '')}")
    if str(given["restore_type"]).startswith("upsample"):
        raise SettingsError("--restore_type upsample_...: images cannot be enlarged here")
    if any(value not in {"0", "0.0"} for value in str(given["flow3D_smooth"] or "0").split()):
        raise SettingsError("--flow3D_smooth: paths cannot be smoothed here; leave it out")
    left = [option.flag for option in stated if option.fate in {"ignored", "training"}]
    if left:
        warnings.warn(f"no effect here: {', '.join(left)}", FcpWarning, stacklevel=2)


def _images(given: Mapping[str, Any]) -> list[Path]:
    if given["dir"]:
        return find_images(
            Path(given["dir"]),
            mask_filter=given["mask_filter"] or "_masks",
            img_filter=given["img_filter"] or "",
            one_level_down=bool(given["look_one_level_down"]),
        )
    if not given["image_path"]:
        raise SettingsError(
            "give --dir or --image_path; Cellpose's window opens here, ours is a napari plugin"
        )
    image = Path(given["image_path"])
    if not image.is_file():
        raise InputError(f"--image_path {image}: no such file")
    return [image]


def _channel(given: Mapping[str, Any], model: ModelChoice) -> int:
    """Return the channel of nuclei, from 1; 0 for the mean of all."""
    channel, nuclei = given["chan"] or 0, given["chan2"] or 0
    if channel < 0 or nuclei < 0:
        raise SettingsError("--chan and --chan2 count from 1; 0 is the mean of all, or none")
    if not nuclei or not model.differs:
        return int(channel)
    warnings.warn(
        f"channel {nuclei} (--chan2, nuclei) is segmented, not --chan {channel}",
        FcpWarning,
        stacklevel=3,
    )
    return int(nuclei)


def _wanted(given: Mapping[str, Any], images: tuple[Path, ...], *, volume: bool) -> Wanted:
    kinds = {
        kind for kind in ("png", "tif", "flows", "outlines", "txt", "rois") if given[f"save_{kind}"]
    }
    if volume and "png" in kinds and "tif" not in kinds:
        raise SettingsError("--save_png: a stack cannot be a PNG; use --save_tif")
    savedir = Path(given["savedir"]) if given["savedir"] else None
    if savedir is not None and not savedir.is_dir():
        raise SettingsError(f"--savedir {savedir}: does not exist; make it first")
    suffix = SUFFIX if given["output_name"] is None else given["output_name"]
    if not suffix and (savedir is None or any(savedir.samefile(file.parent) for file in images)):
        suffix = SUFFIX  # masks must not replace the images
    if not given["no_npy"]:
        kinds.add("npy")
    return Wanted(
        frozenset(kinds), suffix, savedir, bool(given["dir_above"]), bool(given["in_folders"])
    )


def _settings(given: Mapping[str, Any]) -> Options:
    """Return settings; what is not given is ours."""
    three, stitch = bool(given["do_3D"]), given["stitch_threshold"] or 0.0
    threshold, smallest = given["cellprob_threshold"], given["min_size"]
    stated = {
        "stitch_threshold": stitch if stitch > 0 and not three else None,
        "diameter": given["diameter"] or None,
        "anisotropy": given["anisotropy"],
        "flow_threshold": given["flow_threshold"],
        "cellprob_threshold": threshold / VIEWS if three and threshold is not None else threshold,
        "min_size": None if smallest is None else max(0, smallest),
        "niter": given["niter"] or None,
        "percentiles": given["norm_percentile"],
        "levels": SCALED if given["no_norm"] and given["norm_percentile"] is None else None,
        "augment": given["augment"] or None,
        "mode": "3d" if three else "stitch" if stitch > 0 else "2d",
    }
    return Options(**{name: value for name, value in stated.items() if value is not None})  # type: ignore[typeddict-item,no-any-return]

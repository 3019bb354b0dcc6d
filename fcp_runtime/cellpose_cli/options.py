"""The options of Cellpose 2, 3 and 4, and what each does here: one row an option.

The rows feed the parser, the refusals, the warnings and the table of ``docs/cellpose.md``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import click

Kind = Literal["flag", "text", "whole", "number", "pair", "numbers"]
Fate = Literal["used", "ignored", "training", "refused"]


@dataclass(frozen=True)
class CellposeOption:
    """An option of Cellpose.

    Attributes
    ----------
    name : str
        As it is written, without the dashes.
    kind : {"flag", "text", "whole", "number", "pair", "numbers"}
        ``pair``: two numbers; ``numbers``: one or more.
    fate : {"used", "ignored", "training", "refused"}
        Ignored options are named in one warning; those of training in the same one, for Cellpose
        reads them with ``--train`` alone.
    does : str
        What it does here, or why it is ignored or refused: a main clause without its full stop.
    """

    name: str
    kind: Kind
    fate: Fate
    does: str

    @property
    def flag(self) -> str:
        """The option as it is written."""
        return f"--{self.name}"


def _rows(kind: Kind, fate: Fate, **words: str) -> tuple[CellposeOption, ...]:
    return tuple(CellposeOption(name, kind, fate, does) for name, does in words.items())


OPTIONS: tuple[CellposeOption, ...] = (
    *_rows(
        "flag",
        "used",
        version="prints the version in the form of Cellpose's and ends",
        verbose="prints progress, and writes it to `~/.cellpose/run.log`, where TrackMate reads it",
    ),
    *_rows(
        "text",
        "used",
        dir="folder of images; masks, flows and outlines of earlier runs are left out",
        image_path="one image, without `--dir`",
        img_filter="takes only images whose names end so, before the suffix",
        mask_filter="leaves out images whose names end so, `_masks` by default",
        pretrained_model="network: see below",
        savedir="existing folder of the masks, in place of that of the image",
        output_name="what follows the image's name in that of the mask, `_cp_masks` by default",
    ),
    *_rows(
        "flag",
        "used",
        look_one_level_down="takes the images of the folder's folders, too",
        invert="dark nuclei on a bright ground",
        no_norm="grey levels 0 and 1 are black and white, for images that the caller has scaled",
        do_3D="one 3-D segmentation of a stack",
        exclude_on_edges="removes objects that touch the border, in z too",
        augment="mean over mirror images; in 2-D we do so by default",
        save_png="`X_cp_masks.png`, 16 bits; written for an image without objects, too",
        save_tif="`X_cp_masks.tif`",
        no_npy="does not write `X_seg.npy`",
        dir_above="writes to the folder above the image's",
        in_folders="writes to `masks/`, `outlines/`, `txt_outlines/`, `flows/`",
        save_flows="`X_flows_cp_masks.tif` (colours) and `X_dP_cp_masks.tif`, of images",
        save_outlines="`X_outlines_cp_masks.png`: red outlines over the image, of images",
        save_rois="`X_rois.zip` for ImageJ; needs the extra `lab`",
        save_txt="`X_cp_outlines.txt`, of images",
    ),
    *_rows(
        "whole",
        "used",
        channel_axis="which axis of the file, from 0, is the channel",
        z_axis="which axis of the file, from 0, is z",
        chan="channel to segment, from 1; 0 is the mean of all",
        chan2="nuclear channel, from 1: it is segmented in place of `--chan` unless the model is `nuclei`",
        min_size="least pixels of an object, -1 for none; by default a tenth of a disc or ball",
        niter="most steps of a path; 0: from the diameter",
    ),
    *_rows(
        "number",
        "used",
        diameter="mean diameter in pixels; 0, `None` or no option: estimated",
        anisotropy="spacing of planes / spacing of pixels; by default from the file",
        stitch_threshold="above 0: planes are segmented by themselves and linked at that overlap",
        flow_threshold="largest flow error of a mask in 2-D, 0 for no check; by default we use none",
        cellprob_threshold="least logit; in 3-D the sum of three views, as in Cellpose",
    ),
    *_rows("pair", "used", norm_percentile="percentiles that become 0 and 1"),
    *_rows(
        "flag",
        "ignored",
        use_gpu="all runs on the CPU",
        check_mkl="there is no torch",
        mxnet="there is no torch",
        net_avg="there is one network",
        no_net_avg="there is one network",
        fast_mode="there is one network",
        all_channels="the mean of all channels is segmented, as for `--chan 0`",
        chan2_restore="images are not restored",
        transformer="networks are ours",
        no_resample="masks are always made at the size of the image",
        no_interp="paths are always interpolated",
        save_mpl="figures are `fcp-run --preview`",
        save_ncolor="labels are not coloured",
    ),
    *_rows(
        "text",
        "ignored",
        gpu_device="all runs on the CPU",
        pretrained_model_ortho="one network sees all views",
        restore_type="images are not restored; `upsample_...` is refused, for its masks are larger",
    ),
    *_rows(
        "whole",
        "ignored",
        batch_size="tiles go one by one to each core",
        bsize="tiles are as large as suits the network",
    ),
    *_rows("numbers", "ignored", flow3D_smooth="0 only: paths are not smoothed"),
    *_rows("flag", "refused", train="networks are trained by `fcp-distill`"),
    *_rows("flag", "refused", train_size="networks are trained by `fcp-distill`"),
    *_rows("flag", "refused", omni="there is no Omnipose here"),
    *_rows("flag", "refused", Zstack="the window is a napari plugin; give `--dir`"),
    *_rows("text", "refused", add_model="give the path of an ONNX network as `--pretrained_model`"),
    *(
        row
        for kind, names in (
            ("text", ("test_dir", "file_list", "model_name_out")),
            ("flag", ("save_each", "unet")),
            ("whole", ("n_epochs", "train_batch_size", "nimg_per_epoch", "nimg_test_per_epoch")),
            ("whole", ("min_train_masks", "SGD", "save_every", "nclasses", "residual_on")),
            ("whole", ("style_on", "concatenation")),
            ("number", ("learning_rate", "weight_decay", "diam_mean")),
        )
        for row in _rows(kind, "training", **dict.fromkeys(names, "for training"))  # type: ignore[arg-type]
    ),
)
BY_NAME = {option.name: option for option in OPTIONS}


def number_or_none(text: str) -> float | None:
    """Return a number; None for ``None``, as CellProfiler writes what its user did not state.

    >>> number_or_none("0.5"), number_or_none("None")
    (0.5, None)
    """
    return None if text == "None" else float(text)


TYPES: dict[Kind, dict[str, Any]] = {
    "flag": {"is_flag": True},
    "text": {"type": str},
    "whole": {"type": int},
    "number": {"type": number_or_none},
    "pair": {"type": (float, float)},
    "numbers": {"type": str},
}


class CellposeCommand(click.Command):
    """A command whose arguments are written as for Python and argparse.

    QuPath calls ``python -Xutf8 -W ignore -m cellpose ...``: pointed at this command in place of
    Python, it sends what comes before ``--`` options, too.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments in the form that click knows."""
        return super().parse_args(ctx, joined_numbers(without_interpreter(args)))


def without_interpreter(args: list[str]) -> list[str]:
    """Return arguments without those of the Python interpreter before ``-m cellpose``.

    >>> without_interpreter(["-Xutf8", "-W", "ignore", "-m", "cellpose", "--dir", "x"])
    ['--dir', 'x']
    >>> without_interpreter(["--dir", "-m"])
    ['--dir', '-m']
    """
    for place in range(len(args) - 1):
        if args[place].startswith("--"):
            break
        if args[place : place + 2] == ["-m", "cellpose"]:
            return args[place + 2 :]
    return args


def joined_numbers(args: list[str]) -> list[str]:
    """Return arguments with the values of an option that takes several as one, joined by spaces.

    >>> joined_numbers(["--flow3D_smooth", "2", "1", "1", "--do_3D"])
    ['--flow3D_smooth', '2 1 1', '--do_3D']
    """
    several = {option.flag for option in OPTIONS if option.kind == "numbers"}
    joined: list[str] = []
    rest = list(args)
    while rest:
        joined.append(rest.pop(0))
        if joined[-1] in several:
            values = []
            while rest and not rest[0].startswith("--"):
                values.append(rest.pop(0))
            joined += [" ".join(values)] if values else []
    return joined

"""Which images a command line means, and where the results of each go."""

from __future__ import annotations

import glob
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fcp_runtime.errors import FcpError, InputError, OutputError, SettingsError
from fcp_runtime.io.formats import SUFFIXES, image_suffix
from fcp_runtime.outputs.bundle import check_targets, written_files
from fcp_runtime.outputs.kinds import BY_KIND
from fcp_runtime.outputs.label_files import label_format

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fcp_runtime.outputs.bundle import Targets

MASK_ENDING = "_masks.tif"
OUR_ENDINGS = (
    *("_masks.png", "_masks.npy"),
    *(row.ending for row in BY_KIND.values() if row.ending.endswith((".png", ".npy"))),
)
"""How results of ours end that could be taken for images."""

INDEX = "index.html"
MARK = "cellprob_threshold"
"""A setting: its name is in the metadata of every TIFF that we write."""


@dataclass(frozen=True)
class Job:
    """One image and where its results go.

    Attributes
    ----------
    image : Path
    mask : Path
        The label TIFF.
    targets : Targets
        The other outputs, by kind.
    """

    image: Path
    mask: Path
    targets: Targets = field(default_factory=dict)

    @property
    def files(self) -> list[Path]:
        """Every file that the job writes."""
        return [self.mask, *written_files(self.targets)]

    @property
    def done(self) -> bool:
        """Whether all of them exist."""
        return all(os.path.exists(file) for file in self.files)  # noqa: PTH110 - never raises


def clear_old(job: Job) -> None:
    """Remove what an earlier run left of a job's outputs but the mask, which is replaced first.

    A run that is killed between two outputs would else leave the results of two settings side by
    side, which a later one takes for whole (``--skip-existing``).

    Raises
    ------
    OutputError
        If a file cannot be removed.
    """
    for file in job.files[1:]:
        try:
            if file.is_file():
                file.unlink()
        except OSError as error:
            raise OutputError(f"{file}: cannot be replaced: {error.strerror}") from error


def plan_jobs(
    inputs: Sequence[Path],
    output: Path | None,
    targets: Targets,
    *,
    shared: Sequence[Path] = (),
    skip_existing: bool = False,
) -> list[Job]:
    """Pair every image with its outputs.

    Parameters
    ----------
    inputs : sequence of Path
        Images, folders, or patterns with wildcards.
    output : Path or None
        File or folder of the mask.
    targets : Targets
        Files or folders of each other output, by kind. A name with ``{name}`` in it stands for one
        file per image, as a folder does.
    shared : sequence of Path
        Files of the whole run.
    skip_existing : bool
        Jobs whose files all exist write nothing.

    Returns
    -------
    list of Job
        Without masks and flows of an earlier run that a job of the same list writes again, where a
        folder or pattern brought them.

    Raises
    ------
    click.UsageError
        If there is no input or no output.
    InputError
        If a folder holds no image, or a pattern fits none.
    OutputError
        If several results would be written to one file, a folder is missing or may not be
        written, or a format is not known.
    MissingExtraError
        If an output needs a library that is missing.
    SettingsError
        If the output is one of the inputs.
    """
    if not inputs:
        raise click.UsageError("Missing argument 'INPUT...' (or use --demo).")
    if output is None:
        raise click.UsageError("Missing option '-o' / '--output'.")
    found = {path: expand(path) for path in inputs}
    images = [image for path in inputs for image in found[path]]
    several = len(images) > 1 or any(path.is_dir() for path in inputs)
    jobs = [
        Job(
            image,
            place(output, image, MASK_ENDING, several=several),
            {
                kind: tuple(
                    path
                    if BY_KIND[kind].folder and not several
                    else place(path, image, BY_KIND[kind].ending, several=several)
                    for path in paths
                )
                for kind, paths in targets.items()
            },
        )
        for image in images
    ]
    ours = {os.path.realpath(file) for job in jobs for file in job.files}
    jobs = [
        job
        for job in jobs
        if job.image in inputs
        or os.path.realpath(job.image) not in ours
        or not holds_settings(job.image)
    ]
    check_jobs(jobs, [*index_pages(jobs), *shared], skip_existing=skip_existing)
    return jobs


def split_joined(
    inputs: Sequence[Path], targets: Targets, *, skip_existing: bool
) -> tuple[Targets, tuple[Path, ...]]:
    """Set the tables apart that are one file for several inputs.

    Returns
    -------
    targets : Targets
        Without them.
    joined : tuple of Path

    Raises
    ------
    OutputError
        If a table has an unknown suffix, or inputs that are skipped would be missing in it.
    MissingExtraError
        If a format needs a library that is missing.
    """
    if sum(len(expand(path)) for path in inputs) < 2 and not any(map(Path.is_dir, inputs)):
        return targets, ()
    tables = targets.get("table", ())
    joined = tuple(path for path in tables if "{name}" not in path.name and not path.is_dir())
    check_targets({"table": joined})
    if joined and skip_existing:
        raise OutputError(
            f"{joined[0]}: inputs that --skip-existing leaves out would be missing in one table for "
            "all; name a folder, for a table of each input"
        )
    others = {kind: paths for kind, paths in targets.items() if kind != "table"}
    apart = tuple(path for path in tables if path not in joined)
    return others | ({"table": apart} if apart else {}), joined


def expand(path: Path) -> list[Path]:
    """Return the images of a folder, the files that fit a pattern, or the file itself."""
    if os.path.isdir(path):  # noqa: PTH112 - never raises
        found = sorted(file for file in path.iterdir() if is_image(file))
        if not found:
            raise InputError(f"{path}: no image ({', '.join(SUFFIXES)}) in this folder")
        return found
    if os.path.exists(path) or not glob.has_magic(str(path)):  # noqa: PTH110
        return [path]
    fitting = glob.glob(str(path), recursive=True)  # noqa: PTH207 - Path.glob takes no absolute one
    found = sorted(file for file in map(Path, fitting) if file.is_file())
    if not found:
        raise InputError(f"{path}: no file fits this pattern")
    return found


def is_image(file: Path) -> bool:
    """Return whether a file of a folder is an image by its name, and no picture or array of ours.

    Hidden ones are notes of macOS (._a.tif) and what a killed run left behind. TIFFs of ours say in
    themselves that they are, other results by their names alone.
    """
    if image_suffix(file.name) is None or file.name.startswith("."):
        return False
    return not file.name.lower().endswith(OUR_ENDINGS)


def left_out(paths: Sequence[Path]) -> list[str]:
    """Return the names of files in the folders among ``paths`` that are no images, in order.

    Hidden ones are left out, as are results of ours.
    """
    endings = (*OUR_ENDINGS, *(output.ending for output in BY_KIND.values()))
    return sorted(
        file.name
        for path in paths
        if path.is_dir()
        for file in path.iterdir()
        if file.is_file()
        and not is_image(file)
        and not file.name.startswith(".")
        and not file.name.lower().endswith(endings)
    )


def place(path: Path, image: Path, ending: str, *, several: bool) -> Path:
    """Return the file for one image's output.

    Raises
    ------
    OutputError
        If there are several images and ``path`` is one file.
    """
    if "{name}" in path.name:
        return path.with_name(path.name.replace("{name}", stem(image)))
    if path.is_dir():
        return path / f"{stem(image)}{ending}"
    if several:
        raise OutputError(
            f"{path}: for several inputs this must be an existing folder; make it first "
            "(or put {name} into the file's name)"
        )
    return path


def holds_settings(path: Path) -> bool:
    """Return whether a TIFF is a result of ours: it says with which settings it was made."""
    from fcp_runtime.io.formats import stored_image

    try:
        with stored_image(path, str(path)) as stored:
            return MARK in stored.settings_text
    except FcpError:
        return False


def index_pages(jobs: Sequence[Job]) -> list[Path]:
    """Return the page that lists the reports, in each folder of reports; none for one job."""
    if len(jobs) == 1:
        return []
    folders = dict.fromkeys(page.parent for job in jobs for page in job.targets.get("report", ()))
    return [folder / INDEX for folder in folders]


def check_jobs(jobs: Sequence[Job], shared: Sequence[Path], *, skip_existing: bool) -> None:
    """Refuse outputs that cannot be written, or that would replace each other or an input.

    Parameters
    ----------
    jobs : sequence of Job
    shared : sequence of Path
        Files of the whole run.
    skip_existing : bool
        Jobs whose files all exist write nothing, so that their folders need not be writable.
    """
    # os.path: a name that is too long, or a folder without permission, is no file here
    inputs = {os.path.realpath(job.image) for job in jobs if os.path.exists(job.image)}  # noqa: PTH110
    taken: set[str] = set()
    for job in jobs:
        label_format(job.mask)
        check_targets(job.targets)
    skipped = {file for job in jobs if skip_existing and job.done for file in job.files}
    for file in [*(file for job in jobs for file in job.files), *shared]:
        if file not in skipped:
            check_folder(file)
        real = os.path.realpath(file)
        if real in inputs:
            raise SettingsError(f"{file}: the output would replace the input; choose another")
        if real in taken:
            raise OutputError(
                f"{file}: two results would be written here; run them apart or name them apart"
            )
        taken.add(real)


def check_folder(path: Path) -> None:
    """Raise OutputError if a file is a device, or its folder is missing or may not be written."""
    target = Path(os.path.realpath(path))  # where a link leads
    folder = target.parent
    if not folder.is_dir():
        raise OutputError(f"{path}: the folder {folder} does not exist; make it first")
    if not os.access(folder, os.W_OK):
        raise OutputError(
            f"{path}: the folder {folder} may not be written; change its permissions or choose another"
        )
    if os.path.exists(target) and not (target.is_file() or target.is_dir()):  # noqa: PTH110
        raise OutputError(f"{path}: is a device or a pipe, not a file; give the name of a file")


def stem(image: Path) -> str:
    """Return the file's name without the suffix of its format, such as ``.ome.tif``."""
    suffix = image_suffix(image.name)
    return image.stem if suffix is None else image.name[: -len(suffix)]

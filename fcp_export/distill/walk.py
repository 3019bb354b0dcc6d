"""From a manifest to a trained network: the walks of ``fcp-distill``, each on one page."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from fcp_export.architectures.networks import build
from fcp_export.data.cache import fingerprint, label, teach
from fcp_export.data.patches import PLAIN, Sampler
from fcp_export.data.rows import all_slices, digest_of, proven_rows, train_rows
from fcp_export.data.slices import PHANTOM, exact_labels, split_groups
from fcp_export.distill.loop import TEACHER, Run
from fcp_export.export import read_state
from fcp_export.provenance import file_digest, provenance_of_run
from fcp_export.teacher import from_cellpose, load_cellpose, with_new_doubling
from fcp_runtime.errors import InputError
from fcp_runtime.evaluate.manifest import GROUPS

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from fcp_export.architectures.networks import CellposeNet
    from fcp_export.data.cache import Taught
    from fcp_export.data.rows import DataSettings
    from fcp_export.distill.settings import DistillSettings
    from fcp_runtime.evaluate.manifest import Row
    from fcp_runtime.machine.workers import Progress

VALIDATION_BATCH = 8
"""Patches of a validation batch, whatever the batch size of training: scores stay comparable."""


def starting_net(settings: DistillSettings, init: Path | None) -> CellposeNet:
    """Return the network a run begins with, at the diameter of its data.

    Parameters
    ----------
    settings : DistillSettings
    init : Path or None
        A checkpoint to start from, as ``fcp-export`` reads, or for ``upsample`` one of Cellpose;
        None: random weights from the seed.
    """
    torch.manual_seed(settings.seed)
    if init is None:
        return build(settings.student, settings.data.diameter)
    net = initial_net(settings.student, init)
    for constant in (net.diam_mean, net.diam_labels):
        constant.data.fill_(settings.data.diameter)
    return net


def initial_net(student: str, init: Path) -> CellposeNet:
    """Return a checkpoint's network; what it cannot have of ``upsample`` is drawn at random."""
    return from_cellpose(with_new_doubling(read_state(init), student), student, name=str(init))


def usual_diameter(student: str, teacher: Path, init: Path | None) -> float:
    """Return the diameter that the network a run begins with has learnt, else its teacher's."""
    net = load_cellpose(teacher) if init is None else initial_net(student, init)
    return float(net.diam_mean)


def taught_slices(
    rows: Sequence[Row], data: DataSettings, teacher: CellposeNet, cache: Path, progress: Progress
) -> list[Taught]:
    """Return the slices of rows and phantoms with the maps that a student is to learn.

    Parameters
    ----------
    rows : sequence of Row
        From `fcp_export.data.rows.train_rows`.
    data : DataSettings
    teacher : CellposeNet
    cache : Path
        Folder of the teacher's maps.
    progress : Progress
    """
    slices = all_slices(rows, data, progress)
    return teach(slices, teacher, cache, label_share=data.label_share, diameter=data.diameter)


def distil(
    folder: Path,
    settings: DistillSettings,
    manifest: Path,
    teacher: Path,
    *,
    init: Path | None,
    cache: Path | None,
    resume: bool,
    progress: Progress,
) -> Run:
    """Distil a student from a teacher on the train rows of a manifest.

    Parameters
    ----------
    folder : Path
        Of the run.
    settings : DistillSettings
    manifest, teacher : Path
    init : Path or None
        See `starting_net`.
    cache : Path or None
        For the teacher's maps; None is ``folder/teacher``.
    resume : bool
    progress : Progress
    """
    rows = train_rows(manifest, settings.data)
    net = load_cellpose(teacher)
    run = Run(folder, settings, starting_net(settings, init), resume=resume)
    known = provenance_of_run(rows, settings, f"{teacher.name} ({fingerprint(net)})", init)
    planes = proven_rows(rows, manifest)
    run.made_from(teacher=fingerprint(net), manifest=digest_of(planes))
    if init is not None:
        run.made_from(init=file_digest(init))
    taught = taught_slices(rows, settings.data, net, cache or folder / "teacher", progress)
    held = split_groups(members(taught), settings.data.validation)
    run.write_rows(planes, held)
    train_on(run, taught, held, progress)
    run.write_provenance(known)
    return run


def fine_tune(
    folder: Path,
    settings: DistillSettings,
    manifest: Path,
    init: Path,
    *,
    resume: bool,
    progress: Progress,
) -> Run:
    """Fine-tune a Cellpose checkpoint on the labelled train rows of a manifest: a teacher.

    Targets are the flows and insides of the exact labels (Stringer et al. 2021), flows of length
    5. Parameters as in `distil`.

    Raises
    ------
    InputError
        If no row has complete labels.
    """
    settings = replace(settings, student=TEACHER)
    rows = train_rows(manifest, settings.data)
    labelled = [row for row in rows if exact_labels(row) is not None]
    if not labelled:
        raise InputError(
            f"{manifest}: a teacher learns from labels alone, and none of the {len(rows)} rows to "
            "learn from has complete ones; fill in the column label"
        )
    started_from = fingerprint(load_cellpose(init))
    known = provenance_of_run(
        labelled, settings, f"labels; started from {init.name} ({started_from})", init
    )
    run = Run(folder, settings, starting_net(settings, init), resume=resume)
    planes = proven_rows(labelled, manifest)
    run.made_from(init=file_digest(init), manifest=digest_of(planes))
    taught = label(all_slices(labelled, settings.data, progress))
    held = split_groups(members(taught), settings.data.validation)
    run.write_rows(planes, held)
    train_on(run, taught, held, progress)
    run.write_provenance(known)
    return run


def members(taught: Sequence[Taught]) -> list[tuple[str, str]]:
    """Return source and group of each set of slices."""
    return [(item.slices.source, item.slices.group) for item in taught]


def train_on(run: Run, taught: Sequence[Taught], held: Collection[str], progress: Progress) -> None:
    """Train a run on what is not held back, and validate it on what is.

    Raises
    ------
    InputError
        If one of the two is empty.
    """
    train = [item for item in taught if item.slices.group not in held]
    check = [item for item in taught if item.slices.group in held]
    if not train or not check:
        groups = sorted({group for source, group in members(taught) if source != PHANTOM})
        named = ", ".join(groups[:3] + ["..."] * (len(groups) > 3)) or "no group"
        raise InputError(
            f"{run.folder}: number of groups whose slices show nuclei: {len(groups)} ({named}). One "
            "source must have two, so that one of them can be kept for validation. Add images, or "
            f"mend the column note: {GROUPS}"
        )
    run.train(
        Sampler(train, run.settings.augmentation, run.settings.batch_size),
        Sampler(check, PLAIN, VALIDATION_BATCH),
        progress,
    )

"""From a manifest to a trained network, step by step: what the commands of ``fcp-distill`` do."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from fcp_export.architectures.networks import build
from fcp_export.data.augmentation import PLAIN
from fcp_export.data.cache import fingerprint, label_targets, make_targets
from fcp_export.data.patches import Sampler
from fcp_export.data.rows import all_slices, check_leakage, digest_of, train_rows
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

    from fcp_export.architectures.networks import Network
    from fcp_export.data.cache import Targets
    from fcp_export.data.rows import DataSettings
    from fcp_export.distill.settings import DistillSettings
    from fcp_runtime.evaluate.manifest import Row
    from fcp_runtime.machine.workers import Progress

NUCLEI_DIAMETER = 17.0
"""Of nuclei as Cellpose's networks see them, pixels."""

VALIDATION_BATCH = 8
"""Patches of a validation batch, whatever the batch size of training: scores stay comparable."""


def starting_net(settings: DistillSettings, init: Path | None) -> Network:
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


def initial_net(student: str, init: Path) -> Network:
    """Return a checkpoint's network; what it cannot have of ``upsample`` is drawn at random."""
    return from_cellpose(with_new_doubling(read_state(init), student), student, name=str(init))


def usual_diameter(student: str, teacher: Path | None, init: Path | None) -> float:
    """Return the diameter of the network a run begins with, else its teacher's, else Cellpose's."""
    if init is not None:
        return float(initial_net(student, init).diam_mean)
    return NUCLEI_DIAMETER if teacher is None else float(load_cellpose(teacher).diam_mean)


def distillation_targets(
    rows: Sequence[Row], data: DataSettings, teacher: Network, cache: Path, progress: Progress
) -> list[Targets]:
    """Return the slices of rows and phantoms with the maps that a student is to learn.

    Parameters
    ----------
    rows : sequence of Row
        From `fcp_export.data.rows.train_rows`.
    data : DataSettings
    teacher : Network
    cache : Path
        Folder of the teacher's maps.
    progress : Progress
    """
    slices = all_slices(rows, data, progress)
    return make_targets(
        slices, teacher, cache, label_share=data.label_share, diameter=data.diameter
    )


def distil(
    folder: Path,
    settings: DistillSettings,
    manifest: Path,
    teacher: Path | None,
    *,
    init: Path | None,
    cache: Path | None,
    resume: bool,
    progress: Progress,
) -> Run:
    """Distil a student from a teacher, or train it from labels, on the train rows of a manifest.

    Parameters
    ----------
    folder : Path
        Of the run.
    settings : DistillSettings
    manifest : Path
    teacher : Path or None
        None learns from exact labels alone; rows without complete ones are left out.
    init : Path or None
        See `starting_net`.
    cache : Path or None
        For the teacher's maps; None is ``folder/teacher``.
    resume : bool
    progress : Progress
    """
    rows = train_rows(manifest, settings.data)
    if teacher is None:
        rows = labelled_rows(rows, manifest)
    run = Run(folder, settings, starting_net(settings, init), resume=resume)
    planes = check_leakage(rows, manifest)
    run.made_from(manifest=digest_of(planes))
    if init is not None:
        run.made_from(init=file_digest(init))
    if teacher is None:
        known = provenance_of_run(rows, settings, "labels", init)
        targets = label_targets(all_slices(rows, settings.data, progress))
    else:
        net = load_cellpose(teacher)
        run.made_from(teacher=fingerprint(net))
        known = provenance_of_run(rows, settings, f"{teacher.name} ({fingerprint(net)})", init)
        targets = distillation_targets(
            rows, settings.data, net, cache or folder / "teacher", progress
        )
    held = split_groups(members(targets), settings.data.validation)
    run.write_rows(planes, held)
    train_on(run, targets, held, progress)
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
    labelled = labelled_rows(train_rows(manifest, settings.data), manifest)
    started_from = fingerprint(load_cellpose(init))
    known = provenance_of_run(
        labelled, settings, f"labels; started from {init.name} ({started_from})", init
    )
    run = Run(folder, settings, starting_net(settings, init), resume=resume)
    planes = check_leakage(labelled, manifest)
    run.made_from(init=file_digest(init), manifest=digest_of(planes))
    targets = label_targets(all_slices(labelled, settings.data, progress))
    held = split_groups(members(targets), settings.data.validation)
    run.write_rows(planes, held)
    train_on(run, targets, held, progress)
    run.write_provenance(known)
    return run


def labelled_rows(rows: Sequence[Row], manifest: Path) -> list[Row]:
    """Return the rows that have complete labels.

    Raises
    ------
    InputError
        If none has.
    """
    labelled = [row for row in rows if exact_labels(row) is not None]
    if not labelled:
        raise InputError(
            f"{manifest}: the network learns from labels alone, and none of the {len(rows)} rows to "
            "learn from has complete ones; fill in the column label"
        )
    return labelled


def members(targets: Sequence[Targets]) -> list[tuple[str, str]]:
    """Return source and group of each set of slices."""
    return [(item.slices.source, item.slices.group) for item in targets]


def train_on(
    run: Run, targets: Sequence[Targets], held: Collection[str], progress: Progress
) -> None:
    """Train a run on what is not held back, and validate it on what is.

    Raises
    ------
    InputError
        If one of the two is empty.
    """
    train = [item for item in targets if item.slices.group not in held]
    check = [item for item in targets if item.slices.group in held]
    if not train or not check:
        groups = sorted({group for source, group in members(targets) if source != PHANTOM})
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

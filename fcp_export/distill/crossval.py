"""Cross-validation over learning rate, batch size and diameter (thesis, section 3.4.1, table 4.3).

Every configuration is trained once per fold, validated on that fold, for the same number of patch
presentations. A fold is made of whole groups: an embryo or an organoid never lies on both sides.
Phantoms are learnt from in every fold.
"""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass, replace
from statistics import mean, stdev
from typing import TYPE_CHECKING

from fcp_export.data.cache import fingerprint
from fcp_export.data.rows import check_leakage, digest_of, train_rows
from fcp_export.data.slices import fold_groups
from fcp_export.distill.curves import read_log
from fcp_export.distill.loop import Run
from fcp_export.distill.pipeline import distillation_targets, members, starting_net, train_on
from fcp_export.teacher import load_cellpose
from fcp_runtime.errors import SettingsError
from fcp_runtime.evaluate.manifest import GROUPS
from fcp_runtime.io.atomic import replacing

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from fcp_export.distill.settings import DistillSettings
    from fcp_runtime.machine.workers import Progress


@dataclass(frozen=True)
class Configuration:
    """One line of the table.

    Attributes
    ----------
    learning_rate : float
    batch_size : int
    diameter : float
        Of nuclei as the network sees them, pixels.
    """

    learning_rate: float
    batch_size: int
    diameter: float

    @property
    def name(self) -> str:
        """Name of the folder."""
        return f"rate{self.learning_rate:g}-batch{self.batch_size}-diameter{self.diameter:g}"

    def settings(self, base: DistillSettings) -> DistillSettings:
        """Return ``base`` with this configuration, validated once, at the end."""
        settings = replace(
            base,
            learning_rate=self.learning_rate,
            batch_size=self.batch_size,
            patience=0,
            data=replace(base.data, diameter=self.diameter),
        )
        return replace(settings, validate_every=settings.steps)


def one_at_a_time(
    rates: Sequence[float], batch_sizes: Sequence[int], diameters: Sequence[float]
) -> list[Configuration]:
    """Return the first value of each, and every other value with the rest at their first."""
    centre = Configuration(rates[0], batch_sizes[0], diameters[0])
    return [
        centre,
        *(replace(centre, learning_rate=rate) for rate in rates[1:]),
        *(replace(centre, batch_size=size) for size in batch_sizes[1:]),
        *(replace(centre, diameter=diameter) for diameter in diameters[1:]),
    ]


def cross_validate(
    folder: Path,
    base: DistillSettings,
    configurations: Sequence[Configuration],
    folds: int,
    manifest: Path,
    teacher: Path,
    *,
    cache: Path | None,
    progress: Progress,
) -> None:
    """Train every configuration on every fold and write ``crossval.csv`` and ``crossval.md``.

    What is done already in ``folder`` is not done again, and an interrupted run goes on. The
    tables are written anew after every configuration.

    Parameters
    ----------
    folder : Path
        Holds a run folder per configuration and fold.
    base : DistillSettings
        What all configurations share.
    configurations : sequence of Configuration
    folds : int
    manifest, teacher : Path
    cache : Path or None
        For the teacher's maps; None is ``folder/teacher``.
    progress : Progress

    Raises
    ------
    SettingsError
        If there are fewer groups than folds, or the folder holds folds of another length.
    InputError
        If it holds folds of another manifest, teacher or number.
    """
    rows = train_rows(manifest, base.data)
    planes = check_leakage(rows, manifest)
    net = load_cellpose(teacher)
    for number, configuration in enumerate(configurations):
        settings = configuration.settings(base)
        targets = distillation_targets(
            rows, settings.data, net, cache or folder / "teacher", progress
        )
        dealt = fold_groups(members(targets), folds)
        if not all(dealt):
            raise SettingsError(
                f"{folds} folds need as many groups of images, not {sum(map(len, dealt))}: {GROUPS}"
            )
        for fold, held in enumerate(dealt):
            place = folder / configuration.name / f"fold{fold + 1}"
            _refuse_other_length(place, base.patches)
            run = Run(place, settings, starting_net(settings, None), resume=True)
            run.made_from(teacher=fingerprint(net), manifest=digest_of(planes), folds=str(folds))
            if not run.result.exists():
                run.write_rows(planes, held)
                train_on(run, targets, held, progress)
        write_tables(folder, base, configurations[: number + 1], folds)


def _refuse_other_length(place: Path, patches: int) -> None:
    """Refuse to go on with a fold that was begun for another number of patches."""
    file = place / "settings.json"
    if not file.exists():
        return
    before = json.loads(file.read_text(encoding="utf-8"))["patches"]
    if before != patches:
        raise SettingsError(
            f"{place}: begun with --patches {before}; give the same or choose another folder"
        )


def write_tables(
    folder: Path, base: DistillSettings, configurations: Sequence[Configuration], folds: int
) -> None:
    """Write validation IoU and loss of finished configurations, over folds, best IoU first."""
    lines = []
    for configuration in configurations:
        last = [
            read_log(folder / configuration.name / f"fold{fold + 1}")[-1] for fold in range(folds)
        ]
        iou = [100 * record["validation_iou"] for record in last]
        loss = [record["validation_loss"] for record in last]
        lines.append((configuration, mean(iou), stdev(iou), mean(loss), stdev(loss)))
    lines.sort(key=lambda line: -line[1])
    with (
        replacing(folder / "crossval.csv") as temporary,
        temporary.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(
            ["student", "learning_rate", "batch_size", "diameter", "validation_iou_percent",
             "iou_sd", "validation_loss", "loss_sd", "folds", "patches"]
        )  # fmt: skip
        for configuration, *figures in lines:
            writer.writerow(
                [base.student, configuration.learning_rate, configuration.batch_size,
                 configuration.diameter, *(f"{figure:.4f}" for figure in figures),
                 folds, base.patches]
            )  # fmt: skip
    budget = f"{folds} folds, {base.patches:,} patch presentations each"
    text = [
        f"Cross-validation of {base.student}: {budget}; mean and standard deviation over folds.",
        "",
        "| learning rate | batch size | diameter | validation IoU (%) | validation loss |",
        "| --- | --- | --- | --- | --- |",
    ]
    text += [
        f"| {c.learning_rate:g} | {c.batch_size} | {c.diameter:g} "
        f"| {iou:.2f} ± {iou_sd:.2f} | {loss:.4f} ± {loss_sd:.4f} |"
        for c, iou, iou_sd, loss, loss_sd in lines
    ]
    with replacing(folder / "crossval.md") as temporary:
        temporary.write_text("\n".join(text) + "\n", encoding="utf-8")

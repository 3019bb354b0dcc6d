"""The course of a run as a table and a picture, from its log."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING, Any

from fcp_runtime.io.atomic import replacing

if TYPE_CHECKING:
    from pathlib import Path

COLUMNS = (
    "step",
    "patches",
    "train_loss",
    "validation_loss",
    "validation_iou",
    "skipped_steps",
    "seconds",
)


def read_log(folder: Path) -> list[dict[str, Any]]:
    """Return the records of ``log.jsonl``, the first validation first; none if there is none."""
    path = folder / "log.jsonl"
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines()]


def write_curves(folder: Path) -> None:
    """Write ``log.csv`` and ``curves.png`` (loss and IoU against patches) beside ``log.jsonl``.

    Parameters
    ----------
    folder : Path
        Of a run; if nothing was validated yet, nothing is written.
    """
    log = read_log(folder)
    if not log:
        return
    with (
        replacing(folder / "log.csv") as temporary,
        temporary.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.DictWriter(file, COLUMNS, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(log)

    from matplotlib.figure import Figure

    patches = [record["patches"] for record in log]
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    loss, iou = figure.subplots(1, 2)
    for name, label in (("train_loss", "training"), ("validation_loss", "validation")):
        loss.plot(patches, [record[name] for record in log], ".-", label=label)
    loss.set(xlabel="patches", ylabel="loss")
    loss.legend()
    iou.plot(patches, [record["validation_iou"] for record in log], ".-", color="tab:orange")
    iou.set(xlabel="patches", ylabel="validation IoU (p > 0.5)")
    for axes in (loss, iou):
        axes.grid(alpha=0.3)
    with replacing(folder / "curves.png") as temporary:
        figure.savefig(temporary, format="png", dpi=120)

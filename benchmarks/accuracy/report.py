"""The report: one Markdown page of all sections, with CSV tables and figures beside it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from benchmarks.accuracy import figures, sections, tables, targets
from benchmarks.accuracy.bootstrap import DRAWS
from benchmarks.accuracy.card import accuracy_entry
from benchmarks.accuracy.measure import code_digest
from benchmarks.accuracy.networks import complexity
from benchmarks.common import machine
from fcp_runtime.io.atomic import replacing

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from benchmarks.accuracy.results import Results

NETWORKS = """Counted from the networks; MACs are those of convolutions and linear layers for 1024x1024 pixels,
the thesis counts normalisation too in some. Its counts leave out what was zero or constant in an untrained
network. Seconds: one thread, 1024x1024 pixels in tiles of 256, all networks in turn, least of the rounds."""
ACCURACY = """True diameters. Precision, recall and F1 at IoU 0.5, AP the mean over IoU 0.50:0.05:0.95: mean and
standard deviation over images, then from counts pooled over images. Network time is that of the run that made
the masks: models measured in different runs compare only roughly."""
LENIENT = """The thesis assigns objects so that their summed IoU is largest and any overlap counts; ours needs an
IoU of 0.5. F1 from pooled counts."""
ESTIMATED = """Students that were told no diameter: F1 at IoU 0.5 and mean AP, pooled, and of how many images the
estimate is within 25 % of the true median."""
DIFFERENCES = f"""Student minus teacher on the same images, pooled, with 95 % intervals of a paired bootstrap
({DRAWS:,} draws; stacks of one embryo or organoid are drawn together). "Not worse" holds if the whole interval
lies above -0.01 in F1 and above -0.02 in mean AP."""
REFERENCE = """Teacher minus the reference models, in the same way; "better" holds if both intervals lie above 0."""
LEFT_OUT = """F1 / AP of a student that was trained without a source, on that source."""
PHANTOMS = """F1 / AP on synthetic organoids, pooled: density is the part of the volume covered by nuclei, photons
come from a voxel of mean brightness (fewer is noisier), anisotropy is plane spacing by pixel spacing. One axis is
varied, the others stay at 0.15, 60 and 2."""
COMPRESSION = """8-bit integers by ONNX Runtime's own tools (static: ranges from train images), and the least
weights set to zero over all layers. All forms on the same images. Dense kernels gain no time from zeros; they
only make the zipped file smaller."""


def write_report(
    results: Results, times: Mapping[str, float], folder: Path, *, compressed: str, command: str
) -> Path:
    """Write report, tables and figures into a folder; return the report.

    Parameters
    ----------
    results : Results
    times : mapping of str to float
        From `network_times`.
    folder : Path
    compressed : str
        Name of the model whose compressed forms take part, or nothing.
    command : str
        That made the report.
    """
    teacher, references = results.teacher, results.of_role("reference")
    students = results.of_role("student")
    tables.write_accuracy(results, folder / "accuracy.csv")
    tables.write_images(results, folder / "images.csv")
    text = {
        "Networks (thesis, table 3.5)": [NETWORKS, tables.networks(times, folder / "networks.csv")],
        "Accuracy by source (thesis, table 4.4)": [ACCURACY, sections.accuracy(results)],
        "Incomplete truth: recall only": [sections.recall_only(results)],
        "Against parameters and time": [_figures(results, times, folder)],
        "Synthetic organoids": [PHANTOMS, sections.phantoms(results)],
        "The thesis's count beside ours": [LENIENT, sections.lenient(results)],
        "Estimated diameters": [ESTIMATED, sections.estimated(results)],
    }
    if text["Synthetic organoids"][1] and figures.along_axes(results, folder / "phantoms.png"):
        text["Synthetic organoids"].append("![F1 on phantoms](phantoms.png)")
    if teacher is not None:
        found = sections.compared(results, [(one, teacher) for one in students])
        above = sections.compared(results, [(teacher, one) for one in references])
        tables.write_differences([*found, *above], folder / "differences.csv")
        told = [DIFFERENCES, sections.differences(found, better=False)] if found else [""]
        text["Students against the teacher"] = told
        told = [REFERENCE, sections.differences(above, better=True)] if above else [""]
        text["The teacher against the references"] = told
    text["Figures to reach"] = [targets.targets(results)]
    text["One source left out"] = [LEFT_OUT, sections.left_out(results)]
    originals = [one for one in results.models if one.name == compressed]
    if originals:
        table = tables.compression(results, originals[0], times, folder / "compression.csv")
        text["Integers and pruning"] = [COMPRESSION, table]
    for one in students:
        entry = json.dumps(accuracy_entry(results, one), indent=1, sort_keys=True)
        (folder / f"accuracy-{one.name}.json").write_text(entry + "\n", encoding="utf-8")
    lines = ["# Accuracy", f"Made by `{command}` on {machine()}.", *_warnings(results)]
    for title, paragraphs in text.items():
        if paragraphs[-1]:  # a section without its table is left out
            lines += [f"## {title}", *paragraphs]
    report = folder / "report.md"
    with replacing(report) as temporary:
        temporary.write_text("\n\n".join(lines) + "\n", encoding="utf-8")
    return report


def _figures(results: Results, times: Mapping[str, float], folder: Path) -> str:
    counts = {key: float(count) for key, _, count, _ in complexity()}
    parameters = {one: counts[one.network] for one in results.models if one.network in counts}
    figures.against(results, parameters, "parameters", folder / "f1-parameters.png")
    shown = ["![F1 against parameters](f1-parameters.png)"]
    if times:
        label = "network seconds for 1024x1024 pixels, nuclei of 17 pixels, one thread"
        seconds = {
            one: times[one.network] * one.pixels for one in results.models if one.network in times
        }
        figures.against(results, seconds, label, folder / "f1-time.png")
        shown.append("![F1 against network time](f1-time.png)")
    return "\n\n".join(shown)


def _warnings(results: Results) -> list[str]:
    """Say what makes results incomplete or uneven."""
    notes = []
    code = code_digest()
    old = sum(record.code != code for record in results.records.values())
    if old:
        notes.append(
            f"{old} of {len(results.records)} results were computed by other code than the present; "
            "`--again` computes them anew."
        )
    threads = sorted({record.threads for record in results.records.values()})
    if len(threads) > 1:
        notes.append(f"Network times were taken with {' and '.join(map(str, threads))} threads.")
    lacking = len(results.items) * len(results.models) - len(results.records)
    if lacking:
        notes.append(f"{lacking} results are lacking; parts without all images say so.")
    return [f"Note: {note}" for note in notes]

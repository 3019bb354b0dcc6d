"""Record what DAccuracy says of a few small cases, as the oracle of the lenient count.

Needs an environment with DAccuracy (PyPI ``daccuracy``; recorded with 2026.1), which is never a
dependency of this project. Writes ``daccuracy.json`` beside this file:

    python tests/data/make_daccuracy.py
"""

from __future__ import annotations

import csv
import json
import tempfile
from importlib.metadata import version
from pathlib import Path

import numpy as np

SIZE = 28
MEASURES = ("true_positive", "false_positive", "false_negative", "precision", "recall", "f1_score")


def discs(rng, count, radius):
    """Labels of overlapping discs, later ones on top, numbered without gaps."""
    labels = np.zeros((SIZE, SIZE), np.int64)
    y, x = np.mgrid[:SIZE, :SIZE]
    for label in range(1, count + 1):
        cy, cx = rng.uniform(2, SIZE - 2, 2)
        labels[(y - cy) ** 2 + (x - cx) ** 2 <= rng.uniform(0.5, 1.2) * radius**2] = label
    # the tool wants connected objects without gaps in their numbers
    from scipy.ndimage import label

    found = np.zeros_like(labels)
    for value in np.unique(labels[labels > 0]):
        pieces, _ = label(labels == value)
        found[pieces == 1] = found.max() + 1
    return found


def run(folder, detection, truth, *options):
    """Return the tool's measures by name."""
    from daccuracy.interface.console.main import ProcessedArguments
    from daccuracy.main import ComputeAndOutputMeasures

    np.save(folder / "detection.npy", detection)
    (folder / "out").unlink(missing_ok=True)
    paths = ["--gt", str(truth), "--dn", str(folder / "detection.npy"), "-o", str(folder / "out")]
    arguments = ProcessedArguments([*options, "--format", "csv", *paths])
    # its command line forgets this one in version 2026.1
    ComputeAndOutputMeasures({**arguments, "should_return_image": False})
    arguments["output_accessor"].close()
    header, values = list(csv.reader((folder / "out").read_text().splitlines(), delimiter=";"))
    measures = dict(zip((name.strip().lower() for name in header), values, strict=True))
    return {name: float(measures[name]) for name in MEASURES}


def main():
    rng = np.random.default_rng(20240601)
    cases = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for count_truth, count_found, radius in ((5, 4, 5), (12, 14, 4), (25, 18, 3), (3, 20, 6)):
            truth, found = discs(rng, count_truth, radius), discs(rng, count_found, radius)
            np.save(folder / "truth.npy", truth)
            measures = run(folder, found, folder / "truth.npy")
            cases.append({"detection": found.tolist(), "truth": truth.tolist(), "says": measures})
        for count in (6, 15):
            found = discs(rng, count, 4)
            places = rng.permutation(SIZE**2)[: count + 4]
            centres = np.stack(np.divmod(places, SIZE), axis=1) + rng.uniform(
                -0.4, 0.4, (count + 4, 2)
            )
            centres = np.clip(centres, 0, SIZE - 1)
            with (folder / "truth.csv").open("w", newline="") as file:
                csv.writer(file).writerows([["row", "column"], *centres.tolist()])
            measures = run(folder, found, folder / "truth.csv", "--rAcB")
            cases.append(
                {"detection": found.tolist(), "centres": centres.tolist(), "says": measures}
            )
    path = Path(__file__).with_name("daccuracy.json")
    path.write_text(json.dumps({"daccuracy": version("daccuracy"), "cases": cases}) + "\n")


if __name__ == "__main__":
    main()

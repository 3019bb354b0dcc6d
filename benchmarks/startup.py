"""How long until the first result: import, and a 512x512 image with empty and filled kernel cache.

Run with ``python benchmarks/startup.py``; prints a Markdown table of medians.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import tifffile

from fcp_runtime.phantom import nuclei_image

RUNS = 5


def seconds(arguments: list[str], cache: str) -> float:
    """Run a Python process and return its wall time."""
    started = time.perf_counter()
    environment = {**os.environ, "NUMBA_CACHE_DIR": cache}
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True, env=environment)
    return time.perf_counter() - started


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        image = folder / "image.tif"
        tifffile.imwrite(image, nuclei_image((512, 512), diameter=25, seed=1).image)
        run = "from fcp_runtime.cli.run import main; main()"
        work = ["-c", run, str(image), "-o", str(folder / "mask.tif"), "--diameter", "25"]
        warm = folder / "warm"
        seconds(work, str(warm))
        rows: dict[str, list[float]] = {
            "python, numpy": [],
            "import fcp_runtime": [],
            "512x512, filled cache": [],
            "512x512, empty cache": [],
        }
        for index in range(RUNS):  # in turn, so that a drifting machine is the same for all
            rows["python, numpy"].append(seconds(["-c", "import numpy"], str(warm)))
            rows["import fcp_runtime"].append(seconds(["-c", "import fcp_runtime"], str(warm)))
            rows["512x512, filled cache"].append(seconds(work, str(warm)))
            rows["512x512, empty cache"].append(seconds(work, str(folder / f"cold{index}")))
    print("| from process start | median s | min | max |\n| --- | --- | --- | --- |")
    for title, values in rows.items():
        median = statistics.median(values)
        print(f"| {title} | {median:.2f} | {min(values):.2f} | {max(values):.2f} |")


if __name__ == "__main__":
    main()

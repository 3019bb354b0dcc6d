"""The measurements themselves, each in a process of its own: ``python -m benchmarks.speed.tasks``.

Standard input: JSON with the task's name, its arguments and the time at which the process was
started. Standard output: JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.speed.scenes import DIAMETER, Scene, make

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from benchmarks.store import Result

FCP_RUN = (sys.executable, "-c", "from fcp_runtime.cli.run import main; main()")


def phantom(*, scene: dict[str, Any], folder: str) -> Result:
    """Make a synthetic stack."""
    make(Scene.from_dict(scene), Path(folder))
    return {}


def command(
    *, image: str, labels: str, anisotropy: float, model: str, threads: int, started: float
) -> Result:
    """Run ``fcp-run``, compressed TIFF to compressed mask TIFF, and score the mask."""
    del started
    with tempfile.TemporaryDirectory() as folder:
        mask = str(Path(folder, "mask.tif"))
        options = {
            "-o": mask,
            "--model": model,
            "--diameter": DIAMETER,
            "--anisotropy": anisotropy,
            "--threads": threads,
        }
        words = [str(word) for option in options.items() for word in option]
        begun = time.perf_counter()
        done = subprocess.run(
            [*FCP_RUN, image, *words, "--json"], stdout=subprocess.PIPE, text=True, check=False
        )
        total = time.perf_counter() - begun
        if done.returncode:
            raise SystemExit(done.returncode)
        summary = json.loads(done.stdout.splitlines()[-1])
        from fcp_runtime.io.tiff import read_labels

        found = read_labels(mask)
        return {
            "seconds": summary["seconds"],
            "total": total,
            "peak_memory": summary["peak_memory_bytes"],
            "objects": summary["objects"],
            "voxels": found.size,
        } | scores(found, labels)


def stages(
    *,
    image: str,
    labels: str,
    anisotropy: float,
    model: str,
    threads: int,
    started: float,
    bare_seconds: float = 0.0,
    warm: bool = False,
    profile: bool = False,
    options: dict[str, Any] | None = None,
) -> Result:
    """Do what ``fcp-run`` does, watched stage by stage.

    ``warm`` loads the compiled kernels before (a second on small stacks): not counted.
    """
    import numpy as np

    from benchmarks.speed.network import CountingNetwork, bare_rate, matrix_rate, model_facts
    from benchmarks.speed.sampler import Sampler
    from fcp_runtime import Segmenter
    from fcp_runtime.grid import network_length
    from fcp_runtime.io.tiff import read_volume, write_labels
    from fcp_runtime.machine.system import peak_memory

    segmenter = Segmenter(model, threads)
    if warm:
        begun = time.time()
        noise = np.random.default_rng(0).integers(0, 999, (8, 64, 64), np.uint16)
        segmenter.segment(noise, diameter=DIAMETER, anisotropy=anisotropy)
        started += time.time() - begun
    network = CountingNetwork(segmenter.network)
    segmenter.network = network
    sampler = Sampler()
    seconds = {"start": time.time() - started}
    if profile:
        sampler.start()
    begun = time.perf_counter()
    held = [read_volume(image, workers=segmenter.workers)]
    plane = held[0].pixels[len(held[0].pixels) // 2].copy()
    seconds["read"] = time.perf_counter() - begun
    result = segmenter.segment(  # the pixels are let go as soon as they can be
        held.pop, diameter=DIAMETER, anisotropy=anisotropy, **(options or {})
    )
    seconds |= result.timings
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        mask = Path(folder, "mask.tif")
        settings = result.settings.as_dict()
        write_labels(mask, result.masks, settings=settings, workers=segmenter.workers)
        seconds["write"] = time.perf_counter() - begun
    total = time.time() - started
    sampler.stop()
    scale = network.diam_mean / DIAMETER
    z, y, x = (
        network_length(length, factor)
        for length, factor in zip(
            result.masks.shape, (scale * anisotropy, scale, scale), strict=True
        )
    )
    depth, height, width = result.masks.shape
    measured: Result = {
        "seconds": seconds,
        "total": total,
        "peak_memory": peak_memory(),
        "objects": result.count,
        "voxels": result.masks.size,
        "foreground": int(np.count_nonzero(result.masks)),
        "output_pixels": depth * y * x + width * z * y + height * z * x,
        "tiles": {f"{h}x{w}": count for (h, w), count in network.calls.items()},
        "tile_pixels": network.pixels,
        "call_share": network.seconds / result.timings["network"] / threads,
        "settings": settings,
        "model": model_facts(model),
        "profile": sampler.table() if profile else None,
    }
    if bare_seconds:
        measured["bare"] = bare_rate(model, network.calls, plane, threads, bare_seconds)
        measured["matrix"] = matrix_rate(threads, bare_seconds / 2)
    return measured | scores(result.masks, labels)


def masks(
    *, image: str, labels: str, anisotropy: float, model: str, threads: int, started: float
) -> Result:
    """Reconstruct the masks of one pair of fields in several ways (thesis, table 4.6)."""
    del started
    from dataclasses import replace

    from fcp_runtime import Segmenter
    from fcp_runtime.io.tiff import read_volume
    from fcp_runtime.segmenter import reconstruct

    segmenter = Segmenter(model, threads)
    volume = read_volume(image, workers=segmenter.workers)
    result = segmenter.segment(volume, diameter=DIAMETER, anisotropy=anisotropy, keep_fields=True)
    if result.fields is None:
        raise AssertionError("fields were asked for")
    rows: list[Result] = []
    ways = [(factor, niter) for niter in (200, 50) for factor in (1, 2)]
    for factor, niter in [(1, result.settings.niter or 200), *ways]:
        settings = replace(result.settings, resize_factor=factor, niter=niter)
        taken = []
        for _ in range(3):
            begun = time.perf_counter()
            found = reconstruct(result.fields, settings, segmenter.workers)
            taken.append(time.perf_counter() - begun)
        row = {"factor": factor, "niter": niter, "seconds": min(taken), "objects": int(found.max())}
        rows.append(row | scores(found, labels))
    return {"rows": rows}


def cellpose(
    *,
    image: str,
    labels: str,
    anisotropy: float,
    teacher: str,
    python: str,
    variant: str,
    threads: int,
    started: float,
) -> Result:
    """Run Cellpose 3.1.1.2 on torch, in its own environment, and score its masks."""
    del started
    import numpy as np

    with tempfile.TemporaryDirectory() as folder:
        masks_file = str(Path(folder, "masks.npy"))
        asked = {
            "image": image,
            "masks": masks_file,
            "checkpoint": teacher,
            "diameter": DIAMETER,
            "anisotropy": anisotropy,
            "variant": variant,
            "threads": threads,
        }
        script = Path(__file__).with_name("cellpose_task.py")
        begun = time.perf_counter()
        done = subprocess.run(
            [python, str(script)],
            input=json.dumps(asked),
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            env={**os.environ, "CELLPOSE_LOCAL_MODELS_PATH": folder, "PYTHONWARNINGS": "ignore"},
        )
        total = time.perf_counter() - begun
        found = np.load(masks_file)
        measured: Result = json.loads(done.stdout.splitlines()[-1])
        return (
            measured
            | {
                "total": total,
                "voxels": found.size,
                "objects": len(np.unique(found)) - 1,
            }
            | scores(found, labels)
        )


def scores(found: NDArray[Any], labels: str) -> Result:
    """Compare masks with the exact labels."""
    from fcp_runtime.evaluate.metrics import match, score
    from fcp_runtime.io.tiff import read_labels

    compared = score(match(found, read_labels(labels)))
    counts = compared.counts(0.5)
    return {"f1": counts.f1, "ap50": counts.ap, "mean_ap": compared.mean_ap}


TASKS: dict[str, Callable[..., Result]] = {
    "phantom": phantom,
    "command": command,
    "stages": stages,
    "masks": masks,
    "cellpose": cellpose,
}


def main() -> None:
    """Do the task that standard input asks for."""
    asked = json.load(sys.stdin)
    print(json.dumps(TASKS[asked["task"]](**asked["arguments"])))


if __name__ == "__main__":
    main()

"""One image: read it, segment it, write what is asked for."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from fcp_runtime.cli.common import noted, tqdm_progress
from fcp_runtime.cli.jobs import clear_old
from fcp_runtime.masks.border import without_border_objects
from fcp_runtime.outputs.bundle import check_axes, needed, write_last_outputs, write_outputs
from fcp_runtime.outputs.label_files import check_label_file, write_label_file
from fcp_runtime.outputs.output import Measured, Run

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from fcp_runtime.cli.film import FilmChoice
    from fcp_runtime.cli.jobs import Job
    from fcp_runtime.io.image import Volume
    from fcp_runtime.io.stored import Reading
    from fcp_runtime.machine.workers import Progress
    from fcp_runtime.masks.border import Border
    from fcp_runtime.outputs.output import GraphChoice
    from fcp_runtime.outputs.table import Table
    from fcp_runtime.segmenter import Segmenter
    from fcp_runtime.settings import Options


@dataclass(frozen=True)
class Task:
    """What is done to every image of a run.

    Attributes
    ----------
    segmenter : Segmenter
    options : Options
        Settings of each segmentation.
    reading : Reading
        Options of `fcp_runtime.io.read.read_volume`.
    graph : GraphChoice
    film : FilmChoice
    demo : bool
        Make the synthetic organoid in place of reading a file.
    exclude_border : {"xy", "xyz"} or None
        See `fcp_runtime.masks.border.without_border_objects`; None keeps all objects.
    collect : callable or None
        Takes the job and its measurements, where tables of all inputs are joined.
    """

    segmenter: Segmenter
    options: Options
    reading: Reading
    graph: GraphChoice
    film: FilmChoice
    demo: bool
    exclude_border: Border | None = None
    collect: Callable[[Job, Table], None] | None = None


def process(job: Job, task: Task) -> dict[str, Any]:
    """Read, segment and write one image or film; return the summary."""
    if is_film(job, task):
        from fcp_runtime.cli.film import process_film

        return process_film(job, task)
    from fcp_runtime.machine.system import peak_memory

    progress = tqdm_progress()
    workers = task.segmenter.workers
    started = time.perf_counter()
    with noted() as notes:
        volume = load(job, task, progress)
        check_axes(job.targets, volume)
        check_label_file(job.mask, volume.pixels.ndim)
        read = time.perf_counter() - started
        held = [volume]
        measured_too = task.collect is not None
        if not (measured_too or needed(job.targets, "pixels")):
            volume = without_pixels(volume)
        result = task.segmenter.segment(
            held.pop, progress=progress, keep_fields=needed(job.targets, "fields"), **task.options
        )
    settings = result.settings.as_dict()
    if task.exclude_border is not None:
        result = replace(result, masks=without_border_objects(result.masks, task.exclude_border))
        settings["exclude_border"] = task.exclude_border
    diameter = result.settings.diameter  # None: no signal, and none stated
    started = time.perf_counter()
    clear_old(job)
    write_label_file(
        job.mask, result.masks, settings=settings, voxel_um=volume.voxel_um, workers=workers
    )
    others = load_others(job, task) if measured_too or needed(job.targets, "channels") else {}
    measured = Measured(volume, result, others, task.graph, workers)
    run = Run(
        job.image,
        volume,
        result,
        measured,
        settings,
        workers,
        notes=tuple(notes),
        spacing_known=(task.options.get("anisotropy") or volume.anisotropy) is not None,
    )
    write_outputs(job.targets, run)
    if task.collect is not None:
        task.collect(job, measured.table)
    seconds = {"read": read, **result.timings, "write": time.perf_counter() - started}
    summary = {
        "input": str(job.image),
        "output": str(job.mask),
        "outputs": {kind: [str(path) for path in paths] for kind, paths in job.targets.items()},
        "shape": list(result.masks.shape),
        "objects": result.count,
        "diameter": None if diameter is None else round(diameter, 2),
        "diameter_estimated": diameter is not None and task.options.get("diameter") is None,
        "anisotropy": result.settings.anisotropy,
        "seconds": {stage: round(value, 3) for stage, value in seconds.items()},
        "peak_memory_bytes": peak_memory(),
        "threads": workers.count,
        "settings": settings,
    }
    write_last_outputs(job.targets, replace(run, summary=summary))
    return summary


def is_film(job: Job, task: Task) -> bool:
    """Return whether the image has time points."""
    if task.demo:
        return False
    from fcp_runtime.io.film import count_frames

    return count_frames(job.image, **task.reading) is not None


def without_pixels(volume: Volume) -> Volume:
    """Return what is known of a volume, with zeros that take no memory in place of its pixels."""
    zeros = np.broadcast_to(np.zeros((), volume.pixels.dtype), volume.pixels.shape)
    return replace(volume, pixels=zeros)


def load(job: Job, task: Task, progress: Progress) -> Volume:
    """Read the image, or make that of the demo."""
    if task.demo:
        return demo_volume()
    from fcp_runtime.io.read import read_volume

    return read_volume(
        job.image,
        **task.reading,
        workers=task.segmenter.workers,
        progress=progress,
    )


def demo_volume() -> Volume:
    """Make the synthetic organoid."""
    from fcp_runtime.io.image import Volume
    from fcp_runtime.phantom import demo

    phantom = demo()
    return Volume(phantom.image, phantom.voxel_um, "demo")


def load_others(job: Job, task: Task) -> dict[str, NDArray[Any]]:
    """Read the channels beside that of the nuclei; the demo has none."""
    if task.demo:
        return {}
    from fcp_runtime.io.read import read_other_channels

    workers = task.segmenter.workers
    return read_other_channels(job.image, **task.reading, workers=workers)

"""One film: read, segmented, linked and written a frame at a time."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from fcp_runtime.cli.common import tqdm_progress
from fcp_runtime.errors import OutputError
from fcp_runtime.film import resolve_film
from fcp_runtime.io.film import StoredFilm, open_film
from fcp_runtime.io.tiff.write_film import LabelFilm, label_film
from fcp_runtime.machine.system import peak_memory
from fcp_runtime.masks.border import without_border_objects
from fcp_runtime.outputs.bundle import check_film
from fcp_runtime.outputs.output import Measured
from fcp_runtime.outputs.table import Table, write_table
from fcp_runtime.tracks import Linking, Tracker
from fcp_runtime.tracks.files import (
    check_ctc_folder,
    ctc_folder,
    ctc_mask,
    write_ctc_mask,
    write_ctc_tracks,
    write_tracks,
)

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from fcp_runtime.cli.jobs import Job
    from fcp_runtime.cli.process import Task
    from fcp_runtime.segmentation import Segmentation
    from fcp_runtime.settings import Options


@dataclass(frozen=True)
class FilmChoice:
    """What is done to films, beside what is done to every image.

    Attributes
    ----------
    track : bool
        Objects keep one number through time.
    reach : float or None
        See `fcp_runtime.tracks.Linking`.
    levels_per_frame : bool
        See `fcp_runtime.film.segment_film`.
    """

    track: bool = False
    reach: float | None = None
    levels_per_frame: bool = False


@dataclass
class Progressed:
    """What has come of the frames so far."""

    tracker: Tracker | None
    tables: list[Table] = field(default_factory=list)
    objects: int = 0
    seconds: dict[str, float] = field(default_factory=dict)

    def spend(self, stage: str, since: float) -> float:
        """Count the time since then for a stage; return the time now."""
        now = time.perf_counter()
        self.seconds[stage] = self.seconds.get(stage, 0.0) + now - since
        return now


def process_film(job: Job, task: Task) -> dict[str, Any]:
    """Segment a film and write what is wanted of it; return the summary.

    Raises
    ------
    OutputError
        If an output is not one of a film.
    """
    check_targets_of_film(job)
    workers = task.segmenter.workers
    with open_film(job.image, **task.reading, workers=workers) as film:
        began = time.perf_counter()
        options = resolve_film(
            film, task.segmenter, task.options, levels_per_frame=task.film.levels_per_frame
        )
        done = Progressed(None)
        done.spend("film", began)
        first = _segment(film, 0, task, options, done)
        settings = first.settings.as_dict()
        if task.exclude_border is not None:
            settings["exclude_border"] = task.exclude_border
        how = Linking(task.film.reach, anisotropy=first.settings.anisotropy or 1.0)
        if task.film.track or not job.targets.keys().isdisjoint(("tracks", "ctc")):
            done.tracker = Tracker(how)
            settings["track"] = {"reach": how.reach, "divisions": how.divisions}
        with ExitStack() as stack:
            folders = [stack.enter_context(ctc_folder(path)) for path in job.targets.get("ctc", ())]
            labels = stack.enter_context(
                label_film(
                    job.mask,
                    first.masks.shape,
                    settings=settings,
                    voxel_um=film.form.voxel_um,
                    interval_s=film.interval_s,
                    workers=workers,
                )
            )
            progress = tqdm_progress()
            for number in range(film.frames):
                result = first if number == 0 else _segment(film, number, task, options, done)
                _keep(film, number, result, (job, task), (labels, folders), done)
                progress("frames", number + 1, film.frames)
            _write_tracks(job, folders, done)
        _write_table(job, task, done)
    return _summary(job, task, film, first, settings, done)


def check_targets_of_film(job: Job) -> None:
    """Refuse outputs that a film does not have, before the run."""
    check_film(job.targets, str(job.image))
    if job.mask.suffix.lower() not in {".tif", ".tiff"}:
        raise OutputError(f"{job.mask}: the masks of a film are written as .tif or .ome.tif")
    for path in job.targets.get("ctc", ()):
        check_ctc_folder(path)


def _segment(
    film: StoredFilm, number: int, task: Task, options: Options, done: Progressed
) -> Segmentation:
    began = time.perf_counter()
    frame = film.frame(number)
    done.spend("read", began)
    result = task.segmenter.segment(frame, **options)
    for stage, seconds in result.timings.items():
        done.seconds[stage] = done.seconds.get(stage, 0.0) + seconds
    if task.exclude_border is not None:
        return replace(result, masks=without_border_objects(result.masks, task.exclude_border))
    return result


def _keep(
    film: StoredFilm,
    number: int,
    result: Segmentation,
    what: tuple[Job, Task],
    where: tuple[LabelFilm, list[Path]],
    done: Progressed,
) -> None:
    """Link, write and measure a frame."""
    (job, task), (labels, folders) = what, where
    began = time.perf_counter()
    masks: NDArray[Any] = result.masks
    done.objects += result.count
    if done.tracker is not None:
        masks = done.tracker.follow(masks)
        began = done.spend("track", began)
    labels.add(masks)
    for folder in folders:
        write_ctc_mask(ctc_mask(folder, number, film.frames), masks)
    began = done.spend("write", began)
    if job.targets.get("table") or task.collect is not None:
        measured = Measured(
            film.frame(number),
            replace(result, masks=masks),
            film.other_channels(number),
            task.graph,
            task.segmenter.workers,
        )
        table = measured.table
        at = np.full(len(table), number)
        done.tables.append(Table({"frame": at, **table.columns}))
        done.spend("measure", began)


def _write_tracks(job: Job, folders: list[Path], done: Progressed) -> None:
    """Write tables; all frames are done."""
    began = time.perf_counter()
    if done.tracker is not None:
        for folder in folders:
            write_ctc_tracks(folder, done.tracker.tracks)
        for path in job.targets.get("tracks", ()):
            write_tracks(path, done.tracker.tracks)
    done.spend("write", began)


def _write_table(job: Job, task: Task, done: Progressed) -> None:
    """Write the measurements of all frames, or hand them on to the table of all inputs."""
    if not done.tables:
        return
    began = time.perf_counter()
    names = done.tables[0].names
    table = Table({name: np.concatenate([part[name] for part in done.tables]) for name in names})
    for path in job.targets.get("table", ()):
        write_table(path, table)
    if task.collect is not None:
        task.collect(job, table)
    done.spend("write", began)


def _summary(
    job: Job,
    task: Task,
    film: StoredFilm,
    first: Segmentation,
    settings: dict[str, Any],
    done: Progressed,
) -> dict[str, Any]:
    diameter = first.settings.diameter
    summary = {
        "input": str(job.image),
        "output": str(job.mask),
        "outputs": {kind: [str(path) for path in paths] for kind, paths in job.targets.items()},
        "shape": [film.frames, *first.masks.shape],
        "frames": film.frames,
        "objects": done.objects,
        "diameter": None if diameter is None else round(diameter, 2),
        "diameter_estimated": diameter is not None and task.options.get("diameter") is None,
        "anisotropy": first.settings.anisotropy,
        "seconds": {stage: round(value, 3) for stage, value in done.seconds.items()},
        "peak_memory_bytes": peak_memory(),
        "threads": task.segmenter.workers.count,
        "settings": settings,
    }
    if done.tracker is not None:
        summary["tracks"] = len(done.tracker.tracks.track)
    return summary

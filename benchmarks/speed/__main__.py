"""``python -m benchmarks.speed``: measure, and write a folder with the report."""

from __future__ import annotations

import subprocess
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from benchmarks.speed.plan import plan
from benchmarks.speed.presets import PRESETS, SECTIONS
from benchmarks.speed.report import write_report
from benchmarks.speed.runner import ROOT, FailedMeasurementError, Runner
from benchmarks.speed.store import Store
from fcp_runtime.machine.system import usable_cpus
from fcp_runtime.network.registry import list_models

if TYPE_CHECKING:
    from benchmarks.speed.store import Measurement
    from benchmarks.speed.tables import Found

FILE = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.command()
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("runs/speed"),
    show_default=True,
    help="Folder for the report; what has been measured there is not measured again.",
)
@click.option("--preset", type=click.Choice(list(PRESETS)), default="full", show_default=True)
@click.option("--quick", is_flag=True, help="The same as --preset quick.")
@click.option("--only", multiple=True, type=click.Choice(SECTIONS), help="May be repeated.")
@click.option("--scale", type=float, default=1.0, help="Times the width of every stack.")
@click.option(
    "--planes", type=int, help="Planes in place of the thesis's 237; others in proportion."
)
@click.option("--repeats", type=click.IntRange(min=1), help="In place of the preset's.")
@click.option("--threads", type=click.IntRange(min=1), help="By default the CPUs usable.")
@click.option("--model", default="v3", show_default=True, help="The student measured closely.")
@click.option(
    "--models",
    multiple=True,
    metavar="NAME|PATH",
    help="Other networks for table 4.5 beside the shipped ones; may be repeated.",
)
@click.option("--teacher", type=FILE, help="Cellpose's own network, a torch file.")
@click.option(
    "--cellpose-python", type=FILE, help="Python with Cellpose 3.1.1.2; made if not given."
)
@click.option(
    "--torch", default="torch", show_default=True, help="Which torch pip installs for Cellpose."
)
def main(
    output: Path,
    preset: str,
    quick: bool,
    only: tuple[str, ...],
    scale: float,
    planes: int | None,
    repeats: int | None,
    threads: int | None,
    model: str,
    models: tuple[str, ...],
    teacher: Path | None,
    cellpose_python: Path | None,
    torch: str,
) -> None:
    """Measure how fast stacks become masks, and write a report."""
    chosen = PRESETS["quick" if quick else preset].scaled(scale, planes)
    chosen = replace(chosen, repeats=repeats or chosen.repeats)
    shipped = [info.key for info in list_models()]
    measurements = plan(
        chosen,
        models=list(dict.fromkeys([*shipped, *models])),
        model=model,
        threads=threads or usable_cpus(),
        teacher=teacher is not None,
    )
    output.mkdir(parents=True, exist_ok=True)
    store = Store(output)
    runner = Runner(output.resolve(), teacher, cellpose_python, torch)
    wanted = [item for item in measurements if not only or item.section in only]
    missing = [item for item in wanted if store.load(item) is None]
    failed = 0
    try:
        failed = measure(missing, store, runner, model)
    finally:  # interrupted too: the report is made from what there is
        title = (
            f"Preset {'quick' if quick else preset}, {chosen.planes}x{chosen.width}x{chosen.width}"
        )
        report = publish(output, store.gather(measurements), title)
        done = sum(store.load(item) is not None for item in wanted)
        click.echo(f"{report}: {done} of {len(wanted)} measurements")
    if failed:
        raise SystemExit(1)


def measure(missing: list[Measurement], store: Store, runner: Runner, model: str) -> int:
    """Make measurements one after the other; return how many failed."""
    begun = time.perf_counter()
    failed = 0
    if missing:
        runner.warm_up(model)
    for index, item in enumerate(missing, 1):
        spent = time.perf_counter() - begun
        click.echo(f"{spent:6.0f} s  {index}/{len(missing)}  {item.section}: {item.name}", err=True)
        try:
            result = runner.measure(item.task, item.arguments)
        except FailedMeasurementError as error:
            failed += 1
            click.echo(f"{item.section}: {item.name}: {error}", err=True)
        else:
            store.save(item, result | {"commit": commit(), "measured": time.time()})
    return failed


def publish(output: Path, sections: dict[str, Found], title: str) -> Path:
    """Write the report on all there is."""
    commits = {
        str(result["commit"])
        for found in sections.values()
        for repeats in found.values()
        for result in repeats
    }
    return write_report(output, sections, title, commits)


def commit() -> str:
    """Return which version of the code this is, as git has it."""
    words = ("git", "describe", "--always", "--dirty")
    done = subprocess.run(words, check=False, capture_output=True, text=True, cwd=ROOT)
    return done.stdout.strip() or "unknown"


if __name__ == "__main__":
    main()

"""Measures what is not yet measured, and writes the accuracy report.

``python -m benchmarks.accuracy --manifest data/manifest.csv --models v3 --teacher teacher.pt -o out``
"""

from __future__ import annotations

import shlex
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from benchmarks.accuracy.card import card_table, fill
from benchmarks.accuracy.compression import compressed_models
from benchmarks.accuracy.images import choose_items
from benchmarks.accuracy.measure import measure
from benchmarks.accuracy.models import check_names, exported, from_argument, open_model
from benchmarks.accuracy.networks import network_times, untrained_models
from benchmarks.accuracy.phantoms import SPLIT, write_phantoms
from benchmarks.accuracy.report import write_report
from benchmarks.accuracy.results import Results
from benchmarks.accuracy.store import Store
from fcp_runtime.cli.common import command_line, say_error, tqdm_progress
from fcp_runtime.errors import SettingsError
from fcp_runtime.evaluate.manifest import read_manifest
from fcp_runtime.network.registry import load_model

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.accuracy.images import Item
    from benchmarks.accuracy.models import Model
    from benchmarks.accuracy.store import Record, Rule
    from fcp_runtime.evaluate.manifest import Row

NAME = "accuracy"
A_FILE = click.Path(path_type=Path)
SOURCES = Path(__file__).with_name("sources.csv")
"""What holds for all images of some public sources, for manifests that do not say it."""


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--manifest", type=A_FILE, required=True, help="CSV table of images.")
@click.option(
    "--sources",
    type=A_FILE,
    default=SOURCES,
    show_default="benchmarks/accuracy/sources.csv",
    help="CSV table of what holds for all images of a source.",
)
@click.option("--split", multiple=True, help="May be repeated; by default all named dev*.")
@click.option(
    "--models",
    multiple=True,
    metavar="[NAME=]MODEL",
    help="Student: shipped key, ONNX file or checkpoint; may be repeated. By default v3.",
)
@click.option("--teacher", metavar="MODEL", help="ONNX file or Cellpose checkpoint (.pt).")
@click.option("--generalist", metavar="MODEL", help="The checkpoint that the teacher began from.")
@click.option("--undistilled", is_flag=True, help="Dilated with the teacher's weights (.pt) too.")
@click.option(
    "--leave-out",
    multiple=True,
    metavar="SOURCE=MODEL",
    help="A student trained without a source; may be repeated.",
)
@click.option("--compress", metavar="NAME", default="", help="Also this student in 8 bits, pruned.")
@click.option("--phantoms", type=click.IntRange(0), default=1, show_default=True, help="Seeds.")
@click.option("--limit", type=click.IntRange(1), help="At most so many images of each source.")
@click.option("--without", multiple=True, metavar="SOURCE", help="Not this source; repeatable.")
@click.option("--estimate", is_flag=True, help="Students at estimated diameters too.")
@click.option("--rounds", type=click.IntRange(0), default=3, show_default=True, help="Of times.")
@click.option("--threads", type=click.IntRange(1), help="By default the CPUs that may be used.")
@click.option("--again", is_flag=True, help="Compute again what other code has computed.")
@click.option("--report-only", is_flag=True, help="Measure nothing; report what there is.")
@click.option(
    "--results", type=A_FILE, help="Folder of what is measured once; by default results in DIR."
)
@click.option(
    "--fill",
    "fills",
    multiple=True,
    metavar="FILE=NAME",
    help="Put this student's figures into the table of a Markdown file; may be repeated.",
)
@click.option("-o", "--output", type=A_FILE, required=True, metavar="DIR", help="For the report.")
@command_line(NAME)
def main(manifest: Path, output: Path, fills: tuple[str, ...], **options: Any) -> None:
    """Write tables and figures on how good the models are, computing only what is lacking."""
    output.mkdir(parents=True, exist_ok=True)
    rows = read_manifest(manifest, options["sources"])
    models = enter(rows, output / "models", options)
    pages = [
        (Path(path), by_name(models, name))
        for path, _, name in (text.rpartition("=") for text in fills)
    ]
    items = choose(rows, output, options)
    folder = options["results"] or output / "results"
    files = {one.sha256: Store(folder, one.network, one.sha256) for one in models}
    stores = {one: files[one.sha256] for one in models}
    failed: list[Any] = []
    students = {one: store for one, store in stores.items() if one.role == "student"}
    if not options["report_only"]:
        work = partial(
            measure, threads=options["threads"], again=options["again"], progress=tqdm_progress()
        )
        for role_items, some in workload(items, stores):
            failed += work(role_items, some, "gt")
        if options["estimate"]:
            failed += work([item for item in items if item.row.ndim == 2], students, "auto")
    results = Results(
        tuple(items),
        tuple(models),
        collect(items, stores, "gt"),
        collect(items, students, "auto"),
    )
    rounds = 0 if options["report_only"] else options["rounds"]
    times = network_times(output / "times.json", timed(models), rounds)
    command = shlex.join(["python", "-m", "benchmarks.accuracy", *sys.argv[1:]])
    report = write_report(results, times, output, compressed=options["compress"], command=command)
    for path, one in pages:
        fill(path, card_table(results, one))
    click.echo(report)
    for item, error in failed:
        click.echo(f"{NAME}: {item.key} failed", err=True)
        say_error(NAME, error)
    if failed:
        sys.exit(1)


def enter(rows: Sequence[Row], folder: Path, options: Mapping[str, Any]) -> list[Model]:
    """Return all models that take part."""
    models = []
    if options["teacher"]:
        models.append(from_argument(options["teacher"], "teacher", folder, name="teacher"))
    if options["generalist"]:
        name = "generalist"
        models.append(from_argument(options["generalist"], "reference", folder, name=name))
    if options["undistilled"]:
        if not options["teacher"]:
            raise SettingsError("--undistilled needs --teacher")
        path = exported(Path(options["teacher"].rpartition("=")[2]), folder, "dilated")
        models.append(open_model("dilated undistilled", str(path), "reference"))
    models += [from_argument(text, "student", folder) for text in options["models"] or ("v3",)]
    for text in options["leave_out"]:
        source, equals, model = text.partition("=")
        if not (source and equals and model):
            raise SettingsError(f"--leave-out {text}: give SOURCE=MODEL")
        named = f"without {source}={model}"
        models.append(from_argument(named, "left out", folder, left_out=source))
    if options["compress"]:
        original = by_name(models, options["compress"])
        models += compressed_models(original, rows, folder)
    check_names(models)
    return models


def by_name(models: Sequence[Model], name: str) -> Model:
    """Return the model of that name.

    Raises
    ------
    SettingsError
        If there is none.
    """
    for one in models:
        if one.name == name:
            return one
    raise SettingsError(f"no model {name}; there are: {', '.join(one.name for one in models)}")


def choose(rows: Sequence[Row], output: Path, options: Mapping[str, Any]) -> list[Item]:
    """Return the images of the manifest and the phantoms."""
    splits = options["split"] or list(
        dict.fromkeys(row.split for row in rows if row.split.startswith("dev"))
    )
    limit = options["limit"]
    items = choose_items(rows, splits, limit=limit, without=options["without"])
    if options["phantoms"]:
        made = read_manifest(write_phantoms(output / "phantoms", options["phantoms"]))
        items += choose_items(made, [SPLIT], limit=limit)
    return items


def workload(
    items: Sequence[Item], stores: Mapping[Model, Store]
) -> list[tuple[list[Item], dict[Model, Store]]]:
    """Return which images which models need: those of a left-out source only, or all."""
    everywhere = {one: store for one, store in stores.items() if one.role != "left out"}
    loads = [(list(items), everywhere)]
    for one, store in stores.items():
        if one.role == "left out":
            mine = [item for item in items if item.row.source == one.left_out]
            loads.append((mine, {one: store}))
    return loads


def collect(
    items: Sequence[Item], stores: Mapping[Model, Store], rule: Rule
) -> dict[tuple[Model, Item], Record]:
    """Return the results at hand."""
    return {
        (one, item): record
        for item in items
        for one, store in stores.items()
        if (record := store.find(item, rule)) is not None
    }


def timed(models: Sequence[Model]) -> dict[str, Any]:
    """Return what is timed: the ten networks by key, and compressed models by name."""
    own = {
        one.name: partial(lambda model: load_model(model).content, one.location)
        for one in models
        if one.role == "compressed"
    }
    return untrained_models() | own


if __name__ == "__main__":
    main()

"""``fcp-cellpose``: takes the command line of Cellpose, and writes what its callers read."""

from __future__ import annotations

import platform
import sys
import time
import warnings
from dataclasses import replace
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import click

from fcp_runtime.cellpose_cli.log import Log
from fcp_runtime.cellpose_cli.options import OPTIONS, TYPES, CellposeCommand
from fcp_runtime.cli.common import command_line, preparing, say_error
from fcp_runtime.errors import FcpWarning

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fcp_runtime.cellpose_cli.request import Request
    from fcp_runtime.segmenter import Segmenter

NAME = "fcp-cellpose"


def cellpose_options(function: Callable[..., None]) -> Callable[..., None]:
    """Add every option of Cellpose."""
    for option in reversed(OPTIONS):
        details = TYPES[option.kind]
        words = option.does.replace("`", "")
        text = (
            f"No effect: {words}."
            if option.fate == "ignored"
            else f"{words[0].upper()}{words[1:]}."
        )
        hidden = option.fate in {"training", "refused"}
        function = click.option(option.flag, option.name, help=text, hidden=hidden, **details)(
            function
        )
    return function


@click.command(cls=CellposeCommand, context_settings={"help_option_names": ["-h", "--help"]})
@cellpose_options
@click.option("--threads", type=int, help="Ours: by default the CPUs this process may use.")
@command_line(NAME)
def main(threads: int | None, **given: Any) -> None:
    """Segment nuclei as fcp-run does, called as Cellpose is.

    For programs that call Cellpose; see docs/cellpose.md.

    \b
    fcp-cellpose --dir images/ --pretrained_model nuclei --diameter 0 --save_png --no_npy
    """  # noqa: D301 - the mark for click is the control character itself
    if given["version"]:
        click.echo(version_text())
        return
    from fcp_runtime.cellpose_cli.request import read_request

    started = time.perf_counter()
    log = Log.begin(verbose=given["verbose"])
    with preparing():
        request = read_request(given)
        from fcp_runtime.segmenter import Segmenter

        segmenter = Segmenter(request.model.model, threads)
    if request.model.differs:
        warnings.warn(request.model.word, FcpWarning, stacklevel=1)
    elif request.model.word:
        log.say(request.model.word)
    failed = run(request, segmenter, log)
    log.say(f">>>> completed in {time.perf_counter() - started:.3f} sec")
    if failed:
        click.echo(f"{NAME}: {failed} of {len(request.images)} images failed", err=True)
        sys.exit(1)


def run(request: Request, segmenter: Segmenter, log: Log) -> int:
    """Segment every image; return how many failed, each of which has been said."""
    total = len(request.images)
    log.say(f">>>> running fastercellpose on {total} images, model {request.model.model}")
    started = time.perf_counter()
    failed = 0
    log.progress(0, total, 0.0)
    for done, image in enumerate(request.images, start=1):
        try:
            log.say(segment_image(image, request, segmenter))
        except Exception as error:  # noqa: BLE001 - whatever one image does, the others are done
            say_error(NAME, error, image)
            log.say(f"{image}: failed: {error}")
            failed += 1
        log.progress(done, total, time.perf_counter() - started)
    return failed


def segment_image(image: Path, request: Request, segmenter: Segmenter) -> str:
    """Segment one image and write its files; return a line about it."""
    from fcp_runtime.cellpose_cli.files import needs_fields, write_files
    from fcp_runtime.cellpose_cli.images import read_image
    from fcp_runtime.masks.border import without_border_objects

    workers = segmenter.workers
    volume = read_image(image, request.axes, invert=request.invert, workers=workers)
    result = segmenter.segment(volume, keep_fields=needs_fields(request.wanted), **request.options)
    if request.exclude_on_edges:
        result = replace(result, masks=without_border_objects(result.masks, "xyz"))
    write_files(image, volume, result, request.wanted, workers)
    return f"{image}: {result.count} objects, diameter {result.diameter:.1f}"


def version_text() -> str:
    """Return versions as Cellpose prints them: pipelines read the third word of the second line."""
    return (
        f"\n{NAME} version: \t{version('fastercellpose')} \nplatform:       \t{sys.platform} \n"
        f"python version: \t{platform.python_version()} "
    )

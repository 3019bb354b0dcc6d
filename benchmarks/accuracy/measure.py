"""Computes what the stores lack: image after image, and every model on one before the next."""

from __future__ import annotations

import ast
import hashlib
from importlib import resources
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.accuracy.store import Record, as_lists
from fcp_runtime.errors import FcpError
from fcp_runtime.evaluate.runner import evaluate_row
from fcp_runtime.phantom import organoid
from fcp_runtime.segmenter import Segmenter

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.accuracy.images import Item
    from benchmarks.accuracy.models import Model
    from benchmarks.accuracy.store import Rule, Store
    from fcp_runtime.evaluate.runner import Outcome
    from fcp_runtime.machine.workers import Progress

ROOMS = ("sampling", "network", "masks")
FILES = (
    "segmenter.py",
    "resolve.py",
    "settings.py",
    "fields.py",
    "diameter.py",
    "evaluate/metrics.py",
)


def measure(
    items: Sequence[Item],
    stores: Mapping[Model, Store],
    rule: Rule,
    *,
    threads: int | None,
    again: bool,
    progress: Progress,
) -> list[tuple[Item, FcpError]]:
    """Segment and score every image with every model whose result is not in its store.

    Models take turns on an image, so that a busy machine slows all of them alike.

    Parameters
    ----------
    items : sequence of Item
    stores : mapping of Model to Store
        One and the same for models of one file.
    rule : {"gt", "auto"}
    threads : int or None
    again : bool
        Whether results of other code than the present one are computed again.
    progress : Progress

    Returns
    -------
    list of (Item, FcpError)
        The images that could not be evaluated; the others are in the stores.
    """
    code = code_digest()
    pairs = [(item, one) for item in items for one in stores]
    segmenters: dict[Model, Segmenter] = {}
    failed: list[tuple[Item, FcpError]] = []
    for done, (item, one) in enumerate(pairs):
        progress("results", done, len(pairs))
        known = stores[one].find(item, rule)
        if known is not None and not (again and known.code != code):
            continue
        if one not in segmenters:
            segmenters[one] = _warm(Segmenter(one.location, threads))
        segmenter = segmenters[one]
        try:
            outcome = evaluate_row(item.row, segmenter, rule).outcome
        except FcpError as error:
            failed.append((item, error))
            continue
        stores[one].add(_record(item, rule, outcome, segmenter.workers.count, code))
    progress("results", len(pairs), len(pairs))
    return failed


def code_digest() -> str:
    """Return a digest of the code that makes masks and scores; comments and layout do not count."""
    package = resources.files("fcp_runtime")
    files = [package.joinpath(name) for name in FILES]
    for room in ROOMS:
        found = [file for file in package.joinpath(room).iterdir() if file.name.endswith(".py")]
        files += sorted(found, key=lambda file: file.name)
    text = "\n".join(ast.dump(ast.parse(file.read_text(encoding="utf-8"))) for file in files)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _record(item: Item, rule: Rule, outcome: Outcome, threads: int, code: str) -> Record:
    at, lenient = as_lists(outcome.scores)
    fragments = outcome.without_fragments
    at_whole, lenient_whole = as_lists(fragments[0]) if fragments else (None, None)
    return Record(
        item.key,
        item.digest,
        rule,
        at,
        lenient,
        at_whole,
        lenient_whole,
        outcome.diameter_is_right,
        outcome.network_seconds,
        outcome.total_seconds,
        threads,
        code,
        {name: value for name, value in outcome.settings.items() if name != "model"},
    )


def _warm(segmenter: Segmenter) -> Segmenter:
    """Compile the kernels, so that the first image's time is like the others'."""
    small = organoid((8, 32, 32), diameter=8, phenotype="compact")
    for image in (small.image[4], small.image):
        segmenter.segment(np.asarray(image), diameter=8.0, anisotropy=1.0)
    return segmenter

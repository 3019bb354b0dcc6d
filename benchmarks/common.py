"""What the benchmarks share: tables as Markdown and CSV, one style of figure, the machine's name."""

from __future__ import annotations

import csv
import platform
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fcp_runtime.errors import MissingExtraError
from fcp_runtime.io.atomic import replacing
from fcp_runtime.machine.system import usable_cpus

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#999999")
"""Okabe and Ito's palette, which colour-blind readers can tell apart."""


def markdown(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a Markdown table; the first column is flush left, the others are flush right."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a table as CSV; None becomes an empty cell."""
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def machine() -> str:
    """Return processor, CPUs in use and the versions that matter, in one line."""
    names = ("fastercellpose", "onnxruntime", "numpy", "numba")
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in names)
    python = f"Python {platform.python_version()}"
    return f"{_processor()}, {usable_cpus()} CPUs usable; {python}, {versions}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()


def figure(columns: int = 1, rows: int = 1, *, width: float = 5.0, height: float = 3.6) -> Any:
    """Return a matplotlib figure and its axes, shape (rows, columns), in the common style.

    Raises
    ------
    MissingExtraError
        Without matplotlib.
    """
    try:
        import matplotlib as mpl
        from cycler import cycler
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError(
            "figures need matplotlib; run pip install 'fastercellpose[export]'"
        ) from error
    style: Any = {
        "font.size": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "grid.color": "#dddddd",
        "axes.axisbelow": True,
        "axes.prop_cycle": cycler(color=COLOURS),
        "legend.frameon": False,
    }
    with mpl.rc_context(style):
        made = Figure(figsize=(width * columns, height * rows), layout="constrained")
        return made, made.subplots(rows, columns, squeeze=False)


def save_figure(made: Any, path: Path) -> None:
    """Write a figure as PNG; the same figure gives the same bytes."""
    with replacing(path) as temporary:
        made.savefig(temporary, dpi=150, format="png", metadata={"Software": None})

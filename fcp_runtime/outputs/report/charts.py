"""Histograms as SVG."""

from __future__ import annotations

import html
import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

WIDTH, HEIGHT = 360, 210
LEFT, RIGHT, TOP, BOTTOM = 44, 12, 26, 40
FEWEST, MOST = 5, 30
"""Bins."""


def histogram(
    values: NDArray[Any],
    label: str,
    marks: Mapping[str, float] | None = None,
    objects: NDArray[Any] | None = None,
) -> str:
    """Return a histogram as an SVG element.

    Parameters
    ----------
    values : ndarray, shape (N,)
        Those that are not finite are left out.
    label : str
        Below the axis.
    marks : mapping of str to float or None
        Values to be marked by an upright line, by what stands beside it.
    objects : ndarray of int, shape (N,), or None
        Labels of the values: a bar names its own in ``data-objects``.

    Returns
    -------
    str
        ``<svg>``, or a paragraph where there are no values.
    """
    values = np.asarray(values, np.float64)
    finite = np.isfinite(values)
    values = values[finite]
    if len(values) == 0:
        return f"<p>No objects, no distribution of {html.escape(label)}.</p>"
    counts, edges = _bins(values)
    wanted = [mark for mark in (marks or {}).values() if math.isfinite(mark)]
    low, high = min([float(edges[0]), *wanted]), max([float(edges[-1]), *wanted])
    tallest = int(counts.max())
    top = ticks(0, tallest, 4)

    def x(value: float) -> float:
        return LEFT + (value - low) / (high - low) * (WIDTH - LEFT - RIGHT)

    def y(count: float) -> float:
        return HEIGHT - BOTTOM - count / tallest * (HEIGHT - TOP - BOTTOM)

    name = html.escape(label)
    parts = [
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{name}">',
    ]
    for count in top:
        if count == int(count):
            parts.append(f'<path class="grid" d="M{LEFT} {y(count):.1f}H{WIDTH - RIGHT}"/>')
            parts.append(_text(LEFT - 6, y(count) + 4, f"{count:g}", "end"))
    bins = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(counts) - 1)
    names = np.zeros(0, np.int64) if objects is None else objects[finite]
    for number, (count, begin, end) in enumerate(zip(counts, edges[:-1], edges[1:], strict=True)):
        mine = " ".join(map(str, names[bins == number].tolist())) if len(names) else ""
        box = f'x="{x(begin) + 0.5:.1f}" width="{max(x(end) - x(begin) - 1, 0.5):.1f}"'
        parts.append(
            f'<rect class="bar" data-objects="{mine}" {box} y="{y(count):.1f}" height="{y(0) - y(count):.1f}">'
            f"<title>{begin:.4g} to {end:.4g}: {count}</title></rect>"
        )
    parts.append(f'<path class="axis" d="M{LEFT} {y(0):.1f}H{WIDTH - RIGHT}"/>')
    parts += [_text(x(tick), y(0) + 16, f"{tick:g}", "middle") for tick in ticks(low, high, 6)]
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 6, label, "middle"))
    for row, (name, value) in enumerate((marks or {}).items()):
        if math.isfinite(value):
            parts.append(_mark(x(value), y(0), f"{name} {value:.4g}", row))
    return "".join([*parts, "</svg>"])


def _bins(values: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return counts and edges, by the rule of Freedman and Diaconis (1981) within bounds."""
    low, high = float(values.min()), float(values.max())
    if high - low <= 1e-9 * max(abs(low), abs(high)):  # all alike: one bar in the middle
        half = max(abs(low) * 0.05, 0.5)
        low, high = low - half, high + half
    spread = np.subtract(*np.percentile(values, (75, 25)))
    width = 2 * spread / np.cbrt(len(values))
    count = MOST if width == 0 else math.ceil(min((high - low) / width, MOST))
    return np.histogram(values, max(count, FEWEST), (low, high))


def ticks(low: float, high: float, most: int) -> list[float]:
    """Return round numbers (1, 2 or 5 times a power of ten apart) from ``low`` to ``high``."""
    if high <= low:
        return [low]
    raw = (high - low) / most
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [float(f"{number * step:.12g}") for number in range(first, last + 1)]


def _mark(x: float, bottom: float, words: str, row: int) -> str:
    left = x > WIDTH / 2
    text = _text(x + (-4 if left else 4), TOP - 14 + 12 * row, words, "end" if left else "start")
    return f'<path class="mark" d="M{x:.1f} {TOP - 20 + 12 * row}V{bottom:.1f}"/>{text}'


def _text(x: float, y: float, words: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{html.escape(words)}</text>'

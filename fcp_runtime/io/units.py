"""Units of length and time, as files spell them."""

from __future__ import annotations

import math
from typing import Any

MICROMETRES = {
    "pm": 1e-6,
    "\u00e5": 1e-4,  # letter
    "\u212b": 1e-4,  # sign
    "angstrom": 1e-4,
    "nm": 1e-3,
    "nanometer": 1e-3,
    "nanometre": 1e-3,
    "um": 1.0,
    "\u00b5": 1.0,
    "\u03bc": 1.0,
    "\u00b5m": 1.0,  # micro sign
    "\u03bcm": 1.0,  # Greek mu
    "\\u00b5m": 1.0,  # as ImageJ escapes it
    "micron": 1.0,
    "micrometer": 1.0,
    "micrometre": 1.0,
    "mm": 1e3,
    "millimeter": 1e3,
    "millimetre": 1e3,
    "cm": 1e4,
    "centimeter": 1e4,
    "centimetre": 1e4,
    "dm": 1e5,
    "m": 1e6,
    "meter": 1e6,
    "metre": 1e6,
    "fm": 1e-9,
    "am": 1e-12,
    "km": 1e9,
    "thou": 25.4,
    "mil": 25.4,
    "in": 25400.0,
    "inch": 25400.0,
    "inche": 25400.0,  # less its s
    "ft": 304800.0,
}
"""Micrometres in a unit, by its name in small letters and in the singular."""

PRINTED = {"cm", "centimeter", "centimetre", "in", "inch", "inche"}
"""Units in which programs state the resolution of screens and printers."""

LARGEST_PIXEL = 10.0
"""Micrometres: a pixel stated in a unit of printing is believed up to here, 2400 a inch."""

SECONDS = {
    "ns": 1e-9,
    "us": 1e-6,
    "\u00b5s": 1e-6,
    "\u03bcs": 1e-6,
    "ms": 1e-3,
    "msec": 1e-3,
    "millisecond": 1e-3,
    "s": 1.0,
    "sec": 1.0,
    "second": 1.0,
    "min": 60.0,
    "minute": 60.0,
    "h": 3600.0,
    "hr": 3600.0,
    "hour": 3600.0,
    "d": 86400.0,
}
"""Seconds in a unit, likewise."""


def number(value: Any) -> float | None:
    """Return a number that may be text with a decimal comma; NaN where it is none, None for None.

    Examples
    --------
    >>> number("0,25"), number(2), number("two"), number(None)
    (0.25, 2.0, nan, None)
    """
    if value is None:
        return None
    try:
        return float(value.strip().replace(",", ".") if isinstance(value, str) else value)
    except (TypeError, ValueError, OverflowError):
        return math.nan


def micrometres(size: Any, unit: str) -> float | None:
    """Convert a length; None where it is missing or in no known unit, NaN where it is no number.

    Examples
    --------
    >>> micrometres("0,5", "Microns"), micrometres(2000, "nanometers"), micrometres(1, "pixel")
    (0.5, 2.0, None)
    """
    factor = _factor(unit, MICROMETRES)
    stated = number(size)
    return None if stated is None or factor is None else stated * factor


def seconds(time: Any, unit: str) -> float | None:
    """Convert a time; None where it is missing, not positive, or in no known unit."""
    factor = _factor(unit, SECONDS)
    stated = number(time)
    if stated is None or factor is None or not 0 < stated * factor < math.inf:
        return None
    return stated * factor


def believed(size: float | None, unit: str) -> float | None:
    """Return a size of a pixel in micrometres unless it looks like that of a printer."""
    printed = unit.strip().strip('"').lower().removesuffix("s") in PRINTED
    return None if printed and size is not None and size > LARGEST_PIXEL else size


def _factor(unit: str, units: dict[str, float]) -> float | None:
    name = unit.strip().strip('"').lower()
    found = units.get(name)
    return units.get(name.removesuffix("s")) if found is None else found

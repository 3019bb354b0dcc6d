"""What is known of a setting, in one row: its kind, limits, help, group and range of its widget."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from numbers import Real
from typing import Any, Literal

from fcp_runtime.errors import SettingsError

Kind = Literal["text", "mode", "number", "whole", "pair", "switch"]
Group = Literal["nuclei", "intensities", "masks", "network"]

GROUPS: dict[Group, str] = {
    "nuclei": "What the image shows",
    "intensities": "Intensities",
    "masks": "From flows to masks",
    "network": "Network",
}
"""Titles of the groups of settings, in the order in which they are shown."""


@dataclass(frozen=True)
class Row:
    """All that is known of a setting: validation, command line, napari and docs read it here.

    Attributes
    ----------
    kind : {"text", "mode", "number", "whole", "pair", "switch"}
        What a value is: words, a mode, a number, a whole number, two numbers, yes or no.
    group : str
        A key of `GROUPS`.
    help : str
        One line, for the command line and the docs.
    good : callable
        Whether a value of the kind is possible.
    limits : str
        What is wrong with one that is not: the message after the setting's name.
    common : bool
        Whether most people need it: ``--help`` shows it.
    metavar : str or None
        What stands for the value in the help.
    widget : tuple of float or None
        Least, largest and step of the number's box in napari.
    """

    kind: Kind
    group: Group
    help: str
    good: Callable[[Any], bool] = lambda _: True
    limits: str = ""
    common: bool = False
    metavar: str | None = None
    widget: tuple[float, float, float] | None = None


def row(default: Any, kind: Kind, group: Group, text: str, **known: Any) -> Any:
    """Return a dataclass field whose metadata is a `Row`; a default of None leaves the setting open."""
    return field(default=default, metadata={"row": Row(kind, group, text, **known)})


def plain_value(name: str, about: Row, value: Any, *, optional: bool) -> Any:
    """Return a setting's value as a plain Python value.

    Raises
    ------
    SettingsError
        If it is of another kind, or not possible.
    """
    if value is None and optional:
        return None
    plain = _kept(name, about, value)
    if not about.good(plain):
        raise SettingsError(f"{name} {about.limits}")
    return plain


def _kept(name: str, about: Row, value: Any) -> Any:
    """Return a setting as a plain Python value, whatever numbers a pipeline has, or refuse its kind."""
    if about.kind in {"text", "mode"}:
        if not isinstance(value, str):
            raise SettingsError(f"{name} must be text, not {value!r}")
        return value
    if about.kind == "switch":
        if value not in (True, False):
            raise SettingsError(f"{name} must be true or false, not {value!r}")
        return bool(value)
    if about.kind == "pair":
        if not isinstance(value, Sequence) or isinstance(value, str) or len(value) != 2:
            raise SettingsError(f"{name} must be two numbers, not {value!r}")
        return tuple(_number(name, part) for part in value)
    number = _number(name, value)
    if about.kind == "number":
        return number
    if not number.is_integer():
        raise SettingsError(f"{name} must be a whole number, not {value!r}")
    return int(number)


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise SettingsError(f"{name} must be a number, not {value!r}")
    if not math.isfinite(value):
        raise SettingsError(f"{name} must be a finite number, not {value}")
    return float(value)

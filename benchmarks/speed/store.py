"""Measurements: what is kept need not be measured again."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmarks.store import LineStore, Result

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


@dataclass(frozen=True)
class Measurement:
    """One thing to measure.

    Attributes
    ----------
    section : str
        Part of the report it belongs to.
    name : str
        What it is, in words; unique in its section.
    task : str
        Function of `benchmarks.speed.tasks` that measures it.
    arguments : dict
        What that is given, as JSON has it.
    repeat : int
        Which of several.
    """

    section: str
    name: str
    task: str
    arguments: dict[str, Any]
    repeat: int = 0

    @property
    def key(self) -> str:
        """What tells it apart: changes with everything that is asked for."""
        asked = json.dumps([self.task, self.arguments, self.repeat], sort_keys=True)
        words = "".join(char if char.isalnum() or char in ".-" else "_" for char in self.name)
        return f"{words}-{self.repeat}-{hashlib.sha256(asked.encode()).hexdigest()[:8]}"


class Store:
    """The results of a run: ``results.jsonl`` in its folder.

    Parameters
    ----------
    folder : Path
        Made if need be.
    """

    def __init__(self, folder: Path) -> None:
        self._lines = LineStore(folder / "results.jsonl", ("section", "key"))

    def load(self, measurement: Measurement) -> Result | None:
        """Return the result, or None if there is none yet."""
        found = self._lines.find(measurement.section, measurement.key)
        return None if found is None else dict(found["result"])

    def save(self, measurement: Measurement, result: Result) -> None:
        """Keep a result."""
        self._lines.add({"section": measurement.section, "key": measurement.key, "result": result})

    def gather(self, measurements: Iterable[Measurement]) -> dict[str, dict[str, list[Result]]]:
        """Return the results there are: by section and name, a list of repeats."""
        found: dict[str, dict[str, list[Result]]] = {}
        for measurement in measurements:
            result = self.load(measurement)
            if result is not None:
                names = found.setdefault(measurement.section, {})
                names.setdefault(measurement.name, []).append(result)
        return found

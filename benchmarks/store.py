"""Results kept as lines of JSON, so that nothing is computed twice."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from fcp_runtime.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

Result = dict[str, Any]


class LineStore:
    """A file with one result a line; of results with the same key the last one counts.

    Parameters
    ----------
    path : Path
        Its folder is made if need be. A line that an interrupted run left unfinished is passed
        over.
    key : sequence of str
        Names of the values that tell results apart; every result has them.

    Raises
    ------
    OutputError
        If the folder cannot be made.
    """

    def __init__(self, path: Path, key: Sequence[str]) -> None:
        self.path = path
        self._key = tuple(key)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(
                f"{path.parent}: cannot be made a folder: {error.strerror}"
            ) from error
        self.results: dict[tuple[Any, ...], Result] = {}
        for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
            try:
                result = json.loads(line)
            except ValueError:
                continue
            if isinstance(result, dict) and result.keys() >= set(self._key):
                self.results[self._values(result)] = result

    def find(self, *values: object) -> Result | None:
        """Return the result whose key has these values, or None."""
        return self.results.get(values)

    def add(self, result: Result) -> None:
        """Keep a result, in the file too.

        Raises
        ------
        OutputError
            If the file cannot be written.
        """
        self.results[self._values(result)] = result
        line = json.dumps(result, sort_keys=True) + "\n"
        try:
            with self.path.open("a+b") as file:
                if file.tell():
                    file.seek(-1, os.SEEK_END)
                    line = line if file.read() == b"\n" else f"\n{line}"  # after a cut line
                file.write(line.encode())  # one write at the end: runs may share the file
        except OSError as error:
            raise OutputError(f"{self.path}: cannot be written: {error.strerror}") from error

    def _values(self, result: Result) -> tuple[Any, ...]:
        return tuple(result[name] for name in self._key)

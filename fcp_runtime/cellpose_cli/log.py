"""Lines on the screen and in the file where callers of Cellpose look for them."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import click

FOLDER, FILE = ".cellpose", "run.log"
BAR = 10
"""Marks of a full progress bar."""


@dataclass(frozen=True)
class Log:
    """What ``--verbose`` shows; without it, nothing.

    Attributes
    ----------
    verbose : bool
    file : Path or None
        Where lines go, too.
    """

    verbose: bool = False
    file: Path | None = None

    @classmethod
    def begin(cls, *, verbose: bool) -> Self:
        """Begin a log; with ``verbose`` in a new ``~/.cellpose/run.log``, if that can be written."""
        if not verbose:
            return cls()
        try:
            path = Path.home() / FOLDER / FILE
            path.parent.mkdir(exist_ok=True)
            path.write_text("", encoding="utf-8")
        except (OSError, RuntimeError):  # no home, or a read-only one: the screen will do
            return cls(verbose=True)
        return cls(verbose=True, file=path)

    def say(self, text: str) -> None:
        """Add a line, in the form of Cellpose's: time, level, text."""
        if not self.verbose:
            return
        stamp = time.strftime("%Y-%m-%d %H:%M:%S")
        line = f"{stamp},{int(time.time() * 1000) % 1000:03d} [INFO] {text}"
        click.echo(line)
        if self.file is not None:
            with self.file.open("a", encoding="utf-8") as file:
                file.write(line + "\n")

    def progress(self, done: int, total: int, seconds: float) -> None:
        """Add a line that says how far the run is; TrackMate reads the percentage."""
        self.say(progress_line(done, total, seconds))


def progress_line(done: int, total: int, seconds: float) -> str:
    """Return progress as tqdm writes it.

    >>> progress_line(1, 4, 30.2)
    ' 25%|##        | 1/4 [00:30<01:30, 30.20s/it]'
    """
    part = done / total
    bar = "#" * int(BAR * part)
    rate = seconds / done if done else 0.0
    left = _clock(rate * (total - done)) if done else "?"
    speed = f"{rate:.2f}s/it" if done else "?it/s"
    return f"{part:4.0%}|{bar:{BAR}}| {done}/{total} [{_clock(seconds)}<{left}, {speed}]"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes:02d}:{rest:02d}"

"""The outputs that a run is asked for: check them before it begins, write them at its end."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from fcp_runtime.errors import OutputError
from fcp_runtime.outputs.extras import load_extra
from fcp_runtime.outputs.kinds import BY_KIND

if TYPE_CHECKING:
    from fcp_runtime.io.image import Volume
    from fcp_runtime.outputs.output import Need, Run

Targets = Mapping[str, tuple[Path, ...]]
"""Files by kind, a key of `BY_KIND`; a kind may have several, in other formats."""


def written_files(targets: Targets) -> list[Path]:
    """Return the files that outputs consist of: a graph as CSV has two."""
    return [
        file
        for kind, paths in targets.items()
        for path in paths
        for file in BY_KIND[kind].files(path)
    ]


def check_targets(targets: Targets) -> None:
    """Raise now, before a long run, what would be raised at its end.

    Raises
    ------
    OutputError
        If a name has the suffix of another format.
    MissingExtraError
        If a format needs a library that is missing.
    """
    for kind, paths in targets.items():
        output = BY_KIND[kind]
        for path in paths:
            suffix = path.suffix.lower()
            if suffix not in output.suffixes:
                allowed = " or ".join(output.suffixes) or "a folder, whose name has no suffix"
                raise OutputError(f"{path}: {output.flag} writes {allowed}; name it so")
            if suffix in output.extras:
                load_extra(output.extras[suffix], f"{path}: {output.flag} as {suffix}")


def check_axes(targets: Targets, volume: Volume) -> None:
    """Refuse outputs of films, and formats for one image where the volume is a stack.

    Raises
    ------
    OutputError
        With what to use in place of it.
    """
    for kind, paths in targets.items():
        if BY_KIND[kind].films == "only":
            raise OutputError(
                f"{paths[0]}: {BY_KIND[kind].flag} is for films, and {volume.name} is one image or "
                "stack; if its pages are time points, say --axes TYX"
            )
        if BY_KIND[kind].flat_only and volume.pixels.ndim == 3:
            raise OutputError(
                f"{paths[0]}: {BY_KIND[kind].flag} is for one image, and {volume.name} is a stack "
                f"of {len(volume.pixels)} planes; use --rois"
            )


def check_film(targets: Targets, name: str) -> None:
    """Refuse outputs that a film does not have.

    Raises
    ------
    OutputError
        With those that it has.
    """
    for kind, paths in targets.items():
        if BY_KIND[kind].films == "no":
            have = ", ".join(output.flag for output in BY_KIND.values() if output.films != "no")
            raise OutputError(
                f"{paths[0]}: {BY_KIND[kind].flag} is for one image or stack, and {name} is a film; "
                f"films have {have}"
            )


def needed(targets: Targets, need: Need) -> bool:
    """Return whether any of the outputs needs ``need``."""
    return any(need in BY_KIND[kind].needs for kind in targets)


def write_outputs(targets: Targets, run: Run) -> None:
    """Write every output but those that need the summary, each whole or not at all.

    Raises
    ------
    OutputError
        If a file cannot be written.
    """
    _write(targets, run, last=False)


def write_last_outputs(targets: Targets, run: Run) -> None:
    """Write the outputs that tell how the whole run went: they need its summary.

    Raises
    ------
    OutputError
        If a file cannot be written.
    """
    _write(targets, run, last=True)


def _write(targets: Targets, run: Run, *, last: bool) -> None:
    for kind, paths in targets.items():
        if ("summary" in BY_KIND[kind].needs) == last:
            for path in paths:
                BY_KIND[kind].write(path, run)

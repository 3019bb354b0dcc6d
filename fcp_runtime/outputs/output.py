"""What one kind of output is, and what its writer gets."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from fcp_runtime.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from fcp_runtime.io.image import Volume
    from fcp_runtime.machine.workers import Workers
    from fcp_runtime.outputs.graph import Graph, Method
    from fcp_runtime.outputs.table import Table
    from fcp_runtime.outputs.voxel_sums import VoxelSums
    from fcp_runtime.segmentation import Segmentation

Need = Literal["pixels", "fields", "channels", "summary"]
Films = Literal["no", "too", "only"]


@dataclass(frozen=True)
class GraphChoice:
    """How cells become neighbours; see `fcp_runtime.outputs.graph.build_graph`."""

    method: Method = "touching"
    limit: float | None = None
    neighbours: int = 6


@dataclass
class Measured:
    """Measurements of a result, each computed when it is first asked for and then kept.

    Attributes
    ----------
    volume : Volume
    result : Segmentation
    channels : mapping of str to ndarray
        Channels beside the one that was segmented, by name.
    graph_choice : GraphChoice
    workers : Workers
    """

    volume: Volume
    result: Segmentation
    channels: Mapping[str, NDArray[Any]]
    graph_choice: GraphChoice
    workers: Workers

    @cached_property
    def sums(self) -> VoxelSums:
        """Sums over the voxels of each object."""
        from fcp_runtime.outputs.voxel_sums import sum_voxels

        return sum_voxels(self.result.masks, self.workers)

    @cached_property
    def table(self) -> Table:
        """Properties of each object; the channel that was segmented is called ``intensity``."""
        from fcp_runtime.outputs.measurements import region_properties

        return region_properties(
            self.result.masks,
            {"intensity": self.volume.pixels, **self.channels},
            voxel_um=self.volume.voxel_um,
            anisotropy=self.result.settings.anisotropy,
            sums=self.sums,
            workers=self.workers,
        )

    @cached_property
    def graph(self) -> Graph:
        """The cell graph."""
        from fcp_runtime.outputs.graph import build_graph

        return build_graph(
            self.table,
            self.result.masks,
            method=self.graph_choice.method,
            limit=self.graph_choice.limit,
            k=self.graph_choice.neighbours,
            voxel_um=self.volume.voxel_um,
            anisotropy=self.result.settings.anisotropy,
            sums=self.sums,
            workers=self.workers,
        )


@dataclass(frozen=True)
class Run:
    """One image and its result, as writers of outputs get it.

    Attributes
    ----------
    image : Path
        Where the volume came from, for programs that open it again.
    volume : Volume
        Its pixels are zeros unless a requested output needs them.
    result : Segmentation
        With fields, if a requested output needs them.
    measured : Measured
        Of this result.
    settings : mapping
        What made the masks, as plain values: the settings and what was done after them.
    workers : Workers
    summary : mapping
        What ``fcp-run --json`` prints; empty until the other outputs are written.
    notes : tuple of str
        Warnings of the run.
    spacing_known : bool
        Whether the file or the user stated the spacing of planes.
    """

    image: Path
    volume: Volume
    result: Segmentation
    measured: Measured
    settings: Mapping[str, Any]
    workers: Workers
    summary: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    spacing_known: bool = True


def film_only(path: Path, run: Run) -> None:
    """Stand for a writer where the output is one of films.

    Raises
    ------
    OutputError
        In any case.
    """
    raise OutputError(f"{path}: is an output of films, and {run.volume.name} is none")


def same_file(path: Path) -> tuple[Path, ...]:
    """Return the one file that most outputs consist of."""
    return (path,)


@dataclass(frozen=True, kw_only=True)
class Output:
    """One kind of output: what users read about it, what it needs, and how it is written.

    Attributes
    ----------
    kind : str
        Its name; the option is ``--kind``, with dashes for underscores.
    help : str
        What it is, for the command's help and the table in the docs.
    opened_by : str
        Programs that read it, for the table in the docs (Markdown).
    ending : str
        What follows the image's name where the output goes to a folder.
    suffixes : tuple of str
        Suffixes of file names that it may have, lower case; an empty one for a folder.
    write : callable
        Writes one file, whole or not at all.
    needs : frozenset of str
        ``"pixels"``: the image; ``"fields"``: flow and cell probability; ``"channels"``: all
        channels of the image; ``"summary"``: written last, when times are known.
    flat_only : bool
        Whether the format has no place for a third axis.
    films : {"no", "too", "only"}
        Whether a film has it; what only films have is written by `fcp_runtime.cli.film`.
    extras : mapping of str to str
        The optional library that a suffix needs.
    files : callable
        The files that a path stands for.
    """

    kind: str
    help: str
    opened_by: str
    ending: str
    suffixes: tuple[str, ...]
    write: Callable[[Path, Run], None]
    needs: frozenset[Need] = frozenset()
    flat_only: bool = False
    films: Films = "no"
    extras: Mapping[str, str] = field(default_factory=dict)
    files: Callable[[Path], tuple[Path, ...]] = same_file

    @property
    def flag(self) -> str:
        """The option of the command line."""
        return "--" + self.kind.replace("_", "-")

    @property
    def folder(self) -> bool:
        """Whether it is a folder of files."""
        return "" in self.suffixes

"""What every format hands on: the planes of one image as they are stored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypedDict

from fcp_runtime.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    Voxel = tuple[float, float, float]

LISTED = 8
"""So many images are listed in a message."""


@dataclass(frozen=True)
class Request:
    """What is asked of a file that may hold several images.

    Attributes
    ----------
    series : int or None
        The wanted image, from 0; None where there is one.
    axes : str or None
        What the user says the axes are. Metadata that contradict the pages are left aside then.
    allow_sparse : bool
        Strips and tiles that were never written are zeros, not damage.
    as_stored : bool
        Numbers mean themselves, as in labels: no palette, no "white is zero".
    """

    series: int | None = None
    axes: str | None = None
    allow_sparse: bool = False
    as_stored: bool = False


class Reading(TypedDict, total=False):
    """What `read_volume`, `read_form` and `open_film` are told of a file: see the first of them."""

    channel: int | str | None
    axes: str | None
    series: int | None
    allow_sparse: bool


class StoredImage(Protocol):
    """One image of an open file; its planes can be read from several threads."""

    @property
    def name(self) -> str:
        """The file, for messages."""

    @property
    def axes(self) -> str:
        """A letter for each axis, those of length 1 included."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each axis."""

    @property
    def tail(self) -> tuple[int, ...]:
        """Shape of a plane, axes of length 1 dropped but for Y and X."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the decoded pixels, in native byte order."""

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the channels; empty where the file has none."""

    @property
    def interval_s(self) -> float | None:
        """Seconds from frame to frame, or None."""

    @property
    def settings_text(self) -> str:
        """Metadata in which results of ours name their settings."""

    @property
    def in_place(self) -> bool:
        """Whether `plane` can decode into an array of the caller's."""

    def voxel_um(self, *, stack: bool) -> Voxel | None:
        """Return the voxel size in micrometres, (z, y, x); without ``stack``, z is that of x."""

    def mapped(self) -> NDArray[Any] | None:
        """Map the pixels into memory, or return None where they are not stored in a row."""

    def batches(self, numbers: Iterable[int]) -> list[list[int]]:
        """Group planes that one thread must read."""

    def plane(
        self, number: int, *, out: NDArray[Any] | None = None, threads: int = 1
    ) -> NDArray[Any]:
        """Read and decode a plane, by its place in stored order."""


@dataclass(frozen=True)
class PlanewiseImage:
    """An image whose planes a function reads: that of every format but TIFF.

    Attributes
    ----------
    name, axes, shape, tail, dtype, channels, interval_s
        Of `StoredImage`.
    voxel : sequence of float or None
        Micrometres, (z, y, x); None where unknown, each.
    read : callable
        Returns the plane of a number, of shape ``tail``.
    parallel : bool
        Whether several threads may call it.
    """

    name: str
    axes: str
    shape: tuple[int, ...]
    tail: tuple[int, ...]
    dtype: np.dtype[Any]
    read: Callable[[int], NDArray[Any]]
    channels: tuple[str, ...] = ()
    voxel: Sequence[float | None] = (None, None, None)
    interval_s: float | None = None
    parallel: bool = False
    settings_text: str = ""
    in_place: bool = False

    def voxel_um(self, *, stack: bool) -> Voxel | None:
        """Return the voxel size; see `StoredImage`."""
        z, y, x = self.voxel
        if y is None or x is None or (stack and z is None):
            return None
        return (z if stack and z is not None else x, y, x)

    def mapped(self) -> None:
        """Return None: nothing is mapped."""

    def batches(self, numbers: Iterable[int]) -> list[list[int]]:
        """Give each plane a thread, or all of them one."""
        return [[number] for number in numbers] if self.parallel else [list(numbers)]

    def plane(
        self,
        number: int,
        *,
        out: NDArray[Any] | None = None,  # noqa: ARG002 (of StoredImage)
        threads: int = 1,  # noqa: ARG002
    ) -> NDArray[Any]:
        """Read a plane.

        Raises
        ------
        InputError
            If it cannot be decoded.
        """
        from fcp_runtime.io.checks import AGAIN, one_line

        try:
            return self.read(number).reshape(self.tail)
        except MemoryError as error:
            raise InputError(f"{self.name}: plane {number + 1} does not fit in memory") from error
        except Exception as error:  # libraries raise anything for damaged data
            raise InputError(
                f"{self.name}: plane {number + 1} cannot be decoded ({one_line(error)}); {AGAIN}"
            ) from error


def choose_series(images: Sequence[str], wanted: int | None, name: str) -> int:
    """Return which image of a file is meant.

    Parameters
    ----------
    images : sequence of str
        A few words about each image.
    wanted : int or None
        What the user asked for.
    name : str
        The file, for messages.

    Raises
    ------
    InputError
        If there is no such image, or several and none was asked for; it lists them.
    """
    if not images:
        raise InputError(f"{name}: holds no image")
    if wanted is None and len(images) == 1:
        return 0
    if wanted is not None and 0 <= wanted < len(images):
        return wanted
    listed = ", ".join(f"{number}: {words}" for number, words in enumerate(images[:LISTED]))
    more = f" and {len(images) - LISTED} more" if len(images) > LISTED else ""
    count = f"holds {len(images)} images" if len(images) > 1 else "holds one image"
    missing = "" if wanted is None else f"there is no --series {wanted}; "
    raise InputError(
        f"{name}: {count}; {missing}choose one with --series 0 to {len(images) - 1} "
        f"({listed}{more})"
    )

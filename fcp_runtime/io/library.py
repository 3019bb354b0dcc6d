"""What readers of all formats but TIFF share: errors and warnings of libraries, and arrays as images."""

from __future__ import annotations

import math
import warnings
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from fcp_runtime.errors import FcpError, InputError
from fcp_runtime.io.axes import squeeze
from fcp_runtime.io.checks import damaged
from fcp_runtime.io.stored import PlanewiseImage
from fcp_runtime.machine.system import machine_memory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray


@contextmanager
def library_errors(name: str) -> Iterator[None]:
    """Turn what a library raises into an InputError, and keep its warnings to itself.

    Parameters
    ----------
    name : str
        The file, for messages.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except FcpError:
        raise
    except MemoryError as error:
        raise InputError(f"{name}: does not fit in memory") from error
    except Exception as error:
        raise damaged(name, error) from error


def array_image(
    name: str,
    axes: str,
    shape: Sequence[int],
    dtype: Any,
    load: Callable[[], NDArray[Any]],
    *,
    channels: Sequence[str] = (),
    voxel: Sequence[float | None] = (None, None, None),
    interval_s: float | None = None,
) -> PlanewiseImage:
    """Make an image of an array that is loaded as a whole when its first plane is read.

    Parameters
    ----------
    name : str
        The file, for messages.
    axes : str
        That end with YX or YXS; others than those of time, channels and planes have length 1.
    shape : sequence of int
        Length of each of ``axes``.
    dtype : dtype
    load : callable
        Returns the array.
    channels, voxel, interval_s
        Of `PlanewiseImage`.

    Raises
    ------
    InputError
        If it is larger than the memory of this machine, or its axes are not of an image.
    """
    sizes = tuple(map(int, shape))
    kind = np.dtype(dtype)
    if not axes.endswith(("YX", "YXS")) or len(axes) != len(sizes):
        raise InputError(f"{name}: its axes {axes} are not of an image; export it as TIFF")
    if 0 in sizes:
        raise InputError(f"{name}: has no pixels ({' x '.join(map(str, sizes))})")
    if math.prod(sizes) * kind.itemsize > machine_memory():
        raise InputError(f"{name}: is larger than this machine's memory; export it as TIFF")
    plane_axes = axes[axes.index("Y") :]
    tail = squeeze(plane_axes, sizes[-len(plane_axes) :])[1]

    @cache
    def planes() -> NDArray[Any]:
        with library_errors(name):
            return load().reshape(-1, *tail)

    return PlanewiseImage(
        name,
        axes,
        sizes,
        tail,
        kind.newbyteorder("="),
        lambda number: planes()[number],
        tuple(channels),
        tuple(voxel),
        interval_s,
    )

"""The axes of a TIFF as Cellpose reads them: metadata first, then its rules of thumb."""

from __future__ import annotations

from dataclasses import dataclass

from fcp_runtime.errors import InputError
from fcp_runtime.io.axes import NAMED

FEW = 5
"""So many pages may be channels: from six on, Cellpose 3 takes them as planes."""


@dataclass(frozen=True)
class AxisChoice:
    """What a command line says about axes.

    Attributes
    ----------
    volume : bool
        A stack is wanted (``--do_3D``, ``--stitch_threshold``).
    channel_axis, z_axis : int or None
        Places among the axes longer than 1, from 0; negative from the last.
    channel : int
        The wanted channel from 1; 0 for the mean of all.
    """

    volume: bool = False
    channel_axis: int | None = None
    z_axis: int | None = None
    channel: int = 0


def axes_as_cellpose(letters: str, sizes: tuple[int, ...], choice: AxisChoice, name: str) -> str:
    """Return the axes of a stored array.

    Parameters
    ----------
    letters : str
        What the metadata say, a letter an axis; letters other than T, C, Z, Y, X and S are unknown.
    sizes : tuple of int
        Their lengths; axes of length 1 are left out.
    choice : AxisChoice
    name : str
        The file, for messages.

    Returns
    -------
    str
        A letter of C, Z, Y, X, S an axis.

    Raises
    ------
    InputError
        If there are too many axes, or no such axis.

    Examples
    --------
    >>> axes_as_cellpose("QQYX", (20, 3, 64, 64), AxisChoice(volume=True), "x.tif")
    'ZCYX'
    >>> axes_as_cellpose("QYX", (64, 64, 3), AxisChoice(), "x.tif")
    'YXC'
    """
    if choice.channel_axis is not None or choice.z_axis is not None:
        return _stated(len(sizes), choice, name)
    if len(sizes) == 2:
        return "YX"
    if all(letter in NAMED for letter in letters) and {"Y", "X"} <= set(letters):
        return _known(letters, sizes, choice, name)
    if len(sizes) > 4 or (len(sizes) == 4 and not choice.volume):
        raise InputError(
            f"{name}: has {len(sizes)} axes ({' x '.join(map(str, sizes))}), and does not say which "
            "they are; say --channel_axis and --z_axis"
        )
    smallest = sizes.index(min(sizes))
    if len(sizes) == 4:
        return _placed(4, {smallest: "C"})
    if choice.volume or min(sizes) > FEW:
        return _placed(3, {0 if choice.volume else smallest: "Z"})
    return _placed(3, {smallest: "C"})


def _stated(count: int, choice: AxisChoice, name: str) -> str:
    """Put C and Z where the caller says."""
    places: dict[int, str] = {}
    for flag, place, letter in (
        ("--channel_axis", choice.channel_axis, "C"),
        ("--z_axis", choice.z_axis, "Z"),
    ):
        if place is None:
            continue
        if not 3 <= count <= 4 or not -count <= place < count or place % count in places:
            raise InputError(f"{name}: has {count} axes; {flag} {place} does not fit them")
        places[place % count] = letter
    return _placed(count, places)


def _placed(count: int, places: dict[int, str]) -> str:
    """Fill the other axes with Z (if it is missing), Y and X in that order."""
    others = iter(("Z" if "Z" not in places.values() else "C", "Y", "X")[-(count - len(places)) :])
    return "".join(places.get(place) or next(others) for place in range(count))


def _known(letters: str, sizes: tuple[int, ...], choice: AxisChoice, name: str) -> str:
    """Take metadata at their word, but for an axis that the command line gives another meaning."""
    if "T" in letters:
        if "Z" in letters:
            raise InputError(
                f"{name}: is a film of stacks ({letters}); use fcp-run, or save each time point"
            )
        letters = letters.replace("T", "Z")
    few = "Z" in letters and sizes[letters.index("Z")] <= FEW
    if few and choice.channel > 0 and not choice.volume and not {"C", "S"} & set(letters):
        return letters.replace("Z", "C")
    return letters

"""Which pixels of a file are the wanted image: axes, channel, and planes or not.

The metadata decides. Where it is silent, pages of equal form are planes, as Fiji shows them; where
that could be wrong, the error names the option that settles it.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from numbers import Integral
from typing import TYPE_CHECKING

from fcp_runtime.errors import FcpWarning, InputError, SettingsError

if TYPE_CHECKING:
    from collections.abc import Sequence

NAMED = "TCZYXS"
"""Time, channel, plane, row, column, sample of a colour. tifffile calls an unknown axis Q or I."""

FEW = 4
"""So many pages without metadata could be channels as well as planes."""

MANY = 16
"""More pages than this are no channels, unless the user says so."""


@dataclass(frozen=True)
class Layout:
    """The axes of a stored array and what is wanted of it.

    Attributes
    ----------
    axes : str
        One letter of T, C, Z, Y, X, S for each axis longer than 1 and for Y and X, in stored order.
    shape : tuple of int
        Length of each of ``axes``.
    channel_axis : int or None
        Which of ``axes`` is the channel or colour sample; None if there is none.
    channel : int
        The wanted index along it.
    grey_only : bool
        The colour samples must be equal: nobody chose one.
    frame : int
        The wanted index along time, if there is such an axis.
    """

    axes: str
    shape: tuple[int, ...]
    channel_axis: int | None = None
    channel: int = 0
    grey_only: bool = False
    frame: int = 0

    @property
    def frames(self) -> int | None:
        """Number of time points; None for an image or a stack."""
        return self.shape[self.axes.index("T")] if "T" in self.axes else None

    @property
    def kept(self) -> str:
        """The axes that remain once channel and time point are chosen, in stored order."""
        return "".join(axis for axis in self.axes if axis in "ZYX")

    @property
    def wanted_shape(self) -> tuple[int, ...]:
        """Length of the remaining axes, in the order Z, Y, X."""
        return tuple(self.shape[self.axes.index(axis)] for axis in "ZYX" if axis in self.axes)


def lay_out(
    stored: str,
    shape: tuple[int, ...],
    *,
    axes: str | None = None,
    channel: int | None = None,
    labels: bool = False,
    film: bool = False,
    name: str,
) -> Layout:
    """Decide which part of a stored array is the image.

    Parameters
    ----------
    stored : str
        The axes that the metadata give, a letter each; letters other than ``NAMED`` are unknown.
    shape : tuple of int
        Length of each stored axis.
    axes : str or None
        What the user says the axes are: a letter for each axis, or for each axis longer than 1.
    channel : int or None
        Index of the wanted channel or colour sample, from 0.
    labels : bool
        Label images have no channels, so few pages are planes too.
    film : bool
        An axis of time is kept; otherwise it is an error.
    name : str
        The file, for messages.

    Returns
    -------
    Layout

    Raises
    ------
    InputError
        If the axes or the wanted channel are not clear, or the channel does not exist.
    SettingsError
        If ``axes`` is not a list of axes.
    """
    if axes is None:
        letters, sizes = squeeze(stored, shape)
        letters = _resolve(letters, sizes, channel=channel, labels=labels, name=name)
    else:
        letters, sizes = _stated(axes, stored, shape, name)
    if "T" in letters and not film:
        raise InputError(
            f"{name}: holds {sizes[letters.index('T')]} time points; read one at a time with "
            "fcp_runtime.open_film, as fcp-run does"
            + ("" if "Z" in letters else f", or say --axes {letters.replace('T', 'Z')} for planes")
        )
    return _choose_channel(letters, sizes, channel, name)


def named_axes(axes: str) -> str:
    """Return the axes that a user states as a list of letters, in capitals.

    Raises
    ------
    SettingsError
        If they are no list of axes.
    """
    letters = axes.strip().upper()
    if (
        set(letters) <= set(NAMED)
        and len(set(letters)) == len(letters)
        and {"Y", "X"} <= set(letters)
    ):
        return letters
    raise SettingsError(
        f"axes must be different letters of {NAMED}, Y and X among them, for example ZYX; "
        f"not {letters!r}"
    )


def channel_number(channel: int | str | None, names: Sequence[str], name: str) -> int | None:
    """Return the number of a channel that may be given by name.

    Parameters
    ----------
    channel : int, str or None
        A number, a number as text, or a name; capitals do not matter.
    names : sequence of str
        Of the file's channels; empty where it names none.
    name : str
        The file, for messages.

    Raises
    ------
    InputError
        If no channel, or more than one, has that name.
    """
    if channel is None:
        return None
    if isinstance(channel, Integral) and not isinstance(channel, bool):
        return int(channel)
    if not isinstance(channel, str):
        raise SettingsError(f"channel must be a whole number or a name, not {channel!r}")
    wanted = channel.strip().lower()
    found = [number for number, known in enumerate(names) if known.strip().lower() == wanted]
    if len(found) == 1:
        return found[0]
    if not found and wanted.isascii() and wanted.isdigit():
        return int(wanted)
    known = ", ".join(f"{number} {known!r}" for number, known in enumerate(names))
    raise InputError(
        f"{name}: {'no' if not found else 'more than one'} channel is named {channel!r}; "
        + (f"its channels are {known}" if names else "it names no channels; give a number, from 0")
    )


def squeeze(letters: str, sizes: tuple[int, ...]) -> tuple[str, tuple[int, ...]]:
    """Drop the axes of length 1, but Y and X."""
    kept = [
        (letter, size)
        for letter, size in zip(letters, sizes, strict=True)
        if size > 1 or letter in "YX"
    ]
    return "".join(letter for letter, _ in kept), tuple(size for _, size in kept)


def _stated(
    axes: str, stored: str, shape: tuple[int, ...], name: str
) -> tuple[str, tuple[int, ...]]:
    """Apply the axes that the user states."""
    axes = named_axes(axes)
    sizes = squeeze(stored, shape)[1]
    for candidate in (sizes, shape):
        if len(candidate) == len(axes) and squeeze(axes, candidate)[1] == sizes:
            return squeeze(axes, candidate)
    raise InputError(
        f"{name}: --axes {axes} does not fit its {len(sizes)} axes of {_times(sizes)} pixels"
    )


def _resolve(
    letters: str, sizes: tuple[int, ...], *, channel: int | None, labels: bool, name: str
) -> str:
    """Give the one unknown axis a meaning, if its meaning is clear."""
    unknown = [letter for letter in letters if letter not in NAMED]
    if not unknown and {"Y", "X"} <= set(letters):
        return letters
    if len(unknown) > 1 or "Z" in letters or not {"Y", "X"} <= set(letters):
        example = "TCZYX"[-len(sizes) :] if len(sizes) <= 5 else "TCZYXS"
        raise InputError(
            f"{name}: does not say what its axes are ({_times(sizes)}); name them in that order, "
            f"for example --axes {example}"
        )
    size = sizes[letters.index(unknown[0])]
    planes, channels = (letters.replace(unknown[0], axis) for axis in "ZC")
    if labels or "C" in letters or "S" in letters:
        return planes
    if channel is not None and size <= MANY:
        if size > FEW:
            warnings.warn(
                f"{name}: its {size} pages are taken as channels, for one is chosen; if they are "
                f"planes, leave --channel out or say --axes {planes}",
                FcpWarning,
                stacklevel=4,
            )
        return channels
    if size > FEW and channel is None:
        return planes
    raise InputError(
        f"{name}: does not say whether its {size} pages are planes or channels; "
        f"--axes {planes} makes them planes, --axes {channels} with --channel 0 to {size - 1} "
        "chooses one channel"
    )


def _choose_channel(letters: str, sizes: tuple[int, ...], channel: int | None, name: str) -> Layout:
    """Find the channel axis, and check the wanted channel."""
    found = [index for index, letter in enumerate(letters) if letter in "CS"]
    if len(found) > 1:
        raise InputError(
            f"{name}: has channels and colours ({_times(sizes)}, axes {letters}); "
            "save the channel of the nuclei as a grey image"
        )
    if not found:
        if channel not in {None, 0}:
            raise InputError(
                f"{name}: has one channel only, number 0, its axes being {letters}; "
                f"there is no --channel {channel}"
            )
        return Layout(letters, sizes)
    axis = found[0]
    count = sizes[axis]
    if channel is None and letters[axis] == "S" and count in {3, 4}:
        return Layout(letters, sizes, axis, 0, grey_only=True)
    if channel is None or not 0 <= channel < count:
        missing = "" if channel is None else f"there is no --channel {channel}; "
        raise InputError(
            f"{name}: has {count} channels; {missing}choose one with --channel 0 to {count - 1} "
            "(0 is the first)"
        )
    return Layout(letters, sizes, axis, channel)


def _times(sizes: tuple[int, ...]) -> str:
    return " x ".join(map(str, sizes))

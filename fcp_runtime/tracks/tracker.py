"""Tracks, made frame by frame as the frames come."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from fcp_runtime.errors import InputError
from fcp_runtime.tracks.link import Linking, Spots, find_spots, link_frames

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Tracks:
    """Every track of a film, in the order of their numbers.

    Attributes
    ----------
    track : ndarray of int64, shape (N,)
        Number, from 1: the label of its object in every frame.
    begin, end : ndarray of int64, shape (N,)
        First and last frame, from 0.
    parent : ndarray of int64, shape (N,)
        Track that divided; 0 if none.
    """

    track: NDArray[np.int64]
    begin: NDArray[np.int64]
    end: NDArray[np.int64]
    parent: NDArray[np.int64]


@dataclass
class Tracker:
    """Gives objects the numbers of their tracks, a frame at a time.

    It keeps the frame before, no more. An object that is missed in a frame begins a new track.

    Parameters
    ----------
    how : Linking

    Examples
    --------
    >>> import numpy as np
    >>> frames = np.zeros((2, 8, 8), np.uint16)
    >>> frames[0, 1:4, 1:4], frames[1, 5:8, 5:8], frames[1, 2:5, 1:4] = 1, 1, 2
    >>> tracker = Tracker()
    >>> np.unique(tracker.follow(frames[0])).tolist(), np.unique(tracker.follow(frames[1])).tolist()
    ([0, 1], [0, 1, 2])
    >>> tracker.tracks.end.tolist()
    [1, 1]
    """

    how: Linking = field(default_factory=Linking)
    frames: int = 0
    _before: tuple[NDArray[Any], Spots] | None = None
    _begin: list[int] = field(default_factory=list)
    _end: list[int] = field(default_factory=list)
    _parent: list[int] = field(default_factory=list)

    def follow(self, labels: NDArray[Any]) -> NDArray[np.uint32]:
        """Return the next frame with the numbers of tracks in place of its labels.

        Parameters
        ----------
        labels : ndarray of unsigned integers, shape (Z, Y, X) or (Y, X)

        Returns
        -------
        ndarray of uint32, same shape

        Raises
        ------
        InputError
            If its shape is not that of the frame before.
        """
        spots = find_spots(labels, self.how.anisotropy)
        numbers = np.zeros(len(spots.labels), np.int64)
        if self._before is not None:
            before, old = self._before
            if before.shape != labels.shape:
                raise InputError(
                    f"frame {self.frames} has the shape {labels.shape}, not {before.shape}"
                )
            links = link_frames(before, labels, (old, spots), self.how)
            numbers[links.moved[:, 1]] = old.labels[links.moved[:, 0]]
            for mother, *daughters in links.divided.tolist():
                for daughter in daughters:
                    numbers[daughter] = self._new(parent=int(old.labels[mother]))
        for row in np.flatnonzero(numbers == 0).tolist():
            numbers[row] = self._new(parent=0)
        for number in numbers.tolist():
            self._end[number - 1] = self.frames
        tracked = self._renumbered(labels, spots, numbers)
        order = np.argsort(numbers)
        self._before = tracked, Spots(numbers[order], spots.sizes[order], spots.centres[order])
        self.frames += 1
        return tracked

    @property
    def tracks(self) -> Tracks:
        """The tracks so far."""
        numbers = np.arange(1, len(self._begin) + 1)
        rest = (np.array(values, np.int64) for values in (self._begin, self._end, self._parent))
        return Tracks(numbers, *rest)

    def _new(self, *, parent: int) -> int:
        self._begin.append(self.frames)
        self._end.append(self.frames)
        self._parent.append(parent)
        return len(self._begin)

    @staticmethod
    def _renumbered(
        labels: NDArray[Any], spots: Spots, numbers: NDArray[np.int64]
    ) -> NDArray[np.uint32]:
        table = np.zeros(int(spots.labels.max(initial=0)) + 1, np.uint32)
        table[spots.labels] = numbers
        renumbered: NDArray[np.uint32] = table[labels]
        return renumbered

"""A film of nuclei that move and divide, with exact tracks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fcp_runtime.errors import SettingsError
from fcp_runtime.phantom.layout import Nuclei, push_apart
from fcp_runtime.phantom.optics import Microscope, expose
from fcp_runtime.phantom.scenes import keep_whole_pieces, paint_labels, paint_light

if TYPE_CHECKING:
    from numpy.typing import NDArray

AWAY = -1e6
"""Where nuclei are that are not yet, or no longer."""

GROWTH = 8
"""Frames in which a daughter grows to its full size."""


@dataclass(frozen=True)
class Film:
    """Frames and their truth.

    Attributes
    ----------
    image : ndarray of uint16, shape (T, Y, X)
    tracks : ndarray of uint16, same shape
        Numbers of tracks.
    lineage : ndarray of int64, shape (N, 4)
        Track, first frame, last frame, parent (0 if none), as in the Cell Tracking Challenge.
    """

    image: NDArray[Any]
    tracks: NDArray[np.uint16]
    lineage: NDArray[np.int64]


def dividing_film(
    frames: int = 20,
    shape: tuple[int, int] = (192, 192),
    *,
    nuclei: int = 12,
    diameter: float = 22.0,
    speed: float = 0.15,
    divisions: int = 4,
    seed: int = 0,
    microscope: Microscope | None = None,
) -> Film:
    """Make a film of nuclei that wander, keep apart, turn back at the border, and divide.

    Parameters
    ----------
    frames : int
    shape : tuple of int
        (Y, X).
    nuclei : int
        In the first frame.
    diameter : float
        Mean diameter in pixels; daughters have half the area, and grow.
    speed : float
        Standard deviation, in diameters, of the push that a nucleus gets in each frame; it goes
        three quarters of that from frame to frame, on average.
    divisions : int
        How many nuclei of the first frame divide, at times spread over the film.
    seed : int
    microscope : Microscope or None

    Returns
    -------
    Film

    Raises
    ------
    SettingsError
        If more nuclei are to divide than there are, or they do not fit the frame.
    """
    if divisions > nuclei or (nuclei + divisions) * diameter**2 > 0.6 * shape[0] * shape[1]:
        raise SettingsError("a film needs room for its nuclei, and as many nuclei as divisions")
    rng = np.random.default_rng(seed)
    state = _State.begin(nuclei, divisions, shape, diameter, rng)
    times = np.linspace(2, frames - 2, divisions + 2)[1:-1].astype(int).tolist()
    image = np.empty((frames, *shape), np.uint16)
    tracks = np.empty((frames, *shape), np.uint16)
    for frame in range(frames):
        while times and times[0] == frame:
            times.pop(0)
            state.divide()
        drawn = state.nuclei()
        tracks[frame] = paint_labels(drawn, (1, *shape), 1.0, None)[0]
        keep_whole_pieces(tracks[frame][None], drawn, 1.0)
        light = np.random.default_rng((seed, 1))
        canvas = paint_light(tracks[frame][None], drawn, diameter, 1.0, light)
        how = microscope or Microscope()
        image[frame] = expose(canvas, 1.0, diameter, seed * 1000 + frame, how)[0]
        state.move(speed * diameter, rng)
    return Film(image, tracks, _lineage(tracks, state.parent))


@dataclass
class _State:
    """All nuclei that ever are, one a row; those that are not lie far away."""

    centre: NDArray[np.float64]
    velocity: NDArray[np.float64]
    angle: NDArray[np.float64]
    stretch: NDArray[np.float64]
    radius: NDArray[np.float64]
    full: NDArray[np.float64]
    parent: NDArray[np.int64]
    shape: tuple[int, int]
    born: int
    divided: int = 0

    @classmethod
    def begin(
        cls,
        count: int,
        divisions: int,
        shape: tuple[int, int],
        diameter: float,
        rng: np.random.Generator,
    ) -> _State:
        total = count + 2 * divisions
        full = diameter / 2 * np.clip(rng.normal(1, 0.09, total), 0.8, 1.2)
        centre = np.full((total, 3), AWAY)
        centre[:, 0] = 0
        centre[:count, 1:] = rng.uniform(0.1, 0.9, (count, 2)) * shape
        state = cls(
            centre,
            np.zeros((total, 3)),
            rng.uniform(0, np.pi, total),
            rng.uniform(1.0, 1.4, total),
            full.copy(),
            full,
            np.zeros(total, np.int64),
            shape,
            count,
        )
        for _ in range(100):
            state.settle(rng)
        return state

    @property
    def there(self) -> NDArray[np.bool_]:
        """Which nuclei are in the film at this time."""
        return self.centre[:, 1] > AWAY / 2

    def settle(self, rng: np.random.Generator) -> None:
        """Let nuclei push each other apart, within the frame."""
        there = self.there
        # a little air, or touching nuclei hide each other
        apart = push_apart(self.centre[there], 1.25 * self.radius[there], rng)
        self.centre[there] += apart * (0, 1, 1)
        margin = self.radius[there, None]
        self.centre[there, 1:] = self.centre[there, 1:].clip(margin, np.array(self.shape) - margin)

    def move(self, speed: float, rng: np.random.Generator) -> None:
        """Go on to the next frame."""
        there = self.there
        push = rng.normal(0, speed, self.centre.shape) * (0, 1, 1)
        self.velocity = 0.7 * self.velocity + 0.5 * push
        self.centre[there] += self.velocity[there]
        self.angle += rng.normal(0, 0.1, len(self.angle))
        self.radius += (self.full - self.radius) / GROWTH
        for _ in range(5):
            self.settle(rng)

    def divide(self) -> None:
        """Let the next nucleus become two, along its long axis."""
        mother, self.divided = self.divided, self.divided + 1
        way = (
            0.62
            * self.radius[mother]
            * np.array((0.0, np.cos(self.angle[mother]), np.sin(self.angle[mother])))
        )
        for side in (-1, 1):
            row, self.born = self.born, self.born + 1
            self.parent[row] = mother + 1
            self.centre[row] = self.centre[mother] + side * way
            self.radius[row] = self.radius[mother] / np.sqrt(2)
            self.angle[row] = self.angle[mother] + np.pi / 2
        self.centre[mother, 1:] = AWAY

    def nuclei(self) -> Nuclei:
        """Return the ellipses of this time."""
        semi = self.radius[:, None] * np.stack(
            [np.ones_like(self.stretch), self.stretch**0.5, self.stretch**-0.5], axis=1
        )
        frame = np.zeros((len(semi), 3, 3))
        frame[:, 0, 0] = 1
        frame[:, 1, 1] = frame[:, 2, 2] = np.cos(self.angle)
        frame[:, 1, 2] = np.sin(self.angle)
        frame[:, 2, 1] = -frame[:, 1, 2]
        reach = np.sqrt(np.einsum("nka,nk->na", frame**2, semi**2))
        return Nuclei(self.centre.copy(), frame / semi[:, :, None], reach)


def _lineage(tracks: NDArray[np.uint16], parent: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return first and last frame of every track that is seen."""
    seen = [np.unique(frame[frame > 0]) for frame in tracks]
    rows = []
    for track in range(1, len(parent) + 1):
        present = [frame for frame, found in enumerate(seen) if track in found]
        if present:
            rows.append((track, present[0], present[-1], int(parent[track - 1])))
    return np.array(rows, np.int64).reshape(-1, 4)

"""How a synthetic organoid looks: chromatin, blur, loss of light with depth, haze and noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fcp_runtime.errors import SettingsError
from fcp_runtime.phantom.tissue import F32

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

UNIT = 8192.0
"""Canvas value of a nucleus of mean brightness: room for the brightest in 16 bits."""
SLAB = 16
"""Planes that are imaged at a time; the noise is drawn per slab."""


@dataclass(frozen=True, kw_only=True)
class Microscope:
    """How the nuclei are seen.

    Parameters
    ----------
    bits : {8, 16}
        Depth of the image; the noise is the same in both.
    blur : tuple of float
        Standard deviation of the point-spread function along z and in plane, in isotropic pixels.
    attenuation : float
        Share of the light that is lost over the whole depth of the volume.
    haze : float
        Out-of-focus light over dense tissue, relative to a nucleus's brightness.
    photons : float
        Photons from a voxel of mean brightness: sets the shot noise.
    read_noise : float
        Standard deviation of the detector's noise in photons.
    """

    bits: int = 16
    blur: tuple[float, float] = (2.0, 0.9)
    attenuation: float = 0.45
    haze: float = 0.12
    photons: float = 60.0
    read_noise: float = 2.0

    def __post_init__(self) -> None:
        if self.bits not in {8, 16}:
            raise SettingsError(f"bits must be 8 or 16, not {self.bits}")
        if not (0 <= self.attenuation < 1 and min(self.blur) >= 0 and self.photons > 0):
            raise SettingsError("attenuation must be 0 to 1, blur not negative, photons positive")


def chromatin(
    diameter: float, anisotropy: float, shape: tuple[int, ...], rng: np.random.Generator
) -> NDArray[F32]:
    """Return a chromatin texture of mean 1, larger than any nucleus."""
    from scipy.ndimage import gaussian_filter

    edge = 3 * diameter / np.array((anisotropy, 1.0, 1.0))
    size = tuple(int(n) for n in np.where(np.array(shape) == 1, 1, np.ceil(edge) + 2))
    texture = np.ones(size, F32)
    for part, weight in ((0.04, 0.12), (0.11, 0.2)):  # granules, and regions such as nucleoli
        sigma = np.array((1 / anisotropy, 1.0, 1.0)) * diameter * part
        noise = gaussian_filter(rng.standard_normal(size, F32), sigma, mode="wrap")
        texture += weight * noise / max(float(noise.std()), 1e-6)
    return np.clip(texture, 0.25, 2.0)


def expose(
    canvas: NDArray[np.uint16], anisotropy: float, diameter: float, seed: int, how: Microscope
) -> NDArray[Any]:
    """Blur, dim, add haze and noise, slab by slab; the noise is drawn per slab."""
    from scipy.ndimage import gaussian_filter

    planes = canvas.shape[0]
    sigma = (how.blur[0] / anisotropy if planes > 1 else 0.0, how.blur[1], how.blur[1])
    halo = int(np.ceil(3 * sigma[0]))
    top = 2**how.bits - 1
    image = np.empty(canvas.shape, np.uint8 if how.bits == 8 else np.uint16)
    haze = _haze(canvas, anisotropy, diameter)
    for start in range(0, planes, SLAB):
        stop = min(start + SLAB, planes)
        low = max(start - halo, 0)
        light = canvas[low : min(stop + halo, planes)].astype(F32)
        light = gaussian_filter(light, sigma, mode="nearest", truncate=3.0)
        light = light[start - low : stop - low]
        light *= F32(how.photons / UNIT)
        for plane in range(start, stop):
            light[plane - start] += how.haze * how.photons * haze(plane)
            light[plane - start] *= (1 - how.attenuation) ** (plane / planes)
        rng = np.random.default_rng((seed, 2, start))
        light += 0.02 * how.photons
        spread = np.sqrt(light + how.read_noise**2)  # shot noise of many photons is nearly normal
        light += spread * rng.standard_normal(light.shape, F32)
        light *= F32(0.25 * top / how.photons)
        light += F32(0.02 * top)  # the detector's offset
        image[start:stop] = np.clip(light, 0, top, out=light)
    return image


def _haze(
    canvas: NDArray[np.uint16], anisotropy: float, diameter: float
) -> Callable[[int], NDArray[F32]]:
    """Return a function that gives the out-of-focus light of a plane, from a coarse copy."""
    from scipy.ndimage import gaussian_filter, zoom

    step = np.maximum(1, np.round(diameter / 4 / np.array((anisotropy, 1.0, 1.0)))).astype(int)
    coarse = canvas[:: step[0], :: step[1], :: step[2]].astype(F32) / F32(UNIT)
    spread = diameter * np.array((1.5, 1.0, 1.0)) / np.array((anisotropy, 1.0, 1.0)) / step
    coarse = gaussian_filter(coarse, spread, mode="constant")
    shape = np.array(canvas.shape[1:])

    def plane(index: int) -> NDArray[F32]:
        below, part = divmod(index / step[0], 1)
        under = coarse[min(int(below), len(coarse) - 1)]
        over = coarse[min(int(below) + 1, len(coarse) - 1)]
        both = under + F32(part) * (over - under)
        return np.asarray(zoom(both, shape / both.shape, order=1), F32)

    return plane

"""How a patch may differ from its image: light, blur, noise and blemishes; the maps stay."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn.functional import affine_grid, conv2d, grid_sample, interpolate, pad


@dataclass(frozen=True)
class Augmentation:
    """How far a patch may differ from its image.

    Attributes
    ----------
    scale : float
        Zoom between ``1 / scale`` and ``scale``.
    blur : float
        Largest standard deviation of a Gaussian blur, pixels; the least is 0.3, or this if less.
    noise : float
        Largest standard deviation of added noise, in units of the normalised image.
    gain, gamma : float
        Intensities between ``1 / gain`` and ``gain`` times and up to 0.1 more or less, whatever
        the gain; to the power ``1 / gamma`` to ``gamma``.
    dim : float
        Nuclei of an image by itself are up to so many times dimmer than others.
    haze : float
        Most that light from outside the plane adds, in units of the normalised image.
    axial : float
        Largest spacing of planes, in pixels, that slices along z are made to look like.
    hollow : float
        Most of its light that a spot inside a nucleus loses: nucleoli, hollow and ring-shaped nuclei.
    debris : float
        Largest brightness of specks and hot pixels, in units of the normalised image.
    shade : float
        Images by themselves are up to so many times darker in places.
    saturation : float
        Least level, in units of the normalised image, at which bright pixels are cut off.
    levels : int
        Fewest grey levels between 0 and 1 that a patch is rounded to.
    """

    scale: float = 1.3
    blur: float = 1.2
    noise: float = 0.12
    gain: float = 1.5
    gamma: float = 1.5
    dim: float = 1.0
    haze: float = 0.6
    axial: float = 4.0
    hollow: float = 0.0
    debris: float = 0.0
    shade: float = 1.0
    saturation: float = 1.0
    levels: int = 0


WIDE = Augmentation(
    scale=1.6, dim=6.0, hollow=1.0, debris=4.0, shade=2.0, saturation=0.4, levels=12
)
"""What v4 learnt with: wrong diameters, hollow nuclei, dust, uneven light, clipped and coarse grey."""

PLAIN = Augmentation(scale=1.0, blur=0.0, noise=0.0, gain=1.0, gamma=1.0, haze=0.0, axial=1.0)
"""No augmentation but flips and rotations: for validation."""


def degrade(image: Tensor, rng: np.random.Generator, how: Augmentation) -> Tensor:
    """Change gain, gamma, haze, blur and noise of a patch (1, P, P); the maps stay."""
    if how == PLAIN:
        return image
    if rng.random() < 0.3:
        image = image + haze(image, rng, how.haze)
    if rng.random() < 0.5:
        exponent = how.gamma ** rng.uniform(-1, 1)
        image = image.sign() * image.abs() ** exponent
    if rng.random() < 0.4 and how.blur > 0:
        image = gaussian_blur(image, rng.uniform(min(0.3, how.blur), how.blur))
    if rng.random() < 0.5:
        image = image * how.gain ** rng.uniform(-1, 1) + rng.uniform(-0.1, 0.1)
    if rng.random() < 0.5:
        level = rng.uniform(0, how.noise)
        noise = torch.from_numpy(rng.standard_normal(image.shape, np.float32))
        if rng.random() < 0.5:  # shot noise grows with the signal
            noise = noise * (0.1 + image.clamp(0, 2)).sqrt()
        if rng.random() < 0.3:  # grain wider than a pixel, as after upsampling
            noise = 2 * gaussian_blur(noise, 0.8)
        image = image + level * noise
    return blemish(image, rng, how)


def blemish(image: Tensor, rng: np.random.Generator, how: Augmentation) -> Tensor:
    """Add debris to a patch (1, P, P), cut off bright pixels, round to few grey levels."""
    if how.debris > 0 and rng.random() < 0.2:
        image = image + debris(image.shape[-1], rng, how.debris)
    if how.saturation < 1 and rng.random() < 0.15:
        level = rng.uniform(how.saturation, 1)
        image = image.clamp(max=level) / level
    if how.levels > 0 and rng.random() < 0.15:
        steps = how.levels * 8 ** rng.uniform(0, 1)
        image = (image * steps).round() / steps
    return image


def hollow(image: Tensor, nuclei: Tensor, rng: np.random.Generator, most: float) -> Tensor:
    """Darken spots inside nuclei (bool, P, P) of a patch (1, P, P), by up to ``most`` of their light.

    The radius of a spot is up to 0.8 of the distance from its middle to the nearest outline: small
    ones look like nucleoli, large ones leave a ring. The centres of nuclei are the likeliest.
    """
    depth = ndimage.distance_transform_edt(nuclei.numpy())
    likely = np.where(depth > 2.5, depth**2, 0).ravel()
    if not likely.any():
        return image
    count = (
        1 + int(rng.integers(1, 3)) * int(nuclei.sum()) // 230
    )  # pixels of a disc of diameter 17
    centres = rng.choice(likely.size, count, p=likely / likely.sum())
    light = np.ones(depth.shape, np.float32)
    for y, x in zip(*np.unravel_index(centres, depth.shape), strict=True):
        radius = depth[y, x] * rng.uniform(0.25, 0.8)
        reach = math.ceil(radius) + 1
        rows, cols = (
            slice(max(0, y - reach), y + reach + 1),
            slice(max(0, x - reach), x + reach + 1),
        )
        window = light[rows, cols]
        near_y = np.arange(rows.start, rows.start + window.shape[0])[:, None] - y
        near_x = np.arange(cols.start, cols.start + window.shape[1]) - x
        inside = np.clip(radius + 0.5 - np.hypot(near_y, near_x * rng.uniform(0.8, 1.25)), 0, 1)
        np.minimum(window, 1 - rng.uniform(0.3, 1) * most * inside, out=window)
    light[depth == 0] = 1
    ground = image[0][~nuclei].median() if not nuclei.all() else image.min()
    return ground + torch.from_numpy(light)[None] * (image - ground)


def shade(image: Tensor, rng: np.random.Generator, most: float) -> Tensor:
    """Darken a patch (1, P, P) unevenly, slowly over its width, by up to ``most`` times."""
    nodes = torch.from_numpy(most ** -rng.uniform(0, 1, (1, 1, 3, 3)).astype(np.float32))
    gain = interpolate(nodes, image.shape[1:], mode="bicubic", align_corners=True)[0]
    return image * gain.clamp(1 / most, 1)


def debris(edge: int, rng: np.random.Generator, most: float) -> Tensor:
    """Return light (1, P, P) of a few small specks, or of hot pixels, as bright as ``most``."""
    light = torch.zeros(1, edge, edge)
    count = int(rng.integers(1, 16))
    places = rng.integers(0, edge, (2, count))
    brightness = torch.from_numpy(rng.uniform(0.3, most, count).astype(np.float32))
    light[0, places[0], places[1]] = brightness
    if rng.random() < 0.4:
        return light
    sigma = rng.uniform(0.5, 1.6)
    return gaussian_blur(light, sigma) * (2 * math.pi * sigma**2)


def dim(image: Tensor, nuclei: Tensor, rng: np.random.Generator, most: float) -> Tensor:
    """Make nuclei (bool, P, P) of a patch (1, P, P) as faint as ``1 / most`` of what they are.

    Cells take up unlike amounts of a dye, and faint nuclei beside bright ones are nuclei, too.
    Nuclei that touch stay together, the background stays, and there is no new edge.
    """
    pieces, count = ndimage.label(nuclei.numpy())
    # light spreads beyond a nucleus: its rim is dimmed with it
    pieces = ndimage.maximum_filter(pieces, 5)
    factors = most ** -rng.uniform(0, 1, count + 1)
    factors[0] = 1
    gain = gaussian_blur(torch.from_numpy(factors[pieces].astype(np.float32))[None], 1.0)
    ground = image[0][~nuclei].median() if not nuclei.all() else image.min()
    return ground + gain * (image - ground)


def haze(image: Tensor, rng: np.random.Generator, most: float) -> Tensor:
    """Return light (1, P, P) from outside the plane: bright, but no nucleus in focus.

    Either streaks and clouds, a few bright ones on a dark ground, or other nuclei out of focus: the
    patch itself, mirrored and blurred by at least a quarter of a diameter of 17.
    """
    edge = image.shape[-1]
    if rng.random() < 0.5:
        return rng.uniform(0, 2 * most) * gaussian_blur(
            image.flip(2), rng.uniform(4, min(12, edge / 4))
        )
    nodes = torch.from_numpy(rng.uniform(0, 1, (1, 1, 16, 16)).astype(np.float32) ** 3)
    angle = rng.uniform(0, math.pi)
    # width and length of a cloud in pixels, against the distance of two nodes
    across, along = edge / 16 / np.exp(rng.uniform(np.log(12), np.log(96), 2))
    cosine, sine = math.cos(angle), math.sin(angle)
    turn = [[across * cosine, -across * sine, 0.0], [along * sine, along * cosine, 0.0]]
    grid = affine_grid(
        torch.tensor([turn], dtype=torch.float32), [1, 1, edge, edge], align_corners=False
    )
    light = grid_sample(nodes, grid, "bicubic", "reflection", align_corners=False)[0]
    return rng.uniform(0, most) * light.clamp(0, 1)


def coarsen(image: Tensor, rng: np.random.Generator, most: float) -> Tensor:
    """Take resolution along the rows' axis (z) from every other slice; its maps stay.

    Either planes ``1`` to ``most`` pixels apart are interpolated, or light spreads as far.

    Parameters
    ----------
    image : Tensor, shape (H, W)
        A ZY or ZX slice.
    rng : numpy Generator
    most : float
        Largest spacing, pixels.
    """
    if rng.random() < 0.5:
        return image
    spacing = rng.uniform(1, most)
    if rng.random() < 0.5:
        return _blur_rows(image[None, None], spacing / 2)[0, 0]
    height, width = image.shape
    fewer = max(2, round(height / spacing))
    planes = interpolate(image[None, None], (fewer, width), mode="bilinear", antialias=True)
    return interpolate(planes, (height, width), mode="bilinear")[0, 0]


def gaussian_blur(image: Tensor, sigma: float) -> Tensor:
    """Blur (1, P, P) with a Gaussian of ``sigma`` pixels."""
    return _blur_rows(_blur_rows(image[None], sigma).mT, sigma).mT[0]


def _blur_rows(image: Tensor, sigma: float) -> Tensor:
    """Blur (1, 1, H, W) along H."""
    radius = math.ceil(3 * sigma)
    offsets = torch.arange(-radius, radius + 1, dtype=torch.float32)
    weights = torch.exp(-0.5 * (offsets / sigma) ** 2)
    weights = weights / weights.sum()
    wide = pad(image, (0, 0, radius, radius), mode="reflect")
    return conv2d(wide, weights[None, None, :, None])

"""Numbers that are the same on every machine: weights and images for tests and oracle files."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping


def uniform(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Return float32 numbers in [0, 1) that depend on the name and the place only.

    The place, counted in C order from 1, is multiplied by 2654435761, the CRC-32 of the name is
    added, and the bits are mixed by two rounds of xor-shift and multiplication, modulo 2**32.
    """
    place = np.arange(1, int(np.prod(shape)) + 1, dtype=np.uint64)
    bits = (place * 2654435761 + zlib.crc32(name.encode())) % 2**32
    for factor in (0x7FEB352D, 0x846CA68B):
        bits ^= bits >> np.uint64(16)
        bits = bits * factor % 2**32
    return ((bits >> np.uint64(8)).astype(np.float32) / 2**24).reshape(shape)


def weights(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """Return an array for every entry of a state dict, such that signals neither die nor explode.

    Scales of batch norms lie in 0.5 to 1.5, their means and all offsets in -0.2 to 0.2, their variances in
    0.5 to 1.5; other weights are uniform with variance 1 over the number of inputs; counters are 0
    and the two diameters 17.
    """
    made = {}
    for name, shape in shapes.items():
        numbers = uniform(name, shape)
        if name.endswith("num_batches_tracked"):
            made[name] = np.zeros(shape, np.int64)
        elif name.startswith("diam_"):
            made[name] = np.full(shape, 17, np.float32)
        elif name.endswith("running_var") or (name.endswith("weight") and len(shape) == 1):
            made[name] = 0.5 + numbers
        elif len(shape) > 1:
            inputs = np.prod(shape[1:])
            made[name] = (2 * numbers - 1) * np.float32(np.sqrt(3 / inputs))
        else:
            made[name] = 0.4 * numbers - 0.2
    return made

"""The mean over mirror images of a tile."""

from __future__ import annotations

import numpy as np

from fcp_runtime.sampling.mirrored import mirrored
from fcp_runtime.sampling.views import AS_IT_IS, MIRRORS

RNG = np.random.default_rng(0)
TILE = RNG.random((1, 1, 16, 24), np.float32)


def slopes(tile):
    """What treats all directions alike: differences down and right, and the pixels themselves."""
    down, right = np.gradient(tile[0, 0])
    return np.stack((down, right, tile[0, 0]))


def test_a_network_that_treats_all_directions_alike_says_the_same():
    np.testing.assert_allclose(mirrored(slopes, MIRRORS)(TILE), slopes(TILE), atol=1e-6)


def test_a_preference_for_one_direction_is_gone():
    def leaning(tile):
        return slopes(tile) + np.array([1, -2, 0], np.float32)[:, None, None]

    np.testing.assert_allclose(mirrored(leaning, MIRRORS)(TILE), slopes(TILE), atol=1e-6)


def test_a_tile_that_is_seen_as_it_is_goes_to_the_network_itself():
    assert mirrored(slopes, AS_IT_IS) is slopes


def test_every_mirror_image_is_seen_once():
    seen = []

    def look(tile):
        assert tile.flags.c_contiguous
        seen.append(tile.tobytes())
        return slopes(tile)

    mirrored(look, MIRRORS)(TILE)
    images = [TILE[:, :, ::down, ::right].tobytes() for down in (1, -1) for right in (1, -1)]
    assert sorted(seen) == sorted(images)

"""What is looked at, how often and how large."""

from __future__ import annotations

import numpy as np
import pytest

from fcp_runtime.machine.workers import Workers
from fcp_runtime.sampling.normalize import Intensity
from fcp_runtime.sampling.sweep import compute_fields
from fcp_runtime.sampling.views import MIRRORS, VIEW_2D, VIEWS_3D, views_of


@pytest.mark.parametrize("mode", ["2d", "stitch"])
def test_planes_by_themselves_are_seen_in_each_mirror_image_at_another_scale(mode):
    assert views_of(mode, augment=False) == (VIEW_2D,)
    views = views_of(mode, augment=True)
    assert sorted(mirror for view in views for mirror in view.mirrors) == sorted(MIRRORS)
    assert len({view.zoom for view in views}) == len(views)
    assert {view.ndim for view in views} == {2}


def test_mirror_images_in_space_change_nothing_if_the_network_has_no_direction():
    pixels = np.random.default_rng(0).integers(0, 1000, (9, 40, 50)).astype(np.uint16)

    def network(tile):
        return np.stack((0 * tile[0, 0], 0 * tile[0, 0], tile[0, 0]))

    def logit(*, augment):
        return compute_fields(
            pixels,
            network,
            views=views_of("3d", augment=augment),
            scale=0.8,
            anisotropy=1.5,
            intensities=[Intensity(0, 1000)] * len(pixels),
            tile=64,
            overlap=16,
            workers=Workers(1),
        ).logit.astype(int)

    assert views_of("3d", augment=False) == VIEWS_3D
    plain, mirrored = logit(augment=False), logit(augment=True)
    assert np.ptp(plain) > 0
    assert np.abs(plain - mirrored).max() <= len(VIEWS_3D)  # each share may round the other way

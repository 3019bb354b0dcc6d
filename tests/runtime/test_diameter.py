"""The diameter estimate, on phantoms of known size and on real images."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fcp_runtime import FcpWarning, Segmenter
from fcp_runtime.diameter import (
    Look,
    brightest_window,
    diameters,
    informative_planes,
    otsu_threshold,
    outline_contrast,
    shrink,
)
from fcp_runtime.evaluate.manifest import read_manifest
from fcp_runtime.io.tiff import read_volume
from fcp_runtime.phantom import nuclei_image
from fcp_runtime.sampling.normalize import Intensity


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    return Segmenter("v3")


@pytest.mark.parametrize("diameter", [14, 30, 60])
def test_the_size_of_phantom_nuclei_is_found(segmenter, diameter):
    image = nuclei_image((320, 320), diameter=diameter, seed=5)
    areas = np.bincount(image.labels.ravel())[1:]
    true = np.median(np.sqrt(4 * areas[areas > 0] / np.pi))
    assert segmenter.segment(image.image).diameter == pytest.approx(true, rel=0.25)


def test_the_estimate_does_not_depend_on_threads():
    image = nuclei_image((200, 200), diameter=24, seed=6).image
    found = {Segmenter("v3", threads=threads).segment(image).diameter for threads in (1, 2, 3)}
    assert len(found) == 1


def test_without_objects_the_diameter_is_the_networks_own_and_this_is_said(segmenter):
    image = np.zeros((64, 64), np.float32)
    image[:2] = 1
    with pytest.warns(FcpWarning, match="no object found"):
        result = segmenter.segment(image, cellprob_threshold=60)
    assert result.diameter == segmenter.network.diam_mean


@pytest.mark.slow
def test_most_real_images_are_estimated_within_a_quarter(segmenter, fcp_data):
    rows = [row for row in read_manifest(fcp_data / "manifest.csv") if row.split == "dev2d"]
    ratios = [
        segmenter.segment(read_volume(row.image)).diameter / row.diameter_px for row in rows[::5]
    ]
    assert np.mean(np.abs(np.array(ratios) - 1) <= 0.25) >= 0.8


def test_diameters_are_those_of_discs_of_equal_area():
    masks = np.zeros((60, 60), np.int32)
    rows, cols = np.mgrid[:60, :60]
    masks[(rows - 30) ** 2 + (cols - 30) ** 2 <= 10**2] = 1
    masks[:3, :3] = 4  # labels may have gaps
    assert diameters(masks) == pytest.approx([20, np.sqrt(36 / np.pi)], rel=0.03)
    assert diameters(np.zeros((4, 4), np.int32)).size == 0


def test_an_outline_on_an_edge_has_contrast_and_one_inside_has_none():
    signal = np.zeros((40, 40), np.float32)
    signal[10:30, 10:30] = 1
    bright = signal > 0
    whole = bright.astype(np.int32)
    assert outline_contrast(signal, whole, bright, 3) == pytest.approx(1)
    part = np.zeros((40, 40), np.int32)
    part[16:24, 16:24] = 1
    assert outline_contrast(signal, part, bright, 3) == 0
    assert outline_contrast(signal, np.zeros_like(part), bright, 3) == 0


def test_the_brightest_window_holds_the_bright_object():
    plane = np.zeros((200, 300), np.uint16)
    plane[150:170, 220:240] = 1000
    window = brightest_window(plane, 64, 1000.0)
    assert window.shape == (64, 64)
    assert window.sum() == plane.sum()
    assert brightest_window(plane, 500, 1000.0) is not plane
    assert brightest_window(plane, 500, 1000.0).shape == plane.shape


def test_debris_does_not_make_a_window_the_brightest():
    plane = np.zeros((200, 300), np.uint16)
    plane[150:170, 220:240] = 1000
    plane[10:14, 10:14] = 60_000
    assert brightest_window(plane, 64, 1000.0).max() == 1000


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 5), st.integers(5, 30), st.integers(5, 30))
def test_shrinking_averages_whole_blocks(factor, height, width):
    window = np.arange(height * width, dtype=np.float32).reshape(height, width)
    small = shrink(window, factor)
    assert small.shape == (height // factor, width // factor)
    expected = window[:factor, :factor].mean()
    assert small[0, 0] == pytest.approx(expected)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**32 - 1))
def test_otsu_agrees_with_a_search_over_all_thresholds(seed):
    rng = np.random.default_rng(seed)
    pixels = np.concatenate((rng.normal(10, 2, 500), rng.normal(30, 3, 300)))
    threshold = otsu_threshold(pixels)

    def between(level: float) -> float:
        above = pixels > level
        if above.all() or not above.any():
            return 0.0
        share = above.mean()
        return share * (1 - share) * (pixels[above].mean() - pixels[~above].mean()) ** 2

    best = max(between(level) for level in np.linspace(pixels.min(), pixels.max(), 257))
    assert between(threshold) >= 0.999 * best


def test_one_plane_of_each_third_of_a_long_stack_is_looked_at():
    stack = np.zeros((190, 8, 8), np.uint8)
    stack[[20, 100, 150]] = 9
    known = [Intensity(0, 9)] * 190
    assert informative_planes(stack, known) == [20, 100, 150]
    assert informative_planes(stack[:40], known[:40]) == [20]
    assert informative_planes(stack[:40], [None] * 40) == []


@pytest.mark.parametrize(("objects", "part"), [(1, 1 / 2), (3, 3 / 4), (99, 0.99)])
def test_few_objects_are_weaker_evidence_of_a_diameter_than_many(objects, part):
    assert Look(20.0, 20.0, objects, 1.0, 1.0).score == pytest.approx(part)


def test_an_image_of_one_grey_level_with_stated_levels_has_the_diameter_of_the_network():
    flat = np.full((64, 64), 500, np.uint16)
    segmenter = Segmenter()
    with pytest.warns(FcpWarning, match="no object found"):
        found = segmenter.estimate_diameter(flat, levels=(0, 1000))
    assert found == segmenter.network.diam_mean

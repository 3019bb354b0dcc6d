"""Synthetic organoids: exact labels, the phenotypes of the thesis, and a believable microscope."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from scipy.spatial import ConvexHull

from fcp_runtime import phantom
from fcp_runtime.errors import SettingsError
from fcp_runtime.phantom.optics import UNIT, Microscope, expose

PHENOTYPES = ("cystic", "compact", "cauliflower")
SHAPE = (40, 120, 120)


def assert_exact_labels(labels):
    """1..n without gaps in raster order of first voxel, each in one face-connected piece."""
    values, first = np.unique(labels, return_index=True)
    first = first[values > 0]
    values = values[values > 0]
    assert values.tolist() == list(range(1, len(values) + 1))
    assert np.all(np.diff(first) > 0)
    for value, box in enumerate(ndimage.find_objects(labels), start=1):
        assert ndimage.label(labels[box] == value)[1] == 1


@pytest.mark.parametrize("phenotype", PHENOTYPES)
@settings(max_examples=6, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    anisotropy=st.sampled_from([0.7, 1.0, 2.0, 4.5]),
    diameter=st.floats(8, 30),
)
def test_every_label_is_one_connected_piece_in_raster_order(phenotype, seed, anisotropy, diameter):
    made = phantom.organoid(
        (24, 80, 90), phenotype=phenotype, diameter=diameter, anisotropy=anisotropy, seed=seed
    )
    assert made.image.shape == made.labels.shape == (24, 80, 90)
    assert made.labels.max() > 0
    assert_exact_labels(made.labels)


def test_the_seed_decides_everything():
    first, again, other = (phantom.organoid(SHAPE, seed=seed) for seed in (5, 5, 6))
    assert np.array_equal(first.image, again.image)
    assert np.array_equal(first.labels, again.labels)
    assert not np.array_equal(first.labels, other.labels)


@pytest.mark.parametrize("anisotropy", [1.0, 2.5])
@pytest.mark.parametrize("diameter", [12.0, 24.0])
def test_nuclei_have_the_asked_diameter(diameter, anisotropy):
    shape = (round(6 * diameter / anisotropy), 180, 180)
    made = phantom.organoid(shape, phenotype="compact", diameter=diameter, anisotropy=anisotropy)
    inner = np.unique(made.labels[1:-1, 1:-1, 1:-1])
    voxels = np.bincount(made.labels.ravel())[inner[inner > 0]]
    equivalent = np.cbrt(6 / np.pi * voxels * anisotropy)
    assert np.median(equivalent) == pytest.approx(diameter, rel=0.07)


@pytest.mark.parametrize(
    ("phenotype", "foreground"),
    [("cystic", 0.02), ("cystic", 0.12), ("compact", 0.4), ("cauliflower", 0.1)],
)
def test_foreground_is_the_asked_part(phenotype, foreground):
    made = phantom.organoid(
        (60, 200, 200), phenotype=phenotype, diameter=14, foreground=foreground, seed=2
    )
    assert np.count_nonzero(made.labels) / made.labels.size == pytest.approx(foreground, rel=0.06)


def test_phenotypes_differ_as_the_thesis_says():
    shape, diameter = (60, 160, 160), 12
    tissue = {}
    for phenotype in PHENOTYPES:
        made = phantom.organoid(shape, phenotype=phenotype, diameter=diameter, anisotropy=2, seed=1)
        tissue[phenotype] = ndimage.binary_closing(made.labels > 0, iterations=4)
    middle = tuple(slice(size // 2 - 5, size // 2 + 5) for size in shape)
    assert not tissue["cystic"][middle].any()  # the lumen
    assert tissue["compact"][middle].mean() > 0.8

    def solidity(mask):
        points = np.argwhere(mask) * (2, 1, 1)
        return 2 * len(points) / ConvexHull(points).volume

    assert solidity(tissue["cauliflower"]) < solidity(tissue["compact"]) - 0.1


def test_nuclei_touch_in_dense_tissue():
    labels = phantom.organoid(SHAPE, phenotype="compact", diameter=16, anisotropy=2).labels
    beside = (labels[:, :, 1:] != labels[:, :, :-1]) & (labels[:, :, 1:] > 0)
    assert np.count_nonzero(beside & (labels[:, :, :-1] > 0)) > 200


def test_nuclei_are_brighter_than_background_and_dim_with_depth():
    made = phantom.organoid((60, 120, 120), phenotype="compact", diameter=14, seed=3)
    nuclei = np.where(made.labels > 0, made.image.astype(float), np.nan)
    background = made.image[made.labels == 0]
    assert np.nanmean(nuclei) > 2.5 * background.mean()
    assert np.nanmean(nuclei[45:55]) < 0.85 * np.nanmean(nuclei[5:15])


def test_eight_bits_show_the_same_picture():
    deep = phantom.organoid(SHAPE, seed=1).image
    shallow = phantom.organoid(SHAPE, seed=1, microscope=Microscope(bits=8)).image
    assert (deep.dtype, shallow.dtype) == (np.uint16, np.uint8)
    assert np.abs(deep / 257 - shallow).max() <= 1


@pytest.mark.parametrize("anisotropy", [1.0, 2.0])
def test_a_point_is_blurred_by_the_point_spread_function(anisotropy):
    canvas = np.zeros((41, 31, 31), np.uint16)
    canvas[20, 15, 15] = 8 * UNIT - 1
    how = Microscope(blur=(3.0, 1.2), attenuation=0, haze=0, photons=1e9, read_noise=0)
    image = expose(canvas, anisotropy, 20, 0, how).astype(float)
    image -= np.median(image)
    for axis, sigma in enumerate((3.0 / anisotropy, 1.2, 1.2)):
        other = tuple(k for k in range(3) if k != axis)
        profile = image.sum(other)
        at = np.arange(len(profile)) - (20, 15, 15)[axis]
        assert (profile * at).sum() / profile.sum() == pytest.approx(0, abs=0.02)
        assert (profile * at**2).sum() / profile.sum() == pytest.approx(sigma**2, rel=0.08)


def test_noise_has_the_variance_of_photons_and_detector():
    how = Microscope(blur=(0, 0), attenuation=0, haze=0, photons=50, read_noise=4)
    image = expose(np.full((20, 64, 64), UNIT, np.uint16), 1.0, 20, 0, how) / 65535
    expected = 1.02 * 0.25 + 0.02
    assert image.mean() == pytest.approx(expected, rel=0.01)
    assert image.std() == pytest.approx(0.25 / 50 * np.sqrt(51 + 16), rel=0.03)


def test_slabs_leave_no_seam():
    canvas = np.zeros((40, 16, 16), np.uint16)
    canvas[::5] = UNIT
    how = Microscope(attenuation=0, haze=0, photons=1e9, read_noise=0)
    image = expose(canvas, 1.0, 20, 0, how).astype(float)
    whole = ndimage.gaussian_filter(canvas.astype(float), (2, 0.9, 0.9), mode="nearest", truncate=3)
    expected = (0.25 * (whole / UNIT + 0.02) + 0.02) * 65535
    assert np.abs(image - expected).max() < 0.0005 * 65535


@pytest.mark.parametrize("foreground", [0.0, 0.1, 0.3, 0.6])
def test_two_dimensional_images_have_exact_labels_and_foreground(foreground):
    made = phantom.nuclei_image((200, 220), diameter=18, foreground=foreground, seed=4)
    assert made.image.shape == made.labels.shape == (200, 220)
    assert_exact_labels(made.labels)
    assert np.count_nonzero(made.labels) / made.labels.size == pytest.approx(
        foreground, rel=0.06, abs=1e-9
    )


def test_the_demo_is_small():
    made = phantom.demo()
    assert made.labels.shape == (48, 160, 160)
    assert 30 <= made.labels.max() <= 60
    assert made.voxel_um[0] / made.voxel_um[2] == pytest.approx(2)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"phenotype": "flat"}, "phenotype"),
        ({"diameter": 1}, "diameter"),
        ({"foreground": 0.9}, "foreground"),
        ({"anisotropy": 0}, "anisotropy"),
        ({"shape": (0, 5, 5)}, "shape"),
    ],
)
def test_impossible_values_are_named(change, word):
    with pytest.raises(SettingsError, match=word):
        phantom.organoid(**change)


def test_impossible_microscopes_are_named():
    with pytest.raises(SettingsError, match="bits"):
        Microscope(bits=12)
    with pytest.raises(SettingsError, match="attenuation"):
        Microscope(attenuation=1.5)

"""The whole walk: what a segmentation must be, whatever the threads, dtype or axes."""

from __future__ import annotations

import json
import math
import pickle
import warnings
import weakref
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace
from typing import get_type_hints

import numpy as np
import pytest

import fcp_runtime.segmenter
from fcp_runtime import (
    FcpWarning,
    InputError,
    Segmenter,
    Settings,
    SettingsError,
    Volume,
    reconstruct,
)
from fcp_runtime.evaluate.metrics import match
from fcp_runtime.machine.workers import Workers
from fcp_runtime.phantom import Microscope, nuclei_image, organoid
from fcp_runtime.resolve import smallest_object
from fcp_runtime.settings import Options


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    return Segmenter("v3", threads=2)


@pytest.fixture(scope="module")
def stack():
    return organoid((20, 96, 96), phenotype="compact", diameter=20, anisotropy=2.0, seed=3)


def test_options_are_the_settings_without_the_model():
    assert set(get_type_hints(Options)) == {field.name for field in fields(Settings)} - {"model"}


def test_nuclei_of_an_image_are_found(segmenter):
    image = nuclei_image((256, 256), diameter=22, seed=1)
    result = segmenter.segment(image.image, diameter=22)
    assert match(result.masks, image.labels).counts(0.5).f1 > 0.8


def test_nuclei_of_a_stack_are_found_and_labels_have_no_gaps(segmenter, stack):
    result = segmenter.segment(stack.image, diameter=20, anisotropy=2.0)
    assert result.masks.dtype == np.uint16
    assert np.array_equal(np.unique(result.masks), np.arange(result.count + 1))
    assert match(result.masks, stack.labels).counts(0.5).f1 > 0.5


def test_one_nucleus_that_fills_half_the_view_is_found_or_said_to_be_dropped(segmenter):
    y, x = np.mgrid[:256, :256] - 128
    nucleus = y**2 + x**2 <= 103**2
    image = np.random.default_rng(0).poisson(100 + 900.0 * nucleus).astype(np.uint16)
    options = {"diameter": 206, "augment": False}
    found = segmenter.segment(image, **options)
    assert match(found.masks, nucleus.astype(np.uint16)).counts(0.8).f1 == 1
    with pytest.warns(FcpWarning, match=r"1 object dropped .* set max_size_fraction"):
        assert segmenter.segment(image, max_size_fraction=0.4, **options).count == 0


@pytest.mark.parametrize(
    ("mode", "diameter", "voxels"),
    [("2d", 4, 7), ("2d", 6, 15), ("2d", 30, 71), ("3d", 4, 15), ("3d", 3, 8), ("2d", 1, 1)],
)
def test_the_least_size_is_never_above_half_of_a_whole_nucleus(mode, diameter, voxels):
    settings = Settings(mode=mode, diameter=diameter, anisotropy=1.0)
    assert smallest_object(settings) == voxels


def test_a_pickled_segmenter_makes_the_same_masks(segmenter):
    image = nuclei_image((128, 128), diameter=22, seed=1).image
    again = pickle.loads(pickle.dumps(segmenter))  # noqa: S301
    assert (again.model, again.workers.count) == (segmenter.model, segmenter.workers.count)
    options = {"diameter": 22, "augment": False}
    masks = segmenter.segment(image, **options).masks
    np.testing.assert_array_equal(again.segment(image, **options).masks, masks)


def test_a_volume_made_by_hand_with_pixels_that_are_no_numbers_is_refused(segmenter):
    with pytest.raises(InputError, match="mine: 1 of 4096 pixels are NaN"):
        segmenter.segment(Volume(np.pad([[np.nan]], (0, 63)), name="mine"))


def test_masks_do_not_depend_on_threads(stack):
    masks = [
        Segmenter("v3", threads=threads).segment(stack.image, diameter=20, anisotropy=2.0).masks
        for threads in (1, 2, 3)
    ]
    assert masks[0].any()
    assert np.array_equal(masks[0], masks[1])
    assert np.array_equal(masks[0], masks[2])


def test_one_segmenter_serves_four_threads_at_once(segmenter, stack):
    with ThreadPoolExecutor(4) as pool:
        calls = [
            pool.submit(segmenter.segment, stack.image, diameter=20, anisotropy=2.0)
            for _ in range(4)
        ]
        masks = [call.result().masks for call in calls]
    assert masks[0].any()
    assert all(np.array_equal(masks[0], other) for other in masks[1:])


def test_eight_and_sixteen_bits_give_the_same_nuclei(segmenter):
    image = nuclei_image((512, 512), diameter=22, seed=2)
    eight = (image.image.astype(np.float32) * (255 / image.image.max())).round().astype(np.uint8)
    many = segmenter.segment(image.image, diameter=22).masks
    few = segmenter.segment(eight, diameter=22).masks
    assert (
        abs(match(many, image.labels).counts(0.5).f1 - match(few, image.labels).counts(0.5).f1)
        <= 0.005
    )


@pytest.mark.parametrize("dtype", ["<f8", ">u2", "i2", "f4", ">f4", "i4", "u4"])
def test_the_type_of_the_pixels_does_not_matter(segmenter, dtype):
    image = nuclei_image((128, 128), diameter=20, seed=4, microscope=Microscope(bits=8)).image
    expected = segmenter.segment(image, diameter=20).masks
    assert expected.any()
    assert np.array_equal(segmenter.segment(image.astype(dtype), diameter=20).masks, expected)


def test_planes_by_themselves_equal_images_by_themselves(segmenter, stack):
    planes = stack.image[6:9]
    together = segmenter.segment(planes, mode="2d", diameter=20).masks
    for plane, masks in zip(planes, together, strict=True):
        alone = segmenter.segment(plane, diameter=20).masks
        assert np.array_equal(masks > 0, alone > 0)


def test_stitching_links_a_nucleus_through_planes(segmenter, stack):
    planes = segmenter.segment(stack.image, mode="2d", diameter=20)
    linked = segmenter.segment(stack.image, mode="stitch", diameter=20)
    assert 0 < linked.count < planes.count


def test_kept_fields_give_the_same_masks_again(segmenter, stack):
    result = segmenter.segment(stack.image, diameter=20, anisotropy=2.0, keep_fields=True)
    again = reconstruct(result.fields, result.settings, Workers(1))
    assert np.array_equal(again, result.masks)
    assert result.flow.shape == (3, *stack.image.shape)
    assert result.logit.shape == stack.image.shape
    higher = replace(result.settings, cellprob_threshold=2.0)
    fewer = reconstruct(result.fields, higher, Workers(1))
    assert np.count_nonzero(fewer) < np.count_nonzero(again)


def test_a_prediction_is_the_first_half_of_a_segmentation(segmenter, stack):
    whole = segmenter.segment(stack.image, anisotropy=2.0, keep_fields=True)
    half = segmenter.predict(stack.image, anisotropy=2.0)
    assert half.settings == whole.settings
    assert half.shape == stack.image.shape
    assert np.array_equal(half.fields.flow, whole.fields.flow)
    assert np.array_equal(half.fields.logit, whole.fields.logit)


def test_the_estimate_alone_is_that_of_a_segmentation(segmenter, stack):
    estimate = segmenter.estimate_diameter(stack.image, anisotropy=2.0)
    assert estimate == segmenter.segment(stack.image, anisotropy=2.0).diameter


def test_no_diameter_is_estimated_where_there_is_no_signal(segmenter):
    with pytest.raises(InputError, match="no signal"):
        segmenter.estimate_diameter(np.full((40, 50), 7, np.uint8))


def test_without_request_no_fields_are_kept(segmenter):
    result = segmenter.segment(nuclei_image((64, 64), diameter=17, seed=0).image, diameter=17)
    assert result.fields is None
    assert result.flow is None
    assert result.logit is None


def watched(monkeypatch, name, seen):
    """Have a step of the walk note which of the arrays in ``seen`` are still alive as it begins."""
    step = getattr(fcp_runtime.segmenter, name)

    def noting(*args, **options):
        seen[name] = {key: ref() is not None for key, ref in seen["arrays"].items()}
        return step(*args, **options)

    monkeypatch.setattr(fcp_runtime.segmenter, name, noting)


@pytest.mark.parametrize("keep_fields", [False, True])
def test_pixels_and_fields_are_let_go_before_the_labels_are_made(
    segmenter, stack, monkeypatch, keep_fields
):
    arrays: dict[str, weakref.ref[np.ndarray]] = {}
    seen: dict[str, dict[str, object]] = {"arrays": arrays}

    def image():
        pixels = stack.image.copy()
        arrays["pixels"] = weakref.ref(pixels)
        return pixels

    compute = fcp_runtime.segmenter.compute_fields

    def computed(*args, **options):
        fields = compute(*args, **options)
        arrays["flow"], arrays["logit"] = weakref.ref(fields.flow), weakref.ref(fields.logit)
        return fields

    monkeypatch.setattr(fcp_runtime.segmenter, "compute_fields", computed)
    watched(monkeypatch, "follow_paths", seen)
    watched(monkeypatch, "labels_from_paths", seen)
    result = segmenter.segment(image, diameter=17, anisotropy=2.0, keep_fields=keep_fields)
    assert result.count > 0
    assert seen["follow_paths"] == {"pixels": False, "flow": True, "logit": True}
    assert seen["labels_from_paths"] == {"pixels": False, "flow": keep_fields, "logit": keep_fields}


def test_pixels_are_let_go_before_fields_of_a_coarser_grid_are_computed(
    segmenter, stack, monkeypatch
):
    arrays: dict[str, weakref.ref[np.ndarray]] = {}
    seen: dict[str, dict[str, object]] = {"arrays": arrays}

    def image():
        pixels = stack.image.copy()
        arrays["pixels"] = weakref.ref(pixels)
        return pixels

    watched(monkeypatch, "compute_fields", seen)
    assert segmenter.segment(image, diameter=24, anisotropy=2.0).count > 0
    assert seen["compute_fields"] == {"pixels": False}


def test_half_the_size_finds_the_nuclei_too(segmenter, stack):
    usual = segmenter.segment(stack.image, diameter=20, anisotropy=2.0)
    half = segmenter.segment(stack.image, diameter=20, anisotropy=2.0, resize_factor=2)
    assert half.settings.niter == math.ceil(usual.settings.niter / 2)
    assert half.masks.shape == usual.masks.shape
    assert match(half.masks, usual.masks).counts(0.5).f1 > 0.9


def test_settings_of_a_result_make_it_again(segmenter, stack):
    volume = Volume(stack.image, stack.voxel_um, "phantom")
    result = segmenter.segment(volume)
    options = {key: value for key, value in result.settings.as_dict().items() if key != "model"}
    options["percentiles"] = tuple(options["percentiles"])
    assert np.array_equal(segmenter.segment(stack.image, **options).masks, result.masks)
    assert result.settings.anisotropy == pytest.approx(2.0)


def test_an_image_without_signal_gives_an_empty_mask_and_says_so(segmenter):
    with pytest.warns(FcpWarning, match="no signal"):
        result = segmenter.segment(np.full((40, 50), 7, np.uint8), keep_fields=True)
    assert result.masks.shape == (40, 50)
    assert result.count == 0
    assert result.fields.shape == (1, 40, 50)


def test_unknown_spacing_of_planes_is_one_and_says_so(segmenter, stack):
    with pytest.warns(FcpWarning, match="spacing of planes unknown"):
        result = segmenter.segment(stack.image[:4, :32, :32], diameter=20)
    assert result.settings.anisotropy == 1.0


def test_one_image_cannot_be_segmented_in_three_dimensions(segmenter):
    with pytest.raises(SettingsError, match="needs a stack"):
        segmenter.segment(np.eye(20), mode="3d")


@pytest.mark.parametrize("shape", [(), (5,), (2, 3, 4, 5), (1, 2, 3, 4, 5), (0, 7), (3, 0, 7)])
def test_other_axes_are_refused(segmenter, shape):
    with pytest.raises(InputError):
        segmenter.segment(np.zeros(shape))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_refused(segmenter, value):
    image = np.zeros((20, 20), np.float32)
    image[3, 4] = value
    with pytest.raises(InputError, match=r"finite|NaN|inf"):
        segmenter.segment(image)


def test_progress_counts_up_to_the_end(segmenter, stack):
    seen: dict[str, list[tuple[int, int]]] = {}
    segmenter.segment(
        stack.image, diameter=20, anisotropy=2.0,
        progress=lambda stage, done, total: seen.setdefault(stage, []).append((done, total)),
    )  # fmt: skip
    assert "network" in seen
    for counts in seen.values():
        assert counts[-1][0] == counts[-1][1]
        assert counts == sorted(counts)


def test_an_interrupt_in_progress_reaches_the_caller(segmenter, stack):
    def stop(_stage: str, done: int, _total: int) -> None:
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        segmenter.segment(stack.image, diameter=20, anisotropy=2.0, progress=stop)


@pytest.mark.parametrize(
    "wrong",
    [
        {"diameter": 0}, {"diameter": -3.0}, {"diameter": float("nan")}, {"anisotropy": 0},
        {"percentiles": (5, 5)}, {"min_size": -1}, {"cellprob_threshold": 1e17}, {"max_size_fraction": 0}, {"tile": 100}, {"niter": 0},
        {"mode": "4d"}, {"stitch_threshold": 0}, {"flow_threshold": -1.0},
        {"cellprob_threshold": float("inf")}, {"resize_factor": 3}, {"min_flow": -0.1},
        {"min_flow": 3}, {"overlap": -8}, {"overlap": 65, "tile": 128}, {"diameter": "25"},
        {"diameter": True}, {"diameter": np.float32("nan")}, {"min_size": 2.5},
        {"percentiles": None}, {"percentiles": (1, 50, 99)}, {"percentiles": (1, "99")},
        {"mode": 3}, {"augment": "yes"}, {"flow_threshold": None},
    ],
)  # fmt: skip
def test_impossible_settings_are_refused_and_named(wrong):
    with pytest.raises(SettingsError, match=next(iter(wrong))):
        Settings(**wrong)


def test_settings_are_plain_values_whatever_numbers_a_pipeline_has():
    given = Settings(
        diameter=np.float32(25), min_size=np.int64(20), tile=128.0, percentiles=np.array([2, 98]).tolist(),
        augment=np.bool_(True), overlap=np.uint8(16),
    )  # fmt: skip
    plain = Settings(
        diameter=25.0, min_size=20, tile=128, percentiles=(2.0, 98.0), augment=True, overlap=16
    )
    assert given == plain
    assert json.loads(json.dumps(given.as_dict())) == plain.as_dict()


def test_an_overlap_needs_no_tile(segmenter, stack):
    result = segmenter.segment(stack.image[5], diameter=20, overlap=8)
    assert result.settings.overlap == 8
    assert result.settings.tile == segmenter.network.info.tile


def test_a_stack_of_one_plane_is_an_image(segmenter):
    image = nuclei_image((128, 128), diameter=22, seed=1).image
    result = segmenter.segment(image[np.newaxis], diameter=22)
    assert result.settings.mode == "2d"
    assert np.array_equal(result.masks, segmenter.segment(image, diameter=22).masks[np.newaxis])
    with pytest.raises(SettingsError, match="mode 3d needs a stack"):
        segmenter.segment(image[np.newaxis], diameter=22, mode="3d")


@pytest.mark.parametrize("extent", [1, 4, 8])
def test_the_smallest_images_have_an_answer(segmenter, extent):
    image = np.arange(float(extent**2)).reshape(extent, extent)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FcpWarning)
        assert segmenter.segment(image).masks.shape == (extent, extent)


@pytest.mark.parametrize("margin", [61.0, 64.0, 400.0])
def test_a_margin_below_all_logits_looks_everywhere(segmenter, stack, margin):
    options = {"diameter": 20, "anisotropy": 2.0}
    wide = segmenter.segment(stack.image, empty_margin=margin, **options)
    assert np.array_equal(
        wide.masks, segmenter.segment(stack.image, empty_margin=0, **options).masks
    )


def test_an_impossible_spacing_in_a_file_stops_only_what_needs_it(segmenter, stack):
    volume = Volume(stack.image[:3], (200.0, 0.5, 0.5), "odd.tif")
    with pytest.raises(InputError, match=r"odd\.tif: states that planes lie 400 times"):
        segmenter.segment(volume, diameter=20)
    assert segmenter.segment(volume, diameter=20, mode="2d").settings.anisotropy == 1.0
    assert segmenter.segment(volume, diameter=20, anisotropy=2.0).settings.anisotropy == 2.0


def test_objects_whose_flow_is_weak_are_removed(segmenter, stack):
    options = {"diameter": 20, "anisotropy": 2.0, "keep_fields": True}
    counts, usual = {}, segmenter.segment(stack.image, **options)
    assert usual.settings.min_flow == 0.55
    assert segmenter.segment(stack.image, diameter=20, mode="2d").settings.min_flow == 0.4
    for least in (0.0, 0.55, 0.9, 2.0):
        settings = replace(usual.settings, min_flow=least)
        counts[least] = int(reconstruct(usual.fields, settings, segmenter.workers).max())
    assert counts[0.0] >= counts[0.55] > counts[0.9] > counts[2.0] == 0
    assert counts[0.55] == usual.count


def test_debris_is_removed_in_3d_and_kept_small_in_2d(segmenter, stack):
    space = segmenter.segment(stack.image, diameter=20, anisotropy=2.0)
    ball = np.pi / 6 * 20**3 / 2
    assert space.settings.min_size == round(ball / 10)
    assert np.bincount(space.masks.ravel()).min() >= space.settings.min_size
    assert segmenter.segment(stack.image, mode="2d", diameter=20).settings.min_size == 31
    assert segmenter.segment(stack.image, mode="2d", diameter=9).settings.min_size == 15
    stated = segmenter.segment(stack.image, diameter=20, anisotropy=2.0, min_size=3)
    assert stated.settings.min_size == 3

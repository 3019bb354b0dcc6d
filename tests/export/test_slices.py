"""Rows of a manifest become 2-D slices at the scale of the network."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from scipy import ndimage

from fcp_export.data.slices import fold_groups, nearest, resample, slice_sets, split_groups
from fcp_runtime.errors import FcpWarning, InputError
from fcp_runtime.evaluate.manifest import Row


def smooth(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).standard_normal(shape)
    field = ndimage.gaussian_filter(noise, 2)
    return (1000 + 4000 * (field - field.min()) / np.ptp(field)).astype(np.uint16)


def write_row(folder, pixels, labels=None, **columns) -> Row:
    """Write an image (and its labels) and return the row that names them."""
    tifffile.imwrite(folder / "image.tif", pixels)
    if labels is not None:
        tifffile.imwrite(folder / "label.tif", labels)
    defaults = {
        "place": "manifest.csv, line 2",
        "split": "train",
        "source": "test",
        "image": folder / "image.tif",
        "label": None if labels is None else folder / "label.tif",
        "ndim": pixels.ndim,
        "diameter_px": 17.0,
    }
    return Row(**(defaults | columns))


def sampled(plane: np.ndarray, shape: tuple[int, ...], scales: tuple[float, float]) -> np.ndarray:
    """Sample where output pixel i lies at (i + 0.5) / scale - 0.5, the edge pixel beyond."""
    at = [(np.arange(n) + 0.5) / s - 0.5 for n, s in zip(shape, scales, strict=True)]
    grid = np.meshgrid(*at, indexing="ij")
    return ndimage.map_coordinates(plane, grid, order=1, mode="nearest")


@pytest.mark.parametrize("scales", [(1.0, 1.0), (2.0, 2.0), (1.5, 0.75), (0.5, 0.5)])
def test_slices_are_sampled_at_pixel_centres(scales):
    planes = smooth((2, 40, 60)).astype(np.float32) / 1000
    found = resample(planes, *scales)
    assert found.dtype == np.float16
    assert found.shape == (2, round(40 * scales[0]), round(60 * scales[1]))
    for plane, image in zip(planes, found, strict=True):
        np.testing.assert_allclose(image, sampled(plane, image.shape, scales), atol=0.01)


def test_strong_shrinking_averages_the_area():
    checks = (np.indices((1, 64, 64)).sum(0) % 2).astype(np.float32)
    np.testing.assert_allclose(resample(checks, 0.125, 0.125), 0.5, atol=0.06)


def test_labels_are_taken_from_the_pixel_that_a_slice_pixel_lies_in():
    labels = np.arange(12).reshape(1, 3, 4)
    assert (nearest(labels, (6, 8))[0] == labels[0].repeat(2, 0).repeat(2, 1)).all()
    assert (nearest(labels, (1, 2))[0] == [[5, 7]]).all()


def test_an_image_gives_one_slice_at_the_scale_of_its_diameter(tmp_path):
    pixels, labels = smooth((60, 80)), np.zeros((60, 80), np.uint16)
    labels[10:30, 20:50] = 7
    row = write_row(tmp_path, pixels, labels, diameter_px=34.0)
    (slices,) = slice_sets(row, 17.0, step=2, diameter=None)
    assert not slices.stack
    assert slices.images.shape == slices.labels.shape == (1, 30, 40)
    assert (slices.labels[0, 5:15, 10:25] == 7).all()
    assert (slices.labels > 0).sum() == 150
    low, high = np.percentile(pixels, (1, 99))
    wanted = sampled((pixels - low) / (high - low), (30, 40), (0.5, 0.5))
    np.testing.assert_allclose(slices.images[0], wanted, atol=0.01)


def test_a_stack_gives_three_views_resampled_to_isotropy(tmp_path):
    pixels = smooth((12, 40, 60))
    labels = np.arange(12, dtype=np.uint16)[:, None, None] + np.zeros((12, 40, 60), np.uint16)
    row = write_row(tmp_path, pixels, labels, voxel_um=(2.0, 1.0, 1.0))
    sets = {s.name.rsplit("/")[-1]: s for s in slice_sets(row, 17.0, step=1, diameter=None)}
    assert all(s.stack for s in sets.values())
    assert {view: s.images.shape for view, s in sets.items()} == {
        "ZY": (60, 24, 40),
        "ZX": (40, 24, 60),
        "XY": (12, 40, 60),
    }
    low, high = np.percentile(pixels, (1, 99))
    scaled = (pixels - low) / (high - low)
    np.testing.assert_allclose(sets["XY"].images[5], scaled[5], atol=0.01)
    # slice x of ZY shows (z, y), slice y of ZX shows (z, x)
    np.testing.assert_allclose(
        sets["ZY"].images[9], sampled(scaled[:, :, 9], (24, 40), (2, 1)), atol=0.01
    )
    np.testing.assert_allclose(
        sets["ZX"].images[9], sampled(scaled[:, 9], (24, 60), (2, 1)), atol=0.01
    )
    assert (sets["ZX"].labels[9] == np.arange(24)[:, None] // 2).all()


def test_of_a_stack_every_nth_slice_is_taken(tmp_path):
    row = write_row(tmp_path, smooth((20, 40, 60)), voxel_um=(1.0, 1.0, 1.0))
    sets = slice_sets(row, 17.0, step=8, diameter=None)
    assert [len(s.images) for s in sets] == [3, 8, 5]


def test_slices_too_thin_for_a_nucleus_are_left_out(tmp_path):
    row = write_row(tmp_path, smooth((6, 40, 60)), voxel_um=(1.0, 1.0, 1.0))
    (only,) = slice_sets(row, 17.0, step=1, diameter=None)
    assert only.name == "test/image/XY"


def test_what_is_of_one_embryo_is_one_group(tmp_path):
    stack = write_row(tmp_path, smooth((20, 40, 60)), note="embryo 3", voxel_um=(1.0, 1.0, 1.0))
    image = write_row(tmp_path, smooth((40, 60)), note="embryo 3, one plane")
    for row in (stack, image):
        assert {s.group for s in slice_sets(row, 17.0, step=4, diameter=None)} == {"test/embryo 3"}


def shapes(row) -> dict[str, tuple[int, ...]]:
    sets = slice_sets(row, 17.0, step=1, diameter=None)
    return {s.view: s.images.shape for s in sets}


def test_the_spacing_in_the_file_counts_where_the_row_states_none(tmp_path):
    pixels = smooth((12, 40, 60))
    row = write_row(tmp_path, pixels)
    how = {"imagej": True, "resolution": (4, 4)}  # pixels a micrometre
    tifffile.imwrite(row.image, pixels, metadata={"axes": "ZYX", "spacing": 1.0, "unit": "um"}, **how)  # fmt: skip
    assert shapes(row)["ZX"] == (40, 48, 60)
    stated = write_row(tmp_path, pixels, voxel_um=(2.0, 1.0, 1.0))
    assert shapes(stated)["ZX"] == (40, 24, 60)


def test_an_unknown_spacing_is_taken_as_that_of_pixels_with_a_warning(tmp_path):
    row = write_row(tmp_path, smooth((20, 40, 60)))
    with pytest.warns(FcpWarning, match=r"image\.tif: neither the manifest nor the file.*voxel_um_zyx"):  # fmt: skip
        assert shapes(row)["ZX"] == (40, 20, 60)
    shapes(write_row(tmp_path, smooth((40, 60))))  # an image has no planes: no warning


def test_incomplete_labels_are_not_learnt_from(tmp_path):
    labels = np.zeros((40, 60), np.uint16)
    labels[10:20, 10:20] = 1
    row = write_row(tmp_path, smooth((40, 60)), labels, note="recall only")
    (slices,) = slice_sets(row, 17.0, step=1, diameter=None)
    assert slices.labels is None


def test_an_image_without_signal_gives_nothing(tmp_path):
    row = write_row(tmp_path, np.full((40, 60), 7, np.uint16))
    assert slice_sets(row, 17.0, step=1, diameter=None) == []


def test_a_row_without_diameter_needs_one(tmp_path):
    row = write_row(tmp_path, smooth((40, 60)), diameter_px=None)
    with pytest.raises(InputError, match=r"image\.tif: the manifest states no diameter"):
        slice_sets(row, 17.0, step=1, diameter=None)
    (slices,) = slice_sets(row, 17.0, step=1, diameter=34.0)
    assert slices.images.shape == (1, 20, 30)


def test_groups_are_split_the_same_way_every_time_and_by_their_share():
    groups = [f"embryo {index}" for index in range(30)]
    members = [("test", group) for group in groups]
    held = split_groups(members * 2, 1 / 3)
    assert held == split_groups(reversed(members), 1 / 3)
    assert len(held) == 10
    assert held < set(groups)
    assert held != set(groups[:10])
    assert split_groups(members, 0) == set()


@pytest.mark.parametrize("fraction", [0.01, 0.1, 1 / 3, 0.99])
def test_every_source_of_several_groups_validates_and_trains_and_phantoms_only_train(fraction):
    sizes = {"many": 40, "few": 2, "one": 1, "phantom": 20}
    members = [(name, f"{name}/{index}") for name, size in sizes.items() for index in range(size)]
    held = split_groups(members, fraction)
    counts = {name: sum(group.startswith(f"{name}/") for group in held) for name in sizes}
    assert counts.pop("many") == min(39, max(1, round(40 * fraction)))
    assert counts == {"few": 1, "one": 0, "phantom": 0}


def test_folds_share_the_groups_out_evenly_and_the_same_way_every_time():
    groups = [f"embryo {index}" for index in range(30)]
    members = [("test", group) for group in groups]
    folds = fold_groups(members * 2, 4)
    assert folds == fold_groups(reversed(members), 4)
    assert sorted(len(fold) for fold in folds) == [7, 7, 8, 8]
    assert set.union(*folds) == set(groups)


def test_every_fold_has_its_share_of_a_source_and_no_phantom():
    sizes = {"many": 40, "few": 4, "phantom": 20}
    members = [(name, f"{name}/{index}") for name, size in sizes.items() for index in range(size)]
    for fold in fold_groups(members, 4):
        assert sorted(group.split("/")[0] for group in fold) == ["few"] + ["many"] * 10


@pytest.mark.parametrize("split", ["dev2d", "dev3d", "test", "nottrain"])
def test_rows_that_are_not_for_training_are_refused(tmp_path, split):
    row = write_row(tmp_path, smooth((40, 60)), split=split)
    with pytest.raises(InputError, match=rf"belongs to split {split}; only train\*"):
        slice_sets(row, 17.0, step=1, diameter=None)

"""Teacher outputs are computed once, kept, and mixed with labels where those are exact."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from test_slices import smooth, write_row

from fcp_export.architectures.networks import build
from fcp_export.data import cache
from fcp_export.data.cache import blend, fingerprint, label_targets, make_targets
from fcp_export.data.rows import DataSettings, all_slices
from fcp_export.teacher import MARGIN, TILE, teacher_maps
from fcp_runtime.machine.workers import silent
from fcp_runtime.masks.flows import flows_from_labels

CUBE = (1.0, 1.0, 1.0)


@pytest.fixture
def net():
    return build("v3", 17.0).eval()


def constant_maps(calls: list, logit: float):
    """A stand-in for the teacher that counts its calls."""

    def maps(_, image):
        calls.append(image)
        return torch.full((3, *image.shape), logit)

    return maps


def run(rows, net, folder, label_share=0.0, diameter=17.0):
    settings = DataSettings(slice_step=4, diameter=diameter)
    sets = all_slices(rows, settings, silent)
    return make_targets(sets, net, folder, label_share=label_share, diameter=diameter)


def test_the_teacher_is_asked_once_for_each_slice(tmp_path, net, monkeypatch):
    calls: list = []
    monkeypatch.setattr(cache, "teacher_maps", constant_maps(calls, 2.0))
    row = write_row(tmp_path, smooth((20, 40, 60)), voxel_um=CUBE)
    first = run([row], net, tmp_path / "cache")
    slices = sum(len(item.slices.images) for item in first)
    assert len(calls) == slices == 5 + 15 + 10
    again = run([row], net, tmp_path / "cache")
    assert len(calls) == slices
    for one, two in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.maps, two.maps)
        np.testing.assert_array_equal(one.slices.images, two.slices.images)


def test_another_teacher_or_image_is_another_entry(tmp_path, net, monkeypatch):
    calls: list = []
    monkeypatch.setattr(cache, "teacher_maps", constant_maps(calls, 2.0))
    row = write_row(tmp_path, smooth((40, 60)))
    run([row], net, tmp_path / "cache")
    net.output[2].pointwise.bias.data += 1
    run([row], net, tmp_path / "cache")
    assert len(calls) == 2
    run([write_row(tmp_path, smooth((40, 60), seed=1))], net, tmp_path / "cache")
    assert len(calls) == 3


def test_the_fingerprint_is_that_of_the_weights(net):
    one = fingerprint(net)
    assert one == fingerprint(net)
    net.downsample.down[0].conv[0][0].running_mean[0] += 1e-3
    assert fingerprint(net) != one


def test_the_maps_are_the_teachers(tmp_path, net):
    row = write_row(tmp_path, smooth((40, 60)))
    net.output[2].pointwise.bias.data[2] = 5
    (item,) = run([row], net, tmp_path / "cache")
    wanted = teacher_maps(net, torch.from_numpy(item.slices.images[0].astype(np.float32)))
    np.testing.assert_allclose(item.maps[0], wanted, rtol=2e-3, atol=2e-3)


def test_slices_without_a_nucleus_are_dropped(tmp_path, net, monkeypatch):
    """Here the teacher sees nuclei in bright slices only."""

    def maps(_, image):
        logit = 1.0 if image.mean() > 0.5 else -1.0
        return torch.full((3, *image.shape), logit)

    monkeypatch.setattr(cache, "teacher_maps", maps)
    pixels = smooth((20, 40, 60)) // 10
    pixels[8] += 3000
    found = run([write_row(tmp_path, pixels, voxel_um=CUBE)], net, tmp_path / "cache")
    assert [item.slices.name for item in found] == ["test/image/XY"]
    assert found[0].slices.images.shape == (1, 40, 60)
    assert found[0].maps.shape == (1, 3, 40, 60)
    monkeypatch.setattr(cache, "teacher_maps", constant_maps([], -1.0))
    assert run([write_row(tmp_path, pixels, voxel_um=CUBE)], net, tmp_path / "other") == []


@pytest.mark.parametrize("share", [0.25, 1.0])
def test_slices_whose_labels_count_are_kept_where_the_teacher_sees_nothing(
    tmp_path, net, monkeypatch, share
):
    monkeypatch.setattr(cache, "teacher_maps", constant_maps([], -5.0))
    labels = np.zeros((20, 40, 60), np.uint16)
    labels[8, 10:31, 10:31] = 3
    row = write_row(tmp_path, smooth((20, 40, 60)), labels, voxel_um=CUBE)
    found = run([row], net, tmp_path / "cache", label_share=share)
    assert [len(item.maps) for item in found] == [1, 5, 5]  # slices that show the object
    assert found[0].maps[0, 2, 20, 20] > found[0].maps[0, 2, 0, 0]
    assert run([row], net, tmp_path / "cache", label_share=0.0) == []


def test_at_another_diameter_the_teacher_sees_nuclei_at_its_own(tmp_path, net, monkeypatch):
    seen: list = []

    def maps(_, image):
        seen.append(image.shape)
        return torch.stack((image, -image, image))

    monkeypatch.setattr(cache, "teacher_maps", maps)
    row = write_row(tmp_path, smooth((40, 60)))
    (own,) = run([row], net, tmp_path / "c")
    (twice,) = run([row], net, tmp_path / "c", diameter=34.0)
    assert seen == [(40, 60), (40, 60)]
    assert twice.slices.images.shape[1:] == twice.maps.shape[2:] == (80, 120)
    # the image is smooth: what the teacher said comes back at the larger scale
    np.testing.assert_allclose(twice.maps[0, 0], twice.slices.images[0], atol=0.05)
    np.testing.assert_array_equal(own.maps[0, 0], own.slices.images[0])


def test_exact_labels_alone_make_the_targets_of_a_teacher(tmp_path):
    labels = np.zeros((20, 40, 60), np.uint16)
    labels[8:12, 10:31, 10:31] = 3
    labels[8:12, 10:31, 31:50] = 7  # touches the other
    row = write_row(tmp_path, smooth((20, 40, 60)), labels, voxel_um=CUBE)
    sets = list(all_slices([row], DataSettings(slice_step=4), silent))
    found = label_targets(sets)
    assert [len(item.maps) for item in found] == [1, 10, 5]  # slices that show an object
    for item, slices in zip(found, sets, strict=True):
        shown = slices.labels[slices.labels.any((1, 2))]
        np.testing.assert_array_equal(item.maps[:, 2] > 0, shown > 0)
        flow = 5 * np.stack([flows_from_labels(plane) for plane in shown])
        np.testing.assert_allclose(item.maps[:, :2], flow, atol=4e-3)
    assert label_targets([replace(item, labels=None) for item in sets]) == []


def test_labels_are_mixed_in_by_their_share(tmp_path, net, monkeypatch):
    monkeypatch.setattr(cache, "teacher_maps", constant_maps([], 1.0))
    labels = np.zeros((40, 60), np.uint16)
    labels[10:31, 10:31] = 3
    row = write_row(tmp_path, smooth((40, 60)), labels)
    (alone,) = run([row], net, tmp_path / "c")
    assert (alone.maps == 1).all()
    (mixed,) = run([row], net, tmp_path / "c", label_share=0.5)
    assert mixed.maps[0, 2, 20, 20] > 1 > mixed.maps[0, 2, 0, 0]
    assert mixed.slices.labels is None


def test_a_blend_averages_flows_and_probabilities():
    labels = np.zeros((1, 21, 21), np.int32)
    labels[0, 5:16, 5:16] = 4
    teacher = np.zeros((1, 3, 21, 21), np.float16)
    teacher[0, 0] = 2
    teacher[0, 2] = np.log(3)  # probability 0.75
    mixed = blend(teacher, labels, 0.25)
    probability = 1 / (1 + np.exp(-mixed[0, 2].astype(float)))
    np.testing.assert_allclose(probability, 0.75 * 0.75 + 0.25 * (labels[0] > 0), atol=1e-3)
    # of the exact flow a quarter of length 5 is left, towards the centre; outside nothing
    np.testing.assert_allclose(mixed[0, :2, 10, 6], (1.5, 1.25), atol=0.02)
    np.testing.assert_allclose(mixed[0, :2, 6, 10], (1.5 + 1.25, 0), atol=0.02)
    np.testing.assert_allclose(mixed[0, :2, 0, 0], (1.5, 0), atol=1e-3)
    only = blend(teacher, labels, 1.0)
    assert np.isfinite(only).all()
    assert only[0, 2, 10, 10] > 8
    assert only[0, 2, 0, 0] < -8


@torch.inference_mode()
def test_a_small_image_is_one_tile_continued_by_reflection(net):
    image = torch.from_numpy(smooth((43, 61)).astype(np.float32) / 5000)
    padded = torch.from_numpy(np.pad(image.numpy(), ((0, 5), (0, 3)), mode="symmetric"))
    wanted = net(torch.stack((padded, 0 * padded))[None])[0, :, :43, :61]
    torch.testing.assert_close(teacher_maps(net, image), wanted, rtol=1e-4, atol=1e-4)


@torch.inference_mode()
def test_a_large_image_is_cut_into_tiles_that_lend_each_other_a_margin():
    """A network that returns its input, and how far the pixel is from the tile's border."""

    class Distance(torch.nn.Module):
        def forward(self, pair):
            height, width = pair.shape[2:]
            rows = torch.minimum(torch.arange(height), torch.arange(height).flip(0))
            cols = torch.minimum(torch.arange(width), torch.arange(width).flip(0))
            near = torch.minimum(rows[:, None], cols[None]).float().expand(1, 1, -1, -1)
            return torch.cat((pair, near), 1)

    image = torch.rand(TILE + 200, 2 * TILE + 3)
    maps = teacher_maps(Distance(), image)
    assert torch.equal(maps[0], image)
    # 8: the image's far border lies up to 7 pixels inside the last tile
    assert maps[2, MARGIN:-MARGIN, MARGIN:-MARGIN].min() >= MARGIN - 8

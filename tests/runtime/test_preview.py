"""Preview pictures: the right planes, the right outlines, a readable size."""

from __future__ import annotations

import imagecodecs
import numpy as np
import pytest

from fcp_runtime.errors import OutputError
from fcp_runtime.outputs.outlines import GAP, PALETTE, Layer, draw, label_colours
from fcp_runtime.outputs.png import save_png
from fcp_runtime.outputs.preview import render_preview


def inner_edge(labels):
    """Pixel by pixel: an object's pixel with a direct neighbour that is not of the object."""
    edge = np.zeros(labels.shape, bool)
    for y, x in np.argwhere(labels):
        for dy, dx in ((0, 1), (1, 0), (0, -1), (-1, 0)):
            inside = 0 <= y + dy < labels.shape[0] and 0 <= x + dx < labels.shape[1]
            if inside and labels[y + dy, x + dx] != labels[y, x]:
                edge[y, x] = True
    return edge


def as_drawn(values):
    """Grey values 0 to 255 as they are drawn: dim ones lifted."""
    return np.rint(255 * (values / 255) ** 0.6).astype(int)


def random_labels(shape, seed=0):
    rng = np.random.default_rng(seed)
    return np.kron(rng.integers(0, 4, (shape[0] // 20, shape[1] // 20)), np.ones((20, 20), int))


def test_outlines_lie_on_the_inner_edges_of_objects():
    labels = random_labels((640, 600))
    grey = np.random.default_rng(1).integers(0, 256, labels.shape)
    picture = render_preview(grey, labels, intensity=(0, 255))
    edge = inner_edge(labels)
    assert np.array_equal(picture[edge], label_colours(labels[edge]))
    assert np.array_equal(picture[~edge], np.repeat(as_drawn(grey[~edge])[:, None], 3, axis=1))


def test_colours_are_seen_on_black_and_told_apart_by_the_colour_blind():
    colours = label_colours(np.arange(1, 400))
    assert colours.shape == (399, 3)
    linear = (PALETTE / 255) ** 2.2
    assert (linear @ (0.2126, 0.7152, 0.0722)).min() > 0.3
    # red and green cones see alike (Vienot et al. 1999): what is left is yellow to blue, and lightness
    seen = (
        linear @ np.array([[0.29275, 0.70725, -0.02234], [0.29275, 0.70725, -0.02234], [0, 0, 1]]).T
    )
    steps = np.abs(np.diff(np.concatenate((seen, seen[:1])) ** (1 / 2.2), axis=0)).max(axis=1)
    assert steps.min() > 0.12


def test_a_layer_draws_only_its_labels_in_its_colour():
    labels = random_labels((600, 600), seed=3)
    picture = draw(
        np.zeros((600, 600)), [Layer(labels, (1, 2, 3), np.array([2]))], intensity=(0, 1)
    )
    edge = inner_edge(labels) & (labels == 2)
    assert np.array_equal((picture == (1, 2, 3)).all(2), edge)
    assert not picture[~edge].any()


def test_a_stack_without_objects_shows_its_three_middle_planes():
    stack = np.zeros((10, 600, 700), np.uint16)
    stack[5] += 1  # each of the middle planes gets a value of its own bit
    stack[:, :, 350] += 2
    stack[:, 300] += 4
    labels = np.zeros(stack.shape, int)
    picture = render_preview(stack, labels, anisotropy=1.0, intensity=(0, 255))[..., 0]
    assert picture.shape == (600 + GAP + 10, 700 + GAP + 10)
    assert np.array_equal(picture[:600, :700], as_drawn(stack[5]))
    assert np.array_equal(picture[:600, 700 + GAP :], as_drawn(stack[:, :, 350].T))
    assert np.array_equal(picture[600 + GAP :, :700], as_drawn(stack[:, 300]))
    assert not picture[600 + GAP :, 700 + GAP :].any()


def test_a_stack_shows_the_planes_that_hold_most_of_its_objects():
    stack = np.zeros((10, 600, 700), np.uint16)
    stack[2] += 1
    stack[:, :, 40] += 2
    stack[:, 500] += 4
    labels = np.zeros(stack.shape, int)
    labels[2, 490:511, 30:51] = 1
    labels[1:4, 500, 40] = 1
    picture = render_preview(stack, labels, anisotropy=1.0, intensity=(0, 255))
    grey = np.ptp(picture, axis=2) == 0
    shown = np.where(grey, picture[..., 0].astype(int), -1)
    for part, plane in (
        (shown[:600, :700], stack[2]),
        (shown[:600, 700 + GAP :], stack[:, :, 40].T),
        (shown[600 + GAP :, :700], stack[:, 500]),
    ):
        assert (part < 0).any()  # outlines
        assert np.array_equal(part[part >= 0], as_drawn(plane)[part >= 0])


def test_planes_are_stretched_by_the_anisotropy():
    stack = np.zeros((40, 600, 640), np.uint8)
    labels = np.zeros(stack.shape, np.uint16)
    labels[10:30, 290:310, 310:330] = 1  # 20 planes of 2.5 pixels: 50 pixels long
    picture = render_preview(stack, labels, anisotropy=2.5, intensity=(0, 1))
    assert picture.shape[:2] == (600 + GAP + 100, 640 + GAP + 100)
    drawn = picture.any(2)
    below = np.argwhere(drawn[600 + GAP :, :640])
    assert (np.ptp(below, axis=0) + 1).tolist() == [50, 20]
    beside = np.argwhere(drawn[:600, 640 + GAP :])
    assert (np.ptp(beside, axis=0) + 1).tolist() == [20, 50]


@pytest.mark.parametrize(
    "shape", [(64, 48), (3, 2), (5000, 300), (20, 30, 30), (4, 1500, 1500), (1, 40, 40)]
)
@pytest.mark.parametrize("anisotropy", [0.5, 1.0, 8.0])
def test_every_picture_has_a_readable_size(shape, anisotropy):
    picture = render_preview(
        np.zeros(shape, np.float32), np.zeros(shape, np.uint16), anisotropy=anisotropy
    )
    assert 590 <= max(picture.shape[:2]) <= 1610


def test_magnified_pixels_stay_where_they_are():
    image = np.zeros((30, 30))
    image[10, 20] = 1
    picture = render_preview(image, np.zeros((30, 30), int), intensity=(0, 1))[..., 0].astype(float)
    assert picture.shape == (600, 600)
    centre = [(picture.sum(1 - axis) * np.arange(600)).sum() / picture.sum() for axis in range(2)]
    assert centre == pytest.approx([(10.5 * 20) - 0.5, (20.5 * 20) - 0.5], abs=0.1)


def test_reduced_pictures_average_what_they_leave_out():
    stripes = np.tile(np.array([0.0, 1.0]), (3600, 1800))
    picture = render_preview(stripes, np.zeros(stripes.shape, int), intensity=(0, 1))
    assert np.abs(picture[10:-10, 10:-10].astype(int) - as_drawn(127)).max() < 40


def test_brightness_follows_what_is_shown():
    stack = np.full((5, 600, 600), 100.0)
    stack[2, :300] = 200
    stack[0, :100, :100] = 1e6  # in none of the middle planes
    picture = render_preview(stack, np.zeros(stack.shape, int))
    assert picture[:300, :600].min() == 255
    assert picture[300:600, :600].max() == 0


def test_a_constant_image_is_drawn():
    picture = render_preview(np.full((100, 100), 7), np.ones((100, 100), int))
    assert picture.dtype == np.uint8


def test_png_files_hold_the_picture_and_appear_whole(tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    path = tmp_path / "overlay.png"
    save_png(path, picture)
    assert np.array_equal(imagecodecs.png_decode(path.read_bytes()), picture)
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(OutputError, match="missing"):
        save_png(tmp_path / "missing" / "overlay.png", picture)

"""PNG, JPEG and NumPy's arrays are read as TIFF is."""

from __future__ import annotations

import zlib

import imagecodecs
import numpy as np
import pytest

from fcp_runtime.errors import InputError
from fcp_runtime.io.read import read_labels, read_volume

RNG = np.random.default_rng(3)
GREY = RNG.integers(0, 256, (40, 52)).astype(np.uint8)
COLOURS = RNG.integers(0, 256, (40, 52, 3)).astype(np.uint8)


def save(path, data):
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_grey_png_is_read_exactly_as_image_and_as_labels(tmp_path, dtype):
    pixels = GREY.astype(dtype) * (1 if dtype == np.uint8 else 257)
    path = save(tmp_path / "a.png", imagecodecs.png_encode(pixels))
    volume = read_volume(path)
    np.testing.assert_array_equal(volume.pixels, pixels)
    assert volume.pixels.dtype == dtype
    assert volume.voxel_um is None
    np.testing.assert_array_equal(read_labels(path), pixels)


@pytest.mark.parametrize("transparent", [False, True])
def test_of_a_colour_png_one_colour_is_chosen_and_grey_needs_no_choice(tmp_path, transparent):
    alpha = np.full((40, 52, 1), 200, np.uint8)
    extra = [alpha] if transparent else []
    path = save(tmp_path / "a.png", imagecodecs.png_encode(np.dstack([COLOURS, *extra])))
    np.testing.assert_array_equal(read_volume(path, channel=2).pixels, COLOURS[..., 2])
    with pytest.raises(InputError, match="colour image; choose --channel 0"):
        read_volume(path)
    path = save(tmp_path / "b.png", imagecodecs.png_encode(np.dstack([GREY] * 3 + extra)))
    np.testing.assert_array_equal(read_volume(path).pixels, GREY)


def test_jpegs_are_read_in_grey_and_colours(tmp_path):
    smooth = np.tile(np.arange(40, 144, 2, dtype=np.uint8), (40, 1))
    path = save(tmp_path / "a.jpg", imagecodecs.jpeg_encode(smooth, level=95))
    assert abs(read_volume(path).pixels.astype(int) - smooth).max() <= 3
    path = save(tmp_path / "b.jpeg", imagecodecs.jpeg_encode(np.dstack([smooth] * 3), level=95))
    assert abs(read_volume(path, channel=0).pixels.astype(int) - smooth).max() <= 6


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_a_picture_cut_anywhere_is_refused_or_said_to_be_damaged(tmp_path, suffix):
    encode = imagecodecs.png_encode if suffix == ".png" else imagecodecs.jpeg_encode
    whole = encode(GREY)
    for length in range(4, len(whole) - 12, len(whole) // 40):
        path = save(tmp_path / f"a{suffix}", whole[:length])
        with pytest.raises(InputError, match=r"damaged or cut short|cannot be decoded"):
            read_volume(path)


def test_a_png_that_claims_a_huge_size_is_refused_before_memory_is_taken(tmp_path):
    data = bytearray(imagecodecs.png_encode(GREY))
    data[16:24] = b"\x00\x7f\xff\xff" * 2
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4)
    with pytest.raises(InputError, match="claims 8388607 x 8388607 pixels"):
        read_volume(save(tmp_path / "a.png", bytes(data)))


def test_arrays_of_numpy_are_images_stacks_or_need_axes(tmp_path):
    path = tmp_path / "a.npy"
    stack = RNG.integers(0, 900, (7, 20, 30)).astype(">u2")
    for pixels in (GREY, stack, stack.astype(np.float64), np.asfortranarray(stack)):
        np.save(path, pixels)
        np.testing.assert_array_equal(read_volume(path).pixels, pixels)
    np.save(path, stack.reshape(7, 2, 10, 30))
    with pytest.raises(InputError, match="does not say what its axes are"):
        read_volume(path)
    expected = stack.reshape(7, 2, 10, 30)[:, 1]
    np.testing.assert_array_equal(read_volume(path, axes="ZCYX", channel=1).pixels, expected)
    np.save(path, COLOURS)
    np.testing.assert_array_equal(read_volume(path, channel=1).pixels, COLOURS[..., 1])


@pytest.mark.parametrize("content", [np.arange(3), np.array([{}]), np.array(["x"])])
def test_what_is_no_image_is_refused(tmp_path, content):
    np.save(tmp_path / "a.npy", content, allow_pickle=True)
    with pytest.raises(InputError):
        read_volume(tmp_path / "a.npy")


def test_there_is_one_image_in_a_picture(tmp_path):
    path = save(tmp_path / "a.png", imagecodecs.png_encode(GREY))
    np.testing.assert_array_equal(read_volume(path, series=0).pixels, GREY)
    with pytest.raises(InputError, match="holds one image; there is no --series 1"):
        read_volume(path, series=1)

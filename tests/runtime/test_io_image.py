"""from_array: what is taken, converted and refused."""

from __future__ import annotations

import warnings
from pathlib import Path

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fcp_runtime.errors import FcpWarning, InputError
from fcp_runtime.io.image import Volume, checked, from_array

KEPT = {
    "?": "u1",
    "u1": "u1",
    "u2": "u2",
    "u4": "u4",
    "i1": "i1",
    "i2": "i2",
    "i4": "i4",
    "f2": "f4",
    "f4": "f4",
    "f8": "f4",
    "i8": "i4",
    "u8": "i4",
}


@given(
    data=st.data(),
    kind=st.sampled_from(sorted(KEPT)),
    order=st.sampled_from("<>"),
    shape=hnp.array_shapes(min_dims=2, max_dims=3, max_side=7),
    layout=st.sampled_from(("C", "F", "strided")),
)
@settings(deadline=None, max_examples=60)
def test_values_survive_any_type_byte_order_and_memory_layout(data, kind, order, shape, layout):
    low = -100 if kind[0] in "if" else 0
    top = 1 if kind == "?" else 100
    whole = data.draw(hnp.arrays(np.int16, shape, elements=st.integers(low, top)))
    array = whole.astype(np.dtype(kind).newbyteorder(order))
    if layout == "F":
        array = np.asfortranarray(array)
    elif layout == "strided":
        array = np.repeat(array, 2, axis=-1)[..., ::2]
    pixels = from_array(array).pixels
    assert pixels.dtype == np.dtype(KEPT[kind])
    assert pixels.dtype.isnative
    assert pixels.flags.c_contiguous
    np.testing.assert_array_equal(pixels, whole)


@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "i2", "f4"])
def test_an_array_of_a_kept_type_is_not_copied(dtype):
    array = np.ones((3, 4, 5), dtype)
    assert np.shares_memory(from_array(array).pixels, array)


@pytest.mark.parametrize(
    ("values", "dtype", "kept"),
    [
        ([-(2**31), 2**31 - 1], "i8", np.int32),
        ([0, 2**31], "i8", np.float32),
        ([-(2**31) - 1, 0], "i8", np.float32),
        ([0, 2**31 - 1], "u8", np.int32),
        ([0, 2**63], "u8", np.float32),
    ],
)
def test_64_bit_integers_become_int32_exactly_where_they_fit(values, dtype, kept):
    pixels = from_array(np.array([values], dtype)).pixels
    assert pixels.dtype == kept
    np.testing.assert_array_equal(pixels, np.array([values]).astype(kept))


def test_memmaps_lists_and_foreign_arrays_are_taken(tmp_path):
    expected = np.arange(12, dtype=np.uint16).reshape(3, 4)
    np.save(tmp_path / "a.npy", expected)

    class Foreign:
        def __array__(self, dtype=None, copy=None):
            return expected

    mapped = np.load(tmp_path / "a.npy", mmap_mode="r")
    for source in (mapped, expected.tolist(), Foreign()):
        np.testing.assert_array_equal(from_array(source).pixels, expected)


@pytest.mark.parametrize(
    ("array", "says"),
    [
        (np.float32(3), "0 axes"),
        (np.zeros(5), "1 axes (5)"),
        (np.zeros((2, 3, 4, 5)), "4 axes (2 x 3 x 4 x 5)"),
        (np.zeros((1, 1, 2, 3, 4)), "5 axes"),
        (np.zeros((3, 0, 4)), "no pixels"),
        (np.zeros((0, 4)), "no pixels"),
        (np.zeros((4, 4), complex), "complex128"),
        (np.array([[None, 1]], object), "object"),
        (np.array([["a", "b"]]), "not real numbers"),
        (None, "object"),
        (np.zeros((20, 30, 3), np.uint8), "colour"),
    ],
)
def test_what_is_no_image_is_refused_with_its_name(array, says):
    with pytest.raises(InputError) as caught:
        from_array(array, name="my scan")
    message = str(caught.value)
    assert message.startswith("my scan: ")
    assert says in message
    assert "\n" not in message


@pytest.mark.parametrize("path", ["scan.tif", Path("scan.tif")])
def test_a_path_in_place_of_pixels_is_told_how_to_be_read(path):
    with pytest.raises(InputError, match=r"^scan.tif: .*read_volume"):
        from_array(path)


def test_a_ragged_list_is_refused():
    with pytest.raises(InputError, match=r"^ragged: is not an array"):
        from_array([[1, 2], [3]], name="ragged")


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", ">f4"])
def test_nan_and_infinity_are_counted_and_refused(dtype):
    array = np.zeros((3, 4, 5), dtype)
    array[0, 1, 2] = np.nan
    array[2, 3, 4] = -np.inf
    with pytest.raises(InputError, match=r"^x: 2 of 60 pixels .* replace them"):
        from_array(array, name="x")


def test_what_exceeds_32_bit_floats_is_refused_without_a_numpy_warning():
    with pytest.raises(InputError, match="1 of 4 pixels"):
        from_array(np.array([[1.0, 2.0], [1e300, 3.0]]))


def test_every_pixel_is_examined_however_the_blocks_fall(monkeypatch):
    monkeypatch.setattr("fcp_runtime.io.image.BLOCK", 7)
    for shape in ((3, 5, 4), (5, 9), (2, 3, 11)):
        for index in np.ndindex(shape):
            array = np.zeros(shape, np.float32)
            array[index] = np.nan
            with pytest.raises(InputError, match=r"^array: 1 of"):
                from_array(array)


def test_voxel_size_and_anisotropy_are_kept():
    volume = from_array(np.zeros((2, 3, 4)), voxel_um=(1.5, 0.25, 0.5), name="n")
    assert (volume.voxel_um, volume.name) == ((1.5, 0.25, 0.5), "n")
    assert volume.anisotropy == 3.0
    assert from_array(np.zeros((2, 3))).anisotropy is None


@pytest.mark.parametrize(
    "voxel_um", [(0.0, 1.0, 1.0), (1.0, -1.0, 1.0), (1.0, 1.0, np.nan), (np.inf, 1, 1), (1.0, 1.0)]
)
def test_an_impossible_voxel_size_is_ignored_with_a_warning(voxel_um):
    with pytest.warns(FcpWarning, match=r"^x: the voxel size"):
        assert from_array(np.zeros((2, 2)), voxel_um=voxel_um, name="x").voxel_um is None


def test_a_good_voxel_size_warns_of_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        from_array(np.zeros((2, 2)), voxel_um=np.array([1, 2, 3]))


def test_a_masked_array_is_refused_where_something_is_masked():
    pixels = np.arange(20).reshape(4, 5)
    assert from_array(np.ma.masked_array(pixels, False)).pixels.shape == (4, 5)
    with pytest.raises(InputError, match=r"scan: a masked array with hidden pixels.*filled"):
        from_array(np.ma.masked_array(pixels, pixels == 3), name="scan")


def test_a_volume_made_by_hand_is_checked_like_any_input():
    good = Volume(np.zeros((3, 4, 5), np.uint16), (2.0, 1.0, 1.0), "mine")
    assert checked(good).pixels is good.pixels
    assert (checked(good).voxel_um, checked(good).name) == (good.voxel_um, good.name)
    with pytest.raises(InputError, match=r"mine: 1 of 4 pixels are NaN"):
        checked(Volume(np.array([[1, np.nan], [2, 3]]), name="mine"))
    with pytest.raises(InputError, match=r"mine: has 4 axes"):
        checked(Volume(np.zeros((2, 2, 2, 2)), name="mine"))
    assert checked(Volume(np.ones((4, 4), ">u2"))).pixels.dtype.isnative
    with pytest.warns(FcpWarning, match=r"mine: the voxel size .* is ignored"):
        assert checked(Volume(np.zeros((2, 2), np.uint8), (1.0, 0.0, 0.0), "mine")).voxel_um is None

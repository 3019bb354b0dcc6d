import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from fcp_runtime.machine.workers import Workers
from fcp_runtime.phantom import nuclei_image
from fcp_runtime.sampling.normalize import (
    KNEE,
    SUBSAMPLE,
    Intensity,
    choose_range,
    compress_bright,
    count_levels,
    measure_intensity,
)

WORKERS = Workers(2)


def numpy_percentiles(pixels, percentiles):
    upper = 100 - (100 - percentiles[1]) / 10
    low, high, sparse = np.percentile(pixels.astype(np.float64), (*percentiles, upper))
    return (float(low), float(sparse if sparse - low > 8 * (high - low) else high))


@settings(deadline=None, max_examples=60)
@given(
    pixels=st.sampled_from([np.uint8, np.int8, np.uint16, np.int16]).flatmap(
        lambda dtype: arrays(dtype, array_shapes(min_dims=2, max_dims=3, max_side=12))
    ),
    percentiles=st.tuples(st.floats(0, 49), st.floats(51, 100)),
)
def test_counted_percentiles_equal_numpys_to_the_last_bit(pixels, percentiles):
    low, high = numpy_percentiles(pixels, percentiles)
    found = measure_intensity(pixels, percentiles, WORKERS)
    assert found == (Intensity(low, high) if high > low else None)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16])
def test_every_voxel_of_a_large_image_is_counted(dtype):
    pixels = np.random.default_rng(0).normal(60, 20, (3, 1100, 1003)).clip(0).astype(dtype)
    low, high = numpy_percentiles(pixels, (1, 99.9))
    assert measure_intensity(pixels, (1, 99.9), WORKERS) == Intensity(low, high)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize(("share", "level"), [(0.005, 200), (0.02, 200), (0.0005, 4)])
def test_nuclei_that_fill_less_than_lies_above_the_percentile_still_become_one(dtype, share, level):
    """Dim haze below 4, nuclei at 200: half a percent of them, 2 %, or too few to be seen."""
    pixels = np.linspace(0, 4, 200_000).astype(dtype)
    pixels[: int(share * pixels.size)] = 200
    found = measure_intensity(pixels.reshape(20, 100, 100), (1, 99), WORKERS)
    assert found.high == pytest.approx(level, abs=1)


@pytest.mark.parametrize("dtype", [np.float32, np.int32, np.uint32])
def test_other_types_are_sorted_whole_while_small(dtype):
    pixels = (np.random.default_rng(0).random((7, 50, 60)) * 1e6).astype(dtype)
    low, high = numpy_percentiles(pixels, (1, 99))
    assert measure_intensity(pixels, (1, 99), WORKERS) == Intensity(low, high)


def test_a_large_float_stack_is_sampled_regularly():
    ramp = np.linspace(0, 1, 2200 * 2100, dtype=np.float32).reshape(1, 2200, 2100)
    assert ramp.size > SUBSAMPLE
    found = measure_intensity(ramp, (1, 99), WORKERS)
    assert found is not None
    assert found != Intensity(*numpy_percentiles(ramp, (1, 99)))
    assert (found.low, found.high) == pytest.approx((0.01, 0.99), abs=1e-3)


@pytest.mark.parametrize(
    "pixels",
    [
        np.full((4, 5), 7, np.uint16),
        np.full((2, 4, 5), -3, np.int8),
        np.full((2, 4, 5), 0.1, np.float32),
        np.array([[0, 1e-40]], np.float32),
    ],
)
def test_an_image_without_signal_has_no_intensity(pixels):
    assert measure_intensity(pixels, (1, 99), WORKERS) is None


def test_a_strided_image_and_the_number_of_threads_change_nothing():
    pixels = np.random.default_rng(1).integers(0, 60000, (9, 40, 50), dtype=np.uint16)
    view = pixels[::2, ::-1, 3:31:3]
    expected = measure_intensity(view.copy(), (1, 99), Workers(1))
    assert expected is not None
    for threads in (1, 2, 3):
        assert measure_intensity(view, (1, 99), Workers(threads)) == expected


def disc(image, centre, radius, level):
    """Draw a disc, as a plain picture of a nucleus."""
    y, x = np.ogrid[: image.shape[0], : image.shape[1]]
    image[(y - centre[0]) ** 2 + (x - centre[1]) ** 2 <= radius**2] = level


def plain_nuclei(background=100.0, level=1000.0, noise=True, seed=0):
    """Return a 480x480 image of 64 discs of diameter 24 and its noise-free levels."""
    rng = np.random.default_rng(seed)
    image = np.full((480, 480), background)
    for y in range(30, 480, 60):
        for x in range(30, 480, 60):
            disc(image, (y, x), 12, level)
    return (rng.poisson(image) if noise else image).astype(np.uint16)


@pytest.mark.parametrize("dtype", [np.uint16, np.float32, np.int32])
@pytest.mark.parametrize("share", [0.002, 0.009, 0.02])
@pytest.mark.parametrize("times", [15, 30])
def test_glaring_debris_does_not_set_the_scale(dtype, share, times):
    clean = plain_nuclei()
    image = clean.copy()
    rng = np.random.default_rng(1)
    for y, x in rng.integers(0, 474, (int(share * image.size / 36), 2)):
        image[y : y + 6, x : x + 6] = 1000 * times
    found = measure_intensity(image.astype(dtype), (1, 99), WORKERS)
    alone = measure_intensity(clean, (1, 99), WORKERS)
    assert found.low == pytest.approx(alone.low, abs=10)
    assert 0.5 < (found.high - found.low) / (alone.high - alone.low) < 4


def test_a_scale_bar_of_the_largest_number_does_not_set_the_scale():
    image = plain_nuclei()
    image[460:464, 300:400] = 65535
    assert measure_intensity(image, (1, 99), WORKERS).high < 1500


@pytest.mark.parametrize("times", [8, 12, 50])
def test_two_very_bright_nuclei_do_not_hide_the_others(times):
    image = plain_nuclei()
    for centre in ((30, 30), (90, 150)):
        disc(image, centre, 12, 1000 * times)
    assert measure_intensity(image, (1, 99), WORKERS).high < 4000


@pytest.mark.parametrize("background", [0, 100])
@pytest.mark.parametrize("count", [1, 5])
def test_very_few_nuclei_become_one_whatever_the_ground(background, count):
    rng = np.random.default_rng(3)
    ground = rng.poisson(background, (2048, 2048)).astype(np.uint16)
    for index in range(count):
        disc(ground, (200 + 300 * index, 900), 13, 1000 + background)
    found = measure_intensity(ground, (1, 99), WORKERS)
    assert found.low <= background
    assert found.high == pytest.approx(1000 + background, rel=0.05)


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_zeros_around_a_rotated_image_do_not_count(dtype):
    alone = plain_nuclei()
    canvas = np.zeros((900, 900), np.uint16)
    canvas[200:680, 213:693] = alone
    found = measure_intensity(canvas.astype(dtype), (1, 99), WORKERS)
    expected = measure_intensity(alone, (1, 99), WORKERS)
    assert found.low == pytest.approx(expected.low, abs=5)
    assert found.high == pytest.approx(expected.high, rel=0.05)


def test_measured_zeros_between_nuclei_count_as_background():
    image = plain_nuclei(background=0.0)
    assert measure_intensity(image, (1, 99), WORKERS).low == 0


def test_levels_of_parts_add_up_to_those_of_the_whole():
    stack = np.stack([plain_nuclei(seed=seed) for seed in range(4)])
    whole = count_levels(stack, WORKERS)
    parts = count_levels(stack[:1], WORKERS) + count_levels(stack[1:], WORKERS)
    assert choose_range(parts, (1, 99)) == choose_range(whole, (1, 99))
    np.testing.assert_array_equal(parts.counts, np.bincount(stack.ravel(), minlength=2**16))


def test_a_hot_pixel_on_a_constant_ground_is_no_signal():
    image = np.full((256, 256), 100, np.uint16)
    image[100, 100] = 60_000
    assert measure_intensity(image, (1, 99), WORKERS) is None


def test_ordinary_images_keep_their_percentiles_and_give_no_reason():
    image = nuclei_image((300, 300), diameter=20, seed=2).image
    found = measure_intensity(image, (1, 99), WORKERS)
    assert (found.low, found.high) == tuple(np.percentile(image, (1, 99)))
    assert not found.reason


def test_a_range_that_is_far_from_the_percentiles_says_why():
    image = plain_nuclei()
    for y, x in np.random.default_rng(1).integers(0, 474, (128, 2)):
        image[y : y + 6, x : x + 6] = 30_000
    assert "brighter" in measure_intensity(image, (1, 99), WORKERS).reason


def test_compression_starts_at_the_knee_with_slope_one_and_keeps_the_order():
    values = np.linspace(-2, 80, 2000, dtype=np.float32)
    found = values.copy()
    compress_bright(found)
    np.testing.assert_array_equal(found[values <= KNEE], values[values <= KNEE])
    above = values > KNEE
    np.testing.assert_allclose(found[above], KNEE + np.log(1 + values[above] - KNEE), rtol=1e-6)
    assert (np.diff(found) > 0).all()

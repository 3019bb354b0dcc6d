import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from fcp_runtime.machine.workers import Workers
from fcp_runtime.sampling.normalize import SUBSAMPLE, Intensity, measure_intensity

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

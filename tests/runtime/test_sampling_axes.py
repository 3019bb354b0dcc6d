import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import map_coordinates

from fcp_runtime.sampling.axes import network_length, taps_to_input, taps_to_network

LENGTHS = st.integers(1, 60)
SCALES = st.floats(0.02, 9)


def apply(taps, line):
    return (taps.weight.astype(float) * line[taps.index]).sum(axis=0)


def area_means(line, scale, count):
    """Mean of the line, reflected without end, over the 1 / scale pixels of each sample."""
    edges = np.arange(count + 1) / scale
    reflected = np.pad(line, (0, int(edges[-1]) + 2), mode="symmetric")
    integral = np.concatenate([[0], np.cumsum(reflected)])
    return np.diff(np.interp(edges, np.arange(integral.size), integral)) * scale


@settings(deadline=None, max_examples=80)
@given(length=LENGTHS, scale=st.floats(0.5, 9), beyond=st.integers(0, 100))
def test_network_pixels_are_interpolated_and_reflected(length, scale, beyond):
    line = np.random.default_rng(length).normal(size=length)
    count = network_length(length, scale) + beyond
    position = (np.arange(count) + 0.5) / scale - 0.5
    expected = map_coordinates(line, [position], order=1, mode="reflect")
    np.testing.assert_allclose(
        apply(taps_to_network(length, scale, count), line), expected, atol=1e-5
    )


@settings(deadline=None, max_examples=80)
@given(length=LENGTHS, scale=st.floats(0.02, 0.499), beyond=st.integers(0, 20))
def test_below_half_scale_network_pixels_are_area_means(length, scale, beyond):
    line = np.random.default_rng(length).normal(size=length)
    count = network_length(length, scale) + beyond
    expected = area_means(line, scale, count)
    np.testing.assert_allclose(
        apply(taps_to_network(length, scale, count), line), expected, atol=1e-5
    )


def test_at_a_quarter_scale_blocks_of_four_are_averaged():
    line = np.arange(12.0) ** 2
    expected = line.reshape(3, 4).mean(axis=1)
    np.testing.assert_allclose(apply(taps_to_network(12, 0.25, 3), line), expected, rtol=1e-6)


@settings(deadline=None, max_examples=80)
@given(length=LENGTHS, scale=SCALES)
def test_input_pixels_are_interpolated_between_network_pixels(length, scale):
    count = network_length(length, scale)
    line = np.random.default_rng(length).normal(size=count)
    position = np.clip((np.arange(length) + 0.5) * scale - 0.5, 0, count - 1)
    expected = map_coordinates(line, [position], order=1, mode="nearest")
    np.testing.assert_allclose(apply(taps_to_input(length, scale), line), expected, atol=1e-5)


@settings(deadline=None, max_examples=80)
@given(length=LENGTHS, scale=SCALES, count=st.integers(1, 200))
def test_weights_sum_to_one_and_indices_lie_inside(length, scale, count):
    for taps, size in (
        (taps_to_network(length, scale, count), length),
        (taps_to_input(length, scale), network_length(length, scale)),
    ):
        np.testing.assert_allclose(taps.weight.astype(float).sum(axis=0), 1, atol=1e-6)
        assert taps.index.max() < size
        assert taps.weight.min() >= 0


def test_input_rows_use_the_same_row_or_two_neighbours():
    for length, scale in ((1, 0.3), (2, 0.5), (5, 1.0), (7, 3.3), (100, 0.68)):
        index = taps_to_input(length, scale).index.astype(int)
        single = network_length(length, scale) == 1
        assert set(np.unique(index[1] - index[0])) == ({0} if single else {1})


@pytest.mark.parametrize(
    ("length", "scale", "expected"),
    [(100, 0.5, 50), (100, 0.68, 68), (3, 0.1, 1), (1, 17.0, 17), (101, 0.5, 51), (25, 0.04, 1)],
)
def test_network_length_is_rounded_up(length, scale, expected):
    assert network_length(length, scale) == expected

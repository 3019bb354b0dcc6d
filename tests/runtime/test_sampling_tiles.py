import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from fcp_runtime.sampling.axes import taps_to_input, taps_to_network
from fcp_runtime.sampling.restore import add_along
from fcp_runtime.sampling.tiles import TileGrid, blend, gather

GRIDS = st.builds(
    lambda length, tile, part, multiple: TileGrid.fit(
        length, 8 * tile, int(8 * tile * part), multiple
    ),
    st.integers(1, 3000),
    st.integers(8, 40),
    st.floats(0, 0.5),
    st.sampled_from((8, 16)),
)


@settings(deadline=None, max_examples=200)
@given(
    length=st.integers(1, 3000),
    tile=st.integers(8, 40),
    part=st.floats(0, 0.5),
    multiple=st.sampled_from((8, 16, 32, 64)),
)
def test_tiles_cover_the_axis_with_the_overlap_asked_for(length, tile, part, multiple):
    largest = 8 * tile
    tile = largest // multiple * multiple
    overlap = int(tile * part)
    grid = TileGrid.fit(length, largest, overlap, multiple)
    assert grid.edge % multiple == 0
    assert grid.edge <= largest
    assert length <= grid.extent
    if grid.count == 1:
        assert length <= tile
    else:
        overlap = max(overlap, 2)
        assert grid.edge - grid.stride >= overlap
        assert (grid.count - 1) * (tile - overlap) + overlap < length  # one tile fewer is too few


@settings(deadline=None, max_examples=200)
@given(grid=GRIDS)
def test_weights_are_an_exact_partition_of_unity(grid):
    total = np.zeros(grid.extent, np.float32)
    tiles = np.zeros(grid.extent, int)
    for tile, weights in enumerate(grid.weights()):
        part = slice(tile * grid.stride, tile * grid.stride + grid.edge)
        total[part] += weights
        tiles[part] += weights > 0
    assert (total == 1).all()
    assert tiles.max() <= 2


@settings(deadline=None, max_examples=200)
@given(grid=GRIDS)
def test_the_outer_borders_have_full_weight_and_the_inner_ends_none(grid):
    weights = grid.weights()
    assert weights[0, 0] == 1
    assert weights[-1, -1] == 1
    assert (weights[1:, 0] == 0).all()
    assert (weights[:-1, -1] == 0).all()


@settings(deadline=None, max_examples=200)
@given(grid=GRIDS)
def test_two_neighbouring_pixels_need_the_last_tile_and_the_one_before(grid):
    assume(grid.count > 1)
    covered = np.zeros((grid.count, grid.extent), bool)
    for tile, weights in enumerate(grid.weights()):
        covered[tile, tile * grid.stride : tile * grid.stride + grid.edge] = weights > 0
    pixels = np.arange(1, grid.extent, dtype=np.uint32)
    last = grid.last_tile(pixels)
    for pixel, tile in zip(pixels, last, strict=True):
        needed = set(np.flatnonzero(covered[:, pixel - 1] | covered[:, pixel]))
        assert needed <= {tile - 1, tile}
        assert pixel - 1 >= tile * grid.stride  # both lie in that tile's band
        assert pixel < tile * grid.stride + grid.edge


def test_a_short_axis_is_one_tile_of_a_multiple_of_eight():
    assert TileGrid.fit(1, 256, 32) == TileGrid(1, 1, 8, 8)
    assert TileGrid.fit(256, 256, 32) == TileGrid(256, 1, 256, 256)
    assert TileGrid.fit(257, 256, 32) == TileGrid(257, 2, 152, 105)


def test_gather_equals_its_plain_twin_for_every_type():
    rng = np.random.default_rng(0)
    rows, cols = taps_to_network(30, 0.7, 24), taps_to_network(40, 0.3, 16)
    for dtype in (np.int8, np.uint8, np.int16, np.uint16, np.uint32, np.float32):
        lines = (rng.random((30, 40)) * 120).astype(dtype)
        tiles = np.empty((1, 24, 16), np.float32)
        scratch = np.empty((1, 40), np.float32)
        taps = (rows.index.astype(np.int64), rows.weight, cols.index, cols.weight)
        gather(lines, 0, *taps, 1, 20.0, 0.25, scratch, scratch.reshape(-1), tiles)
        levels = (lines.astype(float) - 20) * 0.25
        down = (rows.weight[..., None] * levels[rows.index]).sum(axis=0)
        across = (cols.weight * down[:, cols.index]).sum(axis=1)
        np.testing.assert_allclose(tiles[0], across, atol=1e-5)


def test_a_small_range_on_a_high_background_keeps_its_digits():
    lines = np.float32(1e6) + np.random.default_rng(0).random((8, 8)).astype(np.float32)
    taps = taps_to_network(8, 1.0, 8)
    scratch, tiles = np.empty((1, 8), np.float32), np.empty((1, 8, 8), np.float32)
    both = (taps.index.astype(np.int64), taps.weight, taps.index, taps.weight)
    gather(lines, 0, *both, 1, 1e6, 1.0, scratch, scratch.reshape(-1), tiles)
    np.testing.assert_array_equal(tiles[0], lines - np.float32(1e6))


def test_blend_adds_where_the_tile_before_has_a_share_and_drops_what_does_not_fit():
    rng = np.random.default_rng(0)
    output, strip = rng.random((3, 8, 16), np.float32), rng.random((3, 8, 30), np.float32)
    down, across = rng.random(8, np.float32), rng.random(16, np.float32)
    for shared in (0, 4, 10, 12):
        found, expected = strip.copy(), strip.copy()
        expected[:, :, 20 + min(shared, 10) : 30] = 0
        expected[:, :, 20:30] += (output * down[:, None] * across)[:, :, :10]
        blend(output, np.outer(down, across), shared, 20, 30, found)
        np.testing.assert_allclose(found, expected, rtol=1e-6)


def add(strip, factor, field, offset=0):
    """Add the logit of a slice whose grid is the input's."""
    rows, cols = taps_to_input(field.shape[0], 1.0), taps_to_input(field.shape[1], 1.0)
    flow = np.zeros(field.shape, np.int8)
    offsets = np.zeros((3, 1, field.shape[1]), np.float32)
    offsets[2] = offset
    add_along(
        np.stack([strip * 0, strip * 0, strip]),
        rows.index.astype(np.int64),
        rows.weight,
        cols.index,
        cols.weight,
        np.full(3, factor, np.float32),
        np.ones(1, np.float32),
        offsets,
        np.empty((2, field.shape[1]), np.float32),
        flow,
        flow,
        field,
        0,
        1,
        0,
        1,
    )


def test_fields_round_to_the_nearest_and_saturate():
    strip = np.array([[0.4, 0.6, -0.6, 1e9], [-1e9, 32766.0, -32767.0, 40000.0]], np.float32)
    field = np.array([[1, 1, 1, -5], [7, 5, -5, -1]], np.int16)
    add(strip, 1.0, field)
    # a share is limited before it is added, so that two shares give one sum in either order
    np.testing.assert_array_equal(field, [[1, 2, 0, 32762], [-32761, 32767, -32768, 32766]])


def test_an_offset_is_taken_off_after_rounding():
    field = np.array([[1, 2, 3]], np.int16)
    add(np.array([[0.6, -0.6, 7.0]], np.float32), 1.0, field, offset=-4)
    np.testing.assert_array_equal(field, [[6, 5, 14]])


def test_two_shares_add_up_to_the_same_in_either_order():
    rng = np.random.default_rng(0)
    first, second = rng.normal(0, 30000, (2, 40, 50)).astype(np.float32)
    one, other = np.zeros((40, 50), np.int16), np.zeros((40, 50), np.int16)
    add(first, 1.0, one)
    add(second, 1.0, one)
    add(second, 1.0, other)
    add(first, 1.0, other)
    np.testing.assert_array_equal(one, other)
    assert one.max() == 32767

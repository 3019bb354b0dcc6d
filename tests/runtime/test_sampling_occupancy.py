"""Where planes hold something, block by block."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from fcp_runtime.machine.workers import Workers
from fcp_runtime.sampling.occupancy import BLOCK, CONTEXT, Boxes, blocks_above
from fcp_runtime.sampling.plan import plan
from fcp_runtime.sampling.views import VIEWS_3D


@settings(deadline=None, max_examples=30)
@given(
    shape=st.tuples(st.integers(1, 4), st.integers(1, 40), st.integers(1, 40)),
    level=st.integers(-300, 300),
    seed=st.integers(0, 99),
)
def test_a_block_is_seen_where_one_of_its_pixels_is_above_the_level(shape, level, seed):
    rng = np.random.default_rng(seed)
    logit = np.where(rng.random(shape) < 0.02, rng.integers(-300, 300, shape), -300).astype(
        np.int16
    )
    planes = [int(plane) for plane in rng.permutation(shape[0])]
    short = [(0, 0), (0, -shape[1] % BLOCK), (0, -shape[2] % BLOCK)]
    above = np.pad(logit[planes] > level, short)
    blocks = above.reshape(len(planes), above.shape[1] // BLOCK, BLOCK, -1, BLOCK)
    found = blocks_above(logit, planes, level, Workers(2))
    np.testing.assert_array_equal(found, blocks.any((2, 4)))


def boxes_block_by_block(seen, part, multiple):
    """What `Boxes.around` returns, by a loop over slices, tiles and blocks."""
    view, units = part.view, (1, BLOCK, BLOCK)
    blocks = seen.transpose(view.normal, view.rows, view.cols)
    axes = (part.rows, units[view.rows]), (part.cols, units[view.cols])
    grids = part.rows.grid, part.cols.grid
    begin = np.zeros((2, part.slices, grids[0].count, grids[1].count), int)
    end = np.zeros_like(begin)
    for number in range(part.slices):
        planes = range(number * part.thickness, min((number + 1) * part.thickness, part.planes))
        layers = {plane // units[view.normal] for plane in planes}
        for r in range(grids[0].count):
            for c in range(grids[1].count):
                found = [
                    spot
                    for layer in layers
                    for spot in np.argwhere(blocks[layer])
                    if all(
                        decides(*axis, block, n)
                        for axis, block, n in zip(axes, spot, (r, c), strict=True)
                    )
                ]
                for axis, n in ((0, r), (1, c)) if found else ():
                    pixels = [reads(*axes[axis], spot[axis]) for spot in found]
                    start = n * grids[axis].stride
                    low = min(p[0] for p in pixels) - start - CONTEXT
                    high = max(p[-1] for p in pixels) + 1 - start + CONTEXT
                    begin[axis, number, r, c] = max(low // multiple * multiple, 0)
                    end[axis, number, r, c] = min(-(-high // multiple) * multiple, grids[axis].edge)
    return begin, end


def reads(axis, unit, block):
    """Network pixels that the input pixels of a block read, in order."""
    pixels = range(block * unit, min((block + 1) * unit, axis.length))
    return sorted({int(i) for p in pixels for i in axis.restore.index[:, p]})


def decides(axis, unit, block, tile):
    """Whether a tile has a weight in a network pixel that a block lies on."""
    used = np.flatnonzero(axis.grid.weights()[tile]) + tile * axis.grid.stride
    network = reads(axis, unit, block)
    return network[0] <= used[-1] and network[-1] >= used[0]


@settings(deadline=None, max_examples=25)
@given(
    shape=st.tuples(st.integers(1, 40), st.integers(1, 260), st.integers(1, 260)),
    scale=st.sampled_from((0.4, 0.68, 1.0, 1.7)),
    slice_spacing=st.sampled_from((0.0, 2.1)),
    view=st.sampled_from(VIEWS_3D),
    share=st.sampled_from((0.0, 0.001, 0.02)),
    multiple=st.sampled_from((8, 16)),
    seed=st.integers(0, 99),
)
def test_a_box_holds_what_was_seen_and_its_surroundings(
    shape, scale, slice_spacing, view, share, multiple, seed
):
    (part,) = plan(
        shape,
        views=(view,),
        scale=scale,
        anisotropy=1.0,
        tile=96,
        overlap=16,
        slice_spacing=slice_spacing,
        multiple=multiple,
    )
    rng = np.random.default_rng(seed)
    seen = rng.random((shape[0], -(-shape[1] // BLOCK), -(-shape[2] // BLOCK))) < share
    found = Boxes.around(seen, part)
    begin, end = boxes_block_by_block(seen, part, multiple)
    np.testing.assert_array_equal(found.begin, begin)
    np.testing.assert_array_equal(found.end, end)
    assert (found.pixels == (end - begin).prod(0)).all()
    assert (found.pixels <= Boxes.whole(part).pixels).all()

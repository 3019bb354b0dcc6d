"""Where planes hold something, block by block."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from fcp_runtime.sampling.occupancy import BLOCK, blocks_above
from fcp_runtime.workers import Workers


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

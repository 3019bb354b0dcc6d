"""What kernels are made of."""

from __future__ import annotations

import numpy as np
import pytest
from numba.core.caching import CompileResultCacheImpl as CacheImpl

from fcp_runtime.machine.kernels import kernel, prefetch


@kernel
def fetch_and_double(array):
    for row in range(array.shape[0]):
        prefetch(array, row, array.shape[1] - 1)
        for column in range(array.shape[1]):
            array[row, column] *= 2


def test_a_full_disk_means_no_cache_and_no_error(monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(CacheImpl, "reduce", full)

    @kernel
    def double(array):
        for i in range(array.size):
            array[i] *= 2

    array = np.arange(5)
    double(array)
    np.testing.assert_array_equal(array, 2 * np.arange(5))


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.float32])
def test_fetching_before_changes_nothing(dtype):
    array = np.arange(60, dtype=dtype).reshape(6, 10)
    for view in (array.copy(), np.asfortranarray(array), array.copy()[::2, ::-1]):
        expected = 2 * view
        fetch_and_double(view)
        np.testing.assert_array_equal(view, expected)

"""What kernels are made of."""

from __future__ import annotations

import os
import subprocess
import sys

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


SOURCE = """
import sys
from pathlib import Path
import numpy as np
from fcp_runtime.machine.kernels import kernel

@kernel
def double(array):
    for i in range(array.size):
        array[i] *= 2

for dtype in sys.argv[2:]:
    array = np.arange(5, dtype=dtype)
    double(array)
    assert array.tolist() == [0, 2, 4, 6, 8]
print(*(f"{hits}" for hits in (sum(double.stats.cache_hits.values()), len(double.signatures))))
"""


@pytest.fixture
def run_kernel(tmp_path):
    """A function that runs a kernel in a process of its own and returns (cache hits, kernels)."""
    program = tmp_path / "program.py"
    program.write_text(SOURCE)

    def run(*dtypes):
        done = subprocess.run(
            [sys.executable, program, "-", *dtypes],
            env={**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache")},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stderr == ""
        return tuple(map(int, done.stdout.split()))

    return run


def test_a_kernel_is_compiled_once_and_found_again(run_kernel):
    assert run_kernel("int32", "float64") == (0, 2)
    assert run_kernel("int32", "float64") == (2, 2)


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".nbi", ".nbc"])
@pytest.mark.parametrize("damage", ["empty", "cut", "changed", "folder", "unreadable"])
def test_a_damaged_cache_is_compiled_anew_and_mended(run_kernel, tmp_path, suffix, damage):
    run_kernel("int32")
    (file,) = (tmp_path / "cache").rglob(f"*{suffix}")
    content = bytearray(file.read_bytes())
    if damage == "folder":
        file.unlink()
        file.mkdir()
    elif damage == "unreadable":
        file.write_bytes(b"\x80\x05\x8c\xff")
    else:
        content[len(content) // 2] ^= 0xFF
        file.write_bytes({"empty": b"", "cut": content[:-9], "changed": content}[damage])
    assert run_kernel("int32") == (0, 1)
    assert run_kernel("int32") == ((1, 1) if damage != "folder" else (0, 1))


def test_a_kernel_of_other_types_in_the_place_of_one_is_not_run(run_kernel, tmp_path):
    """Two processes that compile at the same time may both take the first free place."""
    run_kernel("int32")
    (kept,) = (tmp_path / "cache").rglob("*.nbi")
    index = kept.read_bytes()
    for file in (tmp_path / "cache").rglob("*.nb?"):
        file.unlink()
    run_kernel("float64")
    kept.write_bytes(index)
    assert run_kernel("int32") == (0, 1)


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.float32])
def test_fetching_before_changes_nothing(dtype):
    array = np.arange(60, dtype=dtype).reshape(6, 10)
    for view in (array.copy(), np.asfortranarray(array), array.copy()[::2, ::-1]):
        expected = 2 * view
        fetch_and_double(view)
        np.testing.assert_array_equal(view, expected)

"""Memory that training keeps."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource
import numpy as np
from fcp_export.memory import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.full(1 << 24, 1, np.float32)  # 64 MiB, freed at once
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

if {kept}:
    keep_freed_memory()
print(faults(), faults(), faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is told")
def test_freed_memory_is_kept_for_the_next_array():
    def run(kept: bool) -> list[int]:
        code = FAULTS.format(kept=kept)
        environment = {"NUMPY_MADVISE_HUGEPAGE": "0"}  # a page is then a fault
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        return [int(count) for count in done.stdout.split()]

    first, *others = run(kept=True)
    assert max(others) < first / 100
    first, *others = run(kept=False)
    assert min(others) > first / 2

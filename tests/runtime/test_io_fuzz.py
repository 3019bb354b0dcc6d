"""Damaged files end in pixels or in one clear line: a fixed number of mutations of every kind."""

from __future__ import annotations

import sys

import pytest

if sys.platform == "win32":
    pytest.skip("measures memory by the resource module", allow_module_level=True)

from fuzz_files import fuzz


@pytest.mark.slow
def test_no_damaged_file_gives_a_foreign_error_a_hang_or_another_shape_in_silence():
    outcome = fuzz(1500, seed=1)
    assert outcome.faults == []
    assert outcome.counts["refused"] > 500

"""What several tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def fcp_data() -> Path:
    """The folder of real images with its manifest.csv, or a skip."""
    folder = os.environ.get("FCP_DATA")
    if not folder:
        pytest.skip("FCP_DATA names no folder of real images")
    return Path(folder)

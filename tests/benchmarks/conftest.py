"""The benchmarks are no installed package: they are found where they lie, after all that is."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2]))

"""What importing and starting cost, and what they must not need."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import fcp_runtime

BLOCK = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "onnx", "fcp_export"):
            raise ImportError(f"{name} must not be imported")
sys.meta_path.insert(0, Block())
"""


def python(code: str, folder: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Run code away from the source tree, so that the installed package is what it finds."""
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], cwd=folder,
        capture_output=True, text=True, check=False, timeout=300, env={**os.environ, **env},
    )  # fmt: skip


def test_the_pipeline_runs_where_torch_onnx_and_fcp_export_cannot_be_imported(tmp_path):
    done = python(
        BLOCK
        + f"""
from fcp_runtime.cli.run import main
main(["--demo", "-o", {str(tmp_path / "mask.tif")!r}, "--preview", {str(tmp_path / "p.png")!r}])
""",
        tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "mask.tif").exists()
    assert (tmp_path / "p.png").exists()


def test_it_runs_without_home_and_with_nowhere_to_cache_kernels(tmp_path):
    package = Path(fcp_runtime.__file__).parent
    code = f"""
import os, sys
import numba.core.caching as caching
# as root every folder can be written, so take the locators away as a read-only tree would
caching._CacheLocator.ensure_cache_path = lambda self: (_ for _ in ()).throw(OSError("read-only"))
from fcp_runtime.cli.run import main
main(["--demo", "-o", {str(tmp_path / "mask.tif")!r}])
"""
    before = set(package.rglob("*.nbi"))
    done = python(code, tmp_path, HOME="/nonexistent", XDG_CACHE_HOME="/nonexistent")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "mask.tif").exists()
    assert set(package.rglob("*.nbi")) == before


def test_compiled_kernels_lie_in_the_users_cache_and_not_beside_the_source(tmp_path):
    # pip would leave them behind, and the folder would hide an editable install
    package = Path(fcp_runtime.__file__).parent
    before = set(package.rglob("*.nbi"))
    code = """
import numpy as np
from fcp_runtime.masks.objects import label_extents
from fcp_runtime.machine.workers import Workers
label_extents(np.ones((1, 4, 4), np.int32), Workers(1))
"""
    done = python(code, tmp_path, HOME=str(tmp_path), XDG_CACHE_HOME=str(tmp_path / "cache"))
    assert done.returncode == 0, done.stderr
    assert set(package.rglob("*.nbi")) == before
    if not os.environ.get("NUMBA_CACHE_DIR") and sys.platform == "linux":
        assert list((tmp_path / "cache").rglob("objects._extents*.nbi"))

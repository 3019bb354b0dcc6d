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

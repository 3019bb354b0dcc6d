"""The models travel with the wheel, the sdist and the editable install."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
WANTED = {"__init__.py", "manifest.json", "v3.onnx", "v3.safetensors"}


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """Build sdist and wheel from a copy of the tree, as `pip` would."""
    folder = tmp_path_factory.mktemp("build")
    source = folder / "source"
    shutil.copytree(
        ROOT, source, ignore=shutil.ignore_patterns(".git", ".venv*", "build", "*.egg-info", "runs")
    )
    subprocess.run(
        [sys.executable, "-m", "build", "--outdir", str(folder / "dist"), str(source)],
        check=True, capture_output=True, timeout=600,
    )  # fmt: skip
    return folder / "dist"


def test_the_wheel_holds_the_models_inside_the_runtime(built):
    names = set(zipfile.ZipFile(next(built.glob("*.whl"))).namelist())
    assert {f"fcp_runtime/_models/{name}" for name in WANTED} <= names
    assert {"fcp_runtime/py.typed", "fcp_export/py.typed"} <= names
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"fcp_runtime", "fcp_export"}


def test_the_wheel_holds_every_module(built):
    names = set(zipfile.ZipFile(next(built.glob("*.whl"))).namelist())
    for package in ("fcp_runtime", "fcp_export"):
        modules = {str(path.relative_to(ROOT)) for path in (ROOT / package).rglob("*.py")}
        assert modules <= names
    assert "fcp_runtime/napari/napari.yaml" in names


def test_the_sdist_holds_the_models(built):
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        names = {name.split("/", 1)[-1] for name in archive.getnames()}
    assert {f"models/{name}" for name in WANTED} <= names


@pytest.mark.parametrize("form", ["wheel", "sdist", "editable"])
def test_an_installed_project_loads_its_models(built, tmp_path, form):
    """Each form is put on the path by itself; what else it needs comes from this environment."""
    what = {
        "wheel": [str(next(built.glob("*.whl")))],
        "sdist": [str(next(built.glob("*.tar.gz")))],
        "editable": ["-e", str(built.parent / "source")],
    }[form]
    subprocess.run(
        [sys.executable, "-m", "venv", "--system-site-packages", str(tmp_path / "env")], check=True
    )
    python = tmp_path / "env" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    parent = f"import site; site.addsitedir({next(p for p in sys.path if p.endswith('site-packages'))!r}); "
    subprocess.run(
        [python, "-m", "pip", "install", "-q", "--no-deps", *what],
        check=True, capture_output=True, timeout=600,
    )  # fmt: skip
    code = (
        "import fcp_runtime; from fcp_runtime.network.registry import load_model; "
        "print(fcp_runtime.__file__, len(load_model('v3').content))"
    )
    done = subprocess.run(
        [python, "-c", parent + code], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert str(tmp_path if form != "editable" else built.parent) in done.stdout

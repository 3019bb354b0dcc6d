"""The site builds without a warning and has a place for every page and every public name."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys

import pytest
from pages import ROOT

import fcp_runtime

MISSING = [
    name
    for name in ("mkdocs", "material", "mkdocstrings")
    if importlib.util.find_spec(name) is None
]
pytestmark = [
    pytest.mark.skipif(bool(MISSING), reason=f"needs {' and '.join(MISSING)}"),
    pytest.mark.slow,
]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_every_page_is_in_the_navigation(site):
    menu = (site / "index.html").read_text(encoding="utf-8")
    for page in (ROOT / "docs").glob("*.md"):
        assert page.stem == "index" or f'href="{page.stem}/' in menu, page.name


def test_the_reference_has_every_public_name(site):
    text = (site / "api" / "index.html").read_text(encoding="utf-8")
    found = set(re.findall(r'id="fcp_runtime\.(\w+)"', text))
    assert found == set(fcp_runtime.__all__)


@pytest.mark.parametrize(
    "word", ["cite", "docker", "czi", "windows", "macos", "merged", "diameter"]
)
def test_the_search_finds_what_people_look_for(site, word):
    index = json.loads((site / "search" / "search_index.json").read_text(encoding="utf-8"))
    assert any(word in f"{page['title']} {page['text']}".lower() for page in index["docs"])


def test_pages_ask_nothing_of_other_servers(site):
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert not re.search(r'<(?:script|img|link)[^>]+(?:src|href)="(?:https?:)?//', text), page

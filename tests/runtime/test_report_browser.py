"""The report in a browser: sliders move the planes, nothing is complained of."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest
from report_cases import a_result, balls

from fcp_runtime.outputs.report.page import write_report

BROWSER = shutil.which("chromium")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--enable-logging=stderr",
)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no chromium here")

USER = """
<script>
const found = {};
window.addEventListener("error", event => { found.error = String(event.message); });
// the page is not loaded before every plane is: nothing below has to wait
const planes = views.flatMap(view => [...view.grey, ...view.lines]).map(source => {
  const image = document.body.appendChild(new Image());
  image.src = source;
  return image;
});
window.addEventListener("load", () => {
  found.decoded = planes.every(image => image.complete && image.naturalWidth > 0);
  const picture = () => document.querySelector("#view-z .grey").src;
  const mark = () => document.querySelector("#view-x .down").style.left;
  const slider = document.getElementById("slide-z");
  const before = [picture(), mark()];
  slider.value = 0;
  slider.dispatchEvent(new Event("input"));
  found.moved = picture() !== before[0] && mark() !== before[1];
  found.first = picture() === views[0].grey[0];
  found.place = document.getElementById("place-z").value;
  found.mark = mark();
  const box = document.getElementById("outlines");
  const lines = document.querySelector("#view-z .lines");
  const visible = () => getComputedStyle(lines).visibility;
  found.visible = visible();
  box.click();
  found.hidden = visible();
  document.title = Object.entries(found).map(pair => pair.join("=")).join(";");
});
</script>
"""


def browse(path, tmp_path, *flags):
    """Open a page; return the document as it stands then, and what the console said."""
    profile = tmp_path / "profile"
    done = subprocess.run(
        [BROWSER, *FLAGS, f"--user-data-dir={profile}", *flags, path.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


@pytest.fixture
def page(tmp_path):
    masks = balls((12, 40, 50), [(5, 12, 12), (6, 25, 35)], 5)
    volume, result, table, summary = a_result(masks, voxel_um=(2.0, 0.5, 0.5))
    path = tmp_path / "report.html"
    write_report(path, volume, result, table, summary=summary)
    return path


def test_sliders_move_planes_and_marks_and_the_console_stays_empty(page, tmp_path):
    used = tmp_path / "used.html"
    text = page.read_text(encoding="utf-8")
    used.write_text(text.replace("</body>", USER + "</body>"), encoding="utf-8")
    document, console = browse(used, tmp_path, "--dump-dom")
    assert console == []
    title = re.search(r"<title>(.*?)</title>", document).group(1)
    found = dict(pair.split("=", 1) for pair in title.split(";"))
    assert "error" not in found
    assert found["moved"] == found["first"] == found["decoded"] == "true"
    assert found["place"] == "1 of 12"
    assert float(found["mark"].rstrip("%")) == pytest.approx(100 * 0.5 / 12, abs=0.01)
    assert (found["visible"], found["hidden"]) == ("visible", "hidden")


def test_a_fault_of_the_script_would_be_seen(page, tmp_path):
    faulty = tmp_path / "faulty.html"
    text = page.read_text(encoding="utf-8")
    faulty.write_text(text.replace('id="views"', 'id="none"'), encoding="utf-8")
    assert browse(faulty, tmp_path, "--dump-dom")[1]


def test_a_page_prints(page, tmp_path):
    printed = tmp_path / "report.pdf"
    browse(page, tmp_path, f"--print-to-pdf={printed}")
    assert printed.read_bytes().startswith(b"%PDF")

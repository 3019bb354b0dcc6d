"""The report in a browser: sliders move the planes, nothing is complained of."""

from __future__ import annotations

import html
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
const planes = views.flatMap(view => view.grey).map(source => {
  const image = document.body.appendChild(new Image());
  image.src = source;
  return image;
});
window.addEventListener("load", () => {
  found.decoded = planes.every(image => image.complete && image.naturalWidth > 0);
  const frame = document.getElementById("view-z");
  const paths = () => [...frame.querySelectorAll("path")];
  const picture = () => frame.querySelector(".grey").src;
  const mark = () => document.querySelector("#view-x .down").style.left;
  const send = (target, kind, more) => target.dispatchEvent(
    new PointerEvent(kind, {bubbles: true, ...more}));
  found.outlines = paths().length;
  send(paths()[0], "pointermove");
  found.tip = document.getElementById("tip").textContent;
  send(paths()[0], "click");
  found.marked = document.getElementById("marked").textContent;
  found.bars = document.querySelectorAll(".bar.marked").length;
  const bar = [...document.querySelectorAll(".bar")].find(each => each.dataset.objects);
  send(bar, "click");
  found.named = bar.dataset.objects.split(" ").length;
  found.chosen = new Set([...document.querySelectorAll("#view-z path.marked, #view-projection path.marked")]
    .map(each => each.dataset.label)).size;
  const width = () => frame.querySelector(".scale i").getBoundingClientRect().width;
  const text = () => parseFloat(frame.querySelector(".scale b").textContent);
  const before = [width() / text(), picture(), mark()];
  document.getElementById("closer").click();
  found.closer = (width() / text() / before[0]).toFixed(3);
  document.getElementById("whole").click();
  found.whole = (width() / text() / before[0]).toFixed(3);
  const slider = document.getElementById("slide-z");
  slider.value = 0;
  slider.dispatchEvent(new Event("input"));
  found.moved = picture() !== before[1] && mark() !== before[2];
  found.first = picture() === views[0].grey[0];
  found.place = document.getElementById("place-z").value;
  found.mark = mark();
  const light = document.getElementById("contrast");
  light.value = 1;
  light.dispatchEvent(new Event("input"));
  found.light = getComputedStyle(frame.querySelector(".grey")).filter;
  const visible = () => getComputedStyle(frame.querySelector("svg")).visibility;
  found.visible = visible();
  document.getElementById("outlines").click();
  found.hidden = visible();
  const check = document.querySelector("[data-check]");
  check.click();
  found.check = check.dataset.check + " " + [...marked].join();
  document.title = Object.entries(found).map(pair => pair.join("=")).join(";;");
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
    masks = balls((14, 40, 50), [(6, 12, 12), (6, 25, 35), (6, 25, 14)], 5)
    masks[6, 34, 44] = 4  # tiny
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
    found = dict(pair.split("=", 1) for pair in html.unescape(title).split(";;"))
    assert "error" not in found
    assert found["moved"] == found["first"] == found["decoded"] == "true"
    assert int(found["outlines"]) >= 3
    assert found["tip"].startswith("#1: diameter 15.8 px (7.90")
    assert found["tip"] == found["marked"]
    assert int(found["bars"]) == 4  # one in each histogram
    assert found["chosen"] == found["named"]
    assert float(found["closer"]) == pytest.approx(1.5, abs=0.02)
    assert float(found["whole"]) == pytest.approx(1, abs=0.02)
    assert found["place"] == "1 of 14"
    assert float(found["mark"].rstrip("%")) == pytest.approx(100 * 0.5 / 14, abs=0.01)
    assert found["light"] == "brightness(2)"
    assert (found["visible"], found["hidden"]) == ("visible", "hidden")
    assert found["check"] == "4 4"


def test_a_fault_of_the_script_would_be_seen(page, tmp_path):
    faulty = tmp_path / "faulty.html"
    text = page.read_text(encoding="utf-8")
    faulty.write_text(text.replace('id="views"', 'id="none"'), encoding="utf-8")
    assert browse(faulty, tmp_path, "--dump-dom")[1]


def test_a_page_prints(page, tmp_path):
    printed = tmp_path / "report.pdf"
    browse(page, tmp_path, f"--print-to-pdf={printed}")
    assert printed.read_bytes().startswith(b"%PDF")

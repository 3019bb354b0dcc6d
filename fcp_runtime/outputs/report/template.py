"""The form of the report's pages: complete in themselves, for screen and paper."""

from __future__ import annotations

from string import Template

STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.45 system-ui, sans-serif; color: #1c2430; background: #fff;
  max-width: 1100px; margin: 24px auto; padding: 0 20px; }
h1 { font-size: 24px; margin: 0; overflow-wrap: anywhere; }
h2 { font-size: 17px; margin: 28px 0 8px; }
p { margin: 6px 0; }
.lead { font-size: 17px; }
.warnings { border-left: 4px solid #c77700; background: #fff6e5; padding: 6px 14px; margin: 14px 0; }
.warnings ul { margin: 4px 0; padding-left: 18px; }
.controls { display: flex; flex-wrap: wrap; gap: 6px 24px; align-items: center; margin: 8px 0; }
.controls input[type=range] { width: 180px; vertical-align: middle; }
.controls output { display: inline-block; min-width: 5.5em; font-variant-numeric: tabular-nums; }
.stage { display: grid; gap: 4px; background: #303030; padding: 4px; margin: 0 auto; }
.frame { position: relative; background: #000; overflow: hidden; }
.frame img { position: absolute; inset: 0; width: 100%; height: 100%; display: block; }
.frame .lines { image-rendering: pixelated; }
.frame i { position: absolute; background: rgb(255 255 255 / 35%); pointer-events: none; }
.frame .across { left: 0; right: 0; height: 1px; }
.frame .down { top: 0; bottom: 0; width: 1px; }
.plain .lines { visibility: hidden; }
.charts, .tables { display: grid; gap: 8px 32px;
  grid-template-columns: repeat(auto-fit, minmax(300px, 1fr)); align-items: start; }
.chart { width: 100%; max-width: 520px; }
.chart text { font: 11px system-ui, sans-serif; fill: #3c4656; }
.bar { fill: #3f7fbf; } .grid { stroke: #dfe4ea; } .axis { stroke: #3c4656; }
.mark { stroke: #c03a2b; stroke-width: 1.5; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: 3px 10px 3px 0; border-bottom: 1px solid #e3e7ec;
  vertical-align: top; }
th { font-weight: 500; color: #55606f; white-space: nowrap; }
.long { overflow-wrap: anywhere; }
td.long { min-width: 13em; }
td.number { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
.failed td { color: #a3271b; }
footer { margin: 28px 0; color: #6a7482; font-size: 13px; }
@media print {
  body { max-width: none; margin: 0; font-size: 11pt; }
  .controls { display: none; }
  .stage, .frame, .bar, .warnings { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  .charts, .tables { grid-template-columns: repeat(3, 1fr); gap: 8px 20px; }
  .tables { font-size: 9pt; }
  .tables td, .tables th { padding: 1px 8px 1px 0; }
  .projection .stage { max-width: 7.5cm !important; margin: 0; }
  section, .stage, tr { break-inside: avoid; }
  h2 { break-after: avoid; }
  .chart text { font-size: 15px; }
}
"""

SCRIPT = """
const views = JSON.parse(document.getElementById("views").textContent);
const at = {};
function show() {
  for (const view of views) {
    const frame = document.getElementById("view-" + view.axis);
    frame.querySelector(".grey").src = view.grey[at[view.axis]];
    frame.querySelector(".lines").src = view.lines[at[view.axis]];
    for (const [axis, mark, edge] of [[view.rows, "across", "top"], [view.columns, "down", "left"]]) {
      const other = views.find(each => each.axis === axis);
      const part = (other.positions[at[axis]] + 0.5) / other.length;
      frame.querySelector("." + mark).style[edge] = 100 * part + "%";
    }
  }
}
for (const view of views) {
  const slider = document.getElementById("slide-" + view.axis);
  const move = () => {
    at[view.axis] = Number(slider.value);
    const place = view.positions[at[view.axis]] + 1;
    document.getElementById("place-" + view.axis).value = place + " of " + view.length;
  };
  slider.addEventListener("input", () => { move(); show(); });
  move();
}
show();
"""

TOGGLE = """
const box = document.getElementById("outlines");
box.addEventListener("change", () => document.body.classList.toggle("plain", !box.checked));
"""

PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>$style</style>
</head>
<body>
$body
</body>
</html>
""")


def page(title: str, body: str) -> str:
    """Return a page; ``title`` and ``body`` are HTML."""
    return PAGE.substitute(title=title, style=STYLE, body=body)

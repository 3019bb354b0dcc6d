"""The form of the report's pages: complete in themselves, for screen, phone and paper."""

from __future__ import annotations

from string import Template

STYLE = """
:root { color-scheme: light; --light: 1; }
body { font: 15px/1.45 system-ui, sans-serif; color: #1c2430; background: #fff;
  margin: 20px auto; padding: 0 24px; }
h1 { font-size: 24px; margin: 0; overflow-wrap: anywhere; }
h2 { font-size: 17px; margin: 28px 0 8px; }
p { margin: 6px 0; }
.lead { font-size: 17px; }
.warnings { border-left: 4px solid #c77700; background: #fff6e5; padding: 6px 14px; margin: 14px 0; }
.warnings ul { margin: 4px 0; padding-left: 18px; }
.controls { display: flex; flex-wrap: wrap; gap: 6px 24px; align-items: center; margin: 8px 0; }
.controls input[type=range] { width: 150px; vertical-align: middle; }
.controls output { display: inline-block; min-width: 5.5em; font-variant-numeric: tabular-nums; }
button { font: inherit; border: 1px solid #b8c1cc; border-radius: 4px; background: #f5f7f9;
  padding: 2px 10px; cursor: pointer; }
#marked { min-height: 1.45em; color: #3c4656; }
.stage { display: grid; gap: 4px; background: #303030; padding: 4px; margin: 0 auto; }
.frame { position: relative; background: #000; overflow: hidden; --k: 1; touch-action: pan-y; }
.frame.zoomed { cursor: grab; touch-action: none; }
.world { position: absolute; inset: 0; transform-origin: 0 0; }
.world img, .world svg { position: absolute; inset: 0; width: 100%; height: 100%; display: block; }
.grey { filter: brightness(var(--light)); -webkit-user-drag: none; }
.zoomed .grey { image-rendering: pixelated; }
svg path { fill: transparent; fill-rule: evenodd; vector-effect: non-scaling-stroke;
  stroke-width: calc(1.5px / var(--k)); cursor: pointer; }
svg path:hover, svg path.marked { fill: rgb(255 255 255 / 30%); stroke-width: calc(3px / var(--k)); }
svg .check { fill: none; stroke: #fff; vector-effect: non-scaling-stroke; pointer-events: none;
  stroke-width: calc(1.2px / var(--k)); stroke-dasharray: calc(5px / var(--k)) calc(3px / var(--k)); }
.world i { position: absolute; background: rgb(255 255 255 / 35%); pointer-events: none; }
.across { left: 0; right: 0; height: calc(1px / var(--k)); }
.down { top: 0; bottom: 0; width: calc(1px / var(--k)); }
.plain svg { visibility: hidden; }
.scale, .diameter { position: absolute; bottom: 8px; color: #fff; font-size: 12px;
  text-shadow: 0 0 3px #000; pointer-events: none; }
.scale { left: 10px; } .scale i { display: block; height: 4px; background: #fff; }
.scale b, .diameter b { font-weight: 500; display: block; }
.diameter { right: 10px; text-align: right; }
.diameter i { display: inline-block; border: 1.5px dashed #fff; border-radius: 50%;
  box-sizing: border-box; }
#tip { position: absolute; z-index: 5; background: #1c2430; color: #fff; padding: 3px 8px;
  border-radius: 4px; font-size: 13px; max-width: 320px; pointer-events: none; }
.checks { display: grid; grid-template-columns: repeat(auto-fill, minmax(128px, 1fr)); gap: 10px; }
.checks button { padding: 6px; text-align: left; font-size: 12.5px; }
.checks img { width: 100%; aspect-ratio: 1; display: block; background: #000; }
.charts, .tables { display: grid; gap: 8px 32px;
  grid-template-columns: repeat(auto-fit, minmax(min(300px, 100%), 1fr)); align-items: start; }
.chart { width: 100%; max-width: 620px; }
.chart text { font: 11px system-ui, sans-serif; fill: #3c4656; }
.bar { fill: #3f7fbf; cursor: pointer; } .bar.marked { fill: #e08a00; }
.grid { stroke: #dfe4ea; } .axis { stroke: #3c4656; }
.mark { stroke: #c03a2b; stroke-width: 1.5; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: 3px 10px 3px 0; border-bottom: 1px solid #e3e7ec;
  vertical-align: top; }
th { font-weight: 500; color: #55606f; white-space: nowrap; }
.long { overflow-wrap: anywhere; }
td.long { min-width: 9em; }
td.number { text-align: right; font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
td img { width: 96px; display: block; background: #000; }
.failed td { color: #a3271b; }
.look td { background: #fff6e5; }
footer { margin: 28px 0; color: #6a7482; font-size: 13px; }
@media (max-width: 640px) {
  body { padding: 0 10px; margin: 10px auto; }
  .controls label { width: 100%; } .controls input[type=range] { width: 55%; }
}
@media print {
  body { margin: 0; padding: 0; font-size: 11pt; }
  .controls, #tip, #marked { display: none; }
  .stage, .frame, .bar, .warnings, .check { print-color-adjust: exact;
    -webkit-print-color-adjust: exact; }
  .stage { max-width: 17cm !important; }
  .checks { grid-template-columns: repeat(6, 1fr); }
  .charts, .tables { grid-template-columns: repeat(3, 1fr); gap: 8px 20px; }
  .tables { font-size: 9pt; }
  .tables td, .tables th { padding: 1px 8px 1px 0; }
  .projection .stage { max-width: 7.5cm !important; margin: 0; }
  .stage, tr, .checks button, .chart { break-inside: avoid; }
  h2 { break-after: avoid; }
  .chart text { font-size: 15px; }
}
"""

PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
$head<title>$title</title>
<style>$style</style>
</head>
<body>
$body
</body>
</html>
""")


def page(title: str, body: str, head: str = "") -> str:
    """Return a page; ``title``, ``body`` and ``head`` (whole lines) are HTML."""
    return PAGE.substitute(title=title, style=STYLE, body=body, head=head)

"""What makes the report's pictures move: sliders, zoom, outlines, marks."""

from __future__ import annotations

SCRIPT = """
const held = JSON.parse(document.getElementById("views").textContent);
const views = held.views, at = {}, zoom = {}, marked = new Set();
const SVG = "http://www.w3.org/2000/svg";
const byId = id => document.getElementById(id);
const frameOf = view => byId("view-" + view.axis);
const colour = label => held.colours[label % held.colours.length];
const row = new Map(held.labels.map((label, index) => [label, index]));
const reasons = new Map(held.suspects.map(each => [each.label, each]));

function outline([label, x, y, steps]) {
  // through the middles of the edges of pixels: no stairs, and off by less than half a pixel
  let d = "";
  for (let index = 0; index < steps.length; index++) {
    const step = steps.charCodeAt(index) - 80, sign = Math.sign(step);
    for (let n = Math.abs(step); n > 0; n--) {
      d += (d ? "L" : "M") + (index % 2 ? x + " " + (y + sign / 2) : (x + sign / 2) + " " + y);
      if (index % 2) y += sign; else x += sign;
    }
  }
  return d + "Z";
}

function drawShapes(view) {
  const svg = frameOf(view).querySelector("svg"), found = new Map();
  for (const shape of view.shapes[at[view.axis] || 0])
    found.set(shape[0], (found.get(shape[0]) || "") + outline(shape));
  const boxes = [];
  const paths = [...found].map(([label, d]) => {
    const path = document.createElementNS(SVG, "path");
    path.setAttribute("d", d);
    path.dataset.label = label;
    path.style.stroke = colour(label);
    if (marked.has(label)) path.classList.add("marked");
    if (reasons.has(label)) boxes.push(path);
    return path;
  });
  svg.replaceChildren(...paths);
  for (const path of boxes) {
    const box = path.getBBox(), rect = document.createElementNS(SVG, "rect");
    for (const [name, value] of [["x", box.x - 2], ["y", box.y - 2],
      ["width", box.width + 4], ["height", box.height + 4]]) rect.setAttribute(name, value);
    rect.classList.add("check");
    svg.append(rect);
  }
}

function show(changed) {
  for (const view of views) {
    const frame = frameOf(view);
    if (!changed || changed === view.axis) {
      frame.querySelector(".grey").src = view.grey[at[view.axis] || 0];
      drawShapes(view);
    }
    for (const [axis, mark, edge] of [[view.rows, "across", "top"], [view.columns, "down", "left"]]) {
      const other = views.find(each => each.axis === axis), line = frame.querySelector("." + mark);
      if (line && other)
        line.style[edge] = 100 * (other.positions[at[axis]] + 0.5) / other.length + "%";
    }
  }
}

function place(view) {
  const {k, x, y} = zoom[view.axis], frame = frameOf(view);
  frame.style.setProperty("--k", k);
  frame.classList.toggle("zoomed", k > 1);
  frame.querySelector(".world").style.transform = `translate(${x}px, ${y}px) scale(${k})`;
  if (frame.querySelector(".scale")) measure(view, frame, k);
}

function measure(view, frame, k) {
  const pixel = k * frame.clientWidth / view.shown[1];
  let size = held.unit === "px" ? 1 : held.pixel;
  const wanted = frame.clientWidth / 4 / pixel * size, power = 10 ** Math.floor(Math.log10(wanted));
  const length = [5, 2, 1].map(factor => factor * power).find(value => value <= wanted) || power;
  frame.querySelector(".scale i").style.width = length / size * pixel + "px";
  frame.querySelector(".scale b").textContent = Number(length.toPrecision(3)) + " " + held.unit;
  const circle = frame.querySelector(".diameter i");
  if (circle) circle.style.width = circle.style.height = held.diameter * pixel + "px";
}

function turn(view, factor, x, y) {
  const was = zoom[view.axis], frame = frameOf(view);
  const k = Math.min(Math.max(was.k * factor, 1), 32), grown = k / was.k;
  const fit = (value, length) => Math.min(0, Math.max(length * (1 - k), value));
  zoom[view.axis] = {k, x: fit(x - (x - was.x) * grown, frame.clientWidth),
    y: fit(y - (y - was.y) * grown, frame.clientHeight)};
  place(view);
}

function pan(view, dx, dy) {
  const state = zoom[view.axis];
  state.x += dx; state.y += dy;
  turn(view, 1, 0, 0);
}

function words(label) {
  const index = row.get(label), check = reasons.get(label);
  if (index === undefined) return "#" + label;
  const size = held.unit === "px" ? "" : " (" + (held.sizes[index] * held.pixel).toPrecision(3) + " " + held.unit + ")";
  return `#${label}: diameter ${held.sizes[index]} px${size}` + (check ? "; " + check.reasons.join("; ") : "");
}

function mark(labels) {
  const same = labels.length === marked.size && labels.every(label => marked.has(label));
  marked.clear();
  if (!same) labels.forEach(label => marked.add(label));
  for (const path of document.querySelectorAll("path[data-label]"))
    path.classList.toggle("marked", marked.has(Number(path.dataset.label)));
  for (const bar of document.querySelectorAll(".bar"))
    bar.classList.toggle("marked", bar.dataset.objects !== "" &&
      bar.dataset.objects.split(" ").some(label => marked.has(Number(label))));
  byId("marked").textContent = marked.size === 1 ? words([...marked][0]) :
    marked.size ? marked.size + " nuclei marked" : "";
}

function goTo(label) {
  const check = reasons.get(label);
  marked.clear();
  mark([label]);
  for (const view of views) {
    const slider = byId("slide-" + view.axis);
    if (!slider) continue;
    const wanted = check.place[view.axis] * view.length;
    const near = view.positions.map(position => Math.abs(position + 0.5 - wanted));
    slider.value = near.indexOf(Math.min(...near));
    slider.dispatchEvent(new Event("input"));
  }
  const view = views[0], frame = frameOf(view);
  zoom[view.axis] = {k: 1, x: 0, y: 0};
  const x = check.place[view.columns] * frame.clientWidth, y = check.place[view.rows] * frame.clientHeight;
  turn(view, Math.max(1, view.shown[1] / (8 * held.diameter)), x, y);
  pan(view, frame.clientWidth / 2 - x, frame.clientHeight / 2 - y);
  frame.scrollIntoView({block: "nearest"});
}

for (const view of views) {
  at[view.axis] = view.start;
  zoom[view.axis] = {k: 1, x: 0, y: 0};
  const frame = frameOf(view), slider = byId("slide-" + view.axis), tip = byId("tip");
  if (slider) slider.addEventListener("input", () => {
    at[view.axis] = Number(slider.value);
    byId("place-" + view.axis).value = view.positions[at[view.axis]] + 1 + " of " + view.length;
    show(view.axis);
  });
  let last = null, moved = 0;
  frame.addEventListener("wheel", event => {
    if (!event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    const box = frame.getBoundingClientRect();
    turn(view, 1.2 ** -Math.sign(event.deltaY), event.clientX - box.left, event.clientY - box.top);
  }, {passive: false});
  frame.addEventListener("dblclick", event => {
    const box = frame.getBoundingClientRect();
    turn(view, 2, event.clientX - box.left, event.clientY - box.top);
  });
  frame.addEventListener("pointerdown", event => { last = [event.clientX, event.clientY]; moved = 0; });
  frame.addEventListener("pointermove", event => {
    if (last && event.buttons) {
      const [dx, dy] = [event.clientX - last[0], event.clientY - last[1]];
      moved += Math.abs(dx) + Math.abs(dy);
      if (zoom[view.axis].k > 1) pan(view, dx, dy);
      last = [event.clientX, event.clientY];
    }
    const label = event.target.dataset.label;
    tip.hidden = label === undefined;
    if (label === undefined) return;
    tip.textContent = words(Number(label));
    tip.style.left = event.pageX + 14 + "px";
    tip.style.top = event.pageY + 14 + "px";
  });
  frame.addEventListener("pointerleave", () => { tip.hidden = true; last = null; });
  frame.addEventListener("click", event => {
    const label = event.target.dataset.label;
    if (label !== undefined && moved < 5) mark([Number(label)]);
  });
}
for (const bar of document.querySelectorAll(".bar"))
  bar.addEventListener("click", () =>
    mark(bar.dataset.objects ? bar.dataset.objects.split(" ").map(Number) : []));
for (const button of document.querySelectorAll("[data-check]"))
  button.addEventListener("click", () => goTo(Number(button.dataset.check)));
for (const [id, factor] of [["closer", 1.5], ["farther", 1 / 1.5], ["whole", 0]])
  byId(id).addEventListener("click", () => {
    const view = views[0], frame = frameOf(view);
    turn(view, factor, frame.clientWidth / 2, frame.clientHeight / 2);
  });
byId("outlines").addEventListener("change", event =>
  document.body.classList.toggle("plain", !event.target.checked));
byId("contrast").addEventListener("input", event =>
  document.documentElement.style.setProperty("--light", 2 ** event.target.value));
addEventListener("resize", () => views.forEach(place));
for (const view of views) {
  const slider = byId("slide-" + view.axis);
  if (slider) byId("place-" + view.axis).value = view.positions[view.start] + 1 + " of " + view.length;
}
show();
views.forEach(place);
"""

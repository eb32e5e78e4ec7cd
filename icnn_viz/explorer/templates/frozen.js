// The frozen page: maps unpacked when their pixel is chosen, and put into the comparison; everything saved from here.
"use strict";
const content = JSON.parse(document.getElementById("content").textContent);
const root = document.documentElement;
const dark = window.matchMedia("(prefers-color-scheme: dark)");
const byId = (id) => document.getElementById(id);
const columns = Math.ceil(content.width / content.block);
const rows = Math.ceil(content.height / content.block);
const cache = new Map();
const config = { displaylogo: false, responsive: true, modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"] };
let chosen = null;
let turn = 0;

async function inflate(text) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

async function mapsOf(pixel) {
  if (!cache.has(pixel)) {
    cache.set(pixel, await Promise.all(pixel.maps.map(inflate)));
    if (cache.size > 40) cache.delete(cache.keys().next().value);
  }
  return cache.get(pixel);
}

function nearest(x, y) {
  let best = content.pixels[0];
  let least = Infinity;
  for (const pixel of content.pixels) {
    const distance = (pixel.x - x) ** 2 + (pixel.y - y) ** 2;
    if (distance < least) [best, least] = [pixel, distance];
  }
  return best;
}

function neighbour(dx, dy) {
  let best = chosen;
  let least = Infinity;
  for (const pixel of content.pixels) {
    const along = (pixel.x - chosen.x) * dx + (pixel.y - chosen.y) * dy;
    const aside = Math.abs((pixel.x - chosen.x) * dy) + Math.abs((pixel.y - chosen.y) * dx);
    if (along > 0 && along + 3 * aside < least) [best, least] = [pixel, along + 3 * aside];
  }
  return best;
}

function toRows(values) {
  return Array.from({ length: rows }, (_, row) => values.subarray(row * columns, (row + 1) * columns));
}

// The comparison that figures/comparison_pages.py drew, with the maps, the cross and the scales of a pixel.
function toFigure(pixel, maps) {
  const figure = structuredClone(content.figures[root.dataset.theme]);
  const shown = maps.map(toRows);
  const place = { x0: (content.block - 1) / 2, y0: (content.block - 1) / 2, dx: content.block, dy: content.block };
  for (const trace of figure.data) {
    if (trace.type === "image") trace.source = content.photo;
    if (trace.name === "cross") [trace.x, trace.y] = [[pixel.x], [pixel.y]];
    if (trace.name === "line") [trace.x, trace.y] = pixel.lines[trace.meta];
    if (trace.type === "heatmap") Object.assign(trace, place, { z: shown.shift(), opacity: byId("opacity").value / 100 });
  }
  for (const image of figure.layout.images) image.source = content.grey;
  for (const [name, axis] of [["coloraxis", "maps"], ["coloraxis2", byId("difference").value]]) {
    const { colorbar, ...ends } = pixel.axes[axis];
    Object.assign(figure.layout[name], ends);
    Object.assign(figure.layout[name].colorbar, colorbar);
  }
  return figure;
}

async function show(pixel) {
  chosen = pixel;
  turn += 1;
  const mine = turn;
  const maps = await mapsOf(pixel);
  if (mine !== turn) return;
  const [first, second] = maps.map((bytes) => Float32Array.from(bytes, (byte) => pixel.top * (byte / content.levels) ** 2));
  const [one, other] = byId("difference").value === "raw" ? [1, 1] : pixel.energies;
  const figure = toFigure(pixel, [second, first, first.map((value, k) => value / one - second[k] / other)]);
  await Plotly.react("graph", figure.data, figure.layout, config);
  byId("x").value = pixel.x;
  byId("y").value = pixel.y;
  byId("words").textContent = pixel.words;
  byId("measures").replaceChildren(...content.rows.map((name, row) => {
    const line = document.createElement("tr");
    const head = document.createElement("th");
    head.scope = "row";
    head.textContent = name;
    line.append(head, ...pixel.measures[row].map((text) => {
      const cell = document.createElement("td");
      cell.textContent = text;
      return cell;
    }));
    return line;
  }));
  window.history.replaceState(null, "", "#x=" + pixel.x + "&y=" + pixel.y);
  root.dataset.shown = pixel.x + "," + pixel.y;
}

function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

async function toCsv() {
  const [first, second] = await mapsOf(chosen);
  const value = (byte) => (chosen.top * (byte / content.levels) ** 2).toPrecision(3);
  const quote = (text) => '"' + text.replaceAll('"', '""') + '"';
  const lines = ["y,x," + content.models.map(quote).join(",")];
  const middle = (content.block - 1) / 2;
  for (let k = 0; k < first.length; k += 1) {
    const place = [Math.floor(k / columns), k % columns].map((n) => n * content.block + middle);
    lines.push([...place, value(first[k]), value(second[k])].join(","));
  }
  return lines.join("\n") + "\n";
}

for (const id of ["x", "y"]) {
  byId(id).addEventListener("change", () => show(nearest(Number(byId("x").value), Number(byId("y").value))));
}
byId("opacity").addEventListener("input", () => show(chosen));
byId("difference").addEventListener("change", () => show(chosen));
byId("png").addEventListener("click", () =>
  Plotly.downloadImage("graph", { format: "png", scale: 2, filename: `icnn-x${chosen.x}-y${chosen.y}` }));
byId("csv").addEventListener("click", async () =>
  save(new Blob([await toCsv()], { type: "text/csv" }), `icnn-x${chosen.x}-y${chosen.y}.csv`));
document.addEventListener("keydown", (event) => {
  const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
  if (!step || event.target.closest("input, select, button, a")) return;
  event.preventDefault();
  show(neighbour(...step));
});
function paint(theme) {
  root.dataset.theme = theme;
  if (chosen) show(chosen);
}
dark.addEventListener("change", () => paint(dark.matches ? "dark" : "light"));
byId("toggle").addEventListener("click", () => paint(root.dataset.theme === "dark" ? "light" : "dark"));
paint(dark.matches ? "dark" : "light");
const asked = new URLSearchParams(window.location.hash.slice(1));
const [x, y] = ["x", "y"].map((key) => (asked.has(key) ? Number(asked.get(key)) : NaN));
show(nearest(x >= 0 ? x : content.width / 2, y >= 0 ? y : content.height / 2)).then(() =>
  byId("graph").on("plotly_click", ({ points }) => show(nearest(points[0].x, points[0].y))));

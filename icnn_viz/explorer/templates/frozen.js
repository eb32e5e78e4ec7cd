// The frozen page: maps unpacked when their pixel is chosen, painted on canvases; everything saved from here.
"use strict";
const content = JSON.parse(document.getElementById("content").textContent);
const root = document.documentElement;
const dark = window.matchMedia("(prefers-color-scheme: dark)");
const byId = (id) => document.getElementById(id);
const columns = Math.ceil(content.width / content.block);
const rows = Math.ceil(content.height / content.block);
const cache = new Map();
let chosen = null;
let turn = 0;

function toRgb(hex) {
  return [1, 3, 5].map((start) => parseInt(hex.slice(start, start + 2), 16));
}

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

function paintMap(id, colours, indexAt) {
  const canvas = byId(id);
  canvas.width = columns;
  canvas.height = rows;
  const context = canvas.getContext("2d");
  const picture = context.createImageData(columns, rows);
  const rgb = colours.map(toRgb);
  for (let k = 0; k < columns * rows; k += 1) {
    picture.data.set(rgb[indexAt(k)], 4 * k);
    picture.data[4 * k + 3] = 255;
  }
  context.putImageData(picture, 0, 0);
  canvas.style.opacity = byId("opacity").value / 100;
}

function paintCross() {
  for (const id of ["photo", "first", "second", "difference"]) {
    const stack = byId(id).parentElement;
    let mark = stack.querySelector("svg");
    if (!mark) {
      mark = document.createElementNS("http://www.w3.org/2000/svg", "svg");
      mark.setAttribute("viewBox", "-8 -8 16 16");
      mark.style.cssText = "position:absolute;width:16px;height:16px;pointer-events:none;transform:translate(-50%,-50%)";
      for (const [colour, width] of [["#000000", 5], ["#ffffff", 3.4], ["#ff1f1f", 1.8]]) {
        const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
        path.setAttribute("d", "M-5-5L5 5M-5 5L5-5");
        path.setAttribute("stroke", colour);
        path.setAttribute("stroke-width", width);
        mark.append(path);
      }
      stack.append(mark);
    }
    mark.style.left = (100 * (chosen.x + 0.5)) / content.width + "%";
    mark.style.top = (100 * (chosen.y + 0.5)) / content.height + "%";
  }
}

function tell(value) {
  return value.toPrecision(3).replace(/(\.\d*?)0+($|e)/, "$1$2").replace(/\.($|e)/, "$1").replace("-", "−");
}

function paintBar(id, colours, end) {
  const context = byId(id).getContext("2d");
  for (let k = 0; k < 256; k += 1) {
    context.fillStyle = colours[end(k)];
    context.fillRect(k, 0, 1, 1);
  }
}

async function show(pixel) {
  chosen = pixel;
  turn += 1;
  const mine = turn;
  const [first, second] = await mapsOf(pixel);
  if (mine !== turn) return;
  const colours = content.colours[root.dataset.theme];
  let top = 0;
  const difference = new Float32Array(first.length);
  for (let k = 0; k < first.length; k += 1) {
    difference[k] = pixel.top * ((first[k] / 255) ** 2 - (second[k] / 255) ** 2);
    top = Math.max(top, Math.abs(difference[k]));
  }
  top = top || 1;
  paintMap("first", colours.map, (k) => first[k]);
  paintMap("second", colours.map, (k) => second[k]);
  paintMap("difference", colours.signed, (k) =>
    Math.round(127.5 + 127.5 * Math.sign(difference[k]) * Math.sqrt(Math.abs(difference[k]) / top)));
  paintBar("bar-map", colours.map, (k) => Math.round(255 * Math.sqrt(k / 255)));
  paintBar("bar-signed", colours.signed, (k) =>
    Math.round(127.5 + 127.5 * Math.sign(k - 127.5) * Math.sqrt(Math.abs(k - 127.5) / 127.5)));
  byId("high").textContent = (pixel.over ? "≥ " : "") + tell(pixel.top) + " " + content.unit;
  byId("low-signed").textContent = "−" + tell(top);
  byId("high-signed").textContent = tell(top);
  byId("x").value = pixel.x;
  byId("y").value = pixel.y;
  byId("words").textContent = pixel.label + ".";
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
  paintCross();
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
  const value = (byte) => (chosen.top * (byte / 255) ** 2).toPrecision(4);
  const quote = (text) => '"' + text.replaceAll('"', '""') + '"';
  const lines = ["y,x," + content.models.map(quote).join(",")];
  const middle = (content.block - 1) / 2;
  for (let k = 0; k < first.length; k += 1) {
    const place = [Math.floor(k / columns), k % columns].map((n) => n * content.block + middle);
    lines.push([...place, value(first[k]), value(second[k])].join(","));
  }
  return lines.join("\n") + "\n";
}

function toPng() {
  const [width, height, gap, title] = [content.width, content.height, 12, 20];
  const canvas = document.createElement("canvas");
  canvas.width = 2 * width + 3 * gap;
  canvas.height = 2 * (height + title) + 3 * gap;
  const context = canvas.getContext("2d");
  const style = getComputedStyle(document.body);
  context.fillStyle = style.backgroundColor;
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.font = "12px sans-serif";
  context.imageSmoothingEnabled = false;
  [...document.querySelectorAll("#panels figure")].forEach((figure, number) => {
    const left = gap + (number % 2) * (width + gap);
    const top = gap + title + Math.floor(number / 2) * (height + title + gap);
    context.fillStyle = style.color;
    context.fillText(figure.querySelector("figcaption").textContent, left, top - 6, width);
    context.drawImage(figure.querySelector("img"), left, top, width, height);
    const map = figure.querySelector("canvas");
    context.globalAlpha = Number(map.style.opacity || 1);
    if (map.id !== "photo") context.drawImage(map, left, top, width, height);
    context.globalAlpha = 1;
    for (const [colour, line] of [["#000000", 5], ["#ffffff", 3.4], ["#ff1f1f", 1.8]]) {
      const [x, y] = [left + chosen.x + 0.5, top + chosen.y + 0.5];
      context.strokeStyle = colour;
      context.lineWidth = line;
      context.beginPath();
      for (const turn of [1, -1]) {
        context.moveTo(x - 5, y - 5 * turn);
        context.lineTo(x + 5, y + 5 * turn);
      }
      context.stroke();
    }
  });
  return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
}

for (const id of ["photo", "first", "second", "difference"]) {
  byId(id).addEventListener("click", (event) => {
    const box = event.currentTarget.getBoundingClientRect();
    const x = ((event.clientX - box.left) / box.width) * content.width;
    const y = ((event.clientY - box.top) / box.height) * content.height;
    show(nearest(x - 0.5, y - 0.5));
  });
}
byId("photo").width = content.width;
byId("photo").height = content.height;
for (const id of ["x", "y"]) {
  byId(id).addEventListener("change", () => show(nearest(Number(byId("x").value), Number(byId("y").value))));
}
byId("opacity").addEventListener("input", () => show(chosen));
byId("png").addEventListener("click", async () => save(await toPng(), `icnn-x${chosen.x}-y${chosen.y}.png`));
byId("csv").addEventListener("click", async () =>
  save(new Blob([await toCsv()], { type: "text/csv" }), `icnn-x${chosen.x}-y${chosen.y}.csv`));
document.addEventListener("keydown", (event) => {
  const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
  if (!step || event.target.closest("input, button")) return;
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
show(nearest(x >= 0 ? x : content.width / 2, y >= 0 ? y : content.height / 2));

// Menus, tables and the pictures that can be turned. Without it the page is all there, only longer.
(() => {
  "use strict";
  const root = document.documentElement;
  const all = (selector, from = document) => [...from.querySelectorAll(selector)];

  // The theme
  const toggle = document.getElementById("theme");
  const name = () => { toggle.textContent = root.dataset.theme === "dark" ? "Light theme" : "Dark theme"; };
  toggle.addEventListener("click", () => {
    const detail = root.dataset.theme === "dark" ? "light" : "dark";
    root.dispatchEvent(new CustomEvent("choosetheme", { detail }));
  });
  root.addEventListener("themechange", name);
  name();

  // Menus that show one of several parts
  for (const menu of all("select[data-menu]")) {
    const parts = all(`[data-part="${menu.dataset.menu}"]`);
    const show = () => {
      parts.forEach((part, number) => part.classList.toggle("closed", number !== menu.selectedIndex));
      parts.forEach((part) => part.classList.contains("closed") && all(".space", part).forEach(rest));
    };
    menu.addEventListener("change", show);
    all(`[data-step="${menu.dataset.menu}"]`).forEach((button) => button.addEventListener("click", () => {
      const last = menu.options.length - 1;
      menu.selectedIndex = Math.min(Math.max(menu.selectedIndex + Number(button.value), 0), last);
      show();
    }));
    show();
  }

  // Clouds to turn
  const holder = document.getElementById("space-data");
  let space = null;
  function draw(stage) {
    space ??= JSON.parse(holder.textContent);
    const theme = root.dataset.theme, layer = space.layers[Number(stage.dataset.layer)];
    const layout = { ...space.layouts[theme], scene: layer[theme] };
    stage.nextElementSibling.textContent = layer.note;
    const config = { displaylogo: false, showSendToCloud: false, responsive: true };
    Plotly.react(stage, layer.traces.map((number) => space.data[number]), layout, config);
  }
  function rest(box) {
    const stage = box.querySelector(".stage"), button = box.querySelector(".turn");
    if (!box.classList.contains("turning")) return;
    Plotly.purge(stage);
    box.classList.remove("turning");
    button.setAttribute("aria-pressed", "false");
  }
  for (const box of all(".space")) {
    const stage = box.querySelector(".stage"), button = box.querySelector(".turn");
    button.addEventListener("click", () => {
      if (box.classList.contains("turning")) return rest(box);
      box.classList.add("turning");
      button.setAttribute("aria-pressed", "true");
      try { draw(stage); } catch (error) {
        rest(box);
        button.disabled = true;
        button.textContent = "This browser cannot draw in space";
      }
    });
  }
  root.addEventListener("themechange", () => all(".turning .stage").forEach(draw));

  // Tables
  const key = (row, column) => row.cells[column].dataset.v ?? row.cells[column].textContent.trim();
  function compare(a, b, numeric) {
    if (a === "" || b === "") return a === b ? 0 : null;
    return numeric ? Number(a) - Number(b) : a.localeCompare(b, undefined, { numeric: true });
  }
  function sort(table, header) {
    const falling = header.getAttribute("aria-sort") === "ascending";
    const column = header.cellIndex, numeric = header.classList.contains("number");
    const rows = [...table.tBodies[0].rows].map((row) => ({ row, key: key(row, column) }));
    rows.sort((one, other) => {
      const order = compare(one.key, other.key, numeric);
      if (order === null) return one.key === "" ? 1 : -1; // what is missing comes last either way
      return falling ? -order : order;
    });
    table.tBodies[0].append(...rows.map(({ row }) => row));
    all("th[aria-sort]", table).forEach((other) => other.setAttribute("aria-sort", "none"));
    header.setAttribute("aria-sort", falling ? "descending" : "ascending");
  }
  const quoted = (text) => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  function save(table, file) {
    const heads = all("th[data-name]", table).map((head) => head.dataset.name);
    const rows = [...table.tBodies[0].rows].map((row) => [...row.cells].map((_, number) => key(row, number)));
    const text = [heads, ...rows].map((row) => row.map(quoted).join(",") + "\n").join("");
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
    link.download = file;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  }
  for (const table of all("table.sorted")) {
    all("th[aria-sort]", table).forEach((header) =>
      header.querySelector("button").addEventListener("click", () => sort(table, header)));
    document.querySelector(`button[data-table="${table.id}"]`)
      .addEventListener("click", () => save(table, `${table.dataset.file}.csv`));
  }
})();

/* What must not wait for the server: theme, keys, which answer counts, the address bar. */
(function () {
  "use strict";
  const root = document.documentElement;
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const tab = Math.random().toString(36).slice(2) + Date.now().toString(36);
  const noUpdate = () => window.dash_clientside.no_update;
  const steps = { ArrowLeft: ["x", -1], ArrowRight: ["x", 1], ArrowUp: ["y", -1], ArrowDown: ["y", 1] };
  let number = 0;
  let [before, up] = [null, null]; // the last two releases of a pointer
  let top = null; // of the colours that are shown
  let whole = {}; // the ranges of the first page's axes without a zoom

  function remembered() {
    try {
      return window.localStorage.getItem("icnn-theme");
    } catch (error) {
      return null; // storage may be forbidden
    }
  }

  function paint() {
    root.dataset.theme = remembered() || (dark.matches ? "dark" : "light");
    return root.dataset.theme;
  }

  function toggle() {
    const wanted = root.dataset.theme === "dark" ? "light" : "dark";
    try {
      window.localStorage.setItem("icnn-theme", wanted);
    } catch (error) {
      root.dataset.theme = wanted;
      return wanted;
    }
    return paint();
  }

  function isField(element) {
    return element.closest("input, select, textarea, button, a, [role=slider], [role=listbox], [role=combobox]");
  }

  function move(event) {
    const step = steps[event.key];
    const panel = document.getElementById("panel");
    if (!step || !panel || event.ctrlKey || event.altKey || event.metaKey || isField(event.target)) return;
    event.preventDefault();
    const field = document.getElementById(step[0]);
    const value = Number(field.value) + step[1] * (event.shiftKey ? 10 : 1);
    const most = Number(field.max);
    window.dash_clientside.set_props(step[0], { value: Math.min(Math.max(value, 0), most) });
  }

  /* Not plotly's own clicks: two quick ones, wherever they are, it takes for a double click, and the second may come
     with the place of the first. */
  function click(event) {
    const panel = event.target.closest("#heat .nsewdrag");
    if (!panel || !up) return; // a click made by a program has no place
    const graph = panel.closest(".js-plotly-plot");
    const second = isSecond(event);
    if (second) window.Plotly.relayout(graph, whole);
    if (second || event.detail > 2) return;
    const box = graph.getBoundingClientRect();
    const { xaxis, yaxis } = graph._fullLayout._plots[panel.dataset.subplot];
    const x = Math.round(xaxis.p2l(up.clientX - box.left - xaxis._offset));
    const y = Math.round(yaxis.p2l(up.clientY - box.top - yaxis._offset));
    window.dash_clientside.set_props("clicked", { data: { x: x, y: y } });
  }

  /* A finger's click, which plotly makes, has neither a count nor a place. */
  function isSecond(click) {
    if (click.detail || !before) return click.detail === 2;
    const far = Math.hypot(up.clientX - before.clientX, up.clientY - before.clientY);
    return far < 12 && up.timeStamp - before.timeStamp < 400;
  }

  function withOpacity(figure, opacity) {
    const data = figure.data.map((trace) =>
      trace.type === "heatmap" ? Object.assign({}, trace, { opacity: opacity / 100 }) : trace
    );
    return Object.assign({}, figure, { data: data });
  }

  /* A new figure in the zoom, turn and tool of the one that is shown, if it is of the same thing: plotly's own
     uirevision does nothing, since Dash writes these into the figure. */
  function keepView(id, figure) {
    const graph = graphOf(id);
    const shown = graph && graph.layout;
    const layout = Object.assign({}, figure.layout);
    if (!shown || shown.uirevision !== layout.uirevision) return figure;
    for (const key of Object.keys(layout)) {
      const part = key === "scene" ? "camera" : "range";
      const kept = /^([xy]axis\d*|scene)$/.test(key) && shown[key] && shown[key][part];
      if (kept) layout[key] = Object.assign({}, layout[key], { [part]: structuredClone(kept) });
    }
    layout.dragmode = shown.dragmode;
    return Object.assign({}, figure, { layout: layout });
  }

  /* Colours that stand for other values than before, in words. */
  function changedScale(layout) {
    const [before, now] = [top, layout.coloraxis.cmax];
    top = now;
    if (before === null || Math.abs(now / before - 1) < 0.01) return "";
    return "The colours now end at " + now.toPrecision(3) + ", before at " + before.toPrecision(3) + ".";
  }

  function graphOf(id) {
    return document.querySelector("#" + id + " .js-plotly-plot");
  }

  paint();
  dark.addEventListener("change", () => window.dash_clientside.set_props("theme", { data: paint() }));
  document.addEventListener("keydown", move);
  document.addEventListener("click", click);
  document.addEventListener("pointerup", (event) => ([before, up] = [up, event]), true);

  window.dash_clientside = Object.assign({}, window.dash_clientside, {
    explorer: {
      theme: function (clicks) {
        const now = clicks ? toggle() : paint();
        return [now, now === "dark" ? "Light theme" : "Dark theme"];
      },

      address: function (href, path) {
        const here = new URL(href, window.location.origin).pathname === path;
        if (here && href.includes("?")) window.history.replaceState(window.history.state, "", href);
        return here ? "page-link here" : "page-link";
      },

      ask: function (image, x, y, method, chosen, smoothing, difference, theme) {
        number += 1;
        const missing = x === undefined || x === null || y === undefined || y === null;
        if (missing) return [noUpdate(), "x and y must be pixels of the image", "status failed"];
        const question = { image, x, y, method, class: chosen, smoothing, difference };
        const ask = Object.assign(question, { tab: tab, number: number, theme: root.dataset.theme });
        return [ask, "the networks are at work", "status busy"];
      },

      show: function (answer, opacity) {
        const keep = noUpdate();
        if (!answer || answer.number !== number) return Array(7).fill(keep);
        if (answer.error) return [keep, keep, answer.error, "", "status failed", "", keep];
        const layout = structuredClone(answer.figure.layout); // plotly writes into it
        const axes = Object.keys(layout).filter((key) => /^[xy]axis/.test(key));
        whole = Object.fromEntries(axes.map((key) => [key + ".range", layout[key].range.slice()]));
        const figure = withOpacity(Object.assign({}, answer.figure, { layout: layout }), opacity);
        const { table, words, took } = answer;
        return [keepView("heat", figure), table, words, changedScale(layout), "status done", took, "answered"];
      },

      turned: function (figure) {
        return figure ? keepView("space", figure) : noUpdate();
      },

      fade: function (opacity, figure) {
        return figure && figure.data ? withOpacity(figure, opacity) : noUpdate();
      },

      point: function (clicked) {
        return clicked ? [clicked.x, clicked.y] : [noUpdate(), noUpdate()];
      },

      drop: function (contents, name, limit) {
        if (!contents) return [noUpdate(), noUpdate()];
        if (contents.length > (limit.bytes * 4) / 3 + 100) {
          const most = Math.round(limit.bytes / 1048576);
          return [noUpdate(), "Not taken: the file has more than " + most + " MiB (" + limit.kinds + ")."];
        }
        return [{ contents: contents, name: name }, "reading"];
      },

      png: function (clicks) {
        const id = { "heat-png": "heat", "run-png": "run" };
        const pressed = window.dash_clientside.callback_context.triggered_id;
        const graphs = id[pressed] ? [id[pressed]] : ["plane", "space", "zoo", "shape"];
        graphs.filter(graphOf).forEach((name) =>
          window.Plotly.downloadImage(graphOf(name), { format: "png", scale: 2, filename: "icnn-" + name })
        );
        return noUpdate();
      },
    },
  });
})();

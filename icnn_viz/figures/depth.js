// A cloud in space: near points larger and stronger in colour, whenever it was turned or another layer was chosen.
// Points that have more than one size and one colour, #rrggbb, stay as they are.
(function () {
  const graph = document.getElementById("{plot_id}");
  const shades = 16;
  const known = graph.data.map(({ marker }) => marker && [marker.size, toNumbers(marker.color)]);
  const ground = toNumbers(graph.layout.paper_bgcolor);
  let last = "";

  function toNumbers(colour) {
    return /^#......$/.test(colour) ? [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16)) : null;
  }

  function isPlain({ type, mode, visible, index }) {
    const [size, colour] = known[index] || [];
    return type === "scatter3d" && mode === "markers" && visible === true && size > 0 && colour && ground;
  }

  function shade() {
    const { scene } = graph._fullLayout;
    const points = graph._fullData.filter(isPlain);
    if (!scene || !scene._scene || !points.length) return;
    const { eye } = scene._scene.getCamera();
    const asked = JSON.stringify([eye, points.map((trace) => trace.index)]);
    if (asked === last) return;
    last = asked;
    const axes = ["x", "y", "z"].map((name) => {
      const [low, high] = scene[name + "axis"].range;
      return { name, low, step: (eye[name] * scene.aspectratio[name]) / (high - low) };
    });
    const most = axes.reduce((sum, { name }) => sum + Math.abs(eye[name] * scene.aspectratio[name]), 0);
    const nearness = (trace, k) => {
      const depth = axes.reduce((sum, { name, low, step }) => sum + (trace[name][k] - low) * step, 0);
      const middle = axes.reduce((sum, { name }) => sum + (eye[name] * scene.aspectratio[name]) / 2, 0);
      return Math.min(Math.max(0.5 + (depth - middle) / most, 0), 1);
    };
    const sizes = [];
    const colours = [];
    for (const trace of points) {
      const [size, colour] = known[trace.index];
      const steps = Array.from({ length: shades + 1 }, (_, n) => {
        const mixed = colour.map((part, c) => Math.round(ground[c] + (0.45 + (0.55 * n) / shades) * (part - ground[c])));
        return "rgb(" + mixed + ")";
      });
      const near = Array.from(trace.x, (_, k) => nearness(trace, k));
      sizes.push(near.map((value) => size * (0.5 + value)));
      colours.push(near.map((value) => steps[Math.round(value * shades)]));
    }
    window.Plotly.restyle(graph, { "marker.size": sizes, "marker.color": colours }, points.map((trace) => trace.index));
  }

  graph.on("plotly_afterplot", shade);
  graph.on("plotly_relayout", shade);
  shade();
})();

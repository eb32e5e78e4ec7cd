// Before anything is drawn: the theme, and a mark that scripts run.
(() => {
  "use strict";
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");
  const stored = () => {
    try { return localStorage.getItem("icnn-theme"); } catch { return null; }
  };
  const apply = (chosen) => {
    const known = chosen === "light" || chosen === "dark";
    root.dataset.theme = known ? chosen : system.matches ? "dark" : "light";
    root.dispatchEvent(new Event("themechange"));
  };
  root.classList.add("js");
  apply(stored());
  system.addEventListener("change", () => apply(stored()));
  root.addEventListener("choosetheme", (event) => {
    try { localStorage.setItem("icnn-theme", event.detail); } catch { /* the choice lasts as long as the page */ }
    apply(event.detail);
  });
})();

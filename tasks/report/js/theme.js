// Light, dark, or as the system has it. The choice is kept where the browser keeps anything for a file.
const THEMES = ["auto", "light", "dark"];

function showTheme(theme) {
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  byId("theme").textContent = { auto: "Auto", light: "Light", dark: "Dark" }[theme];
  byId("theme").dataset.now = theme;
}

function startTheme() {
  let kept = null;
  try { kept = localStorage.getItem("stepwave-theme"); } catch { /* nothing is kept here */ }
  showTheme(THEMES.includes(kept) ? kept : "auto");
  byId("theme").addEventListener("click", () => {
    const next = THEMES[(THEMES.indexOf(byId("theme").dataset.now) + 1) % THEMES.length];
    showTheme(next);
    try { localStorage.setItem("stepwave-theme", next); } catch { /* as above */ }
  });
}

"use strict";
// The theme: that of the system, light, or dark, as the reader chose it last.

const THEMES = ["system", "light", "dark"];
const THEME_KEY = "bh-theme";

function startTheme() {
  let theme = storedTheme();
  applyTheme(theme);
  layoutElement("theme").onclick = () => {
    theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
    applyTheme(theme);
    storeTheme(theme);
  };
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redrawCharts);
}

/** @param {string} theme */
function applyTheme(theme) {
  document.documentElement.dataset.theme = theme;
  layoutElement("theme").textContent = `Theme: ${theme}`;
  redrawCharts();
}

function storedTheme() {
  try {
    const theme = localStorage.getItem(THEME_KEY);
    return theme && THEMES.includes(theme) ? theme : THEMES[0];
  } catch {
    return THEMES[0]; // a sandboxed frame has no storage
  }
}

/** @param {string} theme */
function storeTheme(theme) {
  try {
    localStorage.setItem(THEME_KEY, theme);
  } catch {
    // a sandboxed frame has no storage: the theme lasts as long as the page
  }
}

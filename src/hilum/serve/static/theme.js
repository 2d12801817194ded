// Dark unless the system prefers light; a choice made here is stored.

import { settings } from "./kept.js";

const STORED = "hilum-theme";
const light = matchMedia("(prefers-color-scheme: light)");
const chosen = () => settings.get(STORED);

function apply() {
  const theme = chosen();
  if (theme) document.documentElement.dataset.theme = theme;
}

/** Switches between dark and light; the name of the new theme. */
export function toggleTheme() {
  const shown = chosen() ?? (light.matches ? "light" : "dark");
  const next = shown === "dark" ? "light" : "dark";
  settings.set(STORED, next);
  apply();
  return next;
}

apply();

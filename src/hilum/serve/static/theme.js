// Dark unless the system asks for light; a choice made here stays.

import { settings } from "./kept.js";

const STORED = "hilum-theme";
const light = matchMedia("(prefers-color-scheme: light)");
const chosen = () => settings.get(STORED);

function apply() {
  const theme = chosen();
  if (theme) document.documentElement.dataset.theme = theme;
}

/** From dark to light or back; the name of the theme that is now shown. */
export function toggleTheme() {
  const shown = chosen() ?? (light.matches ? "light" : "dark");
  const next = shown === "dark" ? "light" : "dark";
  settings.set(STORED, next);
  apply();
  return next;
}

apply();

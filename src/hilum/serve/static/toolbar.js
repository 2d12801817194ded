// The toolbar above the film; arrow keys move between its buttons.

import { byId, el } from "./elements.js";
import { TOOLS } from "./tools.js";

const STEPS = { ArrowRight: 1, ArrowLeft: -1 };

/** Connects all buttons that name an action; returns {show}, which updates their state. */
export function toolbar(stage, actions, preset) {
  for (const button of document.querySelectorAll("[data-action]")) {
    button.addEventListener("click", () => actions[button.dataset.action]());
  }
  const bar = document.querySelector("[role=toolbar]");
  const select = byId("preset");
  select.addEventListener("change", () => select.value !== "" && preset(Number(select.value)));
  roving(bar);
  return { show: () => show(bar, select, stage) };
}

/** One tab stop for the whole toolbar, as its pattern requires (WAI-ARIA APG). */
function roving(bar) {
  const stops = () => [...bar.querySelectorAll("button, select")].filter((stop) => !stop.disabled);
  const make = (chosen) => stops().forEach((stop) => (stop.tabIndex = stop === chosen ? 0 : -1));
  make(stops()[0]);
  bar.addEventListener("focusin", (event) => make(event.target));
  bar.addEventListener("keydown", (event) => {
    const all = stops();
    const ends = { Home: 0, End: all.length - 1 };
    // Up and down belong to the list of presets.
    const next = STEPS[event.key] ? all.indexOf(event.target) + STEPS[event.key] : ends[event.key];
    if (next === undefined) return;
    event.preventDefault();
    all[(next + all.length) % all.length].focus();
  });
}

function show(bar, select, stage) {
  const { record, view, inverted, shown, window } = stage.active;
  const on = { invert: inverted, flipAcross: view.flippedAcross, flipDown: view.flippedDown, outlines: shown.outlines, lines: shown.lines, evidence: Boolean(shown.label) };
  for (const button of bar.querySelectorAll("button")) {
    const { action } = button.dataset;
    if (TOOLS.includes(action)) button.setAttribute("aria-checked", stage.tool === action);
    else if (action in on) button.setAttribute("aria-pressed", on[action]);
  }
  const presets = record?.presets ?? [];
  const chosen = presets.findIndex((preset) => preset.window.centre === window.centre && preset.window.width === window.width);
  const options = presets.map((preset, i) => el("option", { value: i }, `${i + 1} ${preset.name}`));
  select.replaceChildren(el("option", { value: "" }, record ? "custom" : "–"), ...options);
  select.value = chosen < 0 ? "" : chosen;
}

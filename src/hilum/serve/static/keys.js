// Keys: OHIF's defaults where OHIF has one.

import { byId, el } from "./elements.js";
import { settings } from "./kept.js";

const STORED = "hilum-keys"; // WCAG 2.1.4: single-character keys can be switched off

/** Each key's group, name, display name, action (a name in the actions given to `listen`) and description. */
export const KEYS = [
  ["Film", "ArrowDown", "↓", "next", "next film of the list"],
  ["Film", "ArrowUp", "↑", "previous", "previous film of the list"],
  ["Film", "ArrowRight", "→", "right", "next film; beside an earlier one: select the film on the right"],
  ["Film", "ArrowLeft", "←", "left", "previous film; beside an earlier one: select the film on the left"],
  ["Film", "PageDown", "Page Down", "next", "next film"],
  ["Film", "PageUp", "Page Up", "previous", "previous film"],
  ["Tool", "w", "w", "window", "window: drag across for width, down for darker"],
  ["Tool", "z", "z", "zoom", "zoom: drag up or down"],
  ["Tool", "p", "p", "pan", "pan: drag"],
  ["Tool", "l", "l", "ruler", "ruler: drag, or Enter on the film"],
  ["Picture", "+", "+", "nearer", "zoom in"],
  ["Picture", "-", "-", "farther", "zoom out"],
  ["Picture", "=", "=", "fit", "fit to screen"],
  ["Picture", "o", "o", "actual", "actual pixels (1:1)"],
  ["Picture", "i", "i", "invert", "invert"],
  ["Picture", "h", "h", "flipAcross", "flip left to right"],
  ["Picture", "v", "v", "flipDown", "flip top to bottom"],
  ["Picture", " ", "Space", "reset", "reset window, zoom, flips"],
  ["Picture", "1", "1", "preset1", "window as stored"],
  ["Picture", "2", "2", "preset2", "window of the lungs"],
  ["Picture", "3", "3", "preset3", "window of heart and mediastinum"],
  ["Picture", "4", "4", "preset4", "high contrast"],
  ["Picture", "5", "5", "preset5", "whole range"],
  ["Overlay", "m", "m", "outlines", "outlines on and off"],
  ["Overlay", "g", "g", "evidence", "evidence map: next label, then none"],
  ["Overlay", "c", "c", "lines", "lines of the cardiothoracic ratio on and off"],
  ["Page", "/", "/", "search", "search the list"],
  ["Page", "u", "u", "choose", "choose films to analyse"],
  ["Page", "?", "?", "help", "this help"],
];

const HELD = [
  ["Film", "Shift + arrows", "like dragging with the selected tool: window, zoom or pan"],
  ["Film", "Enter", "with the ruler selected: place a ruler in the middle"],
  ["Line or ruler end", "Arrows", "move by one pixel of the film, with Shift by ten"],
  ["Line or ruler end", "Delete", "remove the ruler"],
];

const on = () => settings.get(STORED) !== "off";

/** Runs the action of a key, unless the focused control needs the key itself. */
export function listen(actions, nudge) {
  const found = new Map(KEYS.map(([, key, , action]) => [key, action]));
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || event.defaultPrevented) return;
    if (document.querySelector("dialog[open]") || wants(event.target, event.key)) return;
    if (event.shiftKey && event.key.startsWith("Arrow")) {
      event.preventDefault();
      return nudge(event.key);
    }
    const action = found.get(event.key.length === 1 ? event.key.toLowerCase() : event.key);
    if (!action || (event.key.length === 1 && !on())) return;
    event.preventDefault();
    actions[action]();
  });
}

/** Whether an element needs the key itself; a part that scrolls does if it was reached by keys. */
function wants(element, key) {
  if (/^(ArrowUp|ArrowDown|Page)/.test(key) && element.matches("#panel:focus-visible, #uploads-list:focus-visible")) return true;
  if (element.closest("input[type=range]")) return key.length > 1;
  if (element.closest("input:not([type=checkbox]), select")) return true;
  if (key === " ") return Boolean(element.closest("button, summary, input, a"));
  return key.startsWith("Arrow") && Boolean(element.closest("[role=toolbar]"));
}

/** Fills the help dialog and connects its switch for single-character keys. */
export function help() {
  const rows = [...KEYS.map(([group, , shown, , text]) => [group, shown, text]), ...HELD];
  byId("help-keys").replaceChildren(
    ...rows.map(([group, shown, text], i) =>
      el("tr", {},
        el("td", { class: "dim" }, rows[i - 1]?.[0] === group ? "" : group),
        el("th", { scope: "row" }, ...shown.split(/( \+ )/).map((part) => (part === " + " ? part : el("kbd", {}, part)))),
        el("td", {}, text),
      )),
  );
  const choice = byId("help-on");
  choice.checked = on();
  choice.addEventListener("change", () => settings.set(STORED, choice.checked ? "on" : "off"));
}
